"""Keeps predictions in PostgreSQL without ever holding one up: a bounded queue, and a task that writes it away.

A prediction is encoded when it is queued: what it is made of is at hand then, and need not be kept until it is
written. In the event loop, not in a thread, which would take the interpreter from the loop for milliseconds at a time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge

from backend.newest import Series
from backend.personal import Mask, kept_answer, kept_whole

if TYPE_CHECKING:
    from psycopg import AsyncConnection

log = logging.getLogger("sigap.api")

FLUSH_SECONDS = 0.25
# So many rows are handed to the driver before the loop has its turn.
ROWS_AT_ONCE = 250
BATCH = 2000
CONNECT_SECONDS = 2
WRITE_SECONDS = 10.0
# A database that failed is tried again after this, then after twice as long, up to the most.
PAUSE_SECONDS = 0.5
MOST_PAUSE_SECONDS = 10.0
DRAIN_SECONDS = 2.0
RETENTION_SECONDS = 3600.0
DELETED_AT_ONCE = 5000
# Any number that no other lock uses: of several workers one deletes.
_RETENTION_LOCK = 7_401_894

_COLUMNS = 'at, model, model_version, request_id, principal, shadow, latency_ms, "row", fields, answer'
_COPY = f"COPY predictions ({_COLUMNS}) FROM STDIN"
_DELETE = """
    DELETE FROM predictions WHERE id IN (
        SELECT id FROM predictions WHERE at < now() - make_interval(days => %s) LIMIT %s
    )
"""
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": ""})


class Logged(NamedTuple):
    """A prediction, as both paths hand it over; nothing in it is changed afterwards.

    Attributes:
        model: The model's name.
        version: The version that answered, such as v3.
        request_id: The request's identity.
        principal: Name of the key that asked; empty without one.
        at: When, in seconds since 1970.
        fields: The validated fields of the request.
        answer: The answer.
        shadow: Whether the answer was computed beside the champion's and not returned.
        latency: Seconds from the request's body to the answer.
        newest: The table's rows that a forecast started from; not kept.
        row: Which row of a batch, counted from 1; 0 of a single request.
        text: The answer as JSON, if that was made already; else empty.
    """

    model: str
    version: str
    request_id: str
    principal: str
    at: float
    fields: Mapping[str, Any]
    answer: Mapping[str, Any]
    shadow: bool = False
    latency: float = 0.0
    newest: Series | None = None
    row: int = 0
    text: bytes = b""


class PredictionLog:
    """The prediction log of one process.

    Args:
        dsn: Gives the database's URL; None where there is no database, and nothing is kept.
        masks: Of every model, what may be kept of its requests.
        limit: Most predictions that wait; further ones are counted and dropped.
        days: How long predictions are kept.
        registry: Gets the counters.
    """

    def __init__(
        self,
        dsn: Callable[[], str] | None,
        masks: Mapping[str, Mask],
        limit: int,
        days: int,
        registry: CollectorRegistry,
    ) -> None:
        self._dsn = dsn
        self._masks = masks
        self._limit = limit if dsn else 0
        self._days = days
        # Rows as COPY takes them.
        self._queue: deque[bytes] = deque()
        # Taken from the queue and not yet known to be written.
        self._batch: list[bytes] = []
        self._connection: AsyncConnection[Any] | None = None
        self._stopping = asyncio.Event()
        self._retention_due = 0.0
        self._mirror: Callable[[Logged], None] | None = None
        self.fault: str | None = None
        self.latency_seconds: float | None = None
        self._written = Counter("sigap_api_prediction_log_written", "Predictions kept.", registry=registry)
        self._dropped = Counter(
            "sigap_api_prediction_log_dropped",
            "Predictions not kept: the queue was full, the database refused the row, or the API ended.",
            ["reason"],
            registry=registry,
        )
        self._full = self._dropped.labels("full")
        self._failures = Counter(
            "sigap_api_prediction_log_failures", "Batches that could not be written and wait.", registry=registry
        )
        depth = Gauge("sigap_api_prediction_log_queue", "Predictions that wait to be written.", registry=registry)
        depth.set_function(lambda: len(self))

    def __len__(self) -> int:
        return len(self._queue) + len(self._batch)

    @property
    def enabled(self) -> bool:
        """Whether there is a database to keep predictions in."""
        return self._dsn is not None

    def mirror(self, put: Callable[[Logged], None]) -> None:
        """Hands every prediction to `put` as well, which must neither block nor raise."""
        self._mirror = put

    def put(self, record: Logged) -> None:
        """Queues a prediction; never blocks and never raises."""
        self.put_shadow(record)
        if self._mirror is not None:
            self._mirror(record)

    def put_shadow(self, record: Logged) -> None:
        """Queues a prediction that was computed in the shadow; it is not mirrored again."""
        if len(self._queue) >= self._limit:
            if self._dsn is not None:
                self._full.inc()
            return
        try:
            self._queue.append(line(record, self._masks[record.model]))
        except Exception as error:  # a record that has no JSON is a fault of ours, not a reason to fail its request
            self._refused(record.model, type(error).__name__)

    async def run(self) -> None:
        """Writes until `close`. No fault ends it."""
        pause = FLUSH_SECONDS
        while self._dsn is not None:
            stopping = await self._paused(pause)
            try:
                # What comes meanwhile waits for the next time: a row in a small batch costs ten times as much.
                waiting = len(self)
                while waiting > 0 or (stopping and len(self)):
                    waiting -= await self._write()
                self._noted(None)
                pause = FLUSH_SECONDS
                if time.monotonic() >= self._retention_due and not stopping:
                    await self._delete_old()
            except Exception as error:  # whatever it is, predictions go on and what fits waits
                self._failures.inc()
                self._noted(_reason(error))
                await self._disconnect()
                pause = min(max(2 * pause, PAUSE_SECONDS), MOST_PAUSE_SECONDS)
            if stopping:
                break
        await self._disconnect()

    async def close(self, task: asyncio.Task[None]) -> None:
        """Ends `run`, once what waits is written or two seconds are over."""
        self._stopping.set()
        await asyncio.wait({task}, timeout=DRAIN_SECONDS)
        # psycopg answers a first cancellation by asking the server to stop, which may be what hangs.
        for _ in range(10):
            if task.done():
                break
            task.cancel()
            await asyncio.wait({task}, timeout=0.05)
        if lost := len(self):
            self._dropped.labels("stopped").inc(lost)
            log.warning("The API ends with %d predictions that PostgreSQL did not take in time.", lost)

    async def _paused(self, seconds: float) -> bool:
        """Waits; whether the end has come."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return False
        return True

    async def _write(self) -> int:
        """Writes a batch, and returns how many predictions it held."""
        if not self._batch:
            self._batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
        count = len(self._batch)
        from psycopg import DataError, IntegrityError

        try:
            async with asyncio.timeout(WRITE_SECONDS):
                await self._copy(self._batch)
        except (DataError, IntegrityError):
            await self._copy_singly()
        self._batch = []
        return count

    async def _copy_singly(self) -> None:
        # One row that the database refuses must not keep the others out.
        from psycopg import DataError, IntegrityError

        while self._batch:
            try:
                async with asyncio.timeout(WRITE_SECONDS):
                    await self._copy(self._batch[:1])
            except (DataError, IntegrityError) as error:
                self._refused(self._batch[0].split(b"\t", 2)[1].decode(), _reason(error))
            self._batch = self._batch[1:]

    async def _copy(self, lines: list[bytes]) -> None:
        connection = await self._connected()
        started = time.perf_counter()
        async with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
            for start in range(0, len(lines), ROWS_AT_ONCE):
                await copy.write(b"".join(lines[start : start + ROWS_AT_ONCE]))
                await asyncio.sleep(0)
        self._written.inc(len(lines))
        self.latency_seconds = time.perf_counter() - started

    def _refused(self, model: str, reason: str) -> None:
        self._dropped.labels("refused").inc()
        log.warning("A prediction of %s can't be kept: %s.", model, reason)

    async def _connected(self) -> AsyncConnection[Any]:
        if self._connection is None:
            # Here, not above: an API without a database needs no driver.
            from psycopg import AsyncConnection

            assert self._dsn is not None  # noqa: S101 - `run` ends without one
            self._connection = await AsyncConnection.connect(
                self._dsn(), autocommit=True, connect_timeout=CONNECT_SECONDS, application_name="sigap-api-log"
            )
        return self._connection

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _delete_old(self) -> None:
        self._retention_due = time.monotonic() + RETENTION_SECONDS
        connection = await self._connected()
        deleted = DELETED_AT_ONCE
        while deleted == DELETED_AT_ONCE and not self._stopping.is_set():
            async with asyncio.timeout(WRITE_SECONDS), connection.transaction():
                cursor = await connection.execute("SELECT pg_try_advisory_xact_lock(%s)", [_RETENTION_LOCK])
                if (await cursor.fetchone()) != (True,):
                    return
                deleted = (await connection.execute(_DELETE, [self._days, DELETED_AT_ONCE])).rowcount
            while self._queue:
                await self._write()

    def _noted(self, fault: str | None) -> None:
        if (fault is None) != (self.fault is None):
            # Only changes are logged: the database may be down for hours.
            if fault is None:
                log.info("Predictions are kept again.")
            else:
                log.warning("Predictions can't be kept for now, up to %d wait: %s.", self._limit, fault)
        self.fault = fault


def line(record: Logged, mask: Mask) -> bytes:
    """The record as a row of PostgreSQL's COPY in its text format."""
    model, version, request_id, principal, at, fields, answer, shadow, latency, _, row, text = record
    seconds = int(at)
    head = (
        f"{_moment(seconds)}.{int((at - seconds) * 1e6):06d}+00\t{model}\t{version}\t{_escaped(request_id)}\t"
        f"{_escaped(principal)}\t{'t' if shadow else 'f'}\t{latency * 1000:.4g}\t{row}"
    )
    told = text if text and kept_whole(answer) else _ENCODE(kept_answer(answer))
    return b"%b\t%b\t%b\n" % (head.encode(), _copied(_ENCODE(mask.fields(fields))), _copied(told))


def _escaped(text: str) -> str:
    # Nearly all are made of letters and digits, which is sooner seen than replaced.
    return text if text.isalnum() else text.translate(_ESCAPES)


@lru_cache(maxsize=4)
def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _copied(text: bytes) -> bytes:
    """JSON as COPY takes it."""
    # JSON holds no raw tab or line feed; jsonb has no NUL.
    return text.replace(b"\\u0000", b"\\ufffd").replace(b"\\", b"\\\\") if b"\\" in text else text


def _plain(value: Any) -> Any:
    """A candle, which validation made an object, as a dict."""
    return dict(value.__dict__)


_ENCODE = msgspec.json.Encoder(enc_hook=_plain).encode


def _reason(error: Exception) -> str:
    # Only what the server itself says, and not its details, which quote rows; a URL that can't be read is quoted by
    # the driver, password included.
    told = getattr(getattr(error, "diag", None), "message_primary", None)
    if told is None and type(error).__name__ == "OperationalError":
        told = " ".join(str(error).split())
    return f"{type(error).__name__} {told or ''}"[:300].rstrip(" .")
