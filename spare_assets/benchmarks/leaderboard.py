"""The leaderboard: scores of models, means over their seeds and differences to their bases, in rows (Tables 3 and 4).

Which tables scores are read from, and how a row is shown, is not known here.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Literal

import polars as pl

from spare_assets.benchmarks.metrics import Metric, combined, paired_p_value
from spare_assets.benchmarks.reference_figures import (
    AVERAGE,
    GENERAL_COLUMNS,
    SPATIAL_COLUMNS,
    TABLE_3,
    TABLE_4,
    TABLE_4_SOURCE,
    ReferenceRow,
)
from spare_assets.storage.schemas import TABLES

COLUMNS: Mapping[str, str] = MappingProxyType({**SPATIAL_COLUMNS, AVERAGE: "Average", **GENERAL_COLUMNS})
"""Titles of all columns by key, in order."""

Kind = Literal["trained", "base", "endpoint", "random", "reference"]


@dataclass(frozen=True, slots=True)
class ModelScores:
    """What is known of one model. Mappings go by column key; a column that is absent was not scored.

    `base` is the key of the released model it was trained from; `recipe` and `seed` are a trained model's. A clean
    metric is of the questions whose images are not in the dataset, None where images could not be checked. `chance`
    is what guessing scores, None where it can't be told. `unparsed` is a share of the replies, `unanswered` of the
    questions.
    """

    model: str
    kind: Literal["trained", "base", "endpoint"]
    metrics: Mapping[str, Metric]
    recipe: str | None = None
    seed: int | None = None
    base: str | None = None
    caption_trained: bool = False
    clean_metrics: Mapping[str, Metric | None] = field(default_factory=dict)
    chance: Mapping[str, float | None] = field(default_factory=dict)
    unparsed: Mapping[str, float] = field(default_factory=dict)
    unanswered: Mapping[str, float] = field(default_factory=dict)
    resolution: str = ""
    system_prompt: str | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """One score of a row; what its fields mean stands with the columns of the `leaderboard` table.

    Of the average, `units` and `clean_units` are how many columns it is over.
    """

    value: float | None
    deviation: float | None = None
    seeds: int | None = None
    delta: float | None = None
    p_value: float | None = None
    clean_value: float | None = None
    clean_units: int | None = None
    units: int | None = None
    unparsed: float | None = None
    unanswered: float | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class LeaderboardRow:
    """One row: a model, the mean over a recipe's seeds, guessing, or figures printed elsewhere.

    `seeds` is how many models are behind it. `mean_in` names the recipe whose mean, with a row of its own, this one is
    part of.
    """

    name: str
    kind: Kind
    cells: Mapping[str, Cell]
    seeds: int | None = None
    mean_in: str | None = None
    base: str | None = None
    caption_trained: bool = False
    resolution: str | None = None
    system_prompt: str | None = None


def leaderboard(
    models: Sequence[ModelScores], draws: int = 2000, references: Sequence[ReferenceRow] = TABLE_3
) -> list[LeaderboardRow]:
    """Rows in order: released models, endpoints, recipes (mean, then seeds), caption-trained ones, guessing, the paper.

    A recipe's mean has a row where it has two seeds or more. `draws` are those behind each p-value. Raises ValueError
    for a column that is not of the leaderboard, and for two models of one key.
    """
    _check(models)
    bases = {model.model: model for model in models}
    rows = [
        _measured(model.model, [model], None, draws) for kind in ("base", "endpoint") for model in _of(models, kind)
    ]
    for recipe, seeds in _recipes(models):
        several = len(seeds) > 1
        if several:
            rows.append(_measured(recipe, seeds, _shared_base(seeds, bases), draws))
        for model in seeds:
            row = _measured(model.model, [model], _shared_base([model], bases), draws)
            rows.append(replace(row, mean_in=recipe if several else None))
    return [*rows, *_guessing(models), *(_reference(row) for row in references)]


def leaderboard_table(rows: Iterable[LeaderboardRow]) -> pl.DataFrame:
    """The rows in the shape of the `leaderboard` table: one per cell."""
    schema = TABLES["leaderboard"]
    records = [
        {
            "place": place,
            "row": row.name,
            "kind": row.kind,
            "column": column,
            "resolution": row.resolution,
            "system_prompt": row.system_prompt,
            **asdict(cell),
        }
        for place, row in enumerate(rows, 1)
        for column, cell in row.cells.items()
    ]
    return pl.DataFrame(records, schema=schema.polars()).select(schema.names).sort(schema.key)


CAPTION_COMPARISON = pl.Schema(
    {
        "row": pl.String(),
        "trained_on": pl.String(),
        "value": pl.Float64(),
        "deviation": pl.Float64(),
        "seeds": pl.UInt32(),
        "delta": pl.Float64(),
        "p_value": pl.Float64(),
        "columns": pl.UInt32(),
        "source": pl.String(),
    }
)
"""Table 4: `trained_on` is pairs, captions or nothing; `columns` is how many spatial ones the average is over."""


def caption_comparison(rows: Sequence[LeaderboardRow]) -> pl.DataFrame:
    """Table 4 (paper 4.5.5): spatial averages of SpaRE, its base and a caption-trained model, then those printed.

    One group for every base that something was trained from; single seeds are left out where their mean is in.
    """
    compared = [row for row in rows if row.mean_in is None and row.kind in ("trained", "base")]
    trained = [row for row in compared if row.kind == "trained"]
    records = []
    for base in dict.fromkeys(row.base for row in trained):
        family = [row for row in trained if row.base == base]
        released = [row for row in compared if row.kind == "base" and row.name == base]
        family.sort(key=lambda row: row.caption_trained)
        pairs = [row for row in family if not row.caption_trained]
        for row, trained_on in (
            *((row, "pairs") for row in pairs),
            *((row, "nothing") for row in released),
            *((row, "captions") for row in family[len(pairs) :]),
        ):
            cell = row.cells.get(AVERAGE, Cell(None))
            shared = {name: getattr(cell, name) for name in ("value", "deviation", "delta", "p_value", "source")}
            records.append(
                {"row": row.name, "trained_on": trained_on, "seeds": row.seeds, "columns": cell.units, **shared}
            )
    for (name, value), trained_on in zip(TABLE_4.items(), ("pairs", "nothing", "captions"), strict=True):
        records.append({"row": name, "trained_on": trained_on, "value": value, "source": TABLE_4_SOURCE})
    return pl.DataFrame(records, schema=CAPTION_COMPARISON)


def _check(models: Sequence[ModelScores]) -> None:
    keys = [model.model for model in models]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        raise ValueError(f"models that come twice: {', '.join(twice)}")
    known = {*SPATIAL_COLUMNS, *GENERAL_COLUMNS}
    for model in models:
        if unknown := sorted(set(model.metrics) - known):
            raise ValueError(f"{model.model}: no column {', '.join(unknown)}; there are {', '.join(sorted(known))}")


def _of(models: Iterable[ModelScores], kind: str) -> Iterator[ModelScores]:
    return (model for model in models if model.kind == kind)


def _recipes(models: Sequence[ModelScores]) -> Iterator[tuple[str, list[ModelScores]]]:
    """Recipes with their models by seed, those trained on pairs first."""
    trained = sorted(_of(models, "trained"), key=lambda model: model.caption_trained)
    for recipe in dict.fromkeys(model.recipe or model.model for model in trained):
        of_recipe = [model for model in trained if (model.recipe or model.model) == recipe]
        yield recipe, sorted(of_recipe, key=lambda model: (model.seed or 0, model.model))


def _shared_base(seeds: Sequence[ModelScores], bases: Mapping[str, ModelScores]) -> ModelScores | None:
    keys = {model.base for model in seeds}
    key = keys.pop() if len(keys) == 1 else None
    return bases.get(key) if key is not None else None


def _measured(name: str, seeds: Sequence[ModelScores], base: ModelScores | None, draws: int) -> LeaderboardRow:
    cells = {
        column: _cell(column, [model for model in seeds if column in model.metrics], base, draws)
        for column in (*SPATIAL_COLUMNS, *GENERAL_COLUMNS)
        if any(column in model.metrics for model in seeds)
    }
    if (average := _average_cell(cells, seeds, base, draws)) is not None:
        cells[AVERAGE] = average
    return LeaderboardRow(
        name,
        seeds[0].kind,
        {column: cells[column] for column in COLUMNS if column in cells},
        seeds=len(seeds),
        base=base.model if base else None,
        caption_trained=seeds[0].caption_trained,
        resolution=_agreed(model.resolution for model in seeds),
        system_prompt=_agreed(model.system_prompt for model in seeds),
    )


def _cell(column: str, seeds: Sequence[ModelScores], base: ModelScores | None, draws: int) -> Cell:
    metrics = [model.metrics[column] for model in seeds]
    values = [metric.value for metric in metrics]
    value, deviation = _mean(values)
    clean = [model.clean_metrics.get(column) for model in seeds]
    checked = [metric for metric in clean if metric is not None]
    all_checked = len(checked) == len(seeds)
    unparsed = [model.unparsed[column] for model in seeds if column in model.unparsed]
    unanswered = [model.unanswered[column] for model in seeds if column in model.unanswered]
    theirs = base.metrics.get(column) if base else None
    return Cell(
        value,
        deviation,
        seeds=len(seeds),
        delta=_difference(value, theirs.value if theirs else None),
        p_value=paired_p_value(metrics, [theirs], draws) if theirs else None,
        clean_value=_mean([metric.value for metric in checked])[0] if all_checked else None,
        clean_units=min(metric.units for metric in checked) if all_checked else None,
        units=min(metric.units for metric in metrics),
        unparsed=statistics.fmean(unparsed) if unparsed else None,
        unanswered=statistics.fmean(unanswered) if unanswered else None,
    )


def _average_cell(
    cells: Mapping[str, Cell], seeds: Sequence[ModelScores], base: ModelScores | None, draws: int
) -> Cell | None:
    """Mean of the row's spatial cells. What compares wholes is absent where one side lacks a column of the other."""
    found = {column: cells[column] for column in SPATIAL_COLUMNS if column in cells}
    scored = {column: cell.value for column, cell in found.items() if cell.value is not None}
    if not scored:
        return None
    mine = [_average_metric(model, scored) for model in seeds]
    complete = [metric for metric in mine if metric is not None]
    even = len(complete) == len(seeds)
    theirs = _average_metric(base, scored) if base else None
    value = statistics.fmean(scored.values())
    clean = [cell.clean_value for column, cell in found.items() if column in scored and cell.clean_value is not None]
    all_clean = len(clean) == len(scored)
    return Cell(
        value,
        deviation=_mean([metric.value for metric in complete])[1] if even else None,
        seeds=len(complete),
        delta=_difference(value, theirs.value if theirs else None),
        p_value=paired_p_value(complete, [theirs], draws) if theirs and even else None,
        clean_value=statistics.fmean(clean) if all_clean else None,
        clean_units=len(clean) if all_clean else None,
        units=len(scored),
    )


def _average_metric(model: ModelScores, columns: Iterable[str]) -> Metric | None:
    """The unweighted average as a metric of its own; None where the model lacks one of the columns."""
    parts = [model.metrics.get(column) for column in columns]
    scored = [part for part in parts if part is not None and part.value is not None]
    if len(scored) < len(parts):
        return None
    # Benchmarks may name their questions alike.
    apart = [
        replace(
            part,
            terms=part.terms.with_columns(
                unit=pl.lit(f"{place}/") + pl.col("unit"), numerator=pl.col("numerator") * part.scale
            ),
        )
        for place, part in enumerate(scored)
    ]
    return combined(AVERAGE, apart, scale=1 / len(apart))


def _mean(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    """Mean and sample standard deviation; of fewer than two there is no deviation."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None, None
    return statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else None


def _difference(ours: float | None, theirs: float | None) -> float | None:
    return None if ours is None or theirs is None else ours - theirs


def _agreed(values: Iterable[str | None]) -> str | None:
    return "; ".join(sorted({value for value in values if value})) or None


def _guessing(models: Sequence[ModelScores]) -> Iterator[LeaderboardRow]:
    """What guessing scores, by the model that was asked most of each benchmark; no row where nothing is known."""
    cells: dict[str, Cell] = {}
    for column in COLUMNS:
        known = [
            (model.metrics[column].units, chance)
            for model in models
            if column in model.metrics and (chance := model.chance.get(column)) is not None
        ]
        if known:
            units, chance = max(known, key=lambda one: one[0])
            cells[column] = Cell(chance, units=units)
    spatial = [cell.value for column, cell in cells.items() if column in SPATIAL_COLUMNS and cell.value is not None]
    if spatial:
        cells[AVERAGE] = Cell(statistics.fmean(spatial), units=len(spatial))
    if cells:
        yield LeaderboardRow("random", "random", {column: cells[column] for column in COLUMNS if column in cells})


def _reference(row: ReferenceRow) -> LeaderboardRow:
    cells = {column: Cell(figure, source=row.sources.get(column)) for column, figure in row.figures.items()}
    return LeaderboardRow(row.name, "reference", cells)
