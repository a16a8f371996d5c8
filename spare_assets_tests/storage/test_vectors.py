from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
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
    nothing, *batches = vector_batches(path, ["embedding", "caption_id"], 5_000)
    wanted = table.select("embedding", "caption_id")
    assert nothing.equals(wanted.clear())
    assert len(batches) == 8 and pl.concat(batches).equals(wanted)


def test_vectors_are_stored_as_they_are_read_fastest(path: Path) -> None:
    group = pq.read_metadata(path).row_group(0)
    columns = {group.column(place).path_in_schema: group.column(place) for place in range(group.num_columns)}
    vectors = columns.pop("embedding.list.element")
    assert vectors.compression == "UNCOMPRESSED" and not vectors.has_dictionary_page
    assert {column.compression for column in columns.values()} == {"ZSTD"}
    assert columns["caption_id"].statistics.max  # by which ranges of captions are found
