"""From a tagged sentence to spatial facts: which thing stands in which relation to which other.

Each pattern reads one construction of descriptive English. A construction that could be read in two ways has no
pattern. What is asked about a fact, and whether it is safe to ask, is decided in `questions`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from spare_assets.engines.rule_based import lexicon
from spare_assets.engines.rule_based.phrases import NounPhrase, noun_phrases
from spare_assets.engines.rule_based.words import PLURAL_VERBS, Sentence, Unit

FactKind = Literal["relation", "passive", "active", "region", "facing"]
_Holder = NounPhrase | Unit | list[NounPhrase]


@dataclass(slots=True)
class Fact:
    """`subjects` stand in `relation` to `objects`; a region has none, and a direction may have none.

    `verbs` are the words that placed the subject ("is", "sitting"), `position` the relation's place in the caption.
    `fronted` facts name the place first. `more` says that the sentence may go on to name further subjects.
    """

    kind: FactKind
    subjects: list[NounPhrase]
    verbs: list[str]
    relation: str
    objects: list[NounPhrase]
    position: int
    fronted: bool
    more: bool


_LIST = r"n(?:(?:,n)*,?cn)?"
_BE = r"A?R*bR*"
_FINITE = rf"(?:R*{_BE}(?:[ge]R*){{0,2}}|R*vR*(?:,?gR*)?)"
_PREDICATE = rf"(?:{_FINITE}|R*[ge]R*)"
_THERE = rf"(?:y|R*tR*(?:{_BE}|vPb|v)R*(?:eR*)?)"
# A clause begins with the sentence, after a clause word or a stop, or after "and" that does not join two noun phrases.
_START = r"(?:^c?R*,?|^c?R*(?:r[nx]|z),R*|(?<=[;:K~(])R*,?|(?<=[^n]c)R*,?)"
_MORE = re.compile(r"[^AbvVkWK;:]*?[,c]n(?![AbvVk])")
_OBJECT = r"(?P<o>n)(?!,?[cC]n[AbvVk])"
_PATTERNS: tuple[tuple[FactKind, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        # "To the left of the person is a being", "In the background there are trees and a house"
        ("relation", rf"{_START}(?P<v>[ge]?)R*(?P<r>r)(?P<o>n),?(?:{_THERE}|{_FINITE})R*(?P<s>{_LIST})(?![AbvVk])"),
        ("region", rf"{_START}(?P<v>[ge]?)R*(?P<r>z),?(?:{_THERE}|{_FINITE})R*(?P<s>{_LIST})(?![AbvVk])"),
        # "Behind the bird, a pole is visible", "In the background, a man is walking"
        ("relation", rf"(?:^|(?<=;))c?R*(?P<v>[ge]?)R*(?P<r>r)(?P<o>n),(?P<s>{_LIST})R*(?={_FINITE})"),
        ("region", rf"(?:^|(?<=;))c?R*(?P<v>[ge]?)R*(?P<r>z),(?P<s>{_LIST})R*(?=[AbvVkh])"),
        # "The red circle sits above ...", "A cup, which is placed on ..."
        ("relation", rf"{_START}(?P<s>{_LIST})(?:,?W)?(?P<v>{_PREDICATE})(?P<r>r){_OBJECT}"),
        ("region", rf"{_START}(?P<s>{_LIST})(?:,?W)?(?P<v>{_PREDICATE})(?P<r>z)"),
        ("relation", rf"{_START}(?P<s>n)w{_LIST}(?P<v>{_FINITE})(?P<r>r){_OBJECT}"),
        ("region", rf"{_START}(?P<s>n)w{_LIST}(?P<v>{_FINITE})(?P<r>z)"),
        ("relation", rf"^(?P<s>n)(?P<r>r){_OBJECT}"),
        # "The tower has a window below the clock", "a plate with a cake on it"
        ("relation", rf"(?<=h)(?P<s>n)(?P<r>r){_OBJECT}"),
        ("relation", r"(?P<o>n)(?:h|,?w)(?P<s>n)(?P<v>(?:[ge]R*)?)(?P<r>r)(?P<x>x)"),
        # "There is a cat on the mat"
        ("relation", rf"{_THERE}R*(?P<s>n)(?P<v>{_PREDICATE}?)(?P<r>r){_OBJECT}"),
        ("region", rf"{_THERE}R*(?P<s>{_LIST})(?P<v>{_PREDICATE}?)(?P<r>z)"),
        # "... shows a cat lying on the mat", "... with a cup on the table"
        ("relation", rf"(?<=[VGk])(?P<s>n)(?P<v>[ge]R*)(?P<r>r){_OBJECT}"),
        ("relation", rf"(?<=[^n]w)(?P<s>n)(?P<r>r){_OBJECT}"),
        ("relation", rf"(?<=[^n]w)(?P<s>n)(?P<v>[ge]R*)(?P<r>r){_OBJECT}"),
        # "The cup is on the table and next to the plate"
        ("relation", rf"{_START}(?P<s>n){_PREDICATE}rn(?:,?c|,)R*(?P<v>[ge]?)R*(?P<r>r){_OBJECT}"),
        ("region", rf"{_START}(?P<s>n){_PREDICATE}rn(?:,?c|,)R*(?P<v>[ge]?)R*(?P<r>z)"),
        ("region", rf"{_START}rn,?(?:b|v)R*(?P<s>n)(?:,?c|,)R*(?P<v>[ge]?)R*(?P<r>z)"),
        # "a table supported by a pole", "The seating encircles a table"
        ("passive", rf"(?P<s>n)(?:(?:,?W)?(?P<v>{_BE}))?R*(?P<r>u)R*(?P<o>n)(?!,?cn)"),
        ("active", rf"{_START}(?P<s>{_LIST})(?P<v>)R*(?P<r>k)(?P<o>n)(?!,?cn)"),
        ("active", rf"{_START}(?P<r>j)(?P<o>n),?{_BE}(?P<s>{_LIST})(?![AbvVk])"),
        ("active", r"(?P<s>n)WR*(?P<v>)(?P<r>k)(?P<o>n)(?!,?cn)"),
        ("active", rf"(?:{_START}|(?<=[VGkyw]))(?P<s>n)(?P<v>R*b?R*)(?P<r>j)(?P<o>n)(?!,?cn)"),
        # "The dog is facing left"
        ("facing", rf"(?:{_START}|(?<=[VGkyb]))(?P<s>n)(?:,?W)?(?P<v>R*(?:{_BE})?(?:[ge]R*(?:rn)?,?c?)?)(?P<r>f)(?P<o>z|rn|n|[JR])"),
    )
)


def read_facts(sentence: Sentence) -> tuple[list[NounPhrase], list[Fact]]:
    """Noun phrases of a sentence, and its spatial facts in reading order."""
    phrases = list(noun_phrases(sentence))
    line, holders = _outline(sentence, phrases)
    facts = [fact for kind, pattern in _PATTERNS for fact in _facts(kind, pattern, line, holders)]
    facts.sort(key=lambda fact: fact.position)
    return phrases, facts


def _outline(sentence: Sentence, phrases: list[NounPhrase]) -> tuple[str, list[_Holder]]:
    """The sentence with each noun phrase as one symbol `n`, and what each symbol stands for."""
    symbols: list[str] = []
    holders: list[_Holder] = []
    tags, units = sentence.tags, sentence.units
    position = 0
    for phrase in phrases:
        for index in range(position, phrase.first):
            if tags[index] != "I":
                symbols.append(tags[index])
                holders.append(units[index])
        if symbols[-3:] == ["B", "n", "c"]:
            # "between A and B": the two are one place.
            symbols[-3:] = ["r", "n"]
            first = holders[-2]
            assert isinstance(first, NounPhrase)
            holders[-2:] = [[first, phrase]]
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
    return "".join(symbols), holders


def _facts(kind: FactKind, pattern: re.Pattern[str], line: str, holders: list[_Holder]) -> Iterator[Fact]:
    for match in pattern.finditer(line):
        subjects = _phrases(holders[match.start("s") : match.end("s")])
        relation = holders[match.start("r")]
        assert isinstance(relation, Unit)
        verbs = []
        if "v" in match.re.groupindex:
            verbs = [unit.text for unit in holders[match.start("v") : match.end("v")] if isinstance(unit, Unit)]
        if not _agree(subjects, verbs):
            continue
        if "x" in match.re.groupindex and not _refers(holders, match):
            continue
        held = holders[match.start("o") : match.end("o")] if "o" in match.re.groupindex else []
        name = relation.text
        if kind == "facing":
            name = " ".join([name, *(unit.text for unit in held if isinstance(unit, Unit))])
        yield Fact(kind, subjects, verbs, name, _phrases(held), relation.start, match.start("r") < match.start("s"), bool(_MORE.match(line, match.end())))


def _refers(holders: list[_Holder], match: re.Match[str]) -> bool:
    """Whether the pronoun fits the thing just before it."""
    pronoun, thing = holders[match.start("x")], holders[match.start("o")]
    if not isinstance(pronoun, Unit) or not isinstance(thing, NounPhrase):
        return False
    return pronoun.text == ("them" if thing.plural else "it")


def _phrases(holders: list[_Holder]) -> list[NounPhrase]:
    phrases: list[NounPhrase] = []
    for holder in holders:
        if isinstance(holder, NounPhrase):
            phrases.append(holder)
        elif isinstance(holder, list):
            phrases += holder
    return phrases


def _agree(subjects: list[NounPhrase], verbs: list[str]) -> bool:
    """Whether the finite verb fits the number of the subject; where it does not, the sentence was misread."""
    if len(subjects) == 1 and subjects[0].head in lexicon.UNITS_OF_THINGS:
        return True
    plural = len(subjects) > 1 or subjects[0].plural
    return all(PLURAL_VERBS.get(verb, plural) == plural for verb in verbs)
