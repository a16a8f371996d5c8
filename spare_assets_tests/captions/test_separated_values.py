"""Rows of separated values: taken apart without `csv` where it would say the same, and nowhere else."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spare_assets.captions.files import SourceFile, csv_rows

HEADER = "a\tb\n"


def said_by_csv(content: bytes) -> list[tuple[int, list[str] | None]]:
    """Each row's first line and its values, or None where it is none, as one reader over the whole file has them."""
    lines = io.StringIO(HEADER + content.decode("utf-8", "surrogateescape"), newline="\n")
    reader = csv.reader(lines, delimiter="\t", strict=True)
    next(reader)
    rows: list[tuple[int, list[str] | None]] = []
    while True:
        start = reader.line_num + 1
        try:
            values = next(reader)
        except StopIteration:
            return rows
        except csv.Error:
            rows.append((start, None))
            continue
        if values:
            surrogates = any("\ud800" <= character <= "\udfff" for value in values for character in value)
            rows.append((start, None if len(values) != 2 or surrogates else values))


parts = st.sampled_from([b"x", b"caf\xc3\xa9", b'"', b"\t", b"\t", b"\r", b"\n", b"\r\n", b" ", b"\xff", b"\x00"])


@given(content=st.lists(parts, max_size=24).map(b"".join))
@example(content=b'1\t"two\nlines"\n3\t4\n')
@example(content=b'1\t"never closed\n3\t4\n')
@example(content=b'"a"\t"\tx\ny"\n3\t4\n')
@example(content=b'"a""\tx\n"\ty\r\n3\t4\n')
@example(content=b'a"\tx\n"a"\tx\ry\n')
@settings(max_examples=400, deadline=None)
def test_rows_are_those_of_one_csv_reader(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "rows.tsv"
    path.write_bytes(HEADER.encode() + content)
    rows = csv_rows(SourceFile(Path(path), path.name, "mine", None), "\t")
    found = [(row.line, None if row.fields is None else [value or "" for value in row.fields.values()]) for row in rows]
    assert found == said_by_csv(content)
