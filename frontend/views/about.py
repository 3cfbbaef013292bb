"""About a model of any task: scores beside the baseline, what it uses, where it comes from, and what was decided."""

from __future__ import annotations

from html import escape

import streamlit as st

from frontend import catalogue, charts, parts, scores
from frontend.catalogue import Decision, Detail, Lineage
from frontend.views import card
from frontend.views.ask import limits
from frontend.words import MISSING, Words
from sigap.settings import get_settings

GOOD_RULES = frozenset({"first", "better", "new_data", "not_comparable", "approved", "by_hand", "rollback"})
# The four-fifths rule of 29 CFR 1607.4 D: below, a selection rate is taken as adverse.
ADVERSE = 0.8
DECISIONS_SHOWN = 12


def show(model: Detail, words: Words) -> None:
    """Draws what somebody needs to know to trust, or to doubt, the model."""
    names = ["score", "uses"] if model.served else ["uses"]
    names += ["fairness"] if model.fairness else []
    names += ["lineage"] if model.served else []
    names += ["decisions"]
    names += ["card"] if model.served else []
    for name, tab in zip(names, st.tabs([words(f"more.{name}") for name in names]), strict=True):
        with tab:
            {
                "score": _scores,
                "uses": _uses,
                "fairness": _fairness,
                "lineage": _lineage,
                "decisions": _decisions,
                "card": _card,
            }[name](model, words)


def _scores(model: Detail, words: Words) -> None:
    left, right = st.columns(2, gap="large")
    with left:
        parts.html(_versions(model, words) + _scored(model, words))
    with right:
        if model.candidates or model.sweep:
            _candidates(model, words)


def _versions(model: Detail, words: Words) -> str:
    lines = [words("about.trained", when=f"{words.date(model.trained_at)} ({words.ago(model.trained_at)})")]
    if data := model.data:
        rows = words("data.rows", version=data.version, rows=words.number(data.rows, 0))
        newest = f" · {words('data.newest', period=words.period(data.period))}" if data.period is not None else ""
        rejected = f" · {words.counted('about.rejected', data.rows_rejected)}"
        lines.append(rows + newest + (rejected if data.rows_rejected else ""))
    lines.append(f"{words('about.sources')}: {parts.sources(model, words)}")
    if model.note is not None:
        lines.append(words.sentence(scores.note(model.note(words.language), model, words)))
    if model.interval is not None:
        lines.append(
            words(
                "about.interval",
                share=scores.share(model.interval.confidence, words, 0),
                coverage=scores.share(model.interval.coverage, words),
            )
        )
    body = "".join(f"<p>{escape(line)}</p>" for line in lines)
    return f'<h2 class="sg-title">{escape(words("about.version", version=model.model_version))}</h2>{body}'


def _scored(model: Detail, words: Words) -> str:
    title = words("metrics.title" if model.baseline else "metrics.title_groups")
    note = words("metrics.note" if model.baseline else "metrics.note_groups")
    if model.baseline and scores.tests_choice(model):
        note = f"{note} {words('metrics.note_nested')}"
    return (
        f'<h2 class="sg-title" style="margin-top:1.3rem">{escape(title)}</h2>'
        f"{scores.table(model, words)}<p class='sg-small'>{escape(note)}</p>"
    )


def _candidates(model: Detail, words: Words) -> None:
    parts.html(
        f'<h2 class="sg-title">{escape(words("tried.title"))}</h2>'
        f'<p class="sg-small">{escape(words("tried.text" if model.candidates else "tried.groups"))}</p>'
        f"<p>{escape(scores.chosen_by(model, words))}</p>"
    )
    if model.candidates:
        figure = charts.tried_figure(model, parts.surface(), words)
    else:
        figure = charts.sweep_figure(model.sweep, len(model.levels), parts.surface(), words, "sweep.groups")
    st.plotly_chart(figure, key=f"tried_{model.name}", theme=None, config=charts.NO_BAR, alt=words("tried.alt"))
    refused = [each for each in model.candidates if not each.admissible and each.reason]
    if refused:
        lines = "".join(
            f"<li><b>{escape(scores.candidate(each.name, words))}</b>"
            f"<span>{escape(scores.note(each.reason(words.language), model, words))}</span></li>"
            for each in refused
            if each.reason
        )
        parts.html(
            f"<details><summary>{escape(words('tried.refused', count=len(refused)))}</summary>"
            f'<ul class="sg-list">{lines}</ul></details>'
        )


def _uses(model: Detail, words: Words) -> None:
    language = words.language
    used = set(model.features_used) or {feature.name for feature in model.features}
    rows = []
    for feature in model.features:
        if feature.name not in used:
            continue
        known = ", ".join(feature.label(each, language) for each in feature.categories)
        known = known or ("" if model.served else limits(feature, words))
        if feature.flag:
            known = f"{words('pages.yes')}, {words('pages.no')}"
        elif feature.training_range is not None:
            low, high = (words.figure(round(end, 4)) for end in feature.training_range)
            known = words("try.range", minimum=low, maximum=high, unit=feature.unit(language)).strip()
        personal = f' <span class="sg-tag">{escape(words("uses.personal"))}</span>' if feature.personal else ""
        rows.append(
            f'<tr><th scope="row">{escape(feature.title(language))}{personal}<br>'
            f'<span class="sg-small">{escape(feature.meaning(language))}</span></th>'
            f"<td>{escape(known or MISSING)}</td></tr>"
        )
    if model.target is not None and model.target.name in used:
        # A forecast looks at what it forecasts.
        rows.append(f'<tr><th scope="row">{escape(model.target.title(language))}</th><td>{MISSING}</td></tr>')
    told = words("uses.seen" if model.served else "uses.allowed")
    heads = f"<th scope=col>{escape(words('uses.field'))}</th><th scope=col>{escape(told)}</th>"
    left = "".join(
        f"<li><span><b>{escape(model.titled(each.name, language))}</b><br>"
        f'<span class="sg-muted">{escape(words.sentence(each.reason(language)))}</span></span></li>'
        for each in model.features_left_out
    )
    rest = f'<ul class="sg-list">{left}</ul>' if left else f"<p>{escape(words('uses.all'))}</p>"
    table = f'<div class="sg-scroll"><table class="sg-table wide"><tr>{heads}</tr>{"".join(rows)}</table></div>'
    after = f'<h2 class="sg-title" style="margin-top:1.3rem">{escape(words("about.left_out"))}</h2>{rest}'
    parts.html(table + (after if model.served else ""))


def _fairness(model: Detail, words: Words) -> None:
    rows = []
    for feature in dict.fromkeys(each.feature for each in model.fairness):
        title, known = model.titled(feature, words.language), model.feature(feature)
        rows.append(f'<tr class="group"><th colspan="4" scope="rowgroup">{escape(title)}</th></tr>')
        for each in model.fairness:
            if each.feature == feature:
                low = each.disparate_impact < ADVERSE
                mark = f' <span class="sg-tag warn">{escape(words("fair.adverse"))}</span>' if low else ""
                group = known.label(each.value, words.language) if known else each.value
                group = words("ask.unknown") if each.value == MISSING else group
                rows.append(
                    f'<tr><th scope="row">{escape(group)} <span class="sg-small">'
                    f"{escape(words.counted('fair.rows', each.rows))}</span></th>"
                    f"<td>{scores.share(each.approval_rate, words)}</td>"
                    f"<td>{scores.share(each.actual_rate, words)}</td>"
                    f"<td>{words.number(each.disparate_impact, 2)}{mark}</td></tr>"
                )
    keys = ("fair.group", "fair.approved", "fair.actual", "fair.impact")
    heads = "".join(f"<th scope=col>{escape(words(key))}</th>" for key in keys)
    parts.html(
        f"<p>{escape(words('fair.text'))}</p>"
        f'<div class="sg-scroll"><table class="sg-table"><tr>{heads}</tr>{"".join(rows)}</table></div>'
    )


def _lineage(model: Detail, words: Words) -> None:
    found = catalogue.lineage(model.name, model.model_version)
    if found is None:
        parts.html(f"<p>{escape(words('more.not_now'))}</p>")
        return
    parts.html(f"<p>{escape(words('lineage.text'))}</p>{_chain(found, words)}")


def _chain(found: Lineage, words: Words) -> str:
    data, run = found.data, found.run
    aliases = ", ".join(found.version.aliases)
    took = words("lineage.took", seconds=words.number(run.seconds, 0)) if run.seconds is not None else ""
    rejected = f" · {words.counted('about.rejected', data.rows_rejected)}" if data.rows_rejected else ""
    steps = [
        ("lineage.answer", found.version.model_version, aliases),
        ("lineage.run", run.run_id[:12] or MISSING, f"{words.date(run.started_at or '')} {took}".strip()),
        ("lineage.code", found.code.git_commit[:12] or MISSING, ""),
        ("lineage.data", data.git_tag or data.version, f"md5 {data.dvc_md5[:12]}" if data.dvc_md5 else ""),
        ("lineage.rows", words.number(data.rows, 0), rejected.removeprefix(" · ")),
    ]
    items = "".join(
        f"<li><span>{escape(words(key))}</span><b>{escape(what)}</b><small>{escape(more)}</small></li>"
        for key, what, more in steps
    )
    query = f"<details><summary>{escape(words('lineage.query'))}</summary><pre>{escape(data.query)}</pre></details>"
    return f'<ol class="sg-chain">{items}</ol>{query if data.query else ""}'


def _decisions(model: Detail, words: Words) -> None:
    found = catalogue.decisions((model.name,))[model.name]
    if found is None:
        parts.html(f"<p>{escape(words('more.not_now'))}</p>")
        return
    if not found:
        parts.html(f"<p>{escape(words('decided.none'))}</p>")
        return
    lines = "".join(f"<li>{_decided(each, words)}</li>" for each in found[:DECISIONS_SHOWN])
    parts.html(f'<ol class="sg-decisions">{lines}</ol>')


def _decided(each: Decision, words: Words) -> str:
    when = f"{words.date(each.decided_at or '')} · {words.ago(each.decided_at or '')}" if each.decided_at else ""
    what = " · ".join(
        text
        for text in (
            each.model_version or "",
            words("decided.data", data=each.data_version) if each.data_version else "",
        )
        if text
    )
    told, language = each.told(words.language)
    own = f'<p class="sg-quote" lang="{language}">{escape(told)}</p>' if told else ""
    return (
        f'<p><b>{escape(outcome(each, words))}</b> <span class="sg-muted">{escape(what)}</span></p>'
        f'<p class="sg-small">{escape(when)}</p>{own}'
    )


def outcome(decision: Decision, words: Words) -> str:
    """What was decided, in a few words."""
    plain = words(f"decided.{decision.outcome}")
    return words.get(f"rule.{decision.rule}", plain) if decision.rule else plain


def _card(model: Detail, words: Words) -> None:
    card.show(model.name, model.model_version, catalogue.card(model.name, model.model_version), words)
    address = get_settings().api_address
    parts.html(f'<p class="sg-small">API: <a href="{escape(address)}/docs">{escape(address)}/docs</a></p>')
