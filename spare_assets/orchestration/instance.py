"""The Dagster instance of a home, and the hygiene of its runs when no daemon watches them (design, law 8)."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import yaml
from sqlalchemy.exc import DBAPIError

from spare_assets.package_files import package_file
from spare_assets.settings import Home, InstanceSettings, SettingsError
from spare_assets.storage.durability import write_whole
from spare_assets.storage.temporaries import sweep_temporaries

STATE_VARIABLE = "SPARE_INSTANCE"
_TEMPORARIES = (
    *(".*.tmp", "dagster/.*.tmp", "scratch/.*.tmp", "tables/*/.*.tmp", "completions/*/*/.*.tmp", "exports/.*.tmp"),
    "benchmark_images/*/.*.tmp",
)
"""Where stages leave temporary files. Downloads sweep their own folders, which can hold a million images."""
_STORAGE = re.compile(r"(?m)(?:^# The storage .*\n)?^storage:\n(?:^ .*\n)+")
_DRIVER = "postgresql+psycopg2://"
"""How addresses begin: without a driver named, SQLAlchemy takes one that dagster-postgres does not work with."""
_BY_PROFILE = "# The storage is what the profile's `instance` says."
_UNFINISHED = [
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.CANCELING,
]


def prepare_instance(home: Home) -> None:
    """Give the home its instance folder and point this process and its children there.

    An instance file that was adapted, to a cluster perhaps, is kept. Raises SettingsError where it keeps runs elsewhere
    than the profile says, or where that can't be used here.
    """
    instance = home.settings.instance
    check_usable(instance)
    home.claim().dagster.mkdir(exist_ok=True)
    configuration = home.dagster / "dagster.yaml"
    wanted = instance_file(instance)
    present = configuration.read_text(encoding="utf-8") if configuration.exists() else None
    if present is None or (present != wanted and _is_ours(present)):
        write_whole(configuration, wanted.encode())
    elif instance.postgres and _storage_of(present) != _storage_of(wanted):
        raise SettingsError(
            f"{configuration} was adapted and keeps runs elsewhere than `instance.postgres` says: give it "
            f"`storage: {_storage_of(wanted)}`, or remove it and it is written anew"
        )
    os.environ["DAGSTER_HOME"] = os.environ[STATE_VARIABLE] = str(home.dagster)


def instance_file(instance: InstanceSettings) -> str:
    """Dagster's instance file: the shipped one, with the storage that the profile chooses, never with a password."""
    shipped = package_file("dagster.yaml").read_text(encoding="utf-8")
    if instance.postgres is None:
        return shipped
    variable = instance.postgres_variable
    address = {"env": variable} if variable else instance.postgres.replace("postgresql://", _DRIVER, 1)
    chosen = yaml.safe_dump({"storage": {"postgres": {"postgres_url": address}}})
    return _STORAGE.sub(lambda _: f"{_BY_PROFILE}\n{chosen}", shipped)


def _is_ours(present: str) -> bool:
    """Whether an instance file was written here and is as it was."""
    shipped = instance_file(InstanceSettings())
    return present == shipped or (_BY_PROFILE in present and _STORAGE.sub("", present) == _STORAGE.sub("", shipped))


def _storage_of(configuration: str) -> Any:
    try:
        return yaml.safe_load(configuration).get("storage")
    except (yaml.YAMLError, AttributeError):
        return None


def check_usable(instance: InstanceSettings) -> None:
    """Raises SettingsError where the database that a profile chooses can't be opened from here. It is not opened."""
    if instance.postgres is None:
        return
    if importlib.util.find_spec("dagster_postgres") is None:
        raise SettingsError(
            "instance.postgres: dagster-postgres is not installed: pip install 'spare-assets[postgres]'"
        )
    variable = instance.postgres_variable
    if variable is None:
        return
    address = os.environ.get(variable, "")
    if address.count("@") > 1:
        raise SettingsError(f"instance.postgres: write an @ of the password in {variable} as %40")
    if not address.startswith(_DRIVER):
        state = "is not an address of this form" if address else "is not set"
        raise SettingsError(
            f"instance.postgres: the environment variable {variable} {state}: "
            f"{_DRIVER}user:password@host:5432/database (with +psycopg2: SQLAlchemy's own choice is another driver)"
        )


def open_instance(home: Home) -> dg.DagsterInstance:
    """The home's instance, with what dead processes left behind cleared: unfinished runs, pool slots, scratch."""
    prepare_instance(home)
    for pattern in _TEMPORARIES:
        sweep_temporaries(home.path.glob(pattern))
    # Dagster's SQLite storage creates its tables when first opened, and two processes that do so at once collide.
    with (home.dagster / "opening.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            instance = dg.DagsterInstance.get()
        except Exception as error:
            if home.settings.instance.postgres is None or (reason := database_error(error)) is None:
                raise
            raise SettingsError(f"instance.postgres: {reason}") from None
        end_dead_runs(instance, home)
    return instance


def database_error(error: BaseException) -> str | None:
    """What the database of runs said, where it is behind this error. An address, and so a password, is never in it."""
    while not isinstance(error, DBAPIError):
        if error.__cause__ is None:
            return None
        error = error.__cause__
    return " ".join(str(error.orig).split())


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
    are known by their lock, runs that the UI launched by the process id in their log. That holds on one machine: of a
    database that several may share, those are left to the daemon, which watches what it launched.
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
    if home.settings.instance.postgres:
        return False
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
