"""Checks 1 to 3 as filters of Hugging Face `datasets`: a rival of `deterministic_checks`.

    python -m spare_assets_tests.performance.checks_datasets PAIRS RULES OUTPUT

Run by the Python of the rival's environment. PAIRS is a Parquet file of pairs with their captions; what is left goes
to `kept.parquet` in OUTPUT.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import datasets

from spare_assets_tests.performance.checks_said import Stopwatch, said
from spare_assets_tests.performance.plain_rules import PlainRules


def main() -> None:
    """Three batched filters, each given only the columns it reads, as is fastest."""
    pairs, words, output = map(Path, sys.argv[1:])
    datasets.disable_progress_bars()
    watch, rules = Stopwatch(), PlainRules(words)
    rows = datasets.Dataset.from_parquet(str(pairs), cache_dir=str(output / "cache"))

    def new(captions: list[str], questions: list[str]) -> list[bool]:
        return list(map(rules.new, captions, questions))

    def speaks_of_image(questions: list[str], answers: list[str]) -> list[bool]:
        return list(map(rules.speaks_of_image, questions, answers))

    def grounded(questions: list[str], answers: list[str], captions: list[str]) -> list[bool]:
        return list(map(rules.grounded, questions, answers, captions))

    rows = rows.filter(new, batched=True, input_columns=["caption_id", "question"], new_fingerprint="new")
    watch.lap("deduplication")
    rows = rows.filter(speaks_of_image, batched=True, input_columns=["question", "answer"], new_fingerprint="image")
    watch.lap("reference")
    rows = rows.filter(
        grounded, batched=True, input_columns=["question", "answer", "caption"], new_fingerprint="grounded"
    )
    rows.remove_columns("caption").to_parquet(str(output / "kept.parquet"))
    watch.lap("grounding")
    print(json.dumps(said(watch, len(rows))))


if __name__ == "__main__":
    main()
