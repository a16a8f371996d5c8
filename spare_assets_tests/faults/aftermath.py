"""What must hold in a home after a fault and a run to the end: compared with the home of an unbroken run.

Called in a process of its own. What was done to the home is not known here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import polars as pl

from spare_assets.orchestration.instance import prepare_instance
from spare_assets.settings import open_home
from spare_assets.storage.schemas import TABLES
from spare_assets.storage.tables import TableStore, content_hash
from spare_assets_tests.faults.paid_for import stored_replies

CLOCKS = {
    "cost_report": ("seconds", "hours", "seconds_per_kept_pair"),
    "filter_ablation": ("seconds", "relative_time"),
    "generation_ablation": ("seconds", "relative_time"),
}
"""Columns that hold what a clock measured."""
CLOCK_ROWS = {"generation_forecast": pl.col("unit") == "hours"}
"""Rows that do."""
_NOT_COMPARED = ("dagster", "completions", "scratch")


@dataclass(slots=True)
class Aftermath:
    """What differs from the unbroken run, and what was left behind."""

    rows_that_differ: dict[str, int] = field(default_factory=dict)
    files_that_differ: list[str] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)
    slots_taken: list[str] = field(default_factory=list)
    runs: dict[str, int] = field(default_factory=dict)
    replies: int = 0


def aftermath(profile: Path, path: Path, unbroken: Path) -> Aftermath:
    """Compare a home with the unbroken one, and look for what should not be there."""
    import dagster as dg

    found = Aftermath(
        rows_that_differ=_rows_that_differ(path, unbroken),
        files_that_differ=_files_that_differ(path / "exports", unbroken / "exports"),
        left_over=left_over(path, unbroken),
        replies=stored_replies(path),
    )
    home = open_home(str(profile), path)
    prepare_instance(home)
    with dg.DagsterInstance.get() as instance:
        storage = instance.event_log_storage
        for pool in storage.get_concurrency_keys():
            info = storage.get_concurrency_info(pool)
            found.slots_taken += [f"{pool}: {slot.run_id}" for slot in info.claimed_slots]
            found.slots_taken += [f"{pool}, pending: {step.run_id}" for step in info.pending_steps]
        found.runs = dict(Counter(run.status.value for run in instance.get_runs()))
    store = TableStore(home.tables)
    with duckdb.connect(str(home.catalog), read_only=True) as connection:
        for name in TABLES:
            files = list((home.tables / name).glob("*.parquet"))
            stored = sum(pl.scan_parquet(file, glob=False).select(pl.len()).collect().item() for file in files)
            counted = connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()
            assert counted == (stored,), f"{name}: the catalog counts {counted}, the tables {stored}"
    assert store.exists("captions", next(iter(home.settings.sources)))
    return found


def left_over(home: Path, unbroken: Path) -> list[str]:
    """Paths below a home that the unbroken one has not, and what an unfinished run leaves."""
    extra = sorted(_paths(home) - _paths(unbroken))
    missing = [f"missing: {path}" for path in sorted(_paths(unbroken) - _paths(home))]
    unfinished = [
        path
        for path in (home / "completions").rglob("*")
        if path.is_file() and path.suffix not in (".parquet", ".damaged")
    ]
    unfinished = [path for path in unfinished if path.name != "engines.jsonl"]
    unfinished += (home / "scratch").iterdir() if (home / "scratch").exists() else []
    unfinished += (home / "dagster").rglob("*.tmp*")
    unfinished += (home / "dagster" / "running").glob("*")
    return [*extra, *missing, *(str(path.relative_to(home)) for path in unfinished)]


def _paths(home: Path) -> set[str]:
    return {
        str(path.relative_to(home)) for path in home.rglob("*") if path.relative_to(home).parts[0] not in _NOT_COMPARED
    }


def _rows_that_differ(home: Path, unbroken: Path) -> dict[str, int]:
    differing = {}
    for expected in sorted((unbroken / "tables").glob("*/*.parquet")):
        name = str(expected.relative_to(unbroken / "tables"))
        found = home / "tables" / name
        if not found.exists():
            differing[name] = max(1, pl.read_parquet(expected).height)
        elif content_hash(found) != content_hash(expected):
            one, other = (Counter(_lines(path, expected.parent.name)) for path in (found, expected))
            if different := (one - other).total() + (other - one).total():
                differing[name] = different
    return differing


def _lines(path: Path, table: str) -> list[str]:
    rows = pl.read_parquet(path).drop(CLOCKS.get(table, ()), strict=False)
    if table in CLOCK_ROWS:
        rows = rows.filter(~CLOCK_ROWS[table])
    return [str(row) for row in rows.iter_rows()]


def _files_that_differ(exports: Path, unbroken: Path) -> list[str]:
    return [
        name
        for path in sorted(unbroken.rglob("*"))
        if path.is_file()
        and (exports / (name := str(path.relative_to(unbroken)))).is_file()
        and (exports / name).read_bytes() != path.read_bytes()
    ]
