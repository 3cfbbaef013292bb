"""Who or what asked for a training or a version, as a reader's own language says it."""

from __future__ import annotations

from frontend.words import Words


def told(asked_by: str | None, words: Words) -> str:
    """Whoever stands in a record's `asked_by`, as a phrase; empty for the pipeline itself and for nobody."""
    if not asked_by or asked_by == "pipeline":
        return ""
    kind, _, name = (part.strip() for part in asked_by.partition(":"))
    if kind in ("change", "schedule", "mage"):
        return words(f"asker.{kind}")
    if kind in ("person", "api", "alert") and name:
        return words(f"asker.{kind}", name=name)
    return words("asker.unknown", name=asked_by)
