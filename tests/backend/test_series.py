"""The newest steps of a series, out of a real table."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import psycopg
from pydantic import SecretStr

from backend.app import create_app
from sigap.catalog.bitcoin_price import BITCOIN_PRICE
from sigap.catalog.car_price import CAR_PRICE
from sigap.settings import Settings
from tests.backend.conftest import Client, Loop


def test_the_newest_candles_are_told_whole(seeded_database: str, tmp_path: Path) -> None:
    settings = Settings(
        default_model="bitcoin_price",
        DATABASE_URL=seeded_database,
        state_dir=tmp_path,
        MLFLOW_TRACKING_URI="http://127.0.0.1:9",
    )
    with Loop() as runner:
        client = Client(create_app(settings, (BITCOIN_PRICE, CAR_PRICE)), runner)
        told = client.get("/models/bitcoin_price/series?rows=3").json()
        assert (told["model"], told["step"], told["target"], len(told["rows"])) == ("bitcoin_price", "1d", "close", 3)
        with psycopg.connect(seeded_database) as connection:
            query = "SELECT opened_at, open, high, low, close, volume FROM candles ORDER BY 1 DESC LIMIT 3"
            stored = connection.execute(query).fetchall()[::-1]
        for step, (begun, *values) in zip(told["rows"], stored, strict=True):
            assert datetime.fromisoformat(step["begun"]) == begun
            names = ("open", "high", "low", "close", "volume")
            assert step["values"] == dict(zip(names, map(float, values), strict=True))
        assert len(client.get("/models/bitcoin_price/series").json()["rows"]) == 120
        for wrong in ("0", "1001", "-1", "many", "1e2", "%C2%B2"):
            answer = client.get(f"/models/bitcoin_price/series?rows={wrong}")
            assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "rows"), wrong
        assert client.get("/models/car_price/series").json()["detail"].startswith("car_price is a regression.")
        assert client.get("/models/boats/series").status_code == 404
    away = settings.model_copy(update={"database_url": SecretStr("postgresql://sigap:secret@127.0.0.1:9/sigap")})
    with Loop() as runner:
        answer = Client(create_app(away, (BITCOIN_PRICE, CAR_PRICE)), runner).get("/models/bitcoin_price/series")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
    assert "secret" not in answer.text
