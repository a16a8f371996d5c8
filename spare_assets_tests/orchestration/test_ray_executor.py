"""The graph's steps under the executor that a profile chooses; on Ray as jobs of a real local cluster."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from spare_assets.cli.materialize import Materialization
from spare_assets.definitions import build_defs
from spare_assets.orchestration.instance import open_instance
from spare_assets.settings import Home, SettingsError, open_home
from spare_assets.storage.tables import content_hash
from spare_assets_tests.profiles import sandbox_profile

STAGES = ("captions", "quarantined_captions", "spatial_captions", "caption_verdicts")


def opened(folder: Path, **sections: Any) -> Home:
    return open_home(str(sandbox_profile(folder, scenes=12, **sections)), folder / "home").claim()


def launched(home: Home) -> subprocess.CompletedProcess[str]:
    """A run of the first stages of the first source, as the UI's run worker executes one."""
    source = next(iter(home.settings.sources))
    command = [sys.executable, "-m", "dagster", "asset", "materialize", "-m", "spare_assets.definitions"]
    command += ["--select", ",".join(STAGES), "--partition", source]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=500, cwd=home.path)


def step_processes(home: Home) -> set[str]:
    """The processes in which the steps of the last run started."""
    with open_instance(home) as instance:
        run = instance.get_runs(limit=1)[0]
        started = instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.STEP_START).records
        submitted = instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.STEP_WORKER_STARTING).records
    assert run.status == dg.DagsterRunStatus.SUCCESS
    assert {record.event_log_entry.step_key for record in started} >= {"captions", "spatial_captions"}
    return {str(record.event_log_entry.message) for record in submitted}


def tables(home: Home) -> dict[str, str]:
    return {path.parent.name: content_hash(path) for path in sorted(home.tables.rglob("*.parquet"))}


def test_a_profile_chooses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, wanted in (("in_process", dg.in_process_executor), ("multiprocess", dg.multiprocess_executor)):
        folder = tmp_path / name
        folder.mkdir()
        made = build_defs(home=opened(folder, execution={"executor": name})).executor
        assert isinstance(made, dg.ExecutorDefinition)
        assert made.name == wanted.name
    assert build_defs(home=opened(tmp_path)).executor is dg.in_process_executor
    monkeypatch.setitem(sys.modules, "dagster_ray.core.executor", None)
    with pytest.raises(SettingsError, match=r"pip install spare-assets\[ray\]"):
        build_defs(home=opened(tmp_path, execution={"executor": "ray"}))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_steps_run_as_jobs_on_ray(tmp_path: Path, ray_jobs: str) -> None:
    """Each step is a job of the cluster, and the workers of a model stage are hired from the same cluster."""
    home = opened(
        tmp_path,
        execution={"executor": "ray", "address": ray_jobs},
        engines={"analyst": {"kind": "rule_based", "ray": {"workers": 2, "cpus_per_worker": 0.5}}},
        synthesis={"filter_engine": "analyst", "generation_engine": "analyst"},
        quality={"verification_engine": "analyst"},
    )
    with open_instance(home):
        pass
    run = launched(home)
    assert run.returncode == 0, run.stdout + run.stderr
    assert all("in Ray job dagster-step-" in message for message in step_processes(home))
    here = opened(
        tmp_path,
        engines={"analyst": {"kind": "rule_based"}},
        synthesis={"filter_engine": "analyst", "generation_engine": "analyst"},
        quality={"verification_engine": "analyst"},
    )
    spread = tables(home)
    source = next(iter(here.settings.sources))
    plain = Materialization(here, "+spatial_captions", (source,))
    assert plain.execute()
    assert tables(here) == spread
    assert set(spread) == set(STAGES)


@pytest.fixture
def ray_jobs() -> Iterator[str]:
    """Address of a local Ray's job server, once it takes jobs."""
    ray = pytest.importorskip("ray", reason="the optional extra `ray` is not installed")
    pytest.importorskip("dagster_ray", reason="the optional extra `ray` is not installed")
    from ray.job_submission import JobSubmissionClient

    before = signal.getsignal(signal.SIGTERM)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    started = ray.init(num_cpus=3, include_dashboard=True, log_to_driver=False)
    signal.signal(signal.SIGTERM, before)
    address = f"http://{started.dashboard_url}"
    end = time.monotonic() + 120
    while True:
        with contextlib.suppress(RuntimeError):
            JobSubmissionClient(address).submit_job(entrypoint="true")
            break
        assert time.monotonic() < end, "Ray's job server takes no jobs"
        time.sleep(1)
    yield address
    ray.shutdown()
