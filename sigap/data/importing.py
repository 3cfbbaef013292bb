"""A file into a model's table: understood, repaired, checked row by row, and stored in one transaction.

Doing it again changes nothing. Rows are put in by their key; a column the file does not have stays as it is, and an
empty cell never wipes a value. Mock rows give way to the first real ones. What can't be stored is set aside with its
reason; what is wrong with the file as a whole refuses it, and nothing was changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pyarrow as pa
from psycopg import sql

from sigap.catalog import Declaration, Kind, declarations
from sigap.data import import_rows, loans, tables
from sigap.data.contract import ARROW_TYPES, Contract, Word, declaration_words
from sigap.data.files import FileTable, Part, read_file
from sigap.data.import_rows import ImportRows
from sigap.data.mapping import importable
from sigap.data.origin import record_origin
from sigap.data.plausible import (
    Reference,
    Sample,
    check_unit,
    comparable,
    fences_in_words,
    implausible,
    known_figures,
    numbers_of,
    references_for,
)
from sigap.data.postgres import Connection, connect, translated
from sigap.data.refusals import Refusal, Refusals
from sigap.data.repair import TEXT, moments
from sigap.data.understanding import Options, Understanding
from sigap.decisions import person
from sigap.errors import ContractError, FileError
from sigap.settings import Settings

# What is being done, and how far it has got.
Progress = Callable[[str, str], None]

# Places that are looked up to see whether the table knows those of the file.
_MOST_ENTITIES = 10_000


@dataclass(frozen=True)
class Imported:
    """What an import did, or would do.

    Attributes:
        table: Into which.
        model: Whose table it is.
        file: Name of the file.
        kind: What it is.
        rows: Rows in the file.
        inserted: Rows that are new in the table.
        changed: Rows that stood and are different now.
        unchanged: Rows that stood as they are.
        doubles: Rows of the file that repeat another one of it.
        rejected: Rows that were set aside.
        rejects_path: CSV with the reasons, or None.
        mock_removed: Mock rows that gave way.
        mock_said: Rows of the file whose own column `origin` says `mock`; they are imported rows from then on.
        headings: Heading by declared name.
        missing: Declared names without heading or value; they stay as they are, and are empty in new rows.
        unused: Headings that were not needed.
        notes: What was repaired or noticed, for people.
        dry_run: Whether nothing was changed.
    """

    table: str
    model: str
    file: str
    kind: str
    rows: int
    inserted: int
    changed: int
    unchanged: int
    doubles: int
    rejected: int
    rejects_path: Path | None
    mock_removed: int
    headings: Mapping[str, str]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    notes: tuple[str, ...]
    dry_run: bool
    mock_said: int = 0


@dataclass(frozen=True)
class _Stored:
    inserted: int
    changed: int
    unchanged: int
    doubles: int
    mock_removed: int
    notes: list[str]


@dataclass(frozen=True)
class _Load:
    """One import while it runs."""

    connection: Connection
    declared: Declaration
    file: FileTable
    options: Options
    understanding: Understanding
    refusals: Refusals
    say: Progress

    def parts(self, doing: str) -> Iterator[Part]:
        """The file's parts, with how far it has got."""
        for part in self.file.parts():
            yield part
            done = part.before + len(part.frame)
            self.say(doing, f"{done:,} of {self.understanding.rows:,} rows")


def import_file(
    settings: Settings,
    table: str,
    path: Path,
    options: Options | None = None,
    *,
    progress: Progress | None = None,
    asked_by: str = "",
) -> Imported:
    """Imports a file into a model's table, in one transaction.

    The file is read in parts and never held whole (a workbook excepted), so that its length costs time and no memory.

    Args:
        settings: Where the database and the state folder are.
        table: The table's name, or its model's.
        path: CSV, XLSX, XLS or Parquet.
        options: How it is to be understood.
        progress: Called with what is done now, and how far it has got.
        asked_by: Who wants it, as it is written down; by default this account.

    Raises:
        FileError: The table is not one of a model, or the file can't be read, or its columns or units don't fit.
        ContractError: Not one row can be stored, or the table is not as declared.
        ServiceError: PostgreSQL can't be reached, or refuses.
    """
    options = options or Options()
    say = progress or (lambda _, __: None)
    declared = find_table(table)
    reading = f"reading {path.name}"
    say(reading, "")
    file = read_file(path, options.sheet)
    understanding = Understanding(declared, file, options, lambda rows: say(reading, f"{rows:,} rows"))
    with (
        connect(settings) as connection,
        translated(settings, f"Importing into {declared.source.table}"),
        connection.transaction(force_rollback=options.dry_run),
    ):
        _lock(connection, declared, say)
        load = _Load(connection, declared, file, options, understanding, Refusals(connection), say)
        stored = _through_staging(load) if declared.source.table == loans.WAREHOUSE else _directly(load)
        rejected = load.refusals.rows()
        target = settings.state / "rejects" / "import" / f"{declared.source.table}-{path.stem}.csv"
        rejects = load.refusals.write(target)
        _refuse_nothing(load, stored, rejects)
        notes = [*understanding.notes(), *stored.notes]
        record_origin(
            connection,
            declared.source.table,
            "import",
            stored.inserted + stored.changed,
            file=path.name,
            sha256=file.sha256,
            rejected=rejected,
            details={"headings": dict(understanding.headings.found), "notes": notes, "unchanged": stored.unchanged}
            | {"asked_by": asked_by or person()},
        )
    found = understanding.headings.found
    given = {*options.values, *(declared.source.key if options.number_rows else ())}
    given |= tables.derived(declared, {*found, *options.values})
    return Imported(
        table=declared.source.table,
        model=declared.name,
        file=path.name,
        kind=file.kind,
        rows=stored.inserted + stored.changed + stored.unchanged + stored.doubles + rejected,
        inserted=stored.inserted,
        changed=stored.changed,
        unchanged=stored.unchanged,
        doubles=stored.doubles,
        rejected=rejected,
        rejects_path=rejects,
        mock_removed=stored.mock_removed,
        headings=found,
        missing=tuple(name for name in understanding.headings.missing if name not in given),
        unused=understanding.headings.unused,
        notes=tuple(notes),
        dry_run=options.dry_run,
        mock_said=understanding.mock_said,
    )


def find_table(name: str) -> Declaration:
    """The declaration whose table, or which itself, is called `name`.

    Raises:
        FileError: There is none.
    """
    for declared in declarations():
        if name in (declared.source.table, declared.name):
            return declared
    known = ", ".join(declared.source.table for declared in declarations())
    raise FileError(f"There is no table {name!r} of a model.", remedy=f"Choose one of: {known}.")


def _lock(connection: Connection, declared: Declaration, say: Progress) -> None:
    """Keeps other writers waiting until this import is over, so that its counts are true; readers go on."""
    table = declared.source.table
    found = connection.execute("SELECT to_regclass(%s)", [table]).fetchone()
    if found is None or found[0] is None:
        raise ContractError(
            f"There is no table {table} in the database.",
            remedy="`./run` makes Sigap's own tables; one of your own has to be created first.",
        )
    # Keys are told in UTC, whatever the server's own time zone is.
    connection.execute("SET LOCAL TIME ZONE 'UTC'")
    lock = sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(sql.Identifier(table))
    try:
        with connection.transaction():
            connection.execute(lock + sql.SQL(" NOWAIT"))
    except psycopg.errors.LockNotAvailable:
        say("waiting", f"for another that writes into {table}")
        connection.execute(lock)


def _through_staging(load: _Load) -> _Stored:
    """Loan applications: as they are into staging, and from there in SQL."""
    connection, unit = load.connection, _factors(load.options).get("LoanAmount")
    # The same content is the same batch, whatever its file is called now.
    batch = f"{load.file.path.name} {load.file.sha256[:12]}"
    names = [word.name for word in importable(load.declared)]
    loans.clear_staged(connection, batch)
    for part in load.parts("staging"):
        load.refusals.add(_ragged(part))
        texts = load.understanding.texts(part).reindex(columns=names)
        columns = [pa.Array.from_pandas(texts[name], type=pa.string()).to_pylist() for name in names]
        loans.stage(connection, batch, zip(texts.index, *columns, strict=True))
    load.say("loading them into the warehouse", "")
    done = loans.load_staged(connection, batch, scale=unit)
    load.refusals.add_from(loans.rejected_rows(batch))
    notes = []
    if done.scale != 1:
        how = "as told" if unit is not None else "as they compare with the incomes"
        notes.append(f"LoanAmount is multiplied by {done.scale:g} ({how}): the table holds units")
    return _Stored(done.inserted, done.changed, done.unchanged, done.doubles, done.mock_removed, notes)


def _directly(load: _Load) -> _Stored:
    connection, declared, refusals = load.connection, load.declared, load.refusals
    factors = _factors(load.options)
    fences = _fences(load, factors)
    repairs = tables.Repairs(connection, declared)
    own = tables.constants(declared)
    constants = own | {name: value for name, value in load.options.values.items() if name in own}
    rows: ImportRows | None = None
    for part in load.parts("checking"):
        texts, refused = repairs.apply(load.understanding.texts(part))
        typed = _multiplied(_columns(declared, texts), factors)
        refused += _beyond(declared, typed, fences)
        refused += tables.inconsistent(declared, typed)
        good, numbers, broken = _by_contract(declared, typed, texts, refused)
        refusals.add([*_ragged(part), *refused, *broken])
        rows = rows or ImportRows(connection, declared, list(typed), constants)
        rows.add(good, numbers)
    assert rows is not None  # noqa: S101 - a file without rows has been refused
    load.say("storing", "")
    doubles = rows.settle(refusals)
    notes = [f"{name} is multiplied by {factor}" for name, factor in factors.items() if factor != 1]
    notes = [*repairs.notes(), *notes, *tables.notices(connection, declared, import_rows.TABLE)]
    kept = rows.count()
    inserted, changed, removed = rows.store()
    return _Stored(inserted, changed, kept - inserted - changed, doubles, removed, notes)


def _ragged(part: Part) -> list[Refusal]:
    return [Refusal(row, "", "", text, "as many cells as headings") for row, text in part.broken]


def _columns(declared: Declaration, texts: pd.DataFrame) -> dict[str, pd.Series[Any]]:
    return {word.name: _typed(word, texts[word.name]) for word in importable(declared) if word.name in texts}


def _typed(word: Word, cells: pd.Series[Any]) -> pd.Series[Any]:
    """Cells in their type where all of them can be read, else as texts in one spelling: the contract judges those."""
    if word.kind is Kind.TIMESTAMP:
        return moments(cells)
    if word.kind not in (Kind.NUMBER, Kind.INTEGER):
        return cells
    numbers = pd.to_numeric(cells, errors="coerce").astype("Float64")
    unread = numbers.isna() & cells.notna()
    whole = word.kind is Kind.INTEGER and bool((numbers.dropna() % 1 == 0).all()) and numbers.abs().max() < 2**53
    if unread.any():
        shown = numbers.dropna().map(lambda value: f"{value:.17g}" if value % 1 else f"{value:.0f}")
        return cells.where(unread, shown.reindex(cells.index).astype(TEXT))
    return numbers.astype("Int64") if whole else numbers


def _factors(options: Options) -> dict[str, Decimal]:
    factors = {}
    for name, text in options.units.items():
        try:
            factors[name] = Decimal(text)
        except InvalidOperation:
            factors[name] = Decimal("NaN")
        if not factors[name].is_finite() or factors[name] <= 0:
            raise FileError(f"--unit {name}={text} is no factor.", remedy=f"Such as --unit {name}=1000.")
    return factors


def _multiplied(typed: dict[str, pd.Series[Any]], factors: Mapping[str, Decimal]) -> dict[str, pd.Series[Any]]:
    for name, factor in factors.items():
        if factor != 1 and name in typed:
            numbers = _numbers(typed[name]) * float(factor)
            unread = numbers.isna() & typed[name].notna()
            typed[name] = numbers if not unread.any() else numbers.astype(TEXT).where(~unread, typed[name])
    return typed


def _numbers(column: pd.Series[Any]) -> pd.Series[Any]:
    return pd.to_numeric(column, errors="coerce").astype("Float64")


def _fences(load: _Load, factors: Mapping[str, Decimal]) -> dict[str, tuple[Word, Reference]]:
    """What a figure is held against, by its declared name.

    Raises:
        FileError: A column is in another unit.
    """
    declared, given = load.declared, load.understanding.words
    words = tuple(word for word in numbers_of(given) if word.name not in load.options.trusted)
    if not words:
        return {}
    samples = {word.name: Sample() for word in words}
    repairs = tables.Repairs(load.connection, declared)
    entities: set[str] = set()
    for part in load.parts("comparing"):
        texts, _ = repairs.apply(load.understanding.texts(part))
        typed = _multiplied(_columns(declared, texts[[name for name in texts if name in samples]]), factors)
        for name, column in typed.items():
            samples[name].see(_numbers(column).dropna().astype(float))
        if comparable(declared) and len(entities) < _MOST_ENTITIES:
            entities |= set(texts[declared.source.entity].dropna().astype(str))
    known = references_for(load.connection, declared, words, sorted(entities))
    fences = {}
    for word in words:
        if word.name not in factors:
            check_unit(word, samples[word.name].values, known.get(word.name))
        figures = known_figures(samples[word.name], known.get(word.name)) if comparable(declared) else None
        if figures is not None:
            fences[word.name] = word, figures
    return fences


def _beyond(
    declared: Declaration, typed: Mapping[str, pd.Series[Any]], fences: Mapping[str, tuple[Word, Reference]]
) -> list[Refusal]:
    """Rows with a figure that is far from all others of its kind."""
    refused = []
    for name, (word, figures) in fences.items():
        values = _numbers(typed[name]).dropna().astype(float)
        for row in values.index[implausible(values, figures)]:
            key = ", ".join(_text(typed[part][row]) for part in declared.source.key if part in typed)
            refused.append(Refusal(int(row), key, name, f"{values[row]:g}", fences_in_words(word, figures)))
    return refused


def _text(value: Any) -> str:
    return "NULL" if pd.isna(value) else str(value)


def _by_contract(
    declared: Declaration, typed: Mapping[str, pd.Series[Any]], texts: pd.DataFrame, refused: list[Refusal]
) -> tuple[pa.RecordBatch, list[int], list[Refusal]]:
    """The rows that keep the model's contract, their numbers in the file, and why the others don't."""
    rows = pd.DataFrame(typed, index=texts.index).drop(index=list({each.row for each in refused}))
    arrays, names = [], []
    for word in declaration_words(declared):
        if word.name in rows:
            array = pa.Array.from_pandas(rows[word.name])
            array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
            arrays.append(pa.compute.cast(array, pa.string()) if pa.types.is_large_string(array.type) else array)
        else:
            arrays.append(pa.nulls(len(rows), ARROW_TYPES[word.kind]))
        names.append(word.name)
    checked = Contract(declared).judge(pa.record_batch(arrays, names=names))
    broken = []
    for reject in checked.rejects:
        row, found = rows.index[reject.row], reject.found
        if reject.field in texts and found == "NULL" and pd.notna(texts[reject.field][row]):
            found = str(texts[reject.field][row])
        broken.append(Refusal(int(row), ", ".join(reject.key), reject.field, found, reject.expected))
    kept = rows.index.drop([rows.index[reject.row] for reject in checked.rejects])
    return checked.good, kept.tolist(), broken


def _refuse_nothing(load: _Load, stored: _Stored, rejects: Path | None) -> None:
    if stored.inserted + stored.changed + stored.unchanged:
        return
    each = load.refusals.first()
    first = f" The first, row {each.row}: {each.field} is {each.found}, expected {each.expected}." if each else ""
    raise ContractError(
        f"Not one row of {load.file.path.name} can be stored in {load.declared.source.table}; nothing was changed."
        f"{first}",
        remedy=f"Every reason stands in {rejects}." if rejects else "",
    )
