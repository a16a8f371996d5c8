"""In which order rows are trained on: whole batches of rows alike in length, shuffled anew every epoch.

The order follows from its arguments alone, so that every process of a run and a resumed run see the same. What a
row is and who loads it is not known here.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

BATCHES_SORTED_TOGETHER = 50


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """Optimizer steps of one pass: the whole batches there are, and one where the rows don't fill a batch."""
    return max(rows // batch_size, min(rows, 1))


def epoch_order(lengths: NDArray[np.integer], batch_size: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Row indices of one epoch, `batch_size` consecutive ones to a batch.

    `lengths` are tokens per row, `batch_size` the rows of an optimizer step over all processes. Rows are shuffled,
    sorted by length within stretches of fifty batches, and the batches shuffled again: a batch holds rows of like
    length, those of like length side by side, so that little is padding. Rows that fill no batch are left out,
    others in every epoch. Fewer rows than `batch_size` make one batch of all of them.

    The first epoch begins with the batch of the longest row: what does not fit into memory fails at once.
    """
    rows = len(lengths)
    random = np.random.default_rng([seed % 2**64, epoch])
    shuffled = random.permutation(rows)
    batch_size = min(batch_size, rows)
    if not batch_size:
        return shuffled
    shuffled = shuffled[: rows - rows % batch_size]
    stretch = BATCHES_SORTED_TOGETHER * batch_size
    stretches = [shuffled[start : start + stretch] for start in range(0, len(shuffled), stretch)]
    ordered = np.concatenate([part[np.argsort(lengths[part], kind="stable")] for part in stretches])
    batches = random.permutation(ordered.reshape(-1, batch_size))
    if epoch == 0:
        longest = int(np.argmax(lengths[batches].max(axis=1)))
        batches[[0, longest]] = batches[[longest, 0]]
    return batches.reshape(-1)


class BatchOrder:
    """A sampler for a DataLoader: the row indices of the epoch that was set, 0 at first.

    It takes the place of a `torch.utils.data.Sampler` without being one, as the DataLoader allows, so that torch is
    not imported here. `accelerate` finds `set_epoch` by name.
    """

    def __init__(self, lengths: NDArray[np.integer], batch_size: int, seed: int) -> None:
        self._lengths = lengths
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """The epoch that the next iteration goes through, from 0."""
        self._epoch = epoch

    def __len__(self) -> int:
        rows = len(self._lengths)
        return steps_per_epoch(rows, self._batch_size) * min(self._batch_size, rows)

    def __iter__(self) -> Iterator[int]:
        return iter(epoch_order(self._lengths, self._batch_size, self._seed, self._epoch).tolist())
