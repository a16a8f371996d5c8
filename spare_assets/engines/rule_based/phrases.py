"""Noun phrases: where they are in a tagged sentence, what their head is, and whether they were read whole.

How phrases relate to each other, and what to call their things, is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from spare_assets.engines.rule_based.words import Sentence, is_plural

_MODIFIER = r"(?:R*[JEeGgj](?:,?c?(?=R*[JE]))?)"
_BARE = r"(?:R?[JE](?:,?c?(?=R?[JE]))?)*[JNMS]*[NM]"
_SIMPLE = rf"(?:[daqpi]+{_MODIFIER}*[JNMS]*[NM]|{_BARE})Q?"
_OF = rf"o{_SIMPLE}(?:(?:,{_BARE})*,?c{_BARE}(?![AbvVkh]))?"
_NOUN_PHRASE = re.compile(rf"{_SIMPLE}(?:{_OF}){{0,3}}")
_CUT_AFTER = re.compile(r"[daqpioNMSCQ~]|R*[JEe][JEeGgj]*[NMS]|,?C|[Gj](?:[.,;brwN]|\Z)|gN")
"""What cannot follow a noun phrase that was read whole."""
_CUT_BEFORE = re.compile(r".*(?:[NMSQqxd]o|[CdaqpiNMS~]|[JEG],?c?)\Z")
"""What cannot stand before it."""
_IRREGULAR = {
    "people": "person",
    "men": "man",
    "women": "woman",
    "children": "child",
    "feet": "foot",
    "mice": "mouse",
    "geese": "goose",
    "leaves": "leaf",
    "shelves": "shelf",
    "knives": "knife",
}


@dataclass(slots=True)
class NounPhrase:
    """A noun phrase: units `first` to `last` (exclusive) of its sentence, characters `start` to `end` of the caption.

    `words` are those after the determiners, from character `core`. `whole` is false where words around it may belong
    to it.
    """

    first: int
    last: int
    start: int
    core: int
    end: int
    determiners: str
    words: tuple[str, ...]
    head: str
    plural: bool
    tags: str
    whole: bool


def noun_phrases(sentence: Sentence) -> Iterator[NounPhrase]:
    """The longest noun phrases from left to right, with the of-phrases that belong to them."""
    units, line = sentence.units, sentence.tags
    for match in _NOUN_PHRASE.finditer(line):
        first, last = match.span()
        tags = match.group()
        head_index = tags.find("o") - 1
        if head_index < 0:
            head_index = len(tags) - 1
        if tags[head_index] == "Q":
            head_index -= 1
        count = 0
        while tags[count] in "daqpi":
            count += 1
        head = units[first + head_index].text
        yield NounPhrase(
            first,
            last,
            units[first].start,
            units[first + count].start,
            units[last - 1].end,
            tags[:count],
            tuple([unit.text for unit in units[first + count : last]]),
            head,
            is_plural(head),
            tags,
            not (_CUT_AFTER.match(line, last) or _CUT_BEFORE.match(line, max(first - 3, 0), first)),
        )


def singular(noun: str) -> str:
    """A rough singular that makes singular and plural mentions of a noun meet; not for display."""
    if noun in _IRREGULAR:
        return _IRREGULAR[noun]
    if not is_plural(noun):
        return noun
    if noun.endswith("ies"):
        return noun[:-3] + "y"
    if noun.endswith(("ches", "shes", "xes", "sses")):
        return noun[:-2]
    return noun[:-1]
