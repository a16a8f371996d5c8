"""Generation of question-answer pairs from spatial captions (paper 3.2.1, step 2)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import polars as pl

from spare_assets.engines.chat import ChatRequest
from spare_assets.storage.schemas import TABLES
from spare_assets.synthesis.analyst import Analyst
from spare_assets.synthesis.pair_ids import with_pair_ids
from spare_assets.synthesis.reply_parsing import parse_pairs


class GeneratedBatch(NamedTuple):
    """Pairs of a batch of captions, and one outcome per caption."""

    pairs: pl.DataFrame
    outcomes: pl.DataFrame


def pairs_question(analyst: Analyst, row: Mapping[str, Any]) -> ChatRequest:
    """The question asked of one spatial caption."""
    return analyst.write_pairs(row["caption"])


def generated_pairs(answers: Iterable[pl.DataFrame], max_pairs: int) -> Iterator[GeneratedBatch]:
    """Pairs and outcomes from answered captions, in their order.

    Rows: caption_id, source, text, finish_reason, error. A reply that was cut keeps its complete pairs.
    """
    pair_schema, outcome_schema = TABLES["qa_pairs"].polars(), TABLES["generation_outcomes"].polars()
    for batch in answers:
        pairs: list[tuple[str, str, int, str, str]] = []
        outcomes: list[tuple[str, str, str, int, str]] = []
        for row in batch.iter_rows(named=True):
            caption_id, source = row["caption_id"], row["source"]
            if row["error"] is not None:
                outcomes.append((caption_id, source, "failed", 0, row["error"]))
                continue
            parsed = parse_pairs(row["text"], row["finish_reason"], max_pairs)
            outcomes.append((caption_id, source, parsed.outcome, len(parsed.pairs), parsed.reason))
            pairs.extend(
                (caption_id, source, position, question, answer)
                for position, (question, answer) in enumerate(parsed.pairs)
            )
        columns = {name: pair_schema[name] for name in ("caption_id", "source", "position", "question", "answer")}
        yield GeneratedBatch(
            with_pair_ids(pl.DataFrame(pairs, schema=columns, orient="row")).select(list(pair_schema)),
            pl.DataFrame(outcomes, schema=outcome_schema, orient="row"),
        )


def generation_parts(outcomes: pl.LazyFrame, pairs: pl.LazyFrame) -> dict[str, int]:
    """What spatial captions became: with pairs (counted in the table of pairs), with none, and failed."""
    failed = pl.col("outcome") == "failed"
    none, lost = outcomes.select(a=((pl.col("pairs") == 0) & ~failed).sum(), b=failed.sum()).collect().row(0)
    with_pairs = pairs.select(pl.col("caption_id").n_unique()).collect().item()
    return {"with pairs": with_pairs, "with none": none, "failed": lost}
