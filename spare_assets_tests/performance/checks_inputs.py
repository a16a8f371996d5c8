"""What `deterministic_checks` reads, and whether ours and its rivals keep the same pairs.

    python -m spare_assets_tests.performance.checks_inputs write FOLDER PAIRS
    python -m spare_assets_tests.performance.checks_inputs compare FOLDER RIVAL...

In processes of their own, so that the benchmark's stays small.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from spare_assets.quality.grounding import SAME_WORDS, STOP_WORDS
from spare_assets.quality.references import REFERENCE_TERMS
from spare_assets.settings import QualitySettings
from spare_assets.storage.tables import TableStore
from spare_assets_tests.performance.paper_tables import SOURCE, write_tables


def write(folder: Path, pairs: int) -> None:
    """Write the tables, once; for rivals the pairs with their captions as one file, and the words of the rules."""
    store = write_tables(folder, pairs)
    captions = store.scan("spatial_captions", SOURCE).select("caption_id", "caption")
    joined = store.scan("qa_pairs", SOURCE).join(captions, on="caption_id", how="left", maintain_order="left")
    joined.sink_parquet(folder / "pairs.parquet")
    words = {
        "stop_words": sorted(STOP_WORDS),
        "same_words": SAME_WORDS,
        "reference_terms": sorted(REFERENCE_TERMS, key=lambda term: (-len(term), term)),
        "minimum_grounding": QualitySettings(verification_engine="none").minimum_grounding,
    }
    (folder / "rules.json").write_text(json.dumps(words), encoding="utf-8")


def kept_by_all(folder: Path, rivals: Sequence[str]) -> int:
    """How many pairs are kept. Raises SystemExit naming a rival that keeps others than ours."""
    ours = TableStore(folder).scan("grounded_pairs", SOURCE).select("pair_id").collect().to_series().sort()
    for rival in rivals:
        theirs = pl.read_parquet(folder / rival / "kept.parquet", columns=["pair_id"]).to_series().sort()
        if not ours.equals(theirs):
            raise SystemExit(f"{rival} keeps {len(theirs):,} pairs, ours {len(ours):,}, and not the same ones")
    return len(ours)


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        print(json.dumps({"kept": kept_by_all(Path(sys.argv[2]), sys.argv[3:])}))
