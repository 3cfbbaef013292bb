"""How log lines are written: for people, or a JSON object a line, with the ids that lead from one record to the next.

A message of an exception may quote what somebody sent, so of an exception only its kind and its place are written.
"""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
"""Identity of the request that is being answered; empty where none is."""

FIELDS = ("request_id", "model", "model_version", "run_id", "data_version", "pipeline_run")
"""What a record may carry beside its message, by `extra=`; anything else is not written."""

Form = Literal["text", "json"]


class _Formatter(logging.Formatter):
    """What both forms share: which fields a record has, and what is said of an exception."""

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name that logging calls
        """Kind and place of an exception and of those that led to it, without their messages."""
        return "\n".join(["Traceback, without the messages:", *_told(ei[1])])

    def fields(self, record: logging.LogRecord) -> dict[str, Any]:
        """The ids that the record carries."""
        known = {"request_id": REQUEST_ID.get(), **{name: getattr(record, name, None) for name in FIELDS[1:]}}
        known["request_id"] = getattr(record, "request_id", None) or known["request_id"]
        return {name: value for name, value in known.items() if value not in (None, "")}


class JsonFormatter(_Formatter):
    """A JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
            **self.fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class TextFormatter(_Formatter):
    """A line for people, with the ids at its end."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name that logging calls
        """The line, with the ids that its message doesn't hold already."""
        line = super().formatMessage(record)
        ids = [f"{name}={value}" for name, value in self.fields(record).items() if str(value) not in line]
        return f"{line} [{' '.join(ids)}]" if ids else line


def configuration(form: Form) -> dict[str, Any]:
    """What `logging.config.dictConfig` and uvicorn take: everything to standard error, in one form."""
    formatter = JsonFormatter if form == "json" else TextFormatter
    to_stderr = {"handlers": ["stderr"], "level": "INFO", "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": f"{formatter.__module__}.{formatter.__qualname__}"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "loggers": {"sigap": to_stderr, "uvicorn": to_stderr, "uvicorn.access": to_stderr},
    }


def _told(error: BaseException | None) -> Iterator[str]:
    """The exceptions that led here, the first one first."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    for each in reversed(chain):
        for frame in traceback.extract_tb(each.__traceback__):
            yield f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}'
        yield f"{type(each).__module__}.{type(each).__qualname__}".removeprefix("builtins.")
