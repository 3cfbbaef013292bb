"""What a batch is answered with: what all rows share, once, and one entry a row."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from backend.problems import FieldProblem
from backend.requests import problem_example, type_name
from backend.tasks import answer_example, answer_model
from sigap.catalog import Declaration

# What the answers of a version have in common stands once, beside the rows.
SHARED = (
    "model_version",
    "model",
    "data_version",
    "features_used",
    "features_left_out",
    "segment_bounds",
    "threshold",
    "calibrated",
    "calibration",
    "note",
    "baseline",
)


class RefusedRow(BaseModel):
    """A row that has no answer."""

    row: int = Field(description="Which one, counted from 1.", ge=1)
    status: Literal["refused"]
    errors: list[FieldProblem] = Field(description="One entry a field that is wrong.")


def batch_model(declaration: Declaration) -> type[BaseModel]:
    """The type of a batch's answer: what all rows share, the counts, and one entry a row."""
    whole = answer_model(declaration).model_fields
    shared = {name: (whole[name].annotation, whole[name]) for name in SHARED if name in whole}
    own: dict[str, Any] = {name: (field.annotation, field) for name, field in whole.items() if name not in SHARED}
    repeated: dict[str, Any] = {
        name: (annotation | None, Field(None, description="As above; only with `full=true`."))
        for name, (annotation, _) in shared.items()
        if annotation is not None
    }
    place: dict[str, Any] = {
        "row": (int, Field(description="Which one, counted from 1.", ge=1)),
        "status": (Literal["answered"], ...),
    }
    row = create_model(
        type_name(declaration, "AnsweredRow"),
        __doc__="A row and its answer.",
        __config__=ConfigDict(protected_namespaces=()),
        **{**place, **own, **repeated},
    )
    fields: dict[str, Any] = {
        **shared,
        "rows": (int, Field(description="Rows that came.")),
        "answered": (int, Field(description="Rows with an answer.")),
        "refused": (int, Field(description="Rows without one; the others are answered all the same.")),
        "predictions": (
            list[Annotated[row | RefusedRow, Field(discriminator="status")]],
            Field(description="One entry a row, in their order."),
        ),
    }
    return create_model(
        type_name(declaration, "BatchAnswer"),
        __doc__=f"{declaration.question.en} Of many rows.",
        __config__=ConfigDict(protected_namespaces=()),
        **fields,
    )


def batch_example(declaration: Declaration) -> dict[str, Any]:
    """A batch's answer as the documentation shows it; its numbers illustrate."""
    whole = answer_example(declaration)
    own = {name: value for name, value in whole.items() if name not in SHARED}
    return {
        **{name: value for name, value in whole.items() if name in SHARED},
        "rows": 2,
        "answered": 1,
        "refused": 1,
        "predictions": [
            {"row": 1, "status": "answered", **own},
            {"row": 2, "status": "refused", "errors": problem_example(declaration)["errors"]},
        ],
    }
