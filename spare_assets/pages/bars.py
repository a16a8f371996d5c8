"""Counts as bars, one below the other, with their numbers: statuses, outcomes, reasons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from spare_assets.pages.card import FAINT, LARGE, MARGIN, STRIPE, Card

_ROW, _TOP, _MOST_ROWS = 22, 42, 14
_LABELS, _NUMBERS = 270, 150


class Bar(NamedTuple):
    """A count and what it counts, in words; may come from outside."""

    label: str
    amount: int
    colour: str


def bar_picture(bars: Sequence[Bar], title: str) -> bytes:
    """PNG of bars in their order, with counts and shares of their sum, some 6 kB.

    Of more than 14 bars the later ones are summed in a last one.
    """
    drawn = list(bars)
    if len(drawn) > _MOST_ROWS:
        others = drawn[_MOST_ROWS - 1 :]
        drawn[_MOST_ROWS - 1 :] = [Bar(f"{len(others)} others", sum(bar.amount for bar in others), FAINT)]
    total = sum(bar.amount for bar in drawn)
    most = max([1, *(bar.amount for bar in drawn)])
    card = Card(_TOP + _ROW * max(1, len(drawn)) + MARGIN // 2)
    card.text(MARGIN, 12, title, size=LARGE, bold=True, most=card.width - 2 * MARGIN)
    left, across = MARGIN + _LABELS, card.width - 2 * MARGIN - _LABELS - _NUMBERS
    for place, bar in enumerate(drawn):
        y = _TOP + _ROW * place
        if place % 2 == 0:
            card.box(MARGIN - 6, y, card.width - MARGIN + 6, y + _ROW, STRIPE)
        card.text(left - 10, y + 4, bar.label, anchor="right", most=_LABELS - 10)
        end = left + (max(2.0, across * bar.amount / most) if bar.amount else 0)
        card.box(left, y + 4, end, y + _ROW - 4, bar.colour)
        width = card.text(end + 8, y + 4, f"{bar.amount:,}", bold=True)
        if total:
            card.text(end + 14 + width, y + 4, f"{bar.amount / total:.1%}", colour=FAINT)
    if not drawn:
        card.text(MARGIN, _TOP, "none", colour=FAINT)
    return card.png()
