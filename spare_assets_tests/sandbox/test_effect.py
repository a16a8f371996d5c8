"""What the sandbox recipe does to its base model, on held-out scenes, with controls: slow, but the point of it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from spare_assets.cli.materialize import Materialization
from spare_assets.engines.transformers_engine import TransformersEngine
from spare_assets.sandbox.effect import Topic, four_way_questions, general_questions, shares_right
from spare_assets.settings import PROFILES, Home, open_home
from spare_assets.settings import TransformersEngine as EngineSettings
from spare_assets.storage.tables import TableStore
from spare_assets.training.checkpoints import training_order
from spare_assets.training.process_group import last_lines, run_group, training_command

EFFECT_VARIABLE = "SPARE_EFFECT"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        not os.environ.get(EFFECT_VARIABLE),
        reason=f"trains three models, some ten minutes: set {EFFECT_VARIABLE}=1 to run it",
    ),
]
GENERAL = ("objects", "colours", "number")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The sandbox as shipped, with one seed and the caption-trained model."""
    folder = tmp_path_factory.mktemp("effect")
    document = yaml.safe_load((PROFILES / "sandbox.yaml").read_text(encoding="utf-8"))
    kept = ("base", "spare-seed-0", "captions-seed-0")
    document["models"] = {key: document["models"][key] for key in kept}
    profile = folder / "sandbox.yaml"
    profile.write_text(yaml.safe_dump(document), encoding="utf-8")
    opened = open_home(str(profile), folder / "home").claim()
    assert Materialization(opened, "*").execute()
    return opened


def record(home: Home, model: str) -> dict[str, Any]:
    return TableStore(home.tables).scan("checkpoint", model).collect().row(0, named=True)


def measured(folder: Path | str, pictures: Path, **how: bool) -> dict[Topic, float]:
    """Shares right of 400 four-way and 300 general questions."""
    engine = TransformersEngine(EngineSettings(model=str(folder), device="cpu", dtype="float32", batch_size=64))
    pictures.mkdir(exist_ok=True)
    found = shares_right(engine, [*four_way_questions(), *general_questions()], pictures, **how)
    engine.close()
    print(folder, found)
    return found


def test_training_teaches_relations_and_leaves_the_rest(home: Home, tmp_path: Path) -> None:
    base = measured(record(home, "base")["path"], tmp_path / "pictures")
    trained = measured(record(home, "spare-seed-0")["path"], tmp_path / "pictures")
    blind = measured(record(home, "spare-seed-0")["path"], tmp_path / "grey", blank=True)
    assert base["four-way"] <= 0.45
    assert trained["four-way"] >= 0.90
    assert blind["four-way"] <= 0.35, "the pictures answer, not the questions"
    before, after = (sum(found[topic] for topic in GENERAL) / len(GENERAL) for found in (base, trained))
    assert after >= before - 0.03


def test_pictures_of_other_rows_teach_nothing(home: Home, tmp_path: Path) -> None:
    settings = home.settings.training
    rows = TableStore(home.tables).scan("training_samples").collect()
    pictures = rows.select("image_path", "image_sha256", "width", "height").sample(fraction=1, shuffle=True, seed=1)
    permuted = tmp_path / "permuted.parquet"
    pl.concat([rows.drop(pictures.columns), pictures], how="horizontal").select(rows.columns).write_parquet(permuted)
    order = training_order(home, "permuted", settings.recipes["spare"], 0, permuted, "permuted")
    order = replace(order, work=tmp_path / "work", output=tmp_path / "permuted")
    output = tmp_path / "output.log"
    assert run_group(training_command(order.save(), order.recipe), {}, lambda: None, output) == 0, last_lines(output)
    assert measured(order.output, tmp_path / "pictures")["four-way"] <= 0.35


def test_the_caption_trained_model_had_the_same_chance(home: Home, tmp_path: Path) -> None:
    store = TableStore(home.tables)
    pairs, captions = (store.scan(table).collect() for table in ("training_samples", "caption_training_samples"))
    assert pairs.select("image_id", "part", "image_sha256").equals(captions.select("image_id", "part", "image_sha256"))
    one, other = (home.settings.training.recipes[name] for name in ("spare", "captions"))
    assert one.model_copy(update={"rows": other.rows}) == other, "equal images, steps and learning rates"
    assert record(home, "captions-seed-0")["steps"] == record(home, "spare-seed-0")["steps"]
    trained = measured(record(home, "spare-seed-0")["path"], tmp_path / "pictures")
    captioned = measured(record(home, "captions-seed-0")["path"], tmp_path / "pictures")
    assert captioned["four-way"] < trained["four-way"]
