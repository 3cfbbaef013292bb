"""The dashboard: what `streamlit run frontend/server.py` draws."""

from __future__ import annotations

import sys
from pathlib import Path

# Streamlit runs this file as a script, with its own folder on the path and not the checkout's.
if (ROOT := str(Path(__file__).resolve().parent.parent)) not in sys.path:
    sys.path.insert(0, ROOT)

import contextlib
import time
from collections.abc import Callable
from functools import partial
from urllib.parse import urlsplit

import streamlit as st

from frontend import catalogue, parts
from frontend.api import ApiDownError, ChangedError
from frontend.catalogue import Entry
from frontend.palette import level_colors
from frontend.views import batch, education, experiments, model, monitoring, operations, overview
from frontend.words import LANGUAGES, Words, spoken
from sigap.settings import get_settings

# How often an open page asks whether there is something new to show.
PULSE_SECONDS = 3.0
# The page that the bare address leads to.
FIRST = "education"
ICONS = {
    "regression": ":material/sell:",
    "classification": ":material/fact_check:",
    "forecasting": ":material/show_chart:",
    "clustering": ":material/groups:",
}
TOOLS: dict[str, tuple[Callable[[Words], None], str]] = {
    "batch": (batch.show, ":material/upload_file:"),
    "experiments": (experiments.show, ":material/account_tree:"),
    "monitoring": (monitoring.show, ":material/monitor_heart:"),
    "operations": (operations.show, ":material/tune:"),
}
LOGO = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 172 40">
<path d="M4 31 L14 12 L24 31 Z" fill="{0}"/><circle cx="38" cy="22" r="9.5" fill="{1}"/>
<path d="M52 13 L72 13 L62 32 Z" fill="{2}"/>
<text x="82" y="31" font-family="Georgia,serif" font-weight="700" font-size="26" fill="{3}">Sigap</text></svg>"""


def _language() -> str:
    if st.session_state.get("lang") not in LANGUAGES:
        asked = st.query_params.get("lang", ""), spoken(st.context.locale)
        st.session_state["lang"] = next((each for each in asked if each in LANGUAGES), get_settings().language)
    return str(st.session_state["lang"])


def _guarded(view: Callable[[Words], None], words: Words) -> Callable[[], None]:
    """The view, or a calm page while the API can't be reached."""

    def page() -> None:
        try:
            view(words)
        except ChangedError:
            # Another champion came between two questions. What is kept of the first is asked again after two seconds.
            time.sleep(1)
            st.rerun()
        except ApiDownError:
            detail = words("state.down.detail", address=get_settings().api_address)
            parts.html(parts.calm(words("state.down.title"), words("state.down.text"), detail))

    return page


def _lead_on(page: st.Page) -> None:
    st.switch_page(page, query_params=st.query_params.to_dict())


@st.fragment(run_every=PULSE_SECONDS)
def _watch(seen: str, words: Words) -> None:
    """Tells how the API is, and draws the page anew when it serves something else than was seen."""
    now = catalogue.pulse()
    if now != seen:
        st.rerun()
    served = now != "down" and any(entry.served for entry in catalogue.entries())
    state = "down" if now == "down" else "live" if served else "empty"
    color = {"live": level_colors(3)[0], "empty": level_colors(3)[1], "down": level_colors(3)[2]}[state]
    parts.html(f'<p class="sg-small sg-status" style="--c:{color}">{words(f"sidebar.{state}")}</p>')


@st.cache_resource
def _known() -> list[Entry]:
    """The models that the API told of last, for all readers: its silence does not take their pages away."""
    return []


def _entries() -> list[Entry]:
    """The models to have pages for; none before the API first answered."""
    known = _known()
    with contextlib.suppress(ApiDownError):
        known[:] = catalogue.entries()
    return list(known)


def _page(entry: Entry, words: Words) -> st.Page:
    if entry.name == FIRST:
        return st.Page(
            _guarded(education.show, words),
            title=words("nav.education"),
            icon=":material/school:",
            url_path=FIRST,
        )
    return st.Page(
        _guarded(partial(model.show, entry.name), words),
        title=entry.title(words.language),
        icon=ICONS.get(entry.task, ":material/category:"),
        url_path=entry.name,
    )


def _asked(words: Words) -> dict[str, st.Page]:
    """A page for the address that is open while the API has not told yet which models there are."""
    name = urlsplit(st.context.url or "").path.strip("/").rpartition("/")[2] or FIRST
    if name in ("overview", *TOOLS):
        name = FIRST
    page = st.Page(_guarded(_wait, words), title="Sigap", url_path=name, icon=":material/hourglass_empty:")
    return {name: page}


def _wait(_words: Words) -> None:
    """Asks once more: the API's silence is told by the guard, and its first answer draws the pages anew."""
    catalogue.entries()
    st.rerun()


def _tools(words: Words) -> dict[str, st.Page]:
    """The pages that are about no single model."""
    return {
        name: st.Page(_guarded(show, words), title=words(f"nav.{name}"), icon=icon, url_path=name)
        for name, (show, icon) in TOOLS.items()
    }


def main() -> None:
    """Draws the frame and the page that the address asks for."""
    # A file of our own: Streamlit would fetch the picture of a named icon from the internet.
    st.set_page_config(page_title="Sigap", page_icon=str(Path(__file__).parent / "icon.svg"), layout="wide")
    words = Words(_language())
    parts.style()
    st.logo(LOGO.format(*level_colors(3), parts.surface().ink), size="large")
    first = st.Page(
        _guarded(overview.show, words),
        title=words("nav.overview"),
        icon=":material/dashboard:",
        url_path="overview",
    )
    pages = {entry.name: _page(entry, words) for entry in _entries()} or _asked(words)
    leading = pages.get(FIRST, first)
    # The default page has no path of its own. A hidden one leads on, so that every page's address can be passed on.
    start = st.Page(lambda: _lead_on(leading), title="Sigap", default=True, visibility="hidden")
    tools = _tools(words)
    page = st.navigation([start, first, *pages.values(), *tools.values()])
    st.session_state["pages"] = pages | tools
    with st.sidebar:
        st.segmented_control(
            words("app.language"), list(LANGUAGES), format_func=LANGUAGES.__getitem__, key="lang", required=True
        )
        _watch(catalogue.pulse(), words)
    st.query_params["lang"] = words.language
    page.run()


main()
