"""What runs from this folder, for words of another shell."""

from __future__ import annotations

from sigap.settings import Settings, get_settings


def running_settings() -> Settings:
    """The settings, with the ports of what runs from this folder: words of another shell need not repeat them."""
    from sigap.services.supervisor import as_running

    return as_running(get_settings())
