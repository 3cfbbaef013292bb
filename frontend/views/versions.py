"""The versions of a model: which is in use, which waits for a person, and to which one can go back."""

from __future__ import annotations

from html import escape

import streamlit as st

from frontend import acts, parts
from frontend.acts import Act, Version
from frontend.operator import DeniedError, Operator
from frontend.views.confirmation import since_when
from frontend.views.trouble import alert
from frontend.words import Words

SHOWN = 12


def show(who: Operator, model: str, words: Words) -> None:
    """Draws them with what can be done.

    Raises:
        SignedOutError: The token has ended.
        ApiDownError: The API can't be reached.
    """
    parts.html(f'<h2 class="sg-title" style="margin-top:1rem">{escape(words("ops.versions"))}</h2>')
    try:
        known = acts.versions(who, model)
    except DeniedError as error:
        parts.html(alert(words("ops.no_registry"), "", error.detail))
        return
    standing = {alias: each for each in known for alias in each.aliases}
    champion, challenger = standing.get("champion"), standing.get("challenger")
    left, right = st.columns(2, gap="medium")
    with left:
        _used(model, champion, words)
        _back(model, known, standing, words)
    with right:
        _challenger(model, champion, challenger, words)
    if known:
        with st.expander(words("ops.all_versions", count=len(known)), key=f"operator_versions_{model}"):
            parts.html(_table(known[:SHOWN], words))


def _used(model: str, champion: Version | None, words: Words) -> None:
    if champion is None:
        parts.html(f'<section class="sg-panel"><p>{escape(words("ops.no_champion"))}</p></section>')
        return
    since = since_when(model, champion.model_version, words)
    told = f'<p class="sg-small">{escape(words("ops.in_use_since", since=since))}</p>' if since else ""
    parts.html(
        f'<section class="sg-panel"><p class="sg-eyebrow">{escape(words("ops.in_use"))}</p>'
        f'<h3>{escape(champion.model_version)}</h3><p class="sg-small">{escape(_data(champion, words))}</p>{told}'
        "</section>"
    )


def _back(model: str, known: tuple[Version, ...], standing: dict[str, Version], words: Words) -> None:
    champion, former = standing.get("champion"), standing.get("previous")
    newest = standing.get("challenger")
    others = [each for each in known if each not in (champion, newest)]
    if champion is None or not others:
        parts.html(f'<p class="sg-small">{escape(words("ops.no_other"))}</p>')
        return
    names = [each.model_version for each in others]
    notes = {
        each.model_version: words("ops.former") if each == former else words.ago(each.registered_at) for each in others
    }
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.selectbox(
            words("ops.back_to"),
            names,
            index=others.index(former) if former in others else 0,
            format_func=lambda name: f"{name} · {notes[name]}",
            # Of another version in use, another choice is the likely one.
            key=f"operator_back_{model}_{champion.model_version}",
        )
        st.button(
            words("ops.rollback"),
            key="operator_rollback",
            icon=":material/undo:",
            on_click=acts.ask_for,
            args=(Act("rollback", model, champion.model_version, chosen),),
        )


def _challenger(model: str, champion: Version | None, challenger: Version | None, words: Words) -> None:
    if challenger is None or not challenger.waiting:
        parts.html(f'<section class="sg-panel"><p>{escape(words("ops.no_challenger"))}</p></section>')
        return
    told, language = challenger.told(words.language)
    quote = f'<p class="sg-quote" lang="{language}">{escape(told)}</p>' if told else ""
    parts.html(
        f'<section class="sg-panel"><p class="sg-eyebrow">{escape(words("ops.waits"))}</p>'
        f'<h3>{escape(challenger.model_version)}</h3><p class="sg-small">{escape(_data(challenger, words))}</p>'
        f"{quote}</section>"
    )
    before = champion.model_version if champion else ""
    st.button(
        words("ops.approve"),
        key="operator_approve",
        type="primary",
        icon=":material/task_alt:",
        on_click=acts.ask_for,
        args=(Act("approve", model, before, challenger.model_version),),
    )


def _data(version: Version, words: Words) -> str:
    return words("ops.trained", data=version.data_version or "–", when=words.ago(version.registered_at))


def _table(known: tuple[Version, ...], words: Words) -> str:
    head = "".join(
        f"<th>{escape(words(key))}</th>" for key in ("ops.version", "ops.data", "ops.registered", "ops.stands")
    )
    names = {"champion": words("ops.in_use"), "challenger": words("ops.waits"), "previous": words("ops.former")}
    rows = "".join(
        f"<tr><td>{escape(each.model_version)}</td><td>{escape(each.data_version or '–')}</td>"
        f"<td>{escape(words.moment(each.registered_at))}</td>"
        f"<td>{escape(', '.join(_alias(alias, each, names) for alias in each.aliases))}</td></tr>"
        for each in known
    )
    return f'<div class="sg-scroll"><table class="sg-table"><tr>{head}</tr>{rows}</table></div>'


def _alias(alias: str, version: Version, names: dict[str, str]) -> str:
    # A challenger that lost stays one by name, and waits for nobody.
    return alias if alias == "challenger" and not version.waiting else names.get(alias, alias)
