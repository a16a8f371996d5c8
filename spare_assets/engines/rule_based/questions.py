"""From facts to question-answer pairs, and which facts are safe to ask about.

A pair is written only when both things can be named without doubt in the whole caption, and when the question has one
answer in it. What a sentence says is `reading`'s.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from spare_assets.engines.rule_based import lexicon
from spare_assets.engines.rule_based.phrases import NounPhrase, singular
from spare_assets.engines.rule_based.reading import Fact, read_facts
from spare_assets.engines.rule_based.words import read_sentences

_DEGREES = re.compile(
    r"^(?:directly|just|immediately|slightly|diagonally|partially|high|far|right) (?=[a-z])"
)
_SAME_RELATION = {
    "under": "below",
    "underneath": "below",
    "beneath": "below",
    "left of": "to the left of",
    "on the left side of": "to the left of",
    "on the left of": "to the left of",
    "right of": "to the right of",
    "on the right side of": "to the right of",
    "on the right of": "to the right of",
    "beside": "next to",
    "adjacent to": "next to",
    "near to": "near",
    "close to": "near",
    "on top of": "on",
    "atop": "on",
    "upon": "on",
    "inside": "in",
    "inside of": "in",
    "within": "in",
    "far away from": "far from",
}


class Pair(NamedTuple):
    """A question and its answer."""

    question: str
    answer: str


_WEAK = frozenset("in on at by over through around across along against into onto past from within".split())
_PLAIN_WHERE = frozenset("in on at inside within by upon atop through along across throughout".split())
_DROPPED_QUANTIFIERS = lexicon.QUANTIFIERS - {"both", "other"}
_INTRODUCING = frozenset("another other second third fourth additional".split())
_NOT_BEARERS = lexicon.PARTS_OF_PERSONS | lexicon.CLOTHING


class _Scene:
    """What a caption mentions, to tell whether a name fits one thing only."""

    def __init__(self, phrases: list[NounPhrase]) -> None:
        self._introduced: dict[str, set[frozenset[str]]] = defaultdict(set)
        for phrase in phrases:
            if "a" in phrase.determiners or phrase.words[0] in _INTRODUCING or phrase.plural:
                self._introduced[singular(phrase.head)].add(_content(phrase))

    def names_one(self, phrase: NounPhrase) -> bool:
        """Whether the words of the phrase fit no second thing that the caption introduces."""
        own = _content(phrase)
        return sum(own <= words for words in self._introduced.get(singular(phrase.head), ())) <= 1


def _content(phrase: NounPhrase) -> frozenset[str]:
    return frozenset(singular(word) for word in phrase.words)


class _Writer:
    def __init__(self, caption: str, scene: _Scene) -> None:
        self._caption = caption
        self._scene = scene

    def span(self, phrases: list[NounPhrase]) -> str:
        """The caption's own words for things, lower-cased at the start of a sentence."""
        text = " ".join(self._caption[phrases[0].start : phrases[-1].end].split())
        first = text.split(" ", 1)[0]
        if first[1:] == first[1:].lower() and (phrases[0].tags[0] in "daqpiJ" or phrases[0].first == 0):
            text = text[0].lower() + text[1:]
        return text

    def name(self, phrase: NounPhrase) -> str:
        """The thing with a definite article: "the small blue square"."""
        text = self.span([phrase])
        words = text.split(" ")
        while words and words[0].lower() in ("a", "an", "the", *_DROPPED_QUANTIFIERS):
            words = words[1:]
        text = " ".join(words)
        if phrase.determiners == "" and (text[:1].isupper() or phrase.tags[0] == "S"):
            return text
        if words[0].lower() in lexicon.DEFINITE:
            return text
        return "the " + text

    def names(self, phrases: list[NounPhrase]) -> str:
        named = [self.name(phrase) for phrase in phrases]
        return named[0] if len(named) == 1 else ", ".join(named[:-1]) + " and " + named[-1]

    def nameable(self, phrases: list[NounPhrase]) -> bool:
        """Whether a question may speak of these things."""
        return all(
            _solid(phrase) and len(phrase.words) <= 7 and self._scene.names_one(phrase) for phrase in phrases
        )


def _solid(phrase: NounPhrase) -> bool:
    """Whether the phrase stands for a thing of its own."""
    if "p" in phrase.determiners or "i" in phrase.determiners or phrase.words[0] in _INTRODUCING:
        return False
    if phrase.head in lexicon.PICTURES or "Q" in phrase.tags:
        return False
    if phrase.head in lexicon.VAGUE_HEADS and "o" not in phrase.tags:
        return False
    if phrase.head in lexicon.PARTS_OF_PERSONS and "S" not in phrase.tags:
        return False
    return not any(word in lexicon.PICTURES for word in phrase.words)


def _is_spatial(fact: Fact) -> bool:
    if fact.kind != "relation":
        return True
    relation = fact.relation
    place = fact.objects[0]
    if relation in _WEAK:
        if place.head in lexicon.NOT_PLACES or not place.determiners:
            return False
        if relation in ("in", "within") and place.head in lexicon.CLOTHING:
            return False
        if relation in ("by", "at", "from") and not fact.verb:
            return False
        if relation in ("into", "onto", "past", "from"):
            return False
    return True


def _same_place(relation: str) -> str:
    """One name for relations that say nearly the same."""
    bare = _DEGREES.sub("", relation)
    return _SAME_RELATION.get(bare, bare)


def write_pairs(caption: str) -> list[Pair]:
    """Pairs of a caption in its order, without repeated questions; empty where nothing is said clearly."""
    phrases: list[NounPhrase] = []
    facts: list[Fact] = []
    for sentence in read_sentences(caption):
        found, said = read_facts(sentence)
        phrases += found
        facts += said
    if not facts:
        return []
    writer = _Writer(caption, _Scene(phrases))
    facts = [fact for fact in facts if _is_spatial(fact)]
    bearers: dict[tuple[str, ...], set[frozenset[str]]] = defaultdict(set)
    for fact in facts:
        bearers[_place(fact)].add(frozenset(subject.head for subject in fact.subjects))
    pairs: dict[str, str] = {}
    for fact in facts:
        for question, answer in _ask(fact, writer, alone=len(bearers[_place(fact)]) == 1):
            pairs.setdefault(question, answer)
    return [Pair(question, answer) for question, answer in pairs.items()]


def _place(fact: Fact) -> tuple[str, ...]:
    return (_same_place(fact.relation), *sorted(singular(thing.head) for thing in fact.objects))


def _ask(fact: Fact, writer: _Writer, alone: bool) -> Iterator[Pair]:
    """Pairs of one fact; `alone` where nothing else is said to be in that place."""
    subjects, objects = fact.subjects, fact.objects
    plural = len(subjects) > 1 or subjects[0].plural
    be = "are" if plural else "is"
    who = "Who" if all(subject.person for subject in subjects) else "What"
    known = writer.nameable(subjects)
    solid = all(_solid(subject) for subject in subjects) and alone
    if fact.kind == "region":
        if solid and " of " in fact.relation:
            yield Pair(f"{who} is {fact.relation}?", writer.span(subjects))
        if known:
            yield Pair(f"Where in the image {be} {writer.names(subjects)}?", fact.relation)
        return
    if fact.kind == "facing":
        if known and objects and _solid(objects[0]):
            yield Pair(f"What {be} {writer.names(subjects)} facing?", writer.span(objects))
        return
    if not all(_solid(thing) for thing in objects):
        return
    placed = writer.nameable(objects)
    there = writer.names(objects)
    if fact.kind == "relation":
        relation = fact.relation
        if placed and solid:
            yield Pair(f"{who} is {relation} {there}?", writer.span(subjects))
        if known:
            if relation in _PLAIN_WHERE:
                yield Pair(f"Where {be} {writer.names(subjects)}?", f"{relation} {there}")
            elif placed:
                yield Pair(
                    f"Where {be} {writer.names(subjects)} in relation to {there}?", f"{relation} {there}"
                )
    elif fact.kind == "passive":
        if known:
            yield Pair(f"What {be} {writer.names(subjects)} {fact.relation}?", writer.span(objects))
    elif fact.kind == "active":
        base = lexicon.COVERING_VERBS[fact.relation]
        if placed and solid:
            third = next(
                form for form, verb in lexicon.COVERING_VERBS.items() if verb == base and form.endswith("s")
            )
            yield Pair(f"What {third} {there}?", writer.span(subjects))
        if known:
            yield Pair(
                f"What {'do' if plural else 'does'} {writer.names(subjects)} {base}?", writer.span(objects)
            )
