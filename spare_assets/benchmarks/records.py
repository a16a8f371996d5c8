"""What the readers of all benchmarks share: records one by one, their fields as texts, and grouping by native fields.

Which fields a benchmark has and what they mean belongs to the benchmarks' own modules.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import polars as pl

from spare_assets.benchmarks.image_files import BenchmarkFiles, record_items
from spare_assets.benchmarks.questions import Question, UnreadableRecord
from spare_assets.captions.records import RowError


def read_questions(
    files: BenchmarkFiles, question: Callable[[str, Mapping[str, Any]], Question]
) -> Iterator[Question | UnreadableRecord]:
    """A question for each record, in order; where `question(item, fields)` raises RowError, the record is unreadable.

    Raises SourceError where the file itself can't be read to its end.
    """
    for item, row in record_items(files):
        if row.fields is None:
            yield UnreadableRecord(item, row.reason)
            continue
        try:
            yield question(item, row.fields)
        except RowError as error:
            yield UnreadableRecord(item, str(error))


def text_of(fields: Mapping[str, Any], *names: str) -> str:
    """The first of these fields that says something, stripped; "" where none does. Numbers become their digits."""
    for name in names:
        value = fields.get(name)
        text = str(value).strip() if isinstance(value, str | int | float) else ""
        if text:
            return text
    return ""


def required_text(fields: Mapping[str, Any], *names: str) -> str:
    """As `text_of`. Raises RowError where none of the fields says anything."""
    text = text_of(fields, *names)
    if not text:
        raise RowError(f"says nothing in its field {' or '.join(map(repr, names))}")
    return text


def native(name: str) -> pl.Expr:
    """A native field of predictions as text; null where a question doesn't have it."""
    if not re.fullmatch(r"\w+", name):
        raise ValueError(f"not the name of a native field: {name!r}")
    return pl.col("native").str.json_path_match(f"$.{name}")
