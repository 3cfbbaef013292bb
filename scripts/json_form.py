"""The form of JSON, as ruff and yamllint are for Python and YAML: `json_form.py [--fix] FILE…`.

A file parses, names no key twice, and is written as json.dumps(indent=2) does, with letters as they are and a newline
at the end. Measured data (`frontend/geography`) may stand closer, for the lines of a map are nobody's to read.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

CLOSE = ("frontend/geography/",)


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these pairs.

    Raises:
        ValueError: A key stands twice; only the last of its values would count.
    """
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"twice: {', '.join(sorted({name for name in names if names.count(name) > 1}))}")
    return found


def fault(path: Path, *, fix: bool) -> str | None:
    """What is wrong with the file, after mending what can be; None for nothing."""
    text = path.read_text(encoding="utf-8")
    try:
        content = json.loads(text, object_pairs_hook=unique)
    except ValueError as error:
        return f"no JSON: {error}"
    close = any(part in path.as_posix() for part in CLOSE)
    wanted = text.rstrip() + "\n" if close else json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    if text == wanted:
        return None
    if fix:
        path.write_text(wanted, encoding="utf-8")
        return None
    return "not in the form of json.dumps(indent=2): scripts/lint --fix writes it so"


def main(arguments: list[str]) -> int:
    """Check the files; 1 if any is not as it should be."""
    faults = {name: fault(Path(name), fix="--fix" in arguments) for name in arguments if name != "--fix"}
    for name, found in faults.items():
        if found:
            print(f"{name}: {found}", file=sys.stderr)
    return int(any(faults.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
