"""From indices to batches that hold what they should although a picture may not decode, and say which rows they hold.

Belongs here: replacing rows that cannot be used, and the hash by which effective batches are compared. How rows
become tensors is the collator's business; in which order they come, that of the batch order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from spare_assets.training.order import TrainingError
from spare_assets.training.rows import TrainingRow, TrainingRows

ROW_KEYS = "row_keys"
UNREADABLE = "unreadable"
SAMPLED_ROWS = 200
UNREADABLE_SHARE = 0.05
"""Of the rows looked at before training, more than this share must not be unusable."""
_ROWS_TRIED = 1000

Collator = Callable[[Sequence[TrainingRow]], dict[str, Any]]


class RowBatches:
    """Collates indices of rows into the model's inputs, with two entries that are not for the model.

    `row_keys`: (rows,) int64, a hash of each row's identity. `unreadable`: reasons by row id, of rows that the
    collator refuses. With `replace` the next usable row of the table takes the place of such a row, so that a batch
    keeps its size and is the same in every process and after a resume; otherwise the row is left out, and a batch
    without rows is empty of tensors. Raises TrainingError where a thousand rows in sequence are unusable.
    """

    def __init__(self, rows: TrainingRows, collator: Collator, *, replace: bool) -> None:
        self._rows = rows
        self._collator = collator
        self._replace = replace

    def __call__(self, indices: Sequence[int]) -> dict[str, Any]:
        """A batch of the rows at these indices."""
        import torch

        rows = [self._rows[index] for index in indices]
        unreadable: dict[str, str] = {}
        try:
            batch = self._collator(rows)
        except TrainingError:
            rows = [row for index in indices if (row := self._usable(index, unreadable)) is not None]
            batch = self._collator(rows) if rows else {}
        batch[ROW_KEYS] = torch.tensor([row_key(row.row_id) for row in rows], dtype=torch.int64)
        batch[UNREADABLE] = unreadable
        return batch

    def _usable(self, index: int, unreadable: dict[str, str]) -> TrainingRow | None:
        """The row, or the one that stands in for it; the reasons are added for those that could not be used."""
        tried = min(_ROWS_TRIED, len(self._rows)) if self._replace else 1
        for place in range(index, index + tried):
            row = self._rows[place % len(self._rows)]
            if (reason := refusal(row, self._collator)) is None:
                return row
            unreadable[row.row_id] = reason
        if self._replace:
            raise TrainingError(f"{tried:,} training rows in sequence cannot be used, the last one: {reason}")
        return None


def row_key(row_id: str) -> int:
    """64 bits of a row's identity, signed. Keys of a batch are added up, so their order does not matter."""
    return int.from_bytes(hashlib.sha256(row_id.encode()).digest()[:8], "big", signed=True)


def refusal(row: TrainingRow, collator: Collator) -> str | None:
    """Why a row cannot be used; None where it can."""
    try:
        collator([row])
    except TrainingError as error:
        return str(error)
    return None


def check_sample(rows: TrainingRows, collator: Collator, seed: int) -> None:
    """Look at some rows before hours are spent. Raises TrainingError where more than 5 % of 200 cannot be used."""
    sample = np.random.default_rng([seed]).permutation(len(rows))[:SAMPLED_ROWS]
    reasons = [reason for index in sample if (reason := refusal(rows[index], collator)) is not None]
    if len(reasons) > UNREADABLE_SHARE * len(sample):
        raise TrainingError(
            f"{len(reasons):,} of {len(sample):,} training rows looked at cannot be used, more than "
            f"{UNREADABLE_SHARE:.0%}; the first: {reasons[0]}"
        )
