"""The chosen province: choosing it anywhere chooses it everywhere."""

from __future__ import annotations

import json
from collections.abc import Mapping

import streamlit as st

from frontend import address
from frontend.api import Member, Model
from frontend.charts.coast import EAST, WEST
from frontend.words import Words

KEY = "province"
_SHOWN, _BY_CLICK, _TIMES = "province_shown", "province_by_click", "province_times"


def chosen(model: Model, members: Mapping[str, Member]) -> Member:
    """The province in the session, else in the address, else the one of the model's example."""
    example = [str(model.example.get(column.name)) for column in model.request_columns]
    default = next((entity for entity in example if entity in members), next(iter(members)))
    entity = address.kept(KEY, members, default, always=True)
    st.session_state[_SHOWN] = entity
    return members[entity]


def choose(entity: str) -> None:
    """Chooses a province; call it in a widget's callback."""
    st.session_state[KEY] = entity
    st.session_state[_BY_CLICK] = entity
    st.session_state[_TIMES] = st.session_state.get(_TIMES, 0) + 1


def follow() -> None:
    """Draws the whole page anew when a part of it, drawn by itself, chose another province."""
    if st.session_state.get(KEY, st.session_state.get(_SHOWN)) != st.session_state.get(_SHOWN):
        st.rerun()


def chart_key(name: str, entity: str) -> str:
    """The key of a chart in which provinces are clicked.

    A chart keeps its own last click, and a second click there would only take it back. So one that has to show what
    was chosen elsewhere is a new one.
    """
    own = st.session_state.get(f"{name}_own")
    if own is not None and own != entity:
        st.session_state[f"{name}_round"] = st.session_state.get(f"{name}_round", 0) + 1
        st.session_state[f"{name}_own"] = None
    return f"{name}_{st.session_state.get(f'{name}_round', 0)}"


def clicked(name: str, key: str) -> None:
    """Chooses the province of the mark that was clicked in a chart with the key `key`."""
    points = st.session_state[key]["selection"]["points"]
    data = points[0].get("customdata") if points else None
    if data:
        entity = data[0] if isinstance(data, list) else data.get("0") if isinstance(data, dict) else str(data)
        st.session_state[f"{name}_own"] = entity
        choose(str(entity))


def bring_into_view(member: Member, words: Words) -> None:
    """On a phone: moves the swiped map to the chosen mark and, after a click, the page to the province's details."""
    by_click = st.session_state.get(_BY_CLICK) == member.entity
    times, view = st.session_state.get(_TIMES, 0), st.session_state.get("view")
    share = ((member.place.lon or WEST) - WEST) / (EAST - WEST)
    label = json.dumps(words("view.label")).replace("<", "\\u003c")
    # The browser runs a script once: a further choice, click or view has to make another one, a mere redrawing none.
    # Nothing but our own words and numbers stands in it.
    st.html(
        f"""<script>/* {share:.6f} {times} {view} */
// What is swiped can be moved by keys too, also once the screen was turned.
window.sigapSwiped = () => {{
  const frame = document.querySelector(".st-key-map_frame, .st-key-tiles_frame");
  if (!frame || frame.scrollWidth <= frame.clientWidth) {{ frame?.removeAttribute("tabindex"); return null; }}
  frame.tabIndex = 0;
  frame.setAttribute("role", "group");
  frame.setAttribute("aria-label", {label});
  return frame;
}};
window.sigapTurned ??= addEventListener("resize", () => window.sigapSwiped()) ?? true;
setTimeout(() => {{
  const frame = window.sigapSwiped();
  if (frame) frame.scrollLeft = {share:.4f} * frame.scrollWidth - frame.clientWidth / 2;
  const details = document.querySelector(".st-key-one_province");
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  if ({str(by_click).lower()} && innerWidth <= 640 && details)
    details.scrollIntoView({{behavior: calm ? "auto" : "smooth", block: "start"}});
}}, 250);</script>""",
        unsafe_allow_javascript=True,
    )
