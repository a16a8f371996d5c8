"""The benchmark of keyword counting: both sides are given the same captions, and ours counts all that is in them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import polars as pl

from spare_assets.relations.matcher import count_keywords
from spare_assets_tests.performance.keyword_counting import LINES, TABLE, write
from spare_assets_tests.relations.reference_matcher import reference_counts


def test_what_ripgrep_reads_is_what_ours_counts(tmp_path: Path) -> None:
    write(tmp_path, captions=30, sample=30)
    lines = (tmp_path / LINES).read_text(encoding="utf-8").splitlines()
    captions = pl.scan_parquet(tmp_path / TABLE)
    assert captions.collect().to_series().to_list() == lines
    assert len(lines) == 30
    counts = count_keywords(captions, "caption")
    assert counts.matches == sum(map(reference_counts, lines), Counter[str]()) != {}
