from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image

from spare_assets.benchmarks import prediction_sample as room
from spare_assets.benchmarks.prediction_sample import prediction_sample
from spare_assets.storage.schemas import TABLES


def predictions(*rows: dict[str, Any]) -> pl.LazyFrame:
    schema = TABLES["vsr_predictions"].polars()
    usual: dict[str, Any] = {name: [] if isinstance(dtype, pl.List) else "" for name, dtype in schema.items()}
    usual |= {"score": 1.0, "chance": 0.5, "prediction": None, "answers": ["true"]}
    numbered = [{**usual, "item": str(place), **row} for place, row in enumerate(rows)]
    return pl.DataFrame(numbered, schema=schema).lazy()


def body(frame: pl.LazyFrame) -> list[list[str]]:
    """Cells of the table's rows."""
    lines = prediction_sample(frame).splitlines()
    assert lines[:2] == ["| picture | question | right | said | |", "|---|---|---|---|---|"]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def test_wrong_answers_come_first_and_few_are_shown() -> None:
    scores = [1.0] * 10 + [0.0, 0.5, 0.0, 0.9, 0.0, 0.0]
    rows = [{"score": score, "question": f"q{place}"} for place, score in enumerate(scores)]
    found = body(predictions(*rows))
    assert [cells[4] for cells in found] == ["✗"] * 4 + ["✓"] * 2
    assert len({cells[1] for cells in found}) == 6
    assert body(predictions(*rows).reverse()) == found, "the order of rows is nothing"


def test_part_of_the_credit_is_not_right() -> None:
    assert [cells[4] for cells in body(predictions({"score": 0.3}))] == ["✗"]


def test_unreadable_records_are_not_shown() -> None:
    assert prediction_sample(predictions({"score": None})) == "no predictions"
    assert prediction_sample(predictions()) == "no predictions"


def test_a_row_says_what_was_asked_what_is_right_and_what_was_said() -> None:
    options = [{"letter": "A", "text": "left"}, {"letter": "B", "text": "right"}]
    (first, second, third) = body(
        predictions(
            {"question": "Where?", "options": options, "answers": ["A", "A"], "prediction": "A", "reply": "It is A"},
            {"question": "Who?", "score": 0.0, "reply": "no idea"},
            {"question": "Why?", "score": 0.0, "reason": "no reply came"},
        )
    )[::-1]
    assert first == ["", r"Where? A\. left; B\. right", "A", r"A \(It is A\)", "✓"]
    assert sorted([second, third]) == [["", "Who?", "true", "no idea", "✗"], ["", "Why?", "true", "no reply came", "✗"]]


def test_outside_text_is_no_markup_and_is_cut() -> None:
    hostile = "a | b\n\n# c <script> ![x](http://e) `d`"
    (cells,) = body(predictions({"question": hostile, "answers": [hostile], "reply": hostile * 1_000}))
    assert len(cells) == 5
    assert all(not re.search(r"<|(?<!\\)[`#\[\]()!]", cell) for cell in cells)
    assert cells[3].endswith("…") and len(cells[3]) < 300


def noisy(path: Path, seed: int = 0) -> str:
    Image.effect_noise((300, 200), 90 + seed).convert("RGB").save(path)
    return str(path)


def test_the_first_picture_stands_small_in_its_row(tmp_path: Path) -> None:
    images = [noisy(tmp_path / "one.png"), str(tmp_path / "absent.png")]
    (cells,) = body(predictions({"images": images}))
    address = re.fullmatch(r"!\[picture\]\(data:image/\w+;base64,(.*)\)", cells[0])
    assert address is not None
    with Image.open(io.BytesIO(base64.b64decode(address[1]))) as shown:
        assert max(shown.size) == 128
    (absent,) = body(predictions({"images": images[::-1]}))
    assert absent[0] == ""


def test_the_sample_stays_within_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = predictions(*({"images": [noisy(tmp_path / f"{n}.png", n)], "question": "é" * 119} for n in range(4)))
    whole = prediction_sample(frame)
    assert len(whole.splitlines()) == 4
    for most in (len(whole.encode()), len(whole.encode()) - 120, 100):
        monkeypatch.setattr(room, "_MOST_BYTES", most)
        assert len(prediction_sample(frame).encode()) <= most + len(
            "| picture | question | right | said | |\n|---|---|---|---|---|\n"
        )
    assert prediction_sample(frame) == "no predictions"
