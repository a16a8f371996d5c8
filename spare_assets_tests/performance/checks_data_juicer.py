"""Checks 1 to 3 as operators of data-juicer: a rival of `deterministic_checks`.

    python -m spare_assets_tests.performance.checks_data_juicer PAIRS RULES OUTPUT

Run by the Python of the rival's environment. PAIRS is a Parquet file of pairs with their captions; what is left goes
to `kept.parquet` in OUTPUT.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import datasets
from data_juicer.core.data import NestedDataset
from data_juicer.ops import base_op
from data_juicer.ops.base_op import Deduplicator, Filter
from data_juicer.utils.constant import Fields, HashKeys

from spare_assets_tests.performance.checks_said import Stopwatch, said
from spare_assets_tests.performance.plain_rules import PlainRules


class QuestionDeduplicator(Deduplicator):  # type: ignore[misc]
    """Check 1: of the pairs of a caption that ask the same the first stays."""

    _name = "question_deduplicator"

    def __init__(self, rules: PlainRules) -> None:
        super().__init__(text_key="question", auto_op_parallelism=False)
        self._rules = rules

    def compute_hash(self, sample: dict[str, Any]) -> dict[str, Any]:
        """Here the question in the form that is compared."""
        sample[HashKeys.hash] = self._rules.folded(sample["question"])
        return sample

    def process(self, dataset: NestedDataset, show_num: int = 0) -> tuple[NestedDataset, dict[str, Any]]:
        """The pairs that stay, and none to show."""
        asked: set[tuple[str, str]] = set()

        def new(sample: dict[str, Any]) -> bool:
            question = (sample["caption_id"], sample[HashKeys.hash])
            known = question in asked
            asked.add(question)
            return not known

        return dataset.filter(new), {}


class _RuleFilter(Filter):  # type: ignore[misc]
    """A rule as a filter: the statistic is whether the pair complies."""

    _batched_op = True

    def __init__(self, rules: PlainRules) -> None:
        super().__init__(text_key="question", auto_op_parallelism=False)
        self._rules = rules

    def compute_stats_batched(self, samples: dict[str, Any]) -> dict[str, Any]:
        """The statistic of a batch of pairs."""
        for place, statistics in enumerate(samples[Fields.stats]):
            statistics[self._name] = self.complies(samples, place)
        return samples

    def process_batched(self, samples: dict[str, Any]) -> list[bool]:
        """Which pairs stay."""
        return [statistics[self._name] for statistics in samples[Fields.stats]]

    def complies(self, samples: dict[str, Any], place: int) -> bool:
        """Whether one pair of the batch complies."""
        raise NotImplementedError


class ReferenceFilter(_RuleFilter):
    """Check 2."""

    _name = "reference_filter"

    def complies(self, samples: dict[str, Any], place: int) -> bool:
        return self._rules.speaks_of_image(samples["question"][place], samples["answer"][place])


class GroundingFilter(_RuleFilter):
    """Check 3."""

    _name = "grounding_filter"

    def complies(self, samples: dict[str, Any], place: int) -> bool:
        return self._rules.grounded(*(samples[name][place] for name in ("question", "answer", "caption")))


def main() -> None:
    """One operator after the other in this process, batched where data-juicer can; workers take longer to start."""
    pairs, words, output = map(Path, sys.argv[1:])
    datasets.disable_progress_bars()
    # After every operator it frees its models. There are none, and for that alone it would install PyTorch.
    base_op.free_models = lambda: None
    watch, rules = Stopwatch(), PlainRules(words)
    rows = NestedDataset(datasets.Dataset.from_parquet(str(pairs), cache_dir=str(output / "cache")))
    operators = [QuestionDeduplicator(rules), ReferenceFilter(rules), GroundingFilter(rules)]
    kept = rows.process(operators, open_monitor=False)
    names = ["pair_id", "caption_id", "source", "position", "question", "answer"]
    kept.select_columns(names).to_parquet(str(output / "kept.parquet"))
    print(json.dumps(said(watch, len(kept))))


if __name__ == "__main__":
    main()
