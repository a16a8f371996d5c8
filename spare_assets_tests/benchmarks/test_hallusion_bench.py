from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from spare_assets.benchmarks.hallusion_bench import BENCHMARK
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

HEADER = ["index", "image", "question", "answer", "category", "l2-category"]


def right(question: Question) -> str:
    return question.answers[0].title()


def record(**changes: Any) -> dict[str, Any]:
    return {
        "category": "VS",
        "subcategory": "chart",
        "visual_input": "1",
        "set_id": "0",
        "figure_id": "1",
        "question_id": "0",
        "question": "Is it so?",
        "gt_answer": "1",
        "filename": "./VS/chart/0_1.png",
    } | changes


def test_the_tsv_and_the_release_say_the_same(tmp_path: Path) -> None:
    path = tsv(
        tmp_path / "h.tsv",
        HEADER,
        [
            ["VS_chart_1_0_1_0", encoded(picture()), "Is it so?", "Yes", "VS", "VS_chart"],
            ["VS_chart_1_0_1_1", "VS_chart_1_0_1_0", "Is it so?", "No", "VS", "chart"],
        ],
    )
    (tmp_path / "images/VS/chart").mkdir(parents=True)
    (tmp_path / "images/VS/chart/0_1.png").write_bytes(picture())
    own = tmp_path / "h.json"
    own.write_text(json.dumps([record(), record(question_id="1", gt_answer="0")]))
    of_tsv = questions(read(BENCHMARK, path))
    of_json = questions(read(BENCHMARK, own, tmp_path / "images"))
    for one, other in zip(of_tsv, of_json, strict=True):
        assert (one.form, one.text, one.answers, one.category) == ("yes_no", "Is it so?", other.answers, "VS_chart")
        assert one.native == other.native and other.category == "VS_chart"
        assert [image.sha256 for image in one.images] == [image.sha256 for image in other.images]
        assert not one.problem and not other.problem
    assert [one.answers for one in of_tsv] == [("yes",), ("no",)]
    assert of_tsv[0].native["set_id"] == "0" and of_tsv[0].native["figure_id"] == "1"


def test_what_is_wrong_is_told(tmp_path: Path) -> None:
    records: list[Any] = [
        record(gt_answer="2"),
        record(gt_answer=None),
        record(question=None),
        record(set_id=None),
        record(subcategory="", figure_id=""),
        "odd",
        record(filename=None),
        record(filename=None, visual_input="0", figure_id="0"),
    ]
    (tmp_path / "h.json").write_text(json.dumps(records))
    found = read(BENCHMARK, tmp_path / "h.json", tmp_path)
    why = reasons(found)
    assert list(why) == ["1", "2", "3", "4", "5", "line 6", "7"]
    assert why["1"] == "its answer is '2', which is neither yes nor no"
    assert why["4"] == "neither its fields nor its 'index' tell its set_id"
    assert why["5"] == "neither its fields nor its 'index' tell its subcategory and figure_id"
    seventh, eighth = questions(found)
    assert seventh.problem and not eighth.problem and not eighth.images
    path = tsv(
        tmp_path / "h.tsv",
        HEADER,
        [["VS_chart_1", encoded(picture()), "?", "Yes", "VS", "VS_chart"], ["VS_chart_1_0_1_0", "x" * 99, "?", "Yes"]],
    )
    found = read(BENCHMARK, path)
    assert reasons(found) == {
        "VS_chart_1": "neither its fields nor its 'index' tell its set_id and figure_id and question_id",
        "line 3": "has 4 fields where the header has 6",
    }


@pytest.mark.parametrize("reply", ["", "x" * 10_000, "yes no " * 1_500, "maybe"])
def test_a_reply_that_says_neither_is_wrong(reply: str) -> None:
    question = Question("1", "yes_no", "?", ("yes",))
    assert BENCHMARK.grade(question, reply, SETTINGS).prediction is None
    assert BENCHMARK.grade(question, reply, SETTINGS).score == 0
    assert BENCHMARK.grade(question, "Yes.", SETTINGS).score == 1


def test_scores_by_hand(tmp_path: Path) -> None:
    """A set of two questions, without a figure and with two, and another subcategory's set of the same numbers."""
    records = [
        record(figure_id=str(figure), question_id=str(asked), visual_input=str(figure), filename=None)
        for figure in (0, 1, 2)
        for asked in (0, 1)
    ]
    records.append(record(subcategory="table", question_id="0", filename=None))
    records.append(record(category="VD", subcategory="ocr", set_id="7", filename=None))
    (tmp_path / "h.json").write_text(json.dumps(records))
    asked = questions(read(BENCHMARK, tmp_path / "h.json"))
    wrong = {"1", "4"}  # question 0 without a figure, question 1 on figure 1
    predictions = scored(BENCHMARK, asked, lambda one: "" if one.item in wrong else right(one))
    found = values(BENCHMARK, predictions)
    assert found == pytest.approx(
        {
            ("aAcc", ""): 100 * 6 / 8,
            ("fAcc", ""): 100 * 3 / 4,
            ("qAcc", ""): 100 * 2 / 4,
            ("aAcc", "VS_chart"): 100 * 4 / 6,
            ("fAcc", "VS_chart"): 100 / 2,
            ("qAcc", "VS_chart"): 0.0,
            ("aAcc", "VS_table"): 100.0,
            ("fAcc", "VS_table"): 100.0,
            ("qAcc", "VS_table"): 100.0,
            ("aAcc", "VD_ocr"): 100.0,
            ("fAcc", "VD_ocr"): 100.0,
            ("qAcc", "VD_ocr"): 100.0,
            ("aAcc", "VS"): 100 * 5 / 7,
            ("fAcc", "VS"): 100 * 2 / 3,
            ("qAcc", "VS"): 100 / 3,
            ("aAcc", "VD"): 100.0,
            ("fAcc", "VD"): 100.0,
            ("qAcc", "VD"): 100.0,
        }
    )
    assert_order_is_nothing(BENCHMARK, predictions)
    assert len({BENCHMARK.group(one) for one in asked}) == 3


def test_the_real_release(real_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "h.json"
    path.symlink_to(real_data / "hallusionbench/HallusionBench.json")
    found = read(BENCHMARK, path)
    asked = questions(found)
    assert len(asked) == len(found) == 1129
    assert sum(one.answers == ("yes",) for one in asked) == 484
    assert sum(not one.problem for one in asked) == 178  # the others' figures are not at hand
    assert len({one.category for one in asked}) == 9
    full = values(BENCHMARK, scored(BENCHMARK, asked, right))
    assert len(full) == 3 * (1 + 9 + 2) and set(full.values()) == {100.0}

    sets = [(one.category, one.native["set_id"]) for one in asked]
    by_figure = [
        None if one.native["visual_input"] == "0" else (*sets[place], one.native["figure_id"])
        for place, one in enumerate(asked)
    ]
    by_question = [(*sets[place], one.native["question_id"]) for place, one in enumerate(asked)]
    chances = guessable_values(BENCHMARK, guessed(asked, 0.5))
    guesses = draws(asked, 0.5)
    for name, groups in (("aAcc", None), ("fAcc", by_figure), ("qAcc", by_question)):
        assert_expected(chances[name, ""], share(guesses, groups))
    assert_order_is_nothing(BENCHMARK, scored(BENCHMARK, asked, lambda one: "Yes"))
