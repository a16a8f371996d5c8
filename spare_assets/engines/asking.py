"""Asking a model about every row of a table, through the ledger: nothing is asked twice, nothing paid for is lost.

Which question a row becomes, and what its reply means, is given by the caller.
"""

from __future__ import annotations

import gc
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from spare_assets.engines.chat import ChatEngine, ChatReply, ChatRequest, EngineError, RequestKeys, completed
from spare_assets.progress import Progress
from spare_assets.storage.ledger import Completion, CompletionLedger, now
from spare_assets.storage.queries import database, quoted
from spare_assets.storage.tables import read_batches

_USAGE = ("prompt_tokens", "completion_tokens", "seconds")
_OBJECTS_BETWEEN_COLLECTIONS = 50_000
_NEVER_ANSWERED = "the run ended before an answer came"


@dataclass(slots=True)
class Tally:
    """What asking cost. Tokens are of this run alone."""

    rows: int = 0
    answered_before: int = 0
    asked: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    warnings: list[str] = field(default_factory=list)


class Inquiry:
    """One pass of questions over a table. A context manager that owns a scratch folder.

    `ask` puts every question that has no answer yet; `answers` then yields the rows again with their replies.
    """

    def __init__(
        self,
        engine: ChatEngine,
        ledger: CompletionLedger,
        run: str,
        scratch: Path,
        progress: Progress,
    ) -> None:
        self.engine, self.ledger, self.run, self.progress = engine, ledger, run, progress
        self.tally = Tally()
        self._scratch = scratch / f"inquiry-{uuid.uuid4().hex}"
        self._failures: list[Path] = []
        self._last_error = ""

    def __enter__(self) -> Inquiry:
        self._scratch.mkdir(parents=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for path in self._scratch.iterdir():
            path.unlink(missing_ok=True)
        self._scratch.rmdir()

    def ask(self, rows: Iterable[pl.DataFrame], request: Callable[[Mapping[str, Any]], ChatRequest]) -> Tally:
        """Ask one question per row.

        Raises EngineError when the engine cannot work at all; a single failed request is counted instead.
        """
        self.tally.warnings.extend(self.ledger.recover())
        requests, model = self._unanswered(rows, request), self.engine.fingerprint
        with (
            _collected_seldom(),
            self.ledger.writer(self.run) as writer,
            closing(completed(self.engine, requests)) as batches,
        ):
            for replies in batches:
                writer.append(*(_completion(reply, model) for reply in replies))
                for reply in replies:
                    self._count(reply)
        self.progress.finish()
        if self.tally.failed:
            self._failures.append(writer.finished)
        if self.tally.asked and self.tally.failed == self.tally.asked >= 100:
            raise EngineError(
                f"all {self.tally.asked:,} requests failed; the last error: {self._last_error}. "
                "Mend the engine's settings and materialize again"
            )
        return self.tally

    def answers(self, *, usage: bool = False) -> Iterator[pl.DataFrame]:
        """The rows in their order, each with `text`, `finish_reason`, `probability` and `error`.

        With `usage` also `prompt_tokens`, `completion_tokens` and `seconds` of the reply, whichever run it came from.
        """
        if not self.tally.rows:
            return
        joined = self._scratch / "answers.parquet"
        finished = [str(path) for path in self.ledger.files()]
        used = "".join(f", coalesce({name}, 0) AS {name}" for name in _USAGE) if usage else ""
        if not finished:
            raise EngineError(f"no reply was stored in {self.ledger.folder}: {_NEVER_ANSWERED}")
        with database(self._scratch) as joining:
            joining.execute(
                f"""
                COPY (
                    WITH replies AS (
                        SELECT *, filename IN (SELECT unnest($failures::VARCHAR[])) AS of_this_run
                        FROM read_parquet($finished::VARCHAR[], filename = true)
                    ), chosen AS (
                        SELECT DISTINCT ON (key) key, text, finish_reason, probability, error, {", ".join(_USAGE)}
                        FROM replies WHERE error IS NULL OR of_this_run
                        ORDER BY key, error IS NOT NULL, answered_at, filename
                    )
                    SELECT asked.* EXCLUDE (key), coalesce(text, '') AS text,
                        coalesce(finish_reason, 'error') AS finish_reason, probability,
                        CASE WHEN chosen.key IS NULL THEN $never ELSE error END AS error{used}
                    FROM read_parquet($asked) AS asked LEFT JOIN chosen USING (key)
                    ORDER BY row
                ) TO '{quoted(joined)}' (FORMAT parquet)
                """,
                {
                    "finished": finished,
                    "failures": [str(path) for path in self._failures],
                    "asked": str(self._asked),
                    "never": _NEVER_ANSWERED,
                },
            )
        for batch in read_batches(joined):
            yield batch.drop("row")

    @property
    def _asked(self) -> Path:
        return self._scratch / "asked.parquet"

    def _unanswered(
        self, rows: Iterable[pl.DataFrame], request: Callable[[Mapping[str, Any]], ChatRequest]
    ) -> Iterator[tuple[str, ChatRequest]]:
        """Requests without an answer, each once; every row and its key is noted on the way."""
        key_of = RequestKeys(self.engine.fingerprint)
        answered = self.ledger.answered()
        put: set[bytes] = set()
        writer: pq.ParquetWriter | None = None
        try:
            for batch in rows:
                if not batch.height:
                    continue
                requests = [request(row) for row in batch.rows(named=True)]
                keys = [key_of(asked) for asked in requests]
                noted = batch.with_columns(
                    key=pl.Series(keys, dtype=pl.String),
                    row=pl.int_range(self.tally.rows, self.tally.rows + batch.height, dtype=pl.UInt64),
                ).to_arrow(compat_level=pl.CompatLevel.oldest())
                writer = writer or pq.ParquetWriter(self._asked, noted.schema)
                writer.write_table(noted)
                self.tally.rows += batch.height
                for key, asked, held in zip(keys, requests, answered.hold(keys), strict=True):
                    short = bytes.fromhex(key[:32])
                    if held:
                        self.tally.answered_before += 1
                        self.progress.advance(skipped=1)
                    elif short in put:
                        self.progress.advance(skipped=1)
                    else:
                        put.add(short)
                        yield key, asked
        finally:
            if writer is not None:
                writer.close()

    def _count(self, reply: ChatReply) -> None:
        self.tally.asked += 1
        self.tally.prompt_tokens += reply.prompt_tokens
        self.tally.completion_tokens += reply.completion_tokens
        if reply.error is not None:
            self.tally.failed += 1
            self._last_error = reply.error
        self.progress.advance(tokens=reply.prompt_tokens + reply.completion_tokens, failed=int(reply.error is not None))


@contextmanager
def _collected_seldom() -> Iterator[None]:
    """Garbage in cycles is looked for once in many objects.

    Every request is a few dozen that all live until its reply has come: looking through them every 700, as Python does
    by itself, takes a fifth of the time of asking.
    """
    first, *later = gc.get_threshold()
    if first:
        gc.set_threshold(max(first, _OBJECTS_BETWEEN_COLLECTIONS), *later)
    try:
        yield
    finally:
        gc.set_threshold(first, *later)


def _completion(reply: ChatReply, model: str) -> Completion:
    return Completion(
        key=reply.key,
        text=reply.text,
        finish_reason=reply.finish_reason,
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=reply.completion_tokens,
        seconds=reply.seconds,
        probability=reply.probability,
        error=reply.error,
        model=model,
        answered_at=now(),
    )
