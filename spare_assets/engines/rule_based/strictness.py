"""How much the rule-based analyst takes for spatial: the wording of a text, by the taxonomy's keywords alone.

Levels to compare in the ablations: what the grammar reads is `standard` and is not decided here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from spare_assets.relations.taxonomy import KEYWORDS, TAXONOMY

_DIRECTIONS = frozenset(
    ("left", "right", "above", "below", "front", "back", "between", "cardinal_directions", "central_position")
)
"""Relations that say in which direction something is; nearness, contact and containment do not."""


def _whole_words(keywords: Iterable[str]) -> re.Pattern[str]:
    phrases = (r"[\s-]+".join(map(re.escape, keyword.lower().split())) for keyword in keywords)
    return re.compile(rf"\b(?:{'|'.join(sorted(phrases, key=len, reverse=True))})\b")


_ANY = _whole_words(KEYWORDS)
_DIRECTION = _whole_words(
    row.text for relation in TAXONOMY if relation.name in _DIRECTIONS for row in relation.keywords
)


def names_relation(text: str) -> bool:
    """Whether any keyword of the taxonomy stands in a text, in whatever sense: what `lenient` takes for spatial."""
    return _ANY.search(text.lower()) is not None


def names_direction(text: str) -> bool:
    """Whether a text names a direction: what `strict` wants of a pair besides."""
    return _DIRECTION.search(text.lower()) is not None
