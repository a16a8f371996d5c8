"""The engine that runs a chat model in this process with vLLM, an optional extra.

vLLM batches by itself, continuously: it is fed up to `window` requests, handed new ones as others finish, and each
reply is given out in the step that ends it, so that a kill loses only what was under way. For that its engine is
stepped here instead of asking `LLM.chat` for whole windows. Prompts are encoded by `prompt_encoding` and passed as
token ids, because `LLM.chat` would obey control tokens in a caption. Its prefix cache (on by default) computes the
instructions that requests share once.
"""

from __future__ import annotations

import gc
import logging
import sys
import time
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path
from typing import Any

from spare_assets import settings as profile
from spare_assets.engines.chat import ChatReply, ChatRequest, EngineError
from spare_assets.engines.openai_format import (
    TOP_LOGPROBS,
    UnreadableImageError,
    choice_token_limit,
    folded,
    open_upright,
    read_choice,
)
from spare_assets.engines.prompt_encoding import PromptEncoder, UnencodableTextError
from spare_assets.engines.weights import find_model, weights_fingerprint

MAX_IMAGES = 256

log = logging.getLogger(__name__)


class VllmEngine:
    """Answers with a local model through vLLM; a ChatEngine.

    A reply's `seconds` are its share of the time since the replies before it, so that they add up to the time the
    model ran. `name` is the engine's key in the profile, for messages; `cache` remembers hashes of weight files.
    """

    def __init__(self, settings: profile.VllmEngine, name: str = "vllm", cache: Path | None = None) -> None:
        self._settings = settings
        self._name = name
        self._cache = cache
        self._fingerprint: str | None = None
        self._model: _Model | None = None

    @property
    def fingerprint(self) -> str:
        """Hash of weights, tokenizer and dtype: that of the same model run with transformers.

        Raises EngineError where the model is not to be found.
        """
        if self._fingerprint is None:
            settings = self._settings
            weights = weights_fingerprint(
                settings.model,
                settings.revision,
                None,
                settings.dtype,
                self._cache,
                setting=f"engines.{self._name}.model",
            )
            self._fingerprint = profile.fingerprint(weights, length=64)
        return self._fingerprint

    def complete(self, requests: Iterable[tuple[str, ChatRequest]]) -> Generator[ChatReply, None, None]:
        """One reply per request, as they finish. At most `window` requests are held.

        Raises EngineError where vLLM is not installed, the model cannot be loaded, or vLLM stops working.
        """
        source = iter(requests)
        asked: dict[str, tuple[str, ChatRequest]] = {}
        images = number = 0
        more = True
        marked = time.monotonic()
        try:
            while more or asked:
                while more and len(asked) < self._settings.window and (not asked or images < MAX_IMAGES):
                    if (item := next(source, None)) is None:
                        more = False
                        break
                    if self._model is None:
                        self._model = _Model(self._settings, self._name)
                        marked = time.monotonic()
                    number += 1
                    if (error := self._model.add(str(number), item[1])) is not None:
                        yield ChatReply(item[0], "", "error", error=error)
                    else:
                        asked[str(number)] = item
                        images += _images(item[1])
                if not asked:
                    continue
                assert self._model is not None
                finished = self._model.step()
                elapsed, marked = _lap(marked) if finished else (0.0, marked)
                for output in finished:
                    key, request = asked.pop(str(output.request_id))
                    images -= _images(request)
                    yield _reply(key, request, output, elapsed / len(finished))
        finally:
            if self._model is not None and asked:
                self._model.abort(list(asked))

    def close(self) -> None:
        """End vLLM's processes and free the GPU. The engine can be used again."""
        if self._model is not None:
            self._model.shut_down()
            self._model = None
        gc.collect()
        if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_available():
            torch.cuda.empty_cache()


class _Model:
    """vLLM with a loaded model: the few calls of its interface that are used, in one place."""

    def __init__(self, settings: profile.VllmEngine, name: str) -> None:
        self._name = name
        setting = f"engines.{name}.model"
        files = find_model(settings.model, settings.revision, None, setting)
        try:
            import vllm
            from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams
        except ImportError as error:
            raise EngineError(
                f"engines.{name}: vLLM cannot be imported ({error}); pip install spare-assets[vllm] on a machine "
                "with a GPU, or choose kind transformers or openai"
            ) from error
        self._vllm = vllm
        self._final_only = RequestOutputKind.FINAL_ONLY
        self._structured = StructuredOutputsParams
        try:
            self._encoder = _encoder(files.folder, files.config)
            self._llm = vllm.LLM(
                model=str(files.folder),
                dtype=settings.dtype,
                tensor_parallel_size=settings.tensor_parallel_size,
                gpu_memory_utilization=settings.gpu_memory_utilization,
                max_model_len=settings.max_model_len,
                trust_remote_code=False,
                load_format="safetensors",
                # Not the sampling that a release recommends: decoding is greedy.
                generation_config="vllm",
                seed=0,
            )
        except Exception as error:  # whatever a library raises here, the model cannot be loaded
            raise EngineError(
                f"{setting}: vLLM could not load {settings.model} from {files.folder} "
                f"({type(error).__name__}: {str(error).strip()[:500]}). Lower engines.{name}.max_model_len or "
                "free the GPU where memory is short"
            ) from error
        self._engine = self._llm.llm_engine

    def add(self, identity: str, request: ChatRequest) -> str | None:
        """Hand vLLM a request; what is wrong with it where it does not take it."""
        try:
            prompt: dict[str, Any] = {"prompt_token_ids": self._encoder.encode(request).ids}
            pictures = [open_upright(image) for message in request.messages for image in message.images]
            if pictures:
                prompt["multi_modal_data"] = {"image": pictures}
            # Newer releases want prompts rendered first and only warn, for now, where they are not.
            renderer = getattr(self._engine, "renderer", None)
            rendered = prompt if renderer is None else renderer.render_cmpl([prompt])[0]
            self._engine.add_request(identity, rendered, self._sampling(request))
        except (UnencodableTextError, UnreadableImageError) as error:
            return str(error)
        except ValueError as error:  # too long a prompt, a schema that cannot be compiled
            return f"vLLM refused the request: {str(error).strip()[:500]}"
        return None

    def _sampling(self, request: ChatRequest) -> Any:
        constraint = None
        if request.schema is not None and not request.choices:
            constraint = self._structured(json=dict(request.schema))
        return self._vllm.SamplingParams(
            temperature=0.0,
            max_tokens=choice_token_limit(request) if request.choices else request.max_new_tokens,
            logprobs=TOP_LOGPROBS if request.choices else None,
            structured_outputs=constraint,
            output_kind=self._final_only,
        )

    def step(self) -> list[Any]:
        """Decode one more token of each request; those that are finished. Raises EngineError."""
        try:
            return [output for output in self._engine.step() if output.finished]
        except Exception as error:  # vLLM's processes died, whatever the reason
            raise EngineError(
                f"engine {self._name}: vLLM stopped ({type(error).__name__}: {str(error).strip()[:500]}). "
                "What was answered is kept; start again"
            ) from error

    def abort(self, identities: list[str]) -> None:
        """Take back requests that are under way, if vLLM still lives."""
        try:
            self._engine.abort_request(identities)
        except Exception as error:  # the reason to stop may be that it does not
            log.warning("engine %s: requests could not be taken back: %s", self._name, error)

    def shut_down(self) -> None:
        """End vLLM's own processes."""
        core = getattr(self._engine, "engine_core", None)
        if core is not None:
            core.shutdown()


def _encoder(folder: Path, config: Mapping[str, Any]) -> PromptEncoder:
    from spare_assets.clip.torchvision_shim import install

    install()
    from transformers import AutoProcessor, AutoTokenizer

    safe: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    if "vision_config" in config:
        processor = AutoProcessor.from_pretrained(folder, **safe)
        return PromptEncoder(processor.tokenizer, processor, expand_images=False)
    return PromptEncoder(AutoTokenizer.from_pretrained(folder, **safe))


def _lap(since: float) -> tuple[float, float]:
    now = time.monotonic()
    return now - since, now


def _images(request: ChatRequest) -> int:
    return sum(len(message.images) for message in request.messages)


def _reply(key: str, request: ChatRequest, output: Any, seconds: float) -> ChatReply:
    completion = output.outputs[0]
    reason, text, probability = completion.finish_reason, completion.text, None
    if reason not in {"stop", "length"}:
        return ChatReply(key, "", "error", error=f"vLLM ended the reply: {reason}")
    if request.choices:
        choice, probability = read_choice(text, request.choices, _first_token(completion.logprobs))
        if choice is not None:
            text, reason = choice, "stop"
    return ChatReply(
        key,
        text,
        "length" if reason == "length" else "stop",
        prompt_tokens=len(output.prompt_token_ids or ()),
        completion_tokens=len(completion.token_ids),
        seconds=seconds,
        probability=probability,
    )


def _first_token(positions: Iterable[Mapping[int, Any]] | None) -> list[tuple[str, float]]:
    """Likely tokens with log-probabilities at the reply's first position that holds a word."""
    for position in positions or ():
        entries = [entry for entry in position.values() if entry.decoded_token]
        if entries and folded(max(entries, key=lambda entry: entry.logprob).decoded_token):
            return [(entry.decoded_token, entry.logprob) for entry in entries]
    return []
