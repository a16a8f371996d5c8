"""Funnels and bars show the numbers behind them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageColor

from spare_assets.dataset.funnel import FunnelStep
from spare_assets.pages.bars import Bar, bar_picture
from spare_assets.pages.card import DROPPED, KEPT
from spare_assets.pages.funnel_picture import FunnelBar, _columns, funnel_bars, funnel_picture
from spare_assets_tests.pages.hostile_texts import HOSTILE

STEPS = (
    FunnelStep("captions", "captions", 1_000, {"read": 990, "quarantined": 10}, "read"),
    FunnelStep("spatial_captions", "captions", 990, {"spatial": 300, "not spatial": 690, "failed": 0}, "spatial"),
    FunnelStep("qa_pairs", "captions", 300, {"with pairs": 290, "with none": 10, "failed": 0}, "with pairs"),
    FunnelStep("deduplicated_pairs", "pairs", 2_900, {"kept": 2_800, "dropped": 100}),
    FunnelStep("aligned_pairs", "pairs", 2_800, {"kept": 1_000, "passed unscored": 500, "dropped": 1_300}),
)


def test_a_bar_for_all_that_was_found_all_that_was_generated_and_what_every_stage_let_pass() -> None:
    assert funnel_bars(STEPS) == [
        FunnelBar("rows in the source", "captions", 1_000, 1_000),
        FunnelBar("captions", "captions", 990, 1_000),
        FunnelBar("spatial_captions", "captions", 300, 990),
        FunnelBar("captions with pairs", "captions", 290, 300),
        FunnelBar("qa_pairs", "pairs", 2_900, 2_900),
        FunnelBar("deduplicated_pairs", "pairs", 2_800, 2_900),
        FunnelBar("aligned_pairs", "pairs", 1_500, 2_800),
    ]


def test_what_is_materialized_so_far_is_drawn() -> None:
    for length in range(len(STEPS) + 1):
        picture = Image.open(io.BytesIO(funnel_picture({"docci": funnel_bars(STEPS[:length])}, "title")))
        assert picture.width > picture.height
    assert funnel_picture({}, "title")[:4] == b"\x89PNG"


def test_bars_are_as_long_as_their_numbers() -> None:
    picture = Image.open(io.BytesIO(funnel_picture({"docci": funnel_bars(STEPS)}, "title"))).convert("RGB")
    blue = (np.asarray(picture) == np.array(ImageColor.getrgb(KEPT))).all(axis=2)
    # The numbers stand in the bars, so the lengths are told from the rows of pixels above them.
    lengths = sorted({int(np.flatnonzero(row).max() - np.flatnonzero(row).min()) for row in blue if row.any()})
    longest = lengths[-1]
    for share in (0.99, 0.3, 0.29):
        assert any(length / longest == pytest.approx(share, abs=0.01) for length in lengths), share


def test_of_many_sources_the_smallest_are_summed() -> None:
    funnels = {f"source{number}": [FunnelBar("captions", "captions", number, 10)] for number in range(9)}
    columns = _columns(funnels)
    assert list(columns) == ["source5", "source6", "source7", "source8", "5 others"]
    assert columns["5 others"] == [FunnelBar("captions", "captions", 0 + 1 + 2 + 3 + 4, 50)]
    assert funnel_picture(funnels, "title")[:4] == b"\x89PNG"


def test_bars_beyond_the_fourteenth_are_summed() -> None:
    many = [Bar(str(place), 1, KEPT) for place in range(40)]
    long, short = (Image.open(io.BytesIO(bar_picture(many[:length], "title"))) for length in (40, 14))
    assert long.size == short.size
    assert bar_picture([], "title")[:4] == b"\x89PNG"


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:12]))
def test_any_text_is_drawn_as_it_stands(text: str) -> None:
    for png in (
        funnel_picture({text: [FunnelBar(text, text, 3, 10)]}, text),
        bar_picture([Bar(text, 10**15, DROPPED)], text),
    ):
        assert len(png) < 50_000
