"""From a tagged sentence to spatial facts: which thing stands in which relation to which other.

Each pattern reads one construction of descriptive English. A construction that could be read in two ways has no
pattern. What is asked about a fact, and whether it is safe to ask, is decided in `questions`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

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
_MORE = re.compile(r"[^AbvVkWK;:]*?[,c]n(?![AbvVkh])")
_FINITE_BEFORE = re.compile(r"[bvVkhy]")
_NO_FURTHER = r"(?!(?:,n)*,?[cC][EGRgej]*n(?!(?:,?cn)?R*[AbvVkh]))"
_OBJECT = rf"(?P<o>n){_NO_FURTHER}"
_OBJECTS = rf"(?P<o>n(?:,n)*,?cn(?!R*[AbvVkh])|n){_NO_FURTHER}"


class _Construction(NamedTuple):
    """One way to say where something is: groups s and o are the things, r the relation, v the verbs, x a pronoun.

    A sentence outline without `symbol` has none of it. In a `tight` one two subjects are a group only as "leaves and
    flowers", not as "a table and a chair".
    """

    kind: FactKind
    symbol: str
    pattern: re.Pattern[str]
    tight: bool = False


def _say(kind: FactKind, symbol: str, *patterns: str, tight: bool = False) -> list[_Construction]:
    return [_Construction(kind, symbol, re.compile(pattern), tight) for pattern in patterns]


_NAMED = rf"(?:{_THERE}|{_FINITE})R*(?P<s>{_LIST})(?![AbvVkh])"
_SUBJECT = rf"(?P<s>{_LIST})"
_VERB = r"(?P<v>[ge]?)R*"
_CONSTRUCTIONS = [
    # "To the left of the person is a being", "On the mat near the door there is a cat"
    *_say("relation", "r", rf"{_START}{_VERB}(?P<r>r)(?P<o>n)(?:c?R*rn)?,?{_NAMED}"),
    *_say("relation", "r", rf"{_START}[ge]?R*rnc?R*(?P<r>r)(?P<o>n),?{_NAMED}"),
    *_say("region", "z", rf"{_START}{_VERB}(?P<r>z),?{_NAMED}"),
    # "Behind the bird, a pole is visible", "In the background, a man is walking"
    *_say("relation", "r", rf"(?:^|(?<=;))c?R*{_VERB}(?P<r>r)(?P<o>n),{_SUBJECT}R*(?={_FINITE})"),
    *_say("region", "z", rf"(?:^|(?<=;))c?R*{_VERB}(?P<r>z),{_SUBJECT}R*(?=[AbvVkh])"),
    # "The red circle sits above the square", "A cup, placed on the table, ...", "A cat with long hair is on the mat"
    *_say("relation", "r", rf"{_START}{_SUBJECT}(?:,?W)?(?P<v>{_PREDICATE})(?P<r>r){_OBJECT}"),
    *_say("relation", "r", rf"{_START}(?P<s>n),(?P<v>[ge]R*)(?P<r>r){_OBJECT},"),
    *_say("relation", "r", rf"{_START}(?P<s>n)[wu]{_LIST}(?P<v>{_FINITE})(?P<r>r){_OBJECT}"),
    *_say("relation", "r", rf"^(?P<s>n)(?P<r>r){_OBJECT}"),
    *_say("region", "z", rf"{_START}{_SUBJECT}(?:,?W)?(?P<v>{_PREDICATE})(?P<r>z)"),
    *_say("region", "z", rf"{_START}(?P<s>n)[wu]{_LIST}(?P<v>{_FINITE})(?P<r>z)"),
    # "The tower has a window below the clock", "a plate with a cake on it"
    *_say("relation", "r", rf"(?<=h)(?P<s>n)(?P<r>r){_OBJECT}"),
    *_say("relation", "x", r"(?<![ru])(?P<o>n)(?:h|,?w)(?P<s>n)(?P<v>(?:[ge]R*)?)(?P<r>r)(?P<x>x)"),
    # "There is a cat on the mat"
    *_say("relation", "r", rf"{_THERE}R*(?P<s>n(?:cn)?)(?P<v>{_PREDICATE}?)(?P<r>r){_OBJECT}", tight=True),
    *_say("region", "z", rf"{_THERE}R*{_SUBJECT}(?P<v>{_PREDICATE}?)(?P<r>z)"),
    # "It shows a cat lying on the mat", ", with a cup on the table"
    *_say("relation", "r", rf"(?<=[VGk])(?P<s>n)(?P<v>[ge]R*)(?P<r>r){_OBJECT}"),
    *_say("relation", "r", rf"(?<=,w)(?P<s>n)(?P<v>(?:[ge]R*)?)(?P<r>r){_OBJECT}"),
    # "The cup is on the table and next to the plate"
    *_say("relation", "r", rf"{_START}(?P<s>n){_PREDICATE}rn(?:,?c|,)R*{_VERB}(?P<r>r){_OBJECT}"),
    *_say("region", "z", rf"{_START}(?P<s>n){_PREDICATE}rn(?:,?c|,)R*{_VERB}(?P<r>z)"),
    *_say("region", "z", rf"{_START}rn,?(?:b|v)R*(?P<s>n)(?:,?c|,)R*{_VERB}(?P<r>z)"),
    # "a table supported by a pole", "The wall behind the sink is covered in tiles"
    *_say("passive", "u", rf"(?P<s>n)(?P<v>(?:,?W{_BE})?)R*(?P<r>u)R*{_OBJECTS}"),
    *_say("passive", "u", rf"{_START}{_SUBJECT}(?:[rw]n)?(?P<v>{_BE})R*(?P<r>u)R*{_OBJECTS}"),
    # "The seating encircles a table", "the wall that lines the path", "Surrounding the lake are trees"
    *_say("active", "k", rf"{_START}{_SUBJECT}R*(?P<r>k){_OBJECTS}"),
    *_say("active", "k", rf"(?P<s>n)WR*(?P<r>k){_OBJECTS}"),
    *_say("active", "j", rf"{_START}(?P<r>j)(?P<o>n),?{_BE}{_SUBJECT}(?![AbvVkh])"),
    *_say("active", "j", rf"(?:{_START}|(?<=[VGky]))(?P<s>n)(?P<v>R*b?R*)(?P<r>j){_OBJECTS}"),
    # "The dog is sitting on the mat, facing left"
    *_say(
        "facing",
        "f",
        rf"(?:{_START}|(?<=[VGkyb]))(?P<s>n)(?:,?W)?(?P<v>R*(?:{_BE})?(?:[ge]R*(?:rn)?,?c?)?)(?P<r>f)(?P<o>z|rn|n|[JR])",
    ),
]


def read_facts(sentence: Sentence) -> tuple[list[NounPhrase], list[Fact]]:
    """Noun phrases of a sentence, and its spatial facts in reading order."""
    phrases = list(noun_phrases(sentence))
    line, holders = _outline(sentence, phrases)
    facts: list[Fact] = []
    for construction in _CONSTRUCTIONS:
        if construction.symbol in line:
            facts += _facts(construction, line, holders)
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


def _facts(construction: _Construction, line: str, holders: list[_Holder]) -> Iterator[Fact]:
    kind, groups = construction.kind, construction.pattern.groupindex
    for match in construction.pattern.finditer(line):
        subjects = _phrases(holders[match.start("s") : match.end("s")])
        verbs = _words(holders[match.start("v") : match.end("v")]) if "v" in groups else []
        if not _agree(subjects, verbs):
            continue
        if line[match.start() - 1 : match.start()] == "c" and not _FINITE_BEFORE.search(line, 0, match.start()):
            # Nothing was said before this "and": it ends a list, and begins no clause.
            continue
        if construction.tight and any(thing.determiners for thing in subjects[1:]):
            continue
        if "x" in groups and not _refers(holders, match):
            continue
        relation = holders[match.start("r")]
        held = holders[match.start("o") : match.end("o")] if "o" in groups else []
        assert isinstance(relation, Unit)
        yield Fact(
            kind,
            subjects,
            verbs,
            " ".join([relation.text, *_words(held)]) if kind == "facing" else relation.text,
            _phrases(held),
            relation.start,
            fronted=match.start("r") < match.start("s"),
            more=_MORE.match(line, match.end()) is not None,
        )


def _words(holders: list[_Holder]) -> list[str]:
    return [unit.text for unit in holders if isinstance(unit, Unit)]


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
