from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spare_assets.quality.samples import MisalignedTablesError, sample_chunks

SCHEMA = {"caption_id": pl.String, "row": pl.Int64}


def table(captions: list[int]) -> pl.LazyFrame:
    return pl.LazyFrame([(f"c{caption:03d}", row) for row, caption in enumerate(captions)], SCHEMA, orient="row")


captions = st.lists(st.integers(0, 12), max_size=40).map(sorted)


@given(captions, captions, captions, st.integers(1, 12))
def test_chunks_hold_whole_samples_and_what_belongs_to_them(
    pairs: list[int], one: list[int], other: list[int], rows: int
) -> None:
    chunks = list(sample_chunks(table(pairs), table(one), table(other), rows=rows))
    together = pl.concat([chunk for chunk, *_ in chunks]) if chunks else pl.DataFrame(schema=SCHEMA)
    assert together.equals(table(pairs).collect())
    owner = [set(chunk["caption_id"]) for chunk, *_ in chunks]
    assert sum(len(held) for held in owner) == len(set(pairs))
    for (chunk, *beside), held in zip(chunks, owner, strict=True):
        assert chunk.height <= rows + max(pairs.count(caption) for caption in pairs)
        low, high = min(held), max(held)
        for found, all_rows in zip(beside, (one, other), strict=True):
            expected = table(all_rows).filter(pl.col("caption_id").is_between(pl.lit(low), pl.lit(high))).collect()
            assert found.equals(expected)


@pytest.mark.parametrize("rows", [1, 2, 3, 100])
def test_a_table_out_of_order_is_refused(rows: int) -> None:
    with pytest.raises(MisalignedTablesError, match=r"not sorted by caption_id around 'c00"):
        list(sample_chunks(table([1, 2, 2, 0]), rows=rows))
    with pytest.raises(MisalignedTablesError, match="not sorted"):
        list(sample_chunks(table([1, 2, 3, 4]), table([1, 3, 2, 4]), rows=rows))


def test_a_table_may_come_in_batches_of_its_own() -> None:
    captions = [f"c{number // 5:03d}" for number in range(200)]
    pairs = pl.DataFrame({"caption_id": captions, "pair_id": range(200)})
    batches = [pairs.clear(), *(pairs[start : start + 33] for start in range(0, 200, 33))]
    for chunk, beside, nothing in sample_chunks(pairs.lazy(), iter(batches), [pairs.clear()], rows=40):
        assert beside.equals(chunk)
        assert nothing.equals(pairs.clear())
