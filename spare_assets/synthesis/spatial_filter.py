"""The pre-filter: which captions state explicitly where something is (paper 3.2.1, step 1; precision first, B.2)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import polars as pl

from spare_assets.engines.chat import ChatRequest
from spare_assets.storage.schemas import TABLES
from spare_assets.synthesis.analyst import Analyst
from spare_assets.synthesis.reply_parsing import NEITHER_YES_NOR_NO, parse_yes_no, unreadable_outcome


def caption_question(analyst: Analyst, row: Mapping[str, Any]) -> ChatRequest:
    """The question asked of one caption row."""
    return analyst.judge_caption(row["caption"])


def caption_verdicts(answers: Iterable[pl.DataFrame], minimum_probability: float) -> Iterator[pl.DataFrame]:
    """Verdicts from answered captions, in their order.

    Rows: caption_id, source, text, finish_reason, probability, error. The score is p(yes) where the engine gave one,
    else 1 or 0. A failed or unreadable reply never passes.
    """
    schema = TABLES["caption_verdicts"].polars()
    for batch in answers:
        rows = [judged(row, minimum_probability) for row in batch.iter_rows(named=True)]
        verdicts = pl.DataFrame(
            rows,
            schema=["kept", "score", "threshold", "outcome", "reason"],
            orient="row",
            infer_schema_length=None,
        )
        yield pl.concat([batch.select("caption_id", "source"), verdicts], how="horizontal").cast(schema)


def filter_parts(verdicts: pl.LazyFrame, spatial: int) -> dict[str, int]:
    """What captions became: `spatial` (counted in the table of those kept), not spatial, and failed."""
    failed = pl.col("outcome") == "failed"
    dropped, lost = verdicts.select(a=(~pl.col("kept") & ~failed).sum(), b=failed.sum()).collect().row(0)
    return {"spatial": spatial, "not spatial": dropped, "failed": lost}


def judged(row: Mapping[str, Any], minimum_probability: float) -> tuple[bool, float | None, float, str, str]:
    """kept, score, threshold, outcome and reason of one yes-or-no reply."""
    threshold = minimum_probability
    answer = None if row["error"] is not None else parse_yes_no(row["text"])
    if answer is None:
        outcome = unreadable_outcome(row["finish_reason"], row["error"], NEITHER_YES_NOR_NO)
        return False, None, threshold, *outcome
    probability = row["probability"]
    score = float(answer) if probability is None or math.isnan(probability) else probability
    kept = score >= threshold
    return kept, score, threshold, "ok", "" if kept else "not judged spatial"
