"""Small tables in the form that the checks read."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from spare_assets.storage.schemas import TABLES


def toy_pairs(rows: Iterable[tuple[str, str, str]]) -> pl.DataFrame:
    """Pairs from (caption id, question, answer), numbered within each caption, as `qa_pairs` holds them."""
    schema = {"caption_id": pl.String, "question": pl.String, "answer": pl.String}
    frame = pl.DataFrame(list(rows), schema=schema, orient="row")
    place = pl.int_range(pl.len()).over("caption_id")
    return frame.select(
        pair_id=pl.format("{}#{}", "caption_id", place),
        caption_id="caption_id",
        source=pl.lit("toy"),
        position=place,
        question="question",
        answer="answer",
    ).cast(dict(TABLES["qa_pairs"].polars()))


def embedding_column(vectors: ArrayLike) -> pl.Series:
    """Unit vectors in half precision, as embedding tables hold them; zero vectors stay."""
    rows = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = (rows / np.where(lengths == 0, 1, lengths)).astype(np.float16)
    return pl.Series("embedding", unit, dtype=pl.Array(pl.Float16, rows.shape[1]))
