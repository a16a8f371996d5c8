"""Resources of the graph: the engines of a profile and its CLIP encoder, made when first used.

Tests replace either through `build_defs(resource_overrides=...)`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spare_assets.clip.encoder import ClipEncoder
from spare_assets.engines.asking import Inquiry
from spare_assets.engines.build import build_engine
from spare_assets.engines.chat import ChatEngine
from spare_assets.orchestration.stage import Stage
from spare_assets.progress import Progress
from spare_assets.sandbox import SANDBOX_CLIP
from spare_assets.settings import SHIPPED_CLIP, Home, RuleBasedEngine
from spare_assets.storage.ledger import CompletionLedger
from spare_assets.synthesis.analyst import Analyst, analyst
from spare_assets.synthesis.prompts import load_prompts


class Engines:
    """The chat engines that a profile declares, one of each per process."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._made: dict[str, ChatEngine] = {}

    def engine(self, name: str) -> ChatEngine:
        """The engine declared under this name."""
        if name not in self._made:
            self._made[name] = build_engine(name, self.home.settings.engines[name], self.home.path / "weights.json")
        return self._made[name]

    def analyst(self, name: str) -> Analyst:
        """The analyst that asks this engine."""
        settings = self.home.settings
        return analyst(name, self.engine(name), settings, load_prompts(settings.synthesis.prompts))

    @contextmanager
    def inquiry(self, name: str, task: str, stage: Stage, progress: Progress) -> Iterator[Inquiry]:
        """A pass of questions to this engine, through the ledger of the task and source.

        The engine is closed afterwards, so that no later stage finds the GPU's memory taken.
        """
        ledger = CompletionLedger(self._ledger_root(name, stage.scratch), task, stage.source_key)
        try:
            with Inquiry(self.engine(name), ledger, stage.context.run_id[:8], stage.scratch, progress) as inquiry:
                yield inquiry
        finally:
            self._made.pop(name).close()

    def _ledger_root(self, name: str, scratch: Path) -> Path:
        settings = self.home.settings.engines[name]
        if isinstance(settings, RuleBasedEngine) and not settings.ledger:
            return scratch / "completions"
        return self.home.completions


def clip_encoder(home: Home) -> ClipEncoder:
    """The CLIP encoder of a profile; nothing is loaded before the first text or image."""
    clip = home.settings.clip
    model = str(SANDBOX_CLIP) if clip.model == SHIPPED_CLIP else clip.model
    return ClipEncoder(model, clip.pretrained, device=clip.device, batch_size=clip.batch_size)
