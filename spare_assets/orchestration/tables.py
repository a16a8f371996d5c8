"""Tables as Dagster sees them: output definitions with schema metadata, and the IO manager that hands them on.

Stages publish their tables themselves, several at once after counting; the IO manager loads them for whatever lies
downstream, and stores what a user's own asset returns.
"""

from __future__ import annotations

import dagster as dg
import polars as pl

from spare_assets.storage.catalog import sql_type
from spare_assets.storage.schemas import TABLES, TableSchema
from spare_assets.storage.tables import TableStore


def column_schema(schema: TableSchema) -> dg.TableSchema:
    """A table's columns with types and descriptions, for the asset page."""
    return dg.TableSchema(
        [dg.TableColumn(c.name, sql_type(c.dtype), description=c.description) for c in schema.columns]
    )


def table_outs(*names: str, group: str, code_version: str, story: str) -> dict[str, dg.AssetOut]:
    """The outputs of a stage that publishes these tables itself. `story` follows the first one's own description."""
    stories = {names[0]: f"\n\n{story}"}
    return {
        name: dg.AssetOut(
            dagster_type=dg.Nothing,
            description=TABLES[name].description + stories.get(name, ""),
            group_name=group,
            code_version=code_version,
            kinds={"parquet", "polars"},
            metadata={
                "dagster/column_schema": column_schema(TABLES[name]),
                "key": ", ".join(TABLES[name].key),
            },
        )
        for name in names
    }


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
