"""Check 1: is the question new within its sample? (paper 3.3)

Questions of one caption are compared, first as text, then by the cosine of their CLIP embeddings. Computing those
embeddings does not belong here.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spare_assets.quality.embeddings import BLOCK_ROWS, Workspace, embeddings_of
from spare_assets.quality.samples import Rows, sample_chunks, verdict_columns


def deduplication_verdicts(pairs: pl.LazyFrame, embeddings: Rows, cosine: float) -> Iterator[pl.DataFrame]:
    """Verdicts on pairs, greedily in generation order within each sample.

    A pair goes when an earlier pair of its sample asks the same question (Unicode normal form, case, white space and
    closing punctuation aside; score 1), or when its cosine with an earlier kept pair is above `cosine`. The score is
    the largest cosine with an earlier kept pair, null for the first pair.

    `pairs` and `embeddings` (caption_id, pair_id, embedding: half precision) are sorted by caption_id, position.
    Raises MisalignedTablesError when they do not fit.
    """
    named = pairs.select("pair_id", "caption_id", "source", "position", folded=folded_question())
    for chunk, embedded in sample_chunks(named, embeddings):
        first = chunk.select(pl.col("position").first().over("caption_id", "folded")).to_series()
        repeated = first != chunk["position"]
        kept, score, nearest = _greedy(chunk, embeddings_of(chunk, embedded), repeated.to_numpy(), cosine)
        judged = chunk.with_columns(
            kept=pl.Series(kept),
            score=pl.Series(score, nan_to_null=True),
            same=first,
            near=chunk["position"].gather(nearest),
            repeated=repeated,
        )
        yield judged.select(
            verdict_columns(
                kept=pl.col("kept"),
                score=pl.when("repeated").then(pl.lit(1.0)).otherwise("score"),
                threshold=cosine,
                reason=pl.when("repeated")
                .then(pl.format("same question as pair {}", "same"))
                .when("kept")
                .then(pl.lit(""))
                .otherwise(pl.format("near-duplicate of pair {}", "near")),
            )
        )


def folded_question() -> pl.Expr:
    """The question by which two pairs count as asking the same."""
    return (
        pl.col("question")
        .map_batches(_composed, return_dtype=pl.String, is_elementwise=True)
        # To upper case and back is the Unicode case folding, as far as text has both cases: ß becomes ss.
        .str.to_uppercase()
        .str.to_lowercase()
        .str.replace_all(r"\s{2,}|[^\S ]", " ")
        .str.replace(r"^ ", "")
        .str.replace(r"[\p{P}\s]+$", "")
    )


def _composed(texts: pl.Series) -> pl.Series:
    """Texts in Unicode's normal form NFC. ASCII is in it, and asking takes longer than all other folding."""
    foreign = (texts.str.len_bytes() > texts.str.len_chars()).arg_true()
    return texts.scatter(foreign, texts.gather(foreign).str.normalize("NFC")) if len(foreign) else texts


def _greedy(
    pairs: pl.DataFrame, vectors: NDArray[np.float16], repeated: NDArray[np.bool_], cosine: float
) -> tuple[NDArray[np.bool_], NDArray[np.float32], NDArray[np.int64]]:
    """Which rows stay, their largest cosine with an earlier kept row of the sample (NaN: none), and that row.

    Samples of equal size are stacked, so that each is multiplied in the same shape wherever the chunks fall, and
    sums never depend on that.
    """
    kept, score = ~repeated, np.full(len(repeated), np.nan, dtype=np.float32)
    nearest = np.arange(len(repeated))
    sizes = np.bincount(pairs["caption_id"].rle_id().to_numpy())
    starts = np.cumsum(sizes) - sizes
    workspace = Workspace()
    for size in np.unique(sizes[sizes > 1]):
        samples = starts[sizes == size, None] + np.arange(size)
        step = max(1, BLOCK_ROWS // size)
        for rows in (samples[start : start + step] for start in range(0, len(samples), step)):
            cosines = _cosines(workspace.rows(vectors, rows))
            for place in range(1, size):
                earlier = np.where(kept[rows[:, :place]], cosines[:, place, :place], -np.inf)
                closest = earlier.argmax(axis=1)
                here = rows[:, place]
                score[here] = np.take_along_axis(earlier, closest[:, None], axis=1)[:, 0]
                nearest[here] = rows[np.arange(len(rows)), closest]
                kept[here] &= ~(score[here] > np.float32(cosine))
    return kept, score, nearest


def _cosines(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosines within each sample, [samples, pairs, pairs], from [samples, pairs, width]."""
    products = vectors @ vectors.transpose(0, 2, 1)
    lengths = np.sqrt(np.einsum("spp->sp", products))
    lengths[lengths == 0] = 1
    cosines: NDArray[np.float32] = products / (lengths[:, :, None] * lengths[:, None, :])
    return cosines.clip(-1, 1, out=cosines)
