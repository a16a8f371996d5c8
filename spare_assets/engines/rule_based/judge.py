"""Whether a question-answer pair asks about space; for pairs of any origin, by their wording alone."""

from __future__ import annotations

import re

_OF_THE_PICTURE = re.compile(r"\b(?:in|of|from) (?:the|this) (?:image|picture|photo(?:graph)?|scene|video|frame)\b")
_OTHER_TOPIC = (
    "colou?rs?|shades?|hues?|materials?|kinds?|types?|sorts?|brands?|breeds?|shapes?|patterns?|textures?|times?"
    "|numbers?|letters?|words?|texts?|names?|styles?|genders?|ages?|moods?|weather|seasons?|expressions?|species|sports?|purpose"
)
_NOT_ABOUT_PLACE = re.compile(
    rf"^(?:what|which) (?:\w+ ){{0,2}}?(?:{_OTHER_TOPIC})\b"
    rf"|^what(?:'s| is| are| was| were) (?:the|its|his|her|their) (?:\w+ )?(?:{_OTHER_TOPIC})\b"
    r"|^(?:how many|how much|how old|why|when)\b"
    r"|^what (?:is|are|does|do) .*\b(?:doing|wear(?:ing)?|holding|made (?:of|from)|named|used for|look like|say)\b"
)
_PARTS = (
    "left|right|top|bottom|front|back|rear|sides?|edges?|ends?|cent(?:er|re)|middle|corners?|base|foreground|background"
)
_ABOUT_PLACE = re.compile(
    r"^(?:\W*(?:and|so) )?(?:from )?where\b"
    r"|\b(?:which|what) (?:direction|side|corner|way|part|end|edge|position|orientation|angle|location|place|layer)\b"
    r"|\bhow (?:far|close|near)\b"
    rf"|\b(?:in|to|on|at|near|towards?) the (?:\w+ )?(?:{_PARTS})\b"
    rf"|\b(?:{_PARTS}|north|south|east|west) of\b"
    r"|\b(?:distance|orient(?:ed|ation)|position(?:ed)?|located|situated|placed|relative to|in relation to|direction"
    r"|facing|above|below|beneath|under|underneath|over|behind|in front|beside|next to|adjacent|between|among|amid"
    r"|amidst|around|inside|outside|within|atop|on top|near|nearest|nearby|close to|closest|closer|farther|further"
    r"|furthest|farthest|far from|away from|towards?|across|along|alongside|opposite|against|parallel|perpendicular"
    r"|surround(?:s|ed|ing)?|encircle[sd]?|enclose[sd]?|support(?:s|ed|ing)?|cover(?:s|ed|ing)?|overlap(?:s|ped|ping)?"
    r"|touch(?:es|ing)?|attached|connected|joined|affixed|fastened|secured|mounted|tied|topped|hanging|leaning|faces"
    r"|looking at|border(?:s|ed|ing)?|flank(?:s|ed|ing)?|overlook(?:s|ed|ing)?"
    r"|contain(?:s|ing)?|separates?|separated|frame[sd]|line[sd]|spans?|crosses|leftmost|rightmost|topmost|foremost)\b"
    r"|\b(?:does|do) .* (?:face|line|frame|cross|top|block|obscure)\?"
    r"|\b(?:tall|short|bigg|small|larg|long|wid|high|low|deep|narrow)(?:er than|er\b.*\bor|est)\b"
    r"|^(?:what|who|which|is|are|does|do)\b.*\b(?:in|on|at|upon|by|through)\b"
)
_LONGEST = 1000
"""Characters of a question that are read; no sensible one is longer."""


def asks_about_space(question: str) -> bool:
    """Whether a question is about where something is, what stands in a relation, orientation, distance or size order.

    No answer makes another question spatial ("What is it?"), so answers are not looked at (paper 3.3, check 5).
    """
    text = _OF_THE_PICTURE.sub(" ", question[:_LONGEST].lower().strip())
    return not _NOT_ABOUT_PLACE.search(text) and _ABOUT_PLACE.search(text) is not None
