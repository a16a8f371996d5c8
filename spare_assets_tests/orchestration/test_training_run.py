"""Checkpoints as assets of a real run: trained, found again, killed and gone on with, refused in words."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import psutil
import pytest
import yaml

from spare_assets.cli.materialize import Materialization
from spare_assets.clip.torchvision_shim import install
from spare_assets.orchestration.instance import open_instance
from spare_assets.sandbox.effect import four_way_questions, general_questions
from spare_assets.sandbox.scenes import scene_seed
from spare_assets.settings import PROFILES, Home, SettingsError, open_home
from spare_assets.storage.tables import TableStore, content_hash
from spare_assets.training.order import ORDER_FILE, TrainingOutcome
from spare_assets.training.process_group import LIFELINE_VARIABLE
from spare_assets.training.reports import LOG_FILE, read_log
from spare_assets_tests.engines.small_models import save_vision_model
from spare_assets_tests.profiles import sandbox_profile
from spare_assets_tests.sandbox.templates import masked

STEPS, SAVE_STEPS = 12, 3
RECIPE = {
    "batch_size": 16,
    "micro_batch_size": 8,
    "max_steps": STEPS,
    "save_steps": SAVE_STEPS,
    "warmup_steps": 2,
    "log_steps": 1,
    "max_length": 512,
    "learning_rate": 1e-3,
}
MODELS = {
    "base": {"kind": "base", "model": "vision"},
    "pairs": {"kind": "trained", "recipe": "spare", "seed": 0},
    "captions": {"kind": "trained", "recipe": "captions", "seed": 0},
}


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with training rows and every model."""
    folder = tmp_path_factory.mktemp("trained")
    home = open_home(str(profile(folder)), folder / "home").claim()
    assert Materialization(home, "*").execute()
    return home


def profile(folder: Path, **recipe: Any) -> Path:
    install()
    save_vision_model(folder / "vision")
    training = yaml.safe_load((PROFILES / "sandbox.yaml").read_text(encoding="utf-8"))["training"]
    training["recipes"] = {
        name: training["recipes"][name] | RECIPE | {"base": "vision"} | recipe for name in ("spare", "captions")
    }
    training["held_out_share"] = 0.1
    return sandbox_profile(folder, scenes=30, training=training, models=MODELS)


@pytest.fixture
def copied(finished: Home, tmp_path: Path) -> Home:
    """The same training rows in a home of its own, without models."""
    home = Home(tmp_path / "home", finished.settings).claim()
    subprocess.run(["cp", "-r", str(finished.tables), str(home.tables)], check=True)
    subprocess.run(["rm", "-r", str(home.tables / "checkpoint")], check=True)
    return home


def record(home: Home, model: str) -> dict[str, Any]:
    return TableStore(home.tables).scan("checkpoint", model).collect().row(0, named=True)


def losses(home: Home, model: str) -> dict[int, tuple[str, float]]:
    path = Path(record(home, model)["path"]) / LOG_FILE
    return {step.step: (step.rows_hash, step.loss) for step in read_log(path)}


def test_every_model_key_has_a_record(finished: Home) -> None:
    base, pairs, captions = (record(finished, key) for key in MODELS)
    assert (base["kind"], base["recipe"], base["steps"]) == ("base", None, None)
    assert (pairs["kind"], pairs["recipe"], pairs["seed"], pairs["steps"]) == ("trained", "spare", 0, STEPS)
    assert pairs["held_out_loss"] > 0
    assert captions["steps"] == pairs["steps"], "the baseline has the same number of steps"
    assert len({item["fingerprint"] for item in (base, pairs, captions)}) == 3


def test_a_checkpoint_is_a_model_with_all_that_belongs_to_it(finished: Home) -> None:
    folder = Path(record(finished, "pairs")["path"])
    names = {path.name for path in folder.iterdir()}
    assert {"model.safetensors", "config.json", "README.md", "training.json", "outcome.json", LOG_FILE} <= names
    assert {"tokenizer.json", "processor_config.json"} & names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pth", ".pkl"))]
    told = json.loads((folder / "training.json").read_text())
    dataset = TableStore(finished.tables).path("spare_dataset")
    assert told["dataset_version"] == content_hash(dataset)
    assert told["recipe"]["learning_rate"] == RECIPE["learning_rate"]
    assert told["dataset_version"] in (folder / "README.md").read_text()
    assert not list(folder.parent.glob("*.partial/*/*.safetensors")), "states to resume from are gone"


def test_every_turn_stands_in_the_dataset_or_among_the_benign_pairs(finished: Home) -> None:
    store = TableStore(finished.tables)
    turns = store.scan("training_samples").select("image_id", "turns").explode("turns").unnest("turns").collect()
    dataset = store.scan("spare_dataset").select("pairs").explode("pairs").unnest("pairs").collect()
    rejected = pl.concat([store.scan("rejected_pairs", key) for key in finished.settings.sources]).collect()
    benign = rejected.filter(pl.col("check") == "spatial")
    spatial_turns, benign_turns = turns.filter(~pl.col("benign")), turns.filter("benign")
    assert spatial_turns.height > 100 and benign_turns.height > 10
    known = dataset.select("pair_id", "question", "answer")
    assert spatial_turns.join(known, on=["pair_id", "question", "answer"], how="anti").is_empty()
    known = benign.select("pair_id", "question", "answer")
    assert benign_turns.join(known, on=["pair_id", "question", "answer"], how="anti").is_empty()
    captions = store.scan("caption_training_samples").select("image_id", "part").collect()
    assert captions.equals(store.scan("training_samples").select("image_id", "part").collect())


def test_benchmark_questions_share_no_template_and_no_scene_with_training(finished: Home) -> None:
    rows = TableStore(finished.tables).scan("training_samples").select("turns").explode("turns").unnest("turns")
    trained_on = {masked(question) for question in rows.collect()["question"]}
    assert "where is the _ _ in relation to the _ _?" in trained_on
    asked = [*four_way_questions(40), *general_questions(30)]
    for question in asked:
        for part in (question.question, question.question.splitlines()[0].removeprefix("Question: ")):
            assert masked(part) not in trained_on
    sources = {scene_seed(source, 0, 0) // 10**12 for source in finished.settings.sources}
    assert not {question.scene.seed // 10**12 for question in asked} & sources


def test_the_asset_page_tells_how_training_went(finished: Home) -> None:
    with open_instance(finished) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey("checkpoint"))
        assert event is not None and event.asset_materialization is not None
        metadata = {name: value.value for name, value in event.asset_materialization.metadata.items()}
    assert metadata["loss_curve"].startswith("![") and len(metadata["loss_curve"]) < 200_000
    assert metadata["steps"] == STEPS
    for name in ("tokens", "training_seconds", "peak_memory_bytes", "tokens_per_second", "held_out_loss"):
        assert metadata[name] > 0, name


def test_nothing_changed_trains_nothing(copied: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Materialization(copied, "checkpoint", models=("base", "pairs")).execute()
    folder = Path(record(copied, "pairs")["path"])
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}

    def refuse(*arguments: Any) -> None:
        raise AssertionError("a training process was started")

    monkeypatch.setattr("spare_assets.orchestration.training_process.run_group", refuse)
    assert Materialization(copied, "checkpoint", models=("base", "pairs")).execute()
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_unknown_models_are_refused(copied: Home) -> None:
    with pytest.raises(SettingsError, match="unknown model nobody: the profile declares base, captions, pairs"):
        Materialization(copied, "checkpoint", models=("nobody",))


@pytest.mark.parametrize("victim", ["the training process", "the run's worker"])
def test_a_kill_in_mid_training_is_gone_on_from(copied: Home, finished: Home, victim: str) -> None:
    worker = start(copied, finished)
    program = wait_for(lambda: trainer_of(copied))
    wait_for(lambda: steps_done(copied) > SAVE_STEPS)
    os.kill(program.pid if victim == "the training process" else worker.pid, signal.SIGKILL)
    worker.wait(60)
    assert wait_for(lambda: not processes_of(copied), 15), "a process outlived the run"
    done = steps_done(copied)
    assert SAVE_STEPS <= done < STEPS, "killed in the middle"
    assert Materialization(copied, "checkpoint", models=("pairs",)).execute()
    assert TrainingOutcome.load(Path(record(copied, "pairs")["path"])).resumed_at >= SAVE_STEPS
    unbroken, resumed = losses(finished, "pairs"), losses(copied, "pairs")
    assert [rows for rows, _ in resumed.values()] == [rows for rows, _ in unbroken.values()]
    for step, (_, loss) in unbroken.items():
        assert resumed[step][1] == pytest.approx(loss, rel=1e-4), step


def test_an_interrupt_ends_training_and_all_its_processes(copied: Home, finished: Home) -> None:
    worker = start(copied, finished)
    wait_for(lambda: trainer_of(copied))
    wait_for(lambda: steps_done(copied) > 0)
    began = time.monotonic()
    worker.send_signal(signal.SIGINT)
    assert worker.wait(20) == 130
    assert time.monotonic() - began < 10
    assert not processes_of(copied)


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ({"require_gpu": True}, "GPU"),
        ({"max_length": 30}, "longer than max_length"),
        ({"accelerate_config": "nowhere.yaml"}, "accelerate_config"),
    ],
)
def test_what_cannot_be_done_is_said_at_once(
    finished: Home, tmp_path: Path, recipe: dict[str, Any], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if "require_gpu" in recipe:
        import torch

        if torch.cuda.is_available():
            pytest.skip("there is a GPU here")
    home = open_home(str(profile(tmp_path, **recipe)), tmp_path / "home").claim()
    subprocess.run(["cp", "-r", str(finished.tables), str(home.tables)], check=True)
    assert not Materialization(home, "checkpoint", models=("pairs",)).execute()
    said = " ".join(capsys.readouterr().out.split())
    assert words in said, said
    assert "Traceback" not in said


def start(home: Home, like: Home) -> subprocess.Popen[bytes]:
    profile_file = next(like.path.parent.glob("*.yaml"))
    command = [sys.executable, "-m", "spare_assets.cli.main", "materialize", "--select", "checkpoint"]
    command += ["--model", "pairs", "--profile", str(profile_file), "--home", str(home.path)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def processes_of(home: Home) -> list[psutil.Process]:
    """Training processes of a home: those with a lifeline and an order file in it on their command line."""
    found = []
    for process in psutil.process_iter():
        try:
            if LIFELINE_VARIABLE in process.environ() and any(str(home.path) in part for part in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def trainer_of(home: Home) -> psutil.Process | None:
    running = [process for process in processes_of(home) if process.cmdline()[-1].endswith(ORDER_FILE)]
    return running[0] if running else None


def steps_done(home: Home) -> int:
    logs = list(home.checkpoints.glob(f"pairs/*/{LOG_FILE}"))
    return max((len(list(read_log(path))) for path in logs), default=0)


def wait_for(condition: Callable[[], Any], seconds: float = 60) -> Any:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if value := condition():
            return value
        time.sleep(0.05)
    return None
