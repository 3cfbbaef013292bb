"""The data that a run saw: how much, what is missing, how it is spread, and what changed since the version before."""

from __future__ import annotations

from html import escape

import streamlit as st

from frontend import parts, runs, scores
from frontend.catalogue import Detail
from frontend.runs import Column, Profile, Run
from frontend.tables import table
from frontend.words import MISSING, Words

# The usual reading of the population stability index.
PSI_SOME, PSI_MUCH = 0.1, 0.25
FREQUENT = 4


def show(model: Detail, run: Run, words: Words) -> None:
    """Draws the profile of the run's snapshot."""
    with st.spinner(words("runs.loading")):
        found = runs.profile(model.name, run.run_id)
    if found is None:
        parts.html(f"<p>{escape(words('runs.no_profile'))}</p>")
        return
    facts = [
        (words("lineage.data"), found.version, run.data_md5),
        (words("lineage.rows"), words.number(found.rows, 0), ""),
        (words("runs.set_aside"), words.number(found.rejected, 0), words("runs.set_aside_help")),
        (words("runs.duplicates"), words.number(found.duplicates, 0), words("runs.duplicates_help")),
    ]
    if found.origin in parts.IMPORTED:
        facts.append((words("about.sources"), words(f"data.{found.origin}"), ""))
    parts.html(parts.facts(facts) + _changes(found, model, words) + columns(found, model, used(model, run), words))


def used(model: Detail, run: Run) -> frozenset[str] | None:
    """The features that the model of a run was fitted with; None where the run does not tell."""
    if run.model_version and run.model_version == model.model_version and model.features_used:
        return frozenset(model.features_used)
    tried = runs.run(model.name, run.run_id)
    listed = tried.params.get("features_used", "") if tried else ""
    return frozenset(name.strip() for name in listed.split(",") if name.strip()) or None


def _changes(found: Profile, model: Detail, words: Words) -> str:
    changes = found.changes
    head = f'<h2 class="sg-title" style="margin-top:1.3rem">{escape(words("runs.changes"))}</h2>'
    if changes is None:
        return f"{head}<p>{escape(words('runs.first_data'))}</p>"
    text = words(
        "runs.changed",
        against=changes.against,
        before=words.number(changes.rows_before, 0),
        added=words.number(changes.added, 0),
        removed=words.number(changes.removed, 0),
        changed=words.number(changes.changed, 0),
    )
    keys = {each.name for each in found.columns if each.role == "key"}
    shifts = [(each.psi, each.name) for each in changes.columns if each.psi is not None and each.name not in keys]
    moved = sorted((shift for shift in shifts if shift[0] > PSI_SOME), reverse=True)
    lines = "".join(
        f"<li><span>{escape(title(name, model, words))}</span>"
        f"<span>{escape(words('runs.much' if psi > PSI_MUCH else 'runs.some'))}"
        f' <span class="sg-small">PSI {words.number(psi, 2)}</span></span></li>'
        for psi, name in moved
    )
    listed = f'<ul class="sg-list">{lines}</ul>' if lines else f"<p>{escape(words('runs.no_shift'))}</p>"
    return f"{head}<p>{escape(text)}</p>{listed}"


def columns(found: Profile, model: Detail, used: frozenset[str] | None, words: Words) -> str:
    """Every column with what it was for, as HTML; `used` are the features that the model was fitted with."""
    heads = ("runs.column", "runs.missing", "runs.spread", "runs.typical", "runs.shape")
    rows = "".join(_row(each, model, used, words) for each in found.columns)
    head = "".join(f"<th scope=col>{escape(words(key))}</th>" for key in heads)
    return (
        f'<h2 class="sg-title" style="margin-top:1.3rem">{escape(words("runs.columns"))}</h2>'
        f"{table(f'<tr>{head}</tr>{rows}', words('runs.columns'), 'wide')}"
    )


def title(name: str, model: Detail, words: Words) -> str:
    """A column's title, or its name where the declaration has none."""
    if model.target is not None and _is_target(name, model):
        return model.target.title(words.language)
    return model.titled(name, words.language)


def _is_target(name: str, model: Detail) -> bool:
    return model.target is not None and name == model.target.name


def role(column: Column, used: frozenset[str] | None, words: Words) -> str:
    """What a column was for: of a declared feature, what the model of this run made of it."""
    if column.role != "feature" or used is None:
        return words(f"runs.role_{column.role}")
    return words("runs.role_used" if column.name in used else "runs.role_unused")


def _row(column: Column, model: Detail, used: frozenset[str] | None, words: Words) -> str:
    feature = model.feature(column.name) or (model.target if _is_target(column.name, model) else None)
    unit = feature.unit(words.language) if feature and feature.unit else ""
    missing = scores.share(column.missing_share, words) if column.missing else MISSING
    part = f'<br><span class="sg-small">{escape(role(column, used, words))}</span>'
    return (
        f'<tr><th scope="row">{escape(title(column.name, model, words))}{part}</th><td>{escape(missing)}</td>'
        f"<td>{escape(_spread(column, unit, words))}</td><td>{escape(_typical(column, unit, words))}</td>"
        f"<td>{bars(column, words)}</td></tr>"
    )


def _spread(column: Column, unit: str, words: Words) -> str:
    low, high = (_value(end, column, words) for end in (column.minimum, column.maximum))
    if low and high:
        return words("try.range", minimum=low, maximum=high, unit=unit).strip()
    return words("runs.distinct", count=words.number(column.distinct, 0))


def _value(value: float | str | None, column: Column, words: Words) -> str:
    if isinstance(value, str):
        return words.period(value)
    if value is None:
        return ""
    # A year or a number that names something is no amount: 2024 and not 2,024.
    return f"{value:.10g}" if column.role == "key" else words.figure(round(value, 2))


def _typical(column: Column, unit: str, words: Words) -> str:
    """The median of a number, the most frequent values of anything else."""
    middle = column.quantiles.get("0.5")
    if column.role == "key":
        # Half of all years, or of all numbers of rows, tells nothing.
        return MISSING
    if middle is not None:
        return words("runs.median", value=words.figure(round(middle, 2)), unit=unit).strip()
    return ", ".join(list(column.top)[:FREQUENT]) or MISSING


def bars(column: Column, words: Words) -> str:
    """How often which values occur, as bars; empty where that is not told."""
    counts = column.counts or tuple(column.top.values())
    most = max(counts, default=0)
    if not most:
        return ""
    heights = "".join(f'<i style="height:{max(100 * count / most, 3 if count else 0):.0f}%"></i>' for count in counts)
    return f'<div class="sg-bars" role="img" aria-label="{escape(words("runs.shape"))}">{heights}</div>'
