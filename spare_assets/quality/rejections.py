"""The drop ledger: every generated pair that did not survive, with the check that dropped it, and why."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from spare_assets.storage.schemas import TABLES


def rejected_pairs(pairs: pl.LazyFrame, captions: pl.LazyFrame, verdicts: Mapping[str, pl.LazyFrame]) -> pl.LazyFrame:
    """Rows of `rejected_pairs`, sorted by its key: what each check dropped of the pairs that reached it.

    `verdicts` maps the name of a check to its verdict table; `pairs` are all that were generated, `captions` hold
    caption_id and caption.
    """
    table = TABLES["rejected_pairs"]
    dropped = [judged.filter(~pl.col("kept")).with_columns(check=pl.lit(check)) for check, judged in verdicts.items()]
    return (
        pl.concat(dropped)
        .join(pairs.select("pair_id", "question", "answer"), on="pair_id", how="left")
        .join(captions.select("caption_id", "caption"), on="caption_id", how="left")
        .select(table.names)
        .sort(table.key)
    )
