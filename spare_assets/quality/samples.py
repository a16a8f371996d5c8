"""Sorted tables, streamed side by side in chunks that never split a sample (the pairs of one caption).

How rows travel to a check, and the form of its verdicts, belong here. What a check decides does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TypeAlias

import polars as pl

CHUNK_ROWS = 16_384


class MisalignedTablesError(ValueError):
    """Two tables that belong together do not fit; the message names a row and what to materialize."""


Rows: TypeAlias = pl.LazyFrame | Iterable[pl.DataFrame]
"""A table, or its batches as somebody reads them: one at least, perhaps without rows."""


def sample_chunks(pairs: pl.LazyFrame, *beside: Rows, rows: int = CHUNK_ROWS) -> Iterator[tuple[pl.DataFrame, ...]]:
    """Chunks of about `rows` pairs, each followed by the rows of the other tables that have the same captions.

    All tables are sorted by caption_id. A sample is never split, so a chunk is longer than `rows` where a sample is.
    Besides the chunk, at most one batch of each table is held.

    Raises MisalignedTablesError when a table turns out not to be sorted.
    """
    streams = [_Stream(table, rows) for table in beside]
    for chunk in _whole_samples(pairs, rows):
        first, last = chunk.item(0, "caption_id"), chunk.item(-1, "caption_id")
        yield (chunk, *(stream.between(first, last) for stream in streams))


def verdict_columns(*, kept: pl.Expr, score: pl.Expr, threshold: float | None, reason: pl.Expr) -> list[str | pl.Expr]:
    """The columns of a verdict table, to select from pairs: who is judged, and how."""
    return [
        "pair_id",
        "caption_id",
        "source",
        "position",
        kept.alias("kept"),
        score.cast(pl.Float32).alias("score"),
        pl.lit(threshold, dtype=pl.Float32).alias("threshold"),
        reason.alias("reason"),
    ]


def _batches(table: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Batches of a table, in order, found to be sorted by caption_id."""
    previous = ""
    for batch in table:
        if batch.height:
            captions = batch["caption_id"]
            if captions[0] < previous or not captions.is_sorted():
                raise MisalignedTablesError(
                    f"a table of columns {batch.columns} is not sorted by caption_id around {captions[0]!r}: "
                    "materialize its asset again"
                )
            previous = captions[-1]
            yield batch


def _whole_samples(pairs: pl.LazyFrame, rows: int) -> Iterator[pl.DataFrame]:
    """Batches moved on to the next change of caption."""
    pending: list[pl.DataFrame] = []
    for batch in _batches(pairs.collect_batches(chunk_size=rows, maintain_order=True)):
        captions = batch["caption_id"]
        complete = int((captions != captions[-1]).sum())
        if complete or (pending and pending[-1].item(-1, "caption_id") != captions[-1]):
            yield pl.concat([*pending, batch.head(complete)])
            pending = []
        pending.append(batch.slice(complete))
    if pending:
        yield pl.concat(pending)


class _Stream:
    """A table read forward, once, by ascending ranges of captions."""

    def __init__(self, table: Rows, rows: int) -> None:
        batches: Iterator[pl.DataFrame]
        if isinstance(table, pl.LazyFrame):
            nothing = table.collect_schema().to_frame()
            batches = table.collect_batches(chunk_size=rows, maintain_order=True)
        else:
            given = iter(table)
            first = next(given)
            nothing, batches = first.clear(), chain([first], given)
        self._batches = _batches(batches)
        self._held: list[pl.DataFrame] = [nothing]

    def between(self, first: str, last: str) -> pl.DataFrame:
        """Rows of the captions from first to last; earlier rows are let go."""
        while not self._held[-1].height or self._held[-1].item(-1, "caption_id") <= last:
            if (batch := next(self._batches, None)) is None:
                break
            self._held.append(batch)
        held = pl.concat(self._held)
        captions = held["caption_id"]
        before, until = captions.search_sorted(first, "left"), captions.search_sorted(last, "right")
        self._held = [held.slice(until)]
        return held.slice(before, until - before)
