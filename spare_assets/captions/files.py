"""Caption files as streams of rows: finding them, opening them, and splitting them into numbered rows.

What the fields of a row mean belongs to the readers. A row that can't be taken apart is handed on with the
reason; a file that can't be read at all raises SourceError.
"""

from __future__ import annotations

import csv
import glob
import gzip
import itertools
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from spare_assets.captions.records import RowError, SourceError
from spare_assets.settings import Home, SourceSettings, VqaDataset

MAX_LINE_BYTES = 64_000_000
MAX_DOCUMENT_BYTES = 1_000_000_000
MAX_CSV_FIELD_CHARACTERS = 16_000_000
PARQUET_ROWS = 2048

_BUFFER_BYTES = 1 << 18  # a line of a benchmark's TSV holds a picture
_PARQUET_MAGIC = b"PAR1"
_GZIP_MAGIC = b"\x1f\x8b"


class Row(NamedTuple):
    """One row of a file: its fields, or why it has none; its line from 1; and the row as read."""

    line: int
    fields: dict[str, Any] | None
    reason: str
    raw: bytes | str


class SourceFile(NamedTuple):
    """A caption file: where it lies, its name within the source, and what to say when it can't be read.

    `section` is the part of the settings that declares the source.
    """

    path: Path
    name: str
    source: str
    homepage: str | None
    section: str = "sources"

    def error(self, problem: str, setting: str = "files") -> SourceError:
        """The error that says what is wrong with this file and which setting names it."""
        where = f" The corpus comes from {self.homepage}." if self.homepage else ""
        return SourceError(f"{self.path}: {problem} (setting `{self.section}.{self.source}.{setting}`).{where}")


def source_files(
    key: str, source: SourceSettings | VqaDataset, home: Home, section: str = "sources"
) -> list[SourceFile]:
    """The files a source names, each once, in order of their names; `section` of the settings declares it.

    Raises SourceError where a name or pattern matches no file, names a folder, or a file is empty.
    """
    found: dict[Path, SourceFile] = {}
    where = f" The corpus comes from {source.homepage}." if source.homepage else ""
    setting = f"setting `{section}.{key}.files`"
    for pattern in source.files:
        path = home.resolve(pattern)
        if path.is_dir():
            raise SourceError(
                f"{path}: is a folder ({setting}); name its files, or a pattern such as {pattern.rstrip('/')}/*.jsonl"
            )
        paths = [path] if path.exists() else sorted(map(Path, glob.glob(str(path), recursive=True)))  # noqa: PTH207
        paths = [path for path in paths if path.is_file()]
        if not paths:
            folder = next(parent for parent in path.parents if parent.is_dir())
            raise SourceError(
                f"{path}: no such file ({setting}); the nearest folder that exists is {folder}. "
                f"Put the files there, or correct the setting or the data folder.{where}"
            )
        for path in paths:
            name = path.relative_to(home.data).as_posix() if path.is_relative_to(home.data) else str(path)
            file = SourceFile(path, name, key, source.homepage, section)
            try:
                empty = path.stat().st_size == 0
                with path.open("rb"):
                    pass
            except OSError as error:
                raise file.error(f"can't be opened: {error.strerror}") from error
            if empty:
                raise file.error("is empty (0 bytes); fetch it again")
            found.setdefault(path.resolve(), file)
    return sorted(found.values(), key=lambda file: file.name)


@contextmanager
def opened(file: SourceFile) -> Iterator[BinaryIO]:
    """The bytes of a text file, unpacked where it is gzipped (told by its content, not its name).

    Raises SourceError where it turns out to be Parquet, or its gzip stream is cut or damaged.
    """
    with file.path.open("rb", buffering=_BUFFER_BYTES) as raw:
        magic = raw.read(4)
        raw.seek(0)
        if magic == _PARQUET_MAGIC:
            raise file.error("is a Parquet file where a text file is expected; correct `format` or `files`")
        try:
            if magic.startswith(_GZIP_MAGIC):
                with gzip.open(raw, "rb") as unpacked:
                    yield cast(BinaryIO, unpacked)
            else:
                yield raw
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise file.error(f"is cut or damaged inside its gzip stream ({error}); fetch it again") from error
        except OSError as error:
            raise file.error(f"can't be read to its end: {error.strerror or error}") from error


def decoded(line: bytes) -> str:
    """A line as text, without byte-order mark. Raises RowError naming the first byte that is not UTF-8."""
    try:
        return line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RowError(f"not UTF-8: byte 0x{line[error.start]:02x} at position {error.start + 1}") from None


def json_value(text: str) -> Any:
    """A JSON value; NaN and infinities become null. Raises RowError saying where it stops being JSON."""
    try:
        return json.loads(text, parse_constant=lambda name: None)
    except json.JSONDecodeError as error:
        raise RowError(f"not JSON: {error.msg} at character {error.pos + 1} of {len(text)}") from None
    except (ValueError, RecursionError) as error:
        raise RowError(f"not JSON that can be read: {error}") from None


def json_object(line: bytes) -> dict[str, Any]:
    """The object a line holds. Raises RowError where it holds none."""
    value = json_value(decoded(line))
    if not isinstance(value, dict):
        raise RowError("not a JSON object")
    return value


def _lines(stream: BinaryIO) -> Iterator[tuple[int, bytes, bool]]:
    """Numbered lines that are not blank, and whether each is whole: of an endless one the start is kept."""
    for number in itertools.count(1):
        line = stream.readline(MAX_LINE_BYTES)
        if not line:
            return
        whole = len(line) < MAX_LINE_BYTES or line.endswith(b"\n")
        if not whole:
            while (rest := stream.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                pass
        if not line.isspace():
            yield number, line, whole


def json_lines(file: SourceFile, fields_of: Callable[[bytes], dict[str, Any]] = json_object) -> Iterator[Row]:
    """Rows of a JSON lines file; blank lines are no rows."""
    with opened(file) as stream:
        for number, line, whole in _lines(stream):
            if not whole:
                yield Row(number, None, f"line longer than {MAX_LINE_BYTES:,} bytes", line[:40_000])
                continue
            try:
                yield Row(number, fields_of(line), "", line)
            except RowError as error:
                yield Row(number, None, str(error), line)


def csv_rows(file: SourceFile, delimiter: str) -> Iterator[Row]:
    """Rows of a CSV or TSV file with a header; `line` is the line a row starts on.

    Quoting is strict: a stray or an unclosed quote costs the row it stands in.
    Raises SourceError where the header is no text or names a column twice.
    """
    # The limit belongs to the interpreter, not to a reader; the default of 128 KB would hide what is wrong.
    csv.field_size_limit(MAX_CSV_FIELD_CHARACTERS)
    with opened(file) as stream:
        number, latest = 0, ""

        def texts() -> Iterator[str]:
            nonlocal number, latest
            while line := stream.readline(MAX_LINE_BYTES):
                number += 1
                # Bytes that are not UTF-8 ride along as surrogates, so that they cost their own row only.
                latest = line.decode("utf-8", "surrogateescape")
                yield latest

        lines = texts()
        first = next(lines, "").removeprefix("\ufeff")
        try:
            header = next(csv.reader(itertools.chain([first], lines), delimiter=delimiter, strict=True), [])
        except csv.Error as error:
            raise file.error(f"has no header that can be read: {error}") from None
        if repeated := sorted(name for name, times in Counter(header).items() if times > 1):
            raise file.error(f"names columns twice in its header: {', '.join(map(repr, repeated))}", "columns")
        for line in lines:
            start = number
            try:
                values = _values(line, lines, delimiter)
            except csv.Error as error:
                yield Row(start, None, f"not a row of separated values: {error}", _bytes(latest))
                continue
            if not values:
                continue
            raw = delimiter.join(values)
            if len(values) != len(header):
                reason = f"has {len(values)} fields where the header has {len(header)}"
                yield Row(start, None, reason, _bytes(raw))
                continue
            if not all(map(_is_unicode, values)):
                yield Row(start, None, "not UTF-8", _bytes(raw))
                continue
            yield Row(start, dict(zip(header, (value or None for value in values), strict=True)), "", raw)


def _values(line: str, more: Iterator[str], delimiter: str) -> list[str]:
    """The values of the row that a line begins; `more` are the lines after it. Raises csv.Error.

    `csv` looks at each character. It is given a line as far as there are quotes in it: what follows the last one, such
    as a picture in base64, is split.
    """
    if '"' not in line and (plain := _without_end(line)) is not None:
        return plain.split(delimiter) if plain else []
    rest = ""

    def parts() -> Iterator[str]:
        nonlocal rest
        for whole in itertools.chain([line], more):
            end = whole.rfind('"') + 1
            rest = whole[end:] if whole.startswith(delimiter, end) and _without_end(whole[end:]) is not None else ""
            yield whole[: len(whole) - len(rest)]
            # Asked for more, though the row could have ended here: the quote stands in a value, and so does the rest.
            inside, rest = rest, ""
            if inside:
                yield inside

    values = next(csv.reader(parts(), delimiter=delimiter, strict=True), [])
    return values + (_without_end(rest) or "").split(delimiter)[1:]


def _without_end(text: str) -> str | None:
    """A text without its end of line; None where `csv` might refuse it."""
    plain = text.removesuffix("\n").removesuffix("\r")
    return None if "\r" in plain or len(plain) > MAX_CSV_FIELD_CHARACTERS else plain


def _is_unicode(text: str) -> bool:
    """Whether no byte of it rides along as a surrogate."""
    if text.isascii():  # known without a look at it
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def csv_header(file: SourceFile, delimiter: str) -> list[str]:
    """Column names of a CSV or TSV file. Raises SourceError where its first line is no header."""
    with opened(file) as stream:
        line = stream.readline(MAX_LINE_BYTES).decode("utf-8-sig", "replace")
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error as error:
        raise file.error(f"has no header that can be read: {error}") from None


def parquet_columns(file: SourceFile) -> dict[str, str]:
    """Names and types of a Parquet file's columns. Raises SourceError for another file, or one without rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file.path) as parquet:
            if parquet.metadata.num_rows == 0:
                raise file.error("is a Parquet file without rows; fetch it again")
            return {field.name: str(field.type) for field in parquet.schema_arrow}
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise file.error(f"is not a Parquet file, or a damaged one ({_first_line(error)}); fetch it again") from error


def parquet_rows(file: SourceFile, columns: Sequence[str]) -> Iterator[Row]:
    """Rows of a Parquet file with the named columns; `line` is the row number. Raises SourceError where it
    breaks off."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    line = 0
    try:
        with pq.ParquetFile(file.path) as parquet:
            for batch in parquet.iter_batches(batch_size=PARQUET_ROWS, columns=list(columns)):
                for fields in _batch_rows(batch):
                    line += 1
                    if fields is None:
                        yield Row(line, None, "not UTF-8", "")
                    else:
                        yield Row(line, fields, "", "")
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise file.error(f"breaks off after row {line:,} ({_first_line(error)}); fetch it again") from error


def _batch_rows(batch: Any) -> Iterator[dict[str, Any] | None]:
    try:
        yield from batch.to_pylist()
        return
    except UnicodeDecodeError:
        pass
    # Arrow decodes a column at once: take the batch row by row to lose only those that are not UTF-8.
    for position in range(batch.num_rows):
        try:
            yield from batch.slice(position, 1).to_pylist()
        except UnicodeDecodeError:
            yield None


class _RepeatedNames(dict[str, Any]):
    """A JSON object that named something twice; `pairs` keeps all it said."""

    pairs: list[tuple[str, Any]]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    plain = dict(pairs)
    if len(plain) == len(pairs):
        return plain
    repeated = _RepeatedNames(plain)
    repeated.pairs = pairs
    return repeated


def is_json_lines(file: SourceFile) -> bool:
    """Whether a .json file holds an object a line, not one document: two lines each open an object."""
    with opened(file) as stream:
        starts = [line.lstrip(b"\xef\xbb\xbf \t")[:1] for _, line, _ in itertools.islice(_lines(stream), 2)]
    return starts == [b"{", b"{"]


def json_document(file: SourceFile, caption_column: str) -> Iterator[Row]:
    """Rows of a .json file that is one document: a list of objects, or one object.

    An object maps names to texts and gives rows of `key` and `value`, unless it holds the caption column
    itself, as a file of one row does. The document is read as a whole. Raises SourceError above 1 GB, or
    where it is no such document.
    """
    with opened(file) as stream:
        content = stream.read(MAX_DOCUMENT_BYTES + 1)
    if len(content) > MAX_DOCUMENT_BYTES:
        raise file.error("is one JSON document above 1 GB; turn it into JSON lines")
    if not content.strip():
        raise file.error("holds nothing but blanks; fetch it again")
    try:
        document = json.loads(content.decode("utf-8-sig"), object_pairs_hook=_object, parse_constant=lambda name: None)
    except (ValueError, RecursionError) as error:
        raise file.error(f"is cut or not JSON: {error}") from error
    if isinstance(document, list):
        items = document
    elif isinstance(document, dict) and caption_column in document:
        items = [document]
    elif isinstance(document, dict):
        items = [{"key": key, "value": value} for key, value in getattr(document, "pairs", document.items())]
    else:
        raise file.error("is JSON, but neither a list of objects nor an object of names and texts")
    for number, item in enumerate(items, start=1):
        if isinstance(item, dict):
            yield Row(number, item, "", "")
        else:
            yield Row(number, None, "not a JSON object", json.dumps(item))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
