"""Scores as ratios of sums over units, with bootstrap intervals and paired comparisons.

Every score here is, up to a scale, a sum over strata of (sum of numerators) / (sum of denominators): an accuracy has
one stratum and a denominator of 1 per question, pair accuracy one term per pair, F1 2TP over 2TP + FP + FN, and MME's
perception two strata for each of ten subtasks. A unit is what is drawn together: questions that share a picture or
are passes of one another. Which terms a benchmark's score has is not known here.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

TERMS = pl.Schema({"unit": pl.String(), "stratum": pl.String(), "numerator": pl.Float64(), "denominator": pl.Float64()})
_DRAWS_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Metric:
    """One score: its name, the category it is of ("" for all questions), its terms (`TERMS`), what 1.0 is worth.

    `guessable` tells whether chances in place of scores give what guessing scores; of an F1 they don't.
    """

    name: str
    category: str
    terms: pl.DataFrame
    scale: float = 100.0
    guessable: bool = True

    @property
    def units(self) -> int:
        """How many units it is over."""
        return self.terms["unit"].n_unique()

    @property
    def value(self) -> float | None:
        """The score; None where there is nothing to score, or a chance of guessing right is unknown."""
        if self.terms["numerator"].has_nulls():
            return None
        # In the order of the terms: sums in another order differ in their last bits from run to run.
        sums = self.terms.group_by("stratum", maintain_order=True).agg(pl.col("numerator", "denominator").sum())
        sums = sums.filter(pl.col("denominator") > 0)
        if not sums.height:
            return None
        return self.scale * float((sums["numerator"] / sums["denominator"]).sum())


def mean_score(predictions: pl.DataFrame, name: str, category: str = "", unit: pl.Expr | None = None) -> Metric:
    """Mean of `score`. `unit` tells what is drawn together; each question by itself where it is absent."""
    one = pl.col("item") if unit is None else unit
    terms = predictions.select(
        unit=one.cast(pl.String), stratum=pl.lit(name), numerator=pl.col("score"), denominator=pl.lit(1.0)
    )
    return Metric(name, category, terms.cast(TERMS))


def all_right(
    predictions: pl.DataFrame, name: str, group: Sequence[pl.Expr], category: str = "", unit: pl.Expr | None = None
) -> Metric:
    """Share of groups whose questions are all right; of chances, the chance that all are.

    `unit` is taken from a group's first question; the group by itself where it is absent.
    """
    key = pl.concat_str([part.cast(pl.String) for part in group], separator="\x1f")
    grouped = (
        predictions.with_columns(group=key)
        .with_columns(unit=pl.col("group") if unit is None else unit.cast(pl.String))
        .group_by("group", maintain_order=True)
        # A product that meets a null skips it, and would take an unknown chance for certainty.
        .agg(
            pl.col("unit").first(),
            pl.when(pl.col("score").has_nulls()).then(None).otherwise(pl.col("score").product()).alias("numerator"),
        )
    )
    terms = grouped.select("unit", stratum=pl.lit(name), numerator="numerator", denominator=pl.lit(1.0))
    return Metric(name, category, terms.cast(TERMS))


def combined(name: str, parts: Sequence[Metric], category: str = "", scale: float = 100.0) -> Metric:
    """The sum of several metrics as one, each a stratum of its own: what MME reports."""
    terms = [
        part.terms.with_columns(stratum=pl.format("{}/{}", pl.lit(str(place)), "stratum"))
        for place, part in enumerate(parts)
    ]
    return Metric(name, category, pl.concat(terms) if terms else pl.DataFrame(schema=TERMS), scale)


def interval(metric: Metric, draws: int = 2000) -> tuple[float, float] | None:
    """95 % percentile bootstrap interval: units are drawn with replacement, with a seed that the name decides.

    None where there are fewer than two units or no value.
    """
    if metric.units < 2 or metric.value is None:
        return None
    values = _resampled([[metric]], draws, f"{metric.name}/{metric.category}")[0]
    values = values[~np.isnan(values)]
    if not len(values):
        return None
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def paired_p_value(ours: Sequence[Metric], theirs: Sequence[Metric], draws: int = 2000) -> float | None:
    """Two-sided p-value of no difference between two models, each the mean over its seeds, by a paired bootstrap.

    The units that all have in common are drawn together; of several seeds, seeds are drawn too. None where units
    are fewer than two.
    """
    every = [*ours, *theirs]
    shared = set(every[0].terms["unit"]) if every else set()
    for metric in every[1:]:
        shared &= set(metric.terms["unit"])
    if not ours or not theirs or len(shared) < 2 or any(metric.value is None for metric in every):
        return None
    units = pl.DataFrame({"unit": sorted(shared)}, schema={"unit": pl.String})

    def common(metric: Metric) -> Metric:
        terms = metric.terms.join(units, on="unit", how="semi", maintain_order="left")
        return Metric(metric.name, metric.category, terms, metric.scale)

    mine, other = _resampled([[common(m) for m in ours], [common(m) for m in theirs]], draws, ours[0].name)
    differences = mine - other
    differences = differences[~np.isnan(differences)]
    if not len(differences):
        return None
    # Ties count on both sides, and no finite number of draws shows a p of zero.
    tail = min((differences <= 0).sum(), (differences >= 0).sum())
    return float(min(1.0, 2 * (tail + 1) / (len(differences) + 1)))


def _resampled(models: Sequence[Sequence[Metric]], draws: int, name: str) -> list[NDArray[np.float64]]:
    """For each model the score in each draw of units and seeds; NaN where no denominator was drawn."""
    units = sorted({unit for seeds in models for metric in seeds for unit in metric.terms["unit"]})
    places = pl.DataFrame({"unit": units, "place": range(len(units))}, schema={"unit": pl.String, "place": pl.Int64})
    sums = [[_by_unit(metric, places, len(units)) for metric in seeds] for seeds in models]
    # Units alike in every term are interchangeable: how many of each distinct one are drawn takes few random numbers.
    terms = np.hstack([part for seeds in sums for metric in seeds for part in metric])
    _, distinct, sizes = np.unique(terms, axis=0, return_index=True, return_counts=True)
    random = np.random.default_rng(zlib.crc32(name.encode()))
    found: list[list[NDArray[np.float64]]] = [[] for _ in models]
    for start in range(0, draws, _DRAWS_AT_ONCE):
        size = min(_DRAWS_AT_ONCE, draws - start)
        counts = random.multinomial(len(units), sizes / len(units), size=size).astype(np.float64)
        for place, seeds in enumerate(sums):
            values = [
                metric.scale * _ratio(counts @ numerators[distinct], counts @ denominators[distinct])
                for metric, (numerators, denominators) in zip(models[place], seeds, strict=True)
            ]
            drawn = random.multinomial(len(seeds), np.full(len(seeds), 1 / len(seeds)), size=size)
            found[place].append((np.array(values) * drawn.T).sum(axis=0) / len(seeds))
    return [np.concatenate(values) for values in found]


def _by_unit(metric: Metric, places: pl.DataFrame, units: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Numerators and denominators, [units, strata]."""
    strata = metric.terms["stratum"].unique().sort().to_list()
    sums = metric.terms.group_by("unit", "stratum").agg(pl.col("numerator", "denominator").sum())
    sums = sums.join(places, on="unit")
    numerators, denominators = np.zeros((units, len(strata))), np.zeros((units, len(strata)))
    columns = [strata.index(stratum) for stratum in sums["stratum"]]
    numerators[sums["place"].to_numpy(), columns] = sums["numerator"].to_numpy()
    denominators[sums["place"].to_numpy(), columns] = sums["denominator"].to_numpy()
    return numerators, denominators


def _ratio(numerators: NDArray[np.float64], denominators: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum over strata of their ratios, [draws]; a stratum without a denominator makes it NaN."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((numerators / denominators).sum(axis=1))


def by_category(predictions: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """The predictions of each category, in order of their names; nothing where there are no categories."""
    for (category,), rows in sorted(predictions.group_by("category"), key=lambda part: str(part[0])):
        if category:
            yield str(category), rows
