"""Outside text as one line, and inside Markdown, where nothing of it is markup.

Which text is shown, and how much of it, is not known here.
"""

from __future__ import annotations

import re
from html import escape

_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")
"""Control characters, those that turn the direction of what stands beside, and halves of surrogate pairs."""
_MARKUP = re.compile(r"([\\`*_{}\[\]()#+\-.!|~:=$^@])")


def visible_line(text: str) -> str:
    """A text as one line of what is seen of it; white space is squeezed."""
    return " ".join(_UNSEEN.sub(" ", text).split())


def markdown_line(text: str) -> str:
    """A text as one line, or one cell of a table, that means nothing but itself."""
    return _MARKUP.sub(r"\\\1", escape(visible_line(text), quote=False))
