"""Identities of generated pairs.

How a pair is named from its content belongs here; where pairs come from does not.
"""

from __future__ import annotations

import hashlib
import json

import polars as pl

DIGITS = 20


def pair_id(caption_id: str, question: str, answer: str, ordinal: int) -> str:
    """Identity of one pair: 20 hexadecimal digits (80 bits) of the sha256 of what makes it that pair.

    `ordinal` counts earlier pairs of the caption with the same question and answer, from 0. The place in the
    reply is not part of it, so an identity survives a re-parse that keeps more or fewer of the other pairs.
    """
    content = json.dumps([caption_id, question, answer, ordinal], ensure_ascii=True)
    return hashlib.sha256(content.encode()).hexdigest()[:DIGITS]


def with_pair_ids(frame: pl.DataFrame) -> pl.DataFrame:
    """The pairs with `pair_id` as first column; all other columns and the order of rows stay.

    Needs caption_id, position, question and answer, and all pairs of a caption in one frame.
    """
    same = ["caption_id", "question", "answer"]
    ordinal = (pl.col("position").rank("ordinal") - 1).over(same).alias("ordinal")
    identities = [pair_id(*row) for row in frame.select(*same, ordinal).iter_rows()]
    return frame.select(pl.Series("pair_id", identities, dtype=pl.String), pl.all())
