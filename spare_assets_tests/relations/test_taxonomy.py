"""The taxonomy has the size and the shares of the paper's Table 11."""

from __future__ import annotations

import math

from spare_assets.relations.taxonomy import KEYWORDS, RELATIONS_OF_KEYWORD, TAXONOMY


def test_sizes() -> None:
    assert len(TAXONOMY) == 29
    assert sum(len(relation.keywords) for relation in TAXONOMY) == 201
    assert len(KEYWORDS) == len(set(KEYWORDS)) == 198


def test_three_keywords_stand_in_two_relations() -> None:
    twice = {keyword: names for keyword, names in RELATIONS_OF_KEYWORD.items() if len(names) > 1}
    assert twice == {
        "confronting": ("front", "facing"),
        "contiguous with": ("next_to_beside_adjacent", "connected_attached"),
        "amidst": ("between", "central_position"),
    }


def test_shares_add_up_to_the_relation_and_to_the_whole() -> None:
    for relation in TAXONOMY:
        # The paper rounds each keyword to two digits, and the relation on its own.
        assert math.isclose(sum(row.share for row in relation.keywords), relation.share, abs_tol=0.025), relation.name
    assert math.isclose(sum(relation.share for relation in TAXONOMY), 100, abs_tol=0.2)


def test_34_keywords_hold_nine_tenths() -> None:
    shares = sorted((row.share for relation in TAXONOMY for row in relation.keywords), reverse=True)
    assert sum(shares[:34]) > 90
    assert sum(shares[:33]) < 91


def test_keywords_are_lower_case_words_with_single_blanks() -> None:
    assert all(keyword == " ".join(keyword.lower().split()) for keyword in KEYWORDS)
    assert all(row.relation == relation.name for relation in TAXONOMY for row in relation.keywords)
