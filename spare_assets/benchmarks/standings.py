"""What the leaderboard needs to know of each model, from its record and its predictions.

Belongs here: which model a trained one started from, which questions are clean, headline metrics by column. Rows and
renderings of the leaderboard do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from spare_assets.benchmarks.catalog import CATALOG, columns
from spare_assets.benchmarks.leaderboard import ModelScores
from spare_assets.benchmarks.metrics import Metric
from spare_assets.benchmarks.scoring import measured
from spare_assets.settings import ReleasedModel, Settings, TrainedModel
from spare_assets.training.contamination import comparable_images

_NO_ANSWER = ("unparsed", "truncated")
_NO_REPLY = ("not asked", "failed")


@dataclass(frozen=True, slots=True)
class Scored:
    """A model's predictions on one benchmark, and how it was asked, from the table's metadata.

    `questions` is the version of the questions it was asked; `resolution` and `system_prompt` are in words.
    """

    predictions: pl.LazyFrame
    questions: str
    resolution: str
    system_prompt: str | None


def of_one_version(scored: Mapping[str, Scored], latest: str) -> dict[str, Scored]:
    """The models that were asked the same questions as the one scored last, by model key; others don't compare."""
    return {model: one for model, one in scored.items() if one.questions == scored[latest].questions}


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
    scored: Mapping[str, Scored],
    unclean: Mapping[str, pl.Series],
    settings: Settings,
) -> ModelScores:
    """The standing of the model of a row of `checkpoint`.

    `scored` are its predictions by benchmark. `unclean` names the items whose images stand in the dataset or could not
    be compared, of each benchmark whose images could be checked; what is scored with one of them is not clean either,
    such as the mirror image of its picture.
    """
    key = record["model"]
    metrics: dict[str, Metric] = {}
    clean: dict[str, Metric | None] = {}
    chance: dict[str, float | None] = {}
    unparsed: dict[str, float] = {}
    unanswered: dict[str, float] = {}
    for name, one in scored.items():
        benchmark, rows = CATALOG[name], one.predictions
        over_all = _over_all(measured(rows, benchmark))
        guessed = _over_all(measured(rows, benchmark, "chance"))
        of_clean = None if name not in unclean else _over_all(measured(_clean(rows, unclean[name]), benchmark))
        for column, headline in columns(benchmark).items():
            if (metric := over_all.get(headline)) is None:
                continue
            metrics[column] = metric
            clean[column] = None if of_clean is None else of_clean.get(headline)
            guess = guessed.get(headline)
            chance[column] = guess.value if guess and guess.guessable else None
            unparsed[column], unanswered[column] = _unparsed(rows), _unanswered(rows)
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
        unanswered,
        "; ".join(sorted({one.resolution for one in scored.values()})),
        "; ".join(sorted({one.system_prompt for one in scored.values() if one.system_prompt})) or None,
    )


def unclean_items(
    contaminated: pl.LazyFrame, benchmark_images: pl.LazyFrame, coverage: pl.DataFrame
) -> dict[str, pl.Series]:
    """Items by benchmark whose images stand in the dataset or can't be compared with it.

    A benchmark that could not be checked is left out, never empty.
    """
    incomparable = benchmark_images.filter(~comparable_images())
    both = [frame.select("benchmark", item=_item()) for frame in (contaminated, incomparable)]
    found = pl.concat(both).unique().collect()
    checked = coverage.filter(pl.col("checked") != "no")["benchmark"]
    return {key: found.filter(pl.col("benchmark") == key)["item"] for key in checked}


def resolution_in_words(kind: str, low: int | None, high: int | None) -> str:
    """How large the pictures a model of this kind is shown are, in pixels between `low` and `high`."""
    if kind == "endpoint":
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


def _clean(rows: pl.LazyFrame, unclean: pl.Series) -> pl.LazyFrame:
    groups = rows.filter(_item().is_in(unclean.implode())).select("group")
    return rows.join(groups, on="group", how="anti", maintain_order="left")


def _unanswered(rows: pl.LazyFrame) -> float:
    """Share of questions that count as wrong for want of a reply."""
    scored = rows.filter(pl.col("score").is_not_null())
    return float(scored.select(pl.col("outcome").is_in(_NO_REPLY).mean()).collect().item() or 0.0)


def _unparsed(rows: pl.LazyFrame) -> float:
    """Share of replies that no answer could be read from."""
    replied = rows.filter(pl.col("score").is_not_null() & ~pl.col("outcome").is_in(_NO_REPLY))
    share = replied.select(pl.col("outcome").is_in(_NO_ANSWER).mean()).collect().item()
    return float(share or 0.0)
