"""The log of steps survives its writer's death, and beats read as a line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from spare_assets.training.reports import StepRecord, TrainingBeat, TrainingLog, read_log

RECORD = StepRecord(1, 2.5, 1e-5, 0.7, "00ff", 100, 20, 1_000_000, 1.5, {"row-ä": "why\nnot"})


def test_steps_come_back_as_written(tmp_path: Path) -> None:
    log = TrainingLog(tmp_path / "log.jsonl", 0)
    log.append(RECORD)
    log.sync()
    assert list(read_log(tmp_path / "log.jsonl")) == [RECORD]


def test_steps_after_the_state_are_dropped_and_a_torn_line_with_them(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = TrainingLog(path, 0)
    for step in range(1, 6):
        log.append(replace(RECORD, step=step))
    with path.open("ab") as file:
        file.write(b'{"step": 6, "lo\xff\x00')
    resumed = TrainingLog(path, 3)
    assert [record.step for record in resumed.records] == [1, 2, 3]
    resumed.append(replace(RECORD, step=4, loss=0.5))
    assert [(record.step, record.loss) for record in read_log(path)] == [(1, 2.5), (2, 2.5), (3, 2.5), (4, 0.5)]


def test_a_beat_is_a_line() -> None:
    beat = TrainingBeat("training", 10, 2000, 1.23456, 3e-5, 0.5, 12_345.6, 2_500_000_000, 60.0, 3725.0)
    assert str(beat) == (
        "training: 10/2,000, loss 1.2346, learning rate 3e-05, gradient norm 0.5, "
        "12,346 tokens/s, 2.50 GB, 1:02:05 left"
    )
    quiet = replace(beat, phase="held out", learning_rate=None, gradient_norm=None)
    assert str(quiet) == "held out: 10/2,000, loss 1.2346, 12,346 tokens/s, 2.50 GB, 1:02:05 left"
