"""The funnel of a source: how many captions and pairs each stage read, kept and dropped, and why.

Counted from the stored tables, so that it says what is there and not what a run believed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import polars as pl

from spare_assets.quality.verdicts import CHECKS, unscored_rows
from spare_assets.storage.tables import TableStore


@dataclass(frozen=True, slots=True)
class FunnelStep:
    """One stage: what it read, and the parts that this fell into; `kept` names the part that goes on."""

    table: str
    unit: str
    read: int
    parts: dict[str, int] = field(default_factory=dict)
    kept: str = "kept"

    @property
    def passed(self) -> int:
        """How many went on, scored or not."""
        return self.parts.get(self.kept, 0) + self.parts.get("passed unscored", 0)

    @property
    def adds_up(self) -> bool:
        """Whether the parts are all that was read (design, law 1)."""
        return sum(self.parts.values()) == self.read


def funnel(store: TableStore, source: str) -> Iterator[FunnelStep]:
    """The stages of one source that are materialized, in order."""
    if not store.exists("captions", source):
        return
    captions = store.rows("captions", source)
    quarantined = store.rows("quarantined_captions", source)
    found = int(store.metadata("captions", source).get("rows_in_source", 0))
    yield FunnelStep("captions", "captions", found, {"read": captions, "quarantined": quarantined}, "read")
    if store.exists("spatial_captions", source):
        yield FunnelStep("spatial_captions", "captions", captions, filter_parts(store, source), "spatial")
    if store.exists("qa_pairs", source):
        parts = generation_parts(store, source)
        yield FunnelStep("qa_pairs", "captions", store.rows("spatial_captions", source), parts, "with pairs")
    before = "qa_pairs"
    for check, (table, _) in CHECKS.items():
        if not store.exists(table, source):
            return
        yield FunnelStep(table, "pairs", store.rows(before, source), check_parts(store, source, check))
        before = table


def funnel_table(store: TableStore, sources: Sequence[str]) -> pl.DataFrame:
    """The funnels of several sources as one table: source, stage, unit, read, and the parts in words."""
    rows = [
        (source, step.table, step.unit, step.read, ", ".join(f"{count:,} {name}" for name, count in step.parts.items()))
        for source in sources
        for step in funnel(store, source)
    ]
    return pl.DataFrame(rows, schema=["source", "stage", "unit", "read", "became"], orient="row")


def filter_parts(store: TableStore, source: str) -> dict[str, int]:
    """Captions kept, dropped and failed by the pre-filter; kept is counted in `spatial_captions` itself."""
    verdicts = store.scan("caption_verdicts", source)
    failed, dropped = _counts(
        verdicts, pl.col("outcome") == "failed", ~pl.col("kept") & (pl.col("outcome") != "failed")
    )
    return {"spatial": store.rows("spatial_captions", source), "not spatial": dropped, "failed": failed}


def generation_parts(store: TableStore, source: str) -> dict[str, int]:
    """Captions with pairs, with none, and failed. With pairs is counted in `qa_pairs` itself."""
    outcomes = store.scan("generation_outcomes", source)
    failed, none = _counts(
        outcomes,
        pl.col("outcome") == "failed",
        (pl.col("pairs") == 0) & (pl.col("outcome") != "failed"),
    )
    with_pairs = store.scan("qa_pairs", source).select(pl.col("caption_id").n_unique()).collect().item()
    return {"with pairs": with_pairs, "with none": none, "failed": failed}


def check_parts(store: TableStore, source: str, check: str) -> dict[str, int]:
    """Pairs kept by a check, of those the ones it passed unscored, and pairs dropped."""
    kept_table, verdict_table = CHECKS[check]
    verdicts = store.scan(verdict_table, source)
    dropped, unscored = _counts(verdicts, ~pl.col("kept"), pl.col("kept") & unscored_rows())
    parts = {"kept": store.rows(kept_table, source), "dropped": dropped}
    if check == "alignment" and unscored:
        parts = {"kept": parts["kept"] - unscored, "passed unscored": unscored, "dropped": dropped}
    return parts


def _counts(frame: pl.LazyFrame, *conditions: pl.Expr) -> tuple[int, ...]:
    row = frame.select(condition.sum().alias(str(place)) for place, condition in enumerate(conditions)).collect()
    return tuple(int(value) for value in row.row(0))
