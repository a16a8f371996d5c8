from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spare_assets.benchmarks.questions import Question
from spare_assets.benchmarks.textvqa import BENCHMARK
from spare_assets_tests.benchmarks.asked import (
    SETTINGS,
    assert_order_is_nothing,
    guessed,
    questions,
    read,
    reasons,
    scored,
    values,
)
from spare_assets_tests.benchmarks.test_image_files import encoded, picture, tsv

HEADER = ["index", "image", "question", "answer"]
TEN = ["nokia"] * 7 + ["Nokia.", "the nokia", "toshiba"]


def test_records(tmp_path: Path) -> None:
    path = tsv(
        tmp_path / "t.tsv",
        HEADER,
        [
            ["0", encoded(picture()), "what brand?", repr(TEN)],
            ["1", "0", "what else?", repr(["it's 10"] * 10)],
            ["2", "0", "", repr(TEN)],
            ["3", "0", "?", "nokia"],
            ["4", "0", "?", "['nokia']"],
            ["5", "0", "?", ""],
            ["6", "x" * 99, "?", repr(TEN)],
            ["7", "", "?", repr(TEN)],
            ["8", "0", "?", repr(TEN), "too many"],
        ],
    )
    found = read(BENCHMARK, path)
    first, second, *rest = questions(found)
    assert (first.form, first.text, first.answers, first.category) == ("short", "what brand?", tuple(TEN), "")
    assert first.native == second.native == {"image": first.images[0].sha256}
    assert second.answers == ("it's 10",) * 10
    assert reasons(found) == {
        "2": "says nothing in its field 'question'",
        "3": "its field 'answer' is no list of several answers",
        "4": "its field 'answer' is no list of several answers",
        "5": "its field 'answer' is no list of several answers",
        "6": "image: is not base64",
        "7": "image: the record neither holds nor names one",
        "line 10": "has 5 fields where the header has 4",
    }
    predictions = scored(BENCHMARK, [first, second, *rest], lambda one: "Nokia" if not one.problem else "")
    assert values(BENCHMARK, predictions) == {("accuracy", ""): 25.0}
    assert {one.units for one in BENCHMARK.measure(predictions)} == {3}
    assert_order_is_nothing(BENCHMARK, predictions)
    assert values(BENCHMARK, guessed([first, second], None)) == {("accuracy", ""): None}


@pytest.mark.parametrize(
    ("reply", "prediction", "score"),
    [
        ("Nokia", "nokia", 1.0),
        ("the NOKIA!", "nokia", 1.0),
        ("toshiba", "toshiba", 0.3),
        ("It is a Nokia", "it is nokia", 0.0),
        ("", None, 0.0),
        (" \n", None, 0.0),
        ("nokia " * 2_000, "nokia " * 1_999 + "nokia", 0.0),
        ("the", "", 0.0),
    ],
)
def test_replies(reply: str, prediction: str | None, score: float) -> None:
    grade = BENCHMARK.grade(Question("0", "short", "?", tuple(TEN)), reply, SETTINGS)
    assert grade.prediction == prediction and grade.score == pytest.approx(score)


@given(st.lists(st.sampled_from(["one", "1", "two", "stop", "the stop"]), min_size=10, max_size=10), st.data())
def test_what_four_people_say_is_full_marks_and_order_is_nothing(answers: list[str], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(answers))
    for reply in ("1", "two", "stop"):
        score = BENCHMARK.grade(Question("0", "short", "?", tuple(answers)), reply, SETTINGS).score
        again = BENCHMARK.grade(Question("0", "short", "?", tuple(shuffled)), reply, SETTINGS).score
        assert again == pytest.approx(score) and 0 <= score <= 1
        said = sum({"one": "1", "the stop": "stop"}.get(answer, answer) == reply for answer in answers)
        assert score == pytest.approx(1.0 if said > 3 else 0.3 * said)
