"""The funnels of one or several sources side by side: what was read, and what every stage left of it.

Which stages there are, and counting them, belongs to the funnel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from spare_assets.dataset.funnel import FunnelStep
from spare_assets.pages.card import FAINT, GRID, INK, KEPT, LARGE, MARGIN, SMALL, STRIPE, Card, font

_ROW, _TOP, _HEAD, _GAP = 24, 42, 22, 12
_LABELS, _MOST_SOURCES = 176, 5
_PAIRS = "#0f766e"


class FunnelBar(NamedTuple):
    """What was left at one place: `amount` of the `of` that were there before."""

    label: str
    unit: str
    amount: int
    of: int


def funnel_bars(steps: Iterable[FunnelStep]) -> list[FunnelBar]:
    """The bars of one source, from the rows found to the pairs past the last check."""
    bars: list[FunnelBar] = []
    for step in steps:
        if not bars:
            bars.append(FunnelBar("rows in the source", "captions", step.read, step.read))
        if step.unit == "pairs" and bars[-1].unit == "captions":
            bars.append(FunnelBar("qa_pairs", "pairs", step.read, step.read))
        label = "captions with pairs" if step.table == "qa_pairs" else step.table
        bars.append(FunnelBar(label, step.unit, step.passed, step.read))
    return bars


def funnel_picture(funnels: Mapping[str, Sequence[FunnelBar]], title: str) -> bytes:
    """PNG of a column for each source and a line for each stage, some 10 kB.

    Captions and pairs have a scale each, by column: full width is all that was read, or generated. Of more than five
    sources those with least are summed in a last column.
    """
    columns = _columns(funnels)
    labels = list(dict.fromkeys((bar.label, bar.unit) for bars in columns.values() for bar in bars))
    card = Card(_TOP + _HEAD + _ROW * max(1, len(labels)) + _GAP + MARGIN)
    card.text(MARGIN, 12, title, size=LARGE, bold=True, most=card.width - 2 * MARGIN)
    left = MARGIN + _LABELS
    across = (card.width - MARGIN - left) / max(1, len(columns))
    tops = {}
    y = _TOP + _HEAD
    for place, (label, unit) in enumerate(labels):
        if place and unit != labels[place - 1][1]:
            y += _GAP
            card.box(MARGIN - 6, y - _GAP // 2, card.width - MARGIN + 6, y - _GAP // 2 + 1, GRID)
        tops[label] = y
        if place % 2 == 0:
            card.box(MARGIN - 6, y, card.width - MARGIN + 6, y + _ROW, STRIPE)
        card.text(left - 12, y + 5, label, anchor="right", most=_LABELS - 12)
        y += _ROW
    for column, (source, bars) in enumerate(columns.items()):
        x = left + across * column
        card.text(x, _TOP, source, bold=True, most=across - 10)
        room = across - 10
        for bar in bars:
            widest = max(other.amount for other in bars if other.unit == bar.unit)
            end = x + room * bar.amount / max(1, widest)
            y = tops[bar.label]
            card.box(x, y + 3, x + room, y + _ROW - 3, GRID)
            card.box(
                x, y + 3, max(end, x + 2 if bar.amount else x), y + _ROW - 3, KEPT if bar.unit == "captions" else _PAIRS
            )
            _numbers(card, bar, x, end, x + room, y + 6)
    if not columns:
        card.text(MARGIN, _TOP, "no source is materialized", colour=FAINT)
    return card.png()


def _numbers(card: Card, bar: FunnelBar, left: float, end: float, right: float, y: float) -> None:
    """The count and its share of what was there before, in the bar where they fit, else behind it."""
    words = f"{bar.amount:,}"
    if bar.amount != bar.of and bar.of:
        words += f" · {bar.amount / bar.of:.1%}"
    inside = end - left > font(SMALL).getlength(words) + 10
    most = (end - left if inside else right - end) - 6
    card.text((left if inside else end) + 5, y, words, size=SMALL, colour="#ffffff" if inside else INK, most=most)


def _columns(funnels: Mapping[str, Sequence[FunnelBar]]) -> dict[str, list[FunnelBar]]:
    """The sources to draw, in their order, and the others' sum."""
    if len(funnels) <= _MOST_SOURCES:
        return {source: list(bars) for source, bars in funnels.items()}
    size = {source: max((bar.amount for bar in bars), default=0) for source, bars in funnels.items()}
    largest = sorted(size, key=lambda source: -size[source])[: _MOST_SOURCES - 1]
    others = [bars for source, bars in funnels.items() if source not in largest]
    summed: dict[str, FunnelBar] = {}
    for bar in (bar for bars in others for bar in bars):
        before = summed.get(bar.label, bar._replace(amount=0, of=0))
        summed[bar.label] = before._replace(amount=before.amount + bar.amount, of=before.of + bar.of)
    columns = {source: list(bars) for source, bars in funnels.items() if source in largest}
    return columns | {f"{len(others)} others": list(summed.values())}
