"""The model behind a record of `checkpoint`, as an engine and in the conditions it is asked in.

What is asked does not belong here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spare_assets.settings import EndpointModel, EngineSettings, Settings, TransformersEngine


def scored_model(record: Mapping[str, Any], settings: Settings) -> EngineSettings:
    """The engine that answers as the model of a row of `checkpoint`: an endpoint's own, else transformers in process.

    Models trained here see pictures at the size they were trained at, others at that of `scoring`.
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
    )


def resolution(record: Mapping[str, Any], settings: Settings) -> tuple[int | None, int | None]:
    """Least and most pixels of the pictures a model is shown; None where its processor decides.

    A server decides for itself.
    """
    if record["kind"] == "endpoint":
        return None, None
    scoring = settings.scoring
    if record["kind"] == "trained":
        return record["min_pixels"], record["max_pixels"]
    return scoring.min_pixels, scoring.max_pixels


def system_prompt(record: Mapping[str, Any], settings: Settings) -> str | None:
    """The system message a model is asked with; None for its chat template's own."""
    return record["system_prompt"] if record["kind"] == "trained" else settings.scoring.system_prompt
