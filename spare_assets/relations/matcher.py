"""Finds the taxonomy's keywords in text: whole words, any case, overlaps counted for each keyword.

A word is a run of letters, marks, digits and underscores. Blanks and hyphens join the words of a keyword,
anything else parts them. What a match means is not decided here.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from spare_assets.relations.taxonomy import KEYWORDS

_JOINING = r"\s-"
_JOINED = rf"[{_JOINING}]{{2,}}|[[{_JOINING}]&&[^ ]]"
"""What is more than one blank, or another one than the plain one: a plain one stands there already."""
_PARTING = r"[^\p{L}\p{M}\p{N}_ ]"
_SPOKEN = {tuple(keyword.split()): keyword for keyword in KEYWORDS}
_LONGEST = max(map(len, _SPOKEN))


@dataclass(frozen=True, slots=True)
class KeywordCounts:
    """How often each keyword occurs in a number of texts; keywords that do not occur are absent. Adds up."""

    texts: int = 0
    texts_matched: int = 0
    matches: Mapping[str, int] = field(default_factory=Counter)

    def __add__(self, other: KeywordCounts) -> KeywordCounts:
        return KeywordCounts(
            self.texts + other.texts,
            self.texts_matched + other.texts_matched,
            Counter(self.matches) + Counter(other.matches),
        )


def keywords_in(text: pl.Expr, keywords: Sequence[str] = KEYWORDS) -> pl.Expr:
    """The keywords in each text, as a list, each as often as it occurs; of a null text, null.

    "to the left of" holds three: "left", "left of" and itself. Words are set apart by single blanks and signs by
    blanks and a stop, so that one automaton finds all keywords between blanks in one pass (paper 3.1.2).
    """
    words = text.str.to_lowercase().str.replace_all(_JOINED, " ").str.replace_all(_PARTING, " . ")
    between_blanks = [f" {keyword} " for keyword in keywords]
    found = pl.concat_str(pl.lit(" "), words, pl.lit(" ")).str.extract_many(between_blanks, overlapping=True)
    return found.list.eval(pl.element().str.strip_chars(" "))


def count_keywords(texts: pl.LazyFrame, column: str, keywords: Sequence[str] = KEYWORDS) -> KeywordCounts:
    """Matches over a text column, in one streaming pass; null texts are not counted."""
    present = texts.select(pl.col(column)).drop_nulls()
    found = present.select(keyword=keywords_in(pl.col(column), keywords)).explode("keyword", empty_as_null=True)
    number, counted = pl.collect_all(
        [present.select(pl.len()), found.group_by("keyword").agg(matches=pl.len())], engine="streaming"
    )
    matches = Counter(dict(counted.drop_nulls().iter_rows()))
    # A text without keywords explodes to one null.
    without = counted.filter(pl.col("keyword").is_null())["matches"].sum()
    return KeywordCounts(number.item(), number.item() - without, matches)


def keyword_spans(text: str) -> Iterator[tuple[int, int, str]]:
    """Where the taxonomy's keywords stand in one short text: start, end and keyword, overlaps included.

    The same matches as `keywords_in`, sign by sign: for texts that are shown, not for corpora.
    """
    run: list[tuple[int, int]] = []  # words with nothing but blanks and hyphens between them
    start = None
    for place, sign in enumerate(f"{text}."):
        if sign == "_" or unicodedata.category(sign)[0] in "LMN":
            start = place if start is None else start
            continue
        if start is not None:
            run.append((start, place))
            start = None
            for words in range(1, min(_LONGEST, len(run)) + 1):
                spoken = tuple(text[first:end].lower() for first, end in run[-words:])
                if spoken in _SPOKEN:
                    yield run[-words][0], place, _SPOKEN[spoken]
        # Python takes four separators for blanks that Unicode does not.
        if sign != "-" and (not sign.isspace() or sign in "\x1c\x1d\x1e\x1f"):
            run = []
