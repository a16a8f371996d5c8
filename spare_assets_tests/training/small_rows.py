"""Few training rows with real pictures, and a recipe for them, for tests of this room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from spare_assets.settings import RecipeSettings
from spare_assets.storage.schemas import TABLES
from spare_assets.training.rows import TrainingRow

# The form of template that Qwen2-VL has: a system prompt of its own where the conversation brings none.
TEMPLATE_WITH_SYSTEM = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}<|im_start|>system\n"
    "Yes, on the desk.<|im_end|>\n{% endif %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
)


def recipe(**changes: Any) -> RecipeSettings:
    chosen: dict[str, Any] = {
        "base": "sandbox",
        "learning_rate": 1e-3,
        "batch_size": 4,
        "micro_batch_size": 2,
        "dtype": "float32",
        "min_pixels": 28 * 28,
        "max_pixels": 6 * 28 * 28,
        "dropout": 0.0,
    }
    return RecipeSettings(**(chosen | changes))


def picture(path: Path, width: int = 84, height: int = 56, seed: int = 0) -> Path:
    noise = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


def row(path: Path, *turns: tuple[str, str], row_id: str = "image-1") -> TrainingRow:
    return TrainingRow(row_id, path, f"hash of {path.name}", turns)


def write_table(path: Path, rows: Sequence[Mapping[str, Any]], table: str = "training_samples") -> Path:
    """Rows as a table; `turns` are pairs of question and answer, and whatever a row leaves out is filled in."""
    schema = {column.name: column.dtype for column in TABLES[table].columns}
    filled = []
    for place, given in enumerate(rows):
        values: dict[str, Any] = {
            "row_id": f"row-{place}",
            "part": "train",
            "image_id": "i",
            "image_sha256": "s",
            "image_path": "/p",
        }
        values |= {"width": 84, "height": 56} | dict(given)
        values["turns"] = [
            {"pair_id": f"{place}/{turn}", "question": question, "answer": answer, "benign": False}
            for turn, (question, answer) in enumerate(values["turns"])
        ]
        filled.append(values)
    pl.DataFrame(filled, schema=schema).write_parquet(path)  # type: ignore[arg-type]
    return path
