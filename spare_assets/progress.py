"""A steady beat of progress for long work: done, total, rate, tokens per second, time left.

Who shows it (run log, terminal, metadata) is the listener's business.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Beat:
    """The state of a piece of work at one moment. Times in seconds."""

    label: str
    done: int
    total: int | None
    seconds: float
    tokens: int
    failed: int
    finished: bool
    skipped: int = 0
    detail: str = ""

    @property
    def rate(self) -> float:
        """Items worked on per second since the start; what was done before does not count."""
        return (self.done - self.skipped) / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Estimated time to the end, where the total is known and something is done."""
        if self.total is None or not self.rate:
            return None
        return max(self.total - self.done, 0) / self.rate

    @property
    def counts(self) -> str:
        """Done, of the total where it is known."""
        return f"{self.done:,}" + (f"/{self.total:,}" if self.total is not None else "")

    @property
    def pace(self) -> str:
        """Rate, tokens per second, failures, detail and time left, as far as there are any."""
        parts = [f"{self.rate:,.1f}/s"]
        if self.tokens:
            parts.append(f"{self.tokens / max(self.seconds, 1e-9):,.0f} tokens/s")
        if self.failed:
            parts.append(f"{self.failed:,} failed")
        if self.detail:
            parts.append(self.detail)
        if self.finished:
            parts.append(f"done in {self.seconds:,.1f} s")
        elif (left := self.seconds_left) is not None:
            parts.append(f"{int(left // 3600)}:{int(left % 3600 // 60):02d}:{int(left % 60):02d} left")
        return ", ".join(parts)

    def __str__(self) -> str:
        """One line for a log."""
        return f"{self.label}: {self.counts}, {self.pace}"


@dataclass(slots=True)
class Progress:
    """Counts work and tells a listener at most once per `interval` seconds, and once at the end."""

    label: str
    total: int | None
    listener: Callable[[Beat], None]
    interval: float = 10.0
    done: int = 0
    tokens: int = 0
    failed: int = 0
    skipped: int = 0
    _started: float = field(default_factory=time.monotonic)
    _told: float = field(default_factory=time.monotonic)

    def advance(self, items: int = 1, tokens: int = 0, failed: int = 0, skipped: int = 0) -> None:
        """Count finished items; `skipped` of them had been done before."""
        self.done += items
        self.skipped += skipped
        self.tokens += tokens
        self.failed += failed
        if time.monotonic() - self._told >= self.interval:
            self._tell(finished=False)

    def finish(self) -> Beat:
        """Tell the end and return it."""
        return self._tell(finished=True)

    def _tell(self, *, finished: bool) -> Beat:
        self._told = time.monotonic()
        seconds = self._told - self._started
        beat = Beat(self.label, self.done, self.total, seconds, self.tokens, self.failed, finished, self.skipped)
        self.listener(beat)
        return beat
