"""Any table of captions with named columns, told by its file name: JSON lines, JSON, CSV, TSV or Parquet.

`columns` of the source's settings says which column holds caption, image (file name or address), id and
split; the other columns are kept as native fields. A .json document that maps names to texts has the
columns `key` and `value`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from spare_assets.captions.files import (
    Row,
    SourceFile,
    csv_header,
    csv_rows,
    is_json_lines,
    json_document,
    json_lines,
    parquet_columns,
    parquet_rows,
)
from spare_assets.captions.image_ids import canonical_image_id, is_url
from spare_assets.captions.records import (
    Caption,
    caption_text,
    name_text,
    native_json,
    text_hash,
    word_count,
)
from spare_assets.settings import SourceSettings

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_NESTED = re.compile(r"struct|list|large_list|fixed_size|map|binary|large_binary")
_LINES = {".jsonl", ".jsonlines", ".ndjson"}


def table_caption(source: str, settings: SourceSettings, fields: Mapping[str, Any]) -> Caption | None:
    """The caption of one row, or None for a row without one where `skip_empty` passes it over.

    A row needs no image and no split; it needs an id where an id column is named, and a hash of image and
    text stands for it where none is. Raises RowError naming the column that is missing or unfit.
    """
    columns = settings.columns
    if settings.skip_empty and _blank(fields.get(columns["caption"])):
        return None
    text = caption_text(fields, columns["caption"])
    image = _optional(fields, columns.get("image"))
    native_id = name_text(fields, columns["id"]) if "id" in columns else text_hash(image or "", text)
    web = image is not None and is_url(image)
    return Caption(
        caption_id=f"{source}:{native_id}",
        source=source,
        split=_optional(fields, columns.get("split")),
        # A caption without image has a picture of its own, which nobody can have.
        image_id=canonical_image_id(source, image) if image else f"{source}:no image of {native_id}",
        image_set="default",
        image_file=None if web else image,
        image_url=image if web else None,
        caption=text,
        words=word_count(text),
        native=native_json(fields, set(columns.values())),
    )


def table_rows(file: SourceFile, settings: SourceSettings) -> Iterator[Row]:
    """Rows of a table. Raises SourceError for an unknown kind of file and for columns it does not have.

    JSON has no header: there the first object stands for it, and all of them for the caption where
    `skip_empty` lets it be absent.
    """
    named = settings.columns
    suffix = _suffix(file)
    if suffix == ".parquet":
        types = parquet_columns(file)
        require_columns(file, list(types), named)
        if (image := named.get("image")) and _NESTED.match(types[image]):
            raise file.error(
                f"column {image!r} is of type {types[image]}; an image column holds file names or addresses, "
                "embedded images are not read",
                "columns.image",
            )
        kept = [name for name, kind in types.items() if "binary" not in kind or name in named.values()]
        return parquet_rows(file, kept)
    if suffix in _DELIMITERS:
        require_columns(file, csv_header(file, _DELIMITERS[suffix]), named)
        return csv_rows(file, _DELIMITERS[suffix])
    if suffix in _LINES or (suffix == ".json" and is_json_lines(file)):
        rows = json_lines(file)
    elif suffix == ".json":
        rows = json_document(file, named["caption"])
    else:
        raise file.error(
            f"is no kind of table known here ({suffix or 'no suffix'}): use .jsonl, .json, .csv, .tsv or .parquet"
        )
    return _with_columns(file, rows, named, caption_may_wait=settings.skip_empty)


def require_columns(file: SourceFile, present: list[str], named: Mapping[str, str]) -> None:
    """Raises SourceError where a named column is not among those present, listing these."""
    for use, name in named.items():
        if name not in present:
            listed = ", ".join(map(repr, present[:50])) or "none"
            raise file.error(f"has no column {name!r} for {use}; its columns are {listed}", f"columns.{use}")


def _with_columns(
    file: SourceFile, rows: Iterator[Row], named: Mapping[str, str], *, caption_may_wait: bool
) -> Iterator[Row]:
    at_once = {use: name for use, name in named.items() if use != "caption" or not caption_may_wait}
    first: list[str] | None = None
    caption_met = False
    for row in rows:
        if row.fields is not None:
            if first is None:
                first = list(row.fields)
                require_columns(file, first, at_once)
            caption_met = caption_met or named["caption"] in row.fields
        yield row
    if first is not None and not caption_met:
        require_columns(file, first, named)


def _suffix(file: SourceFile) -> str:
    path = PurePath(file.path.name.lower())
    return PurePath(path.stem).suffix if path.suffix == ".gz" else path.suffix


def _blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _optional(fields: Mapping[str, Any], column: str | None) -> str | None:
    return None if column is None or _blank(fields.get(column)) else name_text(fields, column)
