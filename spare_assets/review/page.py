"""The page that reviewers mark pairs and captions on: one HTML file that stands alone.

Belongs here: what the page is handed and how it keeps within its size. Its looks and manners are `page.html`,
`page.css` and `page.js`; what the marks mean is `items`' and `results`'.

Captions, questions and answers come from outside. They reach the page as one block of JSON, which its script puts in
place as text and never as markup. The page loads nothing and its policy forbids it to.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import polars as pl

from spare_assets.pages.standalone import content_policy, json_block
from spare_assets.pages.thumbnails import SIDE, Thumbnail, thumbnail
from spare_assets.review.items import COMMENT_CHARACTERS, FORMAT, FORMAT_NAME, VERDICTS, items, sample_hash
from spare_assets.storage.schemas import TABLES

PAGE_BYTES = 24_000_000
_SMALLER = (240, 160, 96)
_FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class ReviewPage:
    """The page, the identity of the sample it shows, and the rows of `review_page`."""

    html: str
    sample: str
    shown: pl.DataFrame


def review_page(
    pairs: pl.DataFrame, captions: pl.DataFrame, *, max_bytes: int = PAGE_BYTES, side: int = SIDE
) -> ReviewPage:
    """The page over rows of `review_sample` and `caption_review_sample`.

    Pictures are reduced to `side` pixels, or to what keeps the page within `max_bytes`; the least that is shown
    without them is its text. Captions are labelled without their picture and without what the pre-filter said of them.
    """
    found = items(pairs, captions)
    details = {("pair", row["pair_id"]): row for row in pairs.iter_rows(named=True)}
    details |= {("caption", row["caption_id"]): row for row in captions.iter_rows(named=True)}
    shown = [_item(row, details[row["kind"], row["item"]]) for row in found.iter_rows(named=True)]
    document: dict[str, Any] = {
        "format": FORMAT_NAME,
        "version": FORMAT,
        "sample": sample_hash(found),
        "verdicts": VERDICTS,
        "comment_characters": COMMENT_CHARACTERS,
        "items": shown,
    }
    paths = [details[item["kind"], item["item"]].get("image_path") for item in shown]
    left = max_bytes - len(_page(document).encode())
    waiting = len(paths) - paths.count(None)
    rows = []
    for item, path in zip(shown, paths, strict=True):
        state, picture = "none", None
        if path is not None:
            state, picture = _picture(Path(path), left // waiting, side)
            waiting -= 1
        if picture is not None:
            item["picture"] = {"src": picture.address, "width": picture.width, "height": picture.height}
            left -= len(json.dumps(item["picture"]).encode())
        item["absent"] = _ABSENT.get(state, "")
        width, height = (picture.width, picture.height) if picture is not None else (None, None)
        rows.append((item["kind"], item["item"], item["place"], state, width, height))
    schema = TABLES["review_page"]
    table = pl.DataFrame(rows, schema=schema.polars(), orient="row").sort(schema.key)
    return ReviewPage(_page(document), document["sample"], table)


def _item(row: dict[str, Any], details: dict[str, Any]) -> dict[str, Any]:
    """One item as the script takes it."""
    item = {name: row[name] for name in ("kind", "item", "seen", "source", "place")} | {"caption": details["caption"]}
    if row["kind"] == "pair":
        item |= {name: details[name] for name in ("question", "answer", "relations")}
    return item


def _picture(path: Path, budget: int, side: int) -> tuple[str, Thumbnail | None]:
    """A picture as large as fits `budget` bytes, and what became of it."""
    for longer in (side, *(smaller for smaller in _SMALLER if smaller < side)):
        small = thumbnail(path, longer)
        if small is None:
            return "unreadable", None
        if len(small.address) + _AROUND_PICTURE <= budget:
            return "embedded", small
    return "left out", None


def _page(document: dict[str, Any]) -> str:
    style, script = (_FOLDER.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    return Template(_FOLDER.joinpath("page.html").read_text(encoding="utf-8")).substitute(
        policy=content_policy(style, script),
        style=style,
        script=script,
        block=json_block(document),
    )


_AROUND_PICTURE = 80
_ABSENT = {
    "none": "No picture: judge by the description.",
    "unreadable": "This picture can’t be shown: judge by the description.",
    "left out": "Picture left out, the page is full: judge by the description.",
}
