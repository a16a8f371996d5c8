"""Jobs for the natural units: each runs on a small home, and `everything` does by itself, from one click."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from spare_assets.cli.materialize import Materialization
from spare_assets.definitions import build_defs
from spare_assets.orchestration.instance import open_instance
from spare_assets.orchestration.jobs import PART_OF
from spare_assets.settings import Home, open_home
from spare_assets.storage.schemas import TABLES
from spare_assets.storage.tables import TableStore
from spare_assets_tests.profiles import sandbox_profile

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
MODELS = {"base": {"kind": "base", "model": "sandbox", "dialect": "scenes"}}


def small_profile(folder: Path) -> Path:
    """One source, one released model, one benchmark of few questions."""
    path = sandbox_profile(folder, scenes=20, models=MODELS)
    import yaml

    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    document["sources"] = {"docci": document["sources"]["docci"]}
    document["benchmarks"] = {"vsr": document["benchmarks"]["vsr"] | {"scenes": {"count": 20}}}
    document["analyses"] = {"vqa": {}}
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home on which each job ran once, in the order that a person would click them."""
    folder = tmp_path_factory.mktemp("jobs")
    home = open_home(str(small_profile(folder)), folder / "home").claim()
    return home


def run(home: Home, name: str, partition: str | None = None) -> dg.ExecuteInProcessResult:
    job = build_defs(home=home).resolve_job_def(name)
    with open_instance(home) as instance:
        return job.execute_in_process(
            instance=instance, partition_key=partition, run_config=QUIET, raise_on_error=False
        )


def test_the_jobs_in_their_order_make_dataset_model_scores_and_leaderboard(finished: Home) -> None:
    store = TableStore(finished.tables)
    assert run(finished, "dataset_of_one_source", "docci").success
    made = {name for name, schema in TABLES.items() if schema.partition == "source"} - {"generation_forecast"}
    assert all(store.exists(name, "docci") for name in made)
    assert not store.exists("generation_forecast", "docci")
    assert run(finished, "dataset").success
    assert run(finished, "training_rows").success
    assert run(finished, "train", "base").success
    scored = run(finished, "score", "base")
    assert not scored.success, "nine benchmarks are not declared"
    assert store.exists("vsr_score", "base")
    assert run(finished, "leaderboard_of_models").success
    assert run(finished, "exports").success
    for name in ("spare_dataset", "training_samples", "leaderboard", "llava_export"):
        assert store.rows(name) > 0


def test_every_job_says_what_it_is_for(make_home: Callable[..., Home]) -> None:
    repository = build_defs(home=make_home()).get_repository_def()
    jobs = {job.name: job for job in repository.get_all_jobs() if not job.name.startswith("__")}
    assert set(jobs) == {
        *("dataset_of_one_source", "dataset", "training_rows", "train", "score", "leaderboard_of_models", "exports"),
        "everything",
    }
    for job in jobs.values():
        assert job.description and len(job.description) > 60
        assert job.tags["spare/unit"] in {"source", "model", "whole", "everything"}


def test_a_profile_without_models_has_the_same_jobs(make_home: Callable[..., Home]) -> None:
    with_models = build_defs(home=make_home("one", models=MODELS)).get_repository_def().job_names
    assert build_defs(home=make_home("two", models={})).get_repository_def().job_names == with_models


def everything(home: Home, **config: Any) -> tuple[dg.ExecuteInProcessResult, list[dg.DagsterRun]]:
    job = build_defs(home=home).resolve_job_def("everything")
    with open_instance(home) as instance:
        result = job.execute_in_process(
            instance=instance, run_config={"ops": {"all_waves": {"config": config}}, **QUIET}, raise_on_error=False
        )
        return result, list(instance.get_runs(dg.RunsFilter(tags={PART_OF: result.run_id})))


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    event = next(event for event in result.all_events if event.is_step_failure)
    assert event.step_failure_data.error is not None
    return f"{event.step_failure_data.error.message} {event.step_failure_data.user_failure_data}"


def test_everything_runs_what_it_can_and_ends_with_the_reasons(finished: Home) -> None:
    result, parts = everything(finished)
    told = failure_of(result)
    assert "what needs them was left out" in told
    assert "mmbench_score" in told, "a benchmark that is not declared is named"
    assert Counter(part.tags.get("dagster/partition", "") for part in parts) >= Counter({"docci": 1, "base": 1, "": 2})
    assert all(part.is_finished for part in parts)
    assert TableStore(finished.tables).exists("leaderboard")


def test_a_trial_of_everything_refuses_to_replace_full_tables(finished: Home) -> None:
    result, _ = everything(finished, limit=5)
    assert "a trial of 5 would replace it" in failure_of(result)
    assert TableStore(finished.tables).rows("captions", "docci") > 5


def test_cancelling_everything_stops_its_part_and_starts_no_other(tmp_path: Path) -> None:
    profile = small_profile(tmp_path)
    home = open_home(str(profile), tmp_path / "home").claim()
    code = (
        "import sys; from spare_assets.settings import open_home; "
        "from spare_assets_tests.orchestration.test_jobs import everything; "
        "everything(open_home(sys.argv[1], sys.argv[2]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(profile), str(home.path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 200
    while not (home.tables / "captions" / "source=docci.parquet").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    process.wait(60)
    with open_instance(home) as instance:
        statuses = {run.job_name: run.status for run in instance.get_runs()}
        assert len(instance.get_runs()) == 2, "the run and the one part that it had begun"
        assert statuses.pop("everything") == dg.DagsterRunStatus.FAILURE, "nobody cancelled it but a signal"
        assert set(statuses.values()) == {dg.DagsterRunStatus.CANCELED}
        pool = instance.event_log_storage.get_concurrency_info("gpu")
        assert not pool.claimed_slots and not pool.pending_steps
    assert not TableStore(home.tables).exists("spare_dataset")
    assert Materialization(home, "captions", ("docci",)).execute(), "the home is free for the next run"
