"""The engine that runs a chat model in this process with Hugging Face transformers.

Here stand loading, batching and reading replies out of generated tokens; prompts become tokens in
`prompt_encoding`, schemas hold in `constrained_decoding`. Requests are pulled in windows, sorted by length so that
little is padding, and answered batch by batch, greedily.

Which requests share a batch can change the last bits of a sum, more so in bfloat16, and so now and then a token: a
reply is repeatable for equal batches, not for any company. The completion ledger, where the first answer wins, is
what makes tables repeatable.
"""

from __future__ import annotations

import gc
import logging
import math
import sys
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from spare_assets import settings as profile
from spare_assets.engines.chat import ChatReply, ChatRequest, EngineError
from spare_assets.engines.constrained_decoding import Grammars, RowLimits, SchemaMask, UnusableSchemaError
from spare_assets.engines.openai_format import UnreadableImageError
from spare_assets.engines.prompt_encoding import EncodedPrompt, PromptEncoder, UnencodableTextError
from spare_assets.engines.weights import (
    ADAPTER,
    adapter_fingerprint,
    find_adapter,
    find_model,
    find_tokenizer,
    number_format,
    weights_fingerprint,
)

BATCHES_PER_WINDOW = 16
# Pixels are held as tensors, so a window ends early when it holds many images.
IMAGES_PER_BATCH_SIZE = 2
_TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>", "<|endoftext|>", "</s>")

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Waiting:
    """A request ready to be run: its prompt, how many tokens its reply may take, its grammar."""

    key: str
    request: ChatRequest
    prompt: EncodedPrompt
    limit: int
    matcher: Any = None

    @property
    def kind(self) -> tuple[Any, ...]:
        """What the requests of a batch have in common."""
        return (bool(self.request.choices), self.prompt.signature)


class TransformersEngine:
    """Answers with a local model, text or vision-language; a ChatEngine.

    A reply's `seconds` are its share of its batch, so that they add up to the time the model ran. `name` is the
    engine's key in the profile, for messages; `cache` remembers hashes of weight files.
    """

    def __init__(
        self, settings: profile.TransformersEngine, name: str = "transformers", cache: Path | None = None
    ) -> None:
        self._settings = settings
        self._name = name
        self._cache = cache
        self._fingerprint: str | None = None
        self._model: _Model | None = None
        self._size = settings.batch_size
        self._stop = threading.Event()

    @property
    def fingerprint(self) -> str:
        """Hash of weights, adapter, tokenizer and dtype, of the pictures' size, and whether replies are constrained.

        Raises EngineError where the model is not to be found.
        """
        if self._fingerprint is None:
            settings = self._settings
            weights = weights_fingerprint(
                settings.model,
                settings.revision,
                settings.gguf_file,
                settings.dtype,
                self._cache,
                tokenizer=settings.tokenizer,
                setting=f"engines.{self._name}.model",
            )
            parts: list[Any] = [] if settings.structured else ["unconstrained"]
            if settings.adapter is not None:
                setting = f"engines.{self._name}.adapter"
                parts.append({"adapter": adapter_fingerprint(settings.adapter, self._cache, setting)})
            if settings.min_pixels is not None or settings.max_pixels is not None:
                parts.append({"pixels": [settings.min_pixels, settings.max_pixels]})
            self._fingerprint = profile.fingerprint(weights, *parts, length=64)
        return self._fingerprint

    def complete(self, requests: Iterable[tuple[str, ChatRequest]]) -> Generator[ChatReply, None, None]:
        """One reply per request, batch by batch. At most `16 * batch_size` requests are held.

        Raises EngineError where the model cannot be loaded or fits no request of this form.
        """
        stop = self._stop = threading.Event()
        source = iter(requests)
        while window := self._window(source):
            if self._model is None:
                self._model = _Model(self._settings, self._name)
            yield from self._answers(self._model, window, stop)

    def close(self) -> None:
        """Stop between two decoding steps and free the model. The engine can be used again."""
        self._stop.set()
        self._model = None
        self._size = self._settings.batch_size
        gc.collect()
        if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _window(self, source: Iterator[tuple[str, ChatRequest]]) -> list[tuple[str, ChatRequest]]:
        window: list[tuple[str, ChatRequest]] = []
        images = 0
        size = self._settings.batch_size
        for key, request in source:
            window.append((key, request))
            images += sum(len(message.images) for message in request.messages)
            if len(window) >= BATCHES_PER_WINDOW * size or images >= IMAGES_PER_BATCH_SIZE * size:
                break
        return window

    def _answers(
        self, model: _Model, window: list[tuple[str, ChatRequest]], stop: threading.Event
    ) -> Iterator[ChatReply]:
        ready: list[_Waiting] = []
        for key, request in window:
            prepared = model.prepare(key, request)
            if isinstance(prepared, ChatReply):
                yield prepared
            else:
                ready.append(prepared)
        waiting = deque(sorted(ready, key=lambda item: (item.kind, len(item.prompt.ids))))
        while waiting:
            _, alike = next(groupby(waiting, key=lambda item: item.kind))
            batch = list(islice(alike, self._size))
            replies = model.run(batch, stop)
            if stop.is_set():
                raise EngineError(f"engine {self._name} was closed while replies were awaited")
            if replies is None and len(batch) > 1:
                self._size = len(batch) // 2
                log.warning("engine %s: out of GPU memory, going on with batches of %d", self._name, self._size)
                continue
            for item in batch:
                waiting.popleft()
                if replies is None:
                    tokens = len(item.prompt.ids)
                    yield _failed(item.key, f"out of GPU memory with a prompt of {tokens:,} tokens alone")
            yield from replies or ()


class _Model:
    """A loaded model with all that belongs to running it."""

    def __init__(self, settings: profile.TransformersEngine, name: str) -> None:
        self._settings = settings
        setting = f"engines.{name}.model"
        files = find_model(settings.model, settings.revision, settings.gguf_file, setting)
        tokenizer_folder = files.folder
        if settings.tokenizer is not None:
            tokenizer_folder = find_tokenizer(settings.tokenizer, f"engines.{name}.tokenizer")
        # Looked for here, as peft would go on to the hub and to pickles.
        adapter = None if settings.adapter is None else find_adapter(settings.adapter, f"engines.{name}.adapter")
        from spare_assets.clip.torchvision_shim import install

        # transformers imports torchvision where it is installed.
        install()
        import torch
        from transformers.utils import logging

        # The run log says how far a stage is; bars of loading weights would only break its lines.
        logging.disable_progress_bar()
        self._torch = torch
        self._device = _device(settings.device, name)
        dtype = getattr(torch, number_format(files, settings.dtype))
        started = time.monotonic()
        try:
            tokenizer, processor, model = _loaded(files.folder, tokenizer_folder, settings, files.config, dtype)
            self._model = _with_adapter(model, adapter).to(self._device).eval()
        except Exception as error:  # whatever a library raises here, the model cannot be loaded
            raise EngineError(
                f"{setting}: {settings.model} could not be loaded from {files.folder} "
                f"({type(error).__name__}: {str(error).strip()[:500]}). It must be a model that transformers "
                "knows without code of its own, and fit into memory"
            ) from error
        log.info("engine %s: loaded %s in %.0f s", name, settings.model, time.monotonic() - started)
        text_config = self._model.config.get_text_config()
        self._context = int(getattr(text_config, "max_position_embeddings", None) or sys.maxsize)
        self._tokenizer = tokenizer
        self._end_tokens = _end_tokens(tokenizer, self._model)
        if not self._end_tokens:
            raise EngineError(f"{setting}: {settings.model} has no token that ends a reply: choose an instruct model")
        pad = tokenizer.pad_token_id
        self._pad = self._end_tokens[0] if pad is None else int(pad)
        # What a release recommends for chatting (sampling, penalties) does not apply: decoding is greedy.
        self._model.generation_config = type(self._model.generation_config)()
        self._encoder = PromptEncoder(tokenizer, processor)
        self._grammars = Grammars(tokenizer, int(text_config.vocab_size), self._end_tokens)
        self._first_tokens: dict[tuple[str, ...], list[list[int]]] = {}

    def prepare(self, key: str, request: ChatRequest) -> _Waiting | ChatReply:
        """The request ready to be run, or the reply that says why it can't be."""
        try:
            prompt = self._encoder.encode(request)
            room = self._context - len(prompt.ids)
            if room < 1:
                return _failed(key, f"the prompt has {len(prompt.ids):,} tokens, the model's context {self._context:,}")
            item = _Waiting(key, request, prompt, min(request.max_new_tokens, room))
            if request.choices:
                item.limit = 1
                self._choice_tokens(request.choices)
            elif request.schema is not None and self._settings.structured:
                item.matcher = self._grammars.matcher(request.schema)
        except (UnencodableTextError, UnreadableImageError, UnusableSchemaError) as error:
            return _failed(key, str(error))
        return item

    def run(self, batch: Sequence[_Waiting], stop: threading.Event) -> list[ChatReply] | None:
        """Replies of one batch, or None where the GPU's memory does not hold it."""
        started = time.monotonic()
        try:
            output, prompt_length = self._generate(batch, stop)
        except self._torch.OutOfMemoryError:
            output = None
        if output is None:
            gc.collect()
            self._torch.cuda.empty_cache()
            return None
        seconds = (time.monotonic() - started) / len(batch)
        if batch[0].request.choices:
            logits = output.logits[0].float().cpu()
            return [self._choice(item, logits[row], seconds) for row, item in enumerate(batch)]
        generated = output.sequences[:, prompt_length:].tolist()
        return [self._reply(item, generated[row], seconds) for row, item in enumerate(batch)]

    def _generate(self, batch: Sequence[_Waiting], stop: threading.Event) -> tuple[Any, int]:
        torch = self._torch
        from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

        length = max(len(item.prompt.ids) for item in batch)
        limits = [item.limit for item in batch]
        inputs = {
            "input_ids": self._left_padded([item.prompt.ids for item in batch], length, self._pad),
            "attention_mask": self._left_padded([[1] * len(item.prompt.ids) for item in batch], length, 0),
        }
        for name in batch[0].prompt.per_token:
            inputs[name] = self._left_padded([item.prompt.per_token[name] for item in batch], length, 0)
        for name in batch[0].prompt.images:
            stacked = torch.cat([item.prompt.images[name] for item in batch]).to(self._device)
            inputs[name] = stacked.to(self._model.dtype) if stacked.is_floating_point() else stacked
        matchers = [item.matcher for item in batch]
        output = self._model.generate(
            **inputs,
            generation_config=GenerationConfig(
                do_sample=False,
                max_new_tokens=max(limits),
                eos_token_id=self._end_tokens,
                pad_token_id=self._pad,
                return_dict_in_generate=True,
                output_logits=bool(batch[0].request.choices),
            ),
            logits_processor=LogitsProcessorList(
                [SchemaMask(matchers, limits, length)] if any(m is not None for m in matchers) else []
            ),
            stopping_criteria=StoppingCriteriaList([RowLimits(limits, length, stop)]),
        )
        return output, length

    def _left_padded(self, rows: Sequence[Sequence[int]], length: int, value: int) -> Any:
        padded = [[value] * (length - len(row)) + list(row) for row in rows]
        return self._torch.tensor(padded, dtype=self._torch.long, device=self._device)

    def _reply(self, item: _Waiting, generated: list[int], seconds: float) -> ChatReply:
        generated = generated[: item.limit]
        end = next((place for place, token in enumerate(generated) if token in self._end_tokens), None)
        tokens = generated if end is None else generated[: end + 1]
        if item.matcher is not None and item.matcher.is_error():
            return _failed(item.key, f"decoding left the schema: {item.matcher.get_error()}"[:500])
        return ChatReply(
            item.key,
            self._tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False),
            "length" if end is None else "stop",
            prompt_tokens=len(item.prompt.ids),
            completion_tokens=len(tokens),
            seconds=seconds,
        )

    def _choice(self, item: _Waiting, logits: Any, seconds: float) -> ChatReply:
        """The likeliest choice by the logits of the reply's first token, and p(first choice) among all."""
        choices = item.request.choices
        scores = self._torch.stack([logits[ids].logsumexp(0) for ids in self._choice_tokens(choices)])
        probabilities = scores.softmax(0).tolist()
        if not math.isfinite(probabilities[0]):
            return _failed(item.key, "the model's scores are not numbers: its dtype may be too small (setting `dtype`)")
        best = max(range(len(choices)), key=lambda place: probabilities[place])
        return ChatReply(
            item.key,
            choices[best],
            "stop",
            prompt_tokens=len(item.prompt.ids),
            completion_tokens=1,
            seconds=seconds,
            probability=probabilities[0],
        )

    def _choice_tokens(self, choices: tuple[str, ...]) -> list[list[int]]:
        """For each choice the tokens its variants in case and space begin with, and no other choice's do."""
        if choices not in self._first_tokens:
            begins = []
            for choice in choices:
                words = {choice, choice.lower(), choice.upper(), choice.capitalize()}
                variants = [space + word for word in words for space in ("", " ")]
                begins.append({self._tokenizer(text, add_special_tokens=False)["input_ids"][0] for text in variants})
            own = [sorted(ids.difference(*(other for other in begins if other is not ids))) for ids in begins]
            if not all(own):
                raise UnusableSchemaError(f"choices {choices} begin with the same token of this model")
            self._first_tokens[choices] = own
        return self._first_tokens[choices]


def _failed(key: str, error: str) -> ChatReply:
    return ChatReply(key, "", "error", error=error)


def _device(device: str, name: str) -> str:
    import torch

    available = torch.cuda.is_available()
    if device == "auto":
        return "cuda" if available else "cpu"
    if device.startswith("cuda") and not available:
        raise EngineError(f"engines.{name}.device: {device}, but torch sees no GPU here; set it to auto or cpu")
    return device


def _loaded(
    folder: Path, tokenizer_folder: Path, settings: profile.TransformersEngine, config: Any, dtype: Any
) -> tuple[Any, Any, Any]:
    """Tokenizer, processor (None for a text model) and model, from local files without code of their own."""
    import transformers

    # Bars of their own would garble a run's log.
    transformers.utils.logging.disable_progress_bar()
    safe = {"local_files_only": True, "trust_remote_code": False}
    if settings.gguf_file is None and "vision_config" in config:
        processor = transformers.AutoProcessor.from_pretrained(tokenizer_folder, **safe)
        model = transformers.AutoModelForImageTextToText.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, **safe
        )
        _bound_pixels(processor, settings)
        return processor.tokenizer, processor, model
    weights: dict[str, Any] = {"use_safetensors": True}
    if settings.gguf_file is not None:
        weights = {"gguf_file": settings.gguf_file}
        # Packed weights would be multiplied by kernels that are fetched, as code, from the hub.
        if hasattr(transformers, "GgufConfig"):
            weights["quantization_config"] = transformers.GgufConfig(dequantize=True)
    of_tokenizer = {"gguf_file": settings.gguf_file} if settings.gguf_file and not settings.tokenizer else {}
    tokenizer = transformers.AutoTokenizer.from_pretrained(tokenizer_folder, **of_tokenizer, **safe)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, **weights, **safe)
    return tokenizer, None, model


def _bound_pixels(processor: Any, settings: profile.TransformersEngine) -> None:
    """Set how large pictures are shown; what is not set stays as released."""
    bounds = {"shortest_edge": settings.min_pixels, "longest_edge": settings.max_pixels}
    wanted = {name: value for name, value in bounds.items() if value is not None}
    if not wanted:
        return
    images = processor.image_processor
    size = dict(images.size or {})
    # Of Qwen2-VL's kind, which merges patches, these two bound pixels; of others they are lengths of sides.
    if not (hasattr(images, "merge_size") and size.keys() >= bounds.keys()):
        raise ValueError("it has no bounds on a picture's pixels, so min_pixels and max_pixels cannot be set for it")
    size |= wanted
    if size["shortest_edge"] > size["longest_edge"]:
        raise ValueError(f"min_pixels {size['shortest_edge']} exceeds max_pixels {size['longest_edge']}; set both")
    images.size = size


def _with_adapter(model: Any, adapter: Path | None) -> Any:
    """The model with a LoRA adapter merged into it. Raises ValueError where one doesn't fit the other."""
    if adapter is None:
        return model
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors import safe_open

    adapted = PeftModel.from_pretrained(model, adapter, use_safetensors=True, local_files_only=True)
    with safe_open(str(adapter / ADAPTER[0]), "pt") as file:
        held = set(file.keys())
    # peft would pass over what has no place, and leave what is absent as it was initialised.
    unknown = held - set(get_peft_model_state_dict(adapted, save_embedding_layers=True))
    absent = set(get_peft_model_state_dict(adapted, save_embedding_layers=False)) - held
    if unknown or absent:
        raise ValueError(
            f"the adapter {adapter} is not of this model: {len(unknown)} of its tensors have no place in it and "
            f"{len(absent)} are lacking, among them {min(unknown or absent)[:200]}"
        )
    return adapted.merge_and_unload()


def _end_tokens(tokenizer: Any, model: Any) -> list[int]:
    """Every token that ends a reply: the model's, the tokenizer's, and the usual ends of a turn."""
    ends: set[int] = set()
    owners = (model.generation_config, model.config, model.config.get_text_config(), tokenizer)
    for declared in (getattr(owner, "eos_token_id", None) for owner in owners):
        ends.update([declared] if isinstance(declared, int) else declared or [])
    vocabulary = tokenizer.get_vocab()
    ends.update(vocabulary[text] for text in _TURN_ENDS if text in vocabulary)
    return sorted(ends)
