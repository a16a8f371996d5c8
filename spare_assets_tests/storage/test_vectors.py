from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spare_assets.storage.tables import TableStore
from spare_assets.storage.vectors import vector_batches

ROWS = 40_000


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    vectors = np.random.default_rng(3).standard_normal((ROWS, 4)).astype(np.float16)
    return pl.DataFrame(
        {
            "pair_id": [f"{row:08x}" for row in range(ROWS)],
            "caption_id": [f"a:{row // 7:06d}" for row in range(ROWS)],
            "source": "a",
            "position": pl.Series([row % 7 for row in range(ROWS)], dtype=pl.UInt32),
            "embedding": pl.Series(vectors, dtype=pl.Array(pl.Float16, 4)),
        }
    )


@pytest.fixture(scope="module")
def path(table: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = TableStore(tmp_path_factory.mktemp("tables"))
    batches = (table[start : start + 3_000] for start in range(0, ROWS, 3_000))
    store.publish(store.stage("question_embeddings", "a", batches, {"clip": "x"}))
    assert store.scan("question_embeddings", "a").collect().equals(table)
    assert store.metadata("question_embeddings", "a") == {"clip": "x"}
    return store.path("question_embeddings", "a")


def test_batches_come_in_order(path: Path, table: pl.DataFrame) -> None:
    nothing, *batches = vector_batches(path, ["embedding", "caption_id"])
    wanted = table.select("embedding", "caption_id")
    assert nothing.equals(wanted.clear())
    assert len(batches) == 14 and pl.concat(batches).equals(wanted)


def test_batches_are_the_file_itself(path: Path, table: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(file: pq.ParquetFile, group: int, columns: list[str], **options: object) -> pa.Table:
        assert columns == ["caption_id"]
        return whole(file, group, columns, **options)

    whole = pq.ParquetFile.read_row_group
    monkeypatch.setattr(pq.ParquetFile, "read_row_group", read)
    assert pl.concat(vector_batches(path, ["embedding", "caption_id"])).height == ROWS


@pytest.mark.parametrize(
    "options",
    [
        {"data_page_size": 4_096, "compression": "none", "use_dictionary": False},
        {"data_page_size": 1 << 30, "compression": "zstd", "use_dictionary": False},
        {"data_page_size": 1 << 30, "compression": "none", "use_dictionary": True},
        {"data_page_size": 1 << 30, "compression": "none", "use_dictionary": False, "data_page_version": "2.0"},
        {
            **{"data_page_size": 1 << 30, "compression": "none", "use_dictionary": False},
            "column_encoding": {"embedding.list.element": "BYTE_STREAM_SPLIT"},
        },
        {},
    ],
)
def test_vectors_in_any_other_layout_are_read_as_well(
    table: pl.DataFrame, tmp_path: Path, options: dict[str, Any]
) -> None:
    path = tmp_path / "table.parquet"
    pq.write_table(table.to_arrow(compat_level=pl.CompatLevel.oldest()), path, row_group_size=9_000, **options)
    assert pl.concat(vector_batches(path, table.columns)).equals(table)


def test_a_vector_that_is_null_is_read_as_null(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    vectors = pl.Series("embedding", [[1.0, 2.0], None, [3.0, 4.0]], dtype=pl.Array(pl.Float16, 2))
    arrow = vectors.to_frame().to_arrow(compat_level=pl.CompatLevel.oldest())
    pq.write_table(arrow, path, compression="none", use_dictionary=False)
    assert pl.concat(vector_batches(path, ["embedding"])).to_series().equals(vectors)


def test_vectors_are_stored_as_they_are_read_fastest(path: Path) -> None:
    group = pq.read_metadata(path).row_group(0)
    columns = {group.column(place).path_in_schema: group.column(place) for place in range(group.num_columns)}
    vectors = columns.pop("embedding.list.element")
    assert vectors.compression == "UNCOMPRESSED" and not vectors.has_dictionary_page
    assert {column.compression for column in columns.values()} == {"ZSTD"}
    assert columns["caption_id"].statistics.max  # by which ranges of captions are found
