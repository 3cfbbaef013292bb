"""What MkDocs is told beside `mkdocs.yml`: pages that are generated from the code, and links that leave the pages."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import api_page
import cli_page
import declaration_page
import metrics_page
import settings_page
from mkdocs.exceptions import PluginError

ROOT = Path(__file__).resolve().parents[2]
PARTS: dict[str, Callable[[], str]] = {
    "settings": settings_page.markdown,
    "cli": cli_page.markdown,
    "api": api_page.markdown,
    "metrics": metrics_page.markdown,
    "declaration": declaration_page.markdown,
}
"""What may stand in `<!-- generated: NAME -->`."""
_MARK = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((\.\./[^)#\s]*)(#[^)\s]*)?\)")


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Fills the marks of a page, and turns links to files beside the pages into their names.

    Raises:
        PluginError: A mark has a name that nothing generates.
    """
    folder = Path(page.file.abs_src_path).parent
    return _MARK.sub(_generated, _LINK.sub(lambda found: _inside(found, folder), markdown))


def _generated(found: re.Match[str]) -> str:
    if found[1] not in PARTS:
        raise PluginError(f"Nothing generates {found[1]!r}: there are {', '.join(PARTS)}.")
    return PARTS[found[1]]()


def _inside(found: re.Match[str], folder: Path) -> str:
    # A link out of docs/ works where the repository is browsed. The site does not hold those files, and nothing here
    # knows where the repository is browsed. What is not there at all stays as it is, for the strict build to refuse.
    target = (folder / found[2]).resolve()
    if not target.exists() or not target.is_relative_to(ROOT) or target.is_relative_to(ROOT / "docs"):
        return found[0]
    path = str(target.relative_to(ROOT))
    return f"`{path}`" if found[1].strip("`") == path else f"{found[1]} (`{path}`)"
