"""One model of any task: what it answers, how good it is beside its baseline, and where that comes from."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import streamlit as st

from frontend import catalogue, charts, parts, scores
from frontend.catalogue import Decision, Detail, Forecast
from frontend.views import about, answers, ask, segments
from frontend.words import Words

# How often a page of forecasts asks for a newer one.
FORECAST_SECONDS = 10.0


def show(name: str, words: Words) -> None:
    """Draws the page of the model `name`.

    Raises:
        ApiDownError: The API can't be reached.
    """
    model = catalogue.detail(name)
    parts.html(_hero(model, words))
    if not model.served:
        parts.html(_empty(model, words))
        about.show(model, words)
        return
    if model.task == "forecasting":
        _forecast(model, words)
    elif model.task == "clustering":
        segments.show(model, words)
        parts.html(f'<h2 class="sg-title" style="margin-top:1.2rem">{escape(words("ask.which"))}</h2>')
        ask.show(model, words)
    else:
        ask.show(model, words)
    parts.html(f'<h2 class="sg-title" style="margin-top:1.4rem">{escape(words("tab.about"))}</h2>')
    about.show(model, words)


def mock(model: Detail, words: Words) -> str:
    """Where the data is from, said so that nobody takes made-up rows for real ones."""
    if model.data is not None and model.data.origin:
        text, warn = words(f"data.{model.data.origin}"), " warn" if model.data.origin == "mock" else ""
        return f'<span class="sg-tag{warn}">{escape(text)}</span>'
    return (
        f'<span class="sg-small">{escape(words("about.sources"))}: {escape(model.data_source(words.language))}</span>'
    )


def _hero(model: Detail, words: Words) -> str:
    language = words.language
    head = scores.finding(model, words) if model.served else words("none.title")
    eyebrow = model.title(language)
    if model.served:
        eyebrow += f" · {words('about.version', version=model.model_version)}"
    return (
        f'<section class="sg-hero"><p class="sg-eyebrow">{escape(eyebrow)}</p>'
        f"<h1>{escape(model.question(language))}</h1>"
        f'<p class="sg-question">{escape(head)}</p><p style="margin-top:.5rem">{mock(model, words)}</p></section>'
    )


def _empty(model: Detail, words: Words) -> str:
    """Why there is no champion, plainly, and what an administrator can do where nothing is being done."""
    head = f'<section class="sg-panel sg-refused" role="status"><h3>{escape(words("none.why"))}</h3>'
    reason, remedy = refusal(model, words), ""
    decided = (catalogue.decisions((model.name,)) or {}).get(model.name) or ()
    if not training(decided):
        remedy = f"{escape(words('state.empty.remedy'))} <code>./run pipeline {escape(model.name)}</code>"
    elif any(each.outcome != "running" for each in decided):
        remedy = escape(words("none.again"))
    more = f'<p class="sg-small" style="margin-top:.9rem">{remedy}</p>' if remedy else ""
    return f"{head}{reason}{more}</section>"


def training(decided: Sequence[Decision]) -> bool:
    """Whether the model is being trained now."""
    return any(each.outcome == "running" for each in decided)


def refusal(model: Detail, words: Words) -> str:
    """The reason why there is no champion, as HTML: in the reader's language, and in the run's own words."""
    decided = (catalogue.decisions((model.name,)) or {}).get(model.name)
    last = next((each for each in decided or () if each.outcome != "running"), None)
    if last is None:
        key = "none.unknown" if decided is None else "none.running" if training(decided) else "none.untrained"
        return f"<p>{escape(words(key))}</p>"
    key = "none.failed" if last.outcome == "failed" else "none.refused"
    key = "none.waiting" if last.rule == "waiting" else key
    told, language = last.told(words.language)
    own = f'<p class="sg-quote" lang="{language}">{escape(told)}</p>' if told else ""
    return f"<p>{escape(words(key, data=last.data_version, when=words.ago(last.decided_at or '')))}</p>{own}"


@st.fragment(run_every=FORECAST_SECONDS)
def _forecast(model: Detail, words: Words) -> None:
    answer = catalogue.latest_forecast(model, model.name, model.model_version)
    if answer is None:
        parts.html(f'<section class="sg-panel"><p>{escape(words("try.failed"))}</p></section>')
        return
    left, right = st.columns([6, 6], gap="large")
    with left:
        parts.html(answers.forecast(model, answer, words))
    with right:
        _chart(model, answer, words)


def _chart(model: Detail, answer: Forecast, words: Words) -> None:
    parts.html(
        f'<h2 class="sg-title">{escape(words("forecast.title"))}</h2>'
        f'<p class="sg-small">{escape(words("forecast.text"))}</p>'
    )
    st.plotly_chart(
        charts.forecast_figure(model, answer, parts.surface(), words),
        key=f"forecast_{model.name}",
        theme=None,
        config=charts.NO_BAR,
        alt=words("forecast.alt"),
    )
