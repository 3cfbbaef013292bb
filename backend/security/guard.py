"""What every request passes after the edge: who asks, may they, how often, and with how long a body.

Plain ASGI, as the edge is: it stands before the hot path.
"""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.edge import REQUEST_ID
from backend.problems import RequestError, problem_response
from backend.security.access import ANY, Access, Rule
from backend.security.body import Body, Patience, first_message, replayed, too_large
from backend.security.limits import Limits, address
from backend.security.tokens import PRINCIPAL, Principal, Tokens, unauthorized
from sigap.keys import ALERTS
from sigap.settings import Settings

METRICS = "/metrics"
# No route takes a WebSocket today; the first one shall not be open by mistake.
_WEBSOCKET = Rule("predict", None, False, False)
_SCRAPED = "/metrics"
_SHORTER = "Send one request's fields only."
_FEWER = "Send fewer rows, or a file in several parts."


class Security:
    """What the guard and the routes for tokens share.

    Args:
        settings: Secrets and limits.
        access: Which request needs what.
        registry: Gets the count of refusals.

    Raises:
        ConfigurationError: The keys or the revocations can't be read.
    """

    def __init__(self, settings: Settings, access: Access, registry: CollectorRegistry) -> None:
        self.settings = settings
        self.access = access
        self.tokens = Tokens(settings)
        self.limits = Limits(settings)
        self.refused = Counter(
            "sigap_api_refused", "Requests that the guard turned away, by why.", ["reason"], registry=registry
        )

    def admit(
        self, rule: Rule, authorization: bytes | None, client: tuple[str, int] | None
    ) -> tuple[str, Principal | None]:
        """Lets a request in and returns by which name its limits are counted, and whose token it carries.

        Args:
            rule: What holds for the request.
            authorization: Its header of that name.
            client: Address and port that it comes from.

        Raises:
            RequestError: 401 without a valid token where one is needed, 403 without the scope, 429 or 503 too often.
        """
        if rule.needs == ALERTS or (rule.needs is ANY and rule.route is not None and rule.route.path == _SCRAPED):
            principal: Principal | None = self._sender(authorization, client)
        else:
            try:
                principal = self._principal(authorization, needed=rule.needs is not None)
            except RequestError:
                if rule.route is None or rule.route.path != METRICS:
                    raise
                # Nor can Prometheus.
                principal = self._sender(authorization, client)
        if principal is not None:
            who = principal.name
            if rule.needs is not None and rule.needs is not ANY and rule.needs not in principal.scopes:
                raise forbidden(rule.needs)
        else:
            who = address(client)
        if not rule.probe:
            self.limits.take(who)
        return who, principal

    def _sender(self, authorization: bytes | None, client: tuple[str, int] | None) -> Principal | None:
        """Who sends alerts or reads metrics: Alertmanager, Grafana and Prometheus send a key as it is, not a token."""
        scheme, _, key = (authorization or b"").partition(b" ")
        if scheme.lower() != b"bearer" or key.count(b".") == 2:
            return self._principal(authorization, needed=True)
        caller = address(client)
        self.limits.check_failures(caller)
        found = self.tokens.holder(key.strip().decode("latin-1"))
        if found is None:
            self.limits.failed(caller)
            raise unauthorized("The key is not known.", "invalid_token")
        return Principal(found.name, frozenset(found.scopes), "", float("inf"))

    def _principal(self, authorization: bytes | None, *, needed: bool) -> Principal | None:
        if authorization is None:
            if needed:
                raise unauthorized("The request carries no token.")
            return None
        try:
            return self.tokens.principal(authorization)
        except RequestError:
            if needed:
                raise
            return None


# What a request's head says of its body: the length if it is known, whether there is one, whether the client waits for
# leave to send it. A plain tuple: this is made for every request.
_Head = tuple[int | None, bool, bool]


class Guard:
    """Stands before the application.

    Args:
        app: What answers the requests that are let through.
        security: Tokens, rules and limits.
    """

    def __init__(self, app: ASGIApp, security: Security) -> None:
        self._app = app
        self._security = security
        self._access = security.access
        self._limits = security.limits
        self._refused = security.refused
        self._patience = Patience(security.settings.body_seconds)
        self._short = security.settings.max_body_bytes
        self._long = security.settings.max_file_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, or refuses it."""
        kind = scope["type"]
        if kind == "lifespan":
            await self._app(scope, receive, send)
            return
        rule = _WEBSOCKET if kind == "websocket" else self._access.rule(scope)
        try:
            authorization, head = _head(scope)
            who, principal = self._security.admit(rule, authorization, scope.get("client"))
            if principal is not None:
                scope[PRINCIPAL] = principal
            if rule.probe:
                await self._app(scope, receive, send)
            elif rule.long:
                await self._answer_long(scope, receive, send, who, head)
            elif head[1] and rule.route is not None:
                await self._answer_short(scope, receive, send, who, head)
            else:
                await self._answer(scope, receive, send, who)
        except RequestError as error:
            await self._refuse(error, scope, receive, send, rule)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, who: str) -> None:
        self._limits.requests.enter(who)
        try:
            await self._app(scope, receive, send)
        finally:
            self._limits.requests.leave(who)

    async def _answer_short(self, scope: Scope, receive: Receive, send: Send, who: str, head: _Head) -> None:
        # The body is read before the request counts as one that is being answered: who drips one takes no place.
        length, _, expects = head
        if expects and (length or 0) > self._short:
            raise too_large(self._short, _SHORTER)
        message = await first_message(receive, self._patience)
        if message["type"] != "http.request" or message.get("more_body") or len(message.get("body", b"")) > self._short:
            rest = Body(replayed(message, receive), self._short, _SHORTER, length, self._patience)
            message = {"type": "http.request", "body": await rest.whole(), "more_body": False}
        await self._answer(scope, replayed(message, receive), send, who)

    async def _answer_long(self, scope: Scope, receive: Receive, send: Send, who: str, head: _Head) -> None:
        length, _, expects = head
        if expects and (length or 0) > self._long:
            raise too_large(self._long, _FEWER)
        body = Body(receive, self._long, _FEWER, length, self._patience)
        if (length or 0) > self._long:
            await body()  # which refuses it, after its sender had the chance to come to an end
        begun = False

        async def send_unless_refused(message: Message) -> None:
            # Whatever the application makes of the fault that came out of its body, the answer is the fault's.
            nonlocal begun
            if body.fault is not None and not begun:
                return
            begun = True
            await send(message)

        self._limits.uploads.enter(who)
        try:
            await self._app(scope, body, send_unless_refused)
        except RequestError as error:
            if begun:
                raise ConnectionAbortedError("Half an answer is out, and the request is at fault.") from error
            raise
        finally:
            self._limits.uploads.leave(who)
        if body.fault is not None and not begun:
            raise body.fault

    async def _refuse(self, error: RequestError, scope: Scope, receive: Receive, send: Send, rule: Rule) -> None:
        self._refused.labels(error.kind).inc()
        request_id = scope.get(REQUEST_ID) or os.urandom(12).hex()
        if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008, "reason": error.title})
            return
        if rule.route is not None:
            # For the metrics, as the router would have set it.
            scope["route"] = rule.route
        await problem_response(error, request_id, scope["path"])(scope, receive, send)


def _head(scope: Scope) -> tuple[bytes | None, _Head]:
    """The header `Authorization`, and what is said of the body.

    Raises:
        RequestError: 401 when there are two tokens.
    """
    authorization, length, chunked, expects = None, None, False, False
    for name, value in scope["headers"]:
        if name == b"authorization":
            if authorization is not None:
                raise unauthorized("The request carries more than one token.", "invalid_request")
            authorization = value
        elif name == b"content-length":
            length = int(value) if value.isdigit() else None
        elif name == b"transfer-encoding":
            chunked = True
        elif name == b"expect":
            expects = True
    return authorization, (length, chunked or bool(length), expects)


def forbidden(needed: str) -> RequestError:
    """403 that names the scope."""
    return RequestError(
        403,
        "forbidden",
        "The token does not allow this",
        f"The token lacks the scope `{needed}`.",
        remedy="Ask for it at POST /token; the key must have it (`./run key list`).",
        headers={"www-authenticate": f'Bearer realm="sigap", error="insufficient_scope", scope="{needed}"'},
    )
