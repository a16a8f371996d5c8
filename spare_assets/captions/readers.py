"""From a source's files to captions, in batches: the entry to all formats, and what it promises of each.

Every row read ends as a caption, in quarantine with file, line and reason, or passed over because the
settings say so (another split, no caption); memory stays flat. How a release names its fields stands in the
module of its format.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import polars as pl

from spare_assets.captions.docci import docci_caption
from spare_assets.captions.files import (
    Row,
    SourceFile,
    json_lines,
    parquet_columns,
    parquet_rows,
    source_files,
)
from spare_assets.captions.generic_table import require_columns, table_caption, table_rows
from spare_assets.captions.localized_narratives import narrative_fields, narrative_reader
from spare_assets.captions.pixmo_cap import COLUMNS as PIXMO_COLUMNS
from spare_assets.captions.pixmo_cap import pixmo_caption
from spare_assets.captions.records import Caption, RowError, SourceError, native_json
from spare_assets.settings import Home, LimitSettings, SourceSettings
from spare_assets.storage.schemas import TABLES

BATCH_ROWS = 10_000
BATCH_CHARACTERS = 16_000_000
RAW_CHARACTERS = 10_000
_SPLITS_TOLD = 20

_CAPTIONS = TABLES["captions"].polars()
_QUARANTINED = TABLES["quarantined_captions"].polars()


@dataclass(frozen=True, slots=True)
class CaptionBatch:
    """Some rows of a source, read: `captions` and `quarantined` in their tables' columns, and how many
    passed over."""

    captions: pl.DataFrame
    quarantined: pl.DataFrame
    passed_over: int

    @property
    def read(self) -> int:
        """Rows that were to become captions."""
        return self.captions.height + self.quarantined.height


class SeenTexts:
    """Remembers texts by 16-byte digests.

    About 100 bytes of memory a text: 70 MB for PixMo-Cap's 717,000 captions; twice that a narrative, which
    is remembered by id and by text.
    """

    def __init__(self) -> None:
        self._digests: set[bytes] = set()

    def is_new(self, text: str) -> bool:
        """Whether the text was not met before; from now on it was."""
        digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
        if digest in self._digests:
            return False
        self._digests.add(digest)
        return True


def read_captions(key: str, source: SourceSettings, home: Home, *, limits: LimitSettings) -> Iterator[CaptionBatch]:
    """All captions of a source in file order, in batches of at most 10,000 rows.

    Raises SourceError, naming file and setting: at once where a file is absent, empty or no file of this
    format; while reading where one breaks off, holds no row, or no row is of the chosen splits. Too many
    unreadable rows are not judged here: see `check_unreadable`.
    """
    files = source_files(key, source, home)
    if source.format == "pixmo_cap":
        for file in files:
            require_columns(file, list(parquet_columns(file)), dict(zip(PIXMO_COLUMNS, PIXMO_COLUMNS, strict=True)))
    return _batches(key, source, files, limits)


def _batches(
    key: str, source: SourceSettings, files: Sequence[SourceFile], limits: LimitSettings
) -> Iterator[CaptionBatch]:
    seen = SeenTexts()
    caption_of = _caption_reader(key, source, seen)
    narratives = source.format == "localized_narratives"
    captions: list[Caption] = []
    quarantined: list[tuple[str, str, int, str, str]] = []
    passed_over = characters = 0
    splits_met: set[str] = set()
    split_found = source.splits is None
    for file in files:
        rows = 0
        for row in _rows(file, source):
            rows += 1
            try:
                caption = _checked(row, caption_of, limits)
                if caption is not None and source.splits is not None:
                    if caption.split in source.splits:
                        split_found = True
                    else:
                        if len(splits_met) < _SPLITS_TOLD:
                            splits_met.add(caption.split or "none")
                        caption = None
                # Narratives are numbered, so that their ids are new by construction.
                if caption is not None and not narratives and not seen.is_new(caption.caption_id):
                    raise RowError(f"duplicate of {caption.caption_id}, which stands earlier in this source")
            except RowError as error:
                raw = _raw(row)
                quarantined.append((key, file.name, row.line, str(error), raw))
                characters += len(raw)
            else:
                if caption is None:
                    passed_over += 1
                else:
                    captions.append(caption)
                    characters += len(caption.caption) + len(caption.native)
            if len(captions) + len(quarantined) >= BATCH_ROWS or characters >= BATCH_CHARACTERS:
                yield _batch(captions, quarantined, passed_over)
                captions, quarantined, passed_over, characters = [], [], 0, 0
        if rows == 0:
            raise file.error("holds no row; fetch it again")
    if captions or quarantined or passed_over:
        yield _batch(captions, quarantined, passed_over)
    if not split_found and splits_met:
        raise SourceError(
            f"source {key!r}: no row is of split {' or '.join(source.splits or ())} "
            f"(setting `sources.{key}.splits`); the splits met are {', '.join(sorted(splits_met))}"
        )


def _rows(file: SourceFile, source: SourceSettings) -> Iterator[Row]:
    match source.format:
        case "docci":
            return json_lines(file)
        case "localized_narratives":
            return json_lines(file, narrative_fields)
        case "pixmo_cap":
            types = parquet_columns(file)
            return parquet_rows(file, [name for name, kind in types.items() if "binary" not in kind])
        case "table":
            return table_rows(file, source)


def _caption_reader(key: str, source: SourceSettings, seen: SeenTexts) -> Callable[[Mapping[str, Any]], Caption | None]:
    match source.format:
        case "docci":
            return partial(docci_caption, key)
        case "localized_narratives":
            return narrative_reader(key, seen.is_new)
        case "pixmo_cap":
            return partial(pixmo_caption, key)
        case "table":
            return partial(table_caption, key, source)


def _checked(
    row: Row, caption_of: Callable[[Mapping[str, Any]], Caption | None], limits: LimitSettings
) -> Caption | None:
    if row.fields is None:
        raise RowError(row.reason)
    caption = caption_of(row.fields)
    if caption is not None and len(caption.caption) > limits.max_caption_characters:
        raise RowError(
            f"caption has {len(caption.caption):,} characters, more than `limits.max_caption_characters` "
            f"({limits.max_caption_characters:,})"
        )
    return caption


def _raw(row: Row) -> str:
    if isinstance(row.raw, bytes):
        # Four bytes make at most one character, so the cut never takes too much.
        return row.raw[: 4 * RAW_CHARACTERS].decode("utf-8", "replace").rstrip("\r\n")[:RAW_CHARACTERS]
    if row.raw or row.fields is None:
        return row.raw[:RAW_CHARACTERS]
    return native_json(row.fields, ())[:RAW_CHARACTERS]


def _batch(
    captions: list[Caption], quarantined: list[tuple[str, str, int, str, str]], passed_over: int
) -> CaptionBatch:
    return CaptionBatch(
        pl.DataFrame(captions, schema=_CAPTIONS, orient="row"),
        pl.DataFrame(quarantined, schema=_QUARANTINED, orient="row"),
        passed_over,
    )


def check_unreadable(
    read: int, quarantined: int, limits: LimitSettings, *, source: str, examples: Sequence[str] = ()
) -> None:
    """Raises SourceError where too many of the rows read went to quarantine (design, law 4).

    Too many is above both `limits.unreadable_share` and `limits.unreadable_rows`, or every single row; a
    source of which nothing was read fails as well. `examples` are told in the message, which the caller
    gives as "file, line: reason".
    """
    if read == 0:
        raise SourceError(
            f"source {source!r}: no caption was read (settings `sources.{source}.splits`, `.skip_empty` and `.columns`)"
        )
    too_many = quarantined > limits.unreadable_rows and quarantined > limits.unreadable_share * read
    if not too_many and quarantined < read:
        return
    lines = [f"  {example}" for example in examples[:5]]
    raise SourceError(
        "\n".join(
            [
                f"source {source!r}: {quarantined:,} of {read:,} rows can't be read, more than "
                f"`limits.unreadable_share` ({limits.unreadable_share:.0%}) allows; all of them are in "
                f"`quarantined_captions`{'. The first:' if lines else ''}",
                *lines,
            ]
        )
    )


def smallest_by_hash(frames: Iterable[pl.DataFrame], limit: int) -> pl.DataFrame:
    """The `limit` captions with the smallest sha256 of caption_id, sorted by it; a smaller trial is part of
    a larger.

    Takes frames with a `caption_id` column (law 9) and holds about `limit` rows and one frame at a time.
    """
    kept: pl.DataFrame | None = None
    for frame in frames:
        hashes = [hashlib.sha256(name.encode()).hexdigest() for name in frame["caption_id"]]
        frame = frame.with_columns(pl.Series("__hash", hashes, dtype=pl.String))
        if kept is not None:
            if kept.height == limit:
                frame = frame.filter(pl.col("__hash") < kept["__hash"][-1]) if limit else frame.clear()
            frame = pl.concat([kept, frame])
        kept = frame.sort("__hash").head(limit)
    if kept is None:
        return TABLES["captions"].empty()
    return kept.drop("__hash")
