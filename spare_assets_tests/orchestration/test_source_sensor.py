"""The sensor on the files of sources: one change, one request, of the source it is in."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import pytest

from spare_assets.captions import assets as captions
from spare_assets.definitions import build_defs
from spare_assets.orchestration.source_sensor import build
from spare_assets.settings import Home
from spare_assets.storage.tables import TableStore

JOB = "dataset_of_one_source"
COLUMNS = {"caption": "text", "id": "name"}


@dataclass
class Ticks:
    """Ticks of the sensor of a home, each with the cursor that the last one left."""

    home: Home
    instance: dg.DagsterInstance
    cursor: str | None = None
    reasons: list[str] = field(default_factory=list)

    def tick(self) -> list[str]:
        """The partitions that a tick requests."""
        job = dg.define_asset_job(JOB, selection="*")
        defs = dg.Definitions(assets=captions_of(self.home), jobs=[job], sensors=[build(self.home, job)])
        repository = defs.get_repository_def()
        context = dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, repository_def=repository, sensor_name="source_files"
        )
        told = repository.get_sensor_def("source_files").evaluate_tick(context)
        self.cursor = told.cursor
        self.reasons = (told.skip_message or "").splitlines()
        keys = [request.run_key for request in told.run_requests or ()]
        assert len(set(keys)) == len(keys)
        self.run_keys = keys
        return [str(request.partition_key) for request in told.run_requests or ()]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def write(path: Path, *captions: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"name": f"{path.stem}-{number}", "text": text} for number, text in enumerate(captions)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def touch(path: Path, seconds: float) -> None:
    """Move a file's time by so many seconds."""
    moved = path.stat().st_mtime + seconds
    os.utime(path, (moved, moved))


@pytest.fixture
def corpora(tmp_path: Path) -> Path:
    for key in ("mountains", "rivers"):
        touch(write(tmp_path / "corpora" / key / "one.jsonl", f"The {key} lie left of the house."), -1000)
        (tmp_path / "corpora" / key / "pictures").mkdir()
        touch(tmp_path / "corpora" / key / "pictures", -1000)
    return tmp_path / "corpora"


@pytest.fixture
def watched(make_home: Callable[..., Home], corpora: Path, instance: dg.DagsterInstance) -> Ticks:
    """Two sources whose captions are read, and the sensor after its first tick."""
    home = home_of(make_home, corpora, "mountains", "rivers")
    for key in home.settings.sources:
        read_captions(home, instance, key)
    ticks = Ticks(home, instance)
    assert ticks.tick() == []
    return ticks


def home_of(make_home: Callable[..., Home], corpora: Path, *keys: str) -> Home:
    sources = {
        key: {
            "format": "table",
            "files": [f"{key}/*.jsonl"],
            "columns": COLUMNS,
            "image_folders": {"default": f"{key}/pictures"},
        }
        for key in keys
    }
    return make_home(name="home", sources=sources, data=str(corpora))


def captions_of(home: Home) -> list[dg.AssetsDefinition]:
    """The asset that reads captions, which is all that a sensor on files goes by."""
    return captions.build(home, dg.StaticPartitionsDefinition(list(home.settings.sources)))[:1]


def read_captions(home: Home, instance: dg.DagsterInstance, key: str) -> None:
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    result = dg.materialize(captions_of(home), partition_key=key, instance=instance, run_config=quiet, resources={})
    assert result.success


def test_touching_one_file_requests_its_source_exactly_once(watched: Ticks, corpora: Path) -> None:
    touch(corpora / "mountains" / "one.jsonl", 2000)
    requested = [watched.tick() for _ in range(5)]
    assert requested == [[], ["mountains"], [], [], []]


def test_a_tick_says_why_it_requests_nothing(watched: Ticks, corpora: Path) -> None:
    assert watched.tick() == [] and watched.reasons == ["no source has new or changed files"]
    touch(corpora / "rivers" / "one.jsonl", 2000)
    assert watched.tick() == []
    assert watched.reasons == ["rivers: its files changed; requested once they stand still until the next tick"]


def test_the_same_tick_again_makes_the_same_run_key(watched: Ticks, corpora: Path) -> None:
    touch(corpora / "mountains" / "one.jsonl", 2000)
    watched.tick()
    cursor = watched.cursor
    watched.tick()
    first = watched.run_keys
    watched.cursor = cursor
    watched.tick()
    assert watched.run_keys == first, "a daemon that dies before it stored the cursor requests nothing twice"


def test_a_file_that_is_put_back_as_it_was_is_requested_again(watched: Ticks, corpora: Path) -> None:
    keys = []
    for seconds in (2000, 10, -10, 10):
        touch(corpora / "mountains" / "one.jsonl", seconds)
        assert [watched.tick(), watched.tick()] == [[], ["mountains"]]
        keys += watched.run_keys
    assert len(set(keys)) == 4


def test_a_file_that_is_added_counts_for_its_source(watched: Ticks, corpora: Path) -> None:
    write(corpora / "rivers" / "two.jsonl", "The boat is right of the bridge.")
    assert [watched.tick(), watched.tick(), watched.tick()] == [[], ["rivers"], []]
    (corpora / "rivers" / "two.jsonl").unlink()
    assert [watched.tick(), watched.tick(), watched.tick()] == [[], ["rivers"], []]


def test_a_file_still_being_written_waits(watched: Ticks, corpora: Path) -> None:
    path = corpora / "mountains" / "one.jsonl"
    for number in range(3):
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"name": f"more-{number}", "text": "A tree stands behind the gate."}) + "\n")
        assert watched.tick() == []
    assert [watched.tick(), watched.tick()] == [["mountains"], []]


def test_a_picture_that_is_added_counts_for_its_source(watched: Ticks, corpora: Path) -> None:
    (corpora / "rivers" / "pictures" / "new.png").write_bytes(b"a picture")
    assert [watched.tick(), watched.tick(), watched.tick()] == [[], ["rivers"], []]


def test_a_run_by_hand_settles_a_change(watched: Ticks, corpora: Path) -> None:
    write(corpora / "rivers" / "one.jsonl", "The boat is right of the bridge.", "A duck swims below it.")
    assert watched.tick() == []
    read_captions(watched.home, watched.instance, "rivers")
    assert [watched.tick(), watched.tick()] == [[], []]


def test_what_changed_while_it_was_read_is_read_again(watched: Ticks, corpora: Path) -> None:
    write(corpora / "rivers" / "one.jsonl", "The boat is right of the bridge.")
    table = TableStore(watched.home.tables).path("captions", "rivers")
    touch(table, 1000)  # as if a run that began before the change had published after it
    assert [watched.tick(), watched.tick(), watched.tick()] == [[], ["rivers"], []]


def test_a_new_file_may_be_older_than_the_captions(watched: Ticks, corpora: Path) -> None:
    touch(write(corpora / "rivers" / "two.jsonl", "The boat is right of the bridge."), -5000)
    assert [watched.tick(), watched.tick(), watched.tick()] == [[], ["rivers"], []]


def test_the_first_tick_requests_only_what_is_not_read(
    make_home: Callable[..., Home], corpora: Path, instance: dg.DagsterInstance
) -> None:
    home = home_of(make_home, corpora, "mountains", "rivers")
    read_captions(home, instance, "mountains")
    ticks = Ticks(home, instance)
    assert [ticks.tick(), ticks.tick(), ticks.tick()] == [[], ["rivers"], []]
    touch(corpora / "mountains" / "one.jsonl", 2000)
    afresh = Ticks(home, instance, cursor="not what this sensor writes")
    assert afresh.tick() == []
    assert sorted(afresh.tick()) == ["mountains", "rivers"]


def test_files_that_are_missing_stop_no_other_source(watched: Ticks, corpora: Path) -> None:
    (corpora / "rivers" / "one.jsonl").rename(corpora / "rivers" / "one.moved")
    touch(corpora / "mountains" / "one.jsonl", 2000)
    assert watched.tick() == []
    assert any("no such file (setting `sources.rivers.files`)" in reason for reason in watched.reasons)
    assert watched.tick() == ["mountains"]
    (corpora / "rivers" / "one.moved").rename(corpora / "rivers" / "one.jsonl")
    assert [watched.tick(), watched.tick(), watched.tick()] == [[], [], []], "they are back as they were read"


def test_an_empty_file_is_one_being_written(watched: Ticks, corpora: Path) -> None:
    (corpora / "rivers" / "two.jsonl").touch()
    assert [watched.tick(), watched.tick()] == [[], []]
    assert "is empty (0 bytes)" in watched.reasons[0]


def test_a_source_that_is_deleted_is_forgotten(
    watched: Ticks, make_home: Callable[..., Home], corpora: Path, instance: dg.DagsterInstance
) -> None:
    fewer = Ticks(home_of(make_home, corpora, "mountains"), instance, cursor=watched.cursor)
    assert fewer.tick() == []
    assert set(json.loads(fewer.cursor or "")) == {"mountains"}
    again = Ticks(home_of(make_home, corpora, "mountains", "rivers"), instance, cursor=fewer.cursor)
    assert [again.tick(), again.tick()] == [[], []], "its captions are still those of its files"


def test_files_that_a_run_renders_request_nothing(make_home: Callable[..., Home], instance: dg.DagsterInstance) -> None:
    home = make_home(scenes=10)
    ticks = Ticks(home, instance)
    assert [ticks.tick(), ticks.tick()] == [[], []], "there are no files, and nothing to say of it"
    read_captions(home, instance, "docci")
    assert [ticks.tick(), ticks.tick(), ticks.tick()] == [[], [], []]
    touch(home.data / "docci" / "docci_descriptions.jsonlines", 60)
    assert [ticks.tick(), ticks.tick(), ticks.tick()] == [[], ["docci"], []]


def test_the_sensor_is_off_until_turned_on_and_looks_every_half_minute(make_home: Callable[..., Home]) -> None:
    sensor = build_defs(home=make_home()).get_repository_def().get_sensor_def("source_files")
    assert sensor.default_status == dg.DefaultSensorStatus.STOPPED
    assert sensor.minimum_interval_seconds == 30
    assert sensor.job_name == JOB
