from __future__ import annotations

from pathlib import Path

from spare_assets_tests.performance.benchmark_tsv import make, ours


def test_every_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    made = make(tmp_path, 2)
    assert ours(tmp_path / "whole.tsv") == made and made["rows"] > 10
