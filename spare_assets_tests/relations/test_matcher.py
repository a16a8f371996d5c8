"""Keywords are found as whole words, in any case, each for itself; a slow matcher finds the same everywhere."""

from __future__ import annotations

import sys
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spare_assets.relations.matcher import KeywordCounts, count_keywords, keywords_in
from spare_assets.relations.taxonomy import KEYWORDS
from spare_assets_tests.real_texts import real_texts
from spare_assets_tests.relations.reference_matcher import reference_counts


def found(texts: Sequence[str | None], keywords: Sequence[str] = KEYWORDS) -> list[Counter[str] | None]:
    rows = pl.DataFrame({"text": texts}, schema={"text": pl.String}).select(keywords_in(pl.col("text"), keywords))
    return [None if row is None else Counter(row) for (row,) in rows.iter_rows()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("To the LEFT of the door", {"left": 1, "left of": 1, "to the left of": 1}),
        ("the leftmost one, a stone, an onion", {}),
        ("left, of the two", {"left": 1}),
        ("left - of the two", {"left": 1, "left of": 1}),
        ("next-to the shed", {"next to": 1}),
        ("in front\nof it", {"in": 1, "front": 1, "front of": 1, "in front of": 1}),
        ("on on on", {"on": 3}),
        ("(on)on,on", {"on": 3}),
        ("under the under the", {"under": 2, "under the": 2}),
        ("garçon, gar\u0063\u0327on, naïn, in\u0301", {}),
        ("İn the middle of", {"middle of": 1}),
        ("bac\u212a", {"back": 1}),
        ("on3, _on, on² and on’s", {"on": 1}),
        ("", {}),
    ],
)
def test_counts(text: str, expected: dict[str, int]) -> None:
    assert found([text]) == [Counter(expected)]
    assert reference_counts(text) == Counter(expected)


def test_a_text_of_overlapping_keywords_counted_by_hand() -> None:
    text = (
        "On top of the shelf, at the right side of the lamp, a cat is sitting on a box. In the front of it, and "
        "directly in front of the clock, a toy is moving away from the edge; it lies to the left of a cup, far away "
        "from the wall. Side by side with the box, by the side of the lamp: an opposite side of nothing."
    )
    expected = {
        "on": 2,
        "on top": 1,
        "on top of": 1,
        "right": 1,
        "at the right": 1,
        "right side of": 1,
        "at the right side of": 1,
        "sitting on": 1,
        "in": 2,
        "front": 2,
        "front of": 2,
        "in the front of": 1,
        "in front of": 1,
        "directly in front of": 1,
        "away": 2,
        "away from": 2,
        "moving away from": 1,
        "left": 1,
        "left of": 1,
        "to the left of": 1,
        "far": 1,
        "far away from": 1,
        "by": 2,
        "side by side with": 1,
        "by the side of": 1,
        "opposite": 1,
        "opposite side of": 1,
    }
    assert found([text]) == [Counter(expected)]
    assert count_keywords(pl.LazyFrame({"text": [text]}), "text") == KeywordCounts(1, 1, expected)


def test_other_keywords_can_be_asked_for() -> None:
    assert found(["A Red Box on a red boxcar"], ["red box"]) == [Counter({"red box": 1})]


_WORDS = ["dog", "on3", "_in", "éon", ".", ",", "-", "\n", "\x1f", "'s", "left-hand", "underneath", "²", "\u0301"]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(
            st.one_of(
                st.sampled_from(KEYWORDS),
                st.sampled_from([keyword.upper() for keyword in KEYWORDS]),
                st.sampled_from(_WORDS),
                # Polars may know letters that this Python does not know yet.
                st.text(st.characters(exclude_categories=("Cs", "Cn")), max_size=3),
            )
        ),
        max_size=20,
    ),
    st.sampled_from([" ", "  ", "-", "", "\u00a0"]),
)
def test_random_texts(parts: list[list[str]], joint: str) -> None:
    texts = [joint.join(words) for words in parts]
    assert found(texts) == [reference_counts(text) for text in texts]
    whole = count_keywords(pl.LazyFrame({"text": texts}, schema={"text": pl.String}), "text")
    assert whole == expected_counts(texts)


def test_every_character_of_unicode_joins_parts_or_belongs_to_a_word() -> None:
    characters = [
        sign for sign in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(sign) not in ("Cs", "Cn", "Co")
    ]
    texts = [f"on{sign}on in{sign} {sign}front {sign} of" for sign in characters]
    different = [
        f"U+{ord(sign):04X}"
        for sign, fast, text in zip(characters, found(texts), texts, strict=True)
        if fast != reference_counts(text)
    ]
    assert different == []


def test_every_real_text(real_data: Path) -> None:
    for corpus, texts in real_texts(real_data).items():
        assert found(texts) == [reference_counts(text) for text in texts], corpus
        assert count_keywords(pl.LazyFrame({"text": texts}), "text") == expected_counts(texts), corpus


def test_null_texts_are_not_counted() -> None:
    assert found([None, "on", "dog"]) == [None, Counter({"on": 1}), Counter()]
    texts = pl.LazyFrame({"text": [None, "on", "dog"]}, schema={"text": pl.String})
    assert count_keywords(texts, "text") == KeywordCounts(2, 1, {"on": 1})
    assert count_keywords(texts.head(0), "text") == KeywordCounts()


def test_counts_add_up() -> None:
    one, other = (count_keywords(pl.LazyFrame({"text": [text]}), "text") for text in ("on it, on top", "left on"))
    assert one + other == KeywordCounts(2, 2, {"on": 3, "on top": 1, "left": 1})


def expected_counts(texts: list[str]) -> KeywordCounts:
    each = [reference_counts(text) for text in texts]
    return KeywordCounts(len(texts), sum(map(bool, each)), sum(each, Counter()))
