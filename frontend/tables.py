"""Tables as HTML that a keyboard can reach where they are wider than the screen."""

from __future__ import annotations

from html import escape


def table(body: str, label: str, kind: str = "") -> str:
    """A table that scrolls within its own frame.

    Args:
        body: Its rows, as HTML.
        label: What it holds, for those who hear it.
        kind: Further classes.
    """
    return (
        f'<div class="sg-scroll" tabindex="0" role="region" aria-label="{escape(label)}">'
        f'<table class="{f"sg-table {kind}".strip()}">{body}</table></div>'
    )
