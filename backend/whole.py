"""Answers sent in one piece: an ASGI extension that `python -m backend` offers and the hot path takes.

A server looks at each header of an answer, which costs more than what the answer says. Here it gets them as bytes.
"""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import Scope, Send

_EXTENSION = "sigap.whole"


class WholeAnswer:
    """Sends an answer 200 in the place of a certain `send`.

    Whoever wraps `send` and does not tell makes the ordinary way necessary, so nothing that it does is passed by.

    Args:
        send: The one in whose place this may be used.
        write: Takes the headers as lines and the body, and returns whether it has sent them.

    Attributes:
        sent: Whether the answer is out.
    """

    __slots__ = ("_send", "_write", "sent")

    def __init__(self, send: Send, write: Callable[[bytes, bytes], bool]) -> None:
        self._send = send
        self._write = write
        self.sent = False

    def passed_on(self, send: Send, wrapped: Send) -> None:
        """Notes that `wrapped` takes the place of `send`, and that whoever wrapped it accounts for a whole answer."""
        if self._send == send:
            self._send = wrapped

    def replaces(self, send: Send) -> bool:
        """Whether it may be used in the place of this `send`."""
        return self._send == send

    def __call__(self, head: bytes, body: bytes) -> bool:
        """Sends the answer; False where it has to go the ordinary way."""
        self.sent = self._write(head, body)
        return self.sent


def offer(scope: Scope, answer: WholeAnswer) -> None:
    """Puts it into the request's scope, for a server."""
    scope["extensions"] = {_EXTENSION: answer}


def whole_answer(scope: Scope) -> WholeAnswer | None:
    """What the server offers; None of most servers."""
    offered: WholeAnswer | None = scope.get("extensions", {}).get(_EXTENSION)
    return offered
