from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spare_assets.benchmarks.mmbench import BENCHMARK
from spare_assets.benchmarks.questions import Question
from spare_assets_tests.benchmarks.asked import (
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
from spare_assets_tests.benchmarks.lettered import chances, lmu_file, right

METRICS = ("circular accuracy", "vanilla accuracy")


def record(index: int | str, **changes: Any) -> dict[str, Any]:
    return {
        "index": index,
        "question": "What is it?",
        "A": "a cat",
        "B": "a dog",
        "answer": "A",
        "category": "ocr",
        "l2-category": "finegrained_perception (instance-level)",
        "split": "dev",
    } | changes


@pytest.fixture
def whole(tmp_path: Path) -> list[Question]:
    """Twelve questions in two to four passes: of two abilities in one group, and one by itself."""
    rows: list[dict[str, Any]] = []
    for number in range(12):
        letters = "ABCD"[: 2 + number % 3]
        ability, group = (("ocr", "seeing"), ("counting", "seeing"), ("logic", "thinking"))[number % 3]
        for turn, letter in enumerate(letters):
            texts = {one: f"text {(place + turn) % len(letters)}" for place, one in enumerate(letters)}
            rows.append(
                record(number + 1_000_000 * turn, answer=letter, category=ability, **{"l2-category": group}, **texts)
            )
    return questions(read(BENCHMARK, lmu_file(tmp_path / "mmbench.tsv", rows)))


def test_records(tmp_path: Path) -> None:
    rows = [
        record(241, hint="It barks."),
        record(1000241, image="241"),
        record(7, g_index=241),
        record("seven"),
        record(8, g_index="x"),
        record(9, answer="C"),
        record(241, answer="B"),
    ]
    found = read(BENCHMARK, lmu_file(tmp_path / "mmbench.tsv", rows))
    first, second, third, again = questions(found)
    assert first.hint == "It barks." and first.form == "choice" and first.category == "ocr"
    assert first.native == {
        "index": "241",
        "g_index": "241",
        "l2_category": "finegrained_perception (instance-level)",
        "split": "dev",
    }
    assert second.native["index"] == "1000241" and second.images == first.images
    assert {BENCHMARK.group(one) for one in (first, second, third, again)} == {"241"}
    assert reasons(found) == {
        "seven": "its index 'seven' or g_index '' is not a number",
        "8": "its index '8' or g_index 'x' is not a number",
        "9": "its answer 'C' is none of its options A, B",
    }


def test_all_right_is_full_marks(whole: list[Question]) -> None:
    full = values(BENCHMARK, scored(BENCHMARK, whole, right))
    categories = ("", "ocr", "counting", "logic", "group: seeing", "group: thinking")
    assert full == {(metric, category): 100 for metric in METRICS for category in categories}
    assert values(BENCHMARK, scored(BENCHMARK, whole, lambda _: "")) == dict.fromkeys(full, 0)


def test_scores_by_hand(whole: list[Question]) -> None:
    # The first pass of question 0 (ocr), the last of questions 1 and 4 (counting).
    wrong = {"0", "2000001", "2000004"}
    predictions = scored(BENCHMARK, whole, lambda one: "" if one.item in wrong else right(one))
    found = values(BENCHMARK, predictions)
    assert found["circular accuracy", ""] == pytest.approx(100 * 9 / 12)
    assert found["vanilla accuracy", ""] == pytest.approx(100 * 11 / 12)
    assert found["circular accuracy", "ocr"] == found["vanilla accuracy", "ocr"] == 75
    assert (found["circular accuracy", "counting"], found["vanilla accuracy", "counting"]) == (50, 100)
    assert found["circular accuracy", "group: seeing"] == pytest.approx(100 * 5 / 8)
    assert found["circular accuracy", "group: thinking"] == 100
    assert_order_is_nothing(BENCHMARK, predictions)
    always_a = values(BENCHMARK, scored(BENCHMARK, whole, lambda _: "A"))
    assert (always_a["circular accuracy", ""], always_a["vanilla accuracy", ""]) == (0, 100)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(st.data())
def test_a_pass_that_is_missed_raises_nothing(whole: list[Question], data: st.DataObject) -> None:
    replies = {one.item: data.draw(st.sampled_from([right(one), right(one), right(one), "A", "?"])) for one in whole}
    before = values(BENCHMARK, scored(BENCHMARK, whole, lambda one: replies[one.item]))
    missed = data.draw(st.sets(st.sampled_from([one.item for one in whole]), min_size=1, max_size=4))
    worse = dict.fromkeys(missed, data.draw(st.sampled_from(["", "A B", "none of them"])))
    after = values(BENCHMARK, scored(BENCHMARK, whole, lambda one: {**replies, **worse}[one.item]))
    assert all((after[key] or 0) <= (before[key] or 0) for key in before)


def test_guessing(whole: list[Question]) -> None:
    expected = guessable_values(BENCHMARK, guessed(whole, chances(whole)))
    guesses = draws(whole, chances(whole))
    circles = [BENCHMARK.group(one) for one in whole]
    assert_expected(expected["circular accuracy", ""], share(guesses, circles))
    assert_expected(
        expected["vanilla accuracy", ""],
        share(guesses, [one.item if one.item == circle else None for one, circle in zip(whole, circles, strict=True)]),
    )
    assert expected["circular accuracy", "logic"] == pytest.approx(100 / 4**4)
