"""How unevenly an amount is spread over items, such as matches over keywords. What is spread is not known here."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

TOP = 0.17
"""The share of the items that the paper looks at: its top 17 % hold over 90 % (section 1)."""


@dataclass(frozen=True, slots=True)
class Concentration:
    """Shares of a whole, largest first, adding up to 1. Items that hold nothing count as items."""

    shares: tuple[float, ...]

    @classmethod
    def of(cls, amounts: Iterable[float]) -> Concentration:
        """The concentration of amounts in any order. Raises ValueError where they come to nothing."""
        ordered = sorted(amounts, reverse=True)
        if not (total := math.fsum(ordered)):
            raise ValueError("nothing is spread over these items")
        return cls(tuple(amount / total for amount in ordered))

    def curve(self) -> list[tuple[float, float]]:
        """Points from (0, 0) to (1, 1): the share of the items, largest first, and the share of the whole they hold."""
        points, held = [(0.0, 0.0)], 0.0
        for place, share in enumerate(self.shares, start=1):
            held += share
            points.append((place / len(self.shares), held))
        return points

    def held_by(self, portion: float = TOP) -> float:
        """The share of the whole that this portion of the items holds, at the curve's nearest point."""
        return self.curve()[round(portion * len(self.shares))][1]

    @property
    def entropy(self) -> float:
        """Shannon entropy in bits: 0 where one item holds all, log2 of their number where all hold the same."""
        return -math.fsum(share * math.log2(share) for share in self.shares if share)

    @property
    def evenness(self) -> float:
        """Entropy as a share of the largest there can be, from 0 to 1; 1 of a single item."""
        return self.entropy / math.log2(len(self.shares)) if len(self.shares) > 1 else 1.0

    @property
    def gini(self) -> float:
        """Gini coefficient: 0 where all hold the same, near 1 where one of many holds all."""
        number = len(self.shares)
        weighted = math.fsum(place * share for place, share in enumerate(self.shares, start=1))
        return (number + 1 - 2 * weighted) / number
