"""`./run new-model`: a declaration and a pipeline for a table that is there, ready to train and to be put in words.

What PostgreSQL knows of the table is filled in: columns, kinds, ranges, categories, key. What only a person knows, the
meanings and units, stands there in the table's own words until somebody writes better ones.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sigap.catalog import declarations, unusable
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
from sigap.catalog.names import ANSWER_FIELDS, field_name, quoted
from sigap.cli.output import say
from sigap.cli.table_description import Description, Found, describe
from sigap.errors import ConfigurationError
from sigap.settings import Settings

_NAME = re.compile(r"[a-z][a-z0-9_]{1,62}")
_TRIGGERS = "triggers.yaml"
_YES_OR_NO = (0.0, 1.0)
_YES = ("1", "y", "yes", "true", "approved", "ya")


@dataclass(frozen=True)
class Draft:
    """What a new model is to be, and what its table has beside that.

    Attributes:
        declared: The declaration.
        left_out: Columns that nothing can be learnt from, and why.
        renamed: Names of fields by columns that are called otherwise.
    """

    declared: Declaration
    left_out: dict[str, str]
    renamed: dict[str, str]


def new_model(settings: Settings, name: str, table: str, target: str) -> tuple[Draft, list[Path]]:
    """Writes the declaration and the pipeline of a new model.

    Args:
        settings: Where the checkout and the database are.
        name: The model's name, which is its files' name.
        table: The table it learns from.
        target: The column to be answered; without one the rows are grouped.

    Returns:
        What was written of the table, and the three files.

    Raises:
        ConfigurationError: The name is taken or can't be one, or the table can't be learnt from.
        ServiceError: PostgreSQL can't be reached.
    """
    pipeline = _pipeline_path(settings, name)
    paths = [settings.root / "sigap" / "catalog" / f"{name}.py", pipeline, pipeline.with_name(_TRIGGERS)]
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"{name!r} can't be a model's name.", remedy="Use small letters, digits and _: boats.")
    taken = [path for path in paths if path.exists()]
    if taken or name in {*(each.name for each in declarations()), *unusable()}:
        raise ConfigurationError(
            f"There is a model {name!r} already ({taken[0] if taken else 'in the catalogue'}).",
            remedy="Choose another name, or change that file.",
        )
    draft = declare(settings, name, table, target)
    declared = draft.declared
    # Every month and on request, as every model.
    triggers = _pipeline_path(settings, declarations()[0].name).with_name(_TRIGGERS).read_text(encoding="utf-8")
    for path, content in zip(paths, (written(declared), _pipeline(settings, declared), triggers), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return draft, paths


def show_new_model(settings: Settings, name: str, table: str, target: str) -> None:
    """`./run new-model`."""
    draft, paths = new_model(settings, name, table or name, target)
    for path in paths:
        say(f"Written: {path.relative_to(settings.root)}")
    for column, field in draft.renamed.items():
        say(f"Named otherwise: {column} is the field {field}.")
    for line in _left_out(draft.left_out):
        say(line, style="yellow")
    say("Put meanings and units into the first and commit all three.")
    say("Then start Sigap again (Ctrl-C, `./run`): API and Mage read the catalogue when they start, and it is trained.")


def declare(settings: Settings, name: str, table: str, target: str) -> Draft:
    """The declaration that follows from the table.

    Raises:
        ConfigurationError: There is no such table or column, no single key, or nothing to learn from.
        ServiceError: PostgreSQL can't be reached.
    """
    from sigap.data.postgres import connect, translated

    with connect(settings, read_only=True) as connection, translated(settings, f"Reading the table {table}"):
        described = describe(connection, table)
    found = described.found
    aim = next((column for column in found if column.column == target), None)
    if target and aim is None:
        raise _no_target(described, target)
    features = [column for column in found if column is not aim]
    if not features:
        raise ConfigurationError(
            f"{table} has no column to learn from.",
            remedy=" ".join(["Add columns with numbers or choices.", *_left_out(described.left_out)]),
        )
    names = _names(described, aim)
    key = names[described.key]
    return Draft(
        Declaration(
            name=name,
            title=_text(name),
            question=Text(id=f"Apa yang dapat dikatakan tentang {name}?", en=f"What can be said of {name}?"),
            source=Source(table=table, relation=f"{described.relation} AS t", key=(key,), entity=key),
            columns=(
                Column(
                    name=key,
                    sql=described.key_sql,
                    kind=described.key_kind,
                    required=True,
                    meaning=_text(described.key),
                ),
            ),
            features=tuple(_feature(column, names[column.column]) for column in features),
            target=_target(aim, names[aim.column]) if aim else None,
            task=_task(aim),
            example={names[column.column]: column.sample for column in features},
            data_source=Text(id=f"Tabel {table}", en=f"The table {table}"),
        ),
        described.left_out,
        {column: field for column, field in names.items() if column != field},
    )


def _names(described: Description, aim: Found | None) -> dict[str, str]:
    """The field's name of each column that is used; names that can stay as they are do."""
    columns = [described.key, *(column.column for column in described.found)]
    names: dict[str, str] = {}
    for column in sorted(columns, key=lambda column: field_name(column, ()) != column):
        # Every answer has fields of these names itself.
        taken = ANSWER_FIELDS if aim is not None and column == aim.column else ()
        names[column] = field_name(column, {*names.values(), *taken})
    return names


def _no_target(described: Description, target: str) -> ConfigurationError:
    table = described.table
    if target == described.key:
        return ConfigurationError(
            f"{target} is the key of {table}, which tells its rows apart.", remedy="Choose another target."
        )
    if target in described.left_out:
        return ConfigurationError(
            f"The column {target!r} of {table} can't be learnt: {described.left_out[target]}.",
            remedy="Choose another target, or make a column of it that is a number, or has two values.",
        )
    names = ", ".join(column.column for column in described.found)
    return ConfigurationError(f"{table} has no column {target!r} to learn.", remedy=f"It has: {names}.")


def _left_out(columns: dict[str, str]) -> list[str]:
    return [f"Left out: {name} ({why})." for name, why in columns.items()]


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


def _feature(column: Found, name: str) -> Feature:
    return Feature(
        name=name,
        sql=_sql(column),
        flag=column.flag,
        kind=column.kind,
        title=_text(column.column),
        meaning=_text(column.column),
        unit=Text(id="", en=""),
        minimum=column.minimum,
        maximum=column.maximum,
        categories=column.categories,
    )


def _target(column: Found, name: str) -> Target:
    return Target(
        name=name,
        sql=_sql(column),
        kind=column.kind,
        title=_text(column.column),
        meaning=_text(column.column),
        minimum=column.minimum,
        maximum=column.maximum,
        categories=column.categories,
    )


def _sql(column: Found) -> str:
    return f"t.{quoted(column.column)}{'::int' if column.flag else ''}"


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
            f"{target.column} has {len(values)} different texts; a number or two of them can be learnt.",
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
