"""Checks of stored tables as Dagster sees them: all that a stage's tables are held to, in one step behind the stage.

What is checked stands in `conservation_checks` and `sanity_checks`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from spare_assets.orchestration.stage import only_partition
from spare_assets.storage.tables import TableError


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found. `words` say in a line what is wrong, or that all is well or nothing can be said."""

    passed: bool
    words: str | None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR


@dataclass(frozen=True, slots=True)
class Occasion:
    """When a check is made: for this partition, on this instance."""

    table: str
    partition: str | None
    instance: dg.DagsterInstance


@dataclass(frozen=True, slots=True)
class TableCheck:
    """One check of one table. A blocking one keeps what lies downstream from running after it failed."""

    table: str
    name: str
    description: str
    judge: Callable[[Occasion], Finding]
    blocking: bool = False


def build(assets: Iterable[dg.AssetsDefinition], checks: Iterable[TableCheck]) -> list[dg.AssetChecksDefinition]:
    """The checks of every asset that has any, partitioned as it is. One step each: a step costs more than a check."""
    every = list(checks)
    return [
        _behind(definition, held)
        for definition in assets
        if (held := [check for check in every if dg.AssetKey(check.table) in definition.keys])
    ]


def _behind(definition: dg.AssetsDefinition, checks: list[TableCheck]) -> dg.AssetChecksDefinition:
    partitions = definition.partitions_def
    by_key = {dg.AssetCheckKey(dg.AssetKey(check.table), check.name): check for check in checks}
    specs = [
        dg.AssetCheckSpec(
            check.name,
            asset=check.table,
            description=check.description,
            blocking=check.blocking,
            partitions_def=partitions,
        )
        for check in checks
    ]

    @dg.multi_asset_check(name=f"{definition.op.name}_checks", specs=specs, can_subset=True)
    def table_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        partition = only_partition(context) if partitions else None
        for key, check in by_key.items():
            if key in context.selected_asset_check_keys:
                yield _result(check, Occasion(check.table, partition, context.instance))

    return table_checks


def _result(check: TableCheck, occasion: Occasion) -> dg.AssetCheckResult:
    try:
        finding = check.judge(occasion)
    except TableError as error:
        finding = Finding(False, str(error))
    return dg.AssetCheckResult(
        asset_key=check.table,
        check_name=check.name,
        passed=finding.passed,
        severity=finding.severity,
        description=finding.words,
        # Shares are for people: seventeen digits hide what they say.
        metadata={
            name: round(value, 4) if isinstance(value, float) else value for name, value in finding.metadata.items()
        },
    )
