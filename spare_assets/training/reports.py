"""What a training program tells while it goes: beats to the process that started it, and a log of every step.

Belongs here: the shape of both, and where they go. A message is a plain dict with one key: `beat` (the fields of
TrainingBeat), `notice` (a line worth reading) or `error` (why training ended, for a person). It goes through Dagster
Pipes where the process was started so, and as a line to stderr. Nothing here imports a model library.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

LOG_FILE = "training_log.jsonl"
_PIPES_VARIABLES = ("DAGSTER_PIPES_CONTEXT", "DAGSTER_PIPES_MESSAGES")


@dataclass(frozen=True, slots=True)
class TrainingBeat:
    """How training stands. Losses are per answer token, times in seconds, tokens of all processes.

    While training, `step` counts optimizer steps and `loss` is that of the steps since the last beat. In the phase
    `held out`, `step` counts batches and the loss is of those rows so far; rate and gradient are then absent.
    """

    phase: Literal["training", "held out"]
    step: int
    total: int
    loss: float
    learning_rate: float | None
    gradient_norm: float | None
    tokens_per_second: float
    memory_bytes: int
    seconds: float
    seconds_left: float

    def __str__(self) -> str:
        """One line for a log."""
        left = int(self.seconds_left)
        parts = [f"{self.phase}: {self.step:,}/{self.total:,}", f"loss {self.loss:.4f}"]
        if self.learning_rate is not None:
            parts.append(f"learning rate {self.learning_rate:.3g}")
        if self.gradient_norm is not None:
            parts.append(f"gradient norm {self.gradient_norm:.3g}")
        parts += [f"{self.tokens_per_second:,.0f} tokens/s", f"{self.memory_bytes / 1e9:.2f} GB"]
        parts.append(f"{left // 3600}:{left % 3600 // 60:02d}:{left % 60:02d} left")
        return ", ".join(parts)


class Reports:
    """Where beats, notices and errors go: Dagster Pipes from the first process, stderr from each for its own.

    Only the process of rank 0 tells beats and notices; errors are told by whoever has them.
    """

    def __init__(self, rank: int) -> None:
        self._rank = rank
        self._pipes: Any = None
        if rank == 0 and all(name in os.environ for name in _PIPES_VARIABLES):
            import dagster_pipes

            self._pipes = dagster_pipes.open_dagster_pipes()

    def beat(self, beat: TrainingBeat) -> None:
        """Tell how training stands."""
        self._tell({"beat": asdict(beat)}, str(beat))

    def notice(self, line: str) -> None:
        """Tell something worth reading in the run log."""
        self._tell({"notice": line}, line)

    def error(self, line: str) -> None:
        """Tell why training ends, to a person."""
        print(line, file=sys.stderr, flush=True)
        if self._pipes is not None:
            self._pipes.report_custom_message({"error": line})

    def close(self) -> None:
        """Tell that no more comes."""
        if self._pipes is not None:
            self._pipes.close()

    def _tell(self, message: dict[str, Any], line: str) -> None:
        if self._rank:
            return
        print(line, file=sys.stderr, flush=True)
        if self._pipes is not None:
            self._pipes.report_custom_message(message)


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One line of the training log: one optimizer step.

    `rows_hash` tells which rows the step saw over all processes, in any order. Tokens are this step's, answer tokens
    those with loss; memory is the most that any process held; seconds are since the start, earlier runs included.
    `unreadable` names rows that could not be used and were replaced, with the reason.
    """

    step: int
    loss: float
    learning_rate: float
    gradient_norm: float
    rows_hash: str
    tokens: int
    answer_tokens: int
    memory_bytes: int
    seconds: float
    unreadable: dict[str, str] = field(default_factory=dict)


class TrainingLog:
    """The log of every step, one JSON line each. Steps done again after a resume do not stand twice."""

    def __init__(self, path: Path, resumed_at: int) -> None:
        kept = [record for record in read_log(path) if record.step <= resumed_at] if path.exists() else []
        unfinished = path.with_name(f"{path.name}.tmp")
        unfinished.write_text("".join(map(_line, kept)), encoding="utf-8")
        unfinished.replace(path)
        self.records = kept
        self._file: IO[str] = path.open("a", encoding="utf-8")

    def append(self, record: StepRecord) -> None:
        """Write a step."""
        self.records.append(record)
        self._file.write(_line(record))
        self._file.flush()

    def sync(self) -> None:
        """Return when all steps are on disk."""
        os.fsync(self._file.fileno())


def read_log(path: Path) -> Iterator[StepRecord]:
    """The steps of a training log, up to a line that a killed run left torn."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                yield StepRecord(**json.loads(line))
            except (ValueError, TypeError):
                return


def _line(record: StepRecord) -> str:
    return json.dumps(asdict(record)) + "\n"
