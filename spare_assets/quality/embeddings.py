"""Stored half-precision embeddings as numpy arrays.

Finding the vectors of given rows and making them computable belongs here; what they are compared for does not.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spare_assets.quality.samples import MisalignedTablesError

BLOCK_ROWS = 1024
"""Vectors to compute with at once: 2 MB of 512 single-precision numbers, which stay in a core's cache."""


def embeddings_of(pairs: pl.DataFrame, embedded: pl.DataFrame) -> NDArray[np.float16]:
    """The question embeddings of the pairs, in their order, [pairs, width].

    `embedded` holds pair_id and embedding, of these pairs and possibly of others.

    Raises MisalignedTablesError naming a pair that has no embedding.
    """
    parts = [part.to_numpy() for part in embedded["embedding"].get_chunks()]
    vectors = parts[0] if len(parts) == 1 else np.concatenate(parts)
    if not embedded["pair_id"].equals(pairs["pair_id"]):
        places = pairs.select("pair_id").join(
            embedded.select("pair_id").with_row_index("place"),
            on="pair_id",
            how="left",
            maintain_order="left",
        )
        if missing := places["place"].null_count():
            pair_id = places.filter(pl.col("place").is_null()).item(0, "pair_id")
            raise MisalignedTablesError(
                f"{missing} of {pairs.height} pairs up to caption {pairs.item(-1, 'caption_id')!r} have no question "
                f"embedding (first: pair {pair_id}): materialize question_embeddings again"
            )
        vectors = vectors[places["place"].to_numpy()]
    return np.asarray(vectors, dtype=np.float16)


class Workspace:
    """Memory for one block of vectors after another: to ask the system for it each time takes longer than the sums.

    What a method returns is overwritten by its next call.
    """

    def __init__(self) -> None:
        self._gathered = np.empty(0, np.float16)
        self._widened = np.empty(0, np.int32)

    def rows(self, half: NDArray[np.float16], rows: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """These rows of stored vectors, [*rows.shape, width], in single precision."""
        shape = (*rows.shape, half.shape[1])
        if self._gathered.size < prod(shape):
            self._gathered = np.empty(prod(shape), np.float16)
        gathered = self._gathered[: prod(shape)].reshape(shape)
        # With another mode numpy gathers into memory of its own first.
        np.take(half, rows, axis=0, out=gathered, mode="clip")
        return self.widened(gathered)

    def widened(self, half: NDArray[np.float16]) -> NDArray[np.float32]:
        """Half precision as single precision, exactly; for finite numbers.

        numpy converts one number at a time. Here sign and magnitude move to their place in 32 bits, and one
        multiplication mends the exponent, subnormal numbers included, seven times as fast.
        """
        if self._widened.size < half.size:
            self._widened = np.empty(half.size, np.int32)
        bits = self._widened[: half.size].reshape(half.shape)
        np.copyto(bits, half.view(np.int16))
        bits <<= 13
        bits &= np.int32(-0x70002000)  # sign, five bits of exponent, ten of mantissa
        single = bits.view(np.float32)
        single *= np.float32(2.0**112)  # the difference of the two exponent biases, 127 - 15
        return single
