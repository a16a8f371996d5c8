"""The paper profile as shipped, its models replaced by small random ones of the same architecture."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
import yaml

from spare_assets.cli.materialize import Materialization
from spare_assets.clip.torchvision_shim import install
from spare_assets.dataset.funnel import funnel
from spare_assets.quality.verdicts import CHECKS
from spare_assets.sandbox.corpora import write_corpus
from spare_assets.settings import DATA_VARIABLE, PROFILES, open_home
from spare_assets.storage.tables import TableStore
from spare_assets_tests.engines.small_models import save_text_model, save_vision_model


def test_all_stages_run_on_a_qwen2_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install()
    model = save_text_model(tmp_path / "model", "qwen2", context=8192)
    document = yaml.safe_load((PROFILES / "paper.yaml").read_text(encoding="utf-8"))
    document["engines"]["qwen2.5-3b"] |= {"model": str(model), "revision": None, "batch_size": 4, "device": "cpu"}
    document["clip"] = {"model": "sandbox"}
    document["synthesis"] |= {"minimum_probability": 0.0, "max_new_tokens": 48}
    document["quality"] |= {"minimum_alignment": -1.0, "minimum_probability": 0.0}
    document["sources"] = {"docci": document["sources"]["docci"]}
    document["models"] = {}
    profile = tmp_path / "paper-small.yaml"
    profile.write_text(yaml.safe_dump(document), encoding="utf-8")
    write_corpus("docci", tmp_path / "data" / "docci", 30, 5)
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "data"))

    home = open_home(str(profile), tmp_path / "home").claim()
    assert Materialization(home, "+spare_dataset", (), limit=6).execute()
    store = TableStore(home.tables)
    steps = list(funnel(store, "docci"))
    assert len(steps) == 3 + len(CHECKS)
    assert all(step.adds_up for step in steps)
    verdicts = store.scan("caption_verdicts", "docci").collect()
    assert verdicts["score"].is_between(0, 1).all(), "p(yes) of the model is stored"
    outcomes = store.scan("generation_outcomes", "docci").collect()
    assert outcomes.height == 6
    assert outcomes["outcome"].is_in(["ok", "none", "truncated"]).all(), "constrained decoding leaves nothing malformed"


def test_both_recipes_train_qwen2_vl_models_that_are_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Table 5's full fine-tuning, Table 6's adapters and the caption baseline, on random models of the architecture."""
    install()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    vision = save_vision_model(tmp_path / "vision")
    document = yaml.safe_load((PROFILES / "paper.yaml").read_text(encoding="utf-8"))
    document["engines"]["qwen2.5-3b"] = {"kind": "rule_based", "asides": 1.0}
    document["clip"] = {"model": "sandbox"}
    document["quality"] |= {"minimum_alignment": -1.0}
    document["sources"] = {"docci": document["sources"]["docci"]}
    small = {"base": str(vision), "revision": None, "require_gpu": False, "loader_processes": 0, "max_steps": 3}
    small |= {"batch_size": 4, "max_pixels": 28 * 28 * 4, "min_pixels": 28 * 28, "max_length": 512}
    for recipe in document["training"]["recipes"].values():
        recipe |= small
    kept = ("qwen2-vl-2b", "spare-2b-seed-0", "spare-7b-seed-0", "captions-7b-seed-0")
    document["models"] = {key: document["models"][key] for key in kept}
    document["models"]["qwen2-vl-2b"] |= {"model": str(vision), "revision": None}
    scenes = yaml.safe_load((PROFILES / "sandbox.yaml").read_text(encoding="utf-8"))["benchmarks"]
    document["benchmarks"] = {key: scenes[key] | {"scenes": {"count": 8}} for key in ("vsr", "mmbench")}
    document["scoring"] = {"min_pixels": small["min_pixels"], "max_pixels": small["max_pixels"]}
    profile = tmp_path / "paper-small.yaml"
    profile.write_text(yaml.safe_dump(document), encoding="utf-8")
    write_corpus("docci", tmp_path / "data" / "docci", 20, 5)
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "data"))

    home = open_home(str(profile), tmp_path / "home").claim()
    assert Materialization(home, "+checkpoint or vsr_score or mmbench_score or leaderboard").execute()
    store = TableStore(home.tables)
    for key in kept:
        said = store.scan("vsr_predictions", key).collect()
        assert said.height == 8 and set(said["outcome"]) <= {"answered", "unparsed", "truncated"}
    board = store.scan("leaderboard").filter(pl.col("column") == "mmbench").collect()
    assert set(kept) <= set(board["row"])
    assert board.filter(pl.col("row") == "spare-7b-seed-0")["resolution"].item() == "784–3,136 px"
    full, adapter, captions = (store.scan("checkpoint", key).collect().row(0, named=True) for key in kept[1:])
    assert full["adapter"] is None and Path(full["path"], "model.safetensors").is_file()
    for record in (adapter, captions):
        assert record["path"] == str(vision)
        assert Path(record["adapter"], "adapter_model.safetensors").is_file()
    recipe = json.loads(Path(full["path"], "training.json").read_text())["recipe"]
    assert (recipe["optimizer"], recipe["warmup_steps"], recipe["dropout"]) == ("adamw_8bit", 1000, 0.1)
