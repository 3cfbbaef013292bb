"""Bodies that are too long or too slow, met while they stream in."""

from __future__ import annotations

import asyncio
import time

from starlette.types import Message, Receive

from backend.problems import RequestError

# A body may take the given seconds, and as long on top as it takes at this many bytes a second.
SLOWEST = 65536
# How much of a body that is too long is read and thrown away, so that its sender gets to read the answer.
DRAINED_BYTES = 16 * 2**20


class Patience:
    """Ends waits that take too long; one timer serves all, since a timer for each costs more than a prediction."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._waits: dict[asyncio.Task[object], float] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    async def receive(self, receive: Receive, until: float) -> Message:
        """The next message.

        Raises:
            TimeoutError: It did not come until then (by `time.monotonic`), or shortly after.
        """
        task = asyncio.current_task()
        if task is None:
            return await receive()
        self._waits[task] = until
        if self._loop is not task.get_loop():
            self._loop = task.get_loop()
            self._loop.call_later(self._step, self._sweep)
        try:
            return await receive()
        except asyncio.CancelledError:
            # Whoever else cancels this task did not take its entry away.
            if task in self._waits or task.uncancel() > 0:
                raise
            raise TimeoutError from None
        finally:
            self._waits.pop(task, None)

    @property
    def _step(self) -> float:
        return min(1.0, self.seconds / 4)

    def _sweep(self) -> None:
        now = time.monotonic()
        for task in [task for task, until in self._waits.items() if until <= now]:
            del self._waits[task]
            task.cancel()
        if self._waits and self._loop is not None:
            self._loop.call_later(self._step, self._sweep)
        else:
            self._loop = None


async def first_message(receive: Receive, patience: Patience) -> Message:
    """The first message of a request, which mostly is the whole body and needs no more looking after.

    Raises:
        RequestError: 408, nothing came in time.
    """
    try:
        return await patience.receive(receive, time.monotonic() + patience.seconds)
    except TimeoutError as error:
        raise _too_slow(patience.seconds) from error


def replayed(message: Message, receive: Receive) -> Receive:
    """A `receive` that gives `message` first."""
    pending: Message | None = message

    async def replay() -> Message:
        nonlocal pending
        if pending is None:
            return await receive()
        given, pending = pending, None
        return given

    return replay


class Body:
    """A request's body as it comes in; raises a `RequestError` out of `receive` instead of giving too much.

    Args:
        receive: Of the ASGI request.
        limit: Most bytes.
        remedy: What to do about a longer one.
        length: What the header `Content-Length` says; None without one.
        patience: How long to wait.
    """

    def __init__(self, receive: Receive, limit: int, remedy: str, length: int | None, patience: Patience) -> None:
        self._receive = receive
        self._limit = limit
        self._remedy = remedy
        self._patience = patience
        self._until = time.monotonic() + patience.seconds
        self._announced = length or 0
        self._read = 0
        self._ended = False
        self.fault: RequestError | None = None

    async def __call__(self) -> Message:
        """The next message of the request.

        Raises:
            RequestError: 413 over the limit, 408 when the body does not come in time, 400 when the client goes away.
        """
        if self._ended:
            return await self._receive()
        if self.fault is not None:
            raise self.fault
        message = await self._next()
        if self._read > self._limit or self._announced > self._limit:
            await self._drain()
            self.fault = too_large(self._limit, self._remedy)
            raise self.fault
        return message

    async def _next(self) -> Message:
        try:
            message = await self._patience.receive(self._receive, self._until + self._read / SLOWEST)
        except TimeoutError as error:
            self.fault = _too_slow(self._patience.seconds)
            raise self.fault from error
        if message["type"] == "http.request":
            self._read += len(message.get("body", b""))
            self._ended = not message.get("more_body", False)
            return message
        self.fault = RequestError(400, "gone", "The client went away", "The connection closed before the body's end.")
        raise self.fault

    async def _drain(self) -> None:
        while not self._ended and self._read <= max(DRAINED_BYTES, self._limit):
            await self._next()

    async def whole(self) -> bytes:
        """The whole body.

        Raises:
            RequestError: As above.
        """
        body = bytearray()
        while True:
            part = (await self()).get("body", b"")
            if self._ended and not body:
                return bytes(part)
            body += part
            if self._ended:
                return bytes(body)


def too_large(limit: int, remedy: str) -> RequestError:
    """413."""
    return RequestError(
        413,
        "body-too-large",
        "The body is too large",
        f"The body has more than {limit} bytes.",
        remedy=remedy,
        headers={"connection": "close"},
    )


def _too_slow(seconds: float) -> RequestError:
    return RequestError(
        408,
        "slow-body",
        "The body did not come in time",
        f"The body was not complete after {seconds:g} s, or came with less than {SLOWEST} bytes a second.",
        headers={"connection": "close"},
    )
