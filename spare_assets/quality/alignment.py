"""Check 4: does the question fit the image? (paper 3.3)

Compares stored CLIP embeddings of questions and images. Computing those, and the prefix put before a question, do not
belong here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spare_assets.quality.embeddings import BLOCK_ROWS, Workspace, embeddings_of
from spare_assets.quality.samples import MisalignedTablesError, Rows, sample_chunks, verdict_columns

Mode = Literal["required", "when_image_present", "off"]


def alignment_verdicts(
    pairs: pl.LazyFrame,
    question_embeddings: Rows,
    image_embeddings: Rows,
    caption_images: pl.LazyFrame,
    *,
    mode: Mode,
    minimum: float,
    weight: float = 1.0,
) -> Iterator[pl.DataFrame]:
    """Verdicts on pairs: kept where the similarity of image and question reaches `minimum`.

    The similarity is the cosine; with another `weight` than 1 it is weight * max(cosine, 0), which with 2.5 and its
    prefix is CLIPScore as published. A pair whose image is not at hand is dropped when images are `required`, and
    else passes without a score; with `off` all do.

    `pairs`, `question_embeddings` (caption_id, pair_id, embedding; of these pairs and possibly of others) and
    `caption_images` (caption_id, image_id, status) are sorted by caption_id. The image embeddings (image_id,
    embedding) are held in memory, 1 KB for 512 numbers. Raises MisalignedTablesError when the tables do not fit.
    """
    if mode == "off":
        for (chunk,) in sample_chunks(pairs):
            yield chunk.select(
                verdict_columns(
                    kept=pl.lit(True),
                    score=pl.lit(None),
                    threshold=None,
                    reason=pl.lit("passed unscored: alignment off"),
                )
            )
        return
    images = _whole(image_embeddings)
    vectors = images["embedding"].to_numpy()
    places = images.lazy().select("image_id", place=pl.int_range(pl.len(), dtype=pl.UInt32))
    for chunk, embedded, listed in sample_chunks(
        pairs.select("pair_id", "caption_id", "source", "position"),
        question_embeddings,
        caption_images.select("caption_id", "image_id", "status").join(
            places, on="image_id", how="left", maintain_order="left"
        ),
    ):
        located = chunk.join(listed, on="caption_id", how="left", maintain_order="left")
        usable = located.select((pl.col("status") == "ok") & pl.col("place").is_not_null()).to_series()
        rows = usable.arg_true().to_numpy()
        score = np.full(chunk.height, np.nan, dtype=np.float32)
        if len(rows):
            distinct, image_of = np.unique(located["place"].gather(rows), return_inverse=True)
            cosines = _cosines(embeddings_of(chunk, embedded), rows, vectors[distinct], image_of)
            score[rows] = cosines if weight == 1 else np.float32(weight) * np.maximum(cosines, 0)
        yield located.with_columns(score=pl.Series(score, nan_to_null=True)).select(_verdicts(mode, minimum))


def _whole(table: Rows) -> pl.DataFrame:
    """A table in memory."""
    return table.collect() if isinstance(table, pl.LazyFrame) else pl.concat(table)


def _verdicts(mode: Mode, minimum: float) -> list[str | pl.Expr]:
    """Verdict columns from pairs with score (null without a usable image) and image status."""
    passed = (pl.col("score") >= pl.lit(minimum, dtype=pl.Float32)).fill_null(mode != "required")
    # An image may be at hand and yet have no embedding: it could not be decoded.
    lacking = pl.when(pl.col("status") == "ok").then(pl.lit("not embedded")).otherwise("status")
    unscored = "no image: {}" if mode == "required" else "passed unscored: {}"
    return verdict_columns(
        kept=passed,
        score=pl.col("score"),
        threshold=minimum,
        reason=pl.when(pl.col("score").is_null())
        .then(pl.format(unscored, lacking.fill_null("unknown")))
        .when(passed)
        .then(pl.lit(""))
        .otherwise(pl.lit("question does not fit the image")),
    )


def _cosines(
    questions: NDArray[np.float16],
    rows: NDArray[np.uint32],
    images: NDArray[np.float16],
    image_of: NDArray[np.intp],
) -> NDArray[np.float32]:
    """Cosine of each of these question rows, which ascend, and its image.

    Sums are along one row each, whatever the chunk.
    """
    if questions.shape[1] != images.shape[1]:
        raise MisalignedTablesError(
            f"question embeddings are {questions.shape[1]} numbers wide and image embeddings {images.shape[1]}: "
            "they come from different CLIP models; materialize question_embeddings and image_embeddings again"
        )
    shown = _unit(Workspace().widened(images))
    workspace = Workspace()
    beside = np.empty((min(BLOCK_ROWS, len(rows)), shown.shape[1]), dtype=np.float32)
    cosines = np.empty(len(rows), dtype=np.float32)
    for block in (slice(start, start + BLOCK_ROWS) for start in range(0, len(rows), BLOCK_ROWS)):
        first, last = rows[block][[0, -1]]
        lies_together = last - first + 1 == len(rows[block])
        asked = _unit(
            workspace.widened(questions[first : last + 1]) if lies_together else workspace.rows(questions, rows[block])
        )
        of_block = np.take(shown, image_of[block], axis=0, out=beside[: len(asked)], mode="clip")
        cosines[block] = np.einsum("rw,rw->r", asked, of_block)
    return cosines


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The vectors scaled to unit length, in place, since half precision rounded them off it; zero stays."""
    lengths = np.sqrt(np.einsum("rw,rw->r", vectors, vectors))
    vectors /= np.where(lengths == 0, 1, lengths)[:, None]
    return vectors
