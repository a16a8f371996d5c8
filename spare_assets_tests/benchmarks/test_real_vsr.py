"""The real VSR statements on the real photographs beside the project, asked of the sandbox's model and scored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from spare_assets.cli.materialize import Materialization
from spare_assets.settings import Home, open_home
from spare_assets.storage.tables import TableStore
from spare_assets_tests.profiles import sandbox_profile

MODELS = {
    "plain": {"kind": "base", "model": "sandbox"},
    "scenes": {"kind": "base", "model": "sandbox", "dialect": "scenes"},
}


@pytest.fixture(scope="module")
def statements(real_data: Path) -> list[dict[str, Any]]:
    """The zero-shot statements whose photographs are there, and those of the random split that come with them."""
    splits, photos = real_data / "vsr" / "splits" / "zeroshot", real_data / "coco_photos"
    if not (splits.is_dir() and photos.is_dir()):
        pytest.skip("the VSR statements or the COCO photographs are not beside the project")
    lines = [line for path in sorted(splits.glob("*.jsonl")) for line in path.read_text("utf-8").splitlines()]
    zero_shot = [record for line in lines if (photos / (record := json.loads(line))["image"]).is_file()]
    assert zero_shot
    known = {record["caption"] for record in zero_shot}
    others = []
    for line in (photos / "manifest.jsonl").read_text("utf-8").splitlines():
        photo = json.loads(line)
        others += [{"image": photo["file"], **said} for said in photo["vsr"] if said["caption"] not in known]
    return [*zero_shot, *others]


@pytest.fixture(scope="module")
def scored(real_data: Path, statements: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Home:
    folder = tmp_path_factory.mktemp("real-vsr")
    records = folder / "statements.jsonl"
    records.write_text("".join(f"{json.dumps(record)}\n" for record in statements), encoding="utf-8")
    vsr = {"file": str(records), "images": str((real_data / "coco_photos").resolve())}
    profile = sandbox_profile(folder, scenes=1, models=MODELS, benchmarks={"vsr": vsr})
    home = open_home(str(profile), folder / "home").claim()
    assert Materialization(home, "checkpoint or vsr_score").execute()
    return home


@pytest.mark.parametrize("model", MODELS)
def test_every_statement_is_asked_and_graded(scored: Home, statements: list[dict[str, Any]], model: str) -> None:
    found = TableStore(scored.tables).scan("vsr_predictions", model).collect()
    said = {row["item"]: row for row in found.iter_rows(named=True)}
    assert set(said) == {str(line) for line in range(1, len(statements) + 1)}
    for line, record in enumerate(statements, start=1):
        row = said[str(line)]
        assert (row["question"], row["category"]) == (record["caption"], record["relation"])
        assert row["answers"] == [("false", "true")[record["label"]]]
        assert [Path(path).name for path in row["images"]] == [record["image"]]
        assert record["caption"].rstrip(".") in row["prompt"]
        assert row["outcome"] in {"answered", "unparsed", "truncated"}, row["reason"]
        assert row["score"] == float(row["prediction"] in row["answers"])


@pytest.mark.parametrize("model", MODELS)
def test_the_score_is_that_of_the_replies(scored: Home, statements: list[dict[str, Any]], model: str) -> None:
    store = TableStore(scored.tables)
    score = store.scan("vsr_score", model).filter("headline").collect().row(0, named=True)
    mean = store.scan("vsr_predictions", model).select(pl.col("score").mean()).collect().item()
    assert score["metric"] == "accuracy"
    assert score["value"] == pytest.approx(100 * mean)
    assert 0 <= score["low"] <= score["value"] <= score["high"] <= 100
    assert score["units"] == len({record["image"] for record in statements})
    assert score["chance"] == 50
