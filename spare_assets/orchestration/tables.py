"""Tables as Dagster sees them: output definitions, all that the UI tells of them, and the IO manager.

Stages publish their tables themselves, several at once after counting; the IO manager loads them for whatever lies
downstream, and stores what a user's own asset returns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import dagster as dg
import polars as pl

from spare_assets.storage.catalog import sql_type
from spare_assets.storage.schemas import TABLES, TableSchema, column_origins
from spare_assets.storage.tables import TableStore

_STAGES = {
    "captions": "dataset",
    "synthesis": "dataset",
    "clip": "dataset",
    "quality": "dataset",
    "dataset": "dataset",
    "training": "training",
    "benchmarks": "evaluation",
    "analyses": "study",
    "review": "study",
    "publication": "release",
}
"""The part of the work that a group belongs to, by which the UI can select: `tag:stage=dataset`."""
_ORIGINS_NAMED = 4


def column_schema(schema: TableSchema) -> dg.TableSchema:
    """A table's columns with types, descriptions and origins, for the asset page.

    The open-source UI keeps `column_lineage` and shows nothing of it: the descriptions link to where columns come from.
    """
    origins = column_origins(schema)
    return dg.TableSchema(
        [
            dg.TableColumn(
                column.name,
                sql_type(column.dtype),
                description=column.description + _origins_in_words(origins.get(column.name, ())),
            )
            for column in schema.columns
        ]
    )


def column_lineage(schema: TableSchema) -> dg.TableColumnLineage:
    """Which columns of which assets upstream each column comes from. Columns made here are left out."""
    return dg.TableColumnLineage(
        {
            column: [dg.TableColumnDep(asset_key=table, column_name=name) for table, name in found]
            for column, found in column_origins(schema).items()
        }
    )


def _origins_in_words(origins: Sequence[tuple[str, str]]) -> str:
    if not origins:
        return ""
    links = [f"[{table}.{column}](/assets/{table})" for table, column in origins[:_ORIGINS_NAMED]]
    if unnamed := len(origins) - len(links):
        links.append(f"{unnamed} more")
    return f"\n\nFrom {', '.join(links)}."


def table_outs(
    *names: str,
    group: str,
    code_version: str,
    story: str,
    uses: Sequence[str] = ("polars",),
    cost: Literal["cpu", "model", "network"] = "cpu",
) -> dict[str, dg.AssetOut]:
    """The outputs of a stage that publishes these tables itself. `story` follows the first one's own description.

    `uses` are up to two kinds beside Parquet. `cost` is what a materialization spends: of a model it asks or trains
    there is one at a time (the pool `gpu`), the network may be slow or absent.
    """
    stories = {names[0]: f"\n\n{story}"}
    return {
        name: dg.AssetOut(
            dagster_type=dg.Nothing,
            description=TABLES[name].description + stories.get(name, ""),
            group_name=group,
            code_version=code_version,
            kinds={"parquet", *uses},
            tags={"stage": _STAGES[group], "cost": cost},
            metadata={
                "dagster/column_schema": column_schema(TABLES[name]),
                "dagster/column_lineage": column_lineage(TABLES[name]),
                "key": ", ".join(TABLES[name].key),
            },
        )
        for name in names
    }


def owned(assets: Iterable[dg.AssetsDefinition], owners: Sequence[str]) -> Sequence[dg.AssetsDefinition]:
    """The assets with who answers for them, as the UI shows it and `owner:` selects."""
    return dg.map_asset_specs(lambda spec: spec.replace_attributes(owners=owners), assets)


def row_count_key(source: str | None) -> str:
    """Dagster's metadata key for a row count."""
    return "dagster/row_count" if source is None else "dagster/partition_row_count"


class ParquetTables(dg.IOManager):
    """Loads tables as LazyFrames, one per partition; a mapping of them where an input covers several."""

    def __init__(self, store: TableStore) -> None:
        self.store = store

    def handle_output(self, context: dg.OutputContext, obj: pl.LazyFrame | pl.DataFrame) -> None:
        """Store what a user's own asset returned, under the asset's name."""
        source = context.partition_key if context.has_asset_partitions else None
        rows = self.store.put(context.asset_key.path[-1], source, obj.lazy().collect())
        context.add_output_metadata({row_count_key(source): rows})

    def load_input(self, context: dg.InputContext) -> pl.LazyFrame | dict[str, pl.LazyFrame]:
        """The table of one partition, or of several by partition key."""
        name = context.asset_key.path[-1]
        if not context.has_asset_partitions:
            return self.store.scan(name)
        frames = {key: self.store.scan(name, key) for key in context.asset_partition_keys}
        return next(iter(frames.values())) if len(frames) == 1 else frames
