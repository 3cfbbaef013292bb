"""How log lines are written: for people, or a JSON object a line, with the ids that lead from one record to the next.

A message of an exception may quote what somebody sent, so of an exception only its kind and its place are written.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
"""Identity of the request that is being answered; empty where none is."""

FIELDS = ("request_id", "model", "model_version", "run_id", "data_version", "pipeline_run")
"""What a record may carry beside its message, by `extra=`; anything else is not written."""

Form = Literal["text", "json"]

FILE_BYTES = 10_000_000

_KNOWN: ContextVar[Mapping[str, Any]] = ContextVar("known_ids", default=MappingProxyType({}))


class Way(NamedTuple):
    """How a process writes its lines: what a process that it starts is told, so that it writes them alike."""

    form: Form
    level: str
    ids: Mapping[str, Any]


_way: list[Way] = []


@contextmanager
def ids(**known: Any) -> Iterator[None]:
    """Puts ids on every line that is written meanwhile by this thread or task.

    Args:
        known: By the names of `FIELDS`; what is empty stays as it was.
    """
    before = _KNOWN.get()
    token = _KNOWN.set({**before, **{name: value for name, value in known.items() if value not in (None, "")}})
    try:
        yield
    finally:
        _KNOWN.reset(token)


def set_up(form: Form, *, level: str = "INFO", whole: bool = False, **known: Any) -> None:
    """Has this process write the lines of `sigap` to standard error, in one form; called again, it begins anew.

    Only our own logger is touched, for inside Mage and Streamlit the others are theirs.

    Args:
        form: For people, or JSON.
        level: Lines below it are left out.
        whole: Whether the process is all ours: then libraries' warnings and an error that ends it are such lines too.
        known: Ids that stand on every line of the process, by the names of `FIELDS`.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_formatter(form))
    ours = logging.getLogger("sigap")
    ours.handlers, ours.propagate = [handler], False
    ours.setLevel(level)
    if whole:
        root = logging.getLogger()
        root.handlers = [handler]
        root.setLevel(logging.WARNING)
        logging.captureWarnings(capture=True)
        sys.excepthook = _ended_by
    _way[:] = [Way(form, level, known)]


def way() -> Way | None:
    """How this process writes; None where `set_up` was never called."""
    return _way[0] if _way else None


@contextmanager
def into_file(logger: logging.Logger, path: Path, form: Form) -> Iterator[None]:
    """Writes the lines of one logger into a file and nowhere else; one that has grown large is put aside."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = RotatingFileHandler(path, maxBytes=FILE_BYTES, backupCount=1, encoding="utf-8", delay=True)
    handler.setFormatter(_formatter(form))
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()
        logger.setLevel(before[0])
        logger.propagate = before[1]


class _Formatter(logging.Formatter):
    """What both forms share: which fields a record has, and what is said of an exception."""

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name that logging calls
        """Kind and place of an exception and of those that led to it, without their messages."""
        return "\n".join(["Traceback, without the messages:", *_told(ei[1])])

    def fields(self, record: logging.LogRecord) -> dict[str, Any]:
        """The ids that the record carries."""
        around = {**(_way[0].ids if _way else {}), "request_id": REQUEST_ID.get(), **_KNOWN.get()}
        known = {name: getattr(record, name, None) or around.get(name) for name in FIELDS}
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


def _formatter(form: Form) -> logging.Formatter:
    return JsonFormatter() if form == "json" else TextFormatter()


def _ended_by(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    logging.getLogger("sigap").critical("The process ended by an error.", exc_info=(kind, error, trace))


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
