"""Verdicts stand beside their pairs: the kept ones are those a join would find, and a verdict astray is seen."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from spare_assets.quality.references import reference_verdicts
from spare_assets.quality.verdicts import judged_pairs
from spare_assets.storage.tables import TableStore
from spare_assets_tests.quality.toy_tables import toy_pairs


def test_kept_pairs_are_those_of_a_join_however_the_tables_are_cut(tmp_path: Path) -> None:
    numbers = range(3_000)
    pairs = toy_pairs(
        [(f"c{number // 3:05d}", f"Where is {number}?", "described" * (number % 7 < 2)) for number in numbers]
    )
    store = TableStore(tmp_path)
    stored = store.stage("qa_pairs", "toy", iter([pairs.head(1_001), pairs.slice(1_001)])).scan()
    verdicts = store.stage("reference_verdicts", "toy", reference_verdicts(pairs.lazy())).scan()
    kept = store.stage("reference_checked_pairs", "toy", judged_pairs(stored, verdicts).filter("kept")).scan().collect()
    assert kept.equals(pairs.join(verdicts.filter("kept").collect(), on="pair_id", how="semi", maintain_order="left"))
    assert 0 < kept.height < pairs.height


def test_verdicts_astray_are_on_other_pairs_than_those_beside_them() -> None:
    pairs = toy_pairs([("a", f"Where is {number}?", "left") for number in range(5)]).lazy()
    verdicts = reference_verdicts(pairs)
    astray = pl.col("pair_id").ne_missing(pl.col("judged")).sum()
    for given, expected in ((verdicts, 0), (verdicts.slice(1), 5), (verdicts.head(3), 2), (verdicts.reverse(), 4)):
        assert judged_pairs(pairs, given).select(astray).collect().item() == expected
