"""Sandbox questions: what a wording means, and whether it fits a scene."""

from __future__ import annotations

import random
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spare_assets.sandbox.corpora import CorpusFormat, describe
from spare_assets.sandbox.questions import (
    Meaning,
    Question,
    Wordings,
    analyst_questions,
    named_things,
    predicates,
    read_wording,
    required,
)
from spare_assets.sandbox.scenes import Scene, SceneObject, make_scene


@pytest.mark.parametrize(
    ("question", "wording", "meaning"),
    [
        (
            "What is to the left of the red circle?",
            "What is to the left of the {}?",
            Meaning("what", "left", slots=1),
        ),
        (
            "What is underneath the blue ring?",
            "What is underneath the {}?",
            Meaning("what", "below", slots=1),
        ),
        (
            "Where is the red circle in relation to the blue ring?",
            "Where is the {} in relation to the {}?",
            Meaning("where", slots=2),
        ),
        (
            "What is in the upper left corner of the image?",
            "What is in the upper left corner of the image?",
            Meaning("what", "region", "top left corner"),
        ),
        (
            "What is on the left side of the frame?",
            "What is on the left side of the frame?",
            Meaning("what", "region", "left edge"),
        ),
        (
            "What else is near the green star?",
            "What else is near the {}?",
            Meaning("what else", "near", slots=1),
        ),
        ("What colour is the star?", "What colour is the {}?", Meaning("colour", slots=1)),
        (
            "According to the caption, where in the image is the red heart?",
            "According to the caption, where in the image is the {}?",
            Meaning("where", slots=1, of_caption=True),
        ),
    ],
)
def test_a_question_is_read_as_wording_and_meaning(question: str, wording: str, meaning: Meaning) -> None:
    assert read_wording(question) == (wording, meaning)


def test_what_asks_nothing_known_has_no_meaning() -> None:
    for question in ("What colour is the sky?", "Why are the shapes there?", "", "Where is the cat?"):
        assert read_wording(question) is None


def _at(column: int, row: int, colour: str, shape: str) -> SceneObject:
    return SceneObject(colour, shape, column, row, 56 * column + 28, 56 * row + 28, 20)


SCENE = Scene(0, (_at(0, 0, "red", "circle"), _at(2, 0, "blue", "star"), _at(1, 3, "green", "ring")))


@pytest.mark.parametrize(
    ("question", "clear", "possible"),
    [
        ("What is to the right of the red circle?", True, True),
        ("What is to the left of the red circle?", False, False),
        ("What is to the right of the blue star?", False, False),
        ("What is above the green ring?", True, True),
        ("What is to the left of the blue star?", True, True),
        ("What is to the right of the green ring?", False, True),
        ("Where is the green ring in relation to the red circle?", True, True),
        ("Where is the green ring in relation to the red star?", False, False),
        ("What is in the top left corner of the image?", True, True),
        ("What is in the bottom left corner of the image?", False, False),
        ("What is at the left edge of the image?", False, True),
        ("What is far from the green ring?", True, True),
        ("What is next to the blue star?", False, False),
        ("What colour is the star?", True, True),
        ("What colour is the heart?", False, False),
    ],
)
def test_whether_a_question_fits_a_scene(question: str, clear: bool, possible: bool) -> None:
    found = read_wording(question)
    assert found
    meaning = found[1]
    things = tuple(named_things(question)) or (("star",) if "star" in question else ("heart",))
    needs = list(required(Question(question, meaning, things if meaning.slots else ())))
    flags = predicates(SCENE)
    assert tuple(bool(row[needs].all()) for row in flags) == (clear, possible)


@given(st.integers(0, 10**6))
def test_what_the_analyst_asks_of_a_scene_fits_it(seed: int) -> None:
    scene = make_scene(seed)
    clear, possible = predicates(scene)
    assert (possible | ~clear).all()
    captions = [describe(style, scene) for style in get_args(CorpusFormat)]
    for _, found in analyst_questions(captions, asides=1.0):
        for question in found:
            reading = read_wording(question)
            assert reading, question
            if reading[1].form == "colour":
                continue
            things = tuple(named_things(question))
            assert set(things) <= {item.name for item in scene.objects}
            assert clear[list(required(Question(question, reading[1], things)))].all(), question


def test_questions_about_unknown_things_fit_nothing() -> None:
    question = Question("What is above the cat?", Meaning("what", "above", slots=1), ("cat",))
    assert not predicates(SCENE)[1][list(required(question))].all()


def test_wordings_ask_in_turn_what_a_scene_allows() -> None:
    asked = [
        "What is left of the red ring?",
        "What is to the left of the red ring?",
        "Where is the red ring?",
    ]
    wordings = Wordings([*asked, "Why so?"])
    entries = wordings.askable(SCENE)
    assert (Meaning("what", "left", slots=1), ("blue star",), 2) in entries
    assert {things for meaning, things, _ in entries if meaning.form == "where"} == {
        (item.name,) for item in SCENE.objects
    }
    rng = random.Random(0)
    texts = {wordings.ask(rng, Meaning("what", "left", slots=1), ["blue star"]).text for _ in range(40)}
    assert texts == {"What is left of the blue star?", "What is to the left of the blue star?"}
    assert sorted(wordings.texts) == [
        "What is left of the {}?",
        "What is to the left of the {}?",
        "Where is the {}?",
    ]
    assert np.array(predicates(SCENE)).dtype == np.bool_
