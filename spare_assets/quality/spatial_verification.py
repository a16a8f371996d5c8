"""Check 5: does the pair itself ask about space? (paper 3.3)

The question put to an analyst, once per pair or once for all pairs of a sample, what its reply says, and the verdict
that follows, belong here. Asking does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from spare_assets.engines.chat import ChatRequest
from spare_assets.quality.samples import verdict_columns
from spare_assets.storage.schemas import TABLES
from spare_assets.synthesis.analyst import Analyst
from spare_assets.synthesis.reply_parsing import (
    NEITHER_YES_NOR_NO,
    parse_flags,
    parse_yes_no,
    unreadable_outcome,
)

_PAIR = ("pair_id", "caption_id", "source", "position")
JUDGEMENT = pl.Schema(
    [(name, TABLES["spatial_verdicts"].polars()[name]) for name in _PAIR]
    + [
        ("spatial", pl.Boolean()),
        ("probability", pl.Float32()),
        ("outcome", pl.String()),
        ("reason", pl.String()),
    ]
)
"""What was said of each pair; `spatial` and `probability` are null where `outcome` is not ok."""


def pair_question(analyst: Analyst, row: Mapping[str, Any]) -> ChatRequest:
    """The question asked of one pair."""
    return analyst.judge_pair(row["question"], row["answer"])


def sample_question(analyst: Analyst, row: Mapping[str, Any]) -> ChatRequest:
    """The question asked of one sample; its row holds the list `pairs`."""
    return analyst.judge_pairs([(pair["question"], pair["answer"]) for pair in row["pairs"]])


def judgements(answers: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """What the replies say, one row per pair (`JUDGEMENT`), in the order of the answered rows.

    Rows are pairs, or samples with caption_id, source and a list `pairs`; each with text, finish_reason,
    probability and error.
    """
    for batch in answers:
        of_row = _of_sample if "pairs" in batch.columns else _of_pair
        judged = [judgement for row in batch.iter_rows(named=True) for judgement in of_row(row)]
        yield pl.DataFrame(judged, schema=JUDGEMENT, orient="row")


def spatial_verdicts(judged: Iterable[pl.DataFrame], minimum_probability: float) -> Iterator[pl.DataFrame]:
    """Verdicts on judged pairs (`JUDGEMENT`), in their order.

    The score is p(yes) where the engine gave one, else 1 or 0; pairs score at least `minimum_probability` to be
    kept. A pair without a readable reply has no score and is dropped; its reason says what came instead.
    """
    score = pl.coalesce(pl.col("probability").fill_nan(None), pl.col("spatial").cast(pl.Float32))
    kept = (score >= pl.lit(minimum_probability, dtype=pl.Float32)).fill_null(False)
    columns = verdict_columns(
        kept=kept,
        score=score,
        threshold=minimum_probability,
        reason=pl.when(kept)
        .then(pl.lit(""))
        .when(score.is_null())
        .then(pl.format("{}: {}", "outcome", "reason"))
        .otherwise(pl.lit("not about space")),
    )
    for batch in judged:
        yield batch.select(columns)


def _of_pair(row: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """The judgement on one pair, from a yes or a no."""
    pair = tuple(row[name] for name in _PAIR)
    said = None if row["error"] is not None else parse_yes_no(row["text"])
    if said is None:
        yield (*pair, None, None, *unreadable_outcome(row["finish_reason"], row["error"], NEITHER_YES_NOR_NO))
    else:
        yield (*pair, said, row["probability"], "ok", "")


def _of_sample(row: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """The judgements on all pairs of a sample, from one flag each."""
    pairs = row["pairs"]
    flags: Sequence[bool] | None = None if row["error"] is not None else parse_flags(row["text"], len(pairs))
    outcome, reason = "ok", ""
    if flags is None:
        outcome, reason = unreadable_outcome(
            row["finish_reason"], row["error"], "the reply does not say yes or no to each pair"
        )
    for pair, said in zip(pairs, [None] * len(pairs) if flags is None else flags, strict=True):
        yield (
            pair["pair_id"],
            row["caption_id"],
            row["source"],
            pair["position"],
            said,
            None,
            outcome,
            reason,
        )
