"""Files of verdicts as the page downloads them: read, checked against the sample, refused in words.

A file comes from outside: a reviewer, a mail, an editor. One bad entry refuses all, because rates over part of what a
person marked would be somebody else's rates.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from spare_assets.review.items import COMMENT_CHARACTERS, FORMAT, FORMAT_NAME, VERDICTS, Kind, sample_hash
from spare_assets.storage.schemas import TABLES

PATTERN = "*.json"
_MOST_BYTES = 50_000_000
_MOST_TOLD = 20


class VerdictFileError(ValueError):
    """A file of verdicts can't be used; the message names file and entry, and says what to do."""


class _Outside(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Entry(_Outside):
    kind: Kind
    item: str
    verdict: str
    comment: str = Field("", max_length=COMMENT_CHARACTERS)
    seen: str


class _File(_Outside):
    format: Literal["spare-review"]
    version: int
    sample: str
    reviewer: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
    downloaded: str = ""
    verdicts: list[Any]


def read_verdicts(folder: Path, items: pl.DataFrame) -> pl.DataFrame:
    """Rows of `review_verdicts` from all files in a folder; none where there is no folder or no file.

    `items` is everything there is to mark. Raises VerdictFileError naming every file and entry that is wrong: not
    readable, of another version or sample, an unknown or repeated item, an unknown verdict.
    """
    schema = TABLES["review_verdicts"]
    known = {(row["kind"], row["item"]): row for row in items.iter_rows(named=True)}
    sample = sample_hash(items)
    problems: list[str] = []
    rows: list[dict[str, Any]] = []
    first: dict[tuple[str, str, str], str] = {}
    for path in sorted(folder.glob(PATTERN)) if folder.is_dir() else ():
        try:
            file = _read(path, sample)
        except VerdictFileError as error:
            problems.append(str(error))
            continue
        for number, raw in enumerate(file.verdicts, start=1):
            where = f"{path}, entry {number}"
            try:
                entry = _Entry.model_validate(raw)
            except ValidationError as error:
                problems += [f"{where}{line}" for line in _lines(error)]
                continue
            row = known.get((entry.kind, entry.item))
            wrong = _wrong(entry, row)
            earlier = first.setdefault((entry.kind, entry.item, file.reviewer), where)
            if wrong is None and earlier != where:
                wrong = (
                    f"{_quoted(file.reviewer)} marked it already in {earlier}; keep one of the two "
                    "(of two downloads, the later file)"
                )
            if wrong is not None:
                problems.append(f"{where} ({entry.kind} {_quoted(entry.item)}): {wrong}")
                continue
            rows.append(
                {
                    "kind": entry.kind,
                    "item": entry.item,
                    "reviewer": file.reviewer,
                    "source": row["source"] if row else None,
                    "verdict": entry.verdict,
                    "comment": entry.comment.strip(),
                    "file": _storable(path.name),
                }
            )
    if problems:
        told = problems[:_MOST_TOLD]
        more = [f"and {len(problems) - len(told):,} more"] if len(problems) > len(told) else []
        raise VerdictFileError("\n".join(["Verdict files that can't be used:", *told, *more]))
    return pl.DataFrame(rows, schema=schema.polars()).sort(schema.key)


def _read(path: Path, sample: str) -> _File:
    try:
        size = path.stat().st_size
        if size > _MOST_BYTES:
            raise VerdictFileError(f"{path}: {size:,} bytes, too much for a file of verdicts; remove it")
        document = json.loads(path.read_text(encoding="utf-8-sig"))
        # JSON can say half of a surrogate pair; no table can hold it.
        document = json.loads(_storable(json.dumps(document, ensure_ascii=False)))
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, VerdictFileError):
            raise
        raise VerdictFileError(f"{path}: not readable as JSON ({error}); download it from the page again") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT_NAME:
        raise VerdictFileError(f"{path}: not a file of verdicts from the review page; move it out of this folder")
    if document.get("version") != FORMAT:
        raise VerdictFileError(
            f"{path}: version {_quoted(document.get('version'))}, but this program reads version {FORMAT}; load the "
            "file into the present page (Open a file) and download it anew"
        )
    if document.get("sample") != sample:
        raise VerdictFileError(
            f"{path}: made on sample {_quoted(document.get('sample'))}, but the sample now is {sample}; load the file "
            "into the present page (Open a file), which takes over what still stands, and download it anew"
        )
    try:
        return _File.model_validate(document)
    except ValidationError as error:
        raise VerdictFileError("\n".join(f"{path}{line}" for line in _lines(error))) from error


def _wrong(entry: _Entry, row: dict[str, Any] | None) -> str | None:
    if row is None:
        return "not in the sample"
    if entry.verdict not in VERDICTS[entry.kind]:
        return f"verdict {_quoted(entry.verdict)} is none of {', '.join(VERDICTS[entry.kind])}"
    if entry.seen != row["seen"]:
        return "marked on another text than the sample holds"
    return None


def _lines(error: ValidationError) -> Iterator[str]:
    for item in error.errors(include_input=False, include_url=False):
        place = ".".join(_shown(str(part)) for part in item["loc"])
        yield f": {place}: {item['msg']}" if place else f": {item['msg']}"


def _quoted(value: object) -> str:
    """A value from outside, short and on one line."""
    return repr(_shown(value)) if isinstance(value, str) else _shown(repr(value))


def _shown(text: str, most: int = 80) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def _storable(text: str) -> str:
    """The text with a sign in the place of every half of a surrogate pair."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def verdict_files(folder: Path) -> Sequence[str]:
    """Names of the files that `read_verdicts` reads."""
    return sorted(path.name for path in folder.glob(PATTERN)) if folder.is_dir() else ()
