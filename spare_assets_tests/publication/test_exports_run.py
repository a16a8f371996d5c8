"""Exports as assets of a real run over small sandbox sources, with and without pictures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from spare_assets.cli.materialize import Materialization
from spare_assets.orchestration.instance import open_instance
from spare_assets.publication import assets
from spare_assets.publication.export_formats import LLAVA, PARQUET
from spare_assets.settings import Home, load_settings, open_home
from spare_assets.storage.tables import TableStore
from spare_assets.training.samples import part_of
from spare_assets_tests.profiles import sandbox_profile

EXPORTS = ("parquet", "llava", "llama_factory", "ms_swift", "trl", "webdataset")
SELECTION = " or ".join(f"{name}_export" for name in EXPORTS)
HELD_OUT = 0.2


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with the dataset and all exports of it."""
    folder = tmp_path_factory.mktemp("exports")
    profile = sandbox_profile(folder, scenes=20, training={"held_out_share": HELD_OUT})
    home = open_home(str(profile), folder / "home").claim()
    assert Materialization(home, f"+spare_dataset or ({SELECTION})").execute()
    return home


@pytest.fixture
def copied(finished: Home, tmp_path: Path) -> Home:
    shutil.copytree(finished.path, tmp_path / "home")
    (tmp_path / "home" / "dagster" / "dagster.yaml").unlink(missing_ok=True)
    return Home(tmp_path / "home", finished.settings)


def dataset(home: Home) -> pl.DataFrame:
    return TableStore(home.tables).scan("spare_dataset").collect()


def test_every_export_holds_every_pair_once(finished: Home) -> None:
    store, rows = TableStore(finished.tables), dataset(finished)
    for name in EXPORTS:
        files = store.scan(f"{name}_export").collect()
        assert files["pairs"].sum() == rows["pairs"].list.len().sum() > 0, name
        assert set(files["part"]) == {"train", "held_out"}
        assert all((finished.exports / name / file).is_file() for file in files["file"])
    by_part: dict[str, list[str]] = {
        part: [
            pair_id
            for entry in json.loads((finished.exports / "llava" / f"{part}.json").read_text(encoding="utf-8"))
            for pair_id in entry["pair_ids"]
        ]
        for part in ("train", "held_out")
    }
    for part, found in by_part.items():
        marked = rows.with_columns(
            part=pl.col("image_id").map_elements(lambda image: part_of(image, HELD_OUT), return_dtype=pl.String)
        )
        expected = marked.filter(part=part).explode("pairs").unnest("pairs")["pair_id"].to_list()
        assert sorted(found) == sorted(expected) and len(found) == len(set(found))


def test_the_asset_page_says_what_was_written(finished: Home) -> None:
    with open_instance(finished) as instance:
        event = instance.get_latest_materialization_event(assets.dg.AssetKey("trl_export"))
    assert event and event.asset_materialization
    metadata = event.asset_materialization.metadata
    rows = dataset(finished)
    assert metadata["pairs"].value == metadata["rows"].value == rows["pairs"].list.len().sum()
    assert metadata["images"].value == rows["image_sha256"].n_unique()
    assert metadata["folder"].value == str(finished.exports / "trl")
    assert metadata["bytes"].value == sum(p.stat().st_size for p in (finished.exports / "trl").rglob("*.parquet"))
    assert str(finished.exports / "trl") in str(metadata["how_to_load"].value)


def test_exports_again_are_the_same_and_leave_nothing_behind(copied: Home) -> None:
    store = TableStore(copied.tables)
    before = {name: store.scan(f"{name}_export").collect() for name in EXPORTS}
    (copied.exports / "llava" / "stray").write_text("of an earlier run")
    assert Materialization(copied, SELECTION).execute()
    for name in EXPORTS:
        assert store.scan(f"{name}_export").collect().equals(before[name])
    assert sorted(path.name for path in copied.exports.iterdir()) == sorted(EXPORTS)
    assert not (copied.exports / "llava" / "stray").exists()


def test_pictures_come_along_when_asked_and_parts_are_one_when_not(copied: Home, tmp_path: Path) -> None:
    profile = sandbox_profile(tmp_path, scenes=20, exports={"with_images": True, "held_out": False})
    home = Home(copied.path, load_settings(str(profile)))
    assert Materialization(home, "parquet_export or llava_export").execute()
    store, rows = TableStore(home.tables), dataset(home)
    assert set(store.scan("parquet_export").collect()["part"]) == {"train"}
    stored = pl.read_parquet(home.exports / PARQUET.name / "data" / "*.parquet")
    assert stored["image"].struct.field("bytes").null_count() == 0
    assert stored["caption_id"].to_list() == rows["caption_id"].to_list()
    copies = [path for path in (home.exports / LLAVA.name / "images").rglob("*") if path.is_file()]
    assert {path.stem for path in copies} == set(rows["image_sha256"])


def test_a_lost_pair_is_not_published(copied: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (copied.exports / "llava" / "train.json").read_bytes()
    batches = assets.read_batches
    monkeypatch.setattr(assets, "read_batches", lambda path, size: (batch.tail(-1) for batch in batches(path, size)))
    assert not Materialization(copied, "llava_export").execute()
    assert (copied.exports / "llava" / "train.json").read_bytes() == before
    assert sorted(path.name for path in copied.exports.iterdir()) == sorted(EXPORTS)
