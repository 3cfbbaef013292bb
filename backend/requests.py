"""What comes in, as types built from a model's declaration, and what is told of a request that is not right."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model

from backend.problems import FieldProblem, RequestError, shown
from sigap.catalog import Column, Declaration, Feature, Kind
from sigap.catalog.declaration import Clustering, Forecasting, Target
from sigap.catalog.values import plain

SHOWN_ERRORS = 20
# More candles than any model looks at; the body's own limit comes first for long ones.
MOST_CANDLES = 5000
CANDLES = "candles"
_SERVED_ONLY = " Null only if the served model does not use it."
_FILLED_IN = " Null where unknown: the served model puts what is typical of its training rows in its place."


class Request(BaseModel):
    """Base of the requests: numbers are numbers and finite, and no field is unknown."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


def type_name(declaration: Declaration, suffix: str) -> str:
    """The name of a type of this model's, such as `CarPriceRequest`."""
    return "".join(part.title() for part in declaration.name.split("_")) + suffix


def fills_in(declaration: Declaration) -> bool:
    """Whether the models of this declaration answer although a used feature is unknown."""
    task = declaration.task
    return task.missing == "impute" if isinstance(task, Clustering) else True


def documented_example(declaration: Declaration) -> dict[str, Any]:
    """The declaration's example with its categories as the documented type spells them."""
    spelling = {feature.name: _spelling(feature) for feature in declaration.features if feature.categories}
    return {name: spelling[name](value) if name in spelling else value for name, value in declaration.example.items()}


def documented_body(declaration: Declaration) -> dict[str, Any]:
    """What the documentation says of a request's body beside its type; a forecast needs none."""
    return {
        "content": {"application/json": {"example": documented_example(declaration)}},
        "required": not isinstance(declaration.task, Forecasting),
    }


def request_model(declaration: Declaration) -> type[Request]:
    """The type of a request to the model: its request columns and all its features, or the newest candles.

    Of a row, every field has to be there. A feature may be null; whether the served model can do without it is checked
    against that model, because another champion may use other features.
    """
    fields = _series_fields(declaration) if isinstance(declaration.task, Forecasting) else _row_fields(declaration)
    return create_model(
        type_name(declaration, "Request"),
        __base__=Request,
        __doc__=declaration.question.en,
        __config__=None,
        **fields,
    )


def _row_fields(declaration: Declaration) -> dict[str, Any]:
    example = documented_example(declaration)
    hint = _FILLED_IN if fills_in(declaration) else _SERVED_ONLY
    fields = {name: _column_field(declaration.column(name), example.get(name)) for name in declaration.request_columns}
    for feature in declaration.features:
        fields[feature.name] = (_feature_type(feature, example.get(feature.name), hint), ...)
    return fields


def _series_fields(declaration: Declaration) -> dict[str, Any]:
    target, time = declaration.target, declaration.column(declaration.source.time)
    if target is None:
        raise TypeError(f"{declaration.name} forecasts nothing: it has no target")
    begun = Field(
        description=f"{time.meaning.en}, ISO 8601. {time.meaning.id}.",
        examples=["2025-01-31T00:00:00Z"],
        json_schema_extra={"format": "date-time"},
    )
    fields: dict[str, Any] = {
        time.name: (Annotated[str, begun], ...),
        target.name: (Annotated[_plain(target), _described(target, None)], ...),
    }
    for feature in declaration.features:
        fields[feature.name] = (_feature_type(feature, None, " May be left out."), None)
    candle = create_model(type_name(declaration, "Candle"), __base__=Request, __config__=None, **fields)
    return {
        CANDLES: (
            Annotated[
                list[candle] | None,
                Field(
                    description="The newest candles, the oldest first and one step apart. Left out or null: "
                    f"those of the table {declaration.source.table}.",
                    max_length=MOST_CANDLES,
                ),
            ],
            None,
        )
    }


def _column_field(column: Column, example: Any) -> Any:
    described = Field(
        description=f"{column.meaning.en}. {column.meaning.id}.",
        pattern=f"^(?:{column.pattern})$" if column.pattern else None,
        ge=_limit(column, column.minimum),
        le=_limit(column, column.maximum),
        examples=[example],
    )
    kind = _plain(column)
    return Annotated[kind if column.required else kind | None, described], ...


def _feature_type(feature: Feature, example: Any, hint: str) -> Any:
    kind: Any = _plain(feature)
    if feature.categories:
        kind = Annotated[Literal[feature.categories], BeforeValidator(_spelling(feature))]
    return Annotated[kind | None, _described(feature, example, hint)]


def _described(declared: Feature | Target, example: Any, hint: str | None = None) -> Any:
    title, meaning, unit = declared.title, declared.meaning, declared.unit
    unit_en, unit_id = (unit.en, unit.id) if unit else ("", "")
    case = " In any case of letters." if declared.categories else ""
    return Field(
        title=f"{title.en} ({unit_en})" if unit_en else title.en,
        description=f"{_joined(meaning.en, unit_en)}. {_joined(meaning.id, unit_id)}.{case}",
        ge=_limit(declared, declared.minimum),
        le=_limit(declared, declared.maximum),
        examples=None if example is None else [example],
        json_schema_extra=_nullable(hint) if hint else None,
    )


def _joined(meaning: str, unit: str) -> str:
    return f"{meaning}, {unit}" if unit else meaning


def _nullable(hint: str) -> Callable[[dict[str, Any]], None]:
    def rewrite(schema: dict[str, Any]) -> None:
        # {"type": ["number", "null"]} says the same as anyOf and is what people can read in Swagger UI and ReDoc.
        kind, _null = schema.pop("anyOf")
        schema |= kind
        schema["type"] = [kind["type"], "null"]
        if "const" in schema:
            schema["enum"] = [schema.pop("const")]
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
        schema["description"] += hint

    return rewrite


def _plain(declared: Column | Feature | Target) -> Any:
    """The type of a value that is no category."""
    if declared.kind is Kind.INTEGER:
        # JSON knows one kind of number: 92.0 is as whole as 92.
        limits = Field(ge=declared.minimum, le=declared.maximum)
        return Annotated[int, limits, BeforeValidator(whole)]
    return float if declared.kind is Kind.NUMBER else str


def _limit(declared: Column | Feature | Target, limit: float | None) -> float | None:
    # A whole number's range is part of its type already.
    return None if declared.kind is Kind.INTEGER else limit


def whole(value: Any) -> Any:
    """A whole number, however it is written; everything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _spelling(feature: Feature) -> Callable[[Any], Any]:
    """Turns a category in any case of letters into the declared spelling; leaves everything else as it is."""
    declared = {category.casefold(): category for category in feature.categories}

    def spelled(value: Any) -> Any:
        return declared.get(value.strip().casefold(), value) if isinstance(value, str) else value

    return spelled


class Validator:
    """Checks decoded requests to one model.

    Args:
        declaration: The model's declaration.
    """

    def __init__(self, declaration: Declaration) -> None:
        self.request = request_model(declaration)
        self._validator = self.request.__pydantic_validator__
        columns = {name: _expected_column(declaration.column(name)) for name in declaration.request_columns}
        self._expected = columns | {feature.name: expected_value(feature) for feature in declaration.features}
        self._flags = {feature.name for feature in declaration.features if feature.flag}
        may_lack = {name for name in columns if not declaration.column(name).required}
        self._nullable = may_lack | {feature.name for feature in declaration.features}
        if isinstance(declaration.task, Forecasting) and declaration.target:
            time, target = declaration.source.time, declaration.target
            inside = {time: "a moment in ISO 8601", target.name: expected_value(target)} | self._expected
            self._inside: dict[str, str] = inside
            self._expected = {CANDLES: f"a list of candles, each with {time} and {target.name}"}
        else:
            self._inside = {}

    def __call__(self, fields: dict[str, Any], used: Collection[str] = ()) -> dict[str, Any]:
        """The fields, once they are known to be right for a model that can't do without the features `used`.

        Categories come back in their declared spelling, candles as objects.

        Raises:
            RequestError: 422, with one entry a field that is missing, unknown, of another type, out of its range or
                not finite, or null although the model needs it.
        """
        try:
            request = self._validator.validate_python(fields)
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False)
            raise refused([self._problem(each["type"], each["loc"], each["input"], used) for each in found]) from None
        values = dict(request.__dict__)
        if absent := [name for name in used if values[name] is None]:
            raise refused([self._needed(name) for name in absent])
        return values

    def _problem(
        self, kind: str, location: tuple[int | str, ...], value: Any, used: Collection[str] = ()
    ) -> FieldProblem:
        # Of a candle: which one, and which of its fields. A category's location ends with the names of its types.
        depth = 3 if self._inside else 1
        name = ".".join(str(part) for part in location[:depth])
        known = self._inside if len(location) >= 3 and self._inside else self._expected
        last = str(location[:depth][-1]) if location else ""
        if kind == "extra_forbidden":
            near = difflib.get_close_matches(last, known, n=1)
            remedy = f"Did you mean {near[0]}?" if near else "Leave it out."
            expected = f"one of: {', '.join(known)}"
            return FieldProblem(field=str(shown(name)), value=shown(value), expected=expected, remedy=remedy)
        expected = known.get(last, "a candle" if self._inside else "text in valid Unicode")
        if kind == "missing":
            free = name in self._nullable and name not in used
            remedy = "Add the field; it may be null, for the model does without it." if free else "Add the field."
            return FieldProblem(field=name, value=None, expected=expected, remedy=remedy)
        return FieldProblem(field=name, value=shown(value), expected=expected, remedy=self._remedy(kind, last, value))

    def _remedy(self, kind: str, field: str, value: Any) -> str:
        if isinstance(value, bool) and kind in ("float_type", "int_type"):
            return "Send 1 for yes, 0 for no." if field in self._flags else "Send a JSON number, not true or false."
        return _remedy(kind)

    def _needed(self, name: str) -> FieldProblem:
        return FieldProblem(
            field=name, value=None, expected=self._expected[name], remedy="The served model needs it: send a value."
        )


def refused(errors: list[FieldProblem]) -> RequestError:
    """The refusal of a request with these faults."""
    names = ", ".join(error.field or "the body" for error in errors[:SHOWN_ERRORS])
    more = f" and {len(errors) - SHOWN_ERRORS} more" if len(errors) > SHOWN_ERRORS else ""
    return RequestError(
        422,
        "invalid-request",
        "The request is not valid",
        f"Not valid: {names}{more}.",
        remedy="`errors` says what is expected of each.",
        errors=tuple(errors[:SHOWN_ERRORS]),
    )


def _remedy(kind: str) -> str:
    if kind in ("float_type", "int_type"):
        return "Send a JSON number, without quotes."
    if kind in ("greater_than_equal", "less_than_equal"):
        return "Check the value and its unit."
    if kind == "finite_number":
        return "Send a finite number; if it is unknown, don't send NaN or Infinity for it."
    return "Correct the value."


def _range(minimum: float | None, maximum: float | None) -> str:
    if minimum is not None and maximum is not None:
        return f" from {plain(minimum, maximum)} to {plain(maximum, minimum)}"
    if minimum is not None:
        return f" of at least {plain(minimum)}"
    return f" of at most {plain(maximum)}" if maximum is not None else ""


def _expected_column(column: Column) -> str:
    if column.kind in (Kind.NUMBER, Kind.INTEGER):
        return f"{_noun(column.kind)}{_range(column.minimum, column.maximum)}"
    form = column.form.en if column.form else f"a text like {column.pattern}" if column.pattern else "a text"
    return f"{form}: {column.meaning.en}"


def expected_value(declared: Feature | Target) -> str:
    """What is expected of a feature or a target, in words."""
    if declared.categories:
        return f"one of: {', '.join(declared.categories)}"
    if isinstance(declared, Feature) and declared.flag:
        return "0 or 1"
    unit = f" ({declared.unit.en})" if declared.unit and declared.unit.en else ""
    return f"{_noun(declared.kind)}{_range(declared.minimum, declared.maximum)}{unit}"


def _noun(kind: Kind) -> str:
    return {Kind.NUMBER: "a number", Kind.INTEGER: "a whole number"}.get(kind, "a text")


def problem_example(declaration: Declaration) -> dict[str, Any]:
    """A refusal as the documentation shows it: a number of the declaration's out of its range."""
    numbers = [feature for feature in declaration.features if not feature.categories]
    feature = numbers[0] if numbers else declaration.features[0]
    field = f"{CANDLES}.0.{feature.name}" if isinstance(declaration.task, Forecasting) else feature.name
    return {
        "type": "urn:sigap:problem:invalid-request",
        "title": "The request is not valid",
        "status": 422,
        "detail": f"Not valid: {field}. `errors` says what is expected of each.",
        "errors": [
            {
                "field": field,
                "value": 998 if feature.maximum is None or feature.maximum < 998 else feature.maximum * 10,
                "expected": expected_value(feature),
                "remedy": _remedy("less_than_equal"),
            }
        ],
        "request_id": "8a5edab282632443219e051e",
    }
