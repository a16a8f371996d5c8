"""`spare.duckdb`: one view per table of the graph and a few over several, so that SQL and notebooks find all by name.

A by-product: it holds no rows of its own and is rebuilt whenever a table is published.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from spare_assets.storage.queries import quoted
from spare_assets.storage.schemas import TABLES, VIEWS, TableSchema, View
from spare_assets.storage.tables import TableStore
from spare_assets.storage.temporaries import temporary_beside

_SQL_TYPES: dict[Any, str] = {
    pl.String: "VARCHAR",
    pl.Boolean: "BOOLEAN",
    pl.UInt8: "UTINYINT",
    pl.Int64: "BIGINT",
    pl.UInt16: "USMALLINT",
    pl.UInt32: "UINTEGER",
    pl.UInt64: "UBIGINT",
    pl.Float32: "FLOAT",
    pl.Float64: "DOUBLE",
}


def rebuild_catalog(path: Path, store: TableStore) -> None:
    """Write the DuckDB file of views afresh and rename it into place."""
    # In a folder, so that one sweep takes what DuckDB had put beside its file when it was killed.
    folder = temporary_beside(path)
    folder.mkdir()
    try:
        with duckdb.connect(str(folder / path.name)) as connection:
            # One transaction: else every view is synced to the disk by itself.
            connection.begin()
            for schema in TABLES.values():
                _create(connection, schema, _select(schema, store))
            for view in VIEWS:
                _create(connection, view, view.query)
            connection.commit()
        (folder / path.name).replace(path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _create(connection: duckdb.DuckDBPyConnection, view: TableSchema | View, query: str) -> None:
    connection.execute(f'CREATE VIEW "{view.name}" AS {query}')
    connection.execute(f"COMMENT ON VIEW \"{view.name}\" IS '{view.description.replace(chr(39), chr(39) * 2)}'")


def _select(schema: TableSchema, store: TableStore) -> str:
    folder = store.root / schema.name
    if any(folder.glob("[!.]*.parquet")):
        pattern = f"{schema.partition}=*.parquet" if schema.partitioned else "all.parquet"
        return f"FROM read_parquet('{quoted(folder)}/{pattern}', union_by_name = true, hive_partitioning = false)"
    columns = ", ".join(f'NULL::{sql_type(column.dtype)} AS "{column.name}"' for column in schema.columns)
    return f"SELECT {columns} WHERE false"


def sql_type(dtype: Any) -> str:
    """DuckDB's name of a column type; None stands for an embedding."""
    if dtype is None:
        return "FLOAT[]"
    if isinstance(dtype, pl.List):
        return f"{sql_type(dtype.inner)}[]"
    if isinstance(dtype, pl.Struct):
        return f"STRUCT({', '.join(f'{field.name} {sql_type(field.dtype)}' for field in dtype.fields)})"
    return _SQL_TYPES[dtype if isinstance(dtype, type) else type(dtype)]
