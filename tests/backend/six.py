"""The API's application with all six models in its catalogue: `uvicorn tests.backend.six:app`."""

from __future__ import annotations

import importlib

from sigap import catalog

# Until they are reachable in the catalogue itself; before the import that makes the application.
for name in ("car_price", "customer_segments", "loan_approval", "credit_approval", "bitcoin_price"):
    catalog._DECLARATIONS.setdefault(name, getattr(importlib.import_module(f"sigap.catalog.{name}"), name.upper()))

from backend.app import app  # noqa: E402

__all__ = ["app"]
