"""Phrases that put one thing in relation to another or to the picture, as expressions over lower-case text.

Built from the relation taxonomy's keywords and from productive patterns ("in the lower left corner of"). Which things
stand in a relation is not known here.
"""

from __future__ import annotations

import re

from spare_assets.relations.taxonomy import RELATIONS_OF_KEYWORD, TAXONOMY

IMAGE = r"(?:image|picture|photo(?:graph)?|frame|shot|scene|view|painting|illustration|canvas)"


def _phrases(text: str) -> frozenset[str]:
    return frozenset(" ".join(phrase.split()) for phrase in text.split(";"))


_LEADING_RELATIONS = _phrases(
    """
    left; right; above; on; below; front; back; near_close; far; inside_within; outside; next_to_beside_adjacent;
    opposite; parallel_to; perpendicular_to; toward_towards; away_from; between; through; around; within_boundary;
    cardinal_directions; central_position; movement_along
    """
)
"""Relations of the taxonomy whose keywords stand before a noun phrase."""
_NOT_LEADING = _phrases(
    """
    left; right; at the left; on the left; at the right; on the right; over the; under the; below the; lower; down;
    on top; front; confronting; back; nearby; far; out of; outer; outlying; adjacent; away; enclosed by; contained in;
    edged by; enveloped by; encircled by; circling; encircling; surrounding; enclosing; skirting; encompassing;
    bordering; crossing; piercing; traversing; transiting; approaching; backing onto; overlying; lying on; sitting on;
    positioned on; placed on; overlying on; running parallel to; proceeding to; progressing toward; moving toward;
    heading toward; moving away from; departing from; receding from; withdrawing from; retreating from;
    passing through; running through; running along; stretching across; progressing along; moving along; opposed to;
    farther than; remote from; contiguous with; in line with; within sight of
    """
)
"""Keywords of these relations that do not, or whose verb the grammar reads by itself."""
_FURTHER = _phrases(
    """
    in between; across from; north-east of; north-west of; south-east of; south-west of; inside of; ahead of;
    all around; upon; against; across; at; into; onto; past; throughout; over; to the side of;
    to one side of; on one side of; on all sides of; on either side of; on both sides of; on opposite sides of
    """
)
"""Phrases of the same kind that the taxonomy does not list."""
_LEADING = sorted(
    {row.text for relation in TAXONOMY if relation.name in _LEADING_RELATIONS for row in relation.keywords}
    - _NOT_LEADING
    | _FURTHER,
    key=lambda phrase: (-len(phrase), phrase),
)

_POSITION = (
    r"(?:very|far|low|high|extreme|immediate|upper|lower|top|bottom|left|right|center|central|middle|back|front|near|outer|"
    r"inner|opposite|other|left-hand|right-hand|far-left|far-right|top-left|top-right|bottom-left|bottom-right|"
    r"upper-left|upper-right|lower-left|lower-right|blurry|blurred|distant|immediate|left hand|right hand)"
)
_PART_OF_PICTURE = (
    r"(?:side|corner|half|part|portion|edge|section|third|area|quadrant|left|right|top|bottom|center|centre|middle|"
    r"foreground|background|midground|distance|front|back|rear|end|top-left|top-right|bottom-left|bottom-right|"
    r"upper-left|upper-right|lower-left|lower-right)"
)
_PART = (
    rf"(?:{_PART_OF_PICTURE}|surface|base|foot|head|tip|inside|outside|midst|heart|rim|border|perimeter|mouth|sides)"
)
_DEGREE = (
    r"(?:(?:directly|just|immediately|slightly|diagonally|high|far|"
    r"right(?= (?:above|below|behind|next|beside|in front|under|beneath|on top|by|outside|inside|against))) )?"
)
_AFTER_REGION = (
    r"(?= ?(?:[.,;:!?)]|\Z|(?:there|is|are|was|were|i|we|you|and|with|stands?|sits?|lies?|a|an|the|some|two|three|"
    r"four|five|several|many|behind|in|on|while|which|that|can|appears?)\b))"
)

REGION = (
    rf"(?:off |further |far )?(?:in|on|at|to|towards?|near|along|across|throughout|over to) "
    rf"(?:the|this) (?:{_POSITION}[ -]){{0,3}}{_PART_OF_PICTURE}"
    rf"(?: of (?:the|this) {IMAGE}\b(?!['’-])|(?! of\b)(?!['’-]){_AFTER_REGION})"
)
"""A part of the picture: "in the lower left corner of the image", "in the background"."""

RELATION = (
    rf"{_DEGREE}(?:(?:in|on|at|near|along|around) (?:the|either|both|each|opposite) "
    rf"(?:{_POSITION}[ -]){{0,3}}{_PART} of|(?:off |over )?(?:to|towards?) the (?:{_POSITION}[ -]){{0,3}}"
    rf"(?:left|right|side|rear|back|front|top|bottom|center|centre|middle) of|clos(?:er|est) to|near(?:er|est) to|"
    r"(?:(?<=hanging )|(?<=hangs )|(?<=hang )|(?<=dangling )|(?<=dangles )|(?<=protruding )|(?<=protrudes ))from|"
    rf"{'|'.join(_LEADING)})\b(?!['’-]| with\b)"
)
"""What leads the noun phrase that something is related to: "to the left of", "next to", "on the far side of"."""

PASSIVE = (
    r"(?:surrounded|hidden|concealed|obstructed|encircled|enclosed|flanked|bordered|framed|supported|backed|topped|"
    r"covered|lined|obscured|shaded|overlapped|edged|ringed|overlooked|blocked|enveloped)"
    r"(?: on (?:both|all|either) sides?)? (?:by|with)\b"
    r"|(?:covered|blanketed|enveloped|submerged) in\b"
    r"|(?:connected|attached|joined|linked|affixed|fastened|tied|anchored|secured|chained|bolted|mounted|strapped|"
    r"glued|taped|hooked|adjoined) to\b|(?:separated|suspended|detached) from\b"
)
"""A participle with its preposition that relates what stands before it to what follows."""

_DEGREE_AT_START = re.compile(_DEGREE)
_SIDE = re.compile(r"(?:to|on|at) the (?:immediate |far )?(left|right)(?:[ -]hand)?(?: side)? of")


def relation_name(phrase: str) -> str:
    """The taxonomy's name of a phrase, so that `under` and `beneath` meet; the phrase itself where it has none."""
    bare = _DEGREE_AT_START.sub("", phrase, count=1)
    if side := _SIDE.fullmatch(bare):
        return side.group(1)
    return RELATIONS_OF_KEYWORD.get(bare, (bare,))[0]
