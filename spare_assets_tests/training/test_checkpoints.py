"""What a model key stands for: the folder it starts from, the fingerprint it goes by, its record."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from spare_assets.settings import (
    EndpointModel,
    Home,
    OpenAIEngine,
    RecipeSettings,
    ReleasedModel,
    SettingsError,
    TrainedModel,
    load_settings,
)
from spare_assets.storage.schemas import TABLES
from spare_assets.training.checkpoints import (
    alone,
    endpoint_record,
    is_trained,
    released_record,
    remove_superseded,
    trained_record,
    training_order,
)
from spare_assets.training.order import TrainingError, TrainingOrder, TrainingOutcome
from spare_assets_tests.profiles import sandbox_profile

OUTCOME = TrainingOutcome(
    steps=10,
    rows=640,
    tokens=1000,
    answer_tokens=100,
    seconds=1.0,
    peak_memory_bytes=1,
    training_loss=0.5,
    held_out_loss=0.6,
    too_long=0,
    unreadable=0,
    resumed_at=0,
)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A folder that looks like a model; nothing here loads it."""
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "qwen2_vl", "dtype": "float32"}')
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


@pytest.fixture
def rows(make_home: Callable[..., Home]) -> Path:
    home = make_home("rows")
    path = home.path / "rows.parquet"
    TABLES["training_samples"].empty().write_parquet(path)
    return path


def order(home: Home, rows: Path, recipe: RecipeSettings, seed: int = 0) -> TrainingOrder:
    return training_order(home, "spare-seed-0", recipe, seed, rows, "abc")


def recipe_of(base: Path, **values: object) -> RecipeSettings:
    return RecipeSettings.model_validate({"base": str(base), "learning_rate": 1e-3, "batch_size": 64} | values)


def test_the_fingerprint_covers_what_decides_and_nothing_else(
    make_home: Callable[..., Home], base: Path, rows: Path
) -> None:
    home = make_home()
    first = order(home, rows, recipe_of(base))
    for same in ({"micro_batch_size": 8}, {"save_steps": 1}, {"loader_processes": 2}, {"require_gpu": True}):
        assert order(home, rows, recipe_of(base, **same)).output == first.output, same
    others = [
        order(home, rows, recipe_of(base, learning_rate=2e-3)),
        order(home, rows, recipe_of(base, dropout=0.2)),
        order(home, rows, recipe_of(base, max_pixels=500_000)),
        order(home, rows, recipe_of(base), seed=1),
    ]
    (base / "model.safetensors").write_bytes(b"other weights")
    others.append(order(home, rows, recipe_of(base)))
    TABLES["caption_training_samples"].empty().drop("part").write_parquet(rows)
    others.append(order(home, rows, recipe_of(base)))
    assert len({item.output for item in [first, *others]}) == 1 + len(others)


def test_unfinished_work_of_other_settings_goes_and_finished_models_stay(
    make_home: Callable[..., Home], base: Path, rows: Path
) -> None:
    home = make_home()
    oldest, old, new = (order(home, rows, recipe_of(base), seed=seed) for seed in (2, 0, 1))
    for age, folder in enumerate((oldest.work, old.work, old.output, new.work)):
        folder.mkdir(parents=True)
        os.utime(folder, (age, age))
    assert remove_superseded(new) == [oldest.work], "the latest stays: a setting may be changed back"
    assert not oldest.work.exists() and old.work.exists() and old.output.exists() and new.work.exists()
    assert not is_trained(old), "a folder without an outcome is no finished model"
    OUTCOME.save(old.output)
    assert is_trained(old)


def test_one_model_is_trained_by_one_run_at_a_time(make_home: Callable[..., Home], base: Path, rows: Path) -> None:
    made = order(make_home(), rows, recipe_of(base))
    with alone(made), pytest.raises(TrainingError, match="is being trained by another run"), alone(made):
        pass
    with alone(made):
        pass


def test_a_base_without_safetensors_is_refused(make_home: Callable[..., Home], base: Path, rows: Path) -> None:
    (base / "model.safetensors").rename(base / "pytorch_model.bin")
    with pytest.raises(TrainingError, match=r"the base of spare-seed-0.*safetensors"):
        order(make_home(), rows, recipe_of(base))


def test_records_of_every_kind_fit_the_table(make_home: Callable[..., Home], base: Path, rows: Path) -> None:
    home = make_home()
    full = order(home, rows, recipe_of(base))
    adapter = order(home, rows, recipe_of(base, method="lora"))
    merged = order(home, rows, recipe_of(base, method="lora", lora={"merge": True}))
    model = TrainedModel(recipe="spare", seed=0)
    trained, adapted, whole = (trained_record(item, model, OUTCOME) for item in (full, adapter, merged))
    released = released_record("base", ReleasedModel(model=str(base)), home)
    engine = OpenAIEngine(model="gpt", revision="1", base_url="http://127.0.0.1:1/v1")
    endpoint = endpoint_record("gpt", EndpointModel(engine="gpt"), engine)
    for record in (trained, adapted, whole, released, endpoint):
        assert record.schema == TABLES["checkpoint"].polars() and record.height == 1
    assert (trained["path"][0], trained["adapter"][0]) == (str(full.output), None)
    assert (adapted["path"][0], adapted["adapter"][0]) == (str(base), str(adapter.output))
    assert (whole["path"][0], whole["adapter"][0]) == (str(merged.output), None)
    assert released["kind"][0] == "base" and released["path"][0] == str(base)
    elsewhere = endpoint_record(
        "gpt", EndpointModel(engine="gpt"), engine.model_copy(update={"base_url": "http://x/v1"})
    )
    assert elsewhere["fingerprint"][0] == endpoint["fingerprint"][0], "where a server stands is not who answers"


def test_an_order_survives_its_file(make_home: Callable[..., Home], base: Path, rows: Path) -> None:
    made = order(make_home(), rows, recipe_of(base, system_prompt="Be brief."))
    assert TrainingOrder.load(made.save()) == made


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"models": {"x": {"kind": "trained", "recipe": "nobody"}}}, "names recipe 'nobody'"),
        ({"models": {"x": {"kind": "endpoint", "engine": "analyst"}}}, "of kind openai"),
        ({"models": {"x/..": {"kind": "base", "model": "m"}}}, "model key"),
        ({"benchmarks": {"vqa": {"file": "f"}}}, "unknown benchmark vqa"),
        (
            {"training": {"recipes": {"spare": {"base": "sandbox", "learning_rate": 1, "batch_size": 64, "lr": 2}}}},
            r"training\.recipes\.spare\.lr",
        ),
        ({"training": {"search": {"recipe": "spare", "tried": {"warmth": [1]}}}}, "no setting warmth"),
    ],
)
def test_wrong_settings_are_named_with_their_place(tmp_path: Path, sections: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_settings(str(sandbox_profile(tmp_path, scenes=1, **sections)))
