"""From facts to question-answer pairs, and which facts are safe to ask about.

A pair is written only where both things can be named without doubt in the whole caption and the caption gives one
answer. What a sentence says is `reading`'s.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from spare_assets.engines.rule_based import lexicon
from spare_assets.engines.rule_based.phrases import NounPhrase, singular
from spare_assets.engines.rule_based.reading import Fact, read_facts
from spare_assets.engines.rule_based.relation_phrases import relation_name
from spare_assets.engines.rule_based.wording import listed
from spare_assets.engines.rule_based.words import PROGRESSIVES, RELATING_FORMS, read_sentences


class Pair(NamedTuple):
    """A question and its answer."""

    question: str
    answer: str


_NEEDS_PLACE = frozenset(
    (
        *("in", "on", "at", "by", "over", "through", "around", "across", "along", "against", "within", "inside"),
        *("upon", "past", "throughout", "under", "from"),
    )
)
"""Relations that often are not about space, unless a thing with an article follows."""
_NEEDS_VERB = frozenset(("by", "at", "from", "towards", "toward", "past", "away from"))
_MOTIONS = frozenset(("into", "onto"))
_WITHOUT_LANDMARK = frozenset(("in", "on", "at", "inside", "within", "by", "upon", "atop"))
"""Relations that answer a plain "where"; the others are asked for in relation to something."""
_PATHS = frozenset(
    ("through", "along", "across", "over", "around", "past", "towards", "toward", "throughout", "away from")
)


_MOST_NAMESAKES = 20


class _Scene:
    """What a caption mentions, to tell whether a name fits one thing only and a place is spoken of once."""

    def __init__(self, phrases: list[NounPhrase], regions: Counter[str]) -> None:
        self.regions = regions
        self._introduced: dict[str, set[frozenset[str]]] = defaultdict(set)
        for phrase in phrases:
            if "a" in phrase.determiners or phrase.words[0] in lexicon.ORDINALS or phrase.plural:
                self._introduced[singular(phrase.head)].add(_content(phrase))

    def names_one(self, phrase: NounPhrase) -> bool:
        """Whether the words of the phrase fit no second thing that the caption introduces."""
        namesakes = self._introduced.get(singular(phrase.head), ())
        if len(namesakes) > _MOST_NAMESAKES:
            return False
        own = _content(phrase)
        return sum(own <= words for words in namesakes) <= 1


def _content(phrase: NounPhrase) -> frozenset[str]:
    return frozenset([singular(word) for word in phrase.words])


def write_pairs(caption: str) -> list[Pair]:
    """Pairs of a caption in its order, without repeated questions; empty where nothing is said clearly."""
    phrases: list[NounPhrase] = []
    facts: list[Fact] = []
    regions: Counter[str] = Counter()
    if caption.isupper():
        caption = caption.lower()
    for sentence in read_sentences(caption):
        regions.update(unit.text for unit, tag in zip(sentence.units, sentence.tags, strict=True) if tag == "z")
        found, said = read_facts(sentence)
        phrases += found
        facts += [fact for fact in said if _is_spatial(fact)]
    if not facts:
        return []
    writer = _Writer(caption, _Scene(phrases, regions))
    bearers: dict[tuple[str, ...], set[frozenset[str]]] = defaultdict(set)
    for fact in facts:
        bearers[_place(fact)].add(frozenset([subject.head for subject in fact.subjects]))
    pairs: dict[str, str] = {}
    for fact in facts:
        for question, answer in writer.ask(fact, alone=len(bearers[_place(fact)]) == 1):
            pairs.setdefault(question, answer)
    return [Pair(question, answer) for question, answer in pairs.items()]


def _place(fact: Fact) -> tuple[str, ...]:
    return (relation_name(fact.relation), *sorted(singular(thing.head) for thing in fact.objects))


def _is_spatial(fact: Fact) -> bool:
    """Whether the fact is about space, not about time, manner, clothing or the picture itself."""
    if not all(_solid(thing) for thing in fact.objects):
        return False
    if fact.kind == "region":
        return _of_picture(fact) and not any(verb in lexicon.PATH_VERBS for verb in map(_progressive, fact.verbs))
    if fact.kind != "relation":
        return True
    relation, place = fact.relation, fact.objects[0]
    if "visible" in fact.verbs and relation in _PATHS:
        return False
    if place.head in lexicon.NOT_PLACES and "middle" in relation:
        return False
    if relation in _MOTIONS or (relation in _NEEDS_VERB and not fact.verbs):
        return False
    if relation == "by" and not any(verb in PROGRESSIVES or verb in lexicon.PLACING_PARTICIPLES for verb in fact.verbs):
        return False
    if relation in _NEEDS_PLACE and (place.head in lexicon.NOT_PLACES or not place.determiners):
        return False
    if relation in ("in", "within"):
        return place.head not in lexicon.CLOTHING and not any(verb in lexicon.NOT_WITH_IN for verb in fact.verbs)
    return True


def _of_picture(fact: Fact) -> bool:
    """Whether a region is one of the picture, not of the thing that a sentence is about."""
    if " of " in fact.relation or "ground" in fact.relation or "distance" in fact.relation:
        return True
    return fact.fronted and not fact.verbs and fact.relation.endswith(_CLEAR_SIDES)


_CLEAR_SIDES = (
    "left",
    "right",
    "side",
    "corner",
    "in the front",
    "in the middle",
    "in the center",
    "in the centre",
)


def _progressive(verb: str) -> str:
    return PROGRESSIVES.get(verb, verb)


def _solid(phrase: NounPhrase) -> bool:
    """Whether the phrase stands, read whole, for a thing of its own."""
    if not phrase.whole or "Q" in phrase.tags or "p" in phrase.determiners or "i" in phrase.determiners:
        return False
    if not lexicon.PICTURES.isdisjoint(phrase.words):
        return False
    if (
        phrase.head in lexicon.VAGUE_HEADS
        and "S" not in phrase.tags
        and ("o" not in phrase.tags or phrase.words[-1] in lexicon.VAGUE_HEADS)
    ):
        return False
    if phrase.head in lexicon.NAMELESS_HEADS:
        return False
    if phrase.head not in lexicon.PARTS_OF_PERSONS:
        return True
    # "the chair's leg", "the clock face", "a chest of drawers" are things; "the face" is somebody's.
    return any(mark in phrase.tags for mark in ("S", "NN", "NM", "o"))


class _Writer:
    """Words questions and answers in terms of one caption."""

    def __init__(self, caption: str, scene: _Scene) -> None:
        self._caption = caption
        self._scene = scene

    def ask(self, fact: Fact, alone: bool) -> Iterator[Pair]:
        """Pairs of one fact; `alone` where nothing else is said to be in that place."""
        solid = alone and not fact.more and all(_solid(subject) for subject in fact.subjects)
        known = self._nameable(fact.subjects)
        match fact.kind:
            case "region":
                yield from self._ask_region(fact, solid, known)
            case "facing":
                yield from self._ask_facing(fact, known)
            case "relation":
                yield from self._ask_relation(fact, solid, known)
            case "passive" | "active":
                yield from self._ask_verb(fact, solid, known)

    def _ask_region(self, fact: Fact, solid: bool, known: bool) -> Iterator[Pair]:
        whole_place = " of " in fact.relation or "ground" in fact.relation
        if solid and whole_place and self._scene.regions[fact.relation] == 1:
            yield Pair(f"{_who(fact)} is {fact.relation}?", self._span(fact.subjects))
        if known:
            yield Pair(f"Where in the image {_be(fact)} {self._names(fact.subjects)}?", fact.relation)

    def _ask_facing(self, fact: Fact, known: bool) -> Iterator[Pair]:
        direction = fact.relation.removeprefix("facing").strip()
        if not known:
            return
        subject = f"{_be(fact)} {self._names(fact.subjects)}"
        if fact.objects and not direction:
            yield Pair(f"What {subject} facing?", self._span(fact.objects))
        elif fact.objects:
            yield Pair(f"Which direction {subject} facing?", f"{direction} {self._span(fact.objects)}")
        elif direction in lexicon.DIRECTIONS or " " in direction:
            yield Pair(f"Which direction {subject} facing?", direction)

    def _ask_relation(self, fact: Fact, solid: bool, known: bool) -> Iterator[Pair]:
        relation, subjects, objects = fact.relation, fact.subjects, fact.objects
        placed = self._nameable(objects)
        there = self._names(objects)
        moving = next((verb for verb in map(_progressive, fact.verbs) if verb in lexicon.TELLING_VERBS), "")
        if moving == "looking" and relation.split(" ")[-1] not in _LOOKS:
            return
        if moving:
            if placed and solid:
                yield Pair(f"{_who(fact)} is {moving} {relation} {there}?", self._span(subjects))
            if known and (relation in _PATHS or relation in _NEEDS_PLACE):
                asked = "Who" if all(map(_person, objects)) else "What"
                question = f"{asked} {_be(fact)} {self._names(subjects)} {moving} {relation}?"
                yield Pair(question, self._span(objects))
                return
        elif placed and solid:
            yield Pair(f"{_who(fact)} is {relation} {there}?", self._span(subjects))
        if not known or moving in lexicon.PATH_VERBS:
            return
        subject = f"{_be(fact)} {self._names(subjects)}"
        if relation in _WITHOUT_LANDMARK:
            yield Pair(f"Where {subject}?", f"{relation} {self._span(objects)}")
        elif placed:
            yield Pair(f"Where {subject} in relation to {there}?", f"{relation} {there}")

    def _ask_verb(self, fact: Fact, solid: bool, known: bool) -> Iterator[Pair]:
        subjects, objects = fact.subjects, fact.objects
        if fact.kind == "passive":
            if known:
                yield Pair(f"What {_be(fact)} {self._names(subjects)} {fact.relation}?", self._span(objects))
            return
        base, third, progressive = _RELATING[fact.relation]
        if self._nameable(objects) and solid:
            yield Pair(f"What {third} {self._names(objects)}?", self._span(subjects))
        if known:
            if fact.relation == progressive:
                yield Pair(f"What {_be(fact)} {self._names(subjects)} {progressive}?", self._span(objects))
            else:
                do = "do" if _plural(fact) else "does"
                yield Pair(f"What {do} {self._names(subjects)} {base}?", self._span(objects))

    def _span(self, phrases: list[NounPhrase]) -> str:
        """The caption's own words for things, lower-cased at the start of a sentence."""
        text = " ".join(self._caption[phrases[0].start : phrases[-1].end].split())
        text = _DEMONSTRATIVE.sub("the ", text)
        first = text.split(" ", 1)[0]
        if first[1:] == first[1:].lower() and (phrases[0].tags[0] in "daqpiJ" or phrases[0].first == 0):
            text = text[0].lower() + text[1:]
        return text

    def _name(self, phrase: NounPhrase) -> str:
        """The thing with a definite article: "the small blue square"."""
        start = phrase.core
        core = " ".join(self._caption[start : phrase.end].split())
        if phrase.determiners:
            determiner = self._caption[phrase.start : start].lower().split()
            if determiner == ["both"]:
                return f"both {core}"
            kept = [word for word in determiner if word in lexicon.NUMBERS or word[0].isdigit()]
            return " ".join(["the", *kept, core])
        if phrase.first == 0 and core[1:2].islower():
            core = core[0].lower() + core[1:]
        return core if core[0].isupper() or phrase.tags[0] == "S" else f"the {core}"

    def _names(self, phrases: list[NounPhrase]) -> str:
        return listed([self._name(phrase) for phrase in phrases])

    def _nameable(self, phrases: list[NounPhrase]) -> bool:
        """Whether a question may speak of these things: each solid, not too long, and the only one of its name."""
        return all(
            _solid(phrase)
            and len(phrase.words) <= 7
            and lexicon.ORDINALS.isdisjoint(phrase.words)
            and lexicon.ORDINALS.isdisjoint(self._caption[phrase.start : phrase.core].lower().split())
            and self._scene.names_one(phrase)
            for phrase in phrases
        )


_DEMONSTRATIVE = re.compile(r"^th(?:is|ese|at|ose) ", re.IGNORECASE)
_LOOKS = frozenset(("at", "towards", "toward"))
_RELATING = {
    form: (base, third, progressive)
    for base, third, progressive in RELATING_FORMS
    for form in (base, third, progressive)
}


def _plural(fact: Fact) -> bool:
    return len(fact.subjects) > 1 or fact.subjects[0].plural


def _be(fact: Fact) -> str:
    return "are" if _plural(fact) else "is"


def _who(fact: Fact) -> str:
    return "Who" if all(map(_person, fact.subjects)) else "What"


def _person(phrase: NounPhrase) -> bool:
    if phrase.head in lexicon.UNITS_OF_THINGS and "o" in phrase.tags:
        return phrase.words[-1] in lexicon.PERSONS
    return phrase.head in lexicon.PERSONS
