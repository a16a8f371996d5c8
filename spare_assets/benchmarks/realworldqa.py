"""RealWorldQA: questions on photographs of everyday scenes, many taken from cars (paper 4.2).

The TSV of VLMEvalKit, or the release's own columns in one. A question as released ends in its own instruction and
writes its options, where it has any, into its text; a file may hold them in columns instead.

| options stand in | variant `vlmevalkit` | variant `official` |
|---|---|---|
| columns | multiple choice, an option is read out of the reply | as it stands with them below, the whole reply counts |
| the question's text | as it stands, an option is read out of the reply | as it stands, the whole reply counts |
| neither | as it stands, the whole reply counts | as it stands, the whole reply counts |

The whole reply is compared in lower case, stripped and without a final dot. Where the answer is a letter from A to D,
of a reply that begins with one and a dot (`B. Left`) the letter is.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from spare_assets.benchmarks.image_files import BenchmarkFiles
from spare_assets.benchmarks.lettered_records import lettered_question, native_fields, options_of, slices
from spare_assets.benchmarks.metrics import Metric, mean_score
from spare_assets.benchmarks.option_answers import chosen_option
from spare_assets.benchmarks.origins import ORIGINS
from spare_assets.benchmarks.pictures import Pictures
from spare_assets.benchmarks.questions import Benchmark, Grade, Question, UnreadableRecord
from spare_assets.benchmarks.records import read_questions, required_text, text_of
from spare_assets.captions.records import RowError
from spare_assets.settings import BenchmarkSettings

_LETTERS = frozenset("ABCD")
_OPTION_LINE = re.compile(r"^[ \t]*([A-Z])[.)][ \t]*(\S.*)$", re.MULTILINE)
_LETTER_FIRST = re.compile(r"\s*([A-Z])\.")


def read(
    files: BenchmarkFiles, pictures: Pictures, settings: BenchmarkSettings
) -> Iterator[Question | UnreadableRecord]:
    """A question for each row."""

    def question(item: str, fields: Mapping[str, Any]) -> Question:
        if not options_of(fields):
            return _as_it_stands(item, fields, pictures)
        lettered = lettered_question(item, fields, pictures)
        if settings.variant == "vlmevalkit":
            return lettered
        options = (f"{letter}. {text}" for letter, text in lettered.options.items())
        return dataclasses.replace(lettered, form="as_it_stands", text="\n".join([lettered.text, *options]))

    return read_questions(files, question)


def _as_it_stands(item: str, fields: Mapping[str, Any], pictures: Pictures) -> Question:
    """A question with the options that its own text lists, where its answer is a letter."""
    text, answer = required_text(fields, "question"), required_text(fields, "answer")
    listed = _OPTION_LINE.findall(text) if answer in _LETTERS else []
    options = {letter: option.strip() for letter, option in listed}
    if options and answer not in options:
        raise RowError(f"its answer {answer!r} is none of the options in its question, {', '.join(options)}")
    images, problem = pictures.asked_about(fields)
    return Question(
        item,
        "as_it_stands",
        text,
        (answer,),
        options,
        text_of(fields, "category"),
        native_fields(fields),
        images,
        problem=problem,
    )


def grade(question: Question, reply: str, settings: BenchmarkSettings) -> Grade:
    """The option that the reply chooses, or the whole reply, as the variant says."""
    if question.options and settings.variant == "vlmevalkit":
        letter = chosen_option(reply, question.options, settings)
        return Grade(letter, float(letter in question.answers))
    (answer,) = question.answers
    first = _LETTER_FIRST.match(reply) if answer in _LETTERS else None
    said = _plain(first[1] if first else reply)
    if said == _plain(answer):
        return Grade(answer, 1.0)
    return Grade(said or None, 0.0)


def _plain(text: str) -> str:
    return text.lower().strip().rstrip(".")


def measure(predictions: pl.DataFrame) -> Iterator[Metric]:
    """Accuracy, over all and by category where the file has any."""
    for category, rows in slices(predictions):
        yield mean_score(rows, "accuracy", category)


BENCHMARK = Benchmark(
    "realworldqa",
    ORIGINS["realworldqa"].title,
    ORIGINS["realworldqa"].homepage,
    read,
    grade,
    measure,
    headlines=("accuracy",),
    spatial=True,
)
