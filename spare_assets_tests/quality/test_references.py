from __future__ import annotations

import polars as pl
import pytest

from spare_assets.quality.references import REFERENCE_TERMS, reference_verdicts
from spare_assets.storage.schemas import TABLES
from spare_assets_tests.quality.toy_tables import toy_pairs


def verdicts(question: str, answer: str, terms: tuple[str, ...] | None = None) -> tuple[bool, str]:
    frame = reference_verdicts(toy_pairs([("a", question, answer)]).lazy(), terms).collect()
    assert frame.schema == TABLES["reference_verdicts"].polars()
    assert frame.select("score", "threshold").row(0) == (None, None)
    return frame.item(0, "kept"), frame.item(0, "reason")


@pytest.mark.parametrize(
    ("question", "answer", "reason"),
    [
        ("What is left of the dog in the description?", "A cat", "the question says: description"),
        ("Which DESCRIPTIONS place it left?", "Both", "the question says: descriptions"),
        ("Where is the dog?", "It is not mentioned.", "the answer says: mentioned"),
        ("What does the text mention on the left?", "A cat", "the question says: mention"),
        ("How is the tree described?", "Behind the house", "the question says: described"),
        (
            "According  to\nthe caption, where is the dog?",
            "Left",
            "the question says: according to the caption",
        ),
        ("Based on the passage, what is left?", "A cat", "the question says: based on the passage"),
        ("Where is the cat?", "The position is not specified", "the answer says: specified"),
        ("Where is the cat?", "As stated, on the left", "the answer says: stated"),
        ("Where is the cat?", "On the left, as noted.", "the answer says: as noted"),
        ("What is left in this caption?", "“Mentioned”: a cat", "the question says: in this caption"),
    ],
)
def test_talk_of_the_description_is_dropped(question: str, answer: str, reason: str) -> None:
    assert verdicts(question, answer) == (False, reason)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What text is written on the sign?", "The text 'Open' in white letters"),
        ("What is below the photo on the wall?", "A caption"),
        ("Where is the caption under the photo?", "Left of the frame"),
        ("Where does the passage between the houses lead?", "To the passage on the left"),
        ("Where is the United States flag?", "In front of the stately home"),
        ("Where are the musicians?", "Beside the sheet of notes, on the stage"),
        ("What is behind the typewriter?", "A paragraph of text on a poster"),
        ("Where is the statement necklace?", "Around her neck"),
        ("Where is the understated lamp?", "Left of the reinstated fountain"),
    ],
)
def test_words_for_things_in_the_scene_are_kept(question: str, answer: str) -> None:
    assert verdicts(question, answer) == (True, "")


def test_other_terms_replace_the_shipped_ones() -> None:
    assert verdicts("Where is (it) in the description?", "there") == (False, "the question says: description")
    assert verdicts("Where is (it) in the description?", "there", ("(it)", "a.c")) == (
        False,
        "the question says: (it)",
    )
    assert verdicts("Where is abc in the description?", "there", ("(it)", "a.c")) == (True, "")
    assert verdicts("Where is the describer?", "described", ()) == (True, "")
    with pytest.raises(ValueError, match="blank term"):
        verdicts("Where?", "there", ("mention", " "))


def test_the_longest_term_is_named() -> None:
    assert verdicts("Where is it?", "as noted", ("as", "as noted", "noted"))[1] == "the answer says: as noted"


def test_shipped_terms_are_distinct_and_lower_case() -> None:
    assert len(set(REFERENCE_TERMS)) == len(REFERENCE_TERMS)
    assert all(term == term.lower().strip() for term in REFERENCE_TERMS)


def test_rows_stay_in_order() -> None:
    pairs = toy_pairs([(f"c{row:04d}", "mention" * (row % 3 == 0), "x") for row in range(5_000)])
    frame = reference_verdicts(pairs.lazy()).collect()
    assert frame["pair_id"].equals(pairs["pair_id"])
    assert frame.select(pl.col("kept") == (pl.int_range(pl.len()) % 3 != 0)).to_series().all()
