"""Intervals and agreement: plain statistics over counts and labels, with no knowledge of what they are of."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple


class Agreement(NamedTuple):
    """Agreement of two raters: items, share alike, share alike by chance, Cohen's kappa.

    Kappa is None where chance leaves no room for agreement: both gave one and the same label throughout.
    """

    items: int
    observed: float
    by_chance: float
    kappa: float | None


def wilson_interval(found: float, total: int, confidence: float = 1.96) -> tuple[float, float] | None:
    """Wilson's interval of a proportion, without continuity correction; None of nothing.

    `found` may be a fraction: where raters differ, an item counts by the share of them.
    """
    if total < 1:
        return None
    share, squared = found / total, confidence**2
    centre = share + squared / (2 * total)
    spread = confidence * math.sqrt(share * (1 - share) / total + squared / (4 * total**2))
    scale = 1 + squared / total
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def cohens_kappa(first: Sequence[str], second: Sequence[str]) -> Agreement:
    """Agreement of two raters who labelled the same items, in the same order. Raises ValueError without items."""
    total = len(first)
    if not total or total != len(second):
        raise ValueError(f"kappa needs the same items of both raters, and at least one: {total} and {len(second)}")
    alike = sum(one == other for one, other in zip(first, second, strict=True))
    ones, others = Counter(first), Counter(second)
    # Whole numbers until the end: by chance alike in `expected` of `total` squared.
    expected = sum(count * others[label] for label, count in ones.items())
    room = total * total - expected
    kappa = (alike * total - expected) / room if room else None
    return Agreement(total, alike / total, expected / total**2, kappa)
