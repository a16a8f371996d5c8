"""What keeps a page of one file closed: nothing loads from outside, and no text in it becomes script.

What a page shows, and how, is not known here.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any


def content_policy(style: str, script: str) -> str:
    """A Content-Security-Policy that lets in this style, this script and embedded pictures, and nothing else."""
    return (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )


def json_block(value: Any) -> str:
    """A value as the inside of a JSON script element: no text in it can end the element."""
    block = json.dumps(value, separators=(",", ":"))
    return block.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
