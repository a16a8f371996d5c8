"""A few predictions of one model with their pictures, as Markdown for the page of a score.

Which predictions are shown belongs here; how pictures are reduced does not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from spare_assets.pages.markdown_text import markdown_line
from spare_assets.pages.thumbnails import thumbnail

_RIGHT, _WRONG = 2, 4
_SIDE = 128
_MOST_CHARACTERS = 120
_MOST_BYTES = 150_000


def prediction_sample(predictions: pl.LazyFrame) -> str:
    """Wrong answers first, then right ones, each with a small picture; at most 150 kB."""
    scored = predictions.filter(pl.col("score").is_not_null())
    order = pl.col("item").hash(seed=0)
    wrong = scored.filter(pl.col("score") < 1).sort(order).head(_WRONG)
    right = scored.filter(pl.col("score") == 1).sort(order).head(_RIGHT)
    lines = ["| picture | question | right | said | |", "|---|---|---|---|---|"]
    size = 0
    for row in pl.concat([wrong, right]).collect().iter_rows(named=True):
        line = _line(row)
        size += len(line.encode())
        if size > _MOST_BYTES:
            break
        lines.append(line)
    return "\n".join(lines) if len(lines) > 2 else "no predictions"


def _line(row: dict[str, Any]) -> str:
    small = thumbnail(Path(row["images"][0]), _SIDE) if row["images"] else None
    picture = f"![picture]({small.address})" if small else ""
    options = "; ".join(f"{option['letter']}. {option['text']}" for option in row["options"])
    question = f"{row['question']} {options}".strip()
    said = row["reply"] if row["prediction"] is None else f"{row['prediction']} ({row['reply']})"
    cells = [question, ", ".join(dict.fromkeys(row["answers"])), said or row["reason"]]
    return f"| {picture} | {' | '.join(map(_cell, cells))} | {'✓' if row['score'] == 1 else '✗'} |"


def _cell(text: str) -> str:
    line = " ".join(text.split())
    return markdown_line(line if len(line) <= _MOST_CHARACTERS else f"{line[: _MOST_CHARACTERS - 1]}…")
