"""How long the code location takes to load, beside `import dagster` alone.

    python -m spare_assets_tests.performance.code_location [--rounds 7] [--limit 3]

Both are run in fresh processes, one after the other in turns, so that what else the machine does meets both alike.
Compared are the medians of the CPU time (user and system) and of the wall clock; the ratio of the CPU times decides the
exit status, as it hardly depends on what runs beside.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

PROGRAMS = {"import dagster": "import dagster", "code location": "from spare_assets.definitions import defs"}


@dataclass(frozen=True, slots=True)
class Duration:
    """Seconds of one process, from its start to its end."""

    wall: float
    cpu: float


def measure(program: str, home: str) -> Duration:
    """Run a program in a fresh interpreter. Raises CalledProcessError when it fails."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = os.environ | {"SPARE_PROFILE": "sandbox", "SPARE_HOME": home}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    after, ended = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return Duration(ended - begun, cpu)


def compare(rounds: int) -> dict[str, list[Duration]]:
    """Durations of each program, taken in turns; a first round, which fills the disk cache, is left out."""
    taken: dict[str, list[Duration]] = {name: [] for name in PROGRAMS}
    with tempfile.TemporaryDirectory() as home:
        for turn in range(rounds + 1):
            for name, program in PROGRAMS.items():
                duration = measure(program, home)
                if turn:
                    taken[name].append(duration)
    return taken


def main() -> int:
    """Measure, print a line for each program and the ratio; 1 where it is above the limit."""
    parser = argparse.ArgumentParser(description="Loading the code location beside `import dagster`.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--limit", type=float, default=3.0, help="Largest ratio that passes.")
    arguments = parser.parse_args()
    medians: dict[str, Duration] = {}
    for name, durations in compare(arguments.rounds).items():
        wall, cpu = [d.wall for d in durations], [d.cpu for d in durations]
        medians[name] = Duration(statistics.median(wall), statistics.median(cpu))
        print(
            f"{name:<16} wall {medians[name].wall:.2f} s ({min(wall):.2f} to {max(wall):.2f}), "
            f"CPU {medians[name].cpu:.2f} s ({min(cpu):.2f} to {max(cpu):.2f}), {len(durations)} rounds"
        )
    alone, loaded = medians["import dagster"], medians["code location"]
    ratio = loaded.cpu / alone.cpu
    print(f"ratio: wall {loaded.wall / alone.wall:.2f}, CPU {ratio:.2f}; limit {arguments.limit:g}")
    return 0 if ratio <= arguments.limit else 1


if __name__ == "__main__":
    sys.exit(main())
