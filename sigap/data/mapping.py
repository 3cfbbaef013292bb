"""Which heading of a file is which declared column."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sigap.catalog import Column, Declaration, Feature
from sigap.catalog.declaration import Target
from sigap.data.contract import Word, declaration_words, table_column
from sigap.errors import FileError

_NEAR = 0.72


@dataclass(frozen=True)
class Headings:
    """How a file's headings were understood.

    Attributes:
        found: Heading by the declared name it stands for.
        near: Heading by the declared name that it looks like; not used unless that was agreed to.
        missing: Declared names that no heading stands for.
        unused: Headings that stand for nothing.
    """

    found: Mapping[str, str]
    near: Mapping[str, str]
    missing: tuple[str, ...]
    unused: tuple[str, ...]


def importable(declaration: Declaration) -> tuple[Word, ...]:
    """The words that stand for columns of the model's own table."""
    return tuple(word for word in declaration_words(declaration) if table_column(word) is not None)


def required_names(declaration: Declaration) -> set[str]:
    """Names without which no row is one."""
    columns = {column.name for column in declaration.columns if column.required}
    return columns | set(declaration.source.key)


def map_headings(
    declaration: Declaration, headings: Sequence[str], given: Mapping[str, str], *, accept_near: bool = False
) -> Headings:
    """Finds each declared column's heading: as given, of that name or alias in any case and punctuation, or near it.

    Args:
        declaration: What is looked for.
        headings: What the file has.
        given: Heading by declared name, as its owner says.
        accept_near: Whether near headings are taken for what they look like.

    Raises:
        FileError: `given` names what there is not.
    """
    words = importable(declaration)
    _check_given(declaration, words, headings, given)
    found = dict(given)
    by_plain: dict[str, str] = {}
    for heading in headings:
        by_plain.setdefault(_plain(heading), heading)
    for names in (_own_names, _titles):
        for word in words:
            free = {plain: heading for plain, heading in by_plain.items() if heading not in found.values()}
            hit = next((free[plain] for plain in map(_plain, names(word)) if plain in free), None)
            if word.name not in found and hit is not None:
                found[word.name] = hit
    near = _near(words, found, [heading for heading in headings if heading not in found.values()])
    if accept_near:
        found, near = found | near, {}
    return Headings(
        found=found,
        near=near,
        missing=tuple(word.name for word in words if word.name not in found),
        unused=tuple(heading for heading in headings if heading not in found.values()),
    )


def check_complete(
    declaration: Declaration, mapping: Headings, known: Collection[str], path: Path, headings: Sequence[str]
) -> None:
    """Refuses a file that lacks what every row needs, or has a heading that is probably meant for a declared column.

    Args:
        declaration: What is looked for.
        mapping: What was found.
        known: Names that are filled in otherwise.
        path: The file, for the message.
        headings: What it has, for the message.

    Raises:
        FileError: Such a column is missing; the message says which heading may be meant, and how to say so.
    """
    lacking = [name for name in mapping.missing if name not in known]
    near = {name: heading for name, heading in mapping.near.items() if name in lacking}
    hints = " ".join(f"--map {name}={_shell(heading)}" for name, heading in near.items())
    if needed := [name for name in lacking if name in required_names(declaration)]:
        word = needed[0]
        number = "; or number the rows: --number-rows" if needed == list(declaration.source.key) else ""
        raise FileError(
            f"{path} has no column for {', '.join(needed)}, without which no row can be stored. Its headings: "
            f"{', '.join(headings[:40])}.",
            remedy=f"Say which it is: {hints or f'--map {word}=HEADING'}; or give one value for all rows: "
            f"--set {word}=VALUE{number}.",
        )
    if near:
        pairs = ", ".join(f"{heading!r} for {name}" for name, heading in near.items())
        raise FileError(
            f"{path} has no column of exactly these names, but one that looks like each: {pairs}.",
            remedy=f"If they are meant: {hints} (or --accept for all of them); if not, rename them in the file.",
        )
    values = {word.name for word in (*declaration.features, declaration.target) if word is not None}
    if not values & (mapping.found.keys() | set(known)):
        raise FileError(
            f"{path} has none of the columns of {declaration.source.table}: {', '.join(sorted(values))}. Its headings: "
            f"{', '.join(headings[:40])}.",
            remedy="Check that it is the right file, or name the columns with --map NAME=HEADING.",
        )


def _check_given(
    declaration: Declaration, words: Iterable[Word], headings: Sequence[str], given: Mapping[str, str]
) -> None:
    names = [word.name for word in words]
    for name, heading in given.items():
        if name not in names:
            raise FileError(
                f"{declaration.source.table} has no column {name!r} to map.", remedy=f"It has: {', '.join(names)}."
            )
        if heading not in headings:
            raise FileError(f"The file has no heading {heading!r}.", remedy=f"It has: {', '.join(headings[:40])}.")


def _near(words: Iterable[Word], found: Mapping[str, str], free: list[str]) -> dict[str, str]:
    """The heading most like each column that has none, each heading once, the likest pair first."""
    pairs = []
    for word in words:
        if word.name in found:
            continue
        for heading in free:
            likeness = max(
                difflib.SequenceMatcher(None, _plain(name), _plain(heading)).ratio() for name in _own_names(word)
            )
            if likeness >= _NEAR:
                pairs.append((-likeness, word.name, heading))
    near: dict[str, str] = {}
    for _, name, heading in sorted(pairs):
        if name not in near and heading not in near.values():
            near[name] = heading
    return near


def _own_names(word: Word) -> tuple[str, ...]:
    return (word.name, table_column(word) or word.name, *word.aliases)


def _titles(word: Word) -> tuple[str, ...]:
    match word:
        case Feature() | Target():
            return (word.title.en, word.title.id)
        case Column():
            return ()


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.lower())


def _shell(text: str) -> str:
    return text if re.fullmatch(r"[\w.\-]+", text) else f"'{text}'"
