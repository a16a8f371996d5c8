"""Sorted tables, streamed side by side in chunks that never split a sample (the pairs of one caption).

How rows travel to a check, and the form of its verdicts, belong here. What a check decides does not.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

CHUNK_ROWS = 16_384


class MisalignedTablesError(ValueError):
    """Two tables that belong together do not fit; the message names a row and what to materialize."""


def sample_chunks(
    pairs: pl.LazyFrame, *beside: pl.LazyFrame, rows: int = CHUNK_ROWS
) -> Iterator[tuple[pl.DataFrame, ...]]:
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


def _batches(table: pl.LazyFrame, rows: int) -> Iterator[pl.DataFrame]:
    """Batches of a table, in order, found to be sorted by caption_id."""
    previous = ""
    for batch in table.collect_batches(chunk_size=rows, maintain_order=True):
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
    for batch in _batches(pairs, rows):
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

    def __init__(self, table: pl.LazyFrame, rows: int) -> None:
        self._batches = _batches(table, rows)
        self._held: list[pl.DataFrame] = [table.collect_schema().to_frame()]

    def between(self, first: str, last: str) -> pl.DataFrame:
        """Rows of the captions from first to last; earlier rows are let go."""
        while not self._held[-1].height or self._held[-1].item(-1, "caption_id") <= last:
            if (batch := next(self._batches, None)) is None:
                break
            self._held.append(batch)
        held = pl.concat(self._held)
        captions = held["caption_id"]
        before, until = int((captions < first).sum()), int((captions <= last).sum())
        self._held = [held.slice(until)]
        return held.slice(before, until - before)
