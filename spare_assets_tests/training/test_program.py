"""The training program as processes of its own, on a tiny Qwen2-VL: whole, killed, resumed, shared by two."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster_pipes
import psutil
import pytest
import yaml

from spare_assets.clip.torchvision_shim import install
from spare_assets.sandbox.scenes import make_scene, render
from spare_assets.training.order import ERROR_FILE, TrainingOrder, TrainingOutcome
from spare_assets.training.process_group import LIFELINE_VARIABLE, last_lines, run_group, training_command
from spare_assets.training.program import REFUSED
from spare_assets.training.reports import LOG_FILE, StepRecord, TrainingBeat, read_log
from spare_assets.training.row_batches import row_key
from spare_assets.training.saved_states import KEPT
from spare_assets_tests.engines.small_models import save_vision_model
from spare_assets_tests.training.small_rows import recipe, write_table

TRAIN_ROWS, HELD_OUT_ROWS = 40, 6
STEPS = 24
STEPS_PER_EPOCH = 5
SAVE_STEPS = 4
CHOSEN: dict[str, Any] = {
    "batch_size": 8,
    "micro_batch_size": 4,
    "epochs": 9,
    "max_steps": STEPS,
    "warmup_steps": 3,
    "dropout": 0.2,
    "save_steps": SAVE_STEPS,
    "log_steps": 5,
    "max_length": 128,
}
RELATIVE = 1e-4
"""How far losses may be from those of an unbroken run, and those of two processes from one's; float32 on the CPU."""


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        yield


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model, pictures, and two tables: one whose pictures all decode, one with a bad one in either part."""
    import torch

    install()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("ground")
    save_vision_model(folder / "base")
    rows = []
    for index in range(TRAIN_ROWS + HELD_OUT_ROWS):
        picture = folder / f"{index}.png"
        render(make_scene(index)).resize((56, 56)).save(picture)
        turns = [("Where is the cat? " * (1 + index % 3), "It is under the chair. " * (1 + index % 2))] * (
            1 + index % 2
        )
        part = "train" if index < TRAIN_ROWS else "held_out"
        rows.append({"part": part, "turns": turns, "image_path": str(picture), "width": 56, "height": 56})
    write_table(folder / "good.parquet", rows)
    bad = folder / "bad.png"
    bad.write_bytes((folder / "0.png").read_bytes()[:200])
    for index in (7, TRAIN_ROWS + 2):
        rows[index] = {**rows[index], "image_path": str(bad)}
    write_table(folder / "bad.parquet", rows)
    return folder


def make_order(ground: Path, folder: Path, table: str = "good", **changes: Any) -> TrainingOrder:
    chosen = recipe(**(CHOSEN | changes))
    record = {"dataset_version": "1234abcd", "note": "<b>"}
    work, output = folder / "work", folder / "models" / "small"
    return TrainingOrder("small", ground / "base", ground / f"{table}.parquet", work, output, 3, chosen, record)


def run(
    order: TrainingOrder, tick: Callable[[], None] = lambda: None, environment: dict[str, str] | None = None
) -> tuple[int, str]:
    """Exit code and last words of a program carrying out the order."""
    command = training_command(order.save(), order.recipe)
    code = run_group(command, environment or {}, tick, order.work / "printed.txt", interval=0.01)
    return code, last_lines(order.work / "printed.txt")


def finish(order: TrainingOrder) -> tuple[TrainingOutcome, list[StepRecord]]:
    code, words = run(order)
    assert code == 0, words
    return TrainingOutcome.load(order.output), list(read_log(order.output / LOG_FILE))


def last_step(order: TrainingOrder) -> int:
    log = order.work / LOG_FILE
    return max((record.step for record in read_log(log)), default=0) if log.exists() else 0


def killer(order: TrainingOrder, steps: int, pause: float) -> Callable[[], None]:
    """Kills the program outright once it has gone so many steps further, and a moment."""
    log = order.work / LOG_FILE
    written = log.stat().st_mtime_ns if log.exists() else 0

    def tick() -> None:
        if log.exists() and log.stat().st_mtime_ns != written and last_step(order) >= steps:
            time.sleep(pause)
            for child in psutil.Process().children():
                if child.status() != psutil.STATUS_ZOMBIE and str(order.work) in " ".join(child.cmdline()):
                    child.kill()

    return tick


def members(mark: Path) -> list[psutil.Process]:
    """Live processes of a run that was started from under this folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("TEST_RUN") == str(mark) and LIFELINE_VARIABLE in process.environ():
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def assert_same_course(one: list[StepRecord], other: list[StepRecord]) -> None:
    assert [record.step for record in one] == [record.step for record in other] == list(range(1, STEPS + 1))
    for name in ("rows_hash", "tokens", "answer_tokens", "unreadable"):
        assert [getattr(record, name) for record in one] == [getattr(record, name) for record in other], name
    for name in ("loss", "learning_rate"):
        expected = pytest.approx([getattr(record, name) for record in one], rel=RELATIVE)
        assert [getattr(record, name) for record in other] == expected, name


@pytest.fixture(scope="module")
def unbroken(ground: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingOrder, list[dict[str, Any]]]:
    """An order carried out in one go, and the Pipes messages that came of it."""
    order = make_order(ground, tmp_path_factory.mktemp("unbroken"))
    messages = order.work.parent / "messages"
    context: dict[str, Any] = {"asset_keys": None, "extras": {}, "run_id": "r", "job_name": None, "retry_number": 0}
    context |= dict.fromkeys(
        ("code_version_by_asset_key", "provenance_by_asset_key", "partition_key", "partition_key_range")
    )
    context |= {"partition_time_window": None}
    environment = {
        dagster_pipes.DAGSTER_PIPES_CONTEXT_ENV_VAR: dagster_pipes.encode_param({"data": context}),
        dagster_pipes.DAGSTER_PIPES_MESSAGES_ENV_VAR: dagster_pipes.encode_param({"path": str(messages)}),
    }
    code, words = run(order, environment=environment)
    assert code == 0, words
    return order, [json.loads(line) for line in messages.read_text().splitlines()]


@pytest.fixture(scope="module")
def with_bad_rows(ground: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingOrder:
    """An order on a table with pictures that don't decode, carried out by one process without dropout."""
    order = make_order(ground, tmp_path_factory.mktemp("one"), "bad", dropout=0.0)
    finish(order)
    return order


def test_a_model_is_left_behind_whole(unbroken: tuple[TrainingOrder, list[dict[str, Any]]]) -> None:
    order, _ = unbroken
    outcome = TrainingOutcome.load(order.output)
    assert (outcome.steps, outcome.rows, outcome.resumed_at) == (STEPS, TRAIN_ROWS, 0)
    assert (outcome.too_long, outcome.unreadable) == (0, 0)
    assert outcome.peak_memory_bytes > 10_000_000
    log = list(read_log(order.output / LOG_FILE))
    assert outcome.answer_tokens == sum(record.answer_tokens for record in log) < outcome.tokens
    assert log[-1].loss < 0.8 * log[0].loss
    last = log[-5:]
    tokens = sum(record.answer_tokens for record in last)
    assert outcome.training_loss == pytest.approx(sum(record.loss * record.answer_tokens for record in last) / tokens)
    assert json.loads((order.output / "training.json").read_text()) == order.record
    assert "1234abcd" in (order.output / "README.md").read_text()
    assert (order.output / "model.safetensors").is_file()
    assert not (order.work / "states").exists() and not (order.work / "rows").exists()
    assert [path.name for path in order.output.parent.iterdir()] == ["small"]


def test_every_epoch_sees_every_row_once(unbroken: tuple[TrainingOrder, list[dict[str, Any]]]) -> None:
    hashes = [int(record.rows_hash, 16) for record in read_log(unbroken[0].output / LOG_FILE)]
    every = sum(row_key(f"row-{index}") for index in range(TRAIN_ROWS)) % 2**64
    epochs = [hashes[at : at + STEPS_PER_EPOCH] for at in range(0, STEPS, STEPS_PER_EPOCH)]
    assert [sum(epoch) % 2**64 for epoch in epochs[:-1]] == [every] * (len(epochs) - 1)
    assert len({tuple(epoch) for epoch in epochs}) == len(epochs), "every epoch has an order of its own"


def test_the_learning_rate_warms_up_and_falls(unbroken: tuple[TrainingOrder, list[dict[str, Any]]]) -> None:
    rates = [record.learning_rate for record in read_log(unbroken[0].output / LOG_FILE)]
    assert rates[:4] == pytest.approx([0, 1e-3 / 3, 2e-3 / 3, 1e-3])
    assert rates[3:] == sorted(rates[3:], reverse=True)
    assert rates[-1] < 2e-5


def test_held_out_loss_is_the_mean_over_answer_tokens(with_bad_rows: TrainingOrder) -> None:
    """Recomputed from the stored model, row by row; the row whose picture does not decode counts in nothing."""
    import torch
    from transformers import Qwen2VLForConditionalGeneration, Qwen2VLProcessor

    from spare_assets.training.collator import AnswerOnlyCollator
    from spare_assets.training.rows import TrainingRows

    order = with_bad_rows
    model = Qwen2VLForConditionalGeneration.from_pretrained(order.output).eval()
    processor = Qwen2VLProcessor.from_pretrained(order.output)
    rows = TrainingRows(order.rows, "held_out", processor, order.recipe, order.work / "again")
    collate = AnswerOnlyCollator(processor, order.recipe)
    losses = []
    for index in range(len(rows)):
        if rows[index].image_path.name != "bad.png":
            batch = collate([rows[index]])
            labels = batch.pop("labels")
            with torch.no_grad():
                logits = model(**batch).logits
            losses.append(torch.nn.functional.cross_entropy(logits[0, :-1], labels[0, 1:], reduction="none"))
            losses[-1] = losses[-1][labels[0, 1:] != -100]
    assert len(losses) == HELD_OUT_ROWS - 1
    assert TrainingOutcome.load(order.output).held_out_loss == pytest.approx(float(torch.cat(losses).mean()), rel=1e-4)


def test_beats_go_through_pipes(unbroken: tuple[TrainingOrder, list[dict[str, Any]]]) -> None:
    order, messages = unbroken
    assert {message["method"] for message in messages} == {"opened", "report_custom_message", "closed"}
    told = [message["params"]["payload"] for message in messages if message["method"] == "report_custom_message"]
    beats = [TrainingBeat(**message["beat"]) for message in told if "beat" in message]
    assert [beat.step for beat in beats] == [1, 5, 10, 15, 20, STEPS]
    assert {beat.total for beat in beats} == {STEPS}
    assert all(beat.tokens_per_second > 0 and beat.memory_bytes > 0 for beat in beats)
    assert beats[-1].seconds_left == 0 < beats[0].seconds_left
    log = list(read_log(order.output / LOG_FILE))
    assert beats[0].loss == log[0].loss
    assert min(record.loss for record in log[1:5]) <= beats[1].loss <= max(record.loss for record in log[1:5])
    assert any("notice" in message for message in told)


def test_what_is_finished_is_not_trained_again(unbroken: tuple[TrainingOrder, list[dict[str, Any]]]) -> None:
    order, _ = unbroken
    before = {path: path.stat().st_mtime_ns for path in order.output.iterdir()}
    code, words = run(order)
    assert (code, "already trained" in words) == (0, True)
    assert {path: path.stat().st_mtime_ns for path in order.output.iterdir()} == before


@pytest.mark.slow
def test_a_killed_training_goes_on_as_if_nothing_had_been(
    ground: Path, tmp_path: Path, unbroken: tuple[TrainingOrder, list[dict[str, Any]]]
) -> None:
    order = make_order(ground, tmp_path)
    states = order.work / "states"
    chance = random.Random(5)
    for steps in (6, 13, 19):
        code, words = run(order, killer(order, steps, chance.uniform(0, 0.15)))
        assert code == -signal.SIGKILL, words
        assert last_step(order) >= steps
        whole = sorted(int(path.parent.name.partition("-")[2]) for path in states.glob("*/whole.json"))
        # One more than is kept, where death came between a new state and the removal of the oldest.
        assert 1 <= len(whole) <= KEPT + 1
        assert whole[-1] >= steps - SAVE_STEPS
        # What a death in the midst of saving leaves: a state without its manifest, and one cut short.
        newest = states / f"checkpoint-{whole[-1]}"
        shutil.copytree(newest, states / "checkpoint-22", ignore=shutil.ignore_patterns("whole.json"))
        shutil.copytree(newest, states / "checkpoint-23")
        os.truncate(states / "checkpoint-23" / "optimizer.pt", 100)
    outcome, log = finish(order)
    assert outcome.resumed_at == whole[-1]
    assert_same_course(list(read_log(unbroken[0].output / LOG_FILE)), log)
    expected = TrainingOutcome.load(unbroken[0].output)
    assert outcome.held_out_loss == pytest.approx(expected.held_out_loss, rel=RELATIVE)
    assert (outcome.tokens, outcome.answer_tokens) == (expected.tokens, expected.answer_tokens)
    assert outcome.seconds > expected.seconds / 3


def test_a_picture_that_does_not_decode_stops_nothing(with_bad_rows: TrainingOrder) -> None:
    outcome = TrainingOutcome.load(with_bad_rows.output)
    log = list(read_log(with_bad_rows.output / LOG_FILE))
    assert outcome.unreadable == 2
    replaced = [record for record in log if record.unreadable]
    assert 4 <= len(replaced) <= 5
    assert {row for record in replaced for row in record.unreadable} == {"row-7"}
    assert "bad.png" in replaced[0].unreadable["row-7"]
    # The next row stands in: seen twice in an epoch.
    epoch = sum(int(record.rows_hash, 16) for record in log[:STEPS_PER_EPOCH])
    every = sum(row_key(f"row-{index if index != 7 else 8}") for index in range(TRAIN_ROWS))
    assert epoch % 2**64 == every % 2**64


@pytest.mark.slow
def test_two_processes_follow_one_and_die_with_their_parent(
    ground: Path, tmp_path: Path, with_bad_rows: TrainingOrder
) -> None:
    """The same effective batches and losses within 1e-4, loaders, a killed parent and a resume in between."""
    config = tmp_path / "accelerate.yaml"
    described = {"compute_environment": "LOCAL_MACHINE", "distributed_type": "MULTI_GPU", "num_processes": 2}
    config.write_text(yaml.safe_dump({**described, "num_machines": 1, "machine_rank": 0, "mixed_precision": "no"}))
    shared = {"dropout": 0.0, "micro_batch_size": 2, "loader_processes": 1, "accelerate_config": str(config)}
    order = make_order(ground, tmp_path, "bad", **shared)
    parent_code = (
        "import sys; from pathlib import Path; from spare_assets.training.process_group import *;"
        "from spare_assets.training.order import TrainingOrder; file = Path(sys.argv[1]);"
        "command = training_command(file, TrainingOrder.load(file).recipe);"
        "run_group(command, {}, lambda: None, file.with_name('printed.txt'))"
    )
    environment = {**os.environ, "TEST_RUN": str(tmp_path)}
    parent = subprocess.Popen([sys.executable, "-c", parent_code, str(order.save())], env=environment)
    until = time.monotonic() + 60
    # Past the first epoch: what order a resumed epoch has must not depend on how many resume it.
    while last_step(order) < 2 * SAVE_STEPS + 1:
        assert time.monotonic() < until, last_lines(order.work / "printed.txt")
        time.sleep(0.02)
    assert len(members(tmp_path)) >= 7, "a launcher, two ranks, a loader and a watcher of each"
    parent.kill()
    parent.wait()
    until = time.monotonic() + 8
    while members(tmp_path) and time.monotonic() < until:
        time.sleep(0.1)
    assert not members(tmp_path)
    outcome, log = finish(order)
    assert outcome.resumed_at >= SAVE_STEPS
    assert_same_course(list(read_log(with_bad_rows.output / LOG_FILE)), log)
    expected = TrainingOutcome.load(with_bad_rows.output)
    assert outcome.held_out_loss == pytest.approx(expected.held_out_loss, rel=RELATIVE)
    assert outcome.unreadable == expected.unreadable


def test_a_batch_that_cannot_be_shared_is_refused(ground: Path, tmp_path: Path) -> None:
    order = make_order(ground, tmp_path)
    code, words = run(order, environment={"WORLD_SIZE": "3", "RANK": "0"})
    assert code == REFUSED
    assert words.startswith("batch_size 8 cannot be shared among 3 processes")
    assert "Traceback" not in words
    assert (order.work / ERROR_FILE).read_text().strip() == words


def test_what_is_in_the_way_is_left_alone(ground: Path, tmp_path: Path) -> None:
    order = make_order(ground, tmp_path)
    order.output.mkdir(parents=True)
    (order.output / "thesis.tex").write_text("years of work")
    code, words = run(order)
    assert (code, "is in the way" in words) == (REFUSED, True)
    assert [path.name for path in order.output.iterdir()] == ["thesis.tex"]


def test_a_request_to_end_is_heard_at_any_time(ground: Path, tmp_path: Path) -> None:
    """Here while libraries are still being imported; a test of the process group sees to those who don't listen."""
    order = replace(make_order(ground, tmp_path), seed=4)
    started = time.monotonic()

    class EnoughError(Exception):
        pass

    def tick() -> None:
        if time.monotonic() - started > 2:
            raise EnoughError

    with pytest.raises(EnoughError):
        run(order, tick)
    assert time.monotonic() - started < 6
    assert not order.output.exists()
