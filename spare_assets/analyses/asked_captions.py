"""Captions put to one engine as the graph's own stages put them, with what every reply used.

Wording and reading of replies are the stages'; which captions and engines, and what is made of it, is the caller's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import polars as pl

from spare_assets.engines.asking import Inquiry
from spare_assets.quality.spatial_verification import JUDGEMENT, judgements, pair_question, sample_question
from spare_assets.storage.schemas import TABLES
from spare_assets.synthesis.analyst import Analyst
from spare_assets.synthesis.generation import generated_pairs, pairs_question
from spare_assets.synthesis.spatial_filter import caption_question, caption_verdicts

USE = ("prompt_tokens", "completion_tokens", "seconds")
"""What a reply used; columns beside the verdict or outcome it led to."""
_USE = pl.Schema({"prompt_tokens": pl.Int64(), "completion_tokens": pl.Int64(), "seconds": pl.Float64()})


class Written(NamedTuple):
    """Outcomes of generation with their use, and the pairs."""

    outcomes: pl.DataFrame
    pairs: pl.DataFrame


def filtered(inquiry: Inquiry, analyst: Analyst, captions: pl.DataFrame, minimum_probability: float) -> pl.DataFrame:
    """Verdicts of the pre-filter (`caption_verdicts`) on captions in their order, with `USE`."""
    inquiry.ask([captions], lambda row: caption_question(analyst, row))
    answers = list(inquiry.answers(usage=True))
    return _with_use(caption_verdicts(answers, minimum_probability), "caption_verdicts", answers)


def written(inquiry: Inquiry, analyst: Analyst, captions: pl.DataFrame, max_pairs: int) -> Written:
    """Outcomes of generation (`generation_outcomes`) for captions in their order, with `USE`; and `qa_pairs`."""
    inquiry.ask([captions], lambda row: pairs_question(analyst, row))
    answers = list(inquiry.answers(usage=True))
    batches = list(generated_pairs(answers, max_pairs))
    outcomes = _with_use((batch.outcomes for batch in batches), "generation_outcomes", answers)
    return Written(outcomes, pl.concat([TABLES["qa_pairs"].empty(), *(batch.pairs for batch in batches)]))


def judged(inquiry: Inquiry, analyst: Analyst, questions: pl.DataFrame) -> pl.DataFrame:
    """What check 5 says (`JUDGEMENT`) of pairs, or of samples with a list `pairs`."""
    ask = sample_question if "pairs" in questions.columns else pair_question
    inquiry.ask([questions], lambda row: ask(analyst, row))
    return pl.concat([JUDGEMENT.to_frame(), *judgements(inquiry.answers())])


def failures(rows: pl.DataFrame) -> int:
    """Requests among verdicts or outcomes that got no answer."""
    return rows.filter(pl.col("outcome") == "failed").height


def used(rows: pl.DataFrame, in_flight: int) -> dict[str, float]:
    """What replies used together; the seconds of requests in flight at once count as one."""
    sums = rows.select(pl.col(USE).sum()).row(0, named=True)
    return sums | {"seconds": sums["seconds"] / in_flight}


def _with_use(rows: Iterable[pl.DataFrame], table: str, answers: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Rows read out of answers, one of each and in their order, with what the answers used."""
    used = [_USE.to_frame(), *(answer.select(USE).cast(_USE) for answer in answers)]
    return pl.concat([pl.concat([TABLES[table].empty(), *rows]), pl.concat(used)], how="horizontal")
