"""The five checks in their order, with the tables each fills, and what verdicts have in common.

How a check decides belongs to its own module; counting whole stages belongs to the funnel.
"""

from __future__ import annotations

import polars as pl

CHECKS = {
    "deduplication": ("deduplicated_pairs", "deduplication_verdicts"),
    "reference": ("reference_checked_pairs", "reference_verdicts"),
    "grounding": ("grounded_pairs", "grounding_verdicts"),
    "alignment": ("aligned_pairs", "alignment_verdicts"),
    "spatial": ("spatial_pairs", "spatial_verdicts"),
}
"""Check: the table of pairs it keeps, and its verdict table."""


def judged_pairs(pairs: pl.LazyFrame, verdicts: pl.LazyFrame) -> pl.LazyFrame:
    """The pairs with what their verdicts say, and `judged`: the pair that the verdict is on.

    Both tables hold the same pairs in the same order, so that they need not be joined: nothing is held in memory. Where
    they don't, `judged` is another pair than `pair_id`, or one of both is null.
    """
    beside = verdicts.select("kept", "score", "reason", judged="pair_id")
    return pl.concat([pairs, beside], how="horizontal_extend")


def unscored_rows() -> pl.Expr:
    """Verdicts that passed without having been measured."""
    return pl.col("score").is_null() & pl.col("reason").str.starts_with("passed unscored")


def drop_reasons(verdicts: pl.LazyFrame, most: int = 12) -> pl.DataFrame:
    """Reasons of rows not kept, with what differs from row to row masked, most frequent first."""
    return (
        verdicts.filter(~pl.col("kept"))
        .select(reason=pl.col("reason").str.replace_all(r"'[^']*'|\"[^\"]*\"", "…").str.replace_all(r"\d+", "#"))
        .group_by("reason")
        .agg(rows=pl.len())
        .sort("rows", "reason", descending=[True, False])
        .head(most)
        .collect()
    )
