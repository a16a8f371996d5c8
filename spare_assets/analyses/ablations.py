"""Engines compared on the same captions: how they write pairs (Table 7), how they judge captions (Table 8).

What is counted, what the paper printed, and how people's labels become one truth belong here. Asking does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from spare_assets.captions.readers import smallest_by_hash
from spare_assets.quality.grounding import grounding_verdicts
from spare_assets.sandbox.corpora import places_stated
from spare_assets.settings import Settings
from spare_assets.storage.conservation import conserve
from spare_assets.storage.schemas import TABLES

PEOPLE, SCENES = "people", "scenes"
JUDGED_BY = "_ablations"
"""Owner in the ledger of what is asked about pairs that belong to no dataset."""
NO_LABELS = (
    "none yet: label captions on the review page, put the file it downloads where review_results reads it, materialize "
    "review_results, and then this again"
)
CAPTION_BATCH = 5_000
_QUESTION = ("caption_id", "source", "caption")
_TRUTH = pl.Schema([("caption_id", pl.String()), ("spatial", pl.Boolean()), ("weight", pl.Float64())])


@dataclass(frozen=True, slots=True)
class PrintedGeneration:
    """A row of the paper's Table 7."""

    engine: str
    spatial_relevance: float
    pairs_per_caption: float


@dataclass(frozen=True, slots=True)
class PrintedFilter:
    """A row of the paper's Table 8."""

    engine: str
    relative_time: float
    accuracy: float
    precision: float
    recall: float
    f1: float


TABLE_7 = (
    PrintedGeneration("Qwen2.5-0.5B-Instruct", 0.17, 4.8),
    PrintedGeneration("Qwen2.5-1.5B-Instruct", 0.93, 13.6),
    PrintedGeneration("Qwen2.5-3B-Instruct", 0.89, 17),
    PrintedGeneration("Qwen2.5-7B-Instruct", 0.86, 14),
)
TABLE_8 = (
    PrintedFilter("Qwen2.5-0.5B-Instruct", 1, 0.33, 1, 0.20, 0.33),
    PrintedFilter("Qwen2.5-1.5B-Instruct", 1.26, 0.60, 1, 0.56, 0.71),
    PrintedFilter("Qwen2.5-3B-Instruct", 1.42, 0.57, 1, 0.54, 0.70),
    PrintedFilter("Qwen2.5-7B-Instruct", 1.49, 0.63, 1, 0.58, 0.73),
)


def caption_sample(captions: Iterable[pl.LazyFrame], count: int) -> pl.DataFrame:
    """The captions with the smallest hash over all sources (law 9), sorted by caption_id."""
    batches = (
        batch
        for source in captions
        for batch in source.select(_QUESTION).collect_batches(chunk_size=CAPTION_BATCH, maintain_order=True)
    )
    return smallest_by_hash(batches, count).select(_QUESTION).sort("caption_id")


def by_source(sample: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """The sample in parts of one source each."""
    for (source,), part in sample.group_by("source", maintain_order=True):
        yield str(source), part


def generation_row(
    engine: str,
    sample: pl.DataFrame,
    outcomes: pl.DataFrame,
    pairs: pl.DataFrame,
    judged: pl.DataFrame,
    used: Mapping[str, float],
    minimum_grounding: float,
) -> dict[str, Any]:
    """What one engine wrote, as a row of `generation_ablation`.

    `outcomes`, `pairs` and `judged` are those of the graph's own stages over the sampled captions; `used` holds
    prompt_tokens, completion_tokens and seconds. Raises ConservationError where a caption or pair is lost.
    """
    conserve(f"generation_ablation: {engine}", read=sample.height, parts={"answered": outcomes.height})
    spatial, unjudged = int(judged["spatial"].sum()), int(judged["spatial"].null_count())
    parts = {"spatial": spatial, "not spatial": judged.height - spatial - unjudged, "unjudged": unjudged}
    conserve(f"generation_ablation: {engine}", read=pairs.height, parts=parts)
    ordered = pairs.sort("caption_id", "position").lazy()
    verdicts = grounding_verdicts(ordered, sample.lazy(), minimum_grounding)
    grounded = sum(int(verdict["kept"].sum()) for verdict in verdicts)
    answered = pairs.height - unjudged
    return {
        "engine": engine,
        "kind": "measured",
        "captions": sample.height,
        "unusable": outcomes.filter(pl.col("outcome").is_in(["failed", "malformed"])).height,
        "pairs": pairs.height,
        "pairs_per_caption": pairs.height / sample.height if sample.height else None,
        "spatial_relevance": spatial / answered if answered else None,
        "unjudged": unjudged,
        "grounded_share": grounded / pairs.height if pairs.height else None,
        **used,
    }


def generation_table(measured: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """The table `generation_ablation`: what was measured, then what the paper printed."""
    return _table("generation_ablation", measured, TABLE_7, "paper, Table 7: 100 captions, pairs checked by people")


@dataclass(frozen=True, slots=True)
class Truth:
    """Which captions are spatial: rows of caption_id, spatial and weight, who said so, and what was left out."""

    rows: pl.DataFrame
    labels: str
    divided: int = 0


def agreed_labels(labels: pl.DataFrame) -> Truth:
    """People's labels, one per caption: what most of its reviewers say; captions they are divided on are left out."""
    votes = labels.group_by("caption_id").agg(
        yes=pl.col("spatial").mean(), weight=pl.col("weight").fill_null(1.0).first()
    )
    settled = votes.filter(pl.col("yes") != 0.5).sort("caption_id")
    rows = settled.select("caption_id", "weight", spatial=pl.col("yes") > 0.5).select(list(_TRUTH))
    return Truth(rows, PEOPLE, votes.height - settled.height)


def scene_labels(captions: Mapping[str, pl.LazyFrame], settings: Settings) -> Truth:
    """What the sandbox's own record says of a sample of its captions; without rows where no source is rendered."""
    rendered = {
        key: frame
        for key, frame in captions.items()
        if settings.sources[key].scenes is not None and settings.sources[key].format != "table"
    }
    sample = caption_sample(rendered.values(), settings.analyses.ablations.captions)
    known = []
    for key, part in by_source(sample):
        source = settings.sources[key]
        assert source.scenes is not None and source.format != "table"
        stated = places_stated(source.format, source.scenes.count, source.scenes.seed)
        truth = pl.Series([stated.get(caption) for caption in part["caption"]], dtype=pl.Boolean)
        known.append(part.select("caption_id", spatial=truth, weight=pl.lit(1.0)).drop_nulls())
    return Truth(pl.concat([_TRUTH.to_frame(), *known]).sort("caption_id"), SCENES)


def filter_row(engine: str, truth: Truth, judged: pl.DataFrame, seconds: float) -> dict[str, Any]:
    """How one engine's verdicts fit the labels, as a row of `filter_ablation`.

    `judged` has caption_id, kept and outcome. A reply that cannot be read counts as judged not spatial, as the
    pre-filter takes it. Raises ConservationError where a labelled caption has no verdict.
    """
    both = truth.rows.join(judged, on="caption_id", how="inner")
    spatial, kept = pl.col("spatial"), pl.col("kept")
    cells = {
        "true_positives": spatial & kept,
        "false_positives": ~spatial & kept,
        "false_negatives": spatial & ~kept,
        "true_negatives": ~spatial & ~kept,
    }
    counts = both.select(**{name: cell.sum() for name, cell in cells.items()}).row(0, named=True)
    conserve(f"filter_ablation: {engine}", read=truth.rows.height, parts=counts)
    weights = both.select(**{name: pl.col("weight").filter(cell).sum() for name, cell in cells.items()})
    right, wrong, missed, rest = weights.row(0)
    precision, recall = _share(right, right + wrong), _share(right, right + missed)
    return {
        "engine": engine,
        "kind": "measured",
        "labels": truth.labels,
        "captions": both.height,
        "unreadable": both.filter(pl.col("outcome") != "ok").height,
        **counts,
        "accuracy": _share(right + rest, right + wrong + missed + rest),
        "precision": precision,
        "recall": recall,
        "f1": _share(2 * right, 2 * right + wrong + missed),
        "seconds": seconds,
    }


def filter_table(measured: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """The table `filter_ablation`: what was measured, times relative to the first, then what the paper printed."""
    first = measured[0]["seconds"] if measured else 0.0
    timed = [{**row, "relative_time": _share(row["seconds"], first)} for row in measured]
    return _table("filter_ablation", timed, TABLE_8, "paper, Table 8: 100 captions, checked by people")


def _table(
    name: str,
    measured: Sequence[Mapping[str, Any]],
    printed: Sequence[PrintedGeneration | PrintedFilter],
    origin: str,
) -> pl.DataFrame:
    schema = TABLES[name].polars()
    reference = [{"kind": "reference", "origin": origin, **asdict(row)} for row in printed]
    rows = [{"place": place, **row} for place, row in enumerate([*measured, *reference], start=1)]
    return pl.DataFrame([{column: row.get(column) for column in schema} for row in rows], schema=schema)


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None
