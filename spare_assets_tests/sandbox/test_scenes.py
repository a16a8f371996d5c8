"""Scenes: what is drawn is where the scene says, and what is said of it is clearly true."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from spare_assets.sandbox.scenes import (
    COLOURS,
    GRID,
    OPPOSITES,
    POOLS,
    SHAPES,
    Scene,
    SceneObject,
    direction,
    make_scene,
    region,
    render,
    scene_seed,
    spatial_facts,
)

seeds = st.integers(0, 10**13)


@given(seeds)
def test_objects_of_a_scene_differ_in_colour_shape_and_cell(seed: int) -> None:
    objects = make_scene(seed).objects
    assert 2 <= len(objects) <= 4
    for what in ("colour", "shape", "name"):
        assert len({getattr(item, what) for item in objects}) == len(objects)
    assert len({(item.column, item.row) for item in objects}) == len(objects)
    assert make_scene(seed).objects == objects


@given(seeds)
def test_facts_are_clearly_true_and_consistent(seed: int) -> None:
    scene = make_scene(seed)
    facts = list(spatial_facts(scene))
    directed = {(f.subject.name, f.references[0].name): f.relation for f in facts if f.relation in OPPOSITES}
    assert directed
    for fact in facts:
        reference = fact.references[0] if fact.references else None
        match fact.relation:
            case "left":
                assert reference and fact.subject.x < reference.x - 40
            case "below":
                assert reference and fact.subject.y > reference.y + 40
            case "between":
                xs, ys = zip(*((item.x, item.y) for item in (*fact.references, fact.subject)), strict=True)
                assert min(xs[:2]) < xs[2] < max(xs[:2]) or min(ys[:2]) < ys[2] < max(ys[:2])
            case "region" if fact.region == "bottom right corner":
                assert min(fact.subject.x, fact.subject.y) > 160
    for (subject, other), relation in directed.items():
        assert directed[other, subject] == OPPOSITES[relation]  # type: ignore[index]


def _at(column: int, row: int, colour: str = "red", shape: str = "circle") -> SceneObject:
    return SceneObject(colour, shape, column, row, 56 * column + 28, 56 * row + 28, 20)


def test_a_diagonal_has_no_direction_and_regions_have_names() -> None:
    assert direction(_at(0, 0), _at(2, 2)) is None
    assert direction(_at(0, 1), _at(2, 2)) == "left"
    assert direction(_at(1, 3), _at(1, 0)) == "below"
    assert [region(_at(*cell)) for cell in ((0, 0), (3, 1), (2, 3), (1, 2))] == [
        "top left corner",
        "right edge",
        "bottom edge",
        "center",
    ]


def test_three_in_a_row_have_one_between() -> None:
    scene = Scene(0, (_at(0, 1), _at(3, 1, "blue", "star"), _at(1, 1, "green", "ring")))
    between = [fact for fact in spatial_facts(scene) if fact.relation == "between"]
    assert [(fact.subject.name, {item.name for item in fact.references}) for fact in between] == [
        ("green ring", {"red circle", "blue star"})
    ]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_small_copy_keeps_each_object_within_its_patch(shape: str) -> None:
    """At 56 x 56 pixels only the object's own 14-pixel patch differs from the empty background."""
    for colour in COLOURS:
        item = SceneObject(colour, shape, 1, 2, 56 + 31, 112 + 25, 22)
        scenes = (Scene(7, ()), Scene(7, (item,)))
        empty, drawn = (
            np.asarray(render(scene).resize((56, 56), Image.Resampling.BICUBIC), np.int16) for scene in scenes
        )
        changed = np.abs(drawn - empty).max(axis=2) > 12
        assert changed[28:42, 14:28].sum() >= 20, f"{colour} {shape} can hardly be seen"
        changed[28:42, 14:28] = False
        assert not changed.any(), f"{colour} {shape} leaves its patch"


def test_the_background_tells_where_a_patch_is() -> None:
    picture = np.asarray(render(Scene(3, ())), np.float32)
    patches = picture.reshape(GRID, 56, GRID, 56, 3).mean(axis=(1, 3))
    assert (np.diff(patches[..., 0], axis=1) > 15).all()
    assert (np.diff(patches[..., 1], axis=0) > 15).all()


def test_equal_seeds_give_equal_pictures() -> None:
    assert render(make_scene(5)).tobytes() == render(make_scene(5)).tobytes()
    assert render(make_scene(5)).tobytes() != render(make_scene(6)).tobytes()


@given(st.data())
def test_seeds_of_pools_never_meet(data: st.DataObject) -> None:
    place = st.tuples(st.sampled_from(POOLS), st.integers(0, 999_999), st.integers(0, 999_999))
    one, other = data.draw(place), data.draw(place)
    assert (scene_seed(*one) == scene_seed(*other)) == (one == other)


def test_a_seed_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="999,999"):
        scene_seed("docci", 0, 1_000_000)
    with pytest.raises(ValueError, match="unknown pool"):
        scene_seed("coco", 0, 0)
