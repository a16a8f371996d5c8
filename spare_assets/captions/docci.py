"""Rows of the DOCCI release: JSON lines of example_id, split, image_file, description; images in one folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spare_assets.captions.image_ids import canonical_image_id
from spare_assets.captions.records import Caption, caption_text, name_text, native_json, word_count

_USED = ("example_id", "split", "image_file", "description")


def docci_caption(source: str, fields: Mapping[str, Any]) -> Caption:
    """The caption of one row. Raises RowError naming the field that is missing or unfit."""
    text = caption_text(fields, "description")
    image_file = name_text(fields, "image_file")
    return Caption(
        caption_id=f"{source}:{name_text(fields, 'example_id')}",
        source=source,
        split=name_text(fields, "split"),
        image_id=canonical_image_id(source, image_file, "docci"),
        image_set="default",
        image_file=image_file,
        image_url=None,
        caption=text,
        words=word_count(text),
        native=native_json(fields, _USED),
    )
