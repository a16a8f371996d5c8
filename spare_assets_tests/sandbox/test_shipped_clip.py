"""The CLIP that ships, on scenes nobody trained on."""

from __future__ import annotations

import pytest

from spare_assets.clip.encoder import ClipEncoder
from spare_assets.sandbox import SANDBOX_CLIP
from spare_assets.sandbox.clip_builder import measure, measure_wordings


@pytest.fixture(scope="module")
def encoder() -> ClipEncoder:
    return ClipEncoder(str(SANDBOX_CLIP), device="cpu")


def test_it_tells_matching_from_swapped_pairs(encoder: ClipEncoder) -> None:
    report = measure(encoder)
    assert report.sharing >= 0.5, "at least half of the swaps are between scenes that share an object"
    assert report.auc >= 0.95
    assert report.kept >= 0.9
    assert report.dropped >= 0.9
    assert report.dropped_absent >= 0.99


def test_it_tells_paraphrases_from_other_questions(encoder: ClipEncoder) -> None:
    report = measure_wordings(encoder)
    assert report.together >= 0.85
    assert report.apart >= 0.99


def test_it_is_small() -> None:
    assert sum(path.stat().st_size for path in SANDBOX_CLIP.iterdir()) <= 3_000_000
