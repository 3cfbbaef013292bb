"""The dashboard's server: `streamlit run frontend/server.py`.

It reads what the pages need before it says that it is ready, and tells the browser where the server is: Streamlit's
own page tries the address of the page first, and has a refusal in its console for every page that is opened.
"""

from __future__ import annotations

import sys
from pathlib import Path

# Streamlit runs this file as a script, with its own folder on the path and not the checkout's.
if (ROOT := str(Path(__file__).resolve().parent.parent)) not in sys.path:
    sys.path.insert(0, ROOT)

import streamlit as st
from starlette.middleware import Middleware

from frontend.document import OneAddress, read_ahead
from sigap.logs import set_up
from sigap.settings import get_settings

set_up(get_settings().log_format)
read_ahead()
app = st.App(Path(__file__).with_name("app.py"), middleware=[Middleware(OneAddress)])
