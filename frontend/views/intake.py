"""A file into a model's table: what would be done is told first, then asked for, then done."""

from __future__ import annotations

import csv
import io
from html import escape
from typing import Any

import streamlit as st

from frontend import acts, batch, catalogue, parts, supply
from frontend.acts import Act
from frontend.api import ApiDownError
from frontend.batch import MEBIBYTE
from frontend.catalogue import Detail
from frontend.operator import DeniedError, Operator
from frontend.supply import INTAKE, Imported, Intake, Reason
from frontend.views.outcome import expected_of
from frontend.views.trouble import alert
from frontend.words import Words

MOST_REASONS = 6
# Refused here in the reader's words up to this size, beyond by Streamlit.
LOOKED_AT = 64
# Counts the files that were brought in, so that the box is empty for the next one.
ROUND = "operations_round"
# How the importer tells of a value that is not as declared; other reasons are about other rows.
_BY_DECLARATION = ("a number", "a whole number", "one of ", "0 or 1")


def show(who: Operator, name: str, words: Words) -> None:
    """Draws the file's way into the table.

    Raises:
        SignedOutError: The token has ended.
        ApiDownError: The API can't be reached.
    """
    parts.html(
        f'<h2 class="sg-title" style="margin-top:1.6rem">{escape(words("supply.import"))}</h2>'
        f'<p class="sg-small">{escape(words("supply.import_text"))}</p>'
    )
    file = _take(name, words)
    if file is None:
        return
    options = _options(name, words)
    held = _looked(who, name, file, options, words)
    if held is None or held.found is None:
        return
    model = catalogue.detail(name)
    _told(held.found, model, words)
    st.button(
        words("supply.import_ask", count=words.number(held.found.inserted + held.found.changed, 0)),
        key="operator_import",
        type="primary",
        icon=":material/database_upload:",
        disabled=not held.found.moves,
        on_click=acts.ask_for,
        args=(Act("import", name, "", held.name),),
    )


def _take(name: str, words: Words) -> Any:
    most = batch.limits().max_file_bytes
    size = words.number(most / MEBIBYTE, 0)
    # After an import the box is empty again: a box of another name is a new one.
    outcome = st.session_state.get(acts.OUTCOME)
    if outcome is not None and outcome.imported is not None and st.session_state.get("operations_seen") is not outcome:
        st.session_state["operations_seen"] = outcome
        st.session_state[ROUND] = st.session_state.get(ROUND, 0) + 1
    with st.container(key="supply_drop"):
        file = st.file_uploader(
            words("batch.file", size=size),
            key=f"operator_file_{name}_{st.session_state.get(ROUND, 0)}",
            max_upload_size=max(LOOKED_AT, int(most / MEBIBYTE) + 1),
        )
    if file is not None and file.size > most:
        text = words("batch.too_large", size=words.number(file.size / MEBIBYTE, 1), most=size)
        parts.html(alert(words("batch.trouble_large"), text))
        return None
    return file


def _options(name: str, words: Words) -> dict[str, str]:
    with st.container(horizontal=True):
        near = st.checkbox(words("supply.accept"), key=f"operator_near_{name}", help=words("supply.accept_help"))
        number = st.checkbox(words("supply.number"), key=f"operator_number_{name}", help=words("supply.number_help"))
    return {"accept": str(near).lower(), "number_rows": str(number).lower()}


def _looked(who: Operator, name: str, file: Any, options: dict[str, str], words: Words) -> Intake | None:
    """What would be done with the file; asked once for each file and way of reading it."""
    key = (name, file.file_id, *options.values())
    held: Intake | None = st.session_state.get(INTAKE)
    if held is None or held.key != key:
        held = Intake(key, file, file.name, options)
        with st.spinner(words("supply.looking")):
            try:
                held.found = supply.send(who, name, held, dry_run=True)
            except DeniedError as error:
                held.refusal = error.kind, error.detail
            except ApiDownError:
                held.refusal = "down", ""
            # What may be otherwise in a moment is asked again when the page is next drawn.
            passing = held.refusal is not None and held.refusal[0] != "unusable-file"
            st.session_state[INTAKE] = None if passing else held
    if held.refusal is not None:
        kind, detail = held.refusal
        parts.html(alert(words(_trouble(kind)), words("supply.unchanged"), detail))
    return held


def _trouble(kind: str) -> str:
    known = {
        "unusable-file": "batch.trouble_unusable",
        "file-too-large": "batch.trouble_large",
        "data-busy": "supply.trouble_busy",
        "down": "batch.trouble_down",
    }
    return known.get(kind, "supply.trouble_other")


def _told(found: Imported, model: Detail, words: Words) -> None:
    facts = [
        (words("supply.rows"), words.number(found.rows, 0), ""),
        (words("supply.inserted"), words.number(found.inserted, 0), ""),
        (words("supply.changed"), words.number(found.changed, 0), ""),
        (words("supply.same"), words.number(found.unchanged, 0), ""),
        (words("supply.aside"), words.number(found.rejected, 0), ""),
    ]
    if found.doubles:
        facts.append((words("supply.doubles"), words.number(found.doubles, 0), ""))
    told = []
    if found.mock_removed:
        told.append(words("supply.mock_gives_way", count=words.number(found.mock_removed, 0)))
    if found.mock_said:
        told.append(words("supply.mock_said", count=words.number(found.mock_said, 0)))
    if found.missing:
        names = ", ".join(_field(name, model, words) for name in found.missing)
        told.append(words("supply.missing", names=names))
    if found.unused:
        told.append(words("supply.unused", names=", ".join(found.unused)))
    if not found.moves:
        told.append(words("supply.nothing_new"))
    notes = "".join(f"<p>{escape(each)}</p>" for each in told)
    notes += "".join(f'<p class="sg-small" lang="en">{escape(each)}.</p>' for each in found.notes)
    columns = "".join(
        f"<li><span>{escape(_field(name, model, words))}</span><b>{escape(heading)}</b></li>"
        for name, heading in found.headings.items()
    )
    parts.html(
        f'<section class="sg-panel" role="status" style="margin:.6rem 0"><h3 class="sg-title">'
        f"{escape(words('supply.preview', file=found.file))}</h3>{parts.facts(facts)}{notes}"
        f"<details><summary>{escape(words('supply.columns', count=len(found.headings)))}</summary>"
        f'<ul class="sg-list">{columns}</ul></details></section>'
    )
    if found.rejected:
        refused(found, model, words)


def refused(found: Imported, model: Detail, words: Words, key: str = "preview") -> None:
    """Draws why rows are set aside, and which they are; `key` tells it from what else is drawn on the page."""
    language = words.language
    lines = "".join(
        f"<li><span>{escape(_field(each.field, model, words))}: {_expected(each, model, words)}</span>"
        f"<b>{escape(words.counted('batch.rows', each.rows))}</b></li>"
        for each in found.reasons[:MOST_REASONS]
    )
    parts.html(f'<h4>{escape(words("supply.why"))}</h4><ul class="sg-list">{lines}</ul>')
    heads = [words(f"supply.{key}") for key in ("row", "field", "found", "expected")]
    rows = [
        dict(zip(heads, (each.row, _field(each.field, model, words), each.found, each.expected), strict=True))
        for each in found.refused
    ]
    with st.expander(words("supply.refused_rows", count=words.number(len(rows), 0)), key=f"operator_refused_{key}"):
        st.dataframe(rows, hide_index=True, key=f"operator_refused_rows_{key}")
        st.download_button(
            words("batch.csv"),
            data=_as_csv(rows),
            file_name=f"{batch.stem(found.file)}-{language}.csv",
            mime="text/csv",
            key=f"operator_refused_csv_{key}",
            icon=":material/download:",
            on_click="ignore",
        )


def _expected(reason: Reason, model: Detail, words: Words) -> str:
    """What was expected, as HTML: in the reader's language where the range or the choices say it all."""
    own = expected_of(model, reason.field, words) if reason.expected.startswith(_BY_DECLARATION) else ""
    return escape(own) if own else f'<span lang="en">{escape(reason.expected)}</span>'


def _field(name: str, model: Detail, words: Words) -> str:
    if model.target is not None and name == model.target.name:
        return model.target.title(words.language)
    return model.titled(name, words.language) if name else words("batch.whole_row")


def _as_csv(rows: list[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]) if rows else [])
    writer.writeheader()
    # A cell that a spreadsheet would take for a formula is none.
    safe = ({name: f"'{cell}" if str(cell)[:1] in "=+-@" else cell for name, cell in row.items()} for row in rows)
    writer.writerows(safe)
    return out.getvalue()
