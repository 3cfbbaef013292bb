"""What a reader chose, kept in the page's address, so that it can be passed on and comes back after other pages."""

from __future__ import annotations

from collections.abc import Collection

import streamlit as st


def kept(name: str, options: Collection[str], default: str, *, always: bool = False) -> str:
    """The choice `name`: what its widget holds, else what the address asks for, else what was chosen before.

    The widget has the key `name` and is drawn after this call.

    Args:
        name: The widget's key and the name in the address.
        options: What can be chosen; anything else is passed over.
        default: The choice where there is none.
        always: Whether the default stands in the address too.
    """
    # A page or a tab that is left drops what its widgets held; the copy brings the reader back to where he was.
    sources = (st.session_state.get(name), st.query_params.get(name), st.session_state.get(f"kept_{name}"))
    chosen = str(next((asked for asked in sources if asked in options), default))
    st.session_state[name] = st.session_state[f"kept_{name}"] = chosen
    tell(name, chosen, default="" if always else default)
    return chosen


def tell(name: str, chosen: str, *, default: str = "") -> None:
    """Puts a choice into the address, and takes it out where it is the default."""
    if chosen != default:
        if st.query_params.get(name) != chosen:
            st.query_params[name] = chosen
    elif name in st.query_params:
        del st.query_params[name]
