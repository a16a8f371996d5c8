from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from spare_assets.benchmarks.questions import Question
from spare_assets.benchmarks.threedsr_bench import BENCHMARK
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

CATEGORIES = (
    "height_higher",
    "location_above",
    "location_closer_to_camera",
    "location_next_to",
    "orientation_in_front_of",
    "orientation_on_the_left",
    "orientation_viewpoint",
    "multi_object_closer_to",
    "multi_object_facing",
    "multi_object_parallel",
    "multi_object_same_direction",
    "multi_object_viewpoint_towards_object",
)
GROUPS = ("height", "location", "orientation", "multi_object")
PASSES = ("", "-1", "-flip", "-flip-1")
METRICS = ("vanilla accuracy", "flip accuracy", "circular accuracy", "flip circular accuracy")


def record(index: int, qid: str, **changes: Any) -> dict[str, Any]:
    return {
        "index": index,
        "question": "Which is higher?",
        "A": "the lamp",
        "B": "the cup",
        "answer": "A",
        "category": "height_higher",
        "qid": qid,
    } | changes


@pytest.fixture
def whole(tmp_path: Path) -> list[Question]:
    """Of each category two questions in four passes, some with four options, and one asked once."""
    rows: list[dict[str, Any]] = []
    for place, category in enumerate(CATEGORIES):
        for number, passes in enumerate((PASSES, PASSES, ("",))):
            more = {"C": "the cat", "D": "the mat"} if number else {}
            for mark in passes:
                qid = f"{place:04}000{number}{mark}"
                rows.append(record(len(rows), qid, category=category, answer="AB"[len(rows) % 2], **more))
    return questions(read(BENCHMARK, lmu_file(tmp_path / "3dsr.tsv", rows)))


def test_records(tmp_path: Path) -> None:
    rows = [
        record(0, "AAAAAAAA", hint="Look up."),
        record(1, "AAAAAAAA-flip", image="0", **{"l2-category": "of its own"}),
        record(2, ""),
        record(3, "AAAAAAAB", answer="C"),
        record(4, "AAAAAAAC", answer=""),
        record(5, "AAAAAAAD", A="", B=""),
        record(6, "AAAAAAAE", question=""),
        record(7, "AAAAAAAF", image="bm90YXBp" * 20),
        record(8, "AAAAAAAG", image=""),
        record(9, "AAAAAAAH", category="of no group", answer=" B ", C=" a mat "),
        record(0, "AAAAAAAI", answer="b"),
        record(0, "AAAAAAAJ"),
    ]
    path = lmu_file(tmp_path / "3dsr.tsv", rows)
    with path.open("a") as file:
        file.write("torn\n")
    found = read(BENCHMARK, path)
    first, flipped, broken, none, other, again = questions(found)
    assert (first.form, first.text, first.answers, first.category, first.hint) == (
        "choice",
        "Which is higher?",
        ("A",),
        "height_higher",
        "Look up.",
    )
    assert first.options == {"A": "the lamp", "B": "the cup"} and not first.problem
    assert first.native == {"index": "0", "qid": "AAAAAAAA", "l2_category": "height"}
    assert flipped.native["l2_category"] == "of its own" and flipped.images == first.images
    assert BENCHMARK.group(flipped) == BENCHMARK.group(first) != BENCHMARK.group(other)
    assert other.answers == ("B",) and other.options["C"] == "a mat" and "l2_category" not in other.native
    assert again.item == "0@13"
    why = reasons(found)
    assert list(why) == ["2", "3", "4", "5", "6", "7", "8", "0@12", "line 14"]
    assert why["2"] == "says nothing in its field 'qid'"
    assert why["3"] == "its answer 'C' is none of its options A, B"
    assert why["0@12"] == "its answer 'b' is none of its options A, B"
    assert why["4"] == "says nothing in its field 'answer'"
    assert why["5"] == "has no options: columns A, B, ... say nothing"
    assert why["6"] == "says nothing in its field 'question'"
    assert "not a picture" in broken.problem
    assert none.problem == "image: the record neither holds nor names one"
    assert "fields" in why["line 14"]


def test_all_right_is_full_marks(whole: list[Question]) -> None:
    full = values(BENCHMARK, scored(BENCHMARK, whole, right))
    categories = {"", *CATEGORIES, *(f"group: {group}" for group in GROUPS)}
    assert full == {(metric, category): 100 for metric in METRICS for category in categories}
    none = values(BENCHMARK, scored(BENCHMARK, whole, lambda _: ""))
    assert none == dict.fromkeys(full, 0)


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        # One question of nine rows in three: passes, pairs of the image and its mirror image, sides, questions.
        ({""}, (8 / 9, 4 / 5, 4 / 5, 2 / 3)),
        ({"-1"}, (8 / 9, 4 / 5, 4 / 5, 2 / 3)),
        ({"-flip"}, (8 / 9, 4 / 5, 4 / 5, 2 / 3)),
        ({"", "-flip"}, (7 / 9, 4 / 5, 3 / 5, 2 / 3)),
        ({"", "-1"}, (7 / 9, 3 / 5, 4 / 5, 2 / 3)),
        ({"", "-flip-1"}, (7 / 9, 3 / 5, 3 / 5, 2 / 3)),
        (set(PASSES), (5 / 9, 3 / 5, 3 / 5, 2 / 3)),
    ],
)
def test_scores_by_hand(whole: list[Question], wrong: set[str], expected: tuple[float, ...]) -> None:
    qids = {f"00000000{mark}" for mark in wrong}
    predictions = scored(BENCHMARK, whole, lambda one: "" if one.native["qid"] in qids else right(one))
    found = values(BENCHMARK, predictions)
    assert tuple(found[metric, "height_higher"] for metric in METRICS) == pytest.approx([100 * one for one in expected])
    assert all(found[metric, "group: height"] == found[metric, "height_higher"] for metric in METRICS)
    assert all(found[metric, "group: location"] == 100 for metric in METRICS)
    assert found["vanilla accuracy", ""] == pytest.approx(100 * (1 - len(wrong) / len(whole)))
    assert_order_is_nothing(BENCHMARK, predictions)


@pytest.mark.parametrize("reply", ["", "A or B", "Z"])
@pytest.mark.parametrize("place", range(0, 108, 13))
def test_a_pass_that_is_missed_raises_nothing(whole: list[Question], place: int, reply: str) -> None:
    before = values(BENCHMARK, scored(BENCHMARK, whole, lambda _: "A"))
    after = values(BENCHMARK, scored(BENCHMARK, whole, lambda one: reply if one is whole[place] else "A"))
    assert all((after[key] or 0) <= (before[key] or 0) for key in before)


def test_guessing(whole: list[Question]) -> None:
    expected = guessable_values(BENCHMARK, guessed(whole, chances(whole)))
    guesses = draws(whole, chances(whole))
    qids = [one.native["qid"] for one in whole]
    groups: dict[str, list[str] | None] = {
        "vanilla accuracy": None,
        "flip accuracy": [qid.replace("-flip", "") for qid in qids],
        "circular accuracy": [qid.removesuffix("-1") for qid in qids],
        "flip circular accuracy": [qid[:8] for qid in qids],
    }
    for metric, group in groups.items():
        assert_expected(expected[metric, ""], share(guesses, group))
