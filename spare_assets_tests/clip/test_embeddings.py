from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spare_assets.clip.embeddings import image_embeddings, question_embeddings
from spare_assets.progress import Progress

WIDTH = 8


class CountingEncoder:
    """Unit vectors from hashes; counts what it was asked to encode."""

    fingerprint = "counting"

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.images: list[Path] = []

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float16]:
        self.texts.extend(texts)
        return vectors(texts)

    def encode_images(self, paths: Sequence[Path]) -> NDArray[np.float16]:
        self.images.extend(paths)
        return vectors([str(path) for path in paths])


def vectors(names: Sequence[str]) -> NDArray[np.float16]:
    seeds = [int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) for name in names]
    rows = np.stack([np.random.default_rng(seed).standard_normal(WIDTH) for seed in seeds])
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def pairs(questions: Sequence[str]) -> pl.LazyFrame:
    count = len(questions)
    return pl.LazyFrame(
        {
            "pair_id": [f"p{n:05}" for n in range(count)],
            "caption_id": [f"s:{n:05}" for n in range(count)],
            "source": ["s"] * count,
            "position": [0] * count,
            "question": questions,
        }
    )


def quiet() -> Progress:
    return Progress("embed", None, lambda beat: None)


def embedded(encoder: CountingEncoder, questions: Sequence[str], previous: pl.LazyFrame | None = None) -> pl.DataFrame:
    return pl.concat(question_embeddings(pairs(questions), previous, encoder, "", quiet()))


def test_each_row_gets_the_vector_of_its_question_and_equal_ones_are_encoded_once() -> None:
    encoder = CountingEncoder()
    questions = ["where?", "what?", "where?"]
    rows = embedded(encoder, questions)
    assert np.array_equal(rows["embedding"].to_numpy(), vectors(questions))
    assert sorted(encoder.texts) == ["what?", "where?"]


def test_rows_embedded_before_are_taken_over() -> None:
    before = embedded(CountingEncoder(), ["a", "b", "c"])
    again, more = CountingEncoder(), CountingEncoder()
    assert embedded(again, ["a", "b", "c"], before.lazy()).equals(before)
    assert again.texts == []
    rows = embedded(more, ["a", "b", "c", "d"], before.lazy())
    assert more.texts == ["d"]
    assert np.array_equal(rows["embedding"].to_numpy(), vectors(["a", "b", "c", "d"]))


def test_the_prefix_stands_before_every_question() -> None:
    encoder = CountingEncoder()
    list(question_embeddings(pairs(["a"]), None, encoder, "A photo depicts ", quiet()))
    assert encoder.texts == ["A photo depicts a"]


def test_images_are_taken_over_by_hash_and_unusable_ones_left_out() -> None:
    images = pl.LazyFrame(
        {
            "image_id": ["i1", "i2", "i3"],
            "source": ["s"] * 3,
            "status": ["ok", "missing", "ok"],
            "path": ["/one.jpg", None, "/three.jpg"],
            "sha256": ["h1", None, "h3"],
        }
    )
    encoder = CountingEncoder()
    before = pl.concat(image_embeddings(images, None, encoder, quiet()))
    assert before["image_id"].to_list() == ["i1", "i3"]
    changed = images.with_columns(sha256=pl.when(pl.col("image_id") == "i3").then(pl.lit("new")).otherwise("sha256"))
    again = CountingEncoder()
    list(image_embeddings(changed, before.lazy(), again, quiet()))
    assert [path.name for path in again.images] == ["three.jpg"]


def test_no_pairs_load_no_model() -> None:
    encoder = CountingEncoder()
    assert sum(batch.height for batch in question_embeddings(pairs([]), None, encoder, "", quiet())) == 0
    assert encoder.texts == []
