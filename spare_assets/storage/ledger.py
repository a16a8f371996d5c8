"""The completion ledger: every model reply, kept the moment it arrives, found again by its request's key.

`completions/<task>/<owner>/<run>.jsonl` while a run writes, `<run>.parquet` afterwards. One writer per file. What a
request or a reply means is not known here.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from spare_assets.storage.temporaries import sweep_temporaries, temporary_beside

_SYNC_SECONDS = 1.0
_ROWS_PER_GROUP = 20_000
_DAMAGED_SUFFIX = ".damaged"
_ENGINE_NAMES = "engines.jsonl"

RECORD = pl.Schema(
    {
        "key": pl.String,
        "text": pl.String,
        "finish_reason": pl.String,
        "prompt_tokens": pl.Int64,
        "completion_tokens": pl.Int64,
        "seconds": pl.Float64,
        "probability": pl.Float64,
        "error": pl.String,
        "model": pl.String,
        "answered_at": pl.Float64,
    }
)
_ARROW_RECORD = RECORD.to_frame().to_arrow(compat_level=pl.CompatLevel.oldest()).schema


@dataclass(frozen=True, slots=True)
class Completion:
    """One stored reply. `answered_at` is seconds since 1970; `error` marks a failed request."""

    key: str
    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    probability: float | None
    error: str | None
    model: str
    answered_at: float


_NAMES = tuple(field.name for field in fields(Completion))
_FIELDS = set(_NAMES)
# `dataclasses.asdict` copies deeply, which takes several times what writing a line does.
_values = attrgetter(*_NAMES)
_TEXTS = tuple(name for name, kind in RECORD.items() if kind == pl.String)
_NUMBERS = tuple(
    (name, (int, float) if kind == pl.Float64 else (int,)) for name, kind in RECORD.items() if name not in _TEXTS
)
_MAY_BE_ABSENT = {"probability", "error"}
_KEY = re.compile(r"[0-9a-f]{64}")
_HALF_PAIRS = re.compile(r"[\ud800-\udfff]")


class AnsweredKeys:
    """Keys that have an answer, as sorted 64-bit prefixes: eight bytes a key.

    Two keys of five million share a prefix with a chance of one in a million; the second would then show as failed.
    """

    def __init__(self, keys: Iterable[pl.Series]) -> None:
        self._sorted = np.unique(np.concatenate([np.empty(0, np.uint64), *(_prefixes(part) for part in keys)]))

    def __len__(self) -> int:
        return len(self._sorted)

    def hold(self, keys: list[str]) -> list[bool]:
        """For each key, whether it is answered."""
        if not len(self._sorted) or not keys:
            return [False] * len(keys)
        wanted = _prefixes(pl.Series(keys, dtype=pl.String))
        places = np.minimum(np.searchsorted(self._sorted, wanted), len(self._sorted) - 1)
        return [bool(held) for held in self._sorted[places] == wanted]


def _prefixes(keys: pl.Series) -> NDArray[np.uint64]:
    return keys.str.head(16).str.to_integer(base=16, dtype=pl.UInt64).to_numpy()


class CompletionLedger:
    """The replies of one task for one source or model."""

    def __init__(self, root: Path, task: str, owner: str) -> None:
        self.folder = root / task / owner

    def files(self) -> list[Path]:
        """Finished files, oldest name first."""
        return sorted(self.folder.glob("*.parquet"))

    def recover(self) -> list[str]:
        """Turn files of runs that died into finished ones; one message for every file with damaged lines."""
        messages = []
        sweep_temporaries(self.folder.glob(".*.tmp"))
        for path in sorted(self.folder.glob("*.jsonl")):
            with suppress(FileNotFoundError), path.open("rb") as file:
                if _lock(file.fileno()) and (damaged := _finish(path)):
                    messages.append(
                        f"{path}: {damaged} damaged lines set aside in {path.with_suffix(_DAMAGED_SUFFIX).name}; "
                        "their requests are asked again"
                    )
        for path in self.files():
            try:
                pq.read_metadata(path)
            except (pa.ArrowInvalid, OSError) as error:
                path.rename(path.with_suffix(_DAMAGED_SUFFIX))
                messages.append(f"{path}: damaged ({error}), set aside; its requests are asked again")
        return messages

    def answered(self) -> AnsweredKeys:
        """Keys of all successful replies in finished files."""
        return AnsweredKeys(
            pl.scan_parquet(path, glob=False).filter(pl.col("error").is_null()).select("key").collect()["key"]
            for path in self.files()
        )

    def writer(self, run: str) -> LedgerWriter:
        """A writer of a file of its own, to be used as a context manager."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return LedgerWriter(self.folder / f"{run}-{uuid.uuid4().hex[:8]}.jsonl")


class LedgerWriter:
    """Appends replies to one file. A written reply survives the death of the process, and after at most two seconds
    the death of the machine."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._dirty = False
        self._stop = threading.Event()
        self._descriptor = -1

    def __enter__(self) -> LedgerWriter:
        self._descriptor = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o644)
        if not _lock(self._descriptor):
            raise RuntimeError(f"{self.path}: another process writes this ledger file")
        self._syncer = threading.Thread(target=self._sync_steadily, daemon=True)
        self._syncer.start()
        return self

    def append(self, *completions: Completion) -> None:
        """Store one reply at once, or several that came together."""
        lines = [json.dumps(dict(zip(_NAMES, _values(completion), strict=True))) + "\n" for completion in completions]
        view = memoryview("".join(lines).encode())
        while view:
            view = view[os.write(self._descriptor, view) :]
        self._dirty = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._syncer.join()
        os.fsync(self._descriptor)
        try:
            _finish(self.path)
        finally:
            os.close(self._descriptor)

    @property
    def finished(self) -> Path:
        """Where the replies lie after the writer is closed; absent when there were none."""
        return self.path.with_suffix(".parquet")

    def _sync_steadily(self) -> None:
        while not self._stop.wait(_SYNC_SECONDS):
            if self._dirty:
                self._dirty = False
                os.fsync(self._descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _finish(path: Path) -> int:
    """Rewrite a run's JSON lines as Parquet; the number of damaged lines, a torn last one too, set aside."""
    temporary, finished = temporary_beside(path), path.with_suffix(".parquet")
    damaged = 0
    writer: pq.ParquetWriter | None = None
    try:
        for records, bad_lines in _records(path):
            if bad_lines:
                damaged += len(bad_lines)
                with path.with_suffix(_DAMAGED_SUFFIX).open("ab") as aside:
                    aside.writelines(bad_lines)
            if records:
                writer = writer or pq.ParquetWriter(temporary, _ARROW_RECORD, compression="zstd")
                frame = pl.DataFrame(records, schema=RECORD)
                writer.write_table(frame.to_arrow(compat_level=pl.CompatLevel.oldest()))
        if writer is not None:
            writer.close()
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(finished)
        path.unlink()
    finally:
        temporary.unlink(missing_ok=True)
    return damaged


def _records(path: Path) -> Iterator[tuple[list[dict[str, Any]], list[bytes]]]:
    records: list[dict[str, Any]] = []
    bad_lines: list[bytes] = []
    with path.open("rb") as file:
        for line in file:
            try:
                records.append(_record(json.loads(line)))
            except (ValueError, RecursionError):
                bad_lines.append(line)
            if len(records) >= _ROWS_PER_GROUP:
                yield records, bad_lines
                records, bad_lines = [], []
    yield records, bad_lines


def _record(line: Any) -> dict[str, Any]:
    """The record a line holds, fit for the table. Raises ValueError where no writer wrote it so.

    JSON can say half of a surrogate pair, and a model's reply may hold one; Parquet can't: U+FFFD stands for it.
    """
    if not isinstance(line, dict) or line.keys() != _FIELDS:
        raise ValueError
    for name in _TEXTS:
        if isinstance(value := line[name], str):
            if not value.isascii():
                line[name] = _HALF_PAIRS.sub("\ufffd", value)
        elif value is not None or name not in _MAY_BE_ABSENT:
            raise ValueError
    for name, kinds in _NUMBERS:
        value = line[name]
        if value is None and name in _MAY_BE_ABSENT:
            continue
        if type(value) not in kinds or not abs(value) < 2**53:
            raise ValueError
    if not _KEY.fullmatch(line["key"]):
        raise ValueError
    return line


def remember_engine(root: Path, fingerprint: str, name: str) -> None:
    """Note under which name of the profile a model was asked, so that reports need not look for its weights."""
    if engine_names(root).get(fingerprint) == name:
        return
    root.mkdir(parents=True, exist_ok=True)
    line = json.dumps({"model": fingerprint, "engine": name}).encode() + b"\n"
    descriptor = os.open(root / _ENGINE_NAMES, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


def engine_names(root: Path) -> dict[str, str]:
    """The names that models were last asked under, by fingerprint; lines that cannot be read count for nothing."""
    names: dict[str, str] = {}
    with suppress(FileNotFoundError), (root / _ENGINE_NAMES).open("rb") as file:
        for line in file:
            with suppress(ValueError, KeyError, TypeError):
                record = json.loads(line)
                names[str(record["model"])] = str(record["engine"])
    return names


def now() -> float:
    """The time a reply is stamped with: seconds since 1970."""
    return time.time()
