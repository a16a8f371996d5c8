"""Questions about sandbox scenes: how they are worded, what they mean, and whether they fit a scene.

Wordings come from the rule-based analyst, so that they are those of the sandbox's own pairs. Belongs here:
wordings with slots, their meaning, and the truth of a meaning in a scene. How a model learns from it does
not.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spare_assets.engines.chat import ChatMessage, ChatRequest
from spare_assets.engines.rule_based.engine import RuleBasedEngine
from spare_assets.sandbox.scenes import COLOURS, GRID, SHAPES, Fact, Scene, SceneObject, spatial_facts

Form = Literal["what", "what else", "where", "colour", "list", "others", "count"]
NAMES = tuple(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)
_NAME = re.compile(rf"\b(?:{'|'.join(COLOURS)}) (?:{'|'.join(SHAPES)})\b")
_SHAPE = re.compile(rf"\b(?:{'|'.join(SHAPES)})\b")

_RELATIONS = {
    "left": re.compile(r"\bleft (?:side )?of\b"),
    "right": re.compile(r"\bright (?:side )?of\b"),
    "above": re.compile(r"\babove\b"),
    "below": re.compile(r"\b(?:below|under|beneath|underneath)\b"),
    "next to": re.compile(r"\b(?:next to|beside|adjacent to)\b"),
    "near": re.compile(r"\b(?:near|close to)\b"),
    "far": re.compile(r"\bfar (?:away )?from\b"),
    "between": re.compile(r"\bbetween\b"),
}
_REGION = re.compile(
    r"\b(?:(top|upper|bottom|lower) (left|right) corner|(top|bottom|left|right)(?: edge| side)? of the (?:image|frame)"
    r"|(center|middle))\b"
)
_SHOWS = re.compile(r"\b(?:does the image show|can be seen\?)")
_TALK = re.compile(r"\b(?:description|caption)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a wording asks, apart from the things in its slots.

    `relation` is one of a scene's relations, or `region`; `where` questions with things on both sides have
    none. `of_caption` marks talk of the caption. Wordings of equal meaning are paraphrases of each other.
    """

    form: Form
    relation: str = ""
    region: str = ""
    slots: int = 0
    of_caption: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """A question as asked: its text, what it means, and the things it names, in order."""

    text: str
    meaning: Meaning
    things: tuple[str, ...]


def analyst_questions(
    captions: Iterable[str], slips: float = 0.0, asides: float = 0.0
) -> Iterator[tuple[str, list[str]]]:
    """Each caption with the questions that the rule-based analyst writes from it."""
    kept = list(captions)
    requests = (
        (str(number), ChatRequest((ChatMessage("system", "write_pairs"), ChatMessage("user", caption)), 1024))
        for number, caption in enumerate(kept)
    )
    for reply in RuleBasedEngine(slips=slips, asides=asides).complete(requests):
        yield kept[int(reply.key)], [pair["question"] for pair in json.loads(reply.text)]


def named_things(question: str) -> list[str]:
    """The sandbox objects a question names, in order."""
    return _NAME.findall(question)


def read_wording(question: str) -> tuple[str, Meaning] | None:
    """A question with `{}` for each thing it names, and what it means; None where it means nothing known here."""
    wording, slots = _NAME.subn("{}", question)
    text = wording.lower()
    of_caption = bool(_TALK.search(text))
    if "what colour is the" in text:
        wording, slots = _SHAPE.subn("{}", question)
        return (wording, Meaning("colour", slots=slots, of_caption=of_caption)) if slots == 1 else None
    if "how many" in text or (slots <= 1 and _SHOWS.search(text)):
        aside: Form = "count" if "how many" in text else "others" if slots else "list"
        return wording, Meaning(aside, slots=slots, of_caption=of_caption)
    if "where" in text and slots:
        return wording, Meaning("where", slots=slots, of_caption=of_caption)
    form: Form = "what else" if "what else" in text else "what"
    for relation, pattern in _RELATIONS.items():
        if slots == (2 if relation == "between" else 1) and pattern.search(text):
            return wording, Meaning(form, relation, slots=slots, of_caption=of_caption)
    if slots == 0 and (found := _REGION.search(text)):
        upper, side, edge, middle = found.groups()
        vertical = {"upper": "top", "lower": "bottom"}.get(upper or "", upper)
        name = "center" if middle else f"{edge} edge" if edge else f"{vertical} {side} corner"
        return wording, Meaning(form, "region", name, of_caption=of_caption)
    return None


class Wordings:
    """All wordings met in some questions, by meaning, as often as they were met."""

    def __init__(self, questions: Iterable[str]) -> None:
        counts = Counter(found for question in questions if (found := read_wording(question)))
        self._by_meaning: dict[Meaning, list[tuple[str, int]]] = {}
        for (wording, meaning), count in sorted(counts.items(), key=lambda item: (item[0][0], str(item[0][1]))):
            self._by_meaning.setdefault(meaning, []).append((wording, count))
        self.counts = {meaning: sum(n for _, n in found) for meaning, found in self._by_meaning.items()}

    def ask(self, rng: random.Random, meaning: Meaning, things: Sequence[str]) -> Question:
        """A question of this meaning about these things, in one of its wordings."""
        wordings, counts = zip(*self._by_meaning[meaning], strict=True)
        # The square root lets rare wordings be learned as well.
        (wording,) = rng.choices(wordings, [count**0.5 for count in counts])
        return Question(wording.format(*things), meaning, tuple(things))

    def askable(self, scene: Scene) -> list[tuple[Meaning, tuple[str, ...], int]]:
        """What can be asked of a scene: meanings with the things they name, and how common such questions are."""
        found: dict[tuple[Meaning, tuple[str, ...]], int] = {}
        for fact in spatial_facts(scene):
            for meaning, count in self.counts.items():
                for things in _asked_of(fact, meaning):
                    found[meaning, things] = count
        return [(meaning, things, count) for (meaning, things), count in found.items()]

    @property
    def texts(self) -> list[str]:
        """Every wording, slots included."""
        return [wording for found in self._by_meaning.values() for wording, _ in found]


def _asked_of(fact: Fact, meaning: Meaning) -> Iterator[tuple[str, ...]]:
    """The things that a question of this meaning names when it asks about this fact."""
    subject, references = fact.subject.name, tuple(item.name for item in fact.references)
    if meaning.form in _ASIDES:
        if fact.relation == "region":
            yield {"colour": (fact.subject.shape,), "others": (subject,)}.get(meaning.form, ())
    elif meaning.form == "where":
        if meaning.slots == 1 + len(references):
            yield (subject, *references)
    elif fact.relation == meaning.relation and fact.region == meaning.region:
        yield references


_ASIDES = ("colour", "list", "others", "count")
"""What is asked of a scene's objects without regard to where they are."""
SINGLE = ("left", "right", "above", "below", "next to", "near", "far")
"""Relations to one other thing."""
_REGIONS = (
    *(f"{vertical} {horizontal} corner" for vertical in ("top", "bottom") for horizontal in ("left", "right")),
    *(f"{side} edge" for side in ("top", "bottom", "left", "right")),
    "center",
)
# Predicates: one number for each thing that may be true of a scene, in the order of these blocks.
_NEVER, _PRESENT = 0, 1
_RELATED = _PRESENT + len(NAMES)
_SHAPES = _RELATED + len(SINGLE) * len(NAMES)
_PLACES = _SHAPES + len(SHAPES)
_ALWAYS = _PLACES + len(_REGIONS)
PREDICATES = _ALWAYS + 1
BLOCKS = {
    "present": slice(_PRESENT, _RELATED),
    "related": slice(_RELATED, _SHAPES),
    "shapes": slice(_SHAPES, _PLACES),
    "places": slice(_PLACES, _ALWAYS),
}
"""Where predicates of a kind stand: a thing is there (as in NAMES), something is in a relation of SINGLE to a thing
(relations first, then NAMES), a shape is there, something is in a part of the picture."""
_NUMBER = {name: number for number, name in enumerate(NAMES)}


def required(question: Question) -> tuple[int, int, int]:
    """The predicates that must all hold in a scene for the question to fit it."""
    meaning = question.meaning
    if meaning.relation == "region":
        wanted = [_PLACES + _REGIONS.index(meaning.region)]
    elif meaning.form == "colour":
        wanted = [_SHAPES + SHAPES.index(thing) if thing in SHAPES else _NEVER for thing in question.things]
    else:
        wanted = [_PRESENT + _NUMBER[thing] if thing in _NUMBER else _NEVER for thing in question.things]
        if meaning.relation in SINGLE and wanted[0] != _NEVER:
            block = _RELATED + SINGLE.index(meaning.relation) * len(NAMES)
            wanted = [block + _NUMBER[question.things[0]]]
    first, second, third = (*wanted, _ALWAYS, _ALWAYS, _ALWAYS)[:3]
    return first, second, third


def predicates(scene: Scene) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """What is clearly true of a scene, and what is not clearly false: two rows of `PREDICATES` flags."""
    clear = np.zeros(PREDICATES, dtype=np.bool_)
    clear[_ALWAYS] = True
    possible = clear.copy()
    for item in scene.objects:
        possible[[_PRESENT + _NUMBER[item.name], _SHAPES + SHAPES.index(item.shape)]] = True
        clear[[_PRESENT + _NUMBER[item.name], _SHAPES + SHAPES.index(item.shape)]] = True
        for number, place in enumerate(_REGIONS):
            possible[_PLACES + number] |= _within(item, place)
    for fact in spatial_facts(scene):
        if fact.relation == "region":
            clear[_PLACES + _REGIONS.index(fact.region)] = True
        elif fact.relation in SINGLE:
            block = _RELATED + SINGLE.index(fact.relation) * len(NAMES)
            clear[block + _NUMBER[fact.references[0].name]] = True
    for subject in scene.objects:
        for reference in scene.objects:
            if subject is not reference:
                for number, relation in enumerate(SINGLE):
                    if _conceivable(relation, subject, reference):
                        possible[_RELATED + number * len(NAMES) + _NUMBER[reference.name]] = True
    return clear, possible


def _conceivable(relation: str, subject: SceneObject, reference: SceneObject) -> bool:
    """Whether someone might say that the relation holds."""
    across, down = subject.column - reference.column, subject.row - reference.row
    distance = max(abs(across), abs(down))
    return {
        "left": across < 0,
        "right": across > 0,
        "above": down < 0,
        "below": down > 0,
        "next to": distance == 1,
        "near": distance <= 2,
        "far": distance >= 2,
    }[relation]


def _within(item: SceneObject, place: str) -> bool:
    """Whether an object lies in a part of the picture; one in a corner lies along two edges as well."""
    words = place.split()
    inside = {
        "top": item.row == 0,
        "bottom": item.row == GRID - 1,
        "left": item.column == 0,
        "right": item.column == GRID - 1,
        "center": 0 < item.row < GRID - 1 and 0 < item.column < GRID - 1,
    }
    return all(inside[word] for word in words if word in inside)
