"""LMUData files made up for tests."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from spare_assets.benchmarks.questions import Question
from spare_assets.settings import BenchmarkSettings
from spare_assets_tests.benchmarks.test_image_files import tsv


def _picture() -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


PICTURE = _picture()
OFFICIAL = BenchmarkSettings(file="records", variant="official")


def lmu_file(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """A TSV of these rows, each with the same picture unless it says otherwise."""
    rows = [{"image": PICTURE, **row} for row in rows]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return tsv(path, columns, [[row.get(name, "") for name in columns] for row in rows])


def right(question: Question) -> str:
    """The reply that is right."""
    return question.answers[0]


def chances(asked: Sequence[Question]) -> list[float]:
    """Of each question the chance that an option drawn at random is right."""
    return [1 / len(question.options) for question in asked]
