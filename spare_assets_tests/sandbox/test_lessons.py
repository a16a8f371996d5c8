"""What the base model is taught: true of the scene, and without a word for a spatial relation."""

from __future__ import annotations

import random
import re

from hypothesis import given
from hypothesis import strategies as st

from spare_assets.sandbox.effect import DIRECTIONS, four_way_questions, general_questions
from spare_assets.sandbox.lessons import COLUMNS, KINDS, Lesson, cell, lesson, step
from spare_assets.sandbox.scenes import Scene, direction, make_scene, scene_seed

RELATION_WORDS = re.compile(
    r"\b(left|right|above|below|under|beneath|underneath|next|beside|near|close|far|between|top|bottom|upper|lower|"
    r"corner|edge|side|center|middle|over)\b"
)
seeds = st.integers(0, 50_000)


def one(seed: int) -> tuple[Scene, Lesson]:
    scene = make_scene(scene_seed("vlm_training", 0, seed))
    return scene, lesson(random.Random(seed), scene)


@given(seeds)
def test_no_lesson_holds_a_word_for_a_relation(seed: int) -> None:
    _, made = one(seed)
    # "the right option" and "select the correct option" are no places.
    assert not RELATION_WORDS.search(f"{made.question} {made.answer}".lower()), made


@given(seeds)
def test_answers_are_true_of_the_scene(seed: int) -> None:
    scene, made = one(seed)
    match made.kind:
        case "cell":
            assert made.item is not None and made.answer == cell(made.item) and made.item.name in made.question
            assert (COLUMNS.index(made.answer[0]), int(made.answer[1]) - 1) == (made.item.column, made.item.row)
        case "step" | "at step":
            assert made.item is not None and made.start is not None
            across, down = (int(part[1:]) for part in step(made.item, made.start).split())
            assert (made.start.column + across, made.start.row + down) == (made.item.column, made.item.row)
            assert made.start.name in made.question
            assert made.answer == (step(made.item, made.start) if made.kind == "step" else f"the {made.item.name}")
        case "list":
            assert all(item.name in made.answer for item in scene.objects)
        case "others":
            assert made.item is not None and made.item.name in made.question and made.item.name not in made.answer
            assert all(item.name in made.answer for item in scene.objects if item is not made.item)
        case "count":
            assert made.answer == ("two", "three", "four")[len(scene.objects) - 2]
        case "present":
            there = any(f"{item.colour} {item.shape}" in made.question for item in scene.objects)
            assert made.answer == ("yes" if there else "no")
        case "at cell":
            assert made.item is not None and cell(made.item) in made.question and made.item.name in made.answer
        case "colour" | "shape":
            assert made.item is not None
            known, asked = (
                (made.item.shape, made.item.colour) if made.kind == "colour" else (made.item.colour, made.item.shape)
            )
            assert known in made.question and made.answer == asked


def test_every_kind_is_taught_and_options_hold_the_answer() -> None:
    made = [one(seed)[1] for seed in range(2000)]
    assert {item.kind for item in made} == set(KINDS)
    chosen = [item for item in made if "Options:" in item.question]
    assert 0.05 < len(chosen) / len(made) < 0.15
    for item in chosen:
        options = [line[3:] for line in item.question.splitlines() if re.match(r"[A-D]\. ", line)]
        assert len(set(options)) == 4 and item.answer in options


def test_four_way_questions_are_balanced_true_and_repeatable() -> None:
    asked = list(four_way_questions(80))
    assert asked == list(four_way_questions(80))
    assert asked != list(four_way_questions(80, seed=1))
    assert [sum(item.answer == way for item in asked) for way in DIRECTIONS] == [20] * 4
    first = [item.choices.index(item.answer) for item in asked]
    assert {place: first.count(place) for place in range(4)}.keys() == {0, 1, 2, 3}, "the right option moves"
    for item in asked:
        named = re.findall(r"the (\w+ \w+)", item.question)
        one_, other = (next(thing for thing in item.scene.objects if thing.name == name) for name in named)
        assert direction(one_, other) == item.answer


def test_no_scene_is_shared() -> None:
    asked = [*four_way_questions(80), *general_questions(60)]
    held_out = {item.scene.seed for item in asked}
    taught = {scene_seed(pool, seed, 0) // 10**12 for pool in ("vlm_training", "docci") for seed in (0, 1)}
    assert not {seed // 10**12 for seed in held_out} & taught
