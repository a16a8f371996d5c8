"""Which questions of other datasets have spatial content (paper 3.1.2): by the grammar, or asked of an engine.

Belongs here: what of a question is judged, the sample an engine is asked about, and reading its replies. Counting by
dataset does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl

from spare_assets.analyses.vqa_datasets import STATEMENTS
from spare_assets.engines.chat import ChatRequest
from spare_assets.engines.rule_based.judge import asks_about_space
from spare_assets.engines.rule_based.questions import write_pairs
from spare_assets.synthesis.analyst import Analyst
from spare_assets.synthesis.spatial_filter import judged

_ASKS = re.compile(
    r"^(?:what|which|where|who|whose|when|why|how|is|are|was|were|do|does|did|can|could|has|have|will|would|should)\b",
    re.IGNORECASE,
)


def judged_statement(question: str, answer: str | None, form: str) -> str | None:
    """The statement that decides whether a question of this format is spatial; None where its own wording does.

    VSR and memes hold statements in place of questions. What only tells a model to describe ("Describe the image.")
    says nothing itself: its answer is judged, as a caption would be.
    """
    if form in STATEMENTS:
        return question
    if form != "conversations" or not answer or "?" in question or _ASKS.match(question):
        return None
    return answer


def spatial_flags(questions: pl.DataFrame, form: str) -> pl.Series:
    """Whether each question of a batch (columns question, answer) has spatial content, by the grammar."""
    return pl.Series(
        [
            _is_spatial(question, answer, form)
            for question, answer in questions.select("question", "answer").iter_rows()
        ],
        dtype=pl.Boolean,
    )


def _is_spatial(question: str, answer: str | None, form: str) -> bool:
    statement = judged_statement(question, answer, form)
    return _asks(question) if statement is None else _states(statement)


# Other datasets ask the same over and over; statements hardly repeat.
_asks = lru_cache(maxsize=100_000)(asks_about_space)


@lru_cache(maxsize=1_000)
def _states(statement: str) -> bool:
    return bool(write_pairs(statement))


def spatial_question(analyst: Analyst, row: Mapping[str, Any]) -> ChatRequest:
    """What an engine is asked about one question (columns question, answer, form)."""
    statement = judged_statement(row["question"], row["answer"], row["form"])
    if statement is not None:
        return analyst.judge_caption(statement)
    return analyst.judge_pair(row["question"], row["answer"] or "")


def counted_replies(answers: Iterable[pl.DataFrame], minimum_probability: float) -> tuple[int, int, int]:
    """Of answered questions: judged spatial, judged not spatial, and without a reply that could be read."""
    spatial = other = failed = 0
    for batch in answers:
        for row in batch.iter_rows(named=True):
            kept, score, *_ = judged(row, minimum_probability)
            if score is None:
                failed += 1
            elif kept:
                spatial += 1
            else:
                other += 1
    return spatial, other, failed


class Draw:
    """The questions of one dataset that an engine is asked about: those whose ordinals hash smallest.

    A larger draw holds every smaller one, so that its replies are used again. Memory: the draw and one batch.
    """

    def __init__(self, size: int) -> None:
        self._size, self._seen = size, 0
        self._kept: pl.DataFrame | None = None

    def add(self, questions: pl.DataFrame) -> None:
        """Take the next batch in the dataset's order."""
        ordinals = np.arange(self._seen, self._seen + questions.height, dtype=np.uint64)
        self._seen += questions.height
        batch = questions.with_columns(ordinal=ordinals, draw=_mixed(ordinals))
        together = batch if self._kept is None else pl.concat([self._kept, batch])
        self._kept = together.sort("draw").head(self._size)

    def rows(self) -> pl.DataFrame:
        """What was drawn, in the dataset's order: its columns and `ordinal`."""
        if self._kept is None:
            return pl.DataFrame(schema={"dataset": pl.String, "question": pl.String, "answer": pl.String})
        return self._kept.sort("ordinal").drop("draw")


def _mixed(ordinals: np.ndarray[Any, np.dtype[np.uint64]]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """A hash of each number that differs in about half its bits from its neighbour's; no two numbers share one."""
    mixed = (ordinals + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((31, 0xD6E8FEB86659FD93), (29, 0xA0761D6478BD642F)):
        mixed ^= mixed >> np.uint64(shift)
        mixed *= np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(32))
