from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spare_assets.benchmarks.questions import Question
from spare_assets.benchmarks.whats_up import BENCHMARK_A, BENCHMARK_B
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
from spare_assets_tests.benchmarks.test_image_files import picture

A = ("on", "under", "to the left of", "to the right of")
B = ("in front of", "behind", "to the left of", "to the right of")


def records(relations: Sequence[str], things: tuple[str, str] = ("A mug", "a plate")) -> list[dict[str, Any]]:
    """One record for each relation, its own caption first."""
    captions = {relation: f"{things[0]} {relation} {things[1]}" for relation in relations}
    return [
        {
            "image_path": f"data/controlled_images/{things}_{right}.png",
            "caption_options": [captions[right], *(text for relation, text in captions.items() if relation != right)],
        }
        for right in relations
    ]


def written(folder: Path, found: list[Any]) -> Path:
    path = folder / "whats_up.json"
    path.write_text(json.dumps(found))
    return path


def right(question: Question) -> str:
    return question.answers[0]


def test_a_record_is_a_choice_among_captions_whose_right_one_stands_anywhere(tmp_path: Path) -> None:
    (tmp_path / "images/controlled_images").mkdir(parents=True)
    (tmp_path / "images/controlled_images/a.png").write_bytes(picture())
    one = records(A)[2] | {"image_path": "data/controlled_images/a.png"}
    (question,) = questions(read(BENCHMARK_A, written(tmp_path, [one]), tmp_path / "images"))
    assert question.form == "captions" and list(question.options) == ["A", "B", "C", "D"]
    assert sorted(question.options.values()) == sorted(one["caption_options"])
    assert question.options[right(question)] == "A mug to the left of a plate"
    assert question.category == "to the left of"
    assert question.native == {
        "first": "mug",
        "second": "plate",
        "relation": "to the left of",
        "pair": "left/right",
        "image": "data/controlled_images/a.png",
    }
    assert len(question.images) == 1 and not question.problem
    # The order of the other captions and of the records decides nothing.
    again = one | {"caption_options": [one["caption_options"][0], *reversed(one["caption_options"][1:])]}
    assert [q.options for q in questions(read(BENCHMARK_A, written(tmp_path, [*records(A), again])))][-1] == (
        question.options
    )


@pytest.mark.parametrize(
    ("captions", "scene"),
    [
        (
            ["The cup is above the red box.", "The cup is below the red box."],
            ("cup", "red box", "above", "above/below"),
        ),
        (["A dog in front of a dog", "A dog behind a dog"], ("dog", "dog", "in front of", "front/behind")),
        (["a x on a y", "a x to the left of a y"], ("x", "y", "on", "on/under")),
        (["on", "under"], ("", "", "on", "on/under")),
        (["a cat", "a cat on a mat"], ("cat", "", "", "")),
        (["near", "far away"], ("", "", "near", "")),
    ],
)
def test_things_and_relation_are_told_from_the_captions(
    tmp_path: Path, captions: list[str], scene: tuple[str, ...]
) -> None:
    record = {"image_path": "a.png", "caption_options": captions}
    (question,) = questions(read(BENCHMARK_B, written(tmp_path, [record])))
    assert tuple(question.native[name] for name in ("first", "second", "relation", "pair")) == scene


def test_what_is_wrong_is_told(tmp_path: Path) -> None:
    bad: list[Any] = [
        {"image_path": "a.png"},
        {"image_path": "a.png", "caption_options": "on"},
        {"image_path": "a.png", "caption_options": ["on", ""]},
        {"image_path": "a.png", "caption_options": ["on", 3]},
        {"image_path": "a.png", "caption_options": ["on"]},
        {"image_path": "a.png", "caption_options": ["on", "on"]},
        {"image_path": "a.png", "caption_options": [f"on {n}" for n in range(27)]},
        "odd",
        {"image_path": "absent.png", "caption_options": ["on", "under"]},
        {"caption_options": ["on", "under"]},
    ]
    found = read(BENCHMARK_A, written(tmp_path, bad), tmp_path)
    assert [one.item for one in questions(found)] == ["9", "10"]
    why = reasons(found)
    assert list(why) == ["1", "2", "3", "4", "5", "6", "7", "line 8", "9", "10"]
    assert why["5"] == "its field 'caption_options' holds 1 captions where it should hold 4"
    assert why["6"] == "its field 'caption_options' holds a caption twice"
    assert "no file 'absent.png'" in why["9"] and "neither holds nor names one" in why["10"]


def test_replies(tmp_path: Path) -> None:
    question = questions(read(BENCHMARK_A, written(tmp_path, records(A)[:1])))[0]
    letter = right(question)
    wrong = next(other for other in "ABCD" if other != letter)
    for reply, score in (
        (letter, 1),
        (f"{letter}.", 1),
        (f"({letter})", 1),
        (f"{letter}. {question.options[letter]}", 1),
        (question.options[letter], 1),
        (wrong, 0),
        (question.options[wrong], 0),
        (f"{letter} {wrong}", 0),
        ("E", 0),
        ("", 0),
        ("x" * 10_000, 0),
        ("on " * 3_000, 0),
    ):
        assert BENCHMARK_A.grade(question, reply, SETTINGS).score == score, reply[:60]


@given(st.text(max_size=60))
def test_whatever_is_replied_is_an_option_or_nothing(reply: str) -> None:
    question = Question("1", "captions", "?", ("A",), {"A": "a x on a y", "B": "a x under a y"})
    grade = BENCHMARK_A.grade(question, reply, SETTINGS)
    assert grade.prediction in {"A", "B", None} and grade.score == (grade.prediction == "A")


@pytest.mark.parametrize(("benchmark", "relations"), [(BENCHMARK_A, A), (BENCHMARK_B, B)])
def test_pairs_and_sets_by_hand(tmp_path: Path, benchmark: Any, relations: Sequence[str]) -> None:
    things = [("A mug", "a plate"), ("A mug", "a bowl"), ("A cap", "a plate"), ("A book", "a bowl")]
    asked = questions(
        read(benchmark, written(tmp_path, [one for pair in things for one in records(relations, pair)][:-1]))
    )
    assert len(asked) == 15
    # All right of the first things; of the second the first relation is missed; of the third all are.
    wrong = {"5", "9", "10", "11", "12"}
    predictions = scored(benchmark, asked, lambda one: "" if one.item in wrong else right(one))
    found = values(benchmark, predictions)
    # The fourth set lacks a relation: its left and right make no pair, its four no set.
    assert found == pytest.approx(
        {
            ("accuracy", ""): 100 * 10 / 15,
            ("pair_accuracy", ""): 100 * 4 / 7,
            ("set_accuracy", ""): 100 / 3,
            ("accuracy", relations[0]): 100 * 2 / 4,
            ("accuracy", relations[1]): 100 * 3 / 4,
            ("accuracy", relations[2]): 100 * 3 / 4,
            ("accuracy", relations[3]): 100 * 2 / 3,
        }
    )
    assert {one.units for one in benchmark.measure(predictions) if one.name == "accuracy" and not one.category} == {4}
    assert len({benchmark.group(one) for one in asked}) == 4
    assert_order_is_nothing(benchmark, predictions)


def test_the_real_set_a(real_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.symlink_to(real_data / "whatsup_a/controlled_images_dataset.first4.json")
    found = read(BENCHMARK_A, path)
    asked = questions(found)
    assert len(asked) == len(found) == 412
    assert {len(question.options) for question in asked} == {4}
    letters = Counter(map(right, asked))
    assert set(letters) == set("ABCD") and min(letters.values()) > 75
    assert Counter(question.category for question in asked) == dict.fromkeys(A, 103)
    full = values(BENCHMARK_A, scored(BENCHMARK_A, asked, right))
    assert len(full) == 7 and set(full.values()) == {100.0}

    metrics = {one.name: one.terms.height for one in BENCHMARK_A.measure(guessed(asked, 0.25)) if not one.category}
    assert metrics == {"accuracy": 412, "pair_accuracy": 206, "set_accuracy": 103}
    chances = guessable_values(BENCHMARK_A, guessed(asked, 0.25))
    assert chances["pair_accuracy", ""] == pytest.approx(100 / 16)
    assert chances["set_accuracy", ""] == pytest.approx(100 / 256)
    guesses = draws(asked, 0.25)
    things = [(question.native["first"], question.native["second"]) for question in asked]
    pairs = [(*things[place], question.native["pair"]) for place, question in enumerate(asked)]
    for name, groups in (("accuracy", None), ("pair_accuracy", pairs), ("set_accuracy", things)):
        assert_expected(chances[name, ""], share(guesses, groups))
    unknown = values(BENCHMARK_A, guessed(asked, None).cast({"score": pl.Float64}))
    assert set(unknown.values()) == {None}
    assert_order_is_nothing(BENCHMARK_A, scored(BENCHMARK_A, asked, lambda _: "A"))


def test_half_of_a_surrogate_pair_in_a_caption_does_not_end_the_reading(tmp_path: Path) -> None:
    (found,) = read(BENCHMARK_A, written(tmp_path, records(A, ("A \ud83d mug", "a plate"))[:1]), tmp_path)
    assert isinstance(found, Question) and len(found.options) == 4
