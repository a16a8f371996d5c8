"""Fresh processes with what they took, their medians, and the lines a benchmark prints.

What is run, and which figure must be reached, belongs to the benchmarks.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

FOLDER = Path(".spare/performance")
"""Where benchmarks keep their inputs and their rivals, below the folder they are started in."""
HEADER = "work | rival | ratio | to reach"
_GIB = 2**30


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process took: seconds of the wall clock and of the CPU (user and system, its own children included), the
    largest resident memory of it or of one child in bytes, and what it said of its results."""

    wall: float
    cpu: float
    peak: int
    said: Any = field(default=None, compare=False)

    def __str__(self) -> str:
        return f"wall {self.wall:.2f} s, CPU {self.cpu:.2f} s, peak {self.peak / _GIB:.2f} GiB"


def run(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> Usage:
    """Run a program in a fresh process. `said` is the last line of its output as JSON, null where there is none.

    The system counts this process's own memory into the child's peak: keep it small, import nothing heavy here.
    Raises CalledProcessError when the program fails.
    """
    arguments = [str(part) for part in command]
    begun = time.perf_counter()
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, env=os.environ | dict(environment or {})) as child:
        assert child.stdout is not None
        output = child.stdout.read().decode()
        _, status, used = os.wait4(child.pid, 0)
        wall = time.perf_counter() - begun
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, arguments, output)
    last = output.strip().rpartition("\n")[2]
    said = json.loads(last) if last[:1] in {"{", "["} else None
    return Usage(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, said)


def run_module(module: str, *arguments: str | Path, environment: Mapping[str, str] | None = None) -> Usage:
    """Run a module of this interpreter's in a fresh process, as `run` does."""
    return run([sys.executable, "-m", module, *arguments], environment)


def in_turns(rounds: int, runs: Mapping[str, Callable[[], Usage]], *, warm_up: bool = True) -> dict[str, list[Usage]]:
    """Every run once a round, in turns, so that what else the machine does meets all alike.

    A first round, which fills the disk cache, is left out.
    """
    taken: dict[str, list[Usage]] = {name: [] for name in runs}
    for turn in range(rounds + warm_up):
        for name, once in runs.items():
            usage = once()
            if turn >= warm_up:
                taken[name].append(usage)
                print(f"  {name}: {usage}", file=sys.stderr, flush=True)
    return taken


def median(usages: Sequence[Usage]) -> Usage:
    """Medians of wall and CPU time, the largest peak, and what the last one said."""
    return Usage(
        statistics.median(usage.wall for usage in usages),
        statistics.median(usage.cpu for usage in usages),
        max(usage.peak for usage in usages),
        usages[-1].said,
    )


@dataclass(frozen=True, slots=True)
class Line:
    """One figure beside the one to reach; without a limit it is printed and decides nothing."""

    work: str
    rival: str
    figure: float
    limit: float | None = None
    bound: Literal["most", "least"] = "most"
    unit: str = "x"

    @property
    def reached(self) -> bool:
        """Whether the figure is within its limit."""
        if self.limit is None:
            return True
        return self.figure <= self.limit if self.bound == "most" else self.figure >= self.limit

    def __str__(self) -> str:
        to_reach = "-"
        if self.limit is not None:
            sign = "<=" if self.bound == "most" else ">="
            to_reach = f"{sign} {_short(self.limit)} {self.unit}{'' if self.reached else '  MISSED'}"
        return f"{self.work} | {self.rival} | {_short(self.figure)} {self.unit} | {to_reach}"


def _short(figure: float) -> str:
    """Three digits, or all before the point."""
    return f"{figure:,.0f}" if figure >= 1000 else f"{figure:.3g}"


def peak_line(work: str, usage: Usage, gibibytes: float) -> Line:
    """The peak of a run beside what it may be."""
    return Line(f"{work}: peak memory", "-", usage.peak / _GIB, gibibytes, unit="GiB")


def report(lines: Iterable[Line]) -> int:
    """Print the lines as `work | rival | ratio | to reach`; the exit status, 1 where a figure is not reached."""
    status = 0
    print(HEADER)
    for line in lines:
        print(line)
        status |= not line.reached
    return status
