"""README.md: its badges say what is so, and links within it lead somewhere."""

from __future__ import annotations

import re
import runpy
import tomllib
from collections.abc import Iterator

from sigap.settings import ROOT

README = ROOT / "README.md"
LINK = re.compile(r"\[!?[^\]]*\]\(([^)\s]+)\)")


def links() -> Iterator[str]:
    yield from (target for target in LINK.findall(README.read_text()) if not target.startswith(("http://", "https://")))


def anchors() -> set[str]:
    """As the pages of a repository name their headings."""
    headings = re.findall(r"^#+ (.+)$", README.read_text(), re.MULTILINE)
    return {"#" + re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_badges_say_what_is_so() -> None:
    python = (ROOT / "docs/images/badges/python.svg").read_text()
    supported = [".".join(map(str, version)) for version in runpy.run_path(str(ROOT / "run"))["SUPPORTED"]]
    assert f": {' | '.join(supported)}</title>" in python
    licence = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license"]
    assert f": {licence}</title>" in (ROOT / "docs/images/badges/license.svg").read_text()
    # Where the repository is browsed two folders up is the repository itself, so that no host has to be named.
    workflows = [target for target in links() if target.startswith("../../actions/workflows/")]
    assert workflows
    for target in workflows:
        assert (ROOT / ".github/workflows" / target.split("/")[4]).is_file()


def test_links_within_it_lead_to_a_heading() -> None:
    assert {target for target in links() if target.startswith("#")} <= anchors()
