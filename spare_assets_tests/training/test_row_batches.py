"""Batches keep their size when a row cannot be used, and say what they hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spare_assets.training.order import TrainingError
from spare_assets.training.row_batches import ROW_KEYS, UNREADABLE, RowBatches, check_sample, row_key
from spare_assets.training.rows import TrainingRow


def rows(count: int) -> Any:
    """Rows by index; a list stands in for the table."""
    return [TrainingRow(f"row-{index}", Path("p.png"), "s", (("q", "a"),)) for index in range(count)]


class Refusing:
    """Collates ids, and refuses some."""

    def __init__(self, *refused: str) -> None:
        self.refused = refused

    def __call__(self, given: Sequence[TrainingRow]) -> dict[str, Any]:
        if bad := [row.row_id for row in given if row.row_id in self.refused]:
            raise TrainingError(f"row {bad[0]!r}: its image does not decode")
        return {"input_ids": [row.row_id for row in given]}


def test_rows_stand_as_they_are() -> None:
    batch = RowBatches(rows(4), Refusing(), replace=True)([2, 0])
    assert batch["input_ids"] == ["row-2", "row-0"]
    assert batch[ROW_KEYS].tolist() == [row_key("row-2"), row_key("row-0")]
    assert batch[UNREADABLE] == {}


def test_the_next_usable_row_stands_in() -> None:
    batch = RowBatches(rows(4), Refusing("row-2", "row-3"), replace=True)([1, 2, 3])
    assert batch["input_ids"] == ["row-1", "row-0", "row-0"]
    assert batch[ROW_KEYS].tolist() == [row_key("row-1"), row_key("row-0"), row_key("row-0")]
    assert list(batch[UNREADABLE]) == ["row-2", "row-3"]
    assert "does not decode" in batch[UNREADABLE]["row-3"]


def test_a_row_is_left_out_where_nothing_may_stand_in() -> None:
    batches = RowBatches(rows(4), Refusing("row-2"), replace=False)
    assert batches([1, 2])["input_ids"] == ["row-1"]
    alone = batches([2])
    assert (list(alone), alone[ROW_KEYS].tolist(), list(alone[UNREADABLE])) == ([ROW_KEYS, UNREADABLE], [], ["row-2"])


def test_nothing_usable_is_an_error() -> None:
    with pytest.raises(TrainingError, match="3 training rows in sequence cannot be used, the last one: row 'row-0'"):
        RowBatches(rows(3), Refusing("row-0", "row-1", "row-2"), replace=True)([1])


@given(st.text())
def test_keys_are_64_bits(row_id: str) -> None:
    assert -(2**63) <= row_key(row_id) < 2**63


def test_a_table_of_bad_pictures_is_refused_before_training() -> None:
    check_sample(rows(100), Refusing(*(f"row-{index}" for index in range(5))), seed=0)
    with pytest.raises(TrainingError, match="6 of 100 training rows looked at cannot be used, more than 5%"):
        check_sample(rows(100), Refusing(*(f"row-{index}" for index in range(6))), seed=0)


def test_of_a_large_table_few_rows_are_looked_at() -> None:
    looked_at: list[str] = []

    def collate(given: Sequence[TrainingRow]) -> dict[str, Any]:
        looked_at.extend(row.row_id for row in given)
        return {}

    check_sample(rows(5000), collate, seed=1)
    assert len(set(looked_at)) == len(looked_at) == 200
