"""The scores of a verdict table as a histogram with the cut-off drawn in.

Counting the rows by bin, and drawing the counts, belong here. What was scored does not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import polars as pl

from spare_assets.pages.card import DROPPED, FAINT, GRID, INK, KEPT, LARGE, MARGIN, PAPER, SMALL, UNSCORED, Card

_BINS = 40
_SPREAD = 5.0
"""Standard deviations from the mean that are drawn of scores without a cut-off, which need not be bounded."""
_SLACK = 1e-3
"""Part of a bin by which the highest score may pass its end: 0.95 is less in single precision."""
_TOP, _PLOT, _BOTTOM, _ASIDE = 72, 150, 34, 96


class Bin(NamedTuple):
    """Rows with scores from `low` on, by verdict."""

    low: float
    kept: int
    dropped: int


@dataclass(frozen=True, slots=True)
class ScoreBins:
    """All rows of a verdict table: those with a score by bins of `width`, in order and without gaps, and the others.

    The cut-off is the edge of a bin. `beyond` rows, counted in the outermost bins, lie outside them.
    """

    bins: tuple[Bin, ...]
    width: float
    cut_off: float | None
    kept_unscored: int = 0
    dropped_unscored: int = 0
    beyond: int = 0

    @property
    def kept(self) -> int:
        """Rows kept, scored or not."""
        return self.kept_unscored + sum(part.kept for part in self.bins)

    @property
    def dropped(self) -> int:
        """Rows dropped, scored or not."""
        return self.dropped_unscored + sum(part.dropped for part in self.bins)


def amount_bins(rows: pl.LazyFrame, column: str) -> ScoreBins:
    """Count rows that nobody judges by a column of whole numbers."""
    unjudged = rows.select(kept=pl.lit(True), score=column, threshold=pl.lit(None, dtype=pl.Float32))
    return score_bins(unjudged, whole=True)


def score_bins(verdicts: pl.LazyFrame, *, whole: bool = False) -> ScoreBins:
    """Count verdicts (kept, score, threshold) by score, in two passes that hold no rows.

    `whole`: scores are whole numbers, and so are the edges of bins.
    """
    # In double precision the difference to the cut-off is exact, so a row never falls on its wrong side.
    score = pl.col("score").cast(pl.Float64)
    rows = verdicts.select(
        "kept", score=pl.when(score.is_finite()).then(score), cut_off=pl.col("threshold").cast(pl.Float64)
    )
    score = pl.col("score")
    low, high, mean, deviation, cut_off = (
        rows.select(
            score.min().alias("low"),
            score.max().alias("high"),
            score.mean().alias("mean"),
            score.std().fill_null(0.0).alias("deviation"),
            pl.col("cut_off").max(),
        )
        .collect()
        .row(0)
    )
    start = 0.0 if cut_off is None else float(cut_off)
    if low is None:
        counts = dict(rows.group_by("kept").agg(pl.len()).collect().iter_rows())
        return ScoreBins((), 1.0, cut_off, counts.get(True, 0), counts.get(False, 0))
    if cut_off is None:
        left, right = max(low, mean - _SPREAD * deviation), min(high, mean + _SPREAD * deviation)
    else:
        left, right = min(low, cut_off), max(high, cut_off)
    width = _bin_width(right - left, whole)
    first = math.floor((left - start) / width)
    # The highest score alone opens no bin, unless there the kept ones begin.
    last = max(math.ceil((right - start) / width - _SLACK) - 1, 0 if high >= start else first, first)
    place = ((score - start) / width).floor().clip(first, last).cast(pl.Int64)
    outside = (score < start + first * width) | (score > start + (last + 1 + _SLACK) * width)
    counted = rows.group_by("kept", place=place).agg(rows=pl.len(), beyond=outside.sum()).collect(engine="streaming")
    found: Mapping[tuple[bool, int | None], int] = {
        (kept, where): count for kept, where, count in counted.select("kept", "place", "rows").iter_rows()
    }
    return ScoreBins(
        tuple(
            Bin(start + where * width, found.get((True, where), 0), found.get((False, where), 0))
            for where in range(first, last + 1)
        ),
        width,
        cut_off,
        found.get((True, None), 0),
        found.get((False, None), 0),
        int(counted["beyond"].sum()),
    )


def score_histogram(counts: ScoreBins, title: str, axis: str = "score") -> bytes:
    """PNG of counted scores, some 6 kB: kept and dropped in two colours, the cut-off as a dashed line.

    A bin that holds a row is seen, however low. Rows without a score stand in a column of their own at the right.
    """
    card = Card(_TOP + _PLOT + _BOTTOM)
    bottom = _TOP + _PLOT
    unscored = counts.kept_unscored + counts.dropped_unscored
    left, right = MARGIN + 52, card.width - MARGIN - (_ASIDE if unscored else 0)
    most = max([1, unscored, *(part.kept + part.dropped for part in counts.bins)])
    card.text(MARGIN, 12, title, size=LARGE, bold=True, most=card.width - 2 * MARGIN)
    card.legend(MARGIN, 34, list(_entries(counts)))
    for tick in _ticks(0, most, min(4, most)):
        y = bottom - _PLOT * tick / most
        card.box(left, y, card.width - MARGIN, y + 1, GRID)
        card.text(left - 6, y - 7, f"{tick:,.0f}", size=SMALL, colour=FAINT, anchor="right")
    if counts.bins:
        low = counts.bins[0].low
        high = counts.bins[-1].low + counts.width
        scale = (right - left) / (high - low)
        for part in counts.bins:
            x = left + (part.low - low) * scale
            _stack(card, x + 0.5, x + counts.width * scale - 0.5, bottom, part.kept, part.dropped, most)
        for tick in _ticks(low, high, 8):
            x = left + (tick - low) * scale
            card.box(x, bottom, x + 1, bottom + 4, FAINT)
            card.text(x, bottom + 5, f"{tick:g}", size=SMALL, colour=FAINT, anchor="middle")
        if counts.cut_off is not None:
            x = left + (counts.cut_off - low) * scale
            card.dashes(x, _TOP - 12, bottom, INK)
            words = f"cut-off {counts.cut_off:.4g}"
            card.text(
                x + (5 if x < card.width / 2 else -5), _TOP - 18, words, size=SMALL, bold=True,
                anchor="left" if x < card.width / 2 else "right",
            )  # fmt: skip
        card.text((left + right) / 2, bottom + 18, axis, size=SMALL, colour=FAINT, anchor="middle")
    if unscored:
        x = card.width - MARGIN - _ASIDE / 2
        _stack(card, x - 14, x + 14, bottom, counts.kept_unscored, counts.dropped_unscored, most, UNSCORED)
        card.text(x, bottom + 5, "no score", size=SMALL, colour=FAINT, anchor="middle")
        card.text(x, bottom + 18, f"{unscored:,}", size=SMALL, colour=FAINT, anchor="middle")
    card.box(left, bottom, card.width - MARGIN, bottom + 1, FAINT)
    return card.png()


def _entries(counts: ScoreBins) -> Iterator[tuple[str, str]]:
    """What stands in the legend: colours and words."""
    total = counts.kept + counts.dropped
    share = f" ({counts.kept / total:.1%})" if total else ""
    if counts.cut_off is None and not counts.dropped:
        yield KEPT, f"{total:,}"
    else:
        yield KEPT, f"kept {counts.kept:,}{share}"
        yield DROPPED, f"dropped {counts.dropped:,}"
    if counts.kept_unscored:
        yield UNSCORED, f"of these kept without a score {counts.kept_unscored:,}"
    if counts.beyond:
        yield PAPER, f"{counts.beyond:,} lie farther out and stand in the outermost bars"


def _stack(
    card: Card, left: float, right: float, bottom: int, kept: int, dropped: int, most: int, colour: str = KEPT
) -> None:
    y = float(bottom)
    for count, filled in ((kept, colour), (dropped, DROPPED)):
        if count:
            top = y - max(2.0, _PLOT * count / most)
            card.box(left, top, right, y, filled)
            y = top


def _bin_width(span: float, whole: bool) -> float:
    """A round width that cuts the span into about `_BINS` bins."""
    width = _round_step(span / _BINS) if span > 0 else 0.05
    return max(1.0, width) if whole else width


def _round_step(at_least: float) -> float:
    """The least of 1, 2, 2.5, 5 times a power of ten that is not below."""
    power = 10.0 ** math.floor(math.log10(at_least))
    return next((step * power for step in (1, 2, 2.5, 5) if step * power >= at_least * 0.999), 10 * power)


def _ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers from low to high."""
    step = _round_step((high - low) / most)
    return [
        round(place * step, 10) for place in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    ]
