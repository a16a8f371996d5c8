from __future__ import annotations

from pathlib import Path

import polars as pl

from spare_assets.quality.grounding import grounding_verdicts
from spare_assets.quality.references import reference_verdicts
from spare_assets.quality.rejections import rejected_pairs
from spare_assets.storage.schemas import TABLES
from spare_assets_tests.quality.toy_tables import toy_pairs

ROWS = [
    ("b", "Where is the dog mentioned?", "left"),
    ("b", "Where is the cat?", "left"),
    ("a", "Where is the cat?", "in the north"),
    ("a", "Where is it in the description?", "in the north"),
    ("a", "Where is the dog?", "right"),
]
CAPTIONS = pl.LazyFrame({"caption_id": ["a", "b", "c"], "caption": ["dog right", "cat left", "none"]})


def test_the_ledger_and_the_survivors_are_all_pairs(tmp_path: Path) -> None:
    pairs = toy_pairs(ROWS).sort("caption_id", "position").lazy()
    references = reference_verdicts(pairs)
    passed = pairs.join(references.filter("kept"), on="pair_id", how="semi", maintain_order="left")
    grounding = pl.concat(grounding_verdicts(passed, CAPTIONS, 0.5)).lazy()
    ledger = rejected_pairs(pairs, CAPTIONS, {"reference": references, "grounding": grounding})
    ledger.sink_parquet(tmp_path / "ledger.parquet")
    found = pl.read_parquet(tmp_path / "ledger.parquet")
    assert found.schema == TABLES["rejected_pairs"].polars()
    assert found.select("pair_id", "check", "caption").rows() == [
        ("a#0", "grounding", "dog right"),
        ("a#1", "reference", "dog right"),
        ("b#0", "reference", "cat left"),
    ]
    assert found.select("question", "answer", "score", "threshold", "reason").row(0) == (
        *("Where is the cat?", "in the north", 0.0, 0.5),
        "0 of 1 answer words in the caption",
    )
    survivors = grounding.filter("kept").collect()
    assert sorted([*found["pair_id"], *survivors["pair_id"]]) == sorted(pairs.collect()["pair_id"])


def test_the_ledger_is_in_the_order_of_its_key() -> None:
    rows = [(f"c{row // 7:03d}", "mention" * (row % 3 == 0), "left" * (row % 5 > 0)) for row in range(2_000)]
    pairs = toy_pairs(rows).lazy()
    captions = pl.LazyFrame({"caption_id": [f"c{row:03d}" for row in range(300)]}).with_columns(caption=pl.lit("left"))
    references = reference_verdicts(pairs)
    passed = pairs.join(references.filter("kept"), on="pair_id", how="semi", maintain_order="left")
    grounding = pl.concat(grounding_verdicts(passed, captions, 0.5)).lazy()
    found = rejected_pairs(pairs, captions, {"reference": references, "grounding": grounding}).collect()
    assert found.select("caption_id", "position").rows() == sorted(found.select("caption_id", "position").rows())
    assert found["check"].value_counts(sort=True).rows() == [("reference", 667), ("grounding", 266)]


def test_nothing_rejected_is_an_empty_ledger() -> None:
    pairs = toy_pairs([("a", "Where is the dog?", "right")]).lazy()
    ledger = rejected_pairs(pairs, CAPTIONS, {"reference": reference_verdicts(pairs)}).collect()
    assert ledger.schema == TABLES["rejected_pairs"].polars()
    assert ledger.height == 0
