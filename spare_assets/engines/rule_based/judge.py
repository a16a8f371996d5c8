"""Whether a question-answer pair asks about space; for pairs of any origin, by their wording alone."""

from __future__ import annotations

import re

_NOT_ABOUT_PLACE = re.compile(
    r"^(?:(?:what|which) (?:\w+ ){0,2}?(?:colou?rs?|shades?|hues?|materials?|kinds?|types?|sorts?|brands?|breeds?|shapes?|patterns?|"
    r"textures?|times?|numbers?|letters?|words?|texts?|names?|styles?|genders?|ages?|moods?|weather|seasons?|expressions?)\b|"
    r"how many|how much|how old|why|when|"
    r"what (?:is|are) (?:(?!\b(?:doing|wearing|made)\b).)*\b(?:doing|wearing|made of|called|named|used for)\b)",
    re.IGNORECASE,
)
_ABOUT_PLACE = re.compile(
    r"^(?:\W*(?:and|so|in the (?:image|picture|photo),?) )?where\b|^from where\b|"
    r"\b(?:which|what) (?:direction|side|corner|way|part|end|edge|position|orientation|angle|location|place|layer|distance)\b|"
    r"\b(?:how (?:far|close|near)|distance|orient(?:ed|ation)|position(?:ed)?|located|situated|placed|relative to|in relation to|"
    r"direction|facing|faces?|"
    r"(?:to|on|at) the (?:\w+ )?(?:left|right|top|bottom|front|back|rear|side|edge|end|center|centre|middle|corner|base)|"
    r"(?:left|right|front|back|top|bottom|side|middle|center|centre|edge|corner|north|south|east|west) of|"
    r"(?:in|on|at) (?:\w+ )?(?:the )?(?:background|foreground|distance|center|centre|middle)|"
    r"above|below|beneath|under|underneath|over|behind|in front|beside|next to|adjacent|between|among|amid|amidst|around|"
    r"inside|outside|within|atop|on top|near|nearest|nearby|close to|closest|closer|farther|further|furthest|farthest|"
    r"far from|away from|toward|towards|across|along|alongside|opposite|against|parallel|perpendicular|"
    r"surrounds?|surrounded|surrounding|encircles?|encircled|encloses?|enclosed|supports?|supported|covers?|covered|"
    r"overlaps?|overlapping|touche?s?|touching|attached|connected|joined|borders?|bordered|flanks?|flanked|overlooks?|"
    r"overlooking|contains?|separates?|separated|frames?|framed|lines?|lined|spans?|crosses|"
    r"(?:taller|shorter|bigger|smaller|larger|longer|wider|higher|lower|deeper|narrower)(?: than|\b.*\bor\b)|"
    r"(?:tallest|shortest|biggest|smallest|largest|longest|widest|highest|lowest|leftmost|rightmost|topmost|foremost))\b|"
    r"^(?:what|who|which|is|are|does|do)\b.*\b(?:in|on|upon|by|through)\b",
    re.IGNORECASE,
)


def asks_about_space(question: str, answer: str) -> bool:
    """Whether the pair is about where something is, what stands in a relation, orientation, distance or size order."""
    text = question[:_LONGEST]
    return not _NOT_ABOUT_PLACE.search(text) and _ABOUT_PLACE.search(text) is not None


_LONGEST = 2000
"""Characters of a question that are read; no question of sense is longer."""
