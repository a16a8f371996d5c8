"""Every model's answer to the same questions, side by side (paper 4.5.6, 4.5.7, Figures 2 and 4).

Belongs here: putting predictions of several models next to each other, telling what training gained and lost, and
choosing questions to show. How they are shown does not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import polars as pl

from spare_assets.storage.schemas import TABLES

Contrast = Literal["gained", "lost", "both right", "both wrong"]
CONTRASTS: tuple[Contrast, ...] = get_args(Contrast)

RIGHT_FROM = 0.5
"""Credit from which an answer counts as right here; only TextVQA gives parts of it."""

_CHUNK_ROWS = 16_384
_NEVER_ASKED = ("not asked", "unreadable record")
_TAKEN = [name for name in TABLES["model_comparison"].names if name not in ("benchmark", "contrast")]


def comparison_rows(
    predictions: Mapping[str, Mapping[str, pl.LazyFrame]], bases: Mapping[str, str], *, chunk_rows: int = _CHUNK_ROWS
) -> Iterator[pl.DataFrame]:
    """Rows of `model_comparison`, sorted by its key, in batches of about `chunk_rows`.

    `predictions` holds the `<benchmark>_predictions` of each model, by benchmark and model key; `bases` names the base
    of each trained model. Questions that fewer than two models were asked have no row. `contrast` is of a trained
    model against its base; it is null where either was not asked or its request failed, which tells nothing of what a
    model knows. Besides one batch, the items of one benchmark are held.
    """
    for benchmark, of_models in sorted(predictions.items()):
        asked = [
            frame.filter(~pl.col("outcome").is_in(_NEVER_ASKED)).with_columns(model=pl.lit(model))
            for model, frame in sorted(of_models.items())
        ]
        if len(asked) < 2:
            continue
        items = _shared_items(asked)
        step = max(1, chunk_rows // len(asked))
        for start in range(0, len(items), step):
            chosen = items[start : start + step]
            # The tables are sorted by item: a range of them is read without the rest.
            within = pl.col("item").is_between(pl.lit(chosen[0]), pl.lit(chosen[-1]))
            within &= pl.col("item").is_in(chosen.to_list())
            rows = pl.concat([frame.filter(within).select(*_TAKEN, "outcome") for frame in asked]).collect()
            yield _contrasted(rows, benchmark, bases)


def _shared_items(asked: list[pl.LazyFrame]) -> pl.Series:
    """Questions that at least two of these models were asked, sorted."""
    models = pl.concat([frame.select("item") for frame in asked]).group_by("item").len()
    return models.filter(pl.col("len") > 1).select(pl.col("item").sort()).collect(engine="streaming").to_series()


def _contrasted(rows: pl.DataFrame, benchmark: str, bases: Mapping[str, str]) -> pl.DataFrame:
    """Rows of whole questions with their contrast, in the table's columns and order."""
    table = TABLES["model_comparison"]
    right = pl.when(pl.col("outcome") != "failed").then(pl.col("score") >= RIGHT_FROM)
    base_of = pl.DataFrame(
        {"model": list(bases), "base": list(bases.values())}, schema=dict.fromkeys(("model", "base"), pl.String)
    )
    rows = rows.with_columns(benchmark=pl.lit(benchmark), right=right).join(base_of, on="model", how="left")
    base_right = rows.select("item", base="model", base_right="right")
    contrast = (
        pl.when(pl.col("right").is_null() | pl.col("base_right").is_null())
        .then(None)
        .when("right")
        .then(pl.when("base_right").then(pl.lit("both right")).otherwise(pl.lit("gained")))
        .otherwise(pl.when("base_right").then(pl.lit("lost")).otherwise(pl.lit("both wrong")))
    )
    compared = rows.join(base_right, on=["item", "base"], how="left").with_columns(contrast=contrast)
    return compared.select(table.names).cast(table.polars()).sort(table.key)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which questions to show: empty `contrasts` or `benchmarks` mean all, `category` is part of its name.

    `each` bounds the questions of one benchmark and contrast.
    """

    contrasts: tuple[Contrast, ...] = ()
    benchmarks: tuple[str, ...] = ()
    category: str = ""
    each: int = 6


def select_questions(rows: pl.LazyFrame, selection: Selection) -> pl.DataFrame:
    """All models' rows of the questions chosen, sorted by key.

    Of each benchmark and contrast those with the smallest hash of the question's name are taken, so that the choice
    is stable and a smaller one is part of a larger. A question that several trained models stand differently to counts
    for each contrast; those without any are a group of their own, shown only where no contrast is asked for.
    """
    wanted = pl.lit(True)
    if selection.benchmarks:
        wanted &= pl.col("benchmark").is_in(selection.benchmarks)
    if selection.category:
        lower = pl.col("category").fill_null("").str.to_lowercase()
        wanted &= lower.str.contains(selection.category.lower(), literal=True)
    question = ["benchmark", "item"]
    found = (
        rows.filter(wanted)
        .group_by(question)
        .agg(contrast=pl.col("contrast").drop_nulls().unique())
        .explode("contrast", empty_as_null=True, keep_nulls=True)
    )
    if selection.contrasts:
        found = found.filter(pl.col("contrast").is_in(selection.contrasts))
    named = found.collect(engine="streaming")
    order = [
        hashlib.sha256(f"{benchmark}/{item}".encode()).digest() for benchmark, item in named.select(question).rows()
    ]
    chosen = (
        named.with_columns(order=pl.Series(order, dtype=pl.Binary))
        .sort("order")
        .group_by("benchmark", "contrast", maintain_order=True)
        .head(selection.each)
        .select(question)
        .unique()
    )
    return (
        rows.join(chosen.lazy(), on=question, how="semi")
        .sort(TABLES["model_comparison"].key)
        .collect(engine="streaming")
    )


def contrast_counts(rows: pl.LazyFrame) -> pl.DataFrame:
    """How often each contrast occurs: benchmark, model, and a column per contrast; by benchmark and model."""
    counts = [(pl.col("contrast") == contrast).sum().alias(contrast) for contrast in CONTRASTS]
    compared = rows.filter(pl.col("contrast").is_not_null())
    return compared.group_by("benchmark", "model").agg(counts).sort("benchmark", "model").collect(engine="streaming")
