"""Check 2: does the pair talk of the image, and not of the description? (paper 3.3)

The terms that betray talk of the description are data, and stand here.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from spare_assets.quality.samples import verdict_columns

_LEADS = ("according to", "based on", "as per")
_SOURCES = (
    *(
        "caption",
        "text",
        "passage",
        "paragraph",
        "sentence",
        "sentences",
        "narrative",
        "narration",
        "statement",
    ),
    *("information", "info", "details", "detail", "context", "author", "narrator"),
)

REFERENCE_TERMS: tuple[str, ...] = (
    # The description as such. The paper names "mention" and "description".
    *("description", "descriptions", "describe", "describes", "described", "describing"),
    *("mention", "mentions", "mentioned", "mentioning"),
    # What was said, rather than what is seen.
    *("stated", "as noted", "is noted", "noted that", "specified", "unspecified", "implied"),
    *("is said to", "are said to", "referred to as", "is referenced", "are referenced"),
    # Words that also name things in a picture - a caption under a photo, the text on a sign, a passage between two
    # houses, the United States - count only where they are quoted as the source of what one knows.
    *(f"{lead} {article} {source}" for lead in _LEADS for article in ("the", "this") for source in _SOURCES),
    *(f"{article} caption {says}" for article in ("the", "this") for says in ("says", "states", "indicates", "notes")),
    *(f"{article} text {says}" for article in ("the", "this") for says in ("states", "indicates", "notes")),
    *("in the caption", "in this caption", "from the caption", "the image caption"),
    *("the given text", "the provided text", "the text provided", "the given information"),
    *("the provided information", "the information provided", "the details provided", "the provided details"),
    *("the narrator", "the narrative"),
)
"""Terms of check 2, matched as whole words in any case. `quality.reference_terms` of a profile replaces them."""


def reference_verdicts(pairs: pl.LazyFrame, terms: Sequence[str] | None = None) -> pl.LazyFrame:
    """Verdicts on pairs: kept unless question or answer holds one of the terms. There is no score.

    `terms` replaces the shipped list; an empty one keeps every pair. Raises ValueError when a term is blank.
    """
    pattern = term_pattern(REFERENCE_TERMS if terms is None else terms)
    found = [
        pl.col(column).str.extract(pattern).str.to_lowercase().str.replace_all(r"\s+", " ")
        for column in ("question", "answer")
    ]
    in_question, in_answer = found if pattern else [pl.lit(None, dtype=pl.String)] * 2
    return pairs.with_columns(in_question=in_question, in_answer=in_answer).select(
        verdict_columns(
            kept=pl.col("in_question").is_null() & pl.col("in_answer").is_null(),
            score=pl.lit(None),
            threshold=None,
            reason=pl.when(pl.col("in_question").is_not_null())
            .then(pl.format("the question says: {}", "in_question"))
            .when(pl.col("in_answer").is_not_null())
            .then(pl.format("the answer says: {}", "in_answer"))
            .otherwise(pl.lit("")),
        )
    )


def term_pattern(terms: Sequence[str]) -> str:
    """Regular expression whose first group is the term found; empty when there are no terms.

    Longer terms come first, words of a term may stand any white space apart, and a term that begins or ends with a
    letter or digit does so at the edge of a word. Raises ValueError when a term is blank.
    """
    if blank := [term for term in terms if not term.strip()]:
        raise ValueError(f"quality.reference_terms holds a blank term ({blank[0]!r}), which every pair would match")
    alternatives = []
    for term in sorted(terms, key=lambda term: (-len(term), term)):
        words = r"\s+".join(pl.escape_regex(word) for word in term.split())
        first, last = term.strip()[0], term.strip()[-1]
        alternatives.append((r"\b" if first.isalnum() else "") + words + (r"\b" if last.isalnum() else ""))
    return f"(?i)({'|'.join(alternatives)})" if alternatives else ""
