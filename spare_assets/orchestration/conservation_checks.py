"""Asset checks that count again, from the stored tables, what a stage read and what became of it (design, law 1)."""

from collections.abc import Callable

import dagster as dg

from spare_assets.dataset.funnel import FunnelStep, funnel
from spare_assets.orchestration.stage import only_partition
from spare_assets.settings import Home
from spare_assets.storage.tables import TableStore

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


def build(home: Home, sources: dg.PartitionsDefinition[str]) -> list[dg.AssetChecksDefinition]:
    """One blocking check `nothing_lost` per stage, per source, and one for the drop ledger."""
    store = TableStore(home.tables)

    def step_of(stage: str, source: str) -> FunnelStep:
        return next(step for step in funnel(store, source) if step.table == stage)

    def whole_ledger(source: str) -> FunnelStep:
        parts = {name: store.rows(name, source) for name in ("spatial_pairs", "rejected_pairs")}
        return FunnelStep("rejected_pairs", "pairs", store.rows("qa_pairs", source), parts)

    def check(asset: str, count: Callable[[str], FunnelStep]) -> dg.AssetChecksDefinition:
        @dg.asset_check(
            asset=asset,
            name="nothing_lost",
            description="What was read equals what was kept, dropped and failed, counted from the stored tables.",
            blocking=True,
            partitions_def=sources,
        )
        def nothing_lost(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
            step = count(only_partition(context))
            return dg.AssetCheckResult(
                passed=step.adds_up, metadata={"unit": step.unit, "read": step.read, **step.parts}
            )

        return nothing_lost

    stages = [check(stage, lambda source, stage=stage: step_of(stage, source)) for stage in STAGES]  # type: ignore[misc]
    return [*stages, check("rejected_pairs", whole_ledger)]
