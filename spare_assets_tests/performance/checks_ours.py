"""Checks 1 to 3 as the product runs them, from stored tables to stored tables: what `deterministic_checks` measures.

    python -m spare_assets_tests.performance.checks_ours TABLES

Says the seconds that each took, once everything was imported, and the pairs that are left.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import polars as pl

from spare_assets.quality.deduplication import deduplication_verdicts
from spare_assets.quality.grounding import grounding_verdicts
from spare_assets.quality.references import reference_verdicts
from spare_assets.quality.verdicts import CHECKS, judged_pairs
from spare_assets.settings import QualitySettings
from spare_assets.storage.conservation import conserve
from spare_assets.storage.tables import Rows, TableStore, content_hash
from spare_assets_tests.performance.checks_said import Stopwatch, said
from spare_assets_tests.performance.paper_tables import SOURCE


def run_checks(store: TableStore) -> Stopwatch:
    """Run the three checks over the stored tables, one lap each."""
    quality, watch = QualitySettings(verification_engine="none"), Stopwatch()
    pairs, embeddings = store.scan("qa_pairs", SOURCE), store.scan("question_embeddings", SOURCE)
    pairs = checked(store, "deduplication", pairs, deduplication_verdicts(pairs, embeddings, quality.duplicate_cosine))
    watch.lap("deduplication")
    pairs = checked(store, "reference", pairs, reference_verdicts(pairs, quality.reference_terms))
    watch.lap("reference")
    captions = store.scan("spatial_captions", SOURCE)
    checked(store, "grounding", pairs, grounding_verdicts(pairs, captions, quality.minimum_grounding))
    watch.lap("grounding")
    return watch


def checked(store: TableStore, check: str, pairs: pl.LazyFrame, rows: Rows) -> pl.LazyFrame:
    """Write and publish a check's verdicts and the pairs it keeps, counted, as a stage does."""
    kept_table, verdict_table = CHECKS[check]
    verdicts = store.stage(verdict_table, SOURCE, rows)
    judged = judged_pairs(pairs, verdicts.scan())
    kept = store.stage(kept_table, SOURCE, judged.filter("kept"))
    read, dropped, astray = (
        judged.select(
            pl.col("pair_id").count().alias("read"),
            (~pl.col("kept")).sum().alias("dropped"),
            pl.col("pair_id").ne_missing(pl.col("judged")).sum().alias("astray"),
        )
        .collect(engine="streaming")
        .row(0)
    )
    assert not astray
    conserve(kept_table, read=read, parts={"kept": kept.rows, "dropped": dropped})
    for staged in (verdicts, kept):
        content_hash(staged.temporary)
    store.publish(verdicts, kept)
    return store.scan(kept_table, SOURCE)


if __name__ == "__main__":
    tables = TableStore(Path(sys.argv[1]))
    laps = run_checks(tables)
    print(json.dumps(said(laps, tables.rows("grounded_pairs", SOURCE))))
