"""A model's pipeline: started, followed step by step, and what became of the runs before."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape

import streamlit as st

from frontend import acts, askers, parts, scores
from frontend.acts import Act, Block, Run, RunDetail
from frontend.api import ApiDownError
from frontend.operator import DeniedError, Operator, SignedOutError
from frontend.palette import ANCHORS
from frontend.views.trouble import alert
from frontend.words import Words

PULSE_SECONDS = 2.0
SHOWN = 6
# As the pipeline goes; Mage tells them in the order in which they began to exist.
ORDER = (
    "take_snapshot",
    "clean_snapshot",
    "preview_features",
    "plan_sweep",
    "fit_candidate",
    "register_challenger",
    "promote_champion",
)
# Mage runs the step that is fanned out once more, in no time, beside the runs of its candidates.
FANNED_OUT = "fit_candidate"
_MARKS = {"completed": "✓", "failed": "✕", "running": "●", "cancelled": "–", "upstream_failed": "–"}


def show(who: Operator, model: str, words: Words) -> None:
    """Draws the last runs, and the steps of the newest."""
    parts.html(
        f'<h2 class="sg-title" style="margin-top:1.4rem">{escape(words("ops.pipeline"))}</h2>'
        f'<p class="sg-small">{escape(words("ops.pipeline_text"))}</p>'
    )
    _watch(who, model, words)


@st.fragment(run_every=PULSE_SECONDS)
def _watch(who: Operator, model: str, words: Words) -> None:
    try:
        known = acts.runs(who, model)
        newest = acts.run(who, model, known[0].run) if known else None
    except DeniedError as error:
        parts.html(alert(words("ops.no_pipelines"), words("ops.no_pipelines_text"), error.detail))
        return
    except (SignedOutError, ApiDownError):
        # Where that lasts, the whole page says so when it is next drawn.
        parts.html(alert(words("ops.no_pipelines"), words("ops.no_pipelines_text")))
        return
    going_on = newest is not None and newest.going_on
    st.button(
        words("ops.start"),
        key="operator_start",
        icon=":material/play_arrow:",
        disabled=going_on,
        help=words("ops.start_busy", run=newest.run) if newest is not None and going_on else None,
        on_click=_ask_for,
        args=(model,),
    )
    if st.session_state.pop("operator_ask", False):
        # The dialog belongs to the page, not to this part of it.
        st.rerun()
    if newest is None:
        parts.html(f'<p class="sg-muted">{escape(words("ops.no_runs"))}</p>')
        return
    parts.html(_newest(newest, words) + _former(known[1 : SHOWN + 1], words))


def _ask_for(model: str) -> None:
    acts.ask_for(Act("start", model))
    st.session_state["operator_ask"] = True


def in_order(run: RunDetail) -> tuple[list[Block], bool]:
    """The steps as the pipeline goes, and whether it is known yet how many candidates there are."""
    planned = any(block.block.startswith(f"{FANNED_OUT}:") for block in run.blocks)
    kept = [block for block in run.blocks if block.block != FANNED_OUT]
    if not planned:
        # The one that stands for all of them has not run, whatever Mage says of it.
        kept += [Block(block=FANNED_OUT, status="initial")] if len(kept) < len(run.blocks) else []
    places = {name: place for place, name in enumerate(ORDER)}
    return sorted(kept, key=lambda block: places.get(block.block.partition(":")[0], len(ORDER))), planned


def _newest(run: RunDetail, words: Words) -> str:
    blocks, planned = in_order(run)
    steps = "".join(_step(block, words, planned=planned) for block in blocks)
    who = askers.told(run.asked_by, words)
    by = f" · {who}" if who else ""
    began = words.ago(run.started_at) if run.started_at else ""
    done = sum(block.status == "completed" for block in blocks)
    # How many candidates there are is known once they are planned: until then the total would jump.
    key = "ops.steps" if planned or not run.going_on else "pages.steps_open"
    progress = words(key, done=done, total=len(blocks))
    return (
        f'<section class="sg-panel" style="margin-top:.8rem"><header><h3 class="sg-title">'
        f"{escape(words('ops.run', run=run.run))}: {escape(_state(run.status, words))}</h3>"
        f'<span class="sg-small">{escape(progress)}</span></header>'
        f'<p class="sg-small">{escape(began + by)}</p>'
        f'<ul class="sg-list" style="margin-top:.6rem">{steps}</ul></section>'
    )


def _step(block: Block, words: Words, *, planned: bool) -> str:
    name, _, child = block.block.partition(":")
    open_ = name == FANNED_OUT and not child and not planned
    label = words("pages.candidates") if open_ else words.get(f"opsstep.{name}", name)
    if child:
        groups = child.removeprefix("k_")
        label += f" (k = {groups})" if groups.isdecimal() else f" ({scores.candidate(child, words)})"
    color = {"completed": ANCHORS[0], "failed": ANCHORS[2], "running": "var(--sg-accent)"}.get(
        block.status, "var(--sg-muted)"
    )
    mark = _MARKS.get(block.status, "○")
    took = _seconds(block) if block.status != "initial" else None
    long = f" · {words('ops.seconds', seconds=words.number(took, 0))}" if took is not None else ""
    fault = f'<br><span class="sg-small" lang="en">{escape(block.error)}</span>' if block.error else ""
    return (
        f'<li><span><span style="color:{color}" aria-hidden="true">{mark}</span> {escape(label)}{fault}</span>'
        f'<span class="sg-muted">{escape(_state(block.status, words) + long)}</span></li>'
    )


def _former(known: tuple[Run, ...], words: Words) -> str:
    if not known:
        return ""
    lines = "".join(
        f"<li><span>{escape(words('ops.run', run=each.run))}"
        f" · {escape(words.moment(each.started_at) if each.started_at else '–')}"
        f"{escape(' · ' + who if (who := askers.told(each.asked_by, words)) else '')}</span>"
        f'<span class="sg-muted">{escape(_state(each.status, words))}</span></li>'
        for each in known
    )
    return f'<h4 style="margin-top:1rem">{escape(words("ops.former_runs"))}</h4><ul class="sg-list">{lines}</ul>'


def _state(status: str, words: Words) -> str:
    return words.get(f"opsstate.{status}", status)


def _seconds(block: Block) -> float | None:
    """How long a step took, or has been at it."""
    if block.started_at is None or block.status not in ("running", "completed", "failed"):
        return None
    began = datetime.fromisoformat(block.started_at)
    ended = datetime.fromisoformat(block.ended_at) if block.ended_at else datetime.now(UTC)
    return max((ended - began).total_seconds(), 0.0)
