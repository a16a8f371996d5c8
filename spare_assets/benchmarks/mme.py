"""MME: two yes-or-no questions on each image, one of either answer, in 14 subtasks (paper 4.2, Table 3).

A TSV as VLMEvalKit publishes it: `category` is the subtask, `image_path` tells which questions share an image, and a
question ends in its own instruction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from spare_assets.benchmarks.image_files import BenchmarkFiles
from spare_assets.benchmarks.metrics import Metric, all_right, by_category, combined, mean_score
from spare_assets.benchmarks.origins import ORIGINS
from spare_assets.benchmarks.pictures import Pictures
from spare_assets.benchmarks.questions import Benchmark, Grade, Question, UnreadableRecord
from spare_assets.benchmarks.records import native, read_questions, required_text, text_of
from spare_assets.benchmarks.short_answers import yes_or_no
from spare_assets.captions.records import RowError
from spare_assets.settings import BenchmarkSettings

_PERCEPTION = (
    "OCR",
    "artwork",
    "celebrity",
    "color",
    "count",
    "existence",
    "landmark",
    "position",
    "posters",
    "scene",
)
_COGNITION = ("code_reasoning", "commonsense_reasoning", "numerical_calculation", "text_translation")
_SUMS = {
    "perception": _PERCEPTION,
    "reasoning": _COGNITION,
    "code": ("code_reasoning",),
    "commonsense": ("commonsense_reasoning",),
    "numerical": ("numerical_calculation",),
}


def read(
    files: BenchmarkFiles, pictures: Pictures, settings: BenchmarkSettings
) -> Iterator[Question | UnreadableRecord]:
    """A question for each record, as it stands; its category is the subtask."""

    def question(item: str, fields: Mapping[str, Any]) -> Question:
        text = required_text(fields, "question")
        answer = required_text(fields, "answer").lower()
        if answer not in {"yes", "no"}:
            raise RowError(f"its field 'answer' is {answer[:40]!r}, neither yes nor no")
        subtask = required_text(fields, "category")
        images, problem = pictures.asked_about(fields)
        image = text_of(fields, "image_path") or (images[0].sha256 if images else item)
        return Question(
            item,
            "as_it_stands",
            text,
            (answer,),
            category=subtask,
            native={"image": image},
            images=images,
            problem=problem,
        )

    return read_questions(files, question)


def grade(question: Question, reply: str, settings: BenchmarkSettings) -> Grade:
    """Yes without no, or no without yes."""
    prediction = yes_or_no(reply)
    return Grade(prediction, float(prediction in question.answers))


def measure(predictions: pl.DataFrame) -> Iterator[Metric]:
    """Of each subtask accuracy, accuracy+ (both questions on an image right) and `score`, their sum, of 200 points.

    Over all, sums of subtasks' scores, as far as they are there: perception of ten, reasoning of the four of
    cognition, and three of these by themselves. An image with one question left is part of no accuracy+: nothing tells
    whether both would be right. Questions on one image go together.
    """
    halves: dict[str, tuple[Metric, Metric]] = {}
    for subtask, rows in by_category(predictions):
        halves[subtask] = _accuracies(rows, subtask)
        yield from halves[subtask]
        yield combined("score", halves[subtask], subtask)
    yield from _accuracies(predictions, "")
    for name, subtasks in _SUMS.items():
        yield combined(name, [half for subtask in subtasks for half in halves.get(subtask, ())])


def _accuracies(rows: pl.DataFrame, subtask: str) -> tuple[Metric, Metric]:
    image = (pl.col("category"), native("image"))
    unit = pl.concat_str(image, separator="\x1f")
    pairs = rows.filter(pl.len().over(*image) > 1)
    return mean_score(rows, "accuracy", subtask, unit), all_right(pairs, "accuracy_plus", image, subtask, unit)


BENCHMARK = Benchmark(
    "mme",
    ORIGINS["mme"].title,
    ORIGINS["mme"].homepage,
    read,
    grade,
    measure,
    headlines=tuple(_SUMS),
    spatial=False,
    group=lambda question: f"{question.category}/{question.native['image']}",
    sums_categories=True,
)
