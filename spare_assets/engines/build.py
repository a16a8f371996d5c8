"""Makes the engine a profile declares. The only place that knows all engines; nothing heavy is imported here."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from spare_assets import settings as profile
from spare_assets.engines.chat import ChatEngine


def build_engine(name: str, settings: profile.EngineSettings, cache: Path | None = None) -> ChatEngine:
    """The engine declared as `engines.<name>`. Nothing is loaded before its first request.

    `cache` is a JSON file that remembers hashes of weight files.
    """
    if not isinstance(settings, profile.OpenAIEngine) and settings.ray is not None:
        from spare_assets.engines.ray_engine import RayEngine

        return RayEngine(
            settings.ray, partial(build_engine, name, settings.model_copy(update={"ray": None}), cache), name
        )
    match settings:
        case profile.RuleBasedEngine():
            from spare_assets.engines.rule_based import RuleBasedEngine

            return RuleBasedEngine(settings.slips, settings.asides, settings.strictness)
        case profile.TransformersEngine():
            from spare_assets.engines.transformers_engine import TransformersEngine

            return TransformersEngine(settings, name, cache)
        case profile.OpenAIEngine():
            from spare_assets.engines.openai_engine import OpenAIEngine

            return OpenAIEngine(settings, name)
        case profile.VllmEngine():
            from spare_assets.engines.vllm_engine import VllmEngine

            return VllmEngine(settings, name, cache)
