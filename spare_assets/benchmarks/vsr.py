"""VSR: is a statement about where two things are true of a photograph? (paper 4.2)

JSON lines as released: `image`, a COCO file name, `image_link`, `caption`, `label` 0 or 1, `relation`, and in the
zero-shot split `subj` and `obj`. Both splits, random and zero-shot, are read alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from spare_assets.benchmarks.image_files import BenchmarkFiles
from spare_assets.benchmarks.metrics import TERMS, Metric, by_category, mean_score
from spare_assets.benchmarks.origins import ORIGINS
from spare_assets.benchmarks.pictures import Pictures
from spare_assets.benchmarks.questions import Benchmark, Grade, Question, UnreadableRecord
from spare_assets.benchmarks.records import native, read_questions, required_text, text_of
from spare_assets.benchmarks.short_answers import only_one, plain_words
from spare_assets.captions.records import RowError
from spare_assets.settings import BenchmarkSettings

_LABELS = {"1": "true", "0": "false"}
_SAME = {"yes": "true", "no": "false"}


def read(
    files: BenchmarkFiles, pictures: Pictures, settings: BenchmarkSettings
) -> Iterator[Question | UnreadableRecord]:
    """A question for each line: whether its caption is true; its category is the relation."""

    def question(item: str, fields: Mapping[str, Any]) -> Question:
        statement = required_text(fields, "caption")
        label = text_of(fields, "label")
        if label not in _LABELS:
            raise RowError(f"its field 'label' is {label[:40]!r}, neither 0 nor 1")
        relation = required_text(fields, "relation")
        images, problem = pictures.asked_about(fields)
        names = {"relation": relation, "subject": text_of(fields, "subj"), "object": text_of(fields, "obj")}
        names["image"] = text_of(fields, "image", "image_link")
        return Question(
            item,
            "statement",
            statement,
            (_LABELS[label],),
            category=relation,
            native={name: value for name, value in names.items() if value},
            images=images,
            problem=problem,
        )

    return read_questions(files, question)


def grade(question: Question, reply: str, settings: BenchmarkSettings) -> Grade:
    """True without false, or false without true; where a reply says neither, yes without no and no without yes."""
    words = set(plain_words(reply))
    if words & {"true", "false"}:
        prediction = only_one(words, ("true", "false"))
    else:
        prediction = _SAME.get(only_one(words, ("yes", "no")) or "")
    return Grade(prediction, float(prediction in question.answers))


def measure(predictions: pl.DataFrame) -> Iterator[Metric]:
    """Accuracy, over all and by relation; precision, recall and F1 of `true` over all. Statements of one image go
    together."""
    unit = pl.coalesce(native("image"), "item")
    yield mean_score(predictions, "accuracy", unit=unit)
    called = (pl.col("prediction").cast(pl.String) == "true").fill_null(value=False).cast(pl.Float64)
    so = pl.col("answers").list.contains("true").cast(pl.Float64)
    for name, share, among in (
        ("precision", called * so, called),
        ("recall", called * so, so),
        ("f1", 2 * called * so, called + so),
    ):
        terms = predictions.select(unit=unit, stratum=pl.lit(name), numerator=share, denominator=among)
        yield Metric(name, "", terms.cast(TERMS), guessable=False)
    for relation, rows in by_category(predictions):
        yield mean_score(rows, "accuracy", relation, unit=unit)


BENCHMARK = Benchmark(
    "vsr",
    ORIGINS["vsr"].title,
    ORIGINS["vsr"].homepage,
    read,
    grade,
    measure,
    headlines=("accuracy",),
    spatial=True,
)
