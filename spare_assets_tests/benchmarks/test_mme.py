from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spare_assets.benchmarks.mme import BENCHMARK
from spare_assets.benchmarks.questions import Question
from spare_assets_tests.benchmarks.asked import (
    SETTINGS,
    assert_expected,
    assert_order_is_nothing,
    draws,
    guessable_values,
    guessed,
    questions,
    read,
    reasons,
    scored,
    share,
    values,
)
from spare_assets_tests.benchmarks.test_image_files import encoded, picture, tsv

HEADER = ["index", "image", "question", "answer", "category", "image_path"]
PERCEPTION = [
    "existence",
    "count",
    "position",
    "color",
    "posters",
    "celebrity",
    "scene",
    "landmark",
    "artwork",
    "OCR",
]
COGNITION = ["commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning"]


def right(question: Question) -> str:
    return question.answers[0].title()


@pytest.fixture
def whole(tmp_path: Path) -> list[Question]:
    """All subtasks, three images in each of two questions, but more of OCR."""
    rows: list[list[str]] = []
    for subtask in PERCEPTION + COGNITION:
        for image in range(5 if subtask == "OCR" else 3):
            for answer in ("Yes", "No"):
                held = "0" if rows else encoded(picture())
                asked = "Is it? Please answer yes or no."
                rows.append([str(len(rows)), held, asked, answer, subtask, f"{subtask}/{image}.jpg"])
    return questions(read(BENCHMARK, tsv(tmp_path / "mme.tsv", HEADER, rows)))


def test_records(tmp_path: Path) -> None:
    held = encoded(picture())
    path = tsv(
        tmp_path / "mme.tsv",
        HEADER,
        [
            ["0", held, "Is it? Please answer yes or no.", "Yes", "OCR", "OCR/1.jpg"],
            ["1", "0", "Is it not? Please answer yes or no.", "no", "OCR", ""],
            ["2", "0", "?", "maybe", "OCR", ""],
            ["3", "0", "?", "", "OCR", ""],
            ["4", "0", "?", "Yes", "", ""],
            ["5", "0", "", "Yes", "OCR", ""],
            ["6", encoded(b"no picture" * 20), "?", "Yes", "OCR", ""],
            ["0", held, "?", "No", "OCR", ""],
        ],
    )
    found = read(BENCHMARK, path)
    first, second, broken, again = questions(found)
    assert (first.form, first.text, first.answers, first.category) == (
        "as_it_stands",
        "Is it? Please answer yes or no.",
        ("yes",),
        "OCR",
    )
    assert first.native == {"image": "OCR/1.jpg"}
    assert second.answers == ("no",) and second.native == again.native == {"image": first.images[0].sha256}
    assert again.item == "0@9" and BENCHMARK.group(second) == BENCHMARK.group(again)
    why = reasons(found)
    assert list(why) == ["2", "3", "4", "5", "6"] and broken.item == "6"
    assert why["2"] == "its field 'answer' is 'maybe', neither yes nor no"


def test_all_right_is_full_marks(whole: list[Question]) -> None:
    full = values(BENCHMARK, scored(BENCHMARK, whole, right))
    assert full["perception", ""] == 2000 and full["reasoning", ""] == 800
    assert full["code", ""] == full["commonsense", ""] == full["numerical", ""] == 200
    assert {full["score", subtask] for subtask in PERCEPTION + COGNITION} == {200}
    assert {full[name, subtask] for name in ("accuracy", "accuracy_plus") for subtask in ["", *PERCEPTION]} == {100}
    assert set(BENCHMARK.headlines) <= {name for name, subtask in full if not subtask}
    none = values(BENCHMARK, scored(BENCHMARK, whole, lambda _: ""))
    assert set(none.values()) == {0}


def test_scores_by_hand(whole: list[Question]) -> None:
    wrong = {one.item for one in whole if one.category == "color" and one.native["image"].endswith("1.jpg")}
    wrong.add(next(one.item for one in whole if one.category == "code_reasoning"))
    predictions = scored(BENCHMARK, whole, lambda one: "eh" if one.item in wrong else right(one))
    found = values(BENCHMARK, predictions)
    color, code = 100 * (4 / 6 + 2 / 3), 100 * (5 / 6 + 2 / 3)
    assert found["score", "color"] == pytest.approx(color) and found["score", "count"] == 200
    assert found["perception", ""] == pytest.approx(1800 + color)
    assert found["code", ""] == found["score", "code_reasoning"] == pytest.approx(code)
    assert found["reasoning", ""] == pytest.approx(600 + code)
    assert found["accuracy", ""] == pytest.approx(100 * (len(whole) - 3) / len(whole))
    assert_order_is_nothing(BENCHMARK, predictions)


def test_subtasks_that_are_absent_add_nothing_and_half_a_pair_is_none(whole: list[Question]) -> None:
    some = [one for one in whole if one.category in {"OCR", "text_translation", "color"}]
    halved = [one for one in some if one.category != "color" or one.answers == ("yes",)]
    found = values(BENCHMARK, scored(BENCHMARK, halved, lambda one: "" if one.category == "OCR" else right(one)))
    assert found["perception", ""] == 100 and found["reasoning", ""] == 200 and found["code", ""] is None
    assert found["accuracy", "color"] == 100 and found["accuracy_plus", "color"] is None


def test_guessing(whole: list[Question]) -> None:
    chances = guessable_values(BENCHMARK, guessed(whole, 0.5))
    assert chances["perception", ""] == pytest.approx(750) and chances["code", ""] == pytest.approx(75)
    guesses = draws(whole, 0.5)

    def points(subtasks: list[str]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        total = np.zeros(len(guesses))
        for subtask in subtasks:
            places = [place for place, one in enumerate(whole) if one.category == subtask]
            images = [whole[place].native["image"] for place in places]
            total += share(guesses[:, places]) + share(guesses[:, places], images)
        return total

    assert_expected(chances["perception", ""], points(PERCEPTION))
    assert_expected(chances["reasoning", ""], points(COGNITION))
    assert_expected(chances["score", "OCR"], points(["OCR"]))


@given(st.text(max_size=60))
def test_any_reply_is_yes_no_or_nothing(reply: str) -> None:
    grade = BENCHMARK.grade(Question("0", "as_it_stands", "?", ("yes",)), reply, SETTINGS)
    assert grade.prediction in {"yes", "no", None} and grade.score == (grade.prediction == "yes")


def test_a_long_reply_is_read() -> None:
    question = Question("0", "as_it_stands", "?", ("no",))
    assert BENCHMARK.grade(question, "x " * 5_000 + "No", SETTINGS).score == 1
