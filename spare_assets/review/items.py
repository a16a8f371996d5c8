"""What is marked and with which words: the contract between the sample, the page and the files of verdicts.

How items are drawn, shown or counted is not known here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Literal

import polars as pl

FORMAT = 1
"""Version of the files of verdicts. A change to words, fields or what they mean counts it up."""
FORMAT_NAME = "spare-review"

Kind = Literal["pair", "caption"]

VERDICTS: Mapping[Kind, tuple[str, ...]] = {
    "pair": ("correct", "wrong relation", "wrong object", "not spatial", "unclear"),
    "caption": ("spatial", "not spatial", "unclear"),
}
"""The words of a verdict, in the order of their keys on the page."""
ERRORS = ("wrong relation", "wrong object", "not spatial")
"""Verdicts that say something is wrong with a pair."""
UNCLEAR = "unclear"
COMMENT_CHARACTERS = 2_000

_TEXTS: Mapping[Kind, tuple[str, ...]] = {"pair": ("question", "answer", "caption"), "caption": ("caption",)}
_DIGITS = 16


def items(pairs: pl.DataFrame, captions: pl.DataFrame) -> pl.DataFrame:
    """Everything there is to mark: kind, item, source, place, `seen` (a hash of the text), and `text` to quote.

    Sorted by kind and place; `pairs` is `review_sample`, `captions` is `caption_review_sample`.
    """
    parts = [_items("pair", pairs, "pair_id"), _items("caption", captions, "caption_id")]
    return pl.concat(parts).sort("kind", "place")


def sample_hash(found: pl.DataFrame) -> str:
    """Identity of what reviewers are shown: ids and texts of both samples, whatever their order."""
    return _hash(found.select("kind", "item", "seen").sort("kind", "item").rows())


def _items(kind: Kind, rows: pl.DataFrame, identity: str) -> pl.DataFrame:
    seen = [_hash(texts) for texts in rows.select(_TEXTS[kind]).iter_rows()]
    text = pl.format("{} → {}", "question", "answer") if kind == "pair" else pl.col("caption")
    return rows.select(
        pl.lit(kind).alias("kind"),
        pl.col(identity).alias("item"),
        "source",
        "place",
        pl.Series("seen", seen, dtype=pl.String),
        text.alias("text"),
    )


def _hash(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:_DIGITS]
