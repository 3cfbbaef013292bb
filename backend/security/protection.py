"""Puts everything in this package around an application."""

from __future__ import annotations

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.middleware.cors import CORSMiddleware

from backend.security.access import Access
from backend.security.guard import Guard, Security
from backend.security.openapi import describe_access
from backend.security.routes import token_routes
from sigap.settings import Settings

_EXPOSED = ["x-request-id", "retry-after", "www-authenticate", "etag", "content-disposition"]


def protect(app: FastAPI, settings: Settings, registry: CollectorRegistry) -> Security:
    """Adds the routes for tokens to `app` and sets the guard before all its routes.

    Args:
        app: The application, with its documentation; middleware that is added before stands behind the guard.
        settings: Secrets and limits.
        registry: Gets the count of refusals.

    Raises:
        ConfigurationError: The keys or the revocations can't be read.
    """
    security = Security(settings, Access(app, settings.protected), registry)
    app.include_router(token_routes(security))
    describe_access(app, security.access)
    app.add_middleware(Guard, security=security)
    origins = [origin.strip() for origin in settings.cors_origins.split(",") if origin.strip()]
    if origins:
        # Before the guard, so that a page may read a refusal too. Tokens travel in a header, never in a cookie.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "x-request-id", "if-none-match"],
            expose_headers=_EXPOSED,
            max_age=600,
        )
    return security
