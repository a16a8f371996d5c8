"""Assembly of the dataset: samples with their image and the list of their surviving pairs (paper 3.2.2)."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from spare_assets.analyses.frames_of_reference import mark_frames
from spare_assets.storage.schemas import TABLES


def samples(captions: pl.LazyFrame, pairs: pl.LazyFrame, images: pl.LazyFrame, alignment: pl.LazyFrame) -> pl.LazyFrame:
    """Samples of one source, sorted by caption_id: every caption that still holds a pair, with its pairs in order.

    `captions`, `pairs`, `images` and `alignment` are the source's spatial_captions, spatial_pairs, images and
    alignment_verdicts. Each pair is marked with its frame of reference.
    """
    lists = (
        pairs.join(
            alignment.select("pair_id", alignment_score="score"),
            on="pair_id",
            how="left",
            maintain_order="left",
        )
        .with_columns(mark_frames(pl.struct("question", "answer")))
        .sort("caption_id", "position")
        .group_by("caption_id", maintain_order=True)
        .agg(pairs=pl.struct("pair_id", "question", "answer", "alignment_score", "frame"))
    )
    usable = images.filter(pl.col("status") == "ok").select("image_id", image_path="path", image_sha256="sha256")
    return (
        captions.join(lists, on="caption_id", how="inner")
        .join(usable, on="image_id", how="left")
        .select(TABLES["spare_dataset"].names)
        .sort("caption_id")
    )


def in_key_order(sources: Sequence[str]) -> list[str]:
    """Sources in the order in which their caption ids sort (ids begin with `<source>:`)."""
    return sorted(sources, key=lambda source: f"{source}:")
