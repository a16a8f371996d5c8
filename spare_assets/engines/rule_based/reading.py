"""From a tagged sentence to spatial facts: which thing stands in which relation to which other.

Each pattern reads one construction of descriptive English. A construction that could be read in two ways has no
pattern here. What is asked about a fact is decided in `questions`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from spare_assets.engines.rule_based.phrases import NounPhrase, noun_phrases
from spare_assets.engines.rule_based.words import Sentence, Unit

FactKind = Literal["relation", "passive", "active", "region", "facing"]
_Holder = NounPhrase | Unit | list[NounPhrase]


@dataclass(slots=True)
class Fact:
    """`subjects` stand in `relation` to `objects`; a region has no objects. `verb` is what placed the subject."""

    kind: FactKind
    subjects: list[NounPhrase]
    relation: str
    objects: list[NounPhrase]
    verb: str
    position: int


_LIST = r"n(?:,n)*(?:,?cn)?"
_VERBS = r"(?:R*bR*(?:[geR]R*)?|R*vR*(?:,?gR*)?|R*[ge]R*)"
_FINITE = r"(?:R*bR*(?:[ge]R*)?|R*vR*)"
_THERE = r"(?:y|R*tR*[bv]R*(?:eR*)?)"
_START = r"(?:(?<![^,;:cK~])|^)"
_PATTERNS: tuple[tuple[FactKind, str, re.Pattern[str]], ...] = (
    (
        "relation",
        "fronted",
        re.compile(
            rf"{_START}(?P<v>[ge])?(?P<r>r)(?P<o>n),?R*(?:{_THERE}|{_FINITE})R*(?P<s>{_LIST})(?![bvVk])"
        ),
    ),
    (
        "region",
        "fronted",
        re.compile(rf"{_START}(?P<v>[ge])?(?P<r>z),?R*(?:{_THERE}|{_FINITE})R*(?P<s>{_LIST})(?![bvVk])"),
    ),
    (
        "relation",
        "subject",
        re.compile(rf"{_START}(?P<s>{_LIST})(?:,?W)?(?P<v>{_VERBS})(?P<r>r)(?P<o>n)(?!,?cn[bvVk])"),
    ),
    ("relation", "bare", re.compile(r"^(?P<s>n)(?P<r>r)(?P<o>n)(?!,?cn[bvVk])")),
    ("region", "subject", re.compile(rf"{_START}(?P<s>{_LIST})(?P<v>{_VERBS})(?P<r>z)")),
    ("relation", "there", re.compile(rf"{_THERE}R*(?P<s>n)(?P<v>{_VERBS})?(?P<r>r)(?P<o>n)(?!,?cn[bvVk])")),
    ("region", "there", re.compile(rf"{_THERE}R*(?P<s>{_LIST})(?P<v>{_VERBS})?(?P<r>z)")),
    ("relation", "object", re.compile(r"(?<=[VGk])(?P<s>n)(?P<v>[ge]R*)(?P<r>r)(?P<o>n)(?!,?cn[bvVk])")),
    ("passive", "passive", re.compile(r"(?P<s>n)(?:,?Wb|b)?R*(?P<r>u)R*(?P<o>n)(?!,?cn)")),
    ("active", "active", re.compile(rf"(?:{_START}(?P<s>n)|(?P<s2>n)W)R*(?P<r>k)(?P<o>n)(?!,?cn)")),
    (
        "relation",
        "second",
        re.compile(
            rf"{_START}(?P<s>n)R*(?:b[geR]?|v|[ge])R*rn(?:,?c|,)R*(?P<v>[ge]?)R*(?P<r>r)(?P<o>n)(?!,?cn)"
        ),
    ),
    (
        "region",
        "second",
        re.compile(
            rf"(?:{_START}(?P<s>n)R*(?:b[geR]?|v|[ge])R*rn|{_START}rn,?(?:b|v)R*(?P<s2>n))(?:,?c|,)R*(?P<v>[ge]?)R*(?P<r>z)"
        ),
    ),
    ("facing", "facing", re.compile(rf"{_START}(?P<s>n)(?:,?W)?R*b?R*(?:[ge]rn,?c?)?(?P<r>f)(?P<o>n|z|rn)")),
)


def read_facts(sentence: Sentence) -> tuple[list[NounPhrase], list[Fact]]:
    """Noun phrases of a sentence, and its spatial facts in reading order."""
    phrases = list(noun_phrases(sentence))
    symbols: list[str] = []
    holders: list[_Holder] = []
    tags = sentence.tags
    units = sentence.units
    position = 0
    for phrase in phrases:
        for index in range(position, phrase.first):
            if tags[index] != "I":
                symbols.append(tags[index])
                holders.append(units[index])
        if symbols[-2:] == ["n", "c"] and symbols[-3:-2] == ["B"]:
            # "between A and B": the two are one place.
            del symbols[-1], holders[-1]
            first = holders[-1]
            holders[-1] = [first, phrase] if isinstance(first, NounPhrase) else first
            symbols[-2] = "r"
        else:
            if symbols[-1:] == ["B"] and phrase.plural:
                symbols[-1] = "r"
            symbols.append("n")
            holders.append(phrase)
        position = phrase.last
    for index in range(position, len(tags)):
        if tags[index] != "I":
            symbols.append(tags[index])
            holders.append(units[index])
    line = "".join(symbols)
    facts = [fact for kind, _, pattern in _PATTERNS for fact in _facts(kind, pattern, line, holders)]
    facts.sort(key=lambda fact: fact.position)
    return phrases, facts


def _facts(kind: FactKind, pattern: re.Pattern[str], line: str, holders: list[_Holder]) -> Iterator[Fact]:
    for match in pattern.finditer(line):
        groups = match.re.groupindex
        name = "s" if match.start("s") >= 0 else "s2"
        subjects = _held(holders, *match.span(name))
        relation = holders[match.start("r")]
        assert isinstance(relation, Unit)
        objects = _held(holders, *match.span("o")) if "o" in groups else []
        verb = ""
        if "v" in groups and match.start("v") >= 0:
            verb = " ".join(
                holder.text
                for holder in holders[match.start("v") : match.end("v")]
                if isinstance(holder, Unit)
            )
        yield Fact(kind, subjects, relation.text, objects, verb, relation.start)


def _held(holders: list[_Holder], start: int, end: int) -> list[NounPhrase]:
    phrases: list[NounPhrase] = []
    for holder in holders[start:end]:
        if isinstance(holder, NounPhrase):
            phrases.append(holder)
        elif isinstance(holder, list):
            phrases += holder
    return phrases
