from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from spare_assets.synthesis.pair_ids import pair_id, with_pair_ids

SCHEMA = {"caption_id": pl.String, "position": pl.UInt32, "question": pl.String, "answer": pl.String}


def pairs(*rows: tuple[str, int, str, str]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=SCHEMA, orient="row")


def test_equal_pairs_of_one_caption_are_told_apart_by_their_ordinal() -> None:
    frame = with_pair_ids(pairs(("a", 0, "q", "x"), ("a", 1, "q", "y"), ("a", 2, "q", "x"), ("b", 0, "q", "x")))
    assert frame.columns == ["pair_id", *SCHEMA]
    assert frame["pair_id"].to_list() == [
        pair_id("a", "q", "x", 0),
        pair_id("a", "q", "y", 0),
        pair_id("a", "q", "x", 1),
        pair_id("b", "q", "x", 0),
    ]


def test_an_identity_is_twenty_hexadecimal_digits_and_never_changes() -> None:
    assert pair_id("docci:test_00000", "Where is the dog?", "On the left", 0) == "3ce67557c4d1229e2852"


def test_an_identity_survives_the_loss_of_other_pairs() -> None:
    whole = with_pair_ids(pairs(("a", 0, "q1", "x"), ("a", 1, "q2", "x"), ("a", 2, "q3", "x")))
    fewer = with_pair_ids(pairs(("a", 0, "q2", "x"), ("a", 1, "q3", "x")))
    assert whole["pair_id"].to_list()[1:] == fewer["pair_id"].to_list()


def test_no_pairs_give_no_identities() -> None:
    assert with_pair_ids(pairs()).schema["pair_id"] == pl.String


@given(st.lists(st.tuples(*[st.sampled_from(["", "a", "b", "a\x1f", '","'])] * 3), max_size=20))
def test_identities_are_unique_and_independent_of_row_order(rows: list[tuple[str, str, str]]) -> None:
    frame = pairs(*((caption, place, question, answer) for place, (caption, question, answer) in enumerate(rows)))
    identified = with_pair_ids(frame)
    assert identified["pair_id"].n_unique() == len(rows)
    assert with_pair_ids(frame.reverse()).reverse().equals(identified)
