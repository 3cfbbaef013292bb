"""`./run new-model`: a declaration and a pipeline for a table that is there, ready to train and to be put in words.

What PostgreSQL knows of the table is filled in: columns, kinds, ranges, categories, key. What only a person knows, the
meanings and units, stands there in the table's own words until somebody writes better ones.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from sigap.catalog import declarations
from sigap.catalog.declaration import (
    Classification,
    Clustering,
    Column,
    Declaration,
    Feature,
    Kind,
    Regression,
    Source,
    Target,
    Text,
)
from sigap.cli.output import say
from sigap.errors import ConfigurationError
from sigap.settings import Settings

_NAME = re.compile(r"[a-z][a-z0-9_]{1,62}")
_KINDS = {
    "smallint": Kind.INTEGER,
    "integer": Kind.INTEGER,
    "bigint": Kind.INTEGER,
    "real": Kind.NUMBER,
    "double precision": Kind.NUMBER,
    "numeric": Kind.NUMBER,
    "text": Kind.CATEGORY,
    "character varying": Kind.CATEGORY,
    "character": Kind.CATEGORY,
}
_TRIGGERS = "triggers.yaml"
_MOST_CATEGORIES = 50
# Columns that tables of Sigap's own carry beside their content.
_OURS = ("origin", "updated_at")
_YES_OR_NO = (0.0, 1.0)
_YES = ("1", "y", "yes", "true", "approved", "ya")


@dataclass(frozen=True)
class Found:
    """A column of the table, as PostgreSQL has it."""

    name: str
    kind: Kind
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] = ()
    sample: Any = None


def new_model(settings: Settings, name: str, table: str, target: str) -> list[Path]:
    """Writes the declaration and the pipeline of a new model.

    Args:
        settings: Where the checkout and the database are.
        name: The model's name, which is its files' name.
        table: The table it learns from.
        target: The column to be answered; without one the rows are grouped.

    Returns:
        The three files.

    Raises:
        ConfigurationError: The name is taken or can't be one, or the table can't be learnt from.
        ServiceError: PostgreSQL can't be reached.
    """
    pipeline = _pipeline_path(settings, name)
    paths = [settings.root / "sigap" / "catalog" / f"{name}.py", pipeline, pipeline.with_name(_TRIGGERS)]
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"{name!r} can't be a model's name.", remedy="Use small letters, digits and _: boats.")
    taken = [path for path in paths if path.exists()]
    if taken or name in {each.name for each in declarations()}:
        raise ConfigurationError(
            f"There is a model {name!r} already ({taken[0] if taken else 'in the catalogue'}).",
            remedy="Choose another name, or change that file.",
        )
    declared = declare(settings, name, table, target)
    # Every month and on request, as every model.
    triggers = _pipeline_path(settings, declarations()[0].name).with_name(_TRIGGERS).read_text(encoding="utf-8")
    for path, content in zip(paths, (written(declared), _pipeline(settings, declared), triggers), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return paths


def show_new_model(settings: Settings, name: str, table: str, target: str) -> None:
    """`./run new-model`."""
    paths = new_model(settings, name, table or name, target)
    for path in paths:
        say(f"Written: {path.relative_to(settings.root)}")
    say("Put meanings and units into the first and commit all three.")
    say("Then start Sigap again (Ctrl-C, `./run`): API and Mage read the catalogue when they start, and it is trained.")


def declare(settings: Settings, name: str, table: str, target: str) -> Declaration:
    """The declaration that follows from the table.

    Raises:
        ConfigurationError: There is no such table or column, no single key, or nothing to learn from.
        ServiceError: PostgreSQL can't be reached.
    """
    from sigap.data.postgres import connect, translated

    with connect(settings, read_only=True) as connection, translated(settings, f"Reading the table {table}"):
        key = _key(connection, table)
        found = [column for column in _columns(connection, table) if column.name not in (*_OURS, key.name)]
    if target and target not in {column.name for column in found}:
        names = ", ".join(column.name for column in found)
        raise ConfigurationError(f"{table} has no column {target!r} to learn.", remedy=f"It has: {names}.")
    features = [column for column in found if column.name != target]
    if not features:
        raise ConfigurationError(f"{table} has no column to learn from.", remedy="Add columns with numbers or choices.")
    aim = next((column for column in found if column.name == target), None)
    return Declaration(
        name=name,
        title=_text(name),
        question=Text(id=f"Apa yang dapat dikatakan tentang {name}?", en=f"What can be said of {name}?"),
        source=Source(table=table, relation=f"{table} AS t", key=(key.name,), entity=key.name),
        columns=(Column(name=key.name, sql=f"t.{key.name}", kind=key.kind, required=True, meaning=_text(key.name)),),
        features=tuple(_feature(column) for column in features),
        target=_target(aim) if aim else None,
        task=_task(aim),
        example={column.name: column.sample for column in features},
        data_source=Text(id=f"Tabel {table}", en=f"The table {table}"),
    )


def written(declared: Declaration) -> str:
    """The declaration as the Python file that a person goes on with."""
    words = ["Declaration", "Column", "Feature", "Kind", "Source", "Text", type(declared.task).__name__]
    words += ["Target"] if declared.target else []
    body = _call(declared, 0)
    return (
        f'"""What {declared.name} answers; say it here in a sentence."""\n\n'
        f"from sigap.catalog.declaration import {', '.join(sorted(words))}\n\n"
        f"{declared.name.upper()} = {body}\n"
    )


def _pipeline_path(settings: Settings, name: str) -> Path:
    return settings.root / "mage_project" / "pipelines" / name / "metadata.yaml"


def _pipeline(settings: Settings, declared: Declaration) -> str:
    """The pipeline of the first model with this model's name: all go the same way."""
    model = declarations()[0].name
    text = _pipeline_path(settings, model).read_text(encoding="utf-8")
    text = re.sub(rf"^(name|uuid): {model}$", rf"\1: {declared.name}", text, flags=re.MULTILINE)
    text = re.sub(
        rf"^variables: {{model: {model}}}$", f"variables: {{model: {declared.name}}}", text, flags=re.MULTILINE
    )
    description = f"description: From {declared.source.table} to a champion"
    return re.sub(r"^description: .*$", description, text, count=1, flags=re.MULTILINE)


def _key(connection: psycopg.Connection, table: str) -> Found:
    rows = connection.execute(
        "SELECT a.attname, format_type(a.atttypid, NULL) FROM pg_index i"
        " JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)"
        " WHERE i.indrelid = to_regclass(%s) AND i.indisprimary",
        [table],
    ).fetchall()
    exists = connection.execute("SELECT to_regclass(%s)", [table]).fetchone()
    if exists is None or exists[0] is None:
        raise ConfigurationError(
            f"PostgreSQL has no table {table!r}.", remedy="Make it, or name another by --table; it needs a primary key."
        )
    if len(rows) != 1:
        raise ConfigurationError(
            f"{table} has a primary key of {len(rows)} columns, expected one.",
            remedy=f"`ALTER TABLE {table} ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY` gives it one.",
        )
    name, kind = rows[0]
    return Found(name, Kind.INTEGER if _KINDS.get(kind) is Kind.INTEGER else Kind.TEXT)


def _columns(connection: psycopg.Connection, table: str) -> list[Found]:
    rows = connection.execute(
        "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute"
        " WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        [table],
    ).fetchall()
    found = []
    for name, kind in rows:
        if kind not in _KINDS:
            continue
        if _KINDS[kind] is Kind.CATEGORY:
            column = _category(connection, table, name)
        else:
            column = _number(connection, table, name, _KINDS[kind])
        if column is not None:
            found.append(column)
    return found


def _number(connection: psycopg.Connection, table: str, name: str, kind: Kind) -> Found | None:
    # No range has an end that is infinite or no number; the contract sets such values aside.
    query = sql.SQL(
        "SELECT min({c}), max({c}), percentile_disc(0.5) WITHIN GROUP (ORDER BY {c}) FROM {t}"
        " WHERE {c}::float8 BETWEEN -1e300 AND 1e300"
    )
    row = connection.execute(query.format(c=sql.Identifier(name), t=sql.Identifier(table))).fetchone()
    if row is None or row[0] is None or row[0] == row[1]:
        return None
    low, high = float(row[0]), float(row[1])
    sample = int(row[2]) if kind is Kind.INTEGER else float(row[2])
    if kind is Kind.INTEGER and (low, high) == _YES_OR_NO:
        return Found(name, kind, low, high, sample=sample)
    margin = (high - low) / 2
    # Wider than what was seen, for what can be true is seldom in one table; below zero only what was seen there.
    minimum = math.floor(low - margin) if low < 0 else max(0.0, math.floor(low - margin))
    return Found(name, kind, float(minimum), float(math.ceil(high + margin)), sample=sample)


def _category(connection: psycopg.Connection, table: str, name: str) -> Found | None:
    query = sql.SQL("SELECT {c}, count(*) FROM {t} WHERE {c} IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {n}")
    limit = sql.Literal(_MOST_CATEGORIES + 1)
    rows = connection.execute(query.format(c=sql.Identifier(name), t=sql.Identifier(table), n=limit)).fetchall()
    if not 2 <= len(rows) <= _MOST_CATEGORIES:
        return None
    return Found(name, Kind.CATEGORY, categories=tuple(sorted(str(row[0]) for row in rows)), sample=str(rows[0][0]))


def _feature(column: Found) -> Feature:
    return Feature(
        name=column.name,
        sql=f"t.{column.name}",
        kind=column.kind,
        title=_text(column.name),
        meaning=_text(column.name),
        unit=Text(id="", en=""),
        minimum=column.minimum,
        maximum=column.maximum,
        categories=column.categories,
    )


def _target(column: Found) -> Target:
    return Target(
        name=column.name,
        sql=f"t.{column.name}",
        kind=column.kind,
        title=_text(column.name),
        meaning=_text(column.name),
        minimum=column.minimum,
        maximum=column.maximum,
        categories=column.categories,
    )


def _task(target: Found | None) -> Classification | Clustering | Regression:
    if target is None:
        group = Text(id="Kelompok", en="Group")
        return Clustering(
            published_share=0.8, carry_forward=0, winsorize=0.01, minimum_entities=20, smallest_cluster=5,
            smallest_share=0.05, stability_floor=0.6, missing="impute", order="size",
            best=group, middle=group, worst=group,
        )  # fmt: skip
    values = target.categories
    if target.kind is Kind.INTEGER and (target.minimum, target.maximum) == _YES_OR_NO:
        values = ("0", "1")
    if len(values) == 2:
        yes = next((value for value in values if value.casefold() in _YES), values[-1])
        no = next(value for value in values if value != yes)
        return Classification(positive=yes, yes=yes, no=no, flag="prediction_code")
    if values:
        raise ConfigurationError(
            f"{target.name} has {len(values)} different texts; a number or two of them can be learnt.",
            remedy="Choose another target, or leave it out to group the rows.",
        )
    return Regression()


def _text(name: str) -> Text:
    words = name.replace("_", " ").capitalize()
    return Text(id=words, en=words)


def _call(word: Any, depth: int) -> str:
    """A declaration's word as the call that makes it, without what is the default."""
    inner, outer = "    " * (depth + 1), "    " * depth
    if isinstance(word, Text):
        return f"Text(id={_quoted(word.id)}, en={_quoted(word.en)})"
    if isinstance(word, Kind):
        return f"Kind.{word.name}"
    if hasattr(type(word), "model_fields"):
        lines = []
        for name, field in type(word).model_fields.items():
            value = getattr(word, name)
            if name != "kind" or isinstance(value, Kind):
                if not field.is_required() and value == field.get_default(call_default_factory=True):
                    continue
                lines.append(f"{inner}{name}={_call(value, depth + 1)},")
        return f"{type(word).__name__}(\n" + "\n".join(lines) + f"\n{outer})" if lines else f"{type(word).__name__}()"
    if isinstance(word, tuple) and word and not isinstance(word[0], str):
        return "(\n" + "\n".join(f"{inner}{_call(each, depth + 1)}," for each in word) + f"\n{outer})"
    if isinstance(word, dict):
        entries = [f"{inner}{_quoted(name)}: {_quoted(value)}," for name, value in word.items()]
        return "\n".join(["{", *entries, f"{outer}}}"])
    if isinstance(word, tuple):
        return f"({', '.join(_quoted(each) for each in word)}{',' if len(word) == 1 else ''})"
    return _quoted(word)


def _quoted(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
