"""One caption as every reader hands it on, and the two ways a corpus can be wrong: one row, or all of it.

What a release calls its fields belongs to the reader of that format; where its files lie belongs to
`files`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

MAX_NAME_CHARACTERS = 4096


class SourceError(ValueError):
    """A whole source can't be read; the message names file and setting, what was found and what to do."""


class RowError(ValueError):
    """One row can't be read; the message is the reason its quarantine record gives."""


class Caption(NamedTuple):
    """A row of the `captions` table, in the order of its columns."""

    caption_id: str
    source: str
    split: str | None
    image_id: str
    image_set: str
    image_file: str | None
    image_url: str | None
    caption: str
    words: int
    native: str


def word_count(text: str) -> int:
    """Whitespace-separated words."""
    return len(text.split())


def text_hash(*parts: str) -> str:
    """32 hexadecimal digits that stand for some texts, in order."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def plain_text(value: Any, name: str) -> str:
    """A text as it stands. Raises RowError where it is no text, or none that every later stage can carry.

    A NUL is refused rather than cut out: C libraries end a text at it, and a caption is never changed in
    silence.
    """
    if not isinstance(value, str):
        raise RowError(f"`{name}` is {_kind(value)}, not text")
    if "\0" in value:
        raise RowError(f"`{name}` holds a NUL character")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise RowError(f"`{name}` holds half of a surrogate pair at character {error.start + 1}") from None
    return value


def caption_text(fields: Mapping[str, Any], name: str) -> str:
    """The caption of a row, as released. Raises RowError where it is absent, blank or no text."""
    if fields.get(name) is None:
        raise RowError(f"`{name}` is missing" if name not in fields else f"`{name}` is empty (null)")
    text = plain_text(fields[name], name)
    if not text.strip():
        raise RowError(f"`{name}` is empty")
    return text


def name_text(fields: Mapping[str, Any], name: str) -> str:
    """An identifier, file name or address of a row; whole numbers count as text.

    Raises RowError where it is absent, blank, of another type or too long to be a name.
    """
    value = fields.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    text = caption_text(fields, name)
    if len(text) > MAX_NAME_CHARACTERS:
        raise RowError(f"`{name}` has {len(text):,} characters: too long for a name")
    return text


def native_json(fields: Mapping[str, Any], used: Collection[str]) -> str:
    """The fields of a row that no column took, as JSON; what JSON has no word for becomes null or text."""
    rest = {name: value for name, value in fields.items() if name not in used}
    try:
        text = json.dumps(rest, ensure_ascii=False, allow_nan=False, default=str, separators=(",", ":"))
    except ValueError:
        finite = json.loads(json.dumps(rest, default=str), parse_constant=lambda name: None)
        text = json.dumps(finite, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace").decode()


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    return {bool: "true/false", int: "a number", float: "a number", list: "a list", dict: "an object"}.get(
        type(value), type(value).__name__
    )
