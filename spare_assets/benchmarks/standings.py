"""What the leaderboard needs to know of each model, from its record and its predictions.

Belongs here: which model a trained one started from, which questions are clean, headline metrics by column. Rows and
renderings of the leaderboard do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from spare_assets.benchmarks.catalog import CATALOG, columns
from spare_assets.benchmarks.examinees import resolution, system_prompt
from spare_assets.benchmarks.leaderboard import ModelScores
from spare_assets.benchmarks.metrics import Metric
from spare_assets.benchmarks.scoring import measured
from spare_assets.settings import ReleasedModel, Settings, TrainedModel

_NO_ANSWER = ("unparsed", "truncated")
_NEVER_PUT = ("not asked", "unreadable record", "failed")


def base_of(model: str, settings: Settings) -> str | None:
    """The key of the released model that a trained one started from; None where the profile declares none."""
    trained = settings.models[model]
    if not isinstance(trained, TrainedModel):
        return None
    recipe = settings.training.recipes[trained.recipe]
    for key, other in settings.models.items():
        if isinstance(other, ReleasedModel) and (other.model, other.revision) == (recipe.base, recipe.revision):
            return key
    return None


def model_scores(
    record: Mapping[str, Any],
    predictions: Mapping[str, pl.LazyFrame],
    contaminated: Mapping[str, pl.Series],
    settings: Settings,
) -> ModelScores:
    """The standing of the model of a row of `checkpoint`.

    `predictions` are its tables by benchmark. `contaminated` names the items whose images stand in the dataset, of each
    benchmark whose images could be checked.
    """
    key = record["model"]
    metrics: dict[str, Metric] = {}
    clean: dict[str, Metric | None] = {}
    chance: dict[str, float | None] = {}
    unparsed: dict[str, float] = {}
    for name, rows in predictions.items():
        benchmark = CATALOG[name]
        over_all = _over_all(measured(rows, benchmark))
        guessed = _over_all(measured(rows, benchmark, "chance"))
        kept = None if name not in contaminated else rows.filter(~_item().is_in(contaminated[name].implode()))
        of_clean = None if kept is None else _over_all(measured(kept, benchmark))
        for column, headline in columns(benchmark).items():
            if (metric := over_all.get(headline)) is None:
                continue
            metrics[column] = metric
            clean[column] = None if of_clean is None else of_clean.get(headline)
            guess = guessed.get(headline)
            chance[column] = guess.value if guess and guess.guessable else None
            unparsed[column] = _unparsed(rows)
    trained = settings.models[key]
    recipe = trained.recipe if isinstance(trained, TrainedModel) else None
    return ModelScores(
        key,
        record["kind"],
        metrics,
        recipe,
        record["seed"],
        base_of(key, settings),
        recipe is not None and settings.training.recipes[recipe].rows == "caption_training_samples",
        clean,
        chance,
        unparsed,
        resolution_in_words(record, settings),
        system_prompt(record, settings),
    )


def contaminated_items(images: pl.LazyFrame, coverage: pl.DataFrame) -> dict[str, pl.Series]:
    """Items of `contaminated_images` by benchmark; a benchmark that could not be checked is left out, never empty."""
    found = images.select("benchmark", item=_item()).unique().collect()
    checked = coverage.filter(pl.col("checked") != "no")["benchmark"]
    return {key: found.filter(pl.col("benchmark") == key)["item"] for key in checked}


def resolution_in_words(record: Mapping[str, Any], settings: Settings) -> str:
    """How large the pictures a model is shown are."""
    low, high = resolution(record, settings)
    if record["kind"] == "endpoint":
        return "the server's own"
    if low is None and high is None:
        return "the processor's own"
    if low == high:
        return f"{low:,} px"
    if low is None:
        return f"at most {high:,} px"
    return f"at least {low:,} px" if high is None else f"{low:,}–{high:,} px"


def _item() -> pl.Expr:
    """The question an image belongs to: of several images of one, each is named by number after a slash."""
    return pl.col("item").str.replace(r"/\d+$", "")


def _over_all(metrics: list[Metric]) -> dict[str, Metric]:
    return {metric.name: metric for metric in metrics if not metric.category}


def _unparsed(rows: pl.LazyFrame) -> float:
    """Share of replies that no answer could be read from."""
    replied = rows.filter(~pl.col("outcome").is_in(_NEVER_PUT))
    share = replied.select(pl.col("outcome").is_in(_NO_ANSWER).mean()).collect().item()
    return float(share or 0.0)
