"""`./run docs`."""

from __future__ import annotations

import os
import sys

from sigap.cli.output import say
from sigap.errors import ServiceError
from sigap.services.service import free_port, port_holder, port_is_free
from sigap.settings import ROOT, Settings

# Its server is for whoever writes, and asks nobody who he is.
HOST = "127.0.0.1"


def serve_docs(settings: Settings) -> None:
    """Become the server of the pages, which ends with Ctrl-C; a page that is saved is shown anew.

    Raises:
        ServiceError: The port is taken.
    """
    port = settings.docs_port
    if not port_is_free(HOST, port):
        raise ServiceError(
            f"Port {port} for the documentation is already in use by {port_holder(port)}.",
            remedy=f"Stop that process, or choose a free port: SIGAP_DOCS_PORT={free_port(HOST, port + 1)} ./run docs",
        )
    say(f"http://{HOST}:{port} is there in some seconds. Ctrl-C ends it.", style="bold")
    _become_mkdocs("serve", "--dev-addr", f"{HOST}:{port}")


def build_docs(settings: Settings) -> None:
    """Become the builder of the pages, which writes the state folder's `site`; a dead link is a failure."""
    site = settings.state / "site"
    say(f"Writing {site} ...")
    _become_mkdocs("build", "--strict", "--site-dir", str(site))


def _become_mkdocs(command: str, *words: str) -> None:
    os.environ["NO_MKDOCS_2_WARNING"] = "1"  # a notice of Material's makers that is not about these pages
    os.chdir(ROOT)
    sys.stdout.flush()
    # Signals and the exit code are then its own.
    os.execv(sys.executable, [sys.executable, "-m", "mkdocs", command, "--quiet", *words])  # noqa: S606
