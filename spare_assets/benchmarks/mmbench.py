"""MMBench (dev, English): multiple-choice questions on twenty abilities, each asked with its options in every rotation.

The TSV of VLMEvalKit. Passes of one question share `index` modulo a million, or `g_index` where the file has that
column; the first pass is the one whose `index` that is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from spare_assets.benchmarks.image_files import BenchmarkFiles
from spare_assets.benchmarks.lettered_records import lettered_question, slices
from spare_assets.benchmarks.metrics import Metric, all_right, mean_score
from spare_assets.benchmarks.option_answers import chosen_option
from spare_assets.benchmarks.origins import ORIGINS
from spare_assets.benchmarks.pictures import Pictures
from spare_assets.benchmarks.questions import Benchmark, Grade, Question, UnreadableRecord
from spare_assets.benchmarks.records import native, read_questions, text_of
from spare_assets.captions.records import RowError
from spare_assets.settings import BenchmarkSettings

_PASSES = 1_000_000


def read(
    files: BenchmarkFiles, pictures: Pictures, settings: BenchmarkSettings
) -> Iterator[Question | UnreadableRecord]:
    """A question for each row; a row whose `index` is no number is unreadable, as its other passes can't be told."""

    def question(item: str, fields: Mapping[str, Any]) -> Question:
        # A table that once held a gap has all its numbers as floats.
        index, group = (text_of(fields, name).removesuffix(".0") for name in ("index", "g_index"))
        if not (index.isdecimal() and (group.isdecimal() or not group)):
            raise RowError(f"its index {index[:40]!r} or g_index {group[:40]!r} is not a number")
        numbers = {"index": index, "g_index": group or str(int(index) % _PASSES)}
        return lettered_question(item, {**fields, **numbers}, pictures)

    return read_questions(files, question)


def grade(question: Question, reply: str, settings: BenchmarkSettings) -> Grade:
    """The option that the reply chooses."""
    letter = chosen_option(reply, question.options, settings)
    return Grade(letter, float(letter in question.answers))


def measure(predictions: pl.DataFrame) -> Iterator[Metric]:
    """Circular accuracy, where a question is right when every pass is, and vanilla accuracy, of the first passes alone:
    over all, by group of abilities and by ability."""
    passes = native("g_index")
    for category, rows in slices(predictions):
        yield all_right(rows, "circular accuracy", [passes], category)
        yield mean_score(rows.filter(native("index") == passes), "vanilla accuracy", category, passes)


BENCHMARK = Benchmark(
    "mmbench",
    ORIGINS["mmbench"].title,
    ORIGINS["mmbench"].homepage,
    read,
    grade,
    measure,
    headlines=("circular accuracy",),
    spatial=False,
    group=lambda question: question.native["g_index"],
)
