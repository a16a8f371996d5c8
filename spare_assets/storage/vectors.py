"""Tables of vectors in half precision: how Parquet holds them, and how they are read fast.

A list is taken apart value by value, and there are 512 values to a row: the layout leaves out all that vectors don't
need, and pyarrow reads it several times as fast as polars. What the vectors mean is not known here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

_ROWS = 16_384
_BUFFER_BYTES = 1 << 20


def vector_layout(schema: pa.Schema) -> tuple[pa.Schema, dict[str, Any]]:
    """The schema and the options to write a table with: vectors without nulls, dictionary, compression and statistics.

    Random mantissas repeat nothing and do not compress. A schema without vectors stays as it is.
    """
    vectors = [field.name for field in schema if _is_vector(field.type)]
    for name in vectors:
        field = schema.field(name)
        element = field.type.value_field.with_nullable(False)
        dense = pa.field(name, pa.list_(element, field.type.list_size), nullable=False)
        schema = schema.set(schema.get_field_index(name), dense)
    if not vectors:
        return schema, {"compression": "zstd"}
    others = [name for name in schema.names if name not in vectors]
    compression = dict.fromkeys(others, "zstd") | {f"{name}.list.element": "none" for name in vectors}
    return schema, {"compression": compression, "use_dictionary": others, "write_statistics": others}


def vector_batches(path: Path, columns: Sequence[str], rows: int = _ROWS) -> Iterator[pl.DataFrame]:
    """Rows of a Parquet file with vectors, in order, in batches of so many; the first, which tells types, has none."""
    # Reading ahead, which pyarrow does by itself, keeps what was read until the end of the file.
    with pq.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER_BYTES) as file:
        batches = file.iter_batches(rows, columns=list(columns), use_threads=False)
        for batch in chain([file.schema_arrow.empty_table()], batches):
            frame = pl.from_arrow(batch)
            assert isinstance(frame, pl.DataFrame)
            yield frame.select(columns)


def _is_vector(dtype: pa.DataType) -> bool:
    return isinstance(dtype, pa.FixedSizeListType) and pa.types.is_float16(dtype.value_type)
