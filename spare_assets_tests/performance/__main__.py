"""All benchmarks, one after the other: `python -m spare_assets_tests.performance [--only engine] [--page]`.

The latest figures of each are kept beside its inputs; --page puts them into docs/performance.md, so that benchmarks
may also be run apart from each other. It takes about three hours on two cores; nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from spare_assets_tests.performance.measuring import FOLDER, HEADER

PACKAGE = "spare_assets_tests.performance"
COMMAND = f"python -m {PACKAGE}"
BENCHMARKS = (
    "code_location",
    "deterministic_checks",
    "keyword_counting",
    "engine_requests",
    "local_generation",
    "clip_from_embeddings",
    "embed_once",
    "new_captions",
    "benchmark_tsv",
    "text_path",
    "remote_stores",
)
RESULTS = FOLDER / "results"
PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
BEGIN, END = "<!-- figures -->\n", "<!-- end of figures -->\n"
_PACKAGES = ("torch", "transformers", "polars", "pyarrow", "duckdb", "aiohttp", "dagster")


@dataclass(frozen=True, slots=True)
class Measured:
    """What a benchmark printed when it was last run: its command and date, and a row of cells for each figure."""

    command: str
    date: str
    rows: list[list[str]]


def measure(name: str, arguments: Sequence[str]) -> Measured | None:
    """Run a benchmark, its output shown as it comes; None where it broke off before its figures."""
    command = " ".join([f"{COMMAND}.{name}", *arguments])
    print(f"\n{command}", flush=True)
    module = [sys.executable, "-m", f"{PACKAGE}.{name}", *arguments]
    rows: list[list[str]] = []
    figures = False
    with subprocess.Popen(module, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        for line in running.stdout:
            print(line, end="", flush=True)
            if figures:
                rows.append(line.strip().split(" | "))
            figures = figures or line.strip() == HEADER
    return Measured(command, f"{datetime.now(UTC):%Y-%m-%d}", rows) if rows else None


def figures(measured: Sequence[Measured]) -> str:
    """The figures as a Markdown table, with the machine and the versions they were taken with."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in _PACKAGES)
    lines = [
        f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB of memory, no GPU; {platform.system()}, "
        f"Python {platform.python_version()}, {versions}.\n",
        "| work | beside | figure | to reach |",
        "|---|---|---:|---|",
    ]
    for one in measured:
        lines.append(f"| **`{one.command}`**, {one.date} | | | |")
        lines += [f"| {' | '.join(row)} |" for row in one.rows]
    return "\n".join(lines) + "\n"


def _processor() -> str:
    """The processor's name as the system tells it, or its architecture."""
    information = Path("/proc/cpuinfo")
    named = information.read_text().split("\n") if information.exists() else []
    return next((line.partition(":")[2].strip() for line in named if line.startswith("model name")), platform.machine())


def main() -> int:
    """Run the benchmarks asked for; 0 when each printed figures and reached them."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--only", default="", help="benchmarks whose name holds this text")
    parser.add_argument("--page", action="store_true", help="write the latest figures of all into docs/performance.md")
    parser.add_argument("--no-runs", action="store_true", help="run nothing: with --page, what was measured before")
    arguments, others = parser.parse_known_args()
    missed = []
    for name in () if arguments.no_runs else [name for name in BENCHMARKS if arguments.only in name]:
        measured = measure(name, others)
        if measured is None or any("MISSED" in cell for row in measured.rows for cell in row):
            missed.append(name)
        if measured is not None:
            RESULTS.mkdir(parents=True, exist_ok=True)
            (RESULTS / f"{name}.json").write_text(json.dumps(asdict(measured)))
    if arguments.page:
        kept = [path for name in BENCHMARKS if (path := RESULTS / f"{name}.json").exists()]
        table = figures([Measured(**json.loads(path.read_text())) for path in kept])
        text = PAGE.read_text(encoding="utf-8")
        before, _, rest = text.partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}{table}{END}{rest.partition(END)[2]}", encoding="utf-8")
    if missed:
        print(f"missed: {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
