"""Keywords found the slow way, sign by sign and word by word, to hold the fast matcher against."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator

from spare_assets.relations.taxonomy import KEYWORDS

_KEYWORDS = {tuple(keyword.split()): keyword for keyword in KEYWORDS}
_LONGEST = max(map(len, _KEYWORDS))


def reference_counts(text: str) -> Counter[str]:
    """Matches by keyword in one text."""
    words = list(_words(text))
    spans = (
        tuple(words[start:end])
        for start in range(len(words))
        for end in range(start + 1, min(start + _LONGEST, len(words)) + 1)
    )
    return Counter(_KEYWORDS[span] for span in spans if span in _KEYWORDS)


def _words(text: str) -> Iterator[str]:
    """Words in lower case, and an empty one wherever a sign parts its neighbours."""
    word = ""
    for sign in text:
        if sign == "_" or unicodedata.category(sign)[0] in "LMN":
            word += sign
            continue
        if word:
            yield word.lower()
        word = ""
        if not _joins(sign):
            yield ""
    if word:
        yield word.lower()


def _joins(sign: str) -> bool:
    return sign == "-" or (sign.isspace() and sign not in "\x1c\x1d\x1e\x1f")
