"""Which saved states count, and which are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from spare_assets.training.saved_states import SavedStates


@pytest.fixture
def states(tmp_path: Path) -> SavedStates:
    saved = SavedStates(tmp_path / "states")
    for step in (5, 10):
        save(saved, step)
    return saved


def save(states: SavedStates, step: int, *, whole: bool = True) -> Path:
    folder = states.folder / f"checkpoint-{step}"
    (folder / "shard").mkdir(parents=True)
    (folder / "weights").write_text("w" * step)
    (folder / "shard" / "optimizer").write_text("o" * step)
    if whole:
        states.complete(step)
    return folder


def names(states: SavedStates) -> list[str]:
    return sorted(path.name for path in states.folder.iterdir())


def test_there_may_be_none(tmp_path: Path) -> None:
    states = SavedStates(tmp_path / "states")
    states.drop_torn()
    assert states.newest() is None


def test_the_last_two_are_kept(states: SavedStates) -> None:
    save(states, 100)
    assert names(states) == ["checkpoint-10", "checkpoint-100"]
    assert states.newest() == (100, states.folder / "checkpoint-100")


def test_a_state_counts_when_it_is_declared_whole(states: SavedStates) -> None:
    save(states, 15, whole=False)
    assert states.newest() == (10, states.folder / "checkpoint-10")
    states.drop_torn()
    assert names(states) == ["checkpoint-10", "checkpoint-5"]


@pytest.mark.parametrize("damage", ["cut", "lost", "manifest"])
def test_a_damaged_state_does_not_count(states: SavedStates, damage: str) -> None:
    newest = states.folder / "checkpoint-10"
    if damage == "cut":
        (newest / "shard" / "optimizer").write_text("o")
    elif damage == "lost":
        (newest / "weights").unlink()
    else:
        (newest / "whole.json").write_text('{"weights": 1')
    assert states.newest() == (5, states.folder / "checkpoint-5")
    states.drop_torn()
    assert names(states) == ["checkpoint-5"]


def test_foreign_files_are_left_alone(states: SavedStates) -> None:
    (states.folder / "checkpoint-old").mkdir()
    (states.folder / "notes.txt").write_text("mine")
    states.drop_torn()
    assert "notes.txt" in names(states) and "checkpoint-old" in names(states)
