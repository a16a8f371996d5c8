"""What a picture of a scene shows, told from its pixels alone: a witness that knows neither seeds nor writers."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spare_assets.sandbox.scenes import CELL, COLOURS, SHAPES, SIZE, Scene, SceneObject, render

_NEAR_ENOUGH = 45
"""Distance between colours that are taken for one: half of what lies between the closest two, or the background."""
_FEWEST_PIXELS = 150
_RADII = (17, 19, 21)


@functools.cache
def objects_seen(picture: Path) -> dict[str, SceneObject]:
    """The objects in a picture by name, none of one colour, as scenes go; `radius` is not measured."""
    with Image.open(picture) as image:
        pixels = np.asarray(image.convert("RGB"), dtype=np.int16)
    found = {}
    for colour in COLOURS:
        outline = _outline(pixels, colour)
        if outline.sum() < _FEWEST_PIXELS:
            continue
        y, x = (int(np.median(places)) for places in np.nonzero(outline))
        around = (slice(max(0, y - CELL // 2), y + CELL // 2), slice(max(0, x - CELL // 2), x + CELL // 2))
        item = SceneObject(colour, _shape(outline[around]), x // CELL, y // CELL, x, y, 0)
        found[item.name] = item
    return found


def _outline(pixels: NDArray[np.int16], colour: str) -> NDArray[np.bool_]:
    """The pixels of a colour, [height, width]."""
    away = pixels - np.array(COLOURS[colour], dtype=np.int16)
    near: NDArray[np.bool_] = (away.astype(np.int32) ** 2).sum(axis=2) < _NEAR_ENOUGH**2
    return near


def _shape(outline: NDArray[np.bool_]) -> str:
    """The shape whose outline, at any size, overlaps most with this one."""
    cut = _cut(outline)

    def overlap(other: NDArray[np.bool_]) -> float:
        return float((cut & other).sum() / (cut | other).sum())

    return max(SHAPES, key=lambda shape: max(overlap(one) for one in _outlines(shape)))


@functools.cache
def _outlines(shape: str) -> list[NDArray[np.bool_]]:
    drawn = (Scene(0, (SceneObject("black", shape, 2, 2, SIZE // 2, SIZE // 2, radius),)) for radius in _RADII)
    return [_cut(_outline(np.asarray(render(scene), dtype=np.int16), "black")) for scene in drawn]


def _cut(outline: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A cell's size of an outline, from its top left."""
    rows, columns = np.nonzero(outline)
    cut = np.zeros((CELL, CELL), dtype=np.bool_)
    cut[rows - rows.min(), columns - columns.min()] = True
    return cut
