"""Resources of the graph: a profile's engines, the models it scores, its CLIP encoder, each made when first used.

Tests replace any of them through `build_defs(resource_overrides=...)`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg

from spare_assets.benchmarks.examinees import scored_model
from spare_assets.clip.encoder import ClipEncoder
from spare_assets.engines.asking import Inquiry
from spare_assets.engines.build import build_engine
from spare_assets.engines.chat import ChatEngine
from spare_assets.orchestration.stage import Stage
from spare_assets.progress import Progress
from spare_assets.sandbox import SANDBOX_CLIP
from spare_assets.settings import SHIPPED_CLIP, EngineSettings, Home, RuleBasedEngine, fingerprint
from spare_assets.storage.ledger import CompletionLedger, remember_engine
from spare_assets.synthesis.analyst import Analyst, analyst
from spare_assets.synthesis.prompts import load_prompts

_BATCH_SETTING = {"transformers": "batch_size", "openai": "concurrency", "vllm": "window"}
_KINDS = {"rule_based": "python", "transformers": "huggingface", "openai": "openai", "vllm": "vllm"}


def engine_kind(settings: EngineSettings) -> str:
    """The kind that the UI shows of a stage that asks this engine."""
    return _KINDS[settings.kind]


def with_batch_size(settings: EngineSettings, batch_size: int | None) -> EngineSettings:
    """The engine with so many requests at once; as it is where none is said, or where it takes them one by one."""
    setting = _BATCH_SETTING.get(settings.kind)
    if batch_size is None or setting is None:
        return settings
    return settings.model_copy(update={setting: batch_size})


class Engines:
    """The chat engines that a profile declares, one of each per process."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._made: dict[str, ChatEngine] = {}
        self._held: set[str] = set()

    def engine(self, name: str) -> ChatEngine:
        """The engine declared under this name."""
        if name not in self._made:
            self._made[name] = self._build(name, self.home.settings.engines[name])
        return self._made[name]

    def analyst(self, name: str) -> Analyst:
        """The analyst that asks this engine."""
        settings = self.home.settings
        return analyst(name, self.engine(name), settings, load_prompts(settings.synthesis.prompts))

    @contextmanager
    def inquiry(
        self,
        name: str,
        task: str,
        stage: Stage,
        progress: Progress,
        owner: str | None = None,
        *,
        batch_size: int | None = None,
    ) -> Iterator[Inquiry]:
        """A pass of questions to this engine, through the ledger of the task and of `owner`: the stage's source.

        The engine is closed afterwards unless it is held, so that no later stage finds the GPU's memory taken.
        `batch_size` is for this pass alone, instead of the profile's.
        """
        declared = self.home.settings.engines[name]
        sized = with_batch_size(declared, batch_size)
        if sized != declared:
            self._close(name)
            self._made[name] = self._build(name, sized)
        ledger = CompletionLedger(self._ledger_root(name, stage.scratch), task, owner or stage.source_key)
        try:
            engine = self.engine(name)
            remember_engine(self.home.completions, engine.fingerprint, name)
            with Inquiry(engine, ledger, stage.context.run_id[:8], stage.scratch, progress) as inquiry:
                yield inquiry
        finally:
            if name not in self._held:
                self._close(name)

    @contextmanager
    def held(self, name: str) -> Iterator[None]:
        """While this lasts the engine stays loaded from one inquiry to the next."""
        self._held.add(name)
        try:
            yield
        finally:
            self._held.discard(name)
            self._close(name)

    def _build(self, name: str, settings: EngineSettings) -> ChatEngine:
        return build_engine(name, settings, self.home.path / "weights.json")

    def _close(self, name: str) -> None:
        if (engine := self._made.pop(name, None)) is not None:
            engine.close()

    def _ledger_root(self, name: str, scratch: Path) -> Path:
        settings = self.home.settings.engines[name]
        if isinstance(settings, RuleBasedEngine) and not settings.ledger:
            return scratch / "completions"
        return self.home.completions


class ScoredModels:
    """The models that benchmarks are asked of: one at a time, kept for all scores of a run."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._engine: ChatEngine | None = None
        self._fingerprint = ""

    @contextmanager
    def inquiry(
        self,
        record: Mapping[str, Any],
        task: str,
        stage: Stage,
        progress: Progress,
        *,
        batch_size: int | None = None,
    ) -> Iterator[Inquiry]:
        """A pass of questions to the model of a row of `checkpoint`, through the ledger of the task and model."""
        ledger = CompletionLedger(self.home.completions, task, stage.model_key)
        engine = self.engine(record, batch_size)
        with Inquiry(engine, ledger, stage.context.run_id[:8], stage.scratch, progress) as inquiry:
            yield inquiry

    def engine(self, record: Mapping[str, Any], batch_size: int | None = None) -> ChatEngine:
        """The engine that answers as this model does; another one's is closed."""
        settings = with_batch_size(scored_model(record, self.home.settings), batch_size)
        wanted = fingerprint(record["fingerprint"], settings)
        if self._engine is None or wanted != self._fingerprint:
            self.close()
            self._engine = build_engine(record["model"], settings, self.home.path / "weights.json")
            self._fingerprint = wanted
        return self._engine

    def close(self) -> None:
        """Free the model."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None


def scored_models(home: Home) -> dg.ResourceDefinition:
    """The scored models of a run, freed when it ends."""

    @dg.resource
    def models(context: dg.InitResourceContext) -> Iterator[ScoredModels]:
        held = ScoredModels(home)
        try:
            yield held
        finally:
            held.close()

    return models


def clip_encoder(home: Home) -> ClipEncoder:
    """The CLIP encoder of a profile; nothing is loaded before the first text or image."""
    clip = home.settings.clip
    model = str(SANDBOX_CLIP) if clip.model == SHIPPED_CLIP else clip.model
    return ClipEncoder(model, clip.pretrained, device=clip.device, batch_size=clip.batch_size)
