"""TextVQA: open questions about text in photographs, each answered by ten people (paper 4.2).

A TSV as VLMEvalKit publishes it; its column `answer` holds the ten answers, written as a list.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from spare_assets.benchmarks.image_files import BenchmarkFiles
from spare_assets.benchmarks.metrics import Metric, by_category, mean_score
from spare_assets.benchmarks.origins import ORIGINS
from spare_assets.benchmarks.pictures import Pictures
from spare_assets.benchmarks.questions import Benchmark, Grade, Question, UnreadableRecord
from spare_assets.benchmarks.records import native, read_questions, required_text, text_of
from spare_assets.benchmarks.short_answers import listed_answers, normalised_answer, vqa_accuracy
from spare_assets.captions.records import RowError
from spare_assets.settings import BenchmarkSettings


def read(
    files: BenchmarkFiles, pictures: Pictures, settings: BenchmarkSettings
) -> Iterator[Question | UnreadableRecord]:
    """A question for each record, with all its answers, those that come again too; questions on one picture share
    `image`."""

    def question(item: str, fields: Mapping[str, Any]) -> Question:
        text = required_text(fields, "question")
        answers = listed_answers(fields.get("answer"))
        if answers is None or len(answers) < 2:
            raise RowError("its field 'answer' is no list of several answers")
        images, problem = pictures.asked_about(fields)
        image = images[0].sha256 if images else text_of(fields, "image_id", "image_path")
        return Question(
            item,
            "short",
            text,
            tuple(answers),
            category=text_of(fields, "category"),
            native={"image": image} if image else {},
            images=images,
            problem=problem,
        )

    return read_questions(files, question)


def grade(question: Question, reply: str, settings: BenchmarkSettings) -> Grade:
    """VQA accuracy of the whole reply; nothing is read out of a longer one. An empty reply is no answer."""
    if not reply.strip():
        return Grade(None, 0.0)
    prediction = normalised_answer(reply)
    return Grade(prediction, vqa_accuracy(prediction, [normalised_answer(answer) for answer in question.answers]))


def measure(predictions: pl.DataFrame) -> Iterator[Metric]:
    """Mean VQA accuracy, by category too where there are any. Questions on one picture go together."""
    unit = pl.coalesce(native("image"), "item")
    yield mean_score(predictions, "accuracy", unit=unit)
    for category, rows in by_category(predictions):
        yield mean_score(rows, "accuracy", category, unit)


BENCHMARK = Benchmark(
    "textvqa",
    ORIGINS["textvqa"].title,
    ORIGINS["textvqa"].homepage,
    read,
    grade,
    measure,
    headlines=("accuracy",),
    spatial=False,
)
