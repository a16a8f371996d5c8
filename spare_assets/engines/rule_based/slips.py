"""What language models add to the pairs they are asked for, so that the sandbox's checks have work to do.

Slips are the mistakes they are known for; asides are true pairs that are not about space (paper 4.5.2: benign). Which
captions get which depends on the caption alone. The pairs themselves are never changed, and nothing here is used
unless an engine is asked for it.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable

from spare_assets.engines.rule_based.questions import Pair
from spare_assets.engines.rule_based.relation_phrases import RELATION
from spare_assets.engines.rule_based.wording import listed, with_article

_REWORDINGS = (
    (re.compile(r"^(What|Who) is (?:to|on) the (left|right)(?: side)? of "), r"\1 is \2 of "),
    (re.compile(r"^(What|Who) is (left|right) of "), r"\1 is to the \2 of "),
    (re.compile(r" in relation to "), " relative to "),
    (re.compile(rf"^(What|Who) is (?={RELATION})"), r"\1 can be seen "),
    (re.compile(r"^Where (?:in the image )?(is|are) "), r"Where exactly \1 "),
)
_ABSENT_THINGS = (
    "a wooden staircase",
    "an iron garden gate",
    "a leather armchair",
    "a sleeping kitten",
    "two paper lanterns",
    "a grandfather clock",
    "a striped beach umbrella",
)
_COLOURS = str.split("red orange yellow green blue purple brown black white pink grey gray")
_COLOURED = re.compile(rf"\b({'|'.join(_COLOURS)})(?: and \w+)? ([a-z]+)\b")
_COUNTED = re.compile(
    r"\b(two|three|four|five|six|seven|eight|nine|ten) (?:[a-z]+ ){0,2}(shapes|objects|things|people)\b"
)
_COLOUR_ASIDES = 2
_LIST_QUESTIONS = ("What does the image show?", "Which things does the image show?", "What can be seen?")
_OTHERS_QUESTION = "What does the image show apart from the {}?"
_COUNT_QUESTIONS = ("How many {} are there?", "How many {} does the image show?", "How many {} can be seen?")
_PLACE_QUESTION = re.compile(r"^(?:What|Who) is ")


def add_slips(caption: str, pairs: list[Pair], share: float) -> list[Pair]:
    """The pairs, and for a `share` of captions one or two slips more, each right after the pair it imitates."""
    rng = random.Random(hashlib.sha256(caption.encode("utf-8", "surrogatepass")).digest())
    if not pairs or rng.random() >= share:
        return pairs
    kinds = rng.sample(_KINDS, 2 if rng.random() < 0.25 else 1)
    slipped = list(pairs)
    for kind in kinds:
        position = rng.randrange(len(pairs))
        slip = kind(caption, pairs[position], rng)
        if slip is not None:
            slipped.insert(slipped.index(pairs[position]) + 1, slip)
    return slipped


def add_asides(caption: str, pairs: list[Pair], share: float) -> list[Pair]:
    """The pairs, and for a `share` of captions what colour things have and which are there, after them."""
    rng = random.Random(hashlib.sha256(b"asides:" + caption.encode("utf-8", "surrogatepass")).digest())
    if not pairs or rng.random() >= share:
        return pairs
    colours: dict[str, set[str]] = {}
    for colour, thing in _COLOURED.findall(caption.lower()):
        colours.setdefault(thing, set()).add(colour)
    plain = sorted(((*found, thing) for thing, found in colours.items() if len(found) == 1), key=_by_colour)
    asides = [_colour_pair(colour, thing) for colour, thing in rng.sample(plain, min(len(plain), _COLOUR_ASIDES))]
    if len(plain) > 1:
        names = [" ".join(named) for named in plain]
        asides.append(Pair(rng.choice(_LIST_QUESTIONS), listed([with_article(name) for name in names])))
        named = rng.choice(names)
        asides.append(
            Pair(_OTHERS_QUESTION.format(named), listed([with_article(name) for name in names if name != named]))
        )
    if counted := _COUNTED.search(caption.lower()):
        asides.append(Pair(rng.choice(_COUNT_QUESTIONS).format(counted[2]), counted[1]))
    return [*pairs, *asides]


def _by_colour(named: tuple[str, ...]) -> tuple[int, str]:
    return _COLOURS.index(named[0]), named[-1]


def _repetition(caption: str, pair: Pair, rng: random.Random) -> Pair | None:
    if rng.random() < 0.5:
        return pair
    for pattern, replacement in _REWORDINGS:
        reworded, count = pattern.subn(replacement, pair.question, count=1)
        if count:
            return Pair(reworded, pair.answer)
    return pair


def _talk_of_the_caption(caption: str, pair: Pair, rng: random.Random) -> Pair | None:
    source = rng.choice(("description", "caption"))
    if rng.random() < 0.5:
        return Pair(f"According to the {source}, {pair.question[0].lower()}{pair.question[1:]}", pair.answer)
    return Pair(f"{pair.question[:-1]} in the {source}?", f"{pair.answer}, as mentioned")


def _ungrounded_answer(caption: str, pair: Pair, rng: random.Random) -> Pair | None:
    lowered = caption.lower()
    absent = [thing for thing in _ABSENT_THINGS if not any(word in lowered for word in thing.split()[1:])]
    if not absent:
        return None
    question = _PLACE_QUESTION.sub("What else is ", pair.question)
    return Pair(question if question != pair.question else f"What is near {_asked(pair)}?", rng.choice(absent))


def _asked(pair: Pair) -> str:
    """The thing a "where" question is about."""
    words = pair.question.rstrip("?").split(" in relation to ")[0].split(" ")
    start = next((index for index, word in enumerate(words) if word in ("is", "are", "does", "do")), 0)
    return " ".join(words[start + 1 :])


def _not_spatial(caption: str, pair: Pair, rng: random.Random) -> Pair | None:
    coloured = sorted(set(_COLOURED.findall(caption.lower())))
    if not coloured:
        return None
    colour, thing = rng.choice(coloured)
    return _colour_pair(colour, thing)


def _colour_pair(colour: str, thing: str) -> Pair:
    return Pair(f"What colour is the {thing}?", colour)


_KINDS: tuple[Callable[[str, Pair, random.Random], Pair | None], ...] = (
    _repetition,
    _talk_of_the_caption,
    _ungrounded_answer,
    _not_spatial,
)
