"""Embedding tables of questions and images: computed once, taken over where nothing changed.

How vectors are made is the encoder's business; what they are compared for, the checks'.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spare_assets.progress import Progress
from spare_assets.storage.schemas import TABLES

BATCH = 8_192


class Encoder(Protocol):
    """Turns texts and image files into unit vectors, half precision."""

    @property
    def fingerprint(self) -> str:
        """Identifies the model; known without loading it."""

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float16]:
        """One row per text."""

    def encode_images(self, paths: Sequence[Path]) -> NDArray[np.float16]:
        """One row per image file."""


def question_embeddings(
    pairs: pl.LazyFrame, previous: pl.LazyFrame | None, encoder: Encoder, prefix: str, progress: Progress
) -> Iterator[pl.DataFrame]:
    """Rows of `question_embeddings`, in the order of the pairs. Equal questions of a batch are encoded once.

    `previous` holds embeddings by the same encoder and prefix; pairs found there are not encoded again.
    """
    for batch in pairs.collect_batches(chunk_size=BATCH, maintain_order=True):
        known = _known(batch, previous, "caption_id", ["pair_id"])
        fresh = batch.join(known, on="pair_id", how="anti").select("question").unique(maintain_order=True)
        texts = [prefix + question for question in fresh["question"]]
        encoded = _encoded(fresh, encoder.encode_texts(texts)) if texts else None
        embedded = batch.join(known, on="pair_id", how="left", maintain_order="left")
        yield _filled(embedded, encoded, "question").select(TABLES["question_embeddings"].names)
        progress.advance(batch.height, skipped=known.height)


def image_embeddings(
    images: pl.LazyFrame, previous: pl.LazyFrame | None, encoder: Encoder, progress: Progress
) -> Iterator[pl.DataFrame]:
    """Rows of `image_embeddings` for usable images, in their order; equal files of a batch are encoded once."""
    usable = images.filter(pl.col("status") == "ok")
    for batch in usable.collect_batches(chunk_size=BATCH, maintain_order=True):
        known = _known(batch, previous, "image_id", ["image_id", "sha256"])
        fresh = batch.join(known, on=["image_id", "sha256"], how="anti").unique("sha256", maintain_order=True)
        paths = [Path(path) for path in fresh["path"]]
        encoded = _encoded(fresh.select("sha256"), encoder.encode_images(paths)) if paths else None
        embedded = batch.join(known, on=["image_id", "sha256"], how="left", maintain_order="left")
        yield _filled(embedded, encoded, "sha256").select(TABLES["image_embeddings"].names)
        progress.advance(batch.height, skipped=known.height)


def _known(batch: pl.DataFrame, previous: pl.LazyFrame | None, order: str, key: list[str]) -> pl.DataFrame:
    """Embeddings of earlier rows in the range of this batch; tables share their order, so the range is one slice."""
    if previous is None or not batch.height:
        return batch.head(0).select(*key, embedding=pl.lit(None, dtype=pl.Array(pl.Float16, 1)))
    lowest, highest = pl.lit(batch[order].min()), pl.lit(batch[order].max())
    return previous.filter(pl.col(order).is_between(lowest, highest)).select(*key, "embedding").collect()


def _encoded(rows: pl.DataFrame, vectors: NDArray[np.float16]) -> pl.DataFrame:
    width = vectors.shape[1]
    return rows.with_columns(fresh=pl.Series(vectors.astype(np.float16), dtype=pl.Array(pl.Float16, width)))


def _filled(embedded: pl.DataFrame, encoded: pl.DataFrame | None, key: str) -> pl.DataFrame:
    if encoded is None:
        return embedded
    joined = embedded.join(encoded, on=key, how="left", maintain_order="left")
    if embedded["embedding"].null_count() == embedded.height:
        return joined.with_columns(embedding=pl.col("fresh"))
    width: Any = embedded.schema["embedding"]
    if width != joined.schema["fresh"]:
        raise ValueError(f"embeddings of another width are stored: {width} beside {joined.schema['fresh']}")
    return joined.with_columns(embedding=pl.coalesce("embedding", "fresh"))
