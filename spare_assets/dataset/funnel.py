"""The funnel of a source: how many captions and pairs each stage read, kept and dropped, and why.

Counted from the stored tables, so that it says what is there and not what a run believed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from spare_assets.quality.verdicts import CHECKS, unscored_rows
from spare_assets.storage.tables import TableStore
from spare_assets.synthesis.generation import generation_parts
from spare_assets.synthesis.spatial_filter import filter_parts


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
        parts = filter_parts(store.scan("caption_verdicts", source), store.rows("spatial_captions", source))
        yield FunnelStep("spatial_captions", "captions", captions, parts, "spatial")
    if store.exists("qa_pairs", source):
        parts = generation_parts(store.scan("generation_outcomes", source), store.scan("qa_pairs", source))
        yield FunnelStep("qa_pairs", "captions", store.rows("spatial_captions", source), parts, "with pairs")
    before = "qa_pairs"
    for check, (table, _) in CHECKS.items():
        if not store.exists(table, source):
            return
        yield FunnelStep(table, "pairs", store.rows(before, source), check_parts(store, source, check))
        before = table


def funnel_table(funnels: Mapping[str, Sequence[FunnelStep]]) -> pl.DataFrame:
    """The funnels of several sources as one table: source, stage, unit, read, and the parts in words."""
    rows = [
        (source, step.table, step.unit, step.read, ", ".join(f"{count:,} {name}" for name, count in step.parts.items()))
        for source, steps in funnels.items()
        for step in steps
    ]
    return pl.DataFrame(rows, schema=["source", "stage", "unit", "read", "became"], orient="row")


def check_parts(store: TableStore, source: str, check: str) -> dict[str, int]:
    """Pairs kept by a check, of those the ones it passed unscored, and pairs dropped."""
    kept_table, verdict_table = CHECKS[check]
    verdicts = store.scan(verdict_table, source)
    unscored_pairs = (pl.col("kept") & unscored_rows()).sum()
    dropped, unscored = verdicts.select(a=(~pl.col("kept")).sum(), b=unscored_pairs).collect().row(0)
    parts = {"kept": store.rows(kept_table, source), "dropped": dropped}
    if check == "alignment" and unscored:
        parts = {"kept": parts["kept"] - unscored, "passed unscored": unscored, "dropped": dropped}
    return parts
