"""Tables of vectors in half precision: how Parquet holds them, and how they are read fast.

Parquet takes lists apart value by value, and there are 512 values to a row. Written without nulls, compression and
page breaks, though, the numbers of a row group lie in the file as they lie in memory, and are taken from there.
What the vectors mean is not known here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

_PAGE_BYTES = 1 << 30
"""More than a row group has: each column of it is one page."""
_HEADER_BYTES = 32


def vector_layout(schema: pa.Schema) -> tuple[pa.Schema, dict[str, Any]]:
    """The schema and the options to write a table with: vectors without nulls, dictionary, compression and statistics,
    those of a row group in one page.

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
    compression = dict.fromkeys(others, "zstd") | {_leaf(name): "none" for name in vectors}
    return schema, {
        "compression": compression,
        "use_dictionary": others,
        "write_statistics": others,
        "data_page_size": _PAGE_BYTES,
    }


def vector_batches(path: Path, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Rows of a Parquet file with vectors, a row group at a time, in order; the first batch tells types and has none.

    The vectors of a batch are the file itself, mapped for as long as they are held, or a copy where numbers would not
    begin at an even byte.
    """
    # Reading ahead, which pyarrow does by itself, keeps what was read until the end of the file.
    with pq.ParquetFile(path, pre_buffer=False) as file:
        schema = file.schema_arrow
        yield _frame(schema.empty_table(), columns)
        for group in range(file.num_row_groups):
            mapped = {
                field.name: vectors
                for field in schema
                if field.name in columns and _is_vector(field.type)
                if (vectors := _mapped(path, file.metadata.row_group(group), field)) is not None
            }
            rows = file.read_row_group(group, [name for name in columns if name not in mapped], use_threads=False)
            for name, vectors in mapped.items():
                rows = rows.append_column(name, vectors)
            yield _frame(rows, columns)


def _frame(rows: pa.Table, columns: Sequence[str]) -> pl.DataFrame:
    frame = pl.from_arrow(rows)
    assert isinstance(frame, pl.DataFrame)
    return frame.select(columns)


def _mapped(path: Path, group: pq.RowGroupMetaData, field: pa.Field) -> pa.Array | None:
    """The vectors of a row group as they lie in the file; null where they don't lie there whole and in order."""
    chunks = (group.column(place) for place in range(group.num_columns))
    chunk = next(chunk for chunk in chunks if chunk.path_in_schema == _leaf(field.name))
    numbers, width = chunk.num_values, field.type.list_size
    if numbers != group.num_rows * width or chunk.compression != "UNCOMPRESSED" or chunk.has_dictionary_page:
        return None
    with path.open("rb") as file:
        file.seek(chunk.data_page_offset)
        # One page has them all where its header counts as many: a page ends in its numbers, and the chunk in its page.
        if not {"PLAIN", "RLE"}.issuperset(chunk.encodings) or _count_field(numbers) not in file.read(_HEADER_BYTES):
            return None
        start = chunk.data_page_offset + chunk.total_compressed_size - numbers * 2
        array: NDArray[np.float16] = np.memmap(file, np.float16, mode="r", offset=start, shape=(numbers,))
    if start % array.itemsize:
        # Polars would copy what begins at an odd byte, into memory that it asks the system for each time.
        array = np.array(array)
    return pa.FixedSizeListArray.from_arrays(pa.array(array), width)


def _count_field(numbers: int) -> bytes:
    """How a Parquet page header of the first version begins to tell of its data: a struct, whose first field is the
    count of values (Thrift's compact protocol: a variable-length integer, its sign in the last bit)."""
    rest, encoded = numbers << 1, b"\x2c\x15"
    while rest > 0x7F:
        encoded += bytes([rest & 0x7F | 0x80])
        rest >>= 7
    return encoded + bytes([rest])


def _leaf(name: str) -> str:
    """Path of a vector column's numbers in the file."""
    return f"{name}.list.element"


def _is_vector(dtype: pa.DataType) -> bool:
    return isinstance(dtype, pa.FixedSizeListType) and pa.types.is_float16(dtype.value_type)
