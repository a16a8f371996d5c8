"""Rows of the PixMo-Cap release: Parquet of image_url, caption and transcripts; images by address only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spare_assets.captions.image_ids import canonical_image_id
from spare_assets.captions.records import (
    Caption,
    caption_text,
    name_text,
    native_json,
    text_hash,
    word_count,
)

COLUMNS = ("image_url", "caption")


def pixmo_caption(source: str, fields: Mapping[str, Any]) -> Caption:
    """The caption of one row; the release numbers nothing, so a hash of address and text is its id.

    Raises RowError naming the field that is missing or unfit.
    """
    text = caption_text(fields, "caption")
    url = name_text(fields, "image_url")
    return Caption(
        caption_id=f"{source}:{text_hash(url, text)}",
        source=source,
        split=None,
        image_id=canonical_image_id(source, url),
        image_set="default",
        image_file=None,
        image_url=url,
        caption=text,
        words=word_count(text),
        native=native_json(fields, COLUMNS),
    )
