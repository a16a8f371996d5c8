"""The one small interface every chat engine implements: requests in, replies out as they finish.

What a request says, how replies are parsed and where they are stored is not known here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

FinishReason = Literal["stop", "length", "error"]


class EngineError(RuntimeError):
    """An engine cannot work at all (model missing, key refused); the message says what to do.

    Raised by an engine's `complete`, it ends the stage at once. A single request that fails is a reply with `error`.
    """


@dataclass(frozen=True, slots=True)
class ChatImage:
    """An image in a message: where it lies, and the sha256 of its bytes, which stands for it in the key."""

    path: Path
    sha256: str


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One turn. Text is data: control tokens inside it are never interpreted."""

    role: Literal["system", "user", "assistant"]
    text: str
    images: tuple[ChatImage, ...] = ()


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One question to a model, decoded greedily.

    `schema` is a JSON schema the reply must follow. `choices` are the only allowed replies; the engine then reports the
    probability of the first one where it can (p(yes) for choices ("yes", "no")).
    """

    messages: tuple[ChatMessage, ...]
    max_new_tokens: int
    schema: Mapping[str, Any] | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChatReply:
    """What came back for the request with this key. `error` is set when `finish_reason` is "error"."""

    key: str
    text: str
    finish_reason: FinishReason
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    probability: float | None = None
    error: str | None = None


@runtime_checkable
class ChatEngine(Protocol):
    """Answers chat requests.

    `fingerprint` identifies the answering model (weights hash and dtype, or name and declared revision) and is
    known without loading it. `complete` pulls keyed requests lazily, holds a bounded number of them, and yields one
    reply for each, in any order, as soon as it is there. Nothing heavy is imported before the first request.
    """

    @property
    def fingerprint(self) -> str:
        """Identifies the answering model."""

    def complete(self, requests: Iterable[tuple[str, ChatRequest]]) -> Generator[ChatReply, None, None]:
        """Answer keyed requests, in any order."""

    def close(self) -> None:
        """Free what the engine holds; it may be used again afterwards."""


@runtime_checkable
class BatchingEngine(ChatEngine, Protocol):
    """A chat engine that tells which replies are there together, so that they can be stored together."""

    def complete_together(self, requests: Iterable[tuple[str, ChatRequest]]) -> Generator[list[ChatReply], None, None]:
        """As `complete`; nothing is waited for between the replies of a list."""


def completed(
    engine: ChatEngine, requests: Iterable[tuple[str, ChatRequest]]
) -> Generator[list[ChatReply], None, None]:
    """An engine's replies as they finish: those of one list together, by themselves where it doesn't say."""
    if isinstance(engine, BatchingEngine):
        yield from engine.complete_together(requests)
        return
    with closing(engine.complete(requests)) as replies:
        for reply in replies:
            yield [reply]


_canonical = json.JSONEncoder(sort_keys=True, ensure_ascii=True, separators=(",", ":")).encode


@dataclass(slots=True)
class RequestKeys:
    """Ledger keys for one model: sha256 of the canonical JSON of all that decides a reply."""

    fingerprint: str

    def __call__(self, request: ChatRequest) -> str:
        """Hexadecimal key of a request, 64 characters."""
        document = {
            "model": self.fingerprint,
            "messages": [
                {
                    "role": message.role,
                    "text": message.text,
                    "images": [image.sha256 for image in message.images],
                }
                for message in request.messages
            ],
            "decoding": {"max_new_tokens": request.max_new_tokens, "temperature": 0},
            "schema": request.schema,
            "choices": request.choices,
        }
        return hashlib.sha256(_canonical(document).encode()).hexdigest()
