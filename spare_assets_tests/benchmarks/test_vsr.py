from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spare_assets.benchmarks.questions import Question
from spare_assets.benchmarks.vsr import BENCHMARK
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

TRUE = Question("1", "statement", "The cat is on the mat.", ("true",))


def record(**changes: Any) -> dict[str, Any]:
    return {
        "image": "a.png",
        "image_link": "http://images.cocodataset.org/train2017/a.png",
        "caption": "The cat is on the mat.",
        "label": 1,
        "relation": "on",
        "subj": "cat",
        "obj": "mat",
    } | changes


def written(folder: Path, records: list[Any]) -> Path:
    path = folder / "test.jsonl"
    path.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in records))
    return path


def test_a_line_is_a_statement_and_what_is_wrong_is_told(tmp_path: Path) -> None:
    (tmp_path / "coco").mkdir()
    (tmp_path / "coco/a.png").write_bytes(picture())
    (tmp_path / "coco/broken.png").write_bytes(picture()[:300])
    random_split: Mapping[str, Any] = {k: v for k, v in record(label=0).items() if k not in {"subj", "obj"}}
    lines = [
        record(),
        random_split,
        record(label="2"),
        record(label=None),
        record(label=True),
        record(caption=" "),
        record(caption=7.5, relation=None),
        "{torn",
        record(image="broken.png", image_link=None),
        record(image="absent.png", image_link=None),
        record(image=None, image_link=None),
    ]
    found = read(BENCHMARK, written(tmp_path, lines), tmp_path / "coco")
    first, second, broken, absent, none = questions(found)
    assert (first.form, first.text, first.answers, first.category) == (
        "statement",
        "The cat is on the mat.",
        ("true",),
        "on",
    )
    assert first.native == {"relation": "on", "subject": "cat", "object": "mat", "image": "a.png"}
    assert [image.path for image in first.images] == [tmp_path / "coco/a.png"] and not first.problem
    assert second.answers == ("false",) and second.native == {"relation": "on", "image": "a.png"}
    why = reasons(found)
    assert list(why) == ["3", "4", "5", "6", "7", "line 8", "9", "10", "11"]
    assert why["3"] == "its field 'label' is '2', neither 0 nor 1"
    assert why["6"] == "says nothing in its field 'caption'"
    assert why["7"] == "says nothing in its field 'relation'"
    assert "not JSON" in why["line 8"]
    assert "does not decode" in broken.problem and not broken.images
    assert "no file 'absent.png'" in absent.problem
    assert none.problem == "image: the record neither holds nor names one"


@pytest.mark.parametrize(
    ("reply", "prediction"),
    [
        ("True", "true"),
        ("true.", "true"),
        ("**False**", "false"),
        ("False!", "false"),
        ("Yes", "true"),
        ("No, it is not.", "false"),
        ("The statement is true: there is no other cat.", "true"),
        ("False, yes", "false"),
        ("true or false", None),
        ("yes and no", None),
        ("untrue", None),
        ("", None),
        (" \n", None),
        ("x" * 10_000, None),
        ("[({" * 3_000 + " true", "true"),
    ],
)
def test_reading_a_reply(reply: str, prediction: str | None) -> None:
    grade = BENCHMARK.grade(TRUE, reply, SETTINGS)
    assert grade.prediction == prediction and grade.score == (prediction == "true")


@given(st.text(max_size=80))
def test_whatever_is_replied_is_read_or_not(reply: str) -> None:
    grade = BENCHMARK.grade(TRUE, reply, SETTINGS)
    assert grade.prediction in {"true", "false", None} and grade.score == (grade.prediction == "true")


@given(st.sampled_from(["True", "TRUE", "true", "Yes", "yes"]), st.text(alphabet=" .,:;!*()[]\"'\n", max_size=20))
def test_a_right_word_counts_whatever_marks_stand_around_it(word: str, marks: str) -> None:
    assert BENCHMARK.grade(TRUE, marks + word + marks, SETTINGS).score == 1


def test_scores_by_hand(tmp_path: Path) -> None:
    labels = [1, 1, 1, 0, 0, 0]
    relations = ["on", "on", "under", "under", "under", "on"]
    lines = [record(label=label, relation=relation) for label, relation in zip(labels, relations, strict=True)]
    replies = ["True", "False", "eh", "True", "False", ""]
    asked = questions(read(BENCHMARK, written(tmp_path, lines)))
    predictions = scored(BENCHMARK, asked, lambda question: replies[int(question.item) - 1])
    assert values(BENCHMARK, predictions) == pytest.approx(
        {
            ("accuracy", ""): 100 * 2 / 6,
            ("precision", ""): 50.0,
            ("recall", ""): 100 / 3,
            ("f1", ""): 40.0,
            ("accuracy", "on"): 100 / 3,
            ("accuracy", "under"): 100 / 3,
        }
    )
    metrics = {(one.name, one.category): one for one in BENCHMARK.measure(predictions)}
    assert metrics["accuracy", ""].units == 1  # one photograph
    assert not metrics["f1", ""].guessable
    assert_order_is_nothing(BENCHMARK, predictions)


def test_statements_that_nobody_calls_true_have_no_precision(tmp_path: Path) -> None:
    asked = questions(read(BENCHMARK, written(tmp_path, [record()])))
    found = values(BENCHMARK, scored(BENCHMARK, asked, lambda _: "False"))
    assert found["precision", ""] is None and found["recall", ""] == 0 and found["f1", ""] == 0


@pytest.mark.parametrize(("split", "count", "true"), [("train", 3489, 1799), ("dev", 340, 167), ("test", 1222, 629)])
def test_the_real_splits(real_data: Path, tmp_path: Path, split: str, count: int, true: int) -> None:
    path = tmp_path / f"{split}.jsonl"
    path.symlink_to(real_data / f"vsr/splits/zeroshot/{split}.jsonl")
    found = read(BENCHMARK, path, real_data / "coco_photos")
    asked = questions(found)
    assert len(asked) == len(found) == count
    assert sum(question.answers == ("true",) for question in asked) == true
    assert all(set(question.native) == {"relation", "subject", "object", "image"} for question in asked)
    full = values(BENCHMARK, scored(BENCHMARK, asked, lambda question: question.answers[0].title()))
    assert set(full.values()) == {100.0}
    assert len(full) == 4 + len({question.category for question in asked})
    chances = guessable_values(BENCHMARK, guessed(asked, 0.5))
    assert ("f1", "") not in chances
    assert_expected(chances["accuracy", ""], share(draws(asked, 0.5, 10_000 if split != "train" else 1_000)))
    assert_order_is_nothing(BENCHMARK, scored(BENCHMARK, asked, lambda question: question.text))
