from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from spare_assets.benchmarks.questions import Question
from spare_assets.benchmarks.realworldqa import BENCHMARK
from spare_assets.settings import BenchmarkSettings
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
from spare_assets_tests.benchmarks.lettered import OFFICIAL, chances, lmu_file, right

STATED = (
    "Where is the car?\n\nA. Left\nB. To the right.\nC) Ahead \n\nPlease answer directly with only the letter of the "
    "correct option and nothing else."
)
COLUMNS = {"A": "Left", "B": "Right", "C": "", "D": ""}


def records() -> list[dict[str, Any]]:
    return [
        {"index": 0, "question": "Where is the car?", **COLUMNS, "answer": "B"},
        {"index": 1, "question": STATED, "answer": "B"},
        {"index": 2, "question": "How many cars?", "answer": "Two."},
        {"index": 3, "question": "Which one, A or B?", "answer": "A"},
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return lmu_file(tmp_path / "realworldqa.tsv", records())


def test_records(path: Path) -> None:
    columns, stated, open_one, lettered = questions(read(BENCHMARK, path))
    assert (columns.form, columns.text, columns.options) == ("choice", "Where is the car?", {"A": "Left", "B": "Right"})
    assert (stated.form, stated.text, stated.answers) == ("as_it_stands", STATED, ("B",))
    assert stated.options == {"A": "Left", "B": "To the right.", "C": "Ahead"}
    assert (open_one.form, open_one.answers, open_one.options) == ("as_it_stands", ("Two.",), {})
    assert lettered.options == {} and lettered.form == "as_it_stands"
    official, *others = questions(read(BENCHMARK, path, settings=OFFICIAL))
    assert (official.form, official.text) == ("as_it_stands", "Where is the car?\nA. Left\nB. Right")
    assert others == [stated, open_one, lettered]


def test_what_makes_no_question(tmp_path: Path) -> None:
    rows = [
        {"index": 0, "question": "Where?", **COLUMNS, "answer": "C"},
        {"index": 1, "question": STATED, "answer": "D"},
        {"index": 2, "question": "", "answer": "two"},
        {"index": 3, "question": "How many?", "answer": ""},
        {"index": 4, "question": "How many?", "answer": "two", "image": ""},
    ]
    found = read(BENCHMARK, lmu_file(tmp_path / "realworldqa.tsv", rows))
    assert reasons(found) == {
        "0": "its answer 'C' is none of its options A, B",
        "1": "its answer 'D' is none of the options in its question, A, B, C",
        "2": "says nothing in its field 'question'",
        "3": "says nothing in its field 'answer'",
        "4": "image: the record neither holds nor names one",
    }
    assert read(BENCHMARK, tmp_path / "realworldqa.tsv", settings=OFFICIAL)[:4] == found[:4]


B, STATED_B, TWO, A = range(4)


@pytest.mark.parametrize(
    ("place", "settings", "reply", "prediction", "score"),
    [
        (B, SETTINGS, "right", "B", 1),
        (B, SETTINGS, "It is (B)", "B", 1),
        (B, SETTINGS, "A", "A", 0),
        (B, SETTINGS, "", None, 0),
        (B, OFFICIAL, "b", "B", 1),
        (B, OFFICIAL, " B. \n", "B", 1),
        (B, OFFICIAL, "B. Right, as A. is wrong", "B", 1),
        (B, OFFICIAL, "A. Left", "a", 0),
        (B, OFFICIAL, "(B)", "(b)", 0),
        (B, OFFICIAL, "right", "right", 0),
        (B, OFFICIAL, "", None, 0),
        (STATED_B, SETTINGS, "To the right.", "B", 1),
        (STATED_B, SETTINGS, "ahead", "C", 0),
        (STATED_B, OFFICIAL, "To the right.", "to the right", 0),
        (STATED_B, OFFICIAL, "B", "B", 1),
        (TWO, SETTINGS, "two", "Two.", 1),
        (TWO, OFFICIAL, "  TWO. ", "Two.", 1),
        (TWO, OFFICIAL, "Two cars.", "two cars", 0),
        (TWO, OFFICIAL, "T. Two", "t. two", 0),
        (TWO, SETTINGS, ".", None, 0),
        (A, SETTINGS, "A.", "A", 1),
        (A, SETTINGS, "A. is it", "A", 1),
        (A, SETTINGS, "It is A", "it is a", 0),
        (A, SETTINGS, "x" * 10_000, "x" * 10_000, 0),
    ],
)
def test_reading_a_reply(
    path: Path, place: int, settings: BenchmarkSettings, reply: str, prediction: str | None, score: float
) -> None:
    question = questions(read(BENCHMARK, path, settings=settings))[place]
    grade = BENCHMARK.grade(question, reply, settings)
    assert (grade.prediction, grade.score) == (prediction, score)


@pytest.mark.parametrize("settings", [SETTINGS, OFFICIAL], ids=["vlmevalkit", "official"])
def test_all_right_is_full_marks(path: Path, settings: BenchmarkSettings) -> None:
    asked = questions(read(BENCHMARK, path, settings=settings))
    predictions = scored(BENCHMARK, asked, right, settings)
    assert values(BENCHMARK, predictions) == {("accuracy", ""): 100}
    assert values(BENCHMARK, scored(BENCHMARK, asked, lambda _: "", settings)) == {("accuracy", ""): 0}
    assert_order_is_nothing(BENCHMARK, scored(BENCHMARK, asked, lambda _: "B", settings))


def test_guessing(tmp_path: Path) -> None:
    rows = [
        {**records()[number % 2], "index": number, "category": "cars" if number < 5 else ""} for number in range(30)
    ]
    asked: list[Question] = questions(read(BENCHMARK, lmu_file(tmp_path / "realworldqa.tsv", rows)))
    expected = guessable_values(BENCHMARK, guessed(asked, chances(asked)))
    assert expected["accuracy", ""] == pytest.approx(100 * 5 / 12)
    assert expected["accuracy", "cars"] == pytest.approx(100 * (3 / 2 + 2 / 3) / 5)
    assert_expected(expected["accuracy", ""], share(draws(asked, chances(asked))))
