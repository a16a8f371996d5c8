"""Forecast, cost report and ablations as assets of a real run on small sources."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
import yaml

from spare_assets.cli.materialize import Materialization
from spare_assets.definitions import build_defs
from spare_assets.orchestration.instance import open_instance
from spare_assets.settings import PROFILES, Home, SettingsError, open_home
from spare_assets.storage.ledger import CompletionLedger
from spare_assets.storage.schemas import TABLES
from spare_assets.storage.tables import TableStore, content_hash
from spare_assets_tests.engines.chat_server import ChatServer, error
from spare_assets_tests.profiles import sandbox_profile

SCENES = 60
ASSETS = ("generation_forecast", "generation_ablation", "filter_ablation", "cost_report")
FILTERED = "captions or generation_forecast or spatial_captions or qa_pairs"


def profile(folder: Path, **analyses: Any) -> Path:
    return sandbox_profile(folder, scenes=SCENES, analyses={"forecast": {"minimum": 30}, **analyses})


def materialized(home: Home, assets: Sequence[str]) -> bool:
    return Materialization(home, " or ".join(assets), ()).execute()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with forecasts, then what was forecast, then reports on it."""
    folder = tmp_path_factory.mktemp("engines")
    home = open_home(
        str(profile(folder, ablations={**shipped()["ablations"], "captions": 30})), folder / "home"
    ).claim()
    assert materialized(home, ["captions", "generation_forecast"])
    assert materialized(home, ["spatial_captions", "qa_pairs"])
    assert materialized(home, ["generation_ablation", "filter_ablation", "cost_report"])
    return home


def shipped() -> dict[str, Any]:
    analyses: dict[str, Any] = yaml.safe_load((PROFILES / "sandbox.yaml").read_text(encoding="utf-8"))["analyses"]
    return analyses


def stored(home: Home, task: str, owner: str) -> pl.DataFrame:
    return pl.read_parquet([*CompletionLedger(home.completions, task, owner).files()])


def test_the_forecast_asks_its_sample_and_the_full_run_asks_the_rest(finished: Home) -> None:
    store = TableStore(finished.tables)
    for source in finished.settings.sources:
        for task, table in (("judge_caption", "captions"), ("write_pairs", "spatial_captions")):
            asked = stored(finished, task, source).filter(pl.col("model").str.contains("slips=0.15"))
            assert asked["key"].is_unique().all(), "no caption of the sample was asked about again"
            assert asked.height == store.rows(table, source)


def test_the_forecast_is_of_what_the_run_then_used(finished: Home) -> None:
    store = TableStore(finished.tables)
    report = store.scan("cost_report").filter(purpose="dataset").collect()
    held = []
    for source in finished.settings.sources:
        rows = store.scan("generation_forecast", source).collect()
        for stage in ("spatial_captions", "qa_pairs"):
            used = report.filter(owner=source, stage=stage).row(0, named=True)
            for quantity in ("prompt_tokens", "completion_tokens", "cost"):
                row = rows.filter(stage=stage, quantity=quantity).row(0, named=True)
                assert row["sample"] <= used[quantity] * (1 + 1e-9)
                held.append(row["low"] <= used[quantity] <= row["high"])
        passed = rows.filter(quantity="captions").row(0, named=True)
        held.append(passed["low"] <= store.rows("spatial_captions", source) <= passed["high"])
    assert sum(held) >= 0.9 * len(held)


def test_the_report_counts_every_reply(finished: Home) -> None:
    report = TableStore(finished.tables).scan("cost_report").collect()
    single = report.filter(pl.col("stage") != "total")
    replies = sum(pl.read_parquet(path).height for path in finished.completions.rglob("*.parquet"))
    assert single["requests"].sum() == replies
    assert single.filter(purpose="dataset")["engine"].unique().to_list() == ["analyst"]
    assert set(single.filter(purpose="analyses")["engine"]) == {"analyst", "lenient", "strict"}
    assert single.filter(purpose="dataset")["cost"].null_count() == 0


def test_engines_are_compared_on_the_same_captions(finished: Home) -> None:
    store = TableStore(finished.tables)
    written = store.scan("generation_ablation").filter(kind="measured").collect()
    assert written["engine"].to_list() == ["analyst", "lenient", "strict"]
    assert written["captions"].unique().to_list() == [30]
    by_engine = {row["engine"]: row for row in written.iter_rows(named=True)}
    assert by_engine["strict"]["pairs"] < by_engine["analyst"]["pairs"]
    assert by_engine["strict"]["spatial_relevance"] == 1.0 > by_engine["analyst"]["spatial_relevance"]
    judged = store.scan("filter_ablation").filter(kind="measured").collect()
    assert judged["captions"].unique().to_list() == [30]
    assert judged["labels"].unique().to_list() == ["scenes"], "no person labelled anything here"
    cells = ("true_positives", "false_positives", "false_negatives", "true_negatives")
    assert judged.select(pl.sum_horizontal(cells)).to_series().to_list() == [30] * 3
    recall, precision = (dict(zip(judged["engine"], judged[name], strict=True)) for name in ("recall", "precision"))
    assert recall["lenient"] == 1.0 and precision["strict"] == 1.0


def test_again_nothing_is_asked_and_nothing_changes(finished: Home) -> None:
    files = sorted(finished.completions.rglob("*.parquet"))
    paths = [path for name in ASSETS for path in sorted((finished.tables / name).glob("*.parquet"))]
    before = [content_hash(path) for path in paths]
    assert materialized(finished, ASSETS)
    assert sorted(finished.completions.rglob("*.parquet")) == files
    assert [content_hash(path) for path in paths] == before


def test_peoples_labels_come_before_the_scenes_own(finished: Home) -> None:
    store = TableStore(finished.tables)
    captions = store.scan("captions", "docci").head(6).collect()
    rows = [
        {"caption_id": name, "reviewer": reviewer, "spatial": place != 1, "source": "docci", "judged_spatial": True}
        | {"weight": 2.0}
        for place, name in enumerate(captions["caption_id"])
        for reviewer in ("ann", "bo")
    ]
    gone = [{**rows[0], "caption_id": "docci:gone"}]
    store.publish(
        store.stage("caption_labels", None, pl.DataFrame([*rows, *gone], schema=TABLES["caption_labels"].polars()))
    )
    try:
        result = ran(finished, "filter_ablation")
        assert result.success
        judged = store.scan("filter_ablation").filter(kind="measured").collect()
        assert judged["labels"].unique().to_list() == ["people"]
        assert judged["captions"].unique().to_list() == [6]
        metadata = result.asset_materializations_for_node("filter_ablation")[0].metadata
        assert metadata["labels_without_caption"].value == 1
    finally:
        store.path("caption_labels").unlink()


def ran(home: Home, asset: str) -> dg.ExecuteInProcessResult:
    with open_instance(home) as instance:
        job = build_defs(home=home).resolve_implicit_global_asset_job_def()
        return job.execute_in_process(instance=instance, asset_selection=[dg.AssetKey(asset)], raise_on_error=False)


def test_an_engine_that_cannot_be_asked_does_not_stop_the_others(tmp_path: Path) -> None:
    with ChatServer(lambda call: error(401, "no such key")) as server:
        engines = {
            "analyst": {"kind": "rule_based"},
            "closed": {"kind": "openai", "model": "m", "base_url": server.base_url, "attempts": 1},
        }
        chosen = {"filter": ["closed", "analyst"], "generation": ["closed"], "captions": 5}
        path = sandbox_profile(tmp_path, scenes=10, engines=engines, analyses={"ablations": chosen})
        home = open_home(str(path), tmp_path / "home").claim()
        assert Materialization(home, "captions or spatial_captions", ("docci",)).execute()
        result = ran(home, "filter_ablation")
        assert result.success
        measured = TableStore(home.tables).scan("filter_ablation").filter(kind="measured").collect()
        assert measured["engine"].to_list() == ["analyst"]
        metadata = result.asset_materializations_for_node("filter_ablation")[0].metadata
        assert "closed" in str(metadata["not_measured"].value)
        assert not ran(home, "generation_ablation").success, "none could be asked"
        assert not TableStore(home.tables).exists("generation_ablation")


def test_engines_to_compare_and_to_price_are_declared(tmp_path: Path) -> None:
    sections: list[dict[str, Any]] = [{"ablations": {"filter": ["nobody"]}}, {"prices": {"engines": {"nobody": {}}}}]
    for section in sections:
        document = yaml.safe_load((PROFILES / "sandbox.yaml").read_text(encoding="utf-8")) | {"analyses": section}
        path = tmp_path / "wrong.yaml"
        path.write_text(yaml.safe_dump(document), encoding="utf-8")
        with pytest.raises(SettingsError, match="'nobody', which `engines` does not declare"):
            open_home(str(path), tmp_path / "home")
