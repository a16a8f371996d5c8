"""How long the code location takes to load, beside `import dagster` alone.

    python -m spare_assets_tests.performance.code_location [--rounds 7]

Both are run in fresh processes, in turns. The ratio of the CPU times decides, as it hardly depends on what runs beside.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from functools import partial

from spare_assets_tests.performance.measuring import Line, in_turns, median, report, run

PROGRAMS = {"import dagster": "import dagster", "code location": "from spare_assets.definitions import defs"}


def main() -> int:
    """Measure and print; 1 where the ratio is above the limit."""
    parser = argparse.ArgumentParser(description="Loading the code location beside `import dagster`.")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        environment = {"SPARE_PROFILE": "sandbox", "SPARE_HOME": home}
        runs = {name: partial(run, [sys.executable, "-c", program], environment) for name, program in PROGRAMS.items()}
        alone, loaded = (median(usages) for usages in in_turns(arguments.rounds, runs).values())
    work = "loading the code location"
    return report(
        [
            Line(f"{work}: CPU time", "import dagster", loaded.cpu / alone.cpu, 3),
            Line(f"{work}: wall time", "import dagster", loaded.wall / alone.wall),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
