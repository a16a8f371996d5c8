"""Finds the taxonomy's keywords in text: whole words, any case, overlaps counted for each keyword.

A word is a run of letters, digits and underscores. Blanks and hyphens join the words of a keyword,
anything else parts them. What a match means is not decided here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from spare_assets.relations.taxonomy import KEYWORDS, RELATIONS_OF_KEYWORD

_PIECES = re.compile(r"\w+|[^\w\s-]")


@dataclass(frozen=True, slots=True)
class Match:
    """One keyword at characters `start` to `end` of the text."""

    keyword: str
    start: int
    end: int


class KeywordMatcher:
    """Finds a set of keywords in single texts, in one walk over the words (paper 3.1.2)."""

    def __init__(self, keywords: Sequence[str] = KEYWORDS) -> None:
        self._tree: dict[str, Any] = {}
        for keyword in keywords:
            node = self._tree
            for word in keyword.lower().split():
                node = node.setdefault(word, {})
            node[""] = keyword

    def find(self, text: str) -> Iterator[Match]:
        """Every match, by start and then by length; "to the left of" yields three of the keywords."""
        pieces = [(piece.group().lower(), piece.start(), piece.end()) for piece in _PIECES.finditer(text)]
        for first, (word, start, end) in enumerate(pieces):
            node = self._tree.get(word)
            following = first + 1
            while node is not None:
                if "" in node:
                    yield Match(node[""], start, end)
                if following == len(pieces):
                    break
                next_word, _, next_end = pieces[following]
                node = node.get(next_word)
                end = next_end
                following += 1

    def count(self, text: str) -> Counter[str]:
        """Matches by keyword; keywords that do not occur are absent."""
        return Counter(match.keyword for match in self.find(text))

    def any(self, text: str) -> bool:
        """Whether the text holds any of the keywords."""
        return next(self.find(text), None) is not None


def count_relations(keyword_counts: Counter[str]) -> Counter[str]:
    """Matches by relation; a keyword of two relations counts in both."""
    counts: Counter[str] = Counter()
    for keyword, count in keyword_counts.items():
        for relation in RELATIONS_OF_KEYWORD[keyword]:
            counts[relation] += count
    return counts


def keyword_counts(column: str, keywords: Sequence[str] = KEYWORDS) -> list[pl.Expr]:
    """One expression per keyword, named by it: matches per row of a text column (UInt32)."""
    lowered = pl.col(column).str.to_lowercase()
    expressions = []
    for keyword in keywords:
        words = r"[\s-]+".join(re.escape(word) for word in keyword.lower().split())
        expressions.append(lowered.str.count_matches(rf"\b{words}\b").alias(keyword))
    return expressions
