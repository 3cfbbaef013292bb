"""The short way through the API for an ordinary prediction: answered as soon as its last byte is there.

It does what `Edge`, `Guard` and `HotRoutes` do, by their own functions, in one step: without the task, the messages
and the layers of an ASGI request, which cost more than the prediction. Whatever is unusual goes the ordinary way, and
so does every refusal. `python -m backend` offers it; behind another server everything goes the ordinary way.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import NamedTuple

from backend.edge import given_id, json_head, new_id
from backend.hot import Hot, HotRoute
from backend.metrics import Metrics
from backend.problems import RequestError
from backend.security.access import Rule
from backend.security.guard import Security

LONGEST = 65536
# Heads that are known by heart, and the longest of them: a client sends the same one again and again.
HEADS = 1024
LONGEST_HEAD = 2048
# Of these the layers on the ordinary way make something.
_UNUSUAL = {
    b"connection",
    b"content-encoding",
    b"expect",
    b"transfer-encoding",
    b"upgrade",
}


class Ticket(NamedTuple):
    """What the head of an ordinary request says.

    Attributes:
        route: What it asks.
        rule: What holds for it.
        authorization: Its header of that name.
        given_id: The identity that it brings, or empty.
        length: Of its body, in bytes.
    """

    route: HotRoute
    rule: Rule
    authorization: bytes | None
    given_id: str
    length: int


class Lane:
    """Ordinary predictions in one step.

    Args:
        hot: What ordinary predictions are.
        security: Lets requests in.
        metrics: Where answers are counted.
    """

    def __init__(self, hot: Hot, security: Security, metrics: Metrics) -> None:
        self._hot = hot
        self._routes = {path.encode(): route for path, route in hot.routes.items()}
        self._security = security
        self._metrics = metrics
        self._heads: dict[bytes, Ticket] = {}
        self.known = self._heads.get
        """The ticket of a head, empty line included, that was remembered; None for any other."""

    def remember(self, head: bytes, ticket: Ticket) -> None:
        """Knows the head by heart from now on, unless it is one that hardly comes again.

        Args:
            head: As it came, from its first byte to the empty line, as the only thing in front of its body.
            ticket: As `ticket` made it of that head, for a connection that stays open.
        """
        if ticket.given_id or len(head) > LONGEST_HEAD:
            return
        while len(self._heads) >= HEADS:
            del self._heads[next(iter(self._heads))]
        self._heads[head] = ticket

    def ticket(self, url: bytes, headers: Iterable[tuple[bytes, bytes]]) -> Ticket | None:
        """For a POST whose head is there: None unless it may go this way.

        Args:
            url: As the request has it.
            headers: With names in lower case.
        """
        route = self._routes.get(url)
        if route is None:
            return None
        authorization, length, forwarded = None, 0, False
        for name, value in headers:
            if name == b"authorization":
                if authorization is not None:
                    return None
                authorization = value
            elif name == b"content-length":
                length = int(value) if len(value) < 6 and value.isdigit() else 0
            elif name == b"x-forwarded-for":
                forwarded = True
            elif name in _UNUSUAL and not (name == b"connection" and value == b"keep-alive"):
                return None
        # Without a token it is the address that the limits count by, and that of a proxy's client is found elsewhere.
        if not 0 < length <= LONGEST or (forwarded and authorization is None):
            return None
        rule = self._security.access.rule_of("POST", route.path)
        return Ticket(route, rule, authorization, given_id(headers), length)

    def answer(self, ticket: Ticket, client: tuple[str, int] | None, body: bytes) -> bytes | None:
        """Headers' lines and body of the answer 200, with the empty line between; None to go the ordinary way.

        Args:
            ticket: As `ticket` gives it.
            client: Address and port that the request comes from.
            body: All of it.
        """
        started = time.perf_counter()
        route = ticket.route
        # Read before it is let in: what goes on to the ordinary way must not count twice against the limits.
        reading = self._hot.read(route, body)
        if reading is None:
            return None
        try:
            _, principal = self._security.admit(ticket.rule, ticket.authorization, client)
        except RequestError:
            return None
        request_id = ticket.given_id or new_id()
        answer = self._hot.answer(reading, request_id, "" if principal is None else principal.name, started)
        if answer is None:
            return None
        self._metrics.answered("POST", route.path, 200, started)
        return b"%b\r\n%b" % (json_head(request_id, len(answer)), answer)
