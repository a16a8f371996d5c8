"""Small samples to review, and the verdicts of reviewers, for the tests of this room."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from spare_assets.review.items import FORMAT, FORMAT_NAME, items, sample_hash
from spare_assets.storage.schemas import TABLES


def pair_rows(count: int, **changed: Any) -> pl.DataFrame:
    """A `review_sample` of pairs p01, p02, ...: of docci and pixmo_cap in turn, about left, and about above."""
    table = TABLES["review_sample"]
    rows = [
        {
            "pair_id": f"p{number:02}",
            "caption_id": f"docci:{number}",
            "source": ("docci", "pixmo_cap")[number % 2],
            "place": number,
            "question": f"Where is cup {number}?",
            "answer": "left of the plate",
            "caption": f"Cup {number} stands left of the plate.",
            "image_path": None,
            "relations": ["left"] if number % 2 else ["left", "above"],
            "weight": 2.5,
        }
        | changed
        for number in range(1, count + 1)
    ]
    return pl.DataFrame(rows, schema=table.polars()).sort(table.key)


def caption_rows(count: int, **changed: Any) -> pl.DataFrame:
    """A `caption_review_sample` of captions c01, c02, ...; the odd ones were judged spatial."""
    table = TABLES["caption_review_sample"]
    rows = [
        {
            "caption_id": f"c{number:02}",
            "source": "docci",
            "place": number,
            "caption": f"Caption {number}.",
            "judged_spatial": number % 2 == 1,
            "weight": 4.0,
        }
        | changed
        for number in range(1, count + 1)
    ]
    return pl.DataFrame(rows, schema=table.polars()).sort(table.key)


def verdict_file(
    pairs: pl.DataFrame,
    captions: pl.DataFrame,
    reviewer: str,
    given: Mapping[str, str] | Sequence[tuple[str, str]],
    **changed: Any,
) -> dict[str, Any]:
    """What the page would download for these verdicts by item."""
    found = items(pairs, captions)
    known = {row["item"]: row for row in found.iter_rows(named=True)}
    entries = [
        {
            "kind": known[item]["kind"],
            "item": item,
            "verdict": verdict,
            "comment": "",
            "seen": known[item]["seen"],
        }
        for item, verdict in (given.items() if isinstance(given, Mapping) else given)
    ]
    return {
        "format": FORMAT_NAME,
        "version": FORMAT,
        "sample": sample_hash(found),
        "reviewer": reviewer,
        "downloaded": "2026-01-01T00:00:00.000Z",
        "verdicts": entries,
    } | changed


def put(folder: Path, name: str, document: object) -> Path:
    """The document as a file in the folder of verdicts."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return path
