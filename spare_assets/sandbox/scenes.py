"""Sandbox scenes: coloured shapes on a grid, what is true of their places, and their picture.

Belongs here: which shapes and colours there are, how a seed becomes a scene, which spatial facts hold in it,
and how it is drawn. How facts become sentences or files, and any model, do not.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

GRID = 4
CELL = 56
SIZE = GRID * CELL
"""Side of a picture in pixels. A quarter of it (56) leaves each object within one 14-pixel patch."""

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 34, 40),
    "orange": (250, 128, 12),
    "yellow": (250, 222, 20),
    "green": (20, 135, 45),
    "blue": (30, 70, 225),
    "purple": (118, 30, 160),
    "brown": (112, 66, 28),
    "black": (18, 18, 18),
    "white": (252, 252, 252),
}
SHAPES = ("circle", "square", "triangle", "star", "diamond", "cross", "heart", "ring", "crescent")

POOLS = (
    "docci",
    "localized_narratives",
    "pixmo_cap",
    "mismatched",
    "clip_training",
    "clip_held_out",
    "benchmark",
    "vlm_training",
)
"""Who draws scenes. Each pool has its own range of seeds, so that no two share one."""
_POOL_SPAN = 10**12
_SEED_SPAN = 10**6

Direction = Literal["left", "right", "above", "below"]
Relation = Literal["left", "right", "above", "below", "next to", "near", "far", "between", "region"]
OPPOSITES: dict[Direction, Direction] = {"left": "right", "right": "left", "above": "below", "below": "above"}


@dataclass(frozen=True, slots=True)
class SceneObject:
    """One shape: cell of the grid (column and row from the top left), centre and radius in pixels."""

    colour: str
    shape: str
    column: int
    row: int
    x: int
    y: int
    radius: int

    @property
    def name(self) -> str:
        """The words for it, unique within a scene, such as `red circle`."""
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True, slots=True)
class Scene:
    """Two to four shapes in different cells, of different colours and different shapes."""

    seed: int
    objects: tuple[SceneObject, ...]


@dataclass(frozen=True, slots=True)
class Fact:
    """Something spatial that is clearly true: subject, relation, what it relates to.

    `references` holds one object, two for `between`, and none for `region`; `region` then names the part of
    the picture the subject is in.
    """

    relation: Relation
    subject: SceneObject
    references: tuple[SceneObject, ...] = ()
    region: str = ""


def scene_seed(pool: str, seed: int, index: int) -> int:
    """Seed of one scene of a pool; different for every (pool, seed, index).

    Raises ValueError for an unknown pool, or for a seed or index outside 0..999,999.
    """
    if pool not in POOLS:
        raise ValueError(f"unknown pool of scenes {pool!r}: use one of {', '.join(POOLS)}")
    if not (0 <= seed < _SEED_SPAN and 0 <= index < _SEED_SPAN):
        raise ValueError(f"seed {seed} and index {index} of a scene must lie in 0..{_SEED_SPAN - 1:,}")
    return POOLS.index(pool) * _POOL_SPAN + seed * _SEED_SPAN + index


def make_scene(seed: int) -> Scene:
    """The scene of a seed: equal seeds give equal scenes. At least one direction is clear in it."""
    rng = random.Random(seed)
    count = rng.choices((2, 3, 4), weights=(2, 4, 4))[0]
    colours = rng.sample(list(COLOURS), count)
    shapes = rng.sample(SHAPES, count)
    while True:
        cells = rng.sample(range(GRID * GRID), count)
        objects = tuple(
            _place(rng, colour, shape, cell % GRID, cell // GRID)
            for colour, shape, cell in zip(colours, shapes, cells, strict=True)
        )
        if any(direction(one, other) for one in objects for other in objects):
            return Scene(seed, objects)


def mirrored(scene: Scene) -> Scene:
    """The scene with left and right exchanged."""
    flipped = tuple(replace(item, column=GRID - 1 - item.column, x=SIZE - item.x) for item in scene.objects)
    return Scene(scene.seed, flipped)


def four_ways(seed: int, others: int = 0) -> dict[Direction, Scene]:
    """Four scenes of the same two objects: the first is left of the second, right of it, above it, below it.

    `others` more objects stand about in each. Equal seeds give equal scenes.
    """
    rng = random.Random(f"four ways:{seed}")
    colours, shapes = rng.sample(list(COLOURS), 2 + others), rng.sample(SHAPES, 2 + others)
    scenes: dict[Direction, Scene] = {}
    for wanted in OPPOSITES:
        while wanted not in scenes:
            cells = rng.sample(range(GRID * GRID), 2 + others)
            objects = tuple(
                _place(rng, colour, shape, cell % GRID, cell // GRID)
                for colour, shape, cell in zip(colours, shapes, cells, strict=True)
            )
            if direction(objects[0], objects[1]) == wanted:
                scenes[wanted] = Scene(seed + len(scenes), objects)
    return scenes


def direction(subject: SceneObject, reference: SceneObject) -> Direction | None:
    """Where the subject is as seen from the reference; None where two words would be needed."""
    across, down = subject.column - reference.column, subject.row - reference.row
    if across and abs(across) >= 2 * abs(down):
        return "left" if across < 0 else "right"
    if down and abs(down) >= 2 * abs(across):
        return "above" if down < 0 else "below"
    return None


def region(subject: SceneObject) -> str:
    """The part of the picture an object is in: one of four corners, four edges, or the center."""
    vertical = {0: "top", GRID - 1: "bottom"}.get(subject.row, "")
    horizontal = {0: "left", GRID - 1: "right"}.get(subject.column, "")
    if vertical and horizontal:
        return f"{vertical} {horizontal} corner"
    return f"{vertical or horizontal} edge" if vertical or horizontal else "center"


def spatial_facts(scene: Scene) -> Iterator[Fact]:
    """Every fact that is clearly true in a scene, in a fixed order."""
    for subject in scene.objects:
        yield Fact("region", subject, region=region(subject))
        for reference in scene.objects:
            if subject is reference:
                continue
            if where := direction(subject, reference):
                yield Fact(where, subject, (reference,))
            if distance := _distance(subject, reference):
                yield Fact(distance, subject, (reference,))
    for subject in scene.objects:
        for index, one in enumerate(scene.objects):
            for other in scene.objects[index + 1 :]:
                if _between(subject, one, other):
                    yield Fact("between", subject, (one, other))


def render(scene: Scene) -> Image.Image:
    """The picture of a scene: RGB, 224 x 224 pixels, equal for equal scenes.

    The background's red grows steadily from left to right and its green from top to bottom: a small vision
    model has no other way to tell where a patch is. A little noise keeps flat areas from being constant.
    """
    noise = np.random.default_rng(scene.seed).normal(0.0, 4.0, (SIZE, SIZE, 1)).astype(np.float32)
    image = Image.fromarray(np.clip(_BACKGROUND + noise, 0, 255).astype(np.uint8))
    for item in scene.objects:
        mask = _mask(item.shape, item.radius)
        corner = (item.x - mask.width // 2, item.y - mask.height // 2)
        image.paste(COLOURS[item.colour], corner, mask)
    return image


def small_picture(scene: Scene) -> NDArray[np.uint8]:
    """A scene's picture at a quarter of its side, [56, 56, 3]: what the sandbox's models see before normalisation."""
    return np.asarray(render(scene).resize((SIZE // 4, SIZE // 4), Image.Resampling.BICUBIC), dtype=np.uint8)


def _place(rng: random.Random, colour: str, shape: str, column: int, row: int) -> SceneObject:
    x, y = (CELL * place + CELL // 2 + rng.randint(-3, 3) for place in (column, row))
    return SceneObject(colour, shape, column, row, x, y, rng.randint(17, 22))


def _distance(subject: SceneObject, reference: SceneObject) -> Literal["next to", "near", "far"] | None:
    across, down = abs(subject.column - reference.column), abs(subject.row - reference.row)
    if across + down == 1:
        return "next to"
    if across == down == 1:
        return "near"
    return "far" if max(across, down) == GRID - 1 else None


def _between(subject: SceneObject, one: SceneObject, other: SceneObject) -> bool:
    """Whether three objects stand in one row or column with the subject inside."""
    for axis, along in (("row", "column"), ("column", "row")):
        lines = {getattr(item, axis) for item in (subject, one, other)}
        if len(lines) == 1:
            low, high = sorted((getattr(one, along), getattr(other, along)))
            return bool(low < getattr(subject, along) < high)
    return False


def _gradient() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    across, down = np.meshgrid(np.linspace(-1, 1, SIZE), np.linspace(-1, 1, SIZE))
    return np.stack([175 + 55 * across, 175 + 55 * down, np.full_like(across, 185)], axis=-1).astype(np.float32)


_BACKGROUND = _gradient()
_OVERSAMPLING = 4


def _mask(shape: str, radius: int) -> Image.Image:
    """Coverage of a shape, 8 bit, drawn large and reduced so that its edges are smooth."""
    reach = radius * _OVERSAMPLING
    middle = reach + _OVERSAMPLING
    mask = Image.new("L", (2 * middle, 2 * middle), 0)
    draw = ImageDraw.Draw(mask)

    def box(share: float, across: float = 0.0) -> tuple[float, float, float, float]:
        size = share * reach
        return (middle - size + across * reach, middle - size, middle + size + across * reach, middle + size)

    def polygon(*points: tuple[float, float]) -> None:
        draw.polygon([(middle + x * reach, middle + y * reach) for x, y in points], fill=255)

    match shape:
        case "circle":
            draw.ellipse(box(0.95), fill=255)
        case "square":
            draw.rectangle(box(0.85), fill=255)
        case "triangle":
            polygon((0, -1), (-1, 0.9), (1, 0.9))
        case "diamond":
            polygon((0, -1), (-0.8, 0), (0, 1), (0.8, 0))
        case "star":
            points = [(math.sin(turn * math.pi / 5), -math.cos(turn * math.pi / 5)) for turn in range(10)]
            polygon(*[(x * size, y * size) for (x, y), size in zip(points, (1.0, 0.46) * 5, strict=True)])
        case "cross":
            arm = 0.3
            polygon((-arm, -1), (arm, -1), (arm, 1), (-arm, 1))
            polygon((-1, -arm), (1, -arm), (1, arm), (-1, arm))
        case "heart":
            turns = [step * 2 * math.pi / 48 for step in range(48)]
            polygon(*[(math.sin(t) ** 3, -_heart_height(t)) for t in turns])
        case "ring":
            draw.ellipse(box(1.0), fill=255)
            draw.ellipse(box(0.5), fill=0)
        case "crescent":
            draw.ellipse(box(1.0), fill=255)
            draw.ellipse(box(0.85, across=0.5), fill=0)
        case _:
            raise ValueError(f"unknown shape {shape!r}: use one of {', '.join(SHAPES)}")
    return mask.reduce(_OVERSAMPLING)


def _heart_height(turn: float) -> float:
    """Height over the middle of the classic heart curve, scaled to -1..1."""
    height = 13 * math.cos(turn) - 5 * math.cos(2 * turn) - 2 * math.cos(3 * turn) - math.cos(4 * turn)
    return (height + 2.5) / 14.5
