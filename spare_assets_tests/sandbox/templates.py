"""Templates of the sandbox's questions: what is left of their wording without the things and places they name."""

from __future__ import annotations

import re

from spare_assets.sandbox.scenes import COLOURS, SHAPES

RELATION_WORDS = ("left", "right", "above", "below", "under", "beneath", "underneath", "near", "far", "between")
_NAMED = re.compile(rf"\b({'|'.join((*COLOURS, *SHAPES, *RELATION_WORDS))})\b")


def masked(question: str) -> str:
    """A question with objects, colours and relation words replaced."""
    return _NAMED.sub("_", question.lower())
