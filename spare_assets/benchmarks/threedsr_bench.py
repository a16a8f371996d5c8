"""3DSRBench: multiple-choice questions on where things are in three dimensions, asked of an image and its mirror image,
with the options in several orders (paper 4.2).

The TSV of VLMEvalKit. Passes of one question share the first eight characters of their `qid`: `QUESTION`, `QUESTION-1`
has the options in another order, and `QUESTION-flip`, `QUESTION-flip-1` ask of the mirror image. Accuracies, from the
mildest:

| metric | right when | one of |
|---|---|---|
| vanilla accuracy | the answer is | all questions |
| flip accuracy | it and the same order's of the mirror image are | pairs |
| circular accuracy | every order is | the image, the mirror image |
| flip circular accuracy | every order of both is | questions |
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
from spare_assets.benchmarks.records import native, read_questions, required_text, text_of
from spare_assets.settings import BenchmarkSettings

_FLIP = "-flip"
_QUESTION = 8
"""Characters of a `qid` that all passes of a question share; with `-flip`, all of its mirror image."""

GROUPS = ("height", "location", "orientation", "multi_object")
"""Groups of categories, as their names begin: `location_above` is of `location`. The file names them too."""


def read(
    files: BenchmarkFiles, pictures: Pictures, settings: BenchmarkSettings
) -> Iterator[Question | UnreadableRecord]:
    """A question for each row; a row without `qid` is unreadable, as its other passes can't be told."""

    def question(item: str, fields: Mapping[str, Any]) -> Question:
        required_text(fields, "qid")
        category = text_of(fields, "category")
        group = text_of(fields, "l2-category") or next((name for name in GROUPS if category.startswith(name)), None)
        return lettered_question(item, {**fields, "l2-category": group}, pictures)

    return read_questions(files, question)


def grade(question: Question, reply: str, settings: BenchmarkSettings) -> Grade:
    """The option that the reply chooses."""
    letter = chosen_option(reply, question.options, settings)
    return Grade(letter, float(letter in question.answers))


def measure(predictions: pl.DataFrame) -> Iterator[Metric]:
    """The four accuracies, over all, by the four groups of categories and by category."""
    qid = native("qid")
    unit = qid.str.slice(0, _QUESTION)
    flipped = qid.str.contains(_FLIP, literal=True)
    passes = {
        "flip accuracy": qid.str.replace(_FLIP, "", literal=True),
        "circular accuracy": pl.when(flipped).then(qid.str.slice(0, _QUESTION + len(_FLIP))).otherwise(unit),
        "flip circular accuracy": unit,
    }
    for category, rows in slices(predictions):
        yield mean_score(rows, "vanilla accuracy", category, unit)
        for name, key in passes.items():
            yield all_right(rows, name, [key], category, unit)


BENCHMARK = Benchmark(
    "threedsr_bench",
    ORIGINS["threedsr_bench"].title,
    ORIGINS["threedsr_bench"].homepage,
    read,
    grade,
    measure,
    headlines=("vanilla accuracy",),
    spatial=True,
    group=lambda question: question.native["qid"][:_QUESTION],
)
