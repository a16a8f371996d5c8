"""How large a source is, told in seconds and before it is read: its rows, captions and words.

Counting what is cheap to count, and reading the beginning of the rest, belong here; what follows from it does not.
"""

from __future__ import annotations

import gzip
import itertools
from dataclasses import dataclass

from spare_assets.captions.files import SourceFile, is_json_lines, opened, source_files
from spare_assets.captions.readers import read_captions
from spare_assets.settings import Home, LimitSettings, SourceSettings

READ_BATCHES = 2
"""Batches of captions read, of at most 10,000 rows each; a source that ends within them is counted exactly."""
COUNTED_BYTES = 1_000_000_000
"""Up to this size all lines of plain text files are counted; of larger ones the beginning."""
_BEGINNING_BYTES = 16_000_000
_CHUNK_BYTES = 1 << 20
_LINES = (".jsonl", ".jsonlines", ".ndjson")


@dataclass(frozen=True, slots=True)
class SourceSize:
    """Rows of a source's files, the captions they become, and the mean words of a caption.

    `exact` where all rows were read; else rows are counted or estimated from the beginning of each file, and captions
    and words follow from the rows read.
    """

    rows: int
    captions: int
    mean_words: float
    bytes: int
    exact: bool


def source_size(key: str, source: SourceSettings, home: Home, limits: LimitSettings) -> SourceSize:
    """The size of a source. Raises SourceError where its files are absent or can't be read."""
    files = source_files(key, source, home)
    size = sum(file.path.stat().st_size for file in files)
    batches = read_captions(key, source, home, limits=limits)
    read = captions = words = passed_over = 0
    for batch in itertools.islice(batches, READ_BATCHES):
        read += batch.read
        passed_over += batch.passed_over
        captions += batch.captions.height
        words += int(batch.captions["words"].sum())
    mean_words = words / captions if captions else 0.0
    if next(batches, None) is None:
        return SourceSize(read, captions, mean_words, size, exact=True)
    rows = sum(_rows(file, source, size) for file in files)
    met = read + passed_over
    return SourceSize(round(rows * read / met), round(rows * captions / met), mean_words, size, exact=False)


def _rows(file: SourceFile, source: SourceSettings, size: int) -> int:
    """Rows of a file: from a Parquet file's footer, else its lines."""
    name = file.path.name.lower()
    if source.format == "pixmo_cap" or (source.format == "table" and name.endswith(".parquet")):
        import pyarrow.parquet as pq

        return int(pq.read_metadata(file.path).num_rows)
    if source.format == "table" and name.endswith(".json") and not is_json_lines(file):
        from spare_assets.captions.generic_table import table_rows

        return sum(1 for _ in table_rows(file, source))
    header = 1 if source.format == "table" and not name.removesuffix(".gz").endswith((*_LINES, ".json")) else 0
    return max(_line_count(file, whole=size <= COUNTED_BYTES) - header, 0)


def _line_count(file: SourceFile, *, whole: bool) -> int:
    """Lines of a text file. Where it is not read to its end, the share of its bytes read stands for the share of lines.

    Of a gzipped file the packed bytes count, as far as the reader took them.
    """
    size, lines, taken = file.path.stat().st_size, 0, 0
    with opened(file) as stream:
        packed = isinstance(stream, gzip.GzipFile)
        ends_in_line = True
        while chunk := stream.read(_CHUNK_BYTES):
            lines += chunk.count(b"\n")
            ends_in_line = chunk.endswith(b"\n")
            taken += len(chunk)
            if taken >= _BEGINNING_BYTES and (packed or not whole):
                consumed = stream.fileobj.tell() if isinstance(stream, gzip.GzipFile) and stream.fileobj else taken
                return round(lines * size / consumed)
    return lines + (not ends_in_line)
