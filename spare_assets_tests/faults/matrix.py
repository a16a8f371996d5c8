"""Runs cases, each in a process and a folder of its own, and keeps a line of each, so that a run can go on.

What a case plants and checks belongs to its module.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

from spare_assets_tests.faults.cases import Case, Outcome

REPOSITORY = Path(__file__).parents[2]
_TAIL = 2_000


@dataclass(frozen=True, slots=True)
class Result:
    """A finished case."""

    key: str
    fault: str
    stage: str
    tried: int
    lost: int
    held: bool
    seconds: float
    note: str


def run_case(case: Case) -> Result:
    """Run a case in a fresh process; a crash or a hang there is a promise not held."""
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="fault-"))
    report = folder / "outcome.json"
    command = [sys.executable, "-m", "spare_assets_tests.faults", "--case", case.key, "--folder", str(folder)]
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": "1"}
    with (folder / "log").open("w+", errors="replace") as log:
        process = subprocess.Popen(
            command, cwd=REPOSITORY, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            process.wait(case.limit_s)
            ended = f"ended with {process.returncode}"
        except subprocess.TimeoutExpired:
            ended = f"hung for {case.limit_s:.0f} s"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        log.seek(0)
        tail = log.read()[-_TAIL:]
    held = process.returncode == 0 and report.exists()
    outcome = Outcome(**json.loads(report.read_text())) if held else Outcome(note=f"{ended}: {tail}")
    shutil.rmtree(folder, ignore_errors=True)
    return Result(
        key=case.key,
        fault=case.fault,
        stage=outcome.stage or case.stage,
        tried=outcome.tried,
        lost=outcome.lost,
        held=held and outcome.lost == 0,
        seconds=round(time.monotonic() - started, 1),
        note=outcome.note,
    )


def run_matrix(cases: Sequence[Case], results: Path, jobs: int) -> Iterator[Result]:
    """Run what has no line in the results file that holds, so many at a time, adding a line as each ends."""
    done = {result.key for result in read_results(results) if result.held}
    results.parent.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(jobs) as pool, results.open("a") as lines:
        running = [pool.submit(run_case, case) for case in cases if case.key not in done]
        for finished in as_completed(running):
            result = finished.result()
            lines.write(json.dumps(asdict(result)) + "\n")
            lines.flush()
            yield result


def read_results(path: Path) -> list[Result]:
    """The latest line of every case; a line cut by a kill counts as not run."""
    latest: dict[str, Result] = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            result = Result(**json.loads(line))
        except (ValueError, TypeError):
            continue
        latest[result.key] = result
    return list(latest.values())


def matrix_table(results: Iterable[Result], order: Mapping[str, int]) -> str:
    """Markdown: fault, stage, times tried, lost, verdict. Faults in the order given, stages by name."""
    rows: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for result in results:
        rows[result.fault, result.stage].append(result)
    lines = ["| fault | stage | tried | lost | verdict |", "|---|---|---:|---:|---|"]
    for fault, stage in sorted(rows, key=lambda row: (order.get(row[0], len(order)), row)):
        of_row = rows[fault, stage]
        failed = [result for result in of_row if not result.held]
        verdict = "held" if not failed else f"**not held** in {len(failed)}"
        tried, lost = sum(result.tried for result in of_row), sum(result.lost for result in of_row)
        lines.append(f"| {fault} | {stage} | {tried:,} | {lost:,} | {verdict} |")
    return "\n".join(lines) + "\n"
