"""A FastAPI application that checks the same bodies with pydantic, and answers with what was sent: no model at all."""

from __future__ import annotations

from fastapi import FastAPI

from backend.requests import request_model
from sigap.catalog import declaration

app = FastAPI()


def _add(name: str) -> None:
    kind = request_model(declaration(name))

    async def echo(body: object) -> object:
        return body

    echo.__annotations__ = {"body": kind, "return": kind}
    app.post(f"/{name}")(echo)


for each in ("education", "car_price"):
    _add(each)
