"""Table 11 of a corpus: its rows, its shares, the counts it came of, its spread and its picture."""

from __future__ import annotations

import io

import polars as pl
import pytest
from PIL import Image

from spare_assets.analyses.relation_frequencies import (
    ALL,
    PAIR_TEXT,
    PRINTED,
    SPATIAL,
    TOTAL,
    flatter_by,
    frequency_table,
    relation_matches,
    relation_table,
    spread_table,
    stored_counts,
    with_totals,
)
from spare_assets.analyses.relation_picture import relation_picture
from spare_assets.relations.matcher import KeywordCounts, count_keywords
from spare_assets.relations.taxonomy import TAXONOMY

TEXTS = ["to the left of it", "left", "amidst the trees", "a dog"]
COUNTS = count_keywords(pl.LazyFrame({"text": TEXTS}), "text")


def test_201_rows_whose_shares_are_of_all_matches() -> None:
    table = frequency_table({("s", ALL): COUNTS}, "source")
    assert table.height == 201
    assert table["relation"].n_unique() == 29
    assert table["keyword"].n_unique() == 198
    assert table["share"].sum() == pytest.approx(100)
    assert table.unique("relation")["relation_share"].sum() == pytest.approx(100)
    assert set(table.select("texts", "texts_matched").rows()) == {(4, 3)}
    found = table.filter(pl.col("matches") > 0).select("relation", "keyword", "matches", "keyword_share", "share")
    assert found.rows() == [
        ("left", "left", 2, 50.0, pytest.approx(100 / 3)),
        ("left", "to the left of", 1, 25.0, pytest.approx(100 / 6)),
        ("left", "left of", 1, 25.0, pytest.approx(100 / 6)),
        ("between", "amidst", 1, 100.0, pytest.approx(100 / 6)),
        ("central_position", "amidst", 1, 100.0, pytest.approx(100 / 6)),
    ]
    assert table.filter(relation="left")["relation_share"].unique().to_list() == [pytest.approx(400 / 6)]
    assert table.filter(relation="right")["keyword_share"].null_count() == 7, "no share of nothing"
    assert table["paper_share"].to_list() == [row.share for relation in TAXONOMY for row in relation.keywords]


def test_rows_come_by_corpus_scope_and_place() -> None:
    table = frequency_table(with_totals({("b", SPATIAL): COUNTS, ("a", ALL): COUNTS}), "dataset")
    assert table.select("dataset", "scope", "place").equals(table.select("dataset", "scope", "place").sort(pl.all()))
    assert table["dataset"].unique().sort().to_list() == ["a", "b", TOTAL]


def test_nothing_counted_is_a_table_of_zeros() -> None:
    table = frequency_table(with_totals({}), "dataset")
    assert table.height == 402
    assert table["matches"].sum() == 0
    assert table["share"].null_count() == table["relation_share"].null_count() == 402


def test_a_stored_table_gives_its_counts_back() -> None:
    totals = with_totals({("a", ALL): COUNTS, ("b", ALL): COUNTS})
    table = frequency_table(totals, "dataset").lazy()
    stored = stored_counts(table.filter(pl.col("dataset") == TOTAL, pl.col("scope") == ALL))
    assert stored.texts == 8
    assert stored.texts_matched == 6
    assert {keyword: count for keyword, count in stored.matches.items() if count} == {
        keyword: 2 * count for keyword, count in COUNTS.matches.items()
    }
    assert stored_counts(table.filter(pl.col("dataset") == TOTAL, pl.col("scope") == SPATIAL)).texts == 0


def test_the_printed_table_recounts_to_itself() -> None:
    table = relation_table({"printed": PRINTED})
    for relation, share in zip(TAXONOMY, table["printed"], strict=True):
        assert relation.share == pytest.approx(share, abs=0.03), relation.name


def test_a_pair_is_one_text_in_which_nothing_joins_question_and_answer() -> None:
    pairs = pl.LazyFrame(
        {"question": ["What is on top", "What is left"], "answer": ["of it", None]},
        schema={"question": pl.String, "answer": pl.String},
    )
    counts = count_keywords(pairs.select(PAIR_TEXT), "text")
    assert counts == KeywordCounts(2, 2, {"on": 1, "on top": 1, "left": 1})


def test_what_is_spread_over_more_keywords_is_flatter() -> None:
    flat = KeywordCounts(1, 1, dict.fromkeys(["left", "right", "above", "under"], 5))
    steep = KeywordCounts(1, 1, {"left": 17, "right": 1, "above": 1, "under": 1})
    gain = flatter_by(flat, steep)
    assert gain["entropy_gain_bits"] > 0
    assert gain["gini_drop"] > 0
    assert gain["relation_entropy_gain_bits"] > 0
    assert gain["relation_gini_drop"] > 0
    assert flatter_by(steep, flat) == {name: -number for name, number in gain.items()}
    assert spread_table({"flat": flat, "none": KeywordCounts(3)})["corpus"].to_list() == ["flat"]
    assert spread_table({"flat": flat})["entropy_bits"].item() == pytest.approx(2)


def test_matches_of_a_keyword_in_two_relations_count_in_both() -> None:
    matches = relation_matches(KeywordCounts(1, 1, {"amidst": 2, "between": 1}))
    assert {relation: count for relation, count in matches.items() if count} == {"between": 3, "central_position": 2}


def test_the_picture_is_a_small_png_whatever_names_say() -> None:
    picture = relation_picture({"$x_{": COUNTS, "nothing": KeywordCounts(), "paper": PRINTED}, r"of $\frac{ and <b>")
    with Image.open(io.BytesIO(picture)) as image:
        assert image.format == "PNG"
    assert len(picture) < 140_000, "the asset page stores it, a third larger, in 200 kB"
    assert relation_picture({"nothing": KeywordCounts()}, "nothing")
