"""Model keys and what stands behind them: the record of each, where trained ones lie, and the hash they go by.

Belongs here: which folder a model starts from, what decides the outcome of a training and what does not, and the
records of table `checkpoint`. Training itself does not.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from spare_assets.engines.chat import EngineError
from spare_assets.engines.weights import (
    adapter_fingerprint,
    find_adapter,
    find_model,
    local_folder,
    weights_fingerprint,
)
from spare_assets.sandbox import SANDBOX_VLM
from spare_assets.settings import (
    SHIPPED_VLM,
    EndpointModel,
    Home,
    OpenAIEngine,
    RecipeSettings,
    ReleasedModel,
    TrainedModel,
    fingerprint,
)
from spare_assets.storage.schemas import TABLES
from spare_assets.storage.tables import content_hash
from spare_assets.training.order import OUTCOME_FILE, TrainingError, TrainingOrder, TrainingOutcome

PROGRAM_VERSION = 1
"""Raise it when equal orders train to another model than before."""
_DECIDE_NOTHING = {
    "accelerate_config",
    "attention",
    "base",
    "revision",
    "gradient_checkpointing",
    "image_cache_megabytes",
    "liger",
    "loader_processes",
    "log_steps",
    "micro_batch_size",
    "require_gpu",
    "save_steps",
}
"""Settings of a recipe that change how training is carried out, up to rounding, and not what is trained.

Of the base its weights count, by their hash, and not the name they were found under.
"""


@dataclass(frozen=True, slots=True)
class BaseModel:
    """The weights a recipe or record names: where they lie, what they are called, and their hash."""

    folder: Path
    name: str
    revision: str | None
    fingerprint: str


def base_model(model: str, revision: str | None, setting: str, cache: Path) -> BaseModel:
    """Find a model, fetching it from the hub where it is not on this disk.

    Raises TrainingError where it cannot be had or holds no safetensors.
    """
    name = str(SANDBOX_VLM) if model == SHIPPED_VLM else model
    try:
        files = find_model(name, revision, None, setting)
        return BaseModel(
            files.folder, model, revision, weights_fingerprint(name, revision, None, "auto", cache, setting=setting)
        )
    except EngineError as error:
        raise TrainingError(str(error)) from error


def hub_id(model: str) -> str | None:
    """The repository a model comes from; None for a folder of this disk or the shipped model."""
    return model if local_folder(model, "model") is None and model != SHIPPED_VLM else None


def recipe_identity(recipe: RecipeSettings) -> dict[str, Any]:
    """What of a recipe decides the model that comes out of it, as far as it is not a setting's default."""
    return recipe.model_dump(mode="json", exclude=_DECIDE_NOTHING, exclude_defaults=True)


def training_order(
    home: Home, key: str, recipe: RecipeSettings, seed: int, rows: Path, dataset_version: str
) -> TrainingOrder:
    """What to train under a key. `rows` is the Parquet file of training rows, made of this version of the dataset.

    Finished models lie in `checkpoints/<key>/<fingerprint>`, states to resume from beside them. Raises TrainingError
    where the base cannot be had.
    """
    base = base_model(recipe.base, recipe.revision, f"the base of {key}", home.path / "weights.json")
    rows_version = content_hash(rows)
    identity = fingerprint(PROGRAM_VERSION, recipe_identity(recipe), seed, rows_version, base.fingerprint, length=16)
    folder = home.checkpoints / key
    record = {
        "model": key,
        "base": base.name,
        "base_revision": base.revision,
        "base_fingerprint": base.fingerprint,
        "recipe": recipe.model_dump(mode="json"),
        "seed": seed,
        "rows": recipe.rows,
        "rows_version": rows_version,
        "dataset_version": dataset_version,
        "fingerprint": identity,
        "program_version": PROGRAM_VERSION,
    }
    return TrainingOrder(
        key, base.folder, rows, folder / f"{identity}.partial", folder / identity, seed, recipe, record
    )


def is_trained(order: TrainingOrder) -> bool:
    """Whether this very model lies finished in its folder."""
    return (order.output / OUTCOME_FILE).is_file()


@contextmanager
def alone(order: TrainingOrder) -> Iterator[None]:
    """Keep any other process from training this very model meanwhile. Raises TrainingError where one does."""
    order.work.mkdir(parents=True, exist_ok=True)
    with (order.work / "training.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise TrainingError(
                f"{order.model} is being trained by another run, in {order.work}: wait for it"
            ) from error
        yield


def remove_superseded(order: TrainingOrder) -> list[Path]:
    """Remove unfinished work of other settings under the same key, all but the latest; finished models stay."""
    others = [path for path in order.output.parent.glob("*.partial") if path != order.work]
    # The latest stays: a setting changed by mistake may be changed back.
    superseded = sorted(others, key=lambda path: path.stat().st_mtime)[:-1]
    for path in superseded:
        shutil.rmtree(path, ignore_errors=True)
    return superseded


def trained_record(order: TrainingOrder, model: TrainedModel, outcome: TrainingOutcome) -> pl.DataFrame:
    """The record of a model trained here."""
    recipe = order.recipe
    adapter = recipe.stores_adapter
    return _record(
        model=order.model,
        kind="trained",
        path=str(order.base) if adapter else str(order.output),
        hub_id=hub_id(recipe.base) if adapter else None,
        revision=recipe.revision if adapter else None,
        adapter=str(order.output) if adapter else None,
        recipe=model.recipe,
        seed=model.seed,
        min_pixels=recipe.min_pixels,
        max_pixels=recipe.max_pixels,
        system_prompt=recipe.system_prompt,
        steps=outcome.steps,
        held_out_loss=outcome.held_out_loss,
        fingerprint=order.record["fingerprint"],
    )


def released_record(key: str, model: ReleasedModel, home: Home) -> pl.DataFrame:
    """The record of a model as released. Raises TrainingError where it cannot be had."""
    cache = home.path / "weights.json"
    base = base_model(model.model, model.revision, f"models.{key}.model", cache)
    identity, adapter = base.fingerprint, None
    if model.adapter is not None:
        setting = f"models.{key}.adapter"
        try:
            adapter = find_adapter(model.adapter, setting)
            identity = fingerprint(identity, adapter_fingerprint(model.adapter, cache, setting), length=64)
        except EngineError as error:
            raise TrainingError(str(error)) from error
    return _record(
        model=key,
        kind="base",
        path=str(base.folder),
        hub_id=hub_id(model.model),
        revision=base.revision,
        adapter=None if adapter is None else str(adapter),
        fingerprint=identity,
    )


def endpoint_record(key: str, model: EndpointModel, engine: OpenAIEngine) -> pl.DataFrame:
    """The record of a model behind a server; the URL is no part of its identity."""
    return _record(
        model=key,
        kind="endpoint",
        revision=engine.revision,
        url=engine.base_url,
        name=engine.model,
        fingerprint=fingerprint("endpoint", engine.model, engine.revision, length=16),
    )


def _record(**values: Any) -> pl.DataFrame:
    schema = TABLES["checkpoint"].polars()
    return pl.DataFrame([{name: values.get(name) for name in schema}], schema=schema)
