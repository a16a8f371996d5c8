from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from spare_assets.benchmarks.mmmu import BENCHMARK
from spare_assets.benchmarks.questions import Question
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
from spare_assets_tests.benchmarks.lettered import OFFICIAL, PICTURE, chances, lmu_file, right

LETTERED = Question("1", "choice", "What?", ("B",), {"A": "mitral valve", "B": "the aorta", "C": "vein", "D": "12"})


def record(index: int, **changes: Any) -> dict[str, Any]:
    return {
        "index": index,
        "question": "What is in <image 1>?",
        "answer": "B",
        "category": "Biology",
        "l2-category": "Science",
        "split": "validation",
    } | changes


def lettered(index: int, **changes: Any) -> dict[str, Any]:
    return record(index, A="a cell", B="a nerve", C="a bone") | changes


def test_records(tmp_path: Path) -> None:
    rows = [
        lettered(0, image=str([PICTURE, PICTURE]), hint="Think."),
        lettered(1, split="dev"),
        record(2, answer="7.5 cm"),
        record(3, answer="['0.33', '1/3', ' ']"),
        record(4, answer="[1, 2"),
        lettered(5, answer="D"),
        record(6, answer=""),
        lettered(7, answer="D", split="dev"),
        lettered(8, split=""),
    ]
    path = lmu_file(tmp_path / "mmmu.tsv", rows)
    found = read(BENCHMARK, path)
    first, measured, several, torn, unnamed = questions(found)
    assert (first.form, first.answers, first.hint, first.category) == ("choice", ("B",), "Think.", "Biology")
    assert len(first.images) == 2
    assert first.native == {"index": "0", "l2_category": "Science", "split": "validation"}
    assert (measured.form, measured.answers, measured.options) == ("as_it_stands", ("7.5 cm",), {})
    assert several.answers == ("['0.33', '1/3', ' ']",) and torn.answers == ("[1, 2",) and unnamed.item == "8"
    assert list(reasons(found)) == ["5", "6"]
    again, measured, several, torn, _ = questions(read(BENCHMARK, path, settings=OFFICIAL))
    assert again == first and (measured.form, measured.answers) == ("short", ("7.5 cm",))
    assert several.answers == ("0.33", "1/3") and torn.answers == ("[1, 2",)


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        # In brackets; of several the last.
        ("(B)", "B"),
        ("(A) is wrong, so it is (B), not A nor C.", "B"),
        ("(B) or (A)", "A"),
        ("(E) or B", "B"),
        # Before a space, or the end.
        ("B", "B"),
        ("B.", "B"),
        ("Answer: B!", "B"),
        ("A or B", "B"),
        ("C. B is it", "B"),
        ("A man", "A"),
        ("DNA is it", None),
        ("b", None),
        # Before a dot, which the end of the reply loses.
        ("B.\nBecause", "B"),
        ("A.x, then B.x", "B"),
        # By its text, where there are more than five words; of several the last.
        ("I am sure that it must be the Aorta", "B"),
        ("it must be the aorta", None),
        ("surely not the aorta but rather the vein", "C"),
        ("all of these words say nothing", None),
        ("there are 12 of them in this one", "D"),
        ("", None),
        (" .,", None),
        ("x" * 10_000, None),
        ("(" * 10_000, None),
    ],
)
def test_the_official_letter(reply: str, letter: str | None) -> None:
    grade = BENCHMARK.grade(LETTERED, reply, OFFICIAL)
    assert (grade.prediction, grade.score) == (letter, letter == "B")


@pytest.mark.parametrize(
    ("reply", "answers", "prediction", "score"),
    [
        # Numbers, to two decimals, however they are written.
        ("7.5", ("7.5",), "7.5", 1),
        ("7.50", ("7.5",), "7.50", 1),
        ("1,234", ("1234",), "1,234", 1),
        ("about 1,234,567 of them", ("1234567",), "about 1,234,567 of them", 1),
        ("1.5e3", ("1500",), "1.5e3", 1),
        ("7.504", ("7.5",), "7.504", 1),
        ("7.52", ("7.5",), "7.52", 0),
        ("17.5", ("7.5",), "17.5", 0),
        ("It is 7.5 cm", ("7.5",), "7.5 cm", 1),
        ("-7.5", ("7.5",), "-7.5", 0),
        ("x = 3 + 4 = 7", ("7",), "7", 1),
        ("x = 3 + 4 = 7", ("3",), "7", 0),
        ("75%", ("75",), "75%", 1),
        (".5", ("0.5",), ".5", 1),
        # Words, where the answer stands in what is concluded.
        ("The aorta", ("aorta",), "the aorta", 1),
        ("So the answer is the AORTA.", ("aorta",), "the aorta", 1),
        ("It is the aorta, thus a vein", ("aorta",), "a vein", 0),
        ("The aorta\nThus the vein", ("aorta",), "the vein", 0),
        ("It is the aorta\nIt is the vein", ("aorta",), "the vein", 1),
        ("a vein", ("aorta",), "a vein", 0),
        ("one third", ("0.33", "1/3", "one third"), "one third", 1),
        # A single character stands beside a space, lest any word held it.
        ("x", ("x",), "x", 1),
        ("max", ("x",), "max", 0),
        ("x axis", ("x",), "x axis", 1),
        # An equation counts in the last line alone.
        ("y = 5\nnothing", ("5",), "y = 5\nnothing", 1),
        ("it is y = 5\nso it goes", ("5",), "it goes", 1),
        ("", ("7",), None, 0),
        (".", ("7",), None, 0),
        ("answer is:", ("7",), "is:", 0),
    ],
)
def test_the_official_open_answer(reply: str, answers: tuple[str, ...], prediction: str | None, score: float) -> None:
    grade = BENCHMARK.grade(Question("1", "short", "How long?", answers), reply, OFFICIAL)
    assert (grade.prediction, grade.score) == (prediction, score)


@pytest.mark.parametrize(
    ("reply", "answer", "prediction", "score"),
    [
        ("7.5 cm", "7.5 cm", "7.5 cm", 1),
        ("It is 7.5 CM long.", "7.5 cm", "7.5 cm", 1),
        ("7.50 cm", "7.5 cm", None, 0),
        ("other answers", "7.5 cm", "Other Answers", 0),
        ("A", "7.5 cm", "7.5 cm", 1),
        ("B", "7.5 cm", "Other Answers", 0),
        ("0.33", "['0.33', '1/3']", None, 0),
        ("B", "B", "Other Answers", 1),
        ("A", "B", "B", 0),
        ("C", "C", "C", 1),
        ("", "7.5 cm", None, 0),
        ("7.5 cm " * 2_000, "7.5 cm", None, 0),
    ],
)
def test_an_open_question_as_one_of_two_options(reply: str, answer: str, prediction: str | None, score: float) -> None:
    grade = BENCHMARK.grade(Question("1", "as_it_stands", "How long?", (answer,)), reply, SETTINGS)
    assert (grade.prediction, grade.score) == (prediction, score)


WORDS = st.text("bcdefgh", min_size=3, max_size=8)


@given(st.lists(WORDS, min_size=4, max_size=4, unique=True), st.sampled_from("ABCD"), st.data())
def test_a_reply_that_states_the_right_option_scores(texts: list[str], letter: str, data: st.DataObject) -> None:
    assume(not any(one in other for one in texts for other in texts if one is not other))
    options = dict(zip("ABCD", texts, strict=True))
    form = data.draw(
        st.sampled_from(
            ["({0})", "{0}", "{0}.", "It is {0}", "({0}) {1}", "{0}. {1}", "A or ({0})", "all told, it looks like {1}"]
        )
    )
    question = Question("1", "choice", "What?", (letter,), options)
    assert BENCHMARK.grade(question, form.format(letter, options[letter]), OFFICIAL).score == 1


@given(st.decimals(-10_000, 10_000, places=2), st.sampled_from(["{}", "{} cm", "It is {}.", "x = {}", "so: {} it is"]))
def test_a_reply_that_states_the_right_number_scores(number: Any, form: str) -> None:
    question = Question("1", "short", "How long?", (str(number),))
    assert BENCHMARK.grade(question, form.format(number), OFFICIAL).score == 1


@given(st.text(max_size=200), st.sampled_from([SETTINGS, OFFICIAL]))
def test_any_reply_is_graded(reply: str, settings: BenchmarkSettings) -> None:
    for question in (LETTERED, Question("1", "short", "How long?", ("7.5",))):
        assert BENCHMARK.grade(question, reply, settings).score in (0, 1)


@pytest.mark.parametrize("piece", ["1", "1,", "1.", "1,1", ",111", "1e", "-", "is ", "\n", "= ", "((A", "A. ", "."])
def test_ten_thousand_characters_of_anything(piece: str) -> None:
    reply = (piece * 10_000)[:10_000] + "x"
    for question in (LETTERED, Question("1", "short", "How long?", ("7.5", "aorta"))):
        assert BENCHMARK.grade(question, reply, OFFICIAL).score == 0


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    found = [
        lettered(number, answer="ABC"[number % 3], category=("Biology", "Physics")[number % 2]) for number in range(24)
    ]
    return [*found, *(lettered(number, D="a vein", category="Art", **{"l2-category": "Art"}) for number in (30, 31))]


@pytest.mark.parametrize("settings", [SETTINGS, OFFICIAL], ids=["vlmevalkit", "official"])
def test_all_right_is_full_marks(tmp_path: Path, rows: list[dict[str, Any]], settings: BenchmarkSettings) -> None:
    opened = [record(40, answer="7.5 cm"), record(41, answer="aorta"), record(42, answer="['1/3', '0.33']")]
    asked = questions(read(BENCHMARK, lmu_file(tmp_path / "mmmu.tsv", [*rows, *opened]), settings=settings))
    full = values(BENCHMARK, scored(BENCHMARK, asked, right, settings))
    categories = ("", "Biology", "Physics", "Art", "group: Science", "group: Art")
    assert full == {("accuracy", category): 100 for category in categories}
    assert values(BENCHMARK, scored(BENCHMARK, asked, lambda _: "", settings)) == dict.fromkeys(full, 0)
    predictions = scored(BENCHMARK, asked, lambda _: "B", settings)
    assert values(BENCHMARK, predictions)["accuracy", "group: Science"] == pytest.approx(100 * 8 / 27)
    assert_order_is_nothing(BENCHMARK, predictions)


def test_guessing(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    asked = questions(read(BENCHMARK, lmu_file(tmp_path / "mmmu.tsv", rows)))
    expected = guessable_values(BENCHMARK, guessed(asked, chances(asked)))
    assert expected["accuracy", ""] == pytest.approx(100 * (24 / 3 + 2 / 4) / 26)
    assert_expected(expected["accuracy", ""], share(draws(asked, chances(asked))))
