"""How much filtering and generation will use for a whole source, from a sample of its captions.

Sample size, the estimate and its interval belong here. Asking does not, nor which captions are asked.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spare_assets.analyses.asked_captions import USE
from spare_assets.analyses.prices import cost, in_flight
from spare_assets.settings import EngineSettings, ForecastSettings, Price
from spare_assets.storage.schemas import TABLES

Values = NDArray[np.float64]
FILTER, GENERATION, TOTAL = "spatial_captions", "qa_pairs", "total"
_HIGHEST_LEVERAGE = 0.9
_ROUNDING = 1e-9
_FAILED = pl.col("outcome") == "failed"
_TOKENS = ("prompt_tokens", "completion_tokens")


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its bounds."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Population:
    """What is known of every caption: how many there are, and how many words they have together."""

    captions: int
    words: int


@dataclass(frozen=True, slots=True)
class Asked:
    """How one stage is asked: its engine and what that costs."""

    engine: EngineSettings
    price: Price | None


def sample_size(captions: int, settings: ForecastSettings) -> int:
    """Captions to ask of a source that has so many."""
    wanted = max(math.ceil(captions * settings.share), settings.minimum)
    return min(wanted, max(settings.maximum, settings.minimum), captions)


def estimate_total(used: Values, words: Values, population: Population, level: float) -> Interval:
    """The total of `used` over all captions, from what the sampled ones used and how many words they have.

    The regression estimator: use is taken as linear in the caption's length, and the line is read at the mean length
    of the source, which is known. The interval is Student's, from residuals corrected for leverage, and narrows to
    nothing as the sample becomes the whole. It never falls below what the sample itself used.
    """
    sampled, total = len(used), float(used.sum())
    if sampled >= population.captions:
        return Interval(total, total, total)
    design = np.column_stack([np.ones(sampled), words])
    hat = np.linalg.pinv(design)
    slope = hat @ used
    leverage = np.einsum("ij,ji->i", design, hat)
    residuals = (used - design @ slope) / (1 - np.minimum(leverage, _HIGHEST_LEVERAGE))
    estimate = float(np.array([population.captions, population.words]) @ slope)
    freedom = max(sampled - 2, 1)
    deviation = population.captions * math.sqrt(
        (1 - sampled / population.captions) * float(residuals @ residuals) / (sampled * max(sampled - 1, 1))
    )
    # Where use is linear in length to the last token, rounding is all that is left.
    margin = max(_student(level, freedom) * deviation, _ROUNDING * abs(estimate))
    return Interval(max(estimate, total), max(estimate - margin, total), max(estimate + margin, total))


def estimate_count(holds: Values, words: Values, population: Population, level: float) -> Interval:
    """As `estimate_total`, of captions that something holds of (1) or not (0).

    Where it holds of all sampled ones or of none, the exact bound on a share never seen takes the line's place.
    """
    found = estimate_total(holds, words, population, level)
    rest = population.captions - len(holds)
    if rest > 0 and holds.min() == holds.max():
        unseen = rest * (1 - (1 - level) ** (1 / len(holds)))
        share = float(holds[0]) * population.captions
        return Interval(share, share - unseen, share) if holds[0] else Interval(0.0, 0.0, unseen)
    return Interval(min(found.estimate, population.captions), found.low, min(found.high, population.captions))


def sample_use(sample: pl.DataFrame, verdicts: pl.DataFrame, outcomes: pl.DataFrame) -> pl.DataFrame:
    """What `forecast` reads, from the sample's words, its verdicts and the outcomes of the spatial ones.

    Captions with a failed request are left out: of what they would have used nothing is known.
    """
    filtered, written = (
        rows.select("caption_id", *(pl.col(name).alias(f"{stage}_{name}") for name in USE), *about, failed=_FAILED)
        for stage, rows, about in (
            (FILTER, verdicts, [pl.col("kept").alias("spatial")]),
            (GENERATION, outcomes, [pl.col("pairs")]),
        )
    )
    joined = sample.select("caption_id", "words").join(filtered, on="caption_id")
    joined = joined.join(written, on="caption_id", how="left", suffix="_later", maintain_order="left")
    lost = pl.col("failed") | pl.col("failed_later").fill_null(False)
    return joined.filter(~lost).drop("failed", "failed_later").fill_null(0)


def forecast(
    source: str,
    sample: pl.DataFrame,
    population: Population,
    asked: dict[str, Asked],
    currency: str,
    level: float,
) -> pl.DataFrame:
    """The table `generation_forecast` of a source.

    `sample` has a row per caption: words, spatial, pairs, and by stage `<stage>_prompt_tokens`,
    `<stage>_completion_tokens` and `<stage>_seconds`, 0 where the caption was not asked about. `asked` says how the
    stages `spatial_captions` and `qa_pairs` ask. Bounds of what is counted are whole numbers.
    """
    words = _values(sample, "words")

    def row(stage: str, quantity: str, unit: str, used: Values | None) -> tuple[str | float | None, ...]:
        if used is None:
            return source, stage, quantity, unit, None, None, None, None
        estimator = estimate_count if quantity == "captions" else estimate_total
        found = estimator(used, words, population, level)
        low, high = found.low, found.high
        if quantity not in ("hours", "cost"):
            # A hair below a whole number is that number.
            low, high = math.floor(low + 1e-6), math.ceil(high - 1e-6)
        return source, stage, quantity, unit, found.estimate, low, high, float(used.sum())

    rows = [
        row(FILTER, "captions", "captions judged spatial", _values(sample, "spatial")),
        row(GENERATION, "pairs", "pairs", _values(sample, "pairs")),
    ]
    sums: dict[str, Values | None] = {}
    for stage in (FILTER, GENERATION):
        for quantity, used in _amounts(sample, stage, asked[stage]):
            rows.append(row(stage, quantity, _unit(quantity, currency), used))
            before = sums.get(quantity, np.zeros(sample.height))
            sums[quantity] = None if used is None or before is None else before + used
    rows += [row(TOTAL, quantity, _unit(quantity, currency), used) for quantity, used in sums.items()]
    schema = TABLES["generation_forecast"].polars()
    return pl.DataFrame(rows, schema=schema, orient="row").sort(TABLES["generation_forecast"].key)


def _amounts(sample: pl.DataFrame, stage: str, asked: Asked) -> Iterator[tuple[str, Values | None]]:
    """What each caption used at a stage, by quantity; None for a cost without a price."""
    prompt, completion = (_values(sample, f"{stage}_{name}") for name in _TOKENS)
    hours = _values(sample, f"{stage}_seconds") / (3600 * in_flight(asked.engine))
    yield "prompt_tokens", prompt
    yield "completion_tokens", completion
    yield "tokens", prompt + completion
    yield "hours", hours
    yield "cost", cost(asked.price, prompt, completion, hours)


def _unit(quantity: str, currency: str) -> str:
    return {"hours": "hours", "cost": currency}.get(quantity, "tokens")


def _values(sample: pl.DataFrame, column: str) -> Values:
    return sample[column].cast(pl.Float64).to_numpy()


def _student(level: float, freedom: int) -> float:
    """Two-sided quantile of Student's distribution, by the first terms of its expansion around the normal one."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
