"""The Dagster instance of a home, and the hygiene of its runs when no daemon watches them (design, law 8)."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import dagster as dg
import psutil

from spare_assets.package_files import package_file
from spare_assets.settings import Home
from spare_assets.storage.durability import write_whole
from spare_assets.storage.temporaries import sweep_temporaries

STATE_VARIABLE = "SPARE_INSTANCE"
_TEMPORARIES = (
    *(".*.tmp", "dagster/.*.tmp", "scratch/.*.tmp", "tables/*/.*.tmp", "completions/*/*/.*.tmp", "exports/.*.tmp"),
    "benchmark_images/*/.*.tmp",
)
"""Where stages leave temporary files. Downloads sweep their own folders, which can hold a million images."""
_UNFINISHED = [
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.CANCELING,
]


def prepare_instance(home: Home) -> None:
    """Give the home its instance folder and point this process and its children there.

    An instance file that already lies there is kept: it may have been adapted to a cluster.
    """
    home.claim().dagster.mkdir(exist_ok=True)
    configuration = home.dagster / "dagster.yaml"
    if not configuration.exists():
        write_whole(configuration, package_file("dagster.yaml").read_bytes())
    os.environ["DAGSTER_HOME"] = os.environ[STATE_VARIABLE] = str(home.dagster)


def open_instance(home: Home) -> dg.DagsterInstance:
    """The home's instance, with what dead processes left behind cleared: unfinished runs, pool slots, scratch."""
    prepare_instance(home)
    for pattern in _TEMPORARIES:
        sweep_temporaries(home.path.glob(pattern))
    # Dagster's SQLite storage creates its tables when first opened, and two processes that do so at once collide.
    with (home.dagster / "opening.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        instance = dg.DagsterInstance.get()
        end_dead_runs(instance, home)
    return instance


@contextmanager
def living_run(home: Home, run_id: str) -> Iterator[None]:
    """Hold a lock that tells, on any machine that shares the home, that the process of this run lives."""
    path = _lock_of(home, run_id)
    path.parent.mkdir(exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def end_dead_runs(instance: dg.DagsterInstance, home: Home) -> list[str]:
    """Mark unfinished runs whose process is dead as failed and free their pool slots; their run ids.

    A killed run otherwise keeps its place in the `gpu` pool, and later runs wait for it without end. Runs of `spare`
    are known by their lock, runs that the UI launched by the process id in their log, which holds on one machine.
    """
    ended = []
    for run in instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED)):
        if not _is_dead(instance, home, run.run_id):
            continue
        instance.report_run_failed(run, "the run's process is gone: it was killed, or the machine restarted")
        _lock_of(home, run.run_id).unlink(missing_ok=True)
        ended.append(run.run_id)
    _free_slots(instance)
    return ended


def pool_holder(instance: dg.DagsterInstance, pool: str) -> str | None:
    """The run that holds a place in a pool whose places are all taken."""
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits or pool not in storage.get_concurrency_keys():
        return None
    info = storage.get_concurrency_info(pool)
    taken = [slot.run_id for slot in info.claimed_slots]
    return taken[0] if taken and len(taken) >= info.slot_count else None


def _lock_of(home: Home, run_id: str) -> Path:
    return home.dagster / "running" / f"{run_id}.lock"


def _is_dead(instance: dg.DagsterInstance, home: Home, run_id: str) -> bool:
    with suppress(FileNotFoundError), _lock_of(home, run_id).open("r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
    process = _run_process(instance, run_id)
    return process is not None and not _lives(process, run_id, instance)


def _free_slots(instance: dg.DagsterInstance) -> None:
    """Free pool slots held by runs that have ended."""
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return
    for pool in storage.get_concurrency_keys():
        info = storage.get_concurrency_info(pool)
        for run_id in {slot.run_id for slot in info.claimed_slots} | {step.run_id for step in info.pending_steps}:
            run = instance.get_run_by_id(run_id)
            if run is None or run.is_finished:
                storage.free_concurrency_slots_for_run(run_id)


def _run_process(instance: dg.DagsterInstance, run_id: str) -> int | None:
    """Process id of the run's worker, from the first engine event that names one."""
    records = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT).records
    for record in records:
        event = record.event_log_entry.dagster_event
        metadata = getattr(event.event_specific_data, "metadata", {}) if event else {}
        if (value := metadata.get("pid")) is not None:
            return int(str(value.value))
    return None


def _lives(process: int, run_id: str, instance: dg.DagsterInstance) -> bool:
    """Whether this process exists and is not a later one that was given the same number."""
    try:
        found = psutil.Process(process)
        started = found.create_time()
        if found.status() == psutil.STATUS_ZOMBIE:
            return False
    except psutil.NoSuchProcess:
        return False
    stats = instance.get_run_stats(run_id)
    began = stats.start_time or stats.launch_time or stats.enqueued_time
    return began is None or started <= began + 1
