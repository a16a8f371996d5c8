"""Checks 1 to 3 as filter blocks of datatrove: a rival of `deterministic_checks`.

    python -m spare_assets_tests.performance.checks_datatrove PAIRS RULES OUTPUT

Run by the Python of the rival's environment. PAIRS is a Parquet file of pairs with their captions; what is left goes
to `kept.parquet` in OUTPUT.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.filters import LambdaFilter
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.writers import ParquetWriter

from spare_assets_tests.performance.checks_said import Stopwatch, said
from spare_assets_tests.performance.plain_rules import PlainRules


class NewFilter(LambdaFilter):
    """Check 1."""

    def __init__(self, rules: PlainRules) -> None:
        super().__init__(lambda pair: rules.new(pair.metadata["caption_id"], pair.text))


class ReferenceFilter(LambdaFilter):
    """Check 2."""

    def __init__(self, rules: PlainRules) -> None:
        super().__init__(lambda pair: rules.speaks_of_image(pair.text, pair.metadata["answer"]))


class GroundingFilter(LambdaFilter):
    """Check 3."""

    def __init__(self, rules: PlainRules) -> None:
        super().__init__(lambda pair: rules.grounded(pair.text, pair.metadata["answer"], pair.metadata["caption"]))


def row(_: ParquetWriter, pair: Document) -> dict[str, object]:
    """What is written of a pair: all but its caption."""
    told = {name: value for name, value in pair.metadata.items() if name not in ("caption", "file_path")}
    return {"pair_id": pair.id, "question": pair.text, **told}


def main() -> None:
    """One task in this process: a pair goes through all blocks before the next is read."""
    pairs, words, output = map(Path, sys.argv[1:])
    watch, rules = Stopwatch(), PlainRules(words)
    pipeline = [
        ParquetReader(str(pairs.parent), glob_pattern=pairs.name, text_key="question", id_key="pair_id"),
        NewFilter(rules),
        ReferenceFilter(rules),
        GroundingFilter(rules),
        ParquetWriter(str(output), "kept.parquet", adapter=row, max_file_size=-1, use_content_defined_chunking=False),
    ]
    statistics = LocalPipelineExecutor(pipeline, workers=1, logging_dir=str(output / "logs")).run()
    print(json.dumps(said(watch, statistics.stats[-1].stats["total"].total)))


if __name__ == "__main__":
    main()
