"""A module that stands in for vLLM: the calls our engine makes, refused where their form is wrong.

Names, parameters and their order follow vLLM 0.12 to 0.24. It answers like a small server: requests finish a few
steps after they were added, later ones sooner.
"""

from __future__ import annotations

import enum
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar


class RequestOutputKind(enum.Enum):
    CUMULATIVE = 0
    DELTA = 1
    FINAL_ONLY = 2


@dataclass(frozen=True)
class StructuredOutputsParams:
    json: str | dict[str, Any] | None = None
    choice: list[str] | None = None


@dataclass(frozen=True)
class SamplingParams:
    temperature: float = 1.0
    max_tokens: int | None = 16
    logprobs: int | None = None
    structured_outputs: StructuredOutputsParams | None = None
    output_kind: RequestOutputKind = RequestOutputKind.CUMULATIVE


@dataclass(frozen=True)
class Logprob:
    logprob: float
    rank: int | None = None
    decoded_token: str | None = None


@dataclass(frozen=True)
class CompletionOutput:
    index: int
    text: str
    token_ids: list[int]
    cumulative_logprob: float | None
    logprobs: list[dict[int, Logprob]] | None
    finish_reason: str | None = None


@dataclass(frozen=True)
class RequestOutput:
    request_id: str
    prompt: str | None
    prompt_token_ids: list[int] | None
    outputs: list[CompletionOutput]
    finished: bool


@dataclass
class Core:
    stopped: bool = False

    def shutdown(self) -> None:
        self.stopped = True


@dataclass
class Engine:
    """What `LLM.llm_engine` is."""

    max_model_len: int
    added: list[tuple[str, Any, SamplingParams]] = field(default_factory=list)
    running: dict[str, tuple[Any, SamplingParams, int]] = field(default_factory=dict)
    aborted: list[str] = field(default_factory=list)
    peak: int = 0
    dies_at: int | None = None
    ends: str = "stop"
    engine_core: Core = field(default_factory=Core)

    def add_request(self, request_id: str, prompt: dict[str, Any], params: SamplingParams) -> str:
        assert isinstance(request_id, str) and request_id not in self.running
        assert isinstance(params, SamplingParams) and params.temperature == 0.0
        assert params.output_kind is RequestOutputKind.FINAL_ONLY
        assert all(type(token) is int for token in prompt["prompt_token_ids"])
        if len(prompt["prompt_token_ids"]) >= self.max_model_len:
            raise ValueError(f"The prompt is longer than the maximum model length of {self.max_model_len}")
        schema = params.structured_outputs.json if params.structured_outputs else None
        if schema == {"bad": True}:
            raise ValueError("The grammar cannot be compiled")
        self.added.append((request_id, prompt, params))
        self.running[request_id] = (prompt, params, 3 - int(request_id) % 3)
        self.peak = max(self.peak, len(self.running))
        return request_id

    def step(self) -> list[RequestOutput]:
        assert self.running, "stepped without requests"
        if self.dies_at is not None and len(self.added) >= self.dies_at:
            raise RuntimeError("EngineCore encountered an issue")
        outputs = []
        for request_id, (prompt, params, steps) in list(self.running.items()):
            self.running[request_id] = (prompt, params, steps - 1)
            if steps <= 1:
                del self.running[request_id]
                outputs.append(self._finished(request_id, prompt, params))
        return outputs

    def abort_request(self, request_ids: list[str]) -> None:
        assert isinstance(request_ids, list)
        self.aborted += request_ids
        for request_id in request_ids:
            self.running.pop(request_id, None)

    def _finished(self, request_id: str, prompt: dict[str, Any], params: SamplingParams) -> RequestOutput:
        logprobs = None
        if params.logprobs is not None:
            assert params.logprobs <= 20
            ranked = [("\n", -0.1), (" maybe", -3.0)], [(" No", -1.0), ("Yes", -1.5), (" yes", -1.5)]
            logprobs = [
                {token: Logprob(value, None, text) for token, (text, value) in enumerate(position)}
                for position in ranked
            ]
        completion = CompletionOutput(0, f" reply {request_id}", [1, 2, 3], None, logprobs, self.ends)
        return RequestOutput(request_id, None, prompt["prompt_token_ids"], [completion], True)


class Renderer:
    def render_cmpl(self, prompts: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{"type": "token", **prompt} for prompt in prompts]


class LLM:
    """Takes what our engine passes and nothing else."""

    made: ClassVar[list[LLM]] = []
    fails: ClassVar[Exception | None] = None
    renders: ClassVar[bool] = False

    def __init__(
        self,
        model: str,
        *,
        dtype: str,
        tensor_parallel_size: int,
        gpu_memory_utilization: float,
        max_model_len: int | None,
        trust_remote_code: bool,
        load_format: str,
        generation_config: str,
        seed: int,
    ) -> None:
        if LLM.fails is not None:
            raise LLM.fails
        assert Path(model).is_dir() and not trust_remote_code and load_format == "safetensors"
        assert generation_config == "vllm"
        self.llm_engine = Engine(max_model_len or 512)
        if LLM.renders:
            self.llm_engine.renderer = Renderer()  # type: ignore[attr-defined]
        LLM.made.append(self)


def modules() -> dict[str, types.ModuleType]:
    """What to put into sys.modules."""
    vllm = types.ModuleType("vllm")
    sampling = types.ModuleType("vllm.sampling_params")
    vars(vllm).update(LLM=LLM, SamplingParams=SamplingParams, sampling_params=sampling)
    vars(sampling).update(
        RequestOutputKind=RequestOutputKind,
        StructuredOutputsParams=StructuredOutputsParams,
        SamplingParams=SamplingParams,
    )
    LLM.made, LLM.fails, LLM.renders = [], None, False
    return {"vllm": vllm, "vllm.sampling_params": sampling}
