"""What the sandbox's base model is taught: the objects of scenes and where they are, in coordinates.

Cells are named as on a chess board (column a to d from the left, row 1 to 4 from the top), and the way from one object
to another is a step across and down, in cells. No word for a spatial relation occurs: those the base model is to learn
from the dataset. Belongs here: questions with their answers. How a model learns them does not.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from spare_assets.sandbox.scenes import COLOURS, GRID, SHAPES, Scene, SceneObject

Kind = Literal["list", "count", "colour", "shape", "present", "cell", "at cell", "step", "at step", "choice"]
KINDS: dict[Kind, float] = {
    "list": 1.5,
    "count": 1,
    "colour": 1,
    "shape": 1,
    "present": 1,
    "cell": 1.5,
    "at cell": 1.5,
    "step": 4,
    "at step": 2.5,
    "choice": 1.2,
}
"""How often each kind of question is asked, relative to the others."""
FIRST_KINDS: dict[Kind, float] = {"list": 1, "count": 1, "colour": 2, "shape": 2, "present": 1, "cell": 2, "at cell": 2}
"""The same for the beginning: one object at a time."""
COLUMNS = "abcd"
CELLS = tuple(f"{column}{row}" for column in COLUMNS for row in range(1, GRID + 1))
_COUNTS = ("no", "one", "two", "three", "four")
_ORDER = list(COLOURS)

_LIST = (
    "Which objects are there?",
    "What is in the picture?",
    "Which objects does the image show?",
    "Name the objects in the image.",
)
_COUNT = (
    "How many objects are there?",
    "How many objects are in the picture?",
    "Count the objects.",
    "How many things does the image show?",
)
_COLOUR = ("What colour is the {}?", "Which colour does the {} have?", "Name the colour of the {}.")
_SHAPE = ("What shape is the {} object?", "Which {} object is there?", "Name the shape of the {} object.")
_PRESENT = ("Is there {}?", "Does the image show {}?", "Is {} in the picture?")
_CELL = ("Which cell is the {} in?", "Give the cell of the {}.", "Point to the {}.", "Find the {} in the picture.")
_AT_CELL = ("Which object is in cell {}?", "What is in cell {}?", "Name the object in cell {}.")
_STEP = (
    "What is the step from the {1} to the {0}?",
    "Seen from the {1}, at which step is the {0}?",
    "Which step leads from the {1} to the {0}?",
    "At which step from the {1} is the {0}?",
    "At which step is the {0}, starting at the {1}?",
    "At which step is the {0} with respect to the {1}?",
    "The {0} is at which step from the {1}?",
)
_AT_STEP = (
    "Which object is at step {0} from the {1}?",
    "Starting at the {1}, what is at step {0}?",
    "What is at step {0} with respect to the {1}?",
)
_BEFORE = ("", "", "", "Look at the image. ", "In this picture: ", "Question: ")
_AFTER = ("", "", "", " Answer briefly.", " Please answer.")


class Lesson(NamedTuple):
    """A question about a scene, its answer, and what kind of question it is."""

    question: str
    answer: str
    kind: Kind


def lesson(rng: random.Random, scene: Scene, kinds: dict[Kind, float] = KINDS) -> Lesson:
    """A question about a scene, of one of the kinds, and its answer."""
    (kind,) = rng.choices(list(kinds), list(kinds.values()))
    question, answer = _QUESTIONS[kind](rng, scene)
    if kind != "choice":
        question = f"{rng.choice(_BEFORE)}{question}{rng.choice(_AFTER)}"
    return Lesson(question, answer, kind)


def listed(items: Sequence[str]) -> str:
    """Items as a list in words."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def with_article(name: str) -> str:
    """A thing with its indefinite article."""
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def cell(item: SceneObject) -> str:
    """The cell an object is in, such as `b3`."""
    return f"{COLUMNS[item.column]}{item.row + 1}"


def step(item: SceneObject, start: SceneObject) -> str:
    """The way from `start` to an object in cells: across from the left, down from the top."""
    return f"x{item.column - start.column:+d} y{item.row - start.row:+d}"


def _list(rng: random.Random, scene: Scene) -> tuple[str, str]:
    items = sorted(scene.objects, key=lambda item: _ORDER.index(item.colour))
    return rng.choice(_LIST), listed([with_article(item.name) for item in items])


def _count(rng: random.Random, scene: Scene) -> tuple[str, str]:
    return rng.choice(_COUNT), _COUNTS[len(scene.objects)]


def _colour(rng: random.Random, scene: Scene) -> tuple[str, str]:
    item = rng.choice(scene.objects)
    return rng.choice(_COLOUR).format(item.shape), item.colour


def _shape(rng: random.Random, scene: Scene) -> tuple[str, str]:
    item = rng.choice(scene.objects)
    return rng.choice(_SHAPE).format(item.colour), item.shape


def _present(rng: random.Random, scene: Scene) -> tuple[str, str]:
    item = rng.choice(scene.objects)
    if rng.random() < 0.5:
        return rng.choice(_PRESENT).format(with_article(item.name)), "yes"
    there = {other.name for other in scene.objects}
    while True:
        name = rng.choice(
            (
                f"{rng.choice(_ORDER)} {item.shape}",
                f"{item.colour} {rng.choice(SHAPES)}",
                f"{rng.choice(_ORDER)} {rng.choice(SHAPES)}",
            )
        )
        if name not in there:
            return rng.choice(_PRESENT).format(with_article(name)), "no"


def _cell(rng: random.Random, scene: Scene) -> tuple[str, str]:
    item = rng.choice(scene.objects)
    return rng.choice(_CELL).format(item.name), cell(item)


def _at_cell(rng: random.Random, scene: Scene) -> tuple[str, str]:
    item = rng.choice(scene.objects)
    return rng.choice(_AT_CELL).format(cell(item)), f"the {item.name}"


def _step(rng: random.Random, scene: Scene) -> tuple[str, str]:
    item, start = rng.sample(scene.objects, 2)
    return rng.choice(_STEP).format(item.name, start.name), step(item, start)


def _at_step(rng: random.Random, scene: Scene) -> tuple[str, str]:
    item, start = rng.sample(scene.objects, 2)
    return rng.choice(_AT_STEP).format(step(item, start), start.name), f"the {item.name}"


def _choice(rng: random.Random, scene: Scene) -> tuple[str, str]:
    """Four options, of which the answer repeats the right one in words."""
    item, start = rng.sample(scene.objects, 2)
    ask, right, others = rng.choice(
        (
            ("Which caption fits the image?", f"the {item.name} at step {{}} from the {start.name}", step(item, start)),
            ("Which caption fits the image?", f"the {item.name} in cell {{}}", cell(item)),
            (f"What colour is the {item.shape}?", "{}", item.colour),
        )
    )
    return ask, right.format(others)


_QUESTIONS: dict[Kind, Callable[[random.Random, Scene], tuple[str, str]]] = {
    "list": _list,
    "count": _count,
    "colour": _colour,
    "shape": _shape,
    "present": _present,
    "cell": _cell,
    "at cell": _at_cell,
    "step": _step,
    "at step": _at_step,
    "choice": _choice,
}
