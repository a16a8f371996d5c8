"""HallusionBench: yes-or-no questions on figures that mislead, or contradict what a model knows (paper 4.2).

Read are VLMEvalKit's TSV, of the questions with a figure, and the authors' own JSON list, of all. The TSV's `index`
holds what the JSON says in fields: category, subcategory, visual input, set, figure and question.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from spare_assets.benchmarks.image_files import BenchmarkFiles
from spare_assets.benchmarks.metrics import Metric, all_right, by_category, mean_score
from spare_assets.benchmarks.origins import ORIGINS
from spare_assets.benchmarks.pictures import Pictures
from spare_assets.benchmarks.questions import Benchmark, Grade, Question, UnreadableRecord
from spare_assets.benchmarks.records import native, read_questions, required_text, text_of
from spare_assets.benchmarks.short_answers import yes_or_no
from spare_assets.captions.records import RowError
from spare_assets.settings import BenchmarkSettings

_ANSWERS = {"0": "no", "1": "yes", "no": "no", "yes": "yes"}
_INDEX = re.compile(r"([^_]*)_([^_]*)_([^_]*)_([^_]*)_([^_]*)_([^_]*)(?:_.*)?", re.DOTALL)
_PLACES = ("category", "subcategory", "visual_input", "set_id", "figure_id", "question_id")


def read(
    files: BenchmarkFiles, pictures: Pictures, settings: BenchmarkSettings
) -> Iterator[Question | UnreadableRecord]:
    """A question for each record; its category is category and subcategory, such as `VS_chart`.

    One that the release asks without a figure (its `visual_input` is 0) is asked without an image.
    """

    def question(item: str, fields: Mapping[str, Any]) -> Question:
        text = required_text(fields, "question")
        answer = text_of(fields, "answer", "gt_answer")
        if answer.lower() not in _ANSWERS:
            raise RowError(f"its answer is {answer[:40]!r}, which is neither yes nor no")
        place = _place(fields)
        images, problem = pictures.asked_about(fields, needed=place["visual_input"] != "0")
        return Question(
            item,
            "yes_no",
            text,
            (_ANSWERS[answer.lower()],),
            category=f"{place['category']}_{place['subcategory']}",
            native=place if images or problem else place | {"without_figure": "yes"},
            images=images,
            problem=problem,
        )

    return read_questions(files, question)


def _place(fields: Mapping[str, Any]) -> dict[str, str]:
    """Where a question stands in the benchmark. Raises RowError where neither fields nor index tell."""
    place = {name: text_of(fields, name) for name in _PLACES}
    match = _INDEX.fullmatch(text_of(fields, "index"))
    if match:
        place = {name: place[name] or said for name, said in zip(_PLACES, match.groups(), strict=True)}
    # VLMEvalKit's column names a subcategory with its category before it.
    finer = text_of(fields, "l2-category").removeprefix(f"{place['category']}_")
    place["subcategory"] = finer or place["subcategory"]
    if absent := [name for name in _PLACES if not place[name] and name != "visual_input"]:
        raise RowError(f"neither its fields nor its 'index' tell its {' and '.join(absent)}")
    return place


def grade(question: Question, reply: str, settings: BenchmarkSettings) -> Grade:
    """Yes without no, or no without yes."""
    prediction = yes_or_no(reply)
    return Grade(prediction, float(prediction in question.answers))


def measure(predictions: pl.DataFrame) -> Iterator[Metric]:
    """aAcc over questions; fAcc over figures, all questions on one right; qAcc over questions as put to all figures of
    a set, all right; by subcategory and by category as well. A question without a figure is part of no fAcc, as in the
    authors' script. Questions of a set go together."""
    yield from _accuracies(predictions, "")
    for category, rows in by_category(predictions):
        yield from _accuracies(rows, category)
    for category, rows in by_category(predictions.with_columns(category=native("category"))):
        yield from _accuracies(rows, category)


def _accuracies(rows: pl.DataFrame, category: str) -> Iterator[Metric]:
    in_set = (native("category"), native("subcategory"), native("set_id"))
    unit = pl.concat_str(in_set, separator="\x1f")
    yield mean_score(rows, "aAcc", category, unit)
    figures = rows.filter(native("without_figure").is_null())
    yield all_right(figures, "fAcc", (*in_set, native("figure_id")), category, unit)
    yield all_right(rows, "qAcc", (*in_set, native("question_id")), category, unit)


BENCHMARK = Benchmark(
    "hallusion_bench",
    ORIGINS["hallusion_bench"].title,
    ORIGINS["hallusion_bench"].homepage,
    read,
    grade,
    measure,
    headlines=("aAcc",),
    spatial=False,
    group=lambda question: f"{question.category}_{question.native['set_id']}",
)
