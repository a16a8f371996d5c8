"""Histograms of scores hold every row once, on the right side of the cut-off."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image, ImageColor

from spare_assets.pages.card import DROPPED, KEPT, WIDTH
from spare_assets.pages.score_histogram import ScoreBins, amount_bins, score_bins, score_histogram
from spare_assets_tests.pages.hostile_texts import HOSTILE


def verdicts(scores: Sequence[float | None], cut_off: float | None) -> pl.LazyFrame:
    """A verdict table in which what reaches the cut-off is kept; without a cut-off everything is."""
    schema = {"score": pl.Float32, "threshold": pl.Float32}
    rows = pl.LazyFrame({"score": scores, "threshold": [cut_off] * len(scores)}, schema=schema)
    reached = pl.col("score") >= pl.col("threshold")
    return rows.with_columns(kept=pl.lit(True) if cut_off is None else reached.fill_null(False))


FINITE = st.floats(-1, 1, width=32)


@given(st.lists(st.one_of(st.none(), FINITE, st.just(float("nan"))), max_size=60), st.one_of(st.none(), FINITE))
@example([], 0.5)
@example([None, None], 0.5)
@example([0.5], 0.5)
@example([0.0, 1.0, 1.0], 0.95)
@example([0.25, 0.24999999], 0.25)
@example([1e-38, 0.0], None)
@example([-1.0, -0.75], None)
def test_every_row_is_counted_once_and_on_its_side_of_the_cut_off(
    scores: list[float | None], cut_off: float | None
) -> None:
    table = verdicts(scores, cut_off)
    counts = score_bins(table)
    rows = table.collect()
    assert counts.kept == rows["kept"].sum()
    assert counts.dropped == (~rows["kept"]).sum()
    missing = sum(score is None or math.isnan(score) for score in scores)
    assert counts.kept_unscored + counts.dropped_unscored == missing
    assert counts.beyond == 0 or cut_off is None
    assert len(counts.bins) <= 90
    for part in counts.bins:
        if counts.cut_off is not None and not any(score is not None and math.isnan(score) for score in scores):
            # What is judged by the cut-off alone never shares a bin.
            assert not part.dropped if part.low >= counts.cut_off else not part.kept
    if counts.bins and counts.cut_off is not None:
        edges = [*(part.low for part in counts.bins), counts.bins[-1].low + counts.width]
        assert any(math.isclose(edge, counts.cut_off, abs_tol=1e-9 * counts.width + 1e-12) for edge in edges)


def test_bins_hold_the_scores_between_their_edges() -> None:
    scores = np.random.default_rng(0).normal(0.3, 0.1, 5_000).astype(np.float32)
    counts = score_bins(verdicts(scores.tolist(), 0.25))
    for part in counts.bins:
        inside = ((scores >= part.low - 1e-6) & (scores < part.low + counts.width + 1e-6)).sum()
        strictly = ((scores >= part.low + 1e-6) & (scores < part.low + counts.width - 1e-6)).sum()
        assert strictly <= part.kept + part.dropped <= inside
    assert 20 <= len(counts.bins) <= 60


def test_amounts_far_out_are_counted_in_the_outermost_bins() -> None:
    words = [*range(50, 150)] * 20 + [1_000_000]
    counts = amount_bins(pl.LazyFrame({"words": words}), "words")
    assert (counts.kept, counts.dropped, counts.beyond) == (len(words), 0, 1)
    assert counts.width >= 1 and counts.width == int(counts.width)
    assert counts.bins[-1].kept == 1, "the outermost bin"


def drawn(counts: ScoreBins, title: str = "title") -> Image.Image:
    png = score_histogram(counts, title)
    assert len(png) < 30_000
    return Image.open(io.BytesIO(png)).convert("RGB")


def places(picture: Image.Image, colour: str) -> np.ndarray:  # type: ignore[type-arg]
    """Columns below the legend in which a colour stands."""
    below = np.asarray(picture)[60:]
    return np.flatnonzero((below == np.array(ImageColor.getrgb(colour))).all(axis=2).any(axis=0))


@pytest.mark.parametrize("cut_off", [0.2, 0.5, 0.9])
def test_the_cut_off_is_drawn_between_what_is_dropped_and_what_is_kept(cut_off: float) -> None:
    picture = drawn(score_bins(verdicts([place / 500 for place in range(501)], cut_off)))
    kept, dropped = places(picture, KEPT), places(picture, DROPPED)
    assert picture.width == WIDTH
    left, right = dropped.min(), kept.max()
    assert dropped.max() < kept.min()
    edge = (dropped.max() + kept.min()) / 2
    assert (edge - left) / (right - left) == pytest.approx(cut_off, abs=0.02)
    column = np.asarray(picture)[50:70, int(edge) - 3 : int(edge) + 4]
    assert (column.sum(axis=2) < 200).any(), "the dashed line stands above the bars too"


def test_a_single_row_among_many_is_seen() -> None:
    counts = score_bins(verdicts([0.1] + [0.9] * 1_000_000, 0.5))
    assert len(places(drawn(counts), DROPPED))


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:12]))
def test_any_title_is_drawn(text: str) -> None:
    drawn(score_bins(verdicts([0.1, 0.9], 0.5)), text)
