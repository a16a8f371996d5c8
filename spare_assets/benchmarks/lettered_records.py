"""Records of the LMUData TSVs whose answer is one of their options, a column each (`A`, `B`, ...).

Belongs here: the fields such records share, and the categories that their scores are broken down by. What passes of
one question are, and how replies are read, belongs to the benchmarks.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from spare_assets.benchmarks.metrics import by_category
from spare_assets.benchmarks.pictures import Pictures
from spare_assets.benchmarks.questions import Question
from spare_assets.benchmarks.records import native, required_text, text_of
from spare_assets.captions.records import RowError

_SHOWN = {"image", "question", "hint", "answer", "category", *string.ascii_uppercase}


def options_of(fields: Mapping[str, Any]) -> dict[str, str]:
    """Texts by letter, of the options that a record has."""
    texts = {letter: text_of(fields, letter) for letter in string.ascii_uppercase}
    return {letter: text for letter, text in texts.items() if text}


def lettered_question(item: str, fields: Mapping[str, Any], pictures: Pictures) -> Question:
    """A question to be answered by an option's letter. Raises RowError where it has no options, or its answer is none
    of them."""
    options = options_of(fields)
    if not options:
        raise RowError("has no options: columns A, B, ... say nothing")
    answer = required_text(fields, "answer")
    if answer not in options:
        raise RowError(f"its answer {answer[:40]!r} is none of its options {', '.join(options)}")
    images, problem = pictures.asked_about(fields)
    return Question(
        item,
        "choice",
        required_text(fields, "question"),
        (answer,),
        options,
        text_of(fields, "category"),
        native_fields(fields),
        images,
        text_of(fields, "hint"),
        problem,
    )


def native_fields(fields: Mapping[str, Any]) -> dict[str, str]:
    """The fields that a question does not show, by names that can be queried: `l2-category` is `l2_category`."""
    texts = {name.replace("-", "_"): text_of(fields, name) for name in fields if name not in _SHOWN}
    return {name: text for name, text in texts.items() if text}


def slices(predictions: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """All predictions as "", those of each group of categories as "group: <name>", and those of each category."""
    yield "", predictions
    yield from by_category(predictions.with_columns(category=pl.format("group: {}", native("l2_category"))))
    yield from by_category(predictions)
