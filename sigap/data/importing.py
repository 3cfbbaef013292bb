"""A file into a model's table: understood, repaired, checked row by row, and stored in one transaction.

Doing it again changes nothing. Rows are put in by their key; a column the file does not have stays as it is, and an
empty cell never wipes a value. Mock rows give way to the first real ones. What can't be stored is set aside with its
reason; what is wrong with the file as a whole refuses it, and nothing was changed.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pyarrow as pa
from psycopg import sql

from sigap.catalog import Declaration, Kind, declarations
from sigap.data import loans, tables
from sigap.data.contract import ARROW_TYPES, Contract, Word, declaration_words, table_column
from sigap.data.files import FileTable, read_file
from sigap.data.mapping import Headings, check_complete, importable, map_headings
from sigap.data.origin import has_origin, record_origin
from sigap.data.plausible import (
    check_unit,
    comparable,
    fences_in_words,
    implausible,
    known_figures,
    numbers_of,
    references_for,
)
from sigap.data.postgres import Connection, connect, translated
from sigap.data.repair import FIRST_WORD, cleaned, moments, plain_numbers, respelt
from sigap.errors import ContractError, FileError
from sigap.settings import Settings

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """How a file is to be understood.

    Attributes:
        mapping: Heading by declared name, where they differ.
        values: One value for all rows, by declared name.
        units: What a column's numbers are multiplied by, by declared name.
        accept_near: Take headings that look like a declared name for it.
        trusted: Declared names whose numbers are not compared with the range's unit or with other figures.
        number_rows: Make the key of the row's number, where files have none.
        sheet: Which sheet of a workbook.
        dry_run: Do everything and then undo it.
    """

    mapping: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    accept_near: bool = False
    trusted: tuple[str, ...] = ()
    number_rows: bool = False
    sheet: str = ""
    dry_run: bool = False


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


@dataclass(frozen=True)
class Refusal:
    """Why a row was set aside: the row's number in the file, its key, the field, what stood there, what is expected."""

    row: int
    key: str
    field: str
    found: str
    expected: str


@dataclass(frozen=True)
class _Stored:
    inserted: int
    changed: int
    unchanged: int
    doubles: int
    mock_removed: int
    refused: list[Refusal]
    notes: list[str]


def import_file(
    settings: Settings, table: str, path: Path, options: Options | None = None, *, progress: Progress | None = None
) -> Imported:
    """Imports a file into a model's table, in one transaction.

    Args:
        settings: Where the database and the state folder are.
        table: The table's name, or its model's.
        path: CSV, XLSX, XLS or Parquet.
        options: How it is to be understood.
        progress: Called with what is done next.

    Raises:
        FileError: The table is not one of a model, or the file can't be read, or its columns or units don't fit.
        ContractError: Not one row can be stored, or the table is not as declared.
        ServiceError: PostgreSQL can't be reached, or refuses.
    """
    options = options or Options()
    say = progress or (lambda _: None)
    declared = find_table(table)
    say(f"reading {path.name}")
    file = read_file(path, options.sheet)
    say(f"understanding {len(file.frame):,} rows")
    headings, frame = _understood(declared, file, options)
    respellings = [
        note for name, heading in headings.found.items() if (note := _respellings(declared, file, name, heading))
    ]
    with (
        connect(settings) as connection,
        translated(settings, f"Importing into {declared.source.table}"),
        connection.transaction(force_rollback=options.dry_run),
    ):
        _lock(connection, declared)
        load = _through_staging if declared.source.table == loans.WAREHOUSE else _directly
        stored = load(connection, declared, file, frame, options, say)
        broken = [Refusal(row, "", "", text, "as many cells as headings") for row, text in file.broken]
        refused = sorted([*broken, *stored.refused], key=lambda each: each.row)
        rejects = _write_refusals(settings, declared, path, refused)
        _refuse_nothing(declared, stored, refused, path, rejects)
        rejected = len({each.row for each in refused})
        record_origin(
            connection,
            declared.source.table,
            "import",
            stored.inserted + stored.changed,
            file=path.name,
            sha256=file.sha256,
            rejected=rejected,
            details={"headings": dict(headings.found), "notes": stored.notes, "unchanged": stored.unchanged},
        )
    given = {*options.values, *(declared.source.key if options.number_rows else ())}
    given |= tables.derived(declared, {*headings.found, *options.values})
    return Imported(
        table=declared.source.table,
        model=declared.name,
        file=path.name,
        kind=file.kind,
        rows=len(file.frame) + len(file.broken),
        inserted=stored.inserted,
        changed=stored.changed,
        unchanged=stored.unchanged,
        doubles=stored.doubles,
        rejected=rejected,
        rejects_path=rejects,
        mock_removed=stored.mock_removed,
        headings=headings.found,
        missing=tuple(name for name in headings.missing if name not in given),
        unused=headings.unused,
        notes=(*respellings, *stored.notes),
        dry_run=options.dry_run,
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


def _understood(declared: Declaration, file: FileTable, options: Options) -> tuple[Headings, pd.DataFrame]:
    """The file's columns under their declared names, as clean texts in the declared spelling."""
    names = list(file.frame.columns)
    constants = tables.constants(declared)
    mapping = map_headings(declared, names, options.mapping, accept_near=options.accept_near)
    words = {word.name: word for word in importable(declared)}
    for name in (*options.values, *options.units, *options.trusted):
        if name not in words and name not in constants:
            raise FileError(
                f"{declared.source.table} has no column {name!r}.", remedy=f"It has: {', '.join([*words, *constants])}."
            )
    known = {*options.values, *tables.derived(declared, mapping.found.keys() | options.values.keys())}
    if options.number_rows:
        known |= set(declared.source.key)
    check_complete(declared, mapping, known, file.path, names)
    tables.refuse_finer(declared, mapping)
    frame = pd.DataFrame(index=file.frame.index)
    for name, word in words.items():
        if name in options.values:
            frame[name] = _cells(word, pd.Series(options.values[name], index=frame.index), file.semicolons)
        elif options.number_rows and name in declared.source.key and name not in mapping.found:
            frame[name] = pd.Series(range(1, len(frame) + 1), index=frame.index).astype("string")
        elif name in mapping.found:
            frame[name] = _cells(word, file.frame[mapping.found[name]], file.semicolons)
    return mapping, frame


def _cells(word: Word, raw: pd.Series[Any], semicolons: bool) -> pd.Series[Any]:
    cells = respelt(word, cleaned(raw))
    if word.kind in (Kind.NUMBER, Kind.INTEGER):
        cells = plain_numbers(cells, semicolons=semicolons)
    return cells


def _respellings(declared: Declaration, file: FileTable, name: str, heading: str) -> str:
    """What was written otherwise than declared, and not just in other letters' case, for people."""
    word = next(word for word in importable(declared) if word.name == name)
    if word.kind is not Kind.CATEGORY:
        return ""
    raw = cleaned(file.frame[heading]).dropna()
    first = raw.str.split(n=1).str[0] if word.name in FIRST_WORD else raw
    spelt = respelt(word, raw)
    small = spelt.str.lower()
    other = (first.str.lower() != small) & (raw.str.lower() != small)
    if not other.any():
        return ""
    pairs = sorted({f"{one} → {two}" for one, two in zip(first[other].str.lower(), spelt[other], strict=True)})
    shown = ", ".join(pairs[:8]) + (", …" if len(pairs) > 8 else "")
    return f"{name} is respelt in {int(other.sum())} rows: {shown}"


def _lock(connection: Connection, declared: Declaration) -> None:
    """Keeps other writers waiting until this import is over, so that its counts are true; readers go on."""
    table = declared.source.table
    found = connection.execute("SELECT to_regclass(%s)", [table]).fetchone()
    if found is None or found[0] is None:
        raise ContractError(
            f"There is no table {table} in the database.",
            remedy="`./run` makes Sigap's own tables; one of your own has to be created first.",
        )
    connection.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(sql.Identifier(table)))


def _through_staging(
    connection: Connection, declared: Declaration, file: FileTable, frame: pd.DataFrame, options: Options, say: Progress
) -> _Stored:
    """Loan applications: as they are into staging, and from there in SQL."""
    unit = _factors(options).get("LoanAmount")
    # The same content is the same batch, whatever its file is called now.
    batch = f"{file.path.name} {file.sha256[:12]}"
    names = [word.name for word in importable(declared)]
    columns = [frame[name] if name in frame else pd.Series(pd.NA, frame.index, dtype="string") for name in names]
    texts = ([None if pd.isna(cell) else cell for cell in column] for column in columns)
    rows = zip(frame.index, *texts, strict=True)
    say(f"staging {len(frame):,} rows")
    loans.stage(connection, batch, rows)
    say("loading them into the warehouse")
    done = loans.load_staged(connection, batch, scale=unit)
    refused = [
        Refusal(int(number or 0), str(key or ""), str(name), str(found or "NULL"), str(wanted))
        for number, key, name, found, wanted in loans.rejected_rows(connection, batch)
    ]
    notes = []
    if done.scale != 1:
        how = "as told" if unit is not None else "as they compare with the incomes"
        notes.append(f"LoanAmount is multiplied by {done.scale:g} ({how}): the table holds units")
    return _Stored(done.inserted, done.changed, done.unchanged, done.doubles, done.mock_removed, refused, notes)


def _directly(
    connection: Connection, declared: Declaration, _: FileTable, frame: pd.DataFrame, options: Options, say: Progress
) -> _Stored:
    say("checking")
    frame, refused, notes = tables.repaired(connection, declared, frame)
    typed = {word.name: _typed(word, frame[word.name]) for word in importable(declared) if word.name in frame}
    _apply_units(typed, options, notes)
    refused += _check_figures(connection, declared, typed, options)
    refused += tables.inconsistent(declared, typed)
    rows = pd.DataFrame(typed, index=frame.index).drop(index=list({each.row for each in refused}))
    once = rows.drop_duplicates()
    doubles = len(rows) - len(once)
    good, broken = _by_contract(declared, once, frame)
    refused += broken
    notes += tables.notices(declared, good)
    say(f"storing {good.num_rows:,} rows")
    constants = tables.constants(declared) | {
        name: value for name, value in options.values.items() if name in tables.constants(declared)
    }
    inserted, changed, removed = _store(connection, declared, good, list(typed), constants)
    return _Stored(inserted, changed, good.num_rows - inserted - changed, doubles, removed, refused, notes)


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
        return cells.where(unread, shown.reindex(cells.index).astype("string"))
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


def _apply_units(typed: dict[str, pd.Series[Any]], options: Options, notes: list[str]) -> None:
    for name, factor in _factors(options).items():
        if factor != 1 and name in typed:
            numbers = pd.to_numeric(typed[name], errors="coerce").astype("Float64") * float(factor)
            unread = numbers.isna() & typed[name].notna()
            typed[name] = numbers if not unread.any() else numbers.astype("string").where(~unread, typed[name])
            notes.append(f"{name} is multiplied by {factor}")


def _check_figures(
    connection: Connection, declared: Declaration, typed: dict[str, pd.Series[Any]], options: Options
) -> list[Refusal]:
    """Refuses a file in another unit, and rows with a figure that is far from all others of its kind."""
    words = tuple(
        word for word in numbers_of(importable(declared)) if word.name in typed and word.name not in options.trusted
    )
    known = references_for(connection, declared, words, typed)
    refused = []
    for word in words:
        values = pd.to_numeric(typed[word.name], errors="coerce").astype("Float64").dropna().astype(float)
        if word.name not in options.units:
            check_unit(word, values, known.get(word.name))
        figures = known_figures(values, known.get(word.name)) if comparable(declared) else None
        if figures is None:
            continue
        for row in values.index[implausible(values, figures)]:
            key = _key(declared, typed, row)
            refused.append(Refusal(int(row), key, word.name, f"{values[row]:g}", fences_in_words(word, figures)))
    return refused


def _key(declared: Declaration, typed: Mapping[str, pd.Series[Any]], row: Any) -> str:
    values = [typed[name][row] for name in declared.source.key if name in typed]
    return ", ".join("NULL" if pd.isna(value) else str(value) for value in values)


def _by_contract(
    declared: Declaration, rows: pd.DataFrame, frame: pd.DataFrame
) -> tuple[pa.RecordBatch, list[Refusal]]:
    """The rows that keep the model's contract, in the order of the key, and why the others don't."""
    rows = rows.sort_values(list(declared.source.key), kind="stable", na_position="first")
    arrays, names = [], []
    for word in declaration_words(declared):
        if word.name in rows:
            column = rows[word.name]
            array = pa.Array.from_pandas(column)
            array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
            arrays.append(pa.compute.cast(array, pa.string()) if pa.types.is_large_string(array.type) else array)
        else:
            arrays.append(pa.nulls(len(rows), ARROW_TYPES[word.kind]))
        names.append(word.name)
    contract = Contract(declared)
    parts = [contract.check(pa.record_batch(arrays, names=names)), contract.finish()]
    good = pa.concat_batches([part.good for part in parts])
    refused = []
    for reject in (reject for part in parts for reject in part.rejects):
        row = rows.index[reject.row]
        found = reject.found
        if reject.field in frame and found == "NULL" and pd.notna(frame[reject.field][row]):
            found = str(frame[reject.field][row])
        refused.append(Refusal(int(row), ", ".join(reject.key), reject.field, found, reject.expected))
    return good, refused


def _store(
    connection: Connection,
    declared: Declaration,
    good: pa.RecordBatch,
    names: list[str],
    constants: Mapping[str, str],
) -> tuple[int, int, int]:
    table = declared.source.table
    words = {word.name: table_column(word) or word.name for word in importable(declared)}
    columns = (*constants, *(words[name] for name in names))
    key = (*constants, *(words[name] for name in declared.source.key))
    marked = has_origin(connection, table)
    removed = 0
    if marked and good.num_rows:
        where = sql.SQL("").join(
            sql.SQL(" AND {} = {}").format(sql.Identifier(name), value) for name, value in constants.items()
        )
        removed = connection.execute(
            sql.SQL("DELETE FROM {} WHERE origin = 'mock'{}").format(sql.Identifier(table), where)
        ).rowcount
    try:
        _copy(connection, table, columns, tuple(constants.values()), good.select(names))
        inserted, changed = loans.upsert(connection, "import_rows", table, columns, key, "import" if marked else "")
    except psycopg.errors.InvalidColumnReference as error:
        raise ContractError(
            f"The table {table} has no unique key on {', '.join(key)}, so rows can't be told apart.",
            remedy=f"ALTER TABLE {table} ADD PRIMARY KEY ({', '.join(key)})",
        ) from error
    except psycopg.errors.UndefinedColumn as error:
        raise ContractError(
            f"The table {table} is not as declared: {error.diag.message_primary}.",
            remedy=f"Add the column ({declared.name!r} is declared in sigap/catalog/{declared.name}.py).",
        ) from error
    return inserted, changed, removed


def _copy(
    connection: Connection, table: str, columns: tuple[str, ...], constants: tuple[str, ...], good: pa.RecordBatch
) -> None:
    listed = sql.SQL(", ").join(map(sql.Identifier, columns))
    connection.execute(
        sql.SQL("CREATE TEMP TABLE import_rows ON COMMIT DROP AS SELECT {} FROM {} LIMIT 0").format(
            listed, sql.Identifier(table)
        )
    )
    with (
        connection.cursor() as cursor,
        cursor.copy(sql.SQL("COPY import_rows ({}) FROM STDIN").format(listed)) as copy,
    ):
        for row in zip(*(column.to_pylist() for column in good.columns), strict=True):
            copy.write_row((*constants, *row))


def _write_refusals(settings: Settings, declared: Declaration, path: Path, refused: list[Refusal]) -> Path | None:
    target = settings.state / "rejects" / "import" / f"{declared.source.table}-{path.stem}.csv"
    if not refused:
        target.unlink(missing_ok=True)
        return None
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "key", "field", "found", "expected"])
        writer.writerows((each.row, each.key, each.field, each.found, each.expected) for each in refused)
    return target


def _refuse_nothing(
    declared: Declaration, stored: _Stored, refused: list[Refusal], path: Path, rejects: Path | None
) -> None:
    if stored.inserted + stored.changed + stored.unchanged:
        return
    first = ""
    if refused:
        each = refused[0]
        first = f" The first, row {each.row}: {each.field} is {each.found}, expected {each.expected}."
    raise ContractError(
        f"Not one row of {path.name} can be stored in {declared.source.table}; nothing was changed.{first}",
        remedy=f"Every reason stands in {rejects}." if rejects else "",
    )
