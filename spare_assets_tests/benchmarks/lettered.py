"""LMUData files made up for tests, and what a benchmark makes of them and of replies."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from PIL import Image

from spare_assets.benchmarks.pictures import Pictures
from spare_assets.benchmarks.questions import SCORED, Benchmark, Question, UnreadableRecord
from spare_assets.settings import BenchmarkSettings
from spare_assets_tests.benchmarks.test_image_files import MAX_PIXELS, files, tsv


def _picture() -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


PICTURE = _picture()


def lmu_file(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """A TSV of these rows, each with the same picture unless it says otherwise."""
    rows = [{"image": PICTURE, **row} for row in rows]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return tsv(path, columns, [[row.get(name, "") for name in columns] for row in rows])


def ask(benchmark: Benchmark, path: Path, **settings: Any) -> list[Question | UnreadableRecord]:
    here = files(benchmark.key, path)
    pictures = Pictures(here, path.parent / "pictures", MAX_PIXELS)
    found = list(benchmark.read(here, pictures, BenchmarkSettings(file="records", **settings)))
    assert len({one.item for one in found}) == len(found)
    return found


def graded(
    benchmark: Benchmark,
    found: Sequence[Question | UnreadableRecord],
    reply: Callable[[Question], str],
    **settings: Any,
) -> pl.DataFrame:
    """Predictions from replies, as `measure` takes them; a question that can't be asked counts as wrong."""
    rows = []
    for question in found:
        if not isinstance(question, Question):
            continue
        grade = benchmark.grade(question, reply(question), BenchmarkSettings(file="records", **settings))
        rows.append(
            {
                "item": question.item,
                "category": question.category,
                "native": json.dumps(dict(question.native)),
                "options": [{"letter": letter, "text": text} for letter, text in question.options.items()],
                "answers": list(question.answers),
                "prediction": None if question.problem else grade.prediction,
                "score": 0.0 if question.problem else grade.score,
            }
        )
    return pl.DataFrame(rows, schema=SCORED)
