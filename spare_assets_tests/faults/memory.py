"""How much memory this process takes while something runs.

What may be taken belongs to the case.
"""

from __future__ import annotations

import gc
import threading
import time
from types import TracebackType

import psutil


class Memory:
    """Samples this process's resident memory, in bytes, while used as a context manager."""

    def __init__(self, interval: float = 0.02) -> None:
        self.samples: list[tuple[float, int]] = []
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Memory:
        gc.collect()
        self._sample()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._sample()

    @property
    def grown(self) -> int:
        """The highest sample above the first."""
        return max(size for _, size in self.samples) - self.samples[0][1]

    def _watch(self) -> None:
        while not self._stop.wait(self._interval):
            self._sample()

    def _sample(self) -> None:
        self.samples.append((time.monotonic(), psutil.Process().memory_info().rss))
