"""A benchmark's questions and what a model said to them: the records that readers, prompts and scorers share.

Where questions are read from, how they are put to a model, and how they are scored is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Literal

import polars as pl

from spare_assets.benchmarks.image_files import BenchmarkFiles
from spare_assets.benchmarks.metrics import Metric
from spare_assets.benchmarks.pictures import Pictures
from spare_assets.engines.chat import ChatImage
from spare_assets.settings import BenchmarkSettings

Form = Literal["choice", "captions", "statement", "yes_no", "short", "as_it_stands"]
"""What is asked for: an option's letter; the caption that fits, by its letter; whether a statement is true; yes or no;
a word or phrase; or whatever the question itself says."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question of a benchmark.

    `item` is unique in the benchmark. `answers` are what counts as right: an option's letter; `yes` or `no`; `true` or
    `false`; or the accepted wordings of an open answer. `options` are texts by letter. `category` is the finest one
    that is reported by itself. `native` holds the fields that group questions (a circular pass, a figure, an object
    pair) and whatever a person may want to query. `problem` says why it can't be asked, such as a picture that doesn't
    decode: it then counts as wrong.
    """

    item: str
    form: Form
    text: str
    answers: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)
    category: str = ""
    native: Mapping[str, str] = field(default_factory=dict)
    images: tuple[ChatImage, ...] = ()
    hint: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class UnreadableRecord:
    """A record that makes no question: where it stands, and why. It is counted, and part of no score."""

    item: str
    reason: str


@dataclass(frozen=True, slots=True)
class Grade:
    """What was made of a reply: the answer read out of it, None where there is none, and its credit from 0 to 1."""

    prediction: str | None
    score: float


Read = Callable[[BenchmarkFiles, Pictures, BenchmarkSettings], Iterator[Question | UnreadableRecord]]
Judge = Callable[[Question, str, BenchmarkSettings], Grade]
Measure = Callable[[pl.DataFrame], Iterable[Metric]]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What is known of one benchmark: where it comes from, how it is read, graded and measured.

    `read` yields its questions in the order of its file. `grade` reads an answer out of a free reply. `measure` takes
    predictions (`SCORED` columns) and yields its metrics, those named in `headlines` among them, each over all
    questions and by category. `group` names what a sample takes whole: the passes of a circular question, a set of
    captions, the questions on one picture; `sums_categories` that its score is a sum over categories, all of which a
    sample must hold. Given the chance of a right guess in place of scores, `measure` yields what
    guessing scores.
    """

    key: str
    title: str
    origin: str
    read: Read
    grade: Judge
    measure: Measure
    headlines: tuple[str, ...]
    spatial: bool
    group: Callable[[Question], str] = attrgetter("item")
    sums_categories: bool = False


SCORED = pl.Schema(
    {
        "item": pl.String(),
        "category": pl.String(),
        "native": pl.String(),
        "options": pl.List(pl.Struct({"letter": pl.String, "text": pl.String})),
        "answers": pl.List(pl.String),
        "prediction": pl.String(),
        "score": pl.Float64(),
    }
)
"""The columns of predictions that scores are made of; `native` is a JSON object of texts."""
