"""A real HTTP server on loopback that speaks chat completions and misbehaves as told.

`ChatServer(behave)` asks `behave(call)` what to do with each call; behaviours are the small classes below. It
counts calls, keeps bodies and headers, and knows how many were in flight at once.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from aiohttp import web


@dataclass(frozen=True)
class Call:
    """One request as it reached the server. `nth` counts calls with the same last message, from 1."""

    number: int
    nth: int
    body: dict[str, Any]
    headers: Mapping[str, str]

    @property
    def text(self) -> str:
        """Text of the last message."""
        content = self.body["messages"][-1]["content"]
        return content if isinstance(content, str) else content[-1]["text"]


@dataclass(frozen=True)
class Answer:
    """A good reply, after `seconds`."""

    text: str | None = "fine"
    finish_reason: str | None = "stop"
    seconds: float = 0.0
    logprobs: list[dict[str, Any]] | None = None
    message: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Raw:
    """Any status, headers and body, after `seconds`."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    seconds: float = 0.0


@dataclass(frozen=True)
class Stream:
    """A chunk again and again, with a pause after each: a trickle, or more than anybody wants."""

    chunk: bytes
    times: int
    pause: float = 0.0
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Drop:
    """The connection is cut without a word."""


Behaviour = Answer | Raw | Stream | Drop


def error(status: int, message: str = "no", **headers: str) -> Raw:
    """An error in the form the common servers use; `retry_after="1"` becomes a Retry-After header."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Raw(status, json.dumps({"error": {"message": message}}).encode(), named)


class ChatServer:
    """Serves in a thread of its own while used as a context manager."""

    def __init__(self, behave: Callable[[Call], Behaviour] = lambda call: Answer(call.text)) -> None:
        self.behave = behave
        self.calls: list[Call] = []
        self.in_flight = 0
        self.peak = 0
        self._seen: dict[str, int] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> ChatServer:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self) -> None:
        application = web.Application(client_max_size=100_000_000)
        application.router.add_post("/v1/chat/completions", self._handle)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        identity = json.dumps(body["messages"][-1])
        self._seen[identity] = self._seen.get(identity, 0) + 1
        call = Call(len(self.calls) + 1, self._seen[identity], body, dict(request.headers))
        self.calls.append(call)
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            return await self._respond(request, call, self.behave(call))
        finally:
            self.in_flight -= 1

    async def _respond(self, request: web.Request, call: Call, behaviour: Behaviour) -> web.StreamResponse:
        if isinstance(behaviour, Drop):
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if isinstance(behaviour, Stream):
            response = web.StreamResponse(headers={"Content-Type": "application/json", **behaviour.headers})
            await response.prepare(request)
            for _ in range(behaviour.times):
                await response.write(behaviour.chunk)
                await asyncio.sleep(behaviour.pause)
            return response
        await asyncio.sleep(behaviour.seconds)
        if isinstance(behaviour, Raw):
            return web.Response(
                status=behaviour.status,
                body=behaviour.body,
                headers=behaviour.headers,
                content_type=behaviour.content_type,
            )
        choice: dict[str, Any] = {
            "index": 0,
            "message": {"role": "assistant", "content": behaviour.text, **behaviour.message},
            "finish_reason": behaviour.finish_reason,
        }
        if behaviour.logprobs is not None and call.body.get("logprobs"):
            choice["logprobs"] = {"content": behaviour.logprobs}
        return web.json_response(
            {
                "object": "chat.completion",
                "choices": [choice],
                "usage": {"prompt_tokens": len(call.text.split()), "completion_tokens": 7},
            }
        )
