"""The picture of a training's loss."""

from __future__ import annotations

import io

from PIL import Image

from spare_assets.training.loss_curve import loss_curve
from spare_assets.training.reports import StepRecord


def records(count: int) -> list[StepRecord]:
    return [StepRecord(step, 1 / step, 1e-3, 1.0, "", 10, 5, 1, float(step)) for step in range(1, count + 1)]


def test_the_picture_is_small_enough_for_the_instance_and_shows_another_loss_otherwise() -> None:
    for count in (1, 2, 5_000):
        png = loss_curve(records(count), "a model of $\\frac{1}{2}$", 0.5)
        assert Image.open(io.BytesIO(png)).size == (700, 400)
        assert len(png) < 150_000
    assert loss_curve(records(50), "a") != loss_curve(records(50), "a", 0.5)
