"""Keywords are found as whole words, in any case, each for itself; one by one and over a column alike."""

from __future__ import annotations

from collections import Counter

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spare_assets.relations.matcher import KeywordMatcher, Match, count_relations, keyword_counts
from spare_assets.relations.taxonomy import KEYWORDS

MATCHER = KeywordMatcher()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("To the LEFT of the door", {"left": 1, "left of": 1, "to the left of": 1}),
        ("the leftmost one, a stone, an onion", {}),
        ("left, of the two", {"left": 1}),
        ("next-to the shed", {"next to": 1}),
        ("in front\nof it", {"in": 1, "front": 1, "front of": 1, "in front of": 1}),
        ("on on on", {"on": 3}),
        ("under the under the", {"under": 2, "under the": 2}),
        ("garçon, naïn", {}),
        ("İn the middle of", {"middle of": 1}),
        ("", {}),
    ],
)
def test_counts(text: str, expected: dict[str, int]) -> None:
    assert MATCHER.count(text) == Counter(expected)
    assert MATCHER.any(text) == bool(expected)


def test_matches_say_where_they_are() -> None:
    text = "It is right of Bob."
    assert list(MATCHER.find(text)) == [Match("right", 6, 11), Match("right of", 6, 14)]


def test_a_keyword_of_two_relations_counts_in_both() -> None:
    assert count_relations(Counter({"amidst": 2, "between": 1})) == Counter({"between": 3, "central_position": 2})


def test_other_keywords_can_be_asked_for() -> None:
    assert KeywordMatcher(["red box"]).count("A Red Box on a red boxcar") == Counter({"red box": 1})


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(KEYWORDS),
            st.sampled_from([keyword.upper() for keyword in KEYWORDS]),
            st.sampled_from(["dog", "on3", "_in", "éon", ".", ",", "-", "\n", "'s", "left-hand", "underneath"]),
        )
    ),
    st.sampled_from([" ", "  ", "-", ""]),
)
def test_column_and_single_text_agree(parts: list[str], joint: str) -> None:
    text = joint.join(parts)
    row = pl.DataFrame({"caption": [text]}).select(keyword_counts("caption")).row(0, named=True)
    assert {keyword: count for keyword, count in row.items() if count} == dict(MATCHER.count(text))


def test_null_text_counts_as_null() -> None:
    frame = pl.DataFrame({"caption": [None, "on"]}, schema={"caption": pl.String})
    assert frame.select(keyword_counts("caption", ["on"]))["on"].to_list() == [None, 1]
