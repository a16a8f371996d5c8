"""What ours and its rivals say of a run of the checks: seconds of the work alone, after all imports.

Standard library only: rivals' environments hold nothing of the project's.
"""

from __future__ import annotations

import resource
import time
from typing import Any


class Stopwatch:
    """Seconds of the wall clock and of the CPU since it was made, this process and the children it waited for."""

    def __init__(self) -> None:
        self._begun = self._last = self._now()
        self.laps: dict[str, tuple[float, float]] = {}

    @staticmethod
    def _now() -> tuple[float, float]:
        own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return time.perf_counter(), own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime

    def lap(self, name: str) -> None:
        """Seconds since the last lap."""
        now = self._now()
        self.laps[name] = (now[0] - self._last[0], now[1] - self._last[1])
        self._last = now

    def seconds(self) -> tuple[float, float]:
        """Seconds since the beginning."""
        now = self._now()
        return now[0] - self._begun[0], now[1] - self._begun[1]


def said(watch: Stopwatch, kept: int) -> dict[str, Any]:
    """What a run says in its last line."""
    wall, cpu = watch.seconds()
    return {"wall": wall, "cpu": cpu, "kept": kept, "laps": watch.laps}
