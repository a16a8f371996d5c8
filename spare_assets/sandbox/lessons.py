"""What the sandbox's base model is taught: the objects of scenes and where they are, in coordinates.

Cells are named as on a chess board (column a to d from the left, row 1 to 4 from the top), and the way from one object
to another is a step across and down, in cells. No word for a spatial relation occurs: those the base model is to learn
from the dataset. Belongs here: questions with their answers. How a model learns them does not.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from spare_assets.engines.rule_based.wording import listed, with_article
from spare_assets.sandbox.scenes import COLOURS, GRID, SHAPES, Scene, SceneObject

Kind = Literal["list", "others", "count", "colour", "shape", "present", "cell", "at cell", "step", "at step"]
KINDS: dict[Kind, float] = {
    "list": 1.5,
    "others": 1,
    "count": 1.5,
    "colour": 1.5,
    "shape": 1,
    "present": 1.5,
    "cell": 1.5,
    "at cell": 1.5,
    "step": 4,
    "at step": 2.5,
}
"""How often each kind of question is asked, relative to the others."""
OPTIONS_SHARE = 0.15
"""Share of questions, of the kinds that can, which come with options; the answer is the option's words."""
FREE_SHARE = 0.6
"""Share of questions where an object is that come in words at random: the objects named in them say what is asked."""
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
    "At which step is the {0}, starting at the {1}?",
    "At which step is the {0} with respect to the {1}?",
    "The {0} is at which step from the {1}?",
    "At which step is the {0}, seen from the {1}?",
)
_AT_STEP = (
    "Which object is at step {0} from the {1}?",
    "Starting at the {1}, what is at step {0}?",
    "What is at step {0} with respect to the {1}?",
)
_OTHERS = (
    "What does the image show apart from the {}?",
    "Which objects are there besides the {}?",
    "What else is in the picture, apart from the {}?",
)
_OPENINGS = ("Where", "Where", "Tell me where", "Say where", "Find where")
_FILLERS = str.split(
    "is are be can the a an in of to for with by at on and or it that this which one image picture photo scene shape "
    "object thing located found placed put set lying standing seen shown compared relation relative respect reference "
    "position place location exactly now here please look looking considering given when you we i would should do does"
)
_BEFORE = ("", "", "", "Look at the image. ", "In this picture: ", "Question: ")
_AFTER = ("", "", "", " Answer briefly.", " Please answer.")


class Lesson(NamedTuple):
    """A question about a scene, its answer, its kind, and the objects it is about.

    `item` is the object asked for or about; `start` the one that a step starts from.
    """

    question: str
    answer: str
    kind: Kind
    item: SceneObject | None = None
    start: SceneObject | None = None


def lesson(rng: random.Random, scene: Scene) -> Lesson:
    """A question about a scene, of one of the kinds, and its answer."""
    (kind,) = rng.choices(list(KINDS), list(KINDS.values()))
    made = _QUESTIONS[kind](rng, scene)
    if kind not in ("others", "present", "at cell", "at step") and rng.random() < OPTIONS_SHARE:
        return made._replace(question=with_options(made.question, options_for(rng, kind, made.answer, scene)))
    return made._replace(question=f"{rng.choice(_BEFORE)}{made.question}{rng.choice(_AFTER)}")


def objects_in_words(scene: Scene) -> str:
    """All objects of a scene in the words and the order that lessons use."""
    items = sorted(scene.objects, key=lambda item: _ORDER.index(item.colour))
    return listed([with_article(item.name) for item in items])


def number_in_words(scene: Scene) -> str:
    """How many objects a scene has."""
    return _COUNTS[len(scene.objects)]


def with_options(question: str, options: Sequence[str]) -> str:
    """A question in the form of multiple choice."""
    lines = [f"{letter}. {option}" for letter, option in zip("ABCD", options, strict=False)]
    return "\n".join([f"Question: {question}", "Options:", *lines, "Please select the correct option."])


def options_for(rng: random.Random, kind: Kind, right: str, scene: Scene) -> list[str]:
    """Up to four options in any order, one of them right."""
    if kind == "list":
        wrong = {right}
        while len(wrong) < 4:
            wrong.add(objects_in_words(_altered(rng, scene)))
        others = sorted(wrong - {right})
    else:
        others = rng.sample([option for option in _OPTIONS[kind] if option != right], len(_OPTIONS[kind][:4]) - 1)
    return rng.sample([right, *others], 1 + len(others))


def _altered(rng: random.Random, scene: Scene) -> Scene:
    """A scene in which one object has another colour or shape."""
    colours, shapes = ({getattr(item, name) for item in scene.objects} for name in ("colour", "shape"))
    place = rng.randrange(len(scene.objects))
    objects = list(scene.objects)
    if rng.random() < 0.5:
        colour = rng.choice([colour for colour in COLOURS if colour not in colours])
        objects[place] = replace(objects[place], colour=colour)
    else:
        objects[place] = replace(objects[place], shape=rng.choice([shape for shape in SHAPES if shape not in shapes]))
    return Scene(scene.seed, tuple(objects))


def _in_free_words(rng: random.Random, names: Sequence[str]) -> str:
    """A question where the first thing is, seen from the second if there is one, in words that mean nothing."""
    words = [rng.choice(_OPENINGS)]
    for name in names:
        words += [*rng.choices(_FILLERS, k=rng.randint(1, 5)), f"the {name}"]
    return f"{' '.join([*words, *rng.choices(_FILLERS, k=rng.choice((0, 0, 0, 1, 3)))])}?"


def cell(item: SceneObject) -> str:
    """The cell an object is in, such as `b3`."""
    return f"{COLUMNS[item.column]}{item.row + 1}"


def step(item: SceneObject, start: SceneObject) -> str:
    """The way from `start` to an object in cells: across from the left, down from the top."""
    return f"x{item.column - start.column:+d} y{item.row - start.row:+d}"


def _list(rng: random.Random, scene: Scene) -> Lesson:
    return Lesson(rng.choice(_LIST), objects_in_words(scene), "list")


def _others(rng: random.Random, scene: Scene) -> Lesson:
    item = rng.choice(scene.objects)
    rest = Scene(scene.seed, tuple(other for other in scene.objects if other is not item))
    return Lesson(rng.choice(_OTHERS).format(item.name), objects_in_words(rest), "others", item)


def _count(rng: random.Random, scene: Scene) -> Lesson:
    return Lesson(rng.choice(_COUNT), number_in_words(scene), "count")


def _colour(rng: random.Random, scene: Scene) -> Lesson:
    item = rng.choice(scene.objects)
    return Lesson(rng.choice(_COLOUR).format(item.shape), item.colour, "colour", item)


def _shape(rng: random.Random, scene: Scene) -> Lesson:
    item = rng.choice(scene.objects)
    return Lesson(rng.choice(_SHAPE).format(item.colour), item.shape, "shape", item)


def _present(rng: random.Random, scene: Scene) -> Lesson:
    item = rng.choice(scene.objects)
    if rng.random() < 0.5:
        return Lesson(rng.choice(_PRESENT).format(with_article(item.name)), "yes", "present")
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
            return Lesson(rng.choice(_PRESENT).format(with_article(name)), "no", "present")


def _cell(rng: random.Random, scene: Scene) -> Lesson:
    item = rng.choice(scene.objects)
    free = rng.random() < FREE_SHARE / 2
    question = _in_free_words(rng, [item.name]) if free else rng.choice(_CELL).format(item.name)
    return Lesson(question, cell(item), "cell", item)


def _at_cell(rng: random.Random, scene: Scene) -> Lesson:
    item = rng.choice(scene.objects)
    return Lesson(rng.choice(_AT_CELL).format(cell(item)), f"the {item.name}", "at cell", item)


def _step(rng: random.Random, scene: Scene) -> Lesson:
    item, start = rng.sample(scene.objects, 2)
    names = [item.name, start.name]
    question = _in_free_words(rng, names) if rng.random() < FREE_SHARE else rng.choice(_STEP).format(*names)
    return Lesson(question, step(item, start), "step", item, start)


def _at_step(rng: random.Random, scene: Scene) -> Lesson:
    item, start = rng.sample(scene.objects, 2)
    question = rng.choice(_AT_STEP).format(step(item, start), start.name)
    return Lesson(question, f"the {item.name}", "at step", item, start)


_QUESTIONS: dict[Kind, Callable[[random.Random, Scene], Lesson]] = {
    "list": _list,
    "others": _others,
    "count": _count,
    "colour": _colour,
    "shape": _shape,
    "present": _present,
    "cell": _cell,
    "at cell": _at_cell,
    "step": _step,
    "at step": _at_step,
}
_STEPS = tuple(f"x{across:+d} y{down:+d}" for across in range(1 - GRID, GRID) for down in range(1 - GRID, GRID))
_OPTIONS: dict[Kind, tuple[str, ...]] = {
    "count": _COUNTS[1:],
    "colour": tuple(COLOURS),
    "shape": SHAPES,
    "cell": CELLS,
    "step": _STEPS,
}
