"""What reviewers' verdicts say: error and hallucination rates, agreement, labels of captions (paper 3.4, 3.5, B.2).

Takes verdicts that were read and checked; files are not known here.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import polars as pl

from spare_assets.review.agreement import cohens_kappa, wilson_interval
from spare_assets.review.items import ERRORS, UNCLEAR
from spare_assets.storage.schemas import TABLES

METRICS = ("error", *ERRORS, UNCLEAR)
_EVERYONE = ""


def review_results(verdicts: pl.DataFrame, sample: pl.DataFrame, confidence: float = 1.96) -> pl.DataFrame:
    """Rates over all pairs, by source and by relation, for each reviewer and for all together.

    `verdicts` is `review_verdicts`, `sample` is `review_sample`. A pair that several marked counts once, by the share
    of them who said so, so that a second reviewer narrows no interval. Unclear marks are in no rate but their own.
    """
    schema = TABLES["review_results"]
    marked = verdicts.filter(pl.col("kind") == "pair").join(
        sample.select(item="pair_id", relations="relations"), on="item", how="inner"
    )
    if marked.is_empty():
        return schema.empty()
    reviewers = marked["reviewer"].unique().sort().to_list()
    rows = list(_rates(marked, _EVERYONE, confidence))
    for reviewer in reviewers:
        rows += _rates(marked.filter(pl.col("reviewer") == reviewer), reviewer, confidence)
    return pl.DataFrame(rows, schema=schema.polars(), orient="row").sort(schema.key)


def _rates(marked: pl.DataFrame, reviewer: str, confidence: float) -> Iterator[tuple[Any, ...]]:
    scopes = {
        "all": marked.with_columns(group=pl.lit("")),
        "source": marked.with_columns(group="source"),
        "relation": marked.explode("relations")
        .filter(pl.col("relations").is_not_null())
        .rename({"relations": "group"}),
    }
    for scope, rows in scopes.items():
        for (group,), of_group in sorted(rows.partition_by("group", as_dict=True).items()):
            for metric in METRICS:
                judged = of_group if metric == UNCLEAR else of_group.filter(pl.col("verdict") != UNCLEAR)
                said = pl.col("verdict").is_in(ERRORS) if metric == "error" else pl.col("verdict") == metric
                shares = judged.group_by("item").agg(said.mean().alias("share")).sort("item")["share"]
                total, found = shares.len(), float(shares.sum())
                low, high = wilson_interval(found, total, confidence) or (None, None)
                rate = found / total if total else None
                yield metric, scope, group, reviewer, rate, low, high, found, total


def review_agreement(verdicts: pl.DataFrame) -> pl.DataFrame:
    """Cohen's kappa of every two reviewers over what both marked; two without anything in common have no row."""
    schema = TABLES["review_agreement"]
    rows = []
    for kind, reviewer, other, both in _twos(verdicts):
        found = cohens_kappa(both["verdict"].to_list(), both["other_verdict"].to_list())
        rows.append((kind, reviewer, other, *found))
    return pl.DataFrame(rows, schema=schema.polars(), orient="row").sort(schema.key)


def review_disagreements(verdicts: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """What two reviewers marked differently, with its text; `items` is everything there was to mark."""
    schema = TABLES["review_disagreements"]
    parts = [
        both.filter(pl.col("verdict") != pl.col("other_verdict")).with_columns(
            kind=pl.lit(kind), reviewer=pl.lit(reviewer), other=pl.lit(other)
        )
        for kind, reviewer, other, both in _twos(verdicts)
    ]
    if not parts:
        return schema.empty()
    named = pl.concat(parts).join(items.select("kind", "item", "text"), on=["kind", "item"], how="left")
    return named.select(schema.names).sort(schema.key)


def caption_labels(verdicts: pl.DataFrame, captions: pl.DataFrame) -> pl.DataFrame:
    """Labels of captions for the filter ablation; `captions` is `caption_review_sample`. Unclear marks are left out."""
    schema = TABLES["caption_labels"]
    labels = verdicts.filter((pl.col("kind") == "caption") & (pl.col("verdict") != UNCLEAR))
    return (
        labels.select("reviewer", caption_id="item", spatial=pl.col("verdict") == "spatial")
        .join(captions.select("caption_id", "source", "judged_spatial", "weight"), on="caption_id", how="inner")
        .select(schema.names)
        .sort(schema.key)
    )


def _twos(verdicts: pl.DataFrame) -> Iterator[tuple[str, str, str, pl.DataFrame]]:
    """Every two reviewers who marked something in common, kind by kind: kind, the two, and their verdicts."""
    said = ["item", "verdict", "comment"]
    for (kind,), rows in sorted(verdicts.partition_by("kind", as_dict=True).items()):
        for reviewer, other in combinations(rows["reviewer"].unique().sort().to_list(), 2):
            of_one, of_other = (rows.filter(pl.col("reviewer") == name).select(said) for name in (reviewer, other))
            both = of_one.join(
                of_other.rename({"verdict": "other_verdict", "comment": "other_comment"}), on="item", how="inner"
            ).sort("item")
            if both.height:
                yield str(kind), reviewer, other, both
