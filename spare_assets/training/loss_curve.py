"""The picture of a training's loss and learning rate. Where the numbers come from is not known here."""

from __future__ import annotations

import io
from collections.abc import Sequence

from spare_assets.pages.card import DROPPED, KEPT, PAPER, SERIES, UNSCORED
from spare_assets.training.reports import StepRecord

_SMOOTHING = 0.05
"""Share of the steps over which the drawn line averages."""


def loss_curve(records: Sequence[StepRecord], title: str, held_out_loss: float | None = None) -> bytes:
    """PNG of the loss per answer token by step, with the learning rate below; some 30 KB."""
    # The Agg canvas alone: pyplot would look for a display and keep every figure.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), dpi=100, layout="constrained", facecolor=PAPER)
    FigureCanvasAgg(figure)
    losses, rates = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    steps = [record.step for record in records]
    losses.plot(steps, [record.loss for record in records], color=UNSCORED, linewidth=0.8, label="step")
    losses.plot(steps, _smoothed([record.loss for record in records]), color=KEPT, label="mean of recent steps")
    if held_out_loss is not None:
        losses.axhline(held_out_loss, color=DROPPED, linestyle="--", label=f"held out, at the end: {held_out_loss:.3f}")
    losses.set_ylabel("loss per answer token")
    # A title may hold what matplotlib takes for mathematics.
    losses.set_title(title.replace("$", r"\$"))
    losses.legend(loc="upper right", fontsize="small")
    losses.set_ylim(bottom=0)
    rates.plot(steps, [record.learning_rate for record in records], color=SERIES[3])
    rates.set_ylabel("learning rate")
    rates.set_xlabel("optimizer step")
    stored = io.BytesIO()
    figure.savefig(stored, format="png")
    return stored.getvalue()


def _smoothed(values: Sequence[float]) -> list[float]:
    width = max(1, round(len(values) * _SMOOTHING))
    return [sum(values[max(0, end - width) : end]) / min(width, end) for end in range(1, len(values) + 1)]
