"""The full fault matrix: `TMPDIR=/dev/shm python -m spare_assets_tests.faults`. Started again, it goes on.

In memory it takes half the time: nothing here needs a disk, and thousands of small databases wait for theirs.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from spare_assets_tests.faults.cases import all_cases, each_case
from spare_assets_tests.faults.matrix import REPOSITORY, matrix_table, read_results, run_matrix

RESULTS = Path(".spare/faults/results.jsonl")
PAGE = REPOSITORY / "docs" / "faults.md"
COMMAND = "python -m spare_assets_tests.faults"
PAGE_TEXT = """# The fault matrix

Whatever dies, what was paid for is kept; whatever comes in, nothing but data happens. Each row plants a fault so many
times and then runs on to the end: *lost* counts rows of the final tables that differ from an unbroken run's, and
replies that were asked for twice.

`{command}` on {date}, {system}; two cases at a time: {minutes} minutes of cases in all.

{table}"""


def main() -> int:
    """Run the cases asked for; 0 when every promise held."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, help="where finished cases are kept")
    parser.add_argument("--jobs", type=int, default=2, help="cases at a time")
    parser.add_argument("--only", default="", help="cases whose name holds this text")
    parser.add_argument("--short", action="store_true", help="one case of every row, as in `make test`")
    parser.add_argument("--fresh", action="store_true", help="forget what was finished before")
    parser.add_argument("--page", action="store_true", help=f"write the table into {PAGE.relative_to(REPOSITORY)}")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        # Modules of other cases stay out: some load libraries that start threads, and some cases fork.
        case = next(case for case in each_case() if case.key == arguments.case)
        work = arguments.folder / "work"
        work.mkdir()
        outcome = case.check(work)
        (arguments.folder / "outcome.json").write_text(json.dumps(asdict(outcome)))
        return 0
    cases = all_cases()
    if arguments.fresh:
        arguments.results.unlink(missing_ok=True)
    chosen = [case for case in cases if arguments.only in case.key and (case.short or not arguments.short)]
    for result in run_matrix(chosen, arguments.results, arguments.jobs):
        print(
            f"{'held' if result.held else 'NOT HELD'}  {result.seconds:6.1f} s  {result.key}  {result.note}", flush=True
        )
    keys = {case.key for case in chosen}
    results = [result for result in read_results(arguments.results) if result.key in keys]
    faults = list(dict.fromkeys(case.fault for case in cases))
    table = matrix_table(results, {fault: place for place, fault in enumerate(faults)})
    print(f"\n{table}")
    if arguments.page:
        PAGE.write_text(page(table, sum(result.seconds for result in results)))
    return 0 if len(results) == len(keys) and all(result.held for result in results) else 1


def page(table: str, seconds: float) -> str:
    """The table with its date, for the docs."""
    return PAGE_TEXT.format(
        command=f"TMPDIR=/dev/shm {COMMAND} --page",
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        system=f"Python {platform.python_version()}, {platform.system()}",
        minutes=round(seconds / 60),
        table=table,
    )


if __name__ == "__main__":
    sys.exit(main())
