from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from spare_assets.engines.chat import ChatRequest
from spare_assets.quality.spatial_verification import (
    JUDGEMENT,
    judgements,
    pair_question,
    sample_question,
    spatial_verdicts,
)
from spare_assets.storage.schemas import TABLES
from spare_assets_tests.quality.toy_tables import toy_pairs

PAIRS = toy_pairs([("a", "Where is the dog?", "left"), ("a", "What colour?", "red"), ("b", "Where?", "here")])


def answered(rows: pl.DataFrame, *replies: dict[str, Any]) -> pl.DataFrame:
    blank = {"text": "", "finish_reason": "stop", "probability": None, "error": None}
    schema = {"text": pl.String, "finish_reason": pl.String, "probability": pl.Float64, "error": pl.String}
    return pl.concat([rows, pl.DataFrame([blank | reply for reply in replies], schema=schema)], how="horizontal")


def verdicts(answers: pl.DataFrame, minimum: float = 0.5) -> pl.DataFrame:
    found = pl.concat(spatial_verdicts(judgements([answers]), minimum))
    assert found.schema == TABLES["spatial_verdicts"].polars()
    assert found["pair_id"].equals(PAIRS["pair_id"])
    return found


def test_a_probability_is_compared_where_there_is_one() -> None:
    answers = answered(PAIRS, {"text": "yes", "probability": 0.6}, {"text": "no", "probability": 0.4}, {"text": "yes"})
    found = verdicts(answers)
    assert found["kept"].to_list() == [True, False, True]
    assert found["score"].to_list() == pytest.approx([0.6, 0.4, 1.0])
    assert found["reason"].to_list() == ["", "not about space", ""]
    assert verdicts(answers, 0.61)["kept"].to_list() == [False, False, True]
    assert verdicts(answers, 0.6)["kept"].to_list() == [True, False, True]
    assert verdicts(answers, 0.4)["kept"].all()


def test_a_pair_without_a_readable_reply_is_dropped_whatever_the_cut_off() -> None:
    answers = answered(
        PAIRS,
        {"text": "maybe", "probability": 0.9},
        {"text": "y", "finish_reason": "length"},
        {"error": "HTTP 500", "finish_reason": "error"},
    )
    found = verdicts(answers, 0.0)
    assert found["kept"].to_list() == [False] * 3
    assert found["score"].is_null().all()
    assert found["threshold"].to_list() == [0.0] * 3
    assert found["reason"].to_list() == [
        "malformed: the reply is neither yes nor no",
        "truncated: the reply is neither yes nor no",
        "failed: HTTP 500",
    ]


def by_sample() -> pl.DataFrame:
    pair = pl.struct("pair_id", "position", "question", "answer")
    return PAIRS.group_by("caption_id", "source", maintain_order=True).agg(pairs=pair)


def test_one_reply_may_judge_all_pairs_of_a_sample() -> None:
    found = verdicts(answered(by_sample(), {"text": '{"spatial": [true, false]}'}, {"text": "[true]"}))
    assert found["kept"].to_list() == [True, False, True]
    assert found["score"].to_list() == [1.0, 0.0, 1.0]


def test_a_reply_that_misses_a_pair_judges_none_of_the_sample() -> None:
    found = verdicts(answered(by_sample(), {"text": '{"spatial": [true]}'}, {"error": "timed out"}))
    assert found["kept"].to_list() == [False] * 3
    assert found["reason"].to_list() == [
        *["malformed: the reply does not say yes or no to each pair"] * 2,
        "failed: timed out",
    ]


def test_no_answers_give_no_verdicts() -> None:
    assert list(spatial_verdicts(judgements([]), 0.5)) == []
    (empty,) = judgements([answered(PAIRS.head(0))])
    assert empty.schema == JUDGEMENT


class Recorder:
    """Stands for an analyst: the request holds the pairs it was asked about."""

    engine: Any = None

    def judge_pair(self, question: str, answer: str) -> ChatRequest:
        return ChatRequest((), 1, choices=(question, answer))

    def judge_pairs(self, pairs: Any) -> ChatRequest:
        return ChatRequest((), 1, choices=tuple(json.dumps(pair) for pair in pairs))


def test_questions_hold_the_pair_or_all_pairs_of_the_sample() -> None:
    analyst: Any = Recorder()
    assert pair_question(analyst, PAIRS.row(1, named=True)).choices == ("What colour?", "red")
    assert sample_question(analyst, by_sample().row(0, named=True)).choices == (
        '["Where is the dog?", "left"]',
        '["What colour?", "red"]',
    )


def test_a_probability_that_is_no_number_counts_for_nothing() -> None:
    judged = pl.DataFrame(
        [("p0", "s:0", "s", 0, False, float("nan"), "ok", ""), ("p1", "s:0", "s", 1, True, float("nan"), "ok", "")],
        schema=JUDGEMENT,
        orient="row",
    )
    assert pl.concat(spatial_verdicts([judged], 0.5))["kept"].to_list() == [False, True]
