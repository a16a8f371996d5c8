"""Noun phrases: finding them in a tagged sentence, and what to call their things in a question or an answer.

How phrases relate to each other is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from spare_assets.engines.rule_based import lexicon
from spare_assets.engines.rule_based.words import Sentence, is_plural

_MODIFIER = r"(?:R*[JEeGg](?:,?c?(?=R*[JE]))?)"
_SIMPLE = rf"(?:[daqpi]+{_MODIFIER}*|(?:R?J(?:,?c?(?=R?J))?)*)[JNMS]*[NM]"
_NOUN_PHRASE = re.compile(rf"{_SIMPLE}Q?(?:o{_SIMPLE}Q?){{0,3}}")
_DETERMINERS = (
    lexicon.DEFINITE
    | lexicon.INDEFINITE
    | lexicon.NEGATIVE_DETERMINERS
    | (lexicon.QUANTIFIERS - {"other"})
    | lexicon.POSSESSIVES
)


@dataclass(slots=True)
class NounPhrase:
    """A noun phrase of one sentence: units `first` to `last` (exclusive), its head unit, its caption characters."""

    first: int
    last: int
    start: int
    end: int
    determiners: str
    words: tuple[str, ...]
    head: str
    plural: bool
    tags: str

    @property
    def person(self) -> bool:
        """Whether the thing is asked for with "who"."""
        return self.head in lexicon.PERSONS


def noun_phrases(sentence: Sentence) -> Iterator[NounPhrase]:
    """The longest noun phrases from left to right, with the of-phrases that belong to them."""
    units = sentence.units
    for match in _NOUN_PHRASE.finditer(sentence.tags):
        first, last = match.span()
        tags = match.group()
        core = tags.find("o")
        head_index = (core if core >= 0 else len(tags)) - 1
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
            units[last - 1].end,
            tags[:count],
            tuple(unit.text for unit in units[first + count : last]),
            head,
            is_plural(head),
            tags,
        )


def singular(noun: str) -> str:
    """A rough singular that makes singular and plural mentions of a noun meet; not for display."""
    irregular = {
        "people": "person",
        "men": "man",
        "women": "woman",
        "children": "child",
        "feet": "foot",
        "mice": "mouse",
    }
    if noun in irregular:
        return irregular[noun]
    if not is_plural(noun):
        return noun
    if noun.endswith("ies"):
        return noun[:-3] + "y"
    if noun.endswith(("ches", "shes", "xes", "sses")):
        return noun[:-2]
    return noun[:-1]
