"""Checks that count again, from the stored tables, what a stage read and what became of it (design, law 1)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from spare_assets.dataset.funnel import FunnelStep, funnel
from spare_assets.orchestration.table_checks import Finding, Occasion, TableCheck
from spare_assets.settings import Home
from spare_assets.storage.tables import open_tables

STAGES = (
    "captions",
    "spatial_captions",
    "qa_pairs",
    "deduplicated_pairs",
    "reference_checked_pairs",
    "grounded_pairs",
    "aligned_pairs",
    "spatial_pairs",
)


def checks(home: Home) -> Iterator[TableCheck]:
    """One blocking check `nothing_lost` per stage, per source, and one for the drop ledger."""
    store = open_tables(home)

    def step_of(stage: str, source: str) -> FunnelStep:
        return next(step for step in funnel(store, source) if step.table == stage)

    def whole_ledger(stage: str, source: str) -> FunnelStep:
        parts = {name: store.rows(name, source) for name in ("spatial_pairs", stage)}
        return FunnelStep(stage, "pairs", store.rows("qa_pairs", source), parts)

    def counted(count: Callable[[str, str], FunnelStep]) -> Callable[[Occasion], Finding]:
        def judge(occasion: Occasion) -> Finding:
            assert occasion.partition is not None
            step = count(occasion.table, occasion.partition)
            metadata = {"unit": step.unit, "read": step.read, **step.parts}
            if step.adds_up:
                return Finding(True, None, metadata)
            found = sum(step.parts.values())
            words = f"{step.read:,} {step.unit} were read and {found:,} are accounted for: materialize it again"
            return Finding(False, words, metadata)

        return judge

    for stage in (*STAGES, "rejected_pairs"):
        yield TableCheck(
            stage,
            "nothing_lost",
            "What was read equals what was kept, dropped and failed, counted from the stored tables.",
            counted(whole_ledger if stage == "rejected_pairs" else step_of),
            blocking=True,
        )
