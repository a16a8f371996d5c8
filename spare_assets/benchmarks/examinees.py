"""The model behind a record of `checkpoint`, as an engine and in the conditions it is asked in.

What is asked does not belong here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spare_assets.settings import EndpointModel, EngineSettings, ReleasedModel, Settings, TransformersEngine


def scored_model(record: Mapping[str, Any], settings: Settings) -> EngineSettings:
    """The engine that answers as the model of a row of `checkpoint`: an endpoint's own, else transformers in process.

    Models trained here see pictures at the size they were trained at, others at their own setting or that of `scoring`.
    """
    model = settings.models[record["model"]]
    if isinstance(model, EndpointModel):
        return settings.engines[model.engine]
    scoring = settings.scoring
    low, high = resolution(record, settings)
    return TransformersEngine(
        model=record["path"],
        adapter=record["adapter"],
        device=scoring.device,
        dtype=scoring.dtype,
        batch_size=scoring.batch_size,
        min_pixels=low,
        max_pixels=high,
        ray=scoring.ray,
    )


def resolution(record: Mapping[str, Any], settings: Settings) -> tuple[int | None, int | None]:
    """Least and most pixels of the pictures a model is shown; None where its processor decides.

    A server decides for itself.
    """
    if record["kind"] == "endpoint":
        return None, None
    if record["kind"] == "trained":
        return record["min_pixels"], record["max_pixels"]
    model, scoring = settings.models[record["model"]], settings.scoring
    assert isinstance(model, ReleasedModel)
    if model.fixed_resolution:
        return None, None
    return model.min_pixels or scoring.min_pixels, model.max_pixels or scoring.max_pixels


def system_prompt(record: Mapping[str, Any], settings: Settings) -> str | None:
    """The system message a model is asked with; None for its chat template's own."""
    if record["kind"] == "trained":
        return str(record["system_prompt"]) if record["system_prompt"] is not None else None
    model = settings.models[record["model"]]
    own = model.system_prompt if isinstance(model, ReleasedModel) else None
    return settings.scoring.system_prompt if own is None else own
