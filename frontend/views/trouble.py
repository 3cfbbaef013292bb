"""Why a file was not answered, in the reader's words."""

from __future__ import annotations

from html import escape

from frontend.batch import Trouble
from frontend.words import Words

_TROUBLE = {
    "down": "batch.trouble_down",
    "file-too-large": "batch.trouble_large",
    "unusable-file": "batch.trouble_unusable",
    "busy-with-files": "batch.trouble_busy",
    "unauthorized": "batch.trouble_token",
    "forbidden": "batch.trouble_token",
    "no-champion": "batch.trouble_model",
}


def told(trouble: Trouble, words: Words) -> str:
    """Why a file was not answered, as HTML: in the reader's words, then in the API's own."""
    own = trouble.detail if trouble.kind not in ("down", "unforeseen") else ""
    head = words(_TROUBLE.get(trouble.kind, "batch.trouble_other"))
    advice = words("batch.advice") if trouble.kind == "unusable-file" else ""
    return alert(head, advice, own)


def alert(head: str, text: str, quote: str = "") -> str:
    """What went wrong, in a panel; `quote` is what the API says of it, in English."""
    told = f"<p>{escape(text)}</p>" if text else ""
    told += f'<p class="sg-quote" lang="en">{escape(quote)}</p>' if quote else ""
    return f'<section class="sg-panel sg-refused" role="alert"><h3 class="sg-title">{escape(head)}</h3>{told}</section>'
