"""What a request for a file's answers says beside the file: the answer's form, and columns of other names."""

from __future__ import annotations

import contextlib

from starlette.requests import Request

from backend.files.faults import unusable
from backend.files.headers import headings
from backend.problems import FieldProblem, shown
from sigap.catalog import Declaration

XLSX_MEDIA = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def chosen_format(request: Request) -> str:
    """The form of the answer: that of the parameter `format`, else the first known one of `Accept`, else CSV.

    Raises:
        RequestError: 422, the parameter names another.
    """
    known = ("csv", "json", "xlsx")
    if (asked := request.query_params.get("format")) is not None:
        if asked.lower() in known:
            return asked.lower()
        problem = FieldProblem(
            field="format", value=asked[:80], expected="csv, json or xlsx", remedy="Leave it out for CSV."
        )
        raise unusable("The parameter `format` can't be used.", "See `errors`.", errors=(problem,))
    media = {"text/csv": "csv", "application/json": "json", XLSX_MEDIA: "xlsx", "*/*": "csv", "text/*": "csv"}
    weighted = []
    for entry in request.headers.get("accept", "").split(","):
        name, *parameters = (part.strip().lower() for part in entry.split(";"))
        quality = next((each[2:] for each in parameters if each.startswith("q=")), "1")
        with contextlib.suppress(ValueError):
            if name in media and float(quality) > 0:
                weighted.append((-float(quality), media[name]))
    return min(weighted, key=lambda each: each[0])[1] if weighted else "csv"


def chosen_columns(request: Request, declaration: Declaration) -> dict[str, str]:
    """By field: the heading that the parameters `column` name for it.

    Raises:
        RequestError: 422, one of them is no field and heading, or names a field twice.
    """
    known = set(headings(declaration))
    chosen: dict[str, str] = {}
    for asked in request.query_params.getlist("column"):
        field, _, heading = asked.partition("=")
        if field not in known or not heading.strip() or field in chosen:
            problem = FieldProblem(
                field="column",
                value=shown(asked),
                expected=f"FIELD=HEADING, each field once; fields are {', '.join(sorted(known))}",
                remedy="Leave it out where the heading is the field's name.",
            )
            raise unusable("A parameter `column` can't be used.", "See `errors`.", errors=(problem,))
        chosen[field] = heading
    return chosen
