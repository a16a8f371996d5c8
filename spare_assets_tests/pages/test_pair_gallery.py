"""Galleries mark the matcher's words, show photographs first, stay small, and take any text."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image, ImageColor

from spare_assets.pages.card import MARKED, MOST_BYTES, NORMAL, font, readable
from spare_assets.pages.pair_gallery import (
    GallerySample,
    dataset_samples,
    marked_runs,
    pair_gallery,
    pair_samples,
    wrapped,
)
from spare_assets.relations.matcher import keyword_spans, keywords_in
from spare_assets.relations.taxonomy import KEYWORDS
from spare_assets_tests.pages.hostile_texts import HOSTILE

TEXTS = st.lists(
    st.one_of(st.sampled_from(KEYWORDS), st.sampled_from([k.title() for k in KEYWORDS]), st.text(max_size=4))
).map(" ".join)


def matched(text: str) -> Counter[str]:
    """Keywords of a text by the matcher of corpora."""
    return Counter(pl.DataFrame({"text": [text]}).select(keywords_in(pl.col("text"))).item().to_list())


@given(TEXTS.map(readable))
@example("left, of the two; to the left\u2014of it")
@example("next-to the shed, İn front-of it, on3 _on")
def test_marked_are_the_words_that_the_matcher_counts(text: str) -> None:
    spans = list(keyword_spans(text))
    # The corpus matcher may know letters that this Python does not know yet.
    assert Counter(keyword for *_, keyword in spans) == matched(text)
    marked = {place for start, end, _ in spans for place in range(start, end)}
    runs = marked_runs(text)
    assert "".join(run.text for run in runs) == text
    place = 0
    for run in runs:
        assert {run.marked} == {position in marked for position in range(place, place + len(run.text))}
        place += len(run.text)


def test_overlapping_relation_words_are_one_mark() -> None:
    runs = marked_runs("The cup is on the left side of the box, (under) it.")
    assert [run.text for run in runs if run.marked] == ["on the left side of", "under"]


@given(TEXTS, st.integers(60, 500), st.integers(1, 4))
def test_lines_fit_and_hold_the_text_up_to_where_it_is_cut(text: str, width: int, most_lines: int) -> None:
    lines = wrapped(text, width, NORMAL, most_lines)
    assert len(lines) <= most_lines
    for line in lines:
        assert sum(font(NORMAL, bold=run.marked).getlength(run.text) for run in line) <= width + 3 * len(line)
    shown = " ".join("".join(run.text for run in line) for line in lines)
    if "…" not in shown:
        assert shown.split() == readable(text).split()


@pytest.fixture
def photographs(tmp_path: Path) -> list[Path]:
    """Nine photographs of noise, which no format makes small."""
    paths = [tmp_path / f"{number}.jpg" for number in range(9)]
    for number, path in enumerate(paths):
        noise = np.random.default_rng(number).integers(0, 256, (300, 400, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
    return paths


def sample(path: Path | None, question: str = "What is left of it?", answer: str = "The cat.") -> GallerySample:
    return GallerySample(str(path) if path else None, "A cat sits on a mat. " * 30, ((question, answer),) * 6)


def test_the_picture_stays_small_and_marks_are_drawn(photographs: list[Path]) -> None:
    png = pair_gallery([sample(path) for path in photographs], "Pairs")
    assert len(png) <= MOST_BYTES
    picture = Image.open(io.BytesIO(png))
    assert picture.width == 760 and picture.height < 800
    pixels = np.asarray(picture.convert("RGB"))
    assert (pixels == np.array(ImageColor.getrgb(MARKED))).all(axis=2).sum() > 500
    assert (pixels[0, 0] == 255).all(), "a card of its own, on dark pages too"


def test_photographs_that_can_be_shown_come_first(photographs: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(photographs[0].read_bytes()[:500])
    others = [sample(None), sample(broken), sample(tmp_path / "absent.jpg")]
    full = pair_gallery([sample(path) for path in photographs[:3]], "Pairs")
    assert pair_gallery([*others, *(sample(path) for path in photographs[:3])], "Pairs") == full
    assert pair_gallery([sample(photographs[0])] * 5, "Pairs") == pair_gallery([sample(photographs[0])], "Pairs")
    for few in ([], others[:1], others):
        assert pair_gallery(few, "Pairs")[:4] == b"\x89PNG"


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:12]))
def test_any_text_is_drawn_as_it_stands(text: str, photographs: list[Path]) -> None:
    samples = [GallerySample(str(path), text, ((text, text),) * 3) for path in (*photographs[:2], text[:50])]
    assert len(pair_gallery(samples, text)) <= MOST_BYTES


def test_candidates_come_from_all_over_a_table_with_their_captions_images_and_pairs() -> None:
    number = 40
    captions = pl.LazyFrame(
        {
            "caption_id": [f"a:{place:03}" for place in range(number)],
            "image_id": [f"i{place}" for place in range(number)],
            "caption": [f"caption {place}" for place in range(number)],
        }
    )
    pairs = pl.LazyFrame(
        [(f"a:{place:03}", position, f"q{place}.{position}", "a") for place in range(number) for position in range(3)],
        schema=["caption_id", "position", "question", "answer"],
        orient="row",
    )
    images = pl.LazyFrame({"image_id": ["i0", "i4"], "status": ["ok", "missing"], "path": ["/zero", None]})
    found = pair_samples(pairs, captions, images)
    assert len(found) == 9 and found[0].caption == "caption 0" and found[-1].caption == "caption 35"
    assert [one.image_path for one in found] == ["/zero", *[None] * 8]
    for one in found:
        place = one.caption.removeprefix("caption ")
        assert one.pairs == tuple((f"q{place}.{position}", "a") for position in range(3))
    assert [one.image_path for one in pair_samples(pairs, captions)] == [None] * 9
    assert pair_samples(pairs.head(0), captions, images) == []


def test_candidates_of_the_dataset() -> None:
    pair = {"question": "q", "answer": "a"}
    rows = pl.LazyFrame({"image_path": ["/a", None], "caption": ["x", "y"], "pairs": [[pair], [pair, pair]]})
    assert dataset_samples(rows) == [
        GallerySample("/a", "x", (("q", "a"),)),
        GallerySample(None, "y", (("q", "a"), ("q", "a"))),
    ]
    assert dataset_samples(rows.head(0)) == []
