"""The application with `education` alone, whose state is then the API's: `uvicorn tests.backend.alone:app`."""

from __future__ import annotations

from backend.app import create_app
from sigap.catalog import declaration
from sigap.settings import get_settings

app = create_app(get_settings(), (declaration("education"),))
