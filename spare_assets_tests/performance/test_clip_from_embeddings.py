from __future__ import annotations

from pathlib import Path

from spare_assets_tests.performance.clip_from_embeddings import compare, make, ours, rival


def test_verdicts_are_those_of_plain_numpy(tmp_path: Path) -> None:
    make(tmp_path, 600)
    assert ours(tmp_path)["pairs"] == rival(tmp_path)["pairs"] == compare(tmp_path)["pairs"]
