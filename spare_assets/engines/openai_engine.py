"""The engine that asks any server speaking the OpenAI chat completions protocol.

Here stand transport, retries and structured-output dialects. aiohttp rather than the `openai` package: it is
a dependency anyway, and every attempt, pause and limit stays visible here. The consumer's thread pulls
requests and receives replies; an event loop in a thread of its own holds the connections.

The API key is read from the environment at each attempt, is kept nowhere, and is blanked out of whatever text
a server sends back in an error.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import queue
import random
import re
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import uvloop
from yarl import URL

from spare_assets import settings as profile
from spare_assets.engines.chat import ChatReply, ChatRequest, EngineError
from spare_assets.engines.openai_format import (
    TOP_LOGPROBS,
    UnreadableImageError,
    choice_token_limit,
    folded,
    openai_messages,
    read_choice,
    rearmed,
)

# Some forty times what the longest reply of a caption takes; so much may be held per request in flight.
MAX_REPLY_BYTES = 4_000_000
MAX_PAUSE_SECONDS = 60.0
MAX_RETRY_AFTER_SECONDS = 120.0
CONNECT_SECONDS = 30.0
MESSAGE_CHARACTERS = 500
# Shorter words in the place of a key (EMPTY, none) may stand in a reply by right.
KEY_CHARACTERS = 16
# So many requests failed in a row, none answered between them, are an outage and not their own fault.
OUTAGE_REQUESTS = 64
_PULLING_SECONDS = 0.02
# Half of a character outside Unicode's first plane: JSON can say it, no table can hold it.
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_GREATEST_NUMBER = 1e12
_WORTH_ANOTHER_TRY = {408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529}


class _TransientError(Exception):
    """An attempt that may succeed when repeated."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class _RequestError(Exception):
    """A request that will fail however often it is repeated."""


_Outcome = ChatReply | Exception


class OpenAIEngine:
    """Asks an OpenAI-compatible server, `concurrency` requests at a time; a ChatEngine.

    A reply's `seconds` are those of its last attempt, without pauses. `name` is the engine's key in the
    profile, for messages.
    """

    def __init__(self, settings: profile.OpenAIEngine, name: str = "openai") -> None:
        self._settings = settings
        self._name = name
        self._open: set[_Connections] = set()

    @property
    def fingerprint(self) -> str:
        """Hash of model name, declared revision and whether replies are constrained; not of the URL."""
        constrained = () if self._settings.structured != "none" else ("unconstrained",)
        return profile.fingerprint("openai", self._settings.model, self._settings.revision, *constrained, length=64)

    def complete(self, requests: Iterable[tuple[str, ChatRequest]]) -> Generator[ChatReply, None, None]:
        """One reply per request, as they finish. At most twice `concurrency` requests are held.

        Raises EngineError where going on is pointless: key refused, model unknown, server not to be reached.
        """
        with closing(self.complete_together(requests)) as batches:
            for replies in batches:
                yield from replies

    def complete_together(self, requests: Iterable[tuple[str, ChatRequest]]) -> Generator[list[ChatReply], None, None]:
        """As `complete`, with those replies together that are there together."""
        connections = _Connections(self._settings, self._name)
        self._open.add(connections)
        try:
            yield from self._exchange(connections, iter(requests))
        finally:
            self._open.discard(connections)
            connections.close()

    def _exchange(
        self, connections: _Connections, requests: Iterator[tuple[str, ChatRequest]]
    ) -> Iterator[list[ChatReply]]:
        pending = 0
        more = True
        while True:
            begun = time.monotonic()
            while more and pending < 2 * self._settings.concurrency:
                if (item := next(requests, None)) is None:
                    more = False
                    break
                connections.ask(*item)
                pending += 1
                # Where requests are slow to come by, a reply is not to wait for them.
                if connections.has_finished and time.monotonic() - begun > _PULLING_SECONDS:
                    break
            if not pending:
                return
            outcomes = connections.finished()
            pending -= len(outcomes)
            error = next((outcome for outcome in outcomes if isinstance(outcome, Exception)), None)
            # What has already come back is not lost with the rest.
            while error is not None and connections.has_finished:
                outcomes += connections.finished()
            if replies := [outcome for outcome in outcomes if isinstance(outcome, ChatReply)]:
                yield replies
            if error is not None:
                raise error

    def close(self) -> None:
        """Stop what is under way and free connections. The engine can be used again."""
        for connections in list(self._open):
            connections.close()


class _Connections:
    """An event loop in its own thread with one connection pool, for one call of `complete`.

    Waking the other thread costs more than a reply takes to read. So requests are left where a task that ends one
    takes up the next, the loop being woken only for a task more; and what ends in one turn of the loop is told at once.
    """

    def __init__(self, settings: profile.OpenAIEngine, name: str) -> None:
        self._settings = settings
        self._name = name
        self._url, self._proxy = _endpoint(settings.base_url, name)
        self._answered = False
        self._failed_in_a_row = 0
        self._logprobs = True
        self._session: aiohttp.ClientSession | None = None
        self._waiting: deque[tuple[str, ChatRequest]] = deque()
        self._tasks = 0
        self._running: set[asyncio.Task[None]] = set()
        self._ended: list[_Outcome] = []
        self._told: queue.SimpleQueue[list[_Outcome]] = queue.SimpleQueue()
        # Guards what the consumer and the loop both count on: closed or not, what waits, and how many tasks see to it.
        self._lock = threading.Lock()
        self._closed = False
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=f"engine-{name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    def ask(self, key: str, request: ChatRequest) -> None:
        """Have a request answered. Raises EngineError when closed."""
        with self._lock:
            if self._closed:
                raise EngineError(f"engine {self._name} was closed while requests were being asked")
            self._waiting.append((key, request))
            if self._tasks < self._settings.concurrency:
                self._tasks += 1
                self._loop.call_soon_threadsafe(self._start_task)

    @property
    def has_finished(self) -> bool:
        """Whether `finished` would return at once."""
        return not self._told.empty()

    def finished(self) -> list[_Outcome]:
        """What became of the requests that ended next, one or more; waits for them."""
        return self._told.get()

    def close(self) -> None:
        """Cancel all requests, close sockets, end the thread. Whoever waits for a reply is told so by an error."""
        with self._lock:
            first, self._closed = not self._closed, True
        try:
            if first:
                asyncio.run_coroutine_threadsafe(self._wind_down(), self._loop).result(timeout=5)
        finally:
            if first:
                self._told.put([EngineError(f"engine {self._name} was closed while replies were awaited")])
                self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=5)

    def _start_task(self) -> None:
        task = self._loop.create_task(self._answer_waiting())
        # The loop itself holds tasks by weak references alone.
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _answer_waiting(self) -> None:
        """Answer one request after another, as long as any wait."""
        while True:
            with self._lock:
                if not self._waiting:
                    self._tasks -= 1
                    return
                key, request = self._waiting.popleft()
            try:
                self._tell(await self._ask(key, request))
            except Exception as error:  # whatever it is, it ends the stage, in the consumer's thread
                self._tell(error)

    def _tell(self, outcome: _Outcome) -> None:
        if not self._ended:
            self._loop.call_soon(self._tell_ended)
        self._ended.append(outcome)

    def _tell_ended(self) -> None:
        self._told.put(self._ended)
        self._ended = []

    async def _wind_down(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _ask(self, key: str, request: ChatRequest) -> ChatReply:
        try:
            return await self._attempts(key, request, self._body(request))
        except (_RequestError, UnreadableImageError) as error:
            return ChatReply(key, "", "error", error=str(error))

    async def _attempts(self, key: str, request: ChatRequest, body: dict[str, Any]) -> ChatReply:
        last: _TransientError | None = None
        for attempt in range(self._settings.attempts):
            if last is not None:
                await asyncio.sleep(self._pause(attempt, last.retry_after))
            started = time.monotonic()
            try:
                answer = await self._answer(request, body)
                reply = self._reply(key, request, answer, time.monotonic() - started)
            except _TransientError as error:
                last = error
            except _RequestError as error:
                raise self._failed(str(error)) from None
            else:
                self._answered = True
                self._failed_in_a_row = 0
                return reply
        if not self._connected:
            raise self._unreachable(str(last))
        raise self._failed(f"gave up after {self._settings.attempts} attempts; the last: {last}")

    def _failed(self, message: str) -> _RequestError | EngineError:
        """The end of a request without an answer; of the stage, where it is one of too many in a row."""
        self._failed_in_a_row += 1
        if self._failed_in_a_row < max(OUTAGE_REQUESTS, 2 * self._settings.concurrency):
            return _RequestError(message)
        return EngineError(
            f"engine {self._name}: {self._failed_in_a_row} requests in a row got no answer from "
            f"{self._settings.base_url}; the last: {message}. Start again when the server is well and "
            f"engines.{self._name} fits it: what was answered is kept"
        )

    def _pause(self, attempt: int, retry_after: float | None) -> float:
        """Seconds before the given attempt (from 1): doubling, with jitter, not before Retry-After."""
        first = self._settings.backoff_seconds
        pause = min(first * 2.0 ** (attempt - 1), MAX_PAUSE_SECONDS) * random.uniform(0.5, 1.0)
        if retry_after is not None:
            pause = max(pause, min(retry_after, MAX_RETRY_AFTER_SECONDS) + random.uniform(0, first))
        return pause

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._settings.model,
            "messages": openai_messages(request),
            "temperature": 0,
            self._settings.token_limit_field: request.max_new_tokens,
        }
        structured = self._settings.structured
        if request.choices:
            body[self._settings.token_limit_field] = choice_token_limit(request)
            if self._logprobs:
                body |= {"logprobs": True, "top_logprobs": TOP_LOGPROBS}
            if structured == "guided_json":
                body["guided_choice"] = list(request.choices)
        elif request.schema is not None:
            schema = dict(request.schema)
            if structured == "json_schema":
                body["response_format"] = {
                    "type": "json_schema",
                    "json_schema": {"name": "reply", "strict": True, "schema": schema},
                }
            elif structured == "json_object_schema":
                body["response_format"] = {"type": "json_object", "schema": schema}
            elif structured == "guided_json":
                body["guided_json"] = schema
        return body

    async def _answer(self, request: ChatRequest, body: dict[str, Any]) -> Mapping[str, Any]:
        """The server's JSON answer to one attempt; one that refuses log-probabilities is asked without."""
        try:
            return self._accepted(request, *await self._post(body))
        except _RequestError as error:
            if "logprobs" not in body or "logprobs" not in str(error):
                raise
        self._logprobs = False
        del body["logprobs"], body["top_logprobs"]
        return self._accepted(request, *await self._post(body))

    async def _post(self, body: dict[str, Any]) -> tuple[int, Mapping[str, str], bytes]:
        session = self._opened_session()
        key = self._api_key()
        try:
            async with session.post(
                self._url,
                data=aiohttp.BytesPayload(json.dumps(body).encode()),
                headers={"Authorization": f"Bearer {key}"} if key else None,
                allow_redirects=False,
                proxy=self._proxy,
            ) as response:
                content = bytearray()
                while chunk := await response.content.readany():
                    content += chunk
                    if len(content) > MAX_REPLY_BYTES:
                        raise _RequestError(f"the reply is larger than {MAX_REPLY_BYTES:,} bytes")
                return response.status, response.headers, bytes(content)
        except (aiohttp.ClientError, OSError) as error:
            problem = self._connection_problem(error)
        # Raised out here so that it does not carry aiohttp's exception, which holds the request's headers.
        raise problem

    def _opened_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            seconds = self._settings.timeout_seconds
            self._session = aiohttp.ClientSession(
                connector=_Connector(limit=self._settings.concurrency),
                timeout=aiohttp.ClientTimeout(total=seconds, sock_connect=min(seconds, CONNECT_SECONDS)),
                headers={"Content-Type": "application/json", "User-Agent": "spare-assets"},
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    @property
    def _connected(self) -> bool:
        """Whether the server was ever reached."""
        connector = None if self._session is None else self._session.connector
        return isinstance(connector, _Connector) and connector.connected

    def _connection_problem(self, error: Exception) -> _TransientError | EngineError:
        if isinstance(error, TimeoutError):
            return _TransientError(f"no reply within {self._settings.timeout_seconds:g} s")
        message = self._clean(f"{type(error).__name__}: {error}")
        hopeless = (aiohttp.ClientConnectorDNSError, aiohttp.ClientSSLError, aiohttp.ClientHttpProxyError)
        if isinstance(error, hopeless) and not self._connected:
            return self._unreachable(message)
        return _TransientError(message)

    def _unreachable(self, message: str) -> EngineError:
        return EngineError(
            f"engine {self._name}: no connection to {self._settings.base_url} ({message}). "
            f"Start the server, or correct engines.{self._name}.base_url"
        )

    def _accepted(
        self, request: ChatRequest, status: int, headers: Mapping[str, str], content: bytes
    ) -> Mapping[str, Any]:
        """The answer's JSON object, where the status says that it is one."""
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            answer = None
        if 200 <= status < 300:
            if not isinstance(answer, dict):
                raise _TransientError(
                    self._clean(
                        f"a reply that is no JSON object ({headers.get('Content-Type', 'no content type')}): "
                        f"{content[:200].decode('utf-8', 'replace')}"
                    )
                )
            return answer
        message = f"HTTP {status}: {self._clean(_server_message(answer, content))}"
        if request.schema is not None and status in {400, 422, 500}:
            message += f" (does the server take engines.{self._name}.structured={self._settings.structured}?)"
        if stop := self._hopeless(status, answer, message):
            raise stop
        if status in _WORTH_ANOTHER_TRY:
            raise _TransientError(message, _retry_after(headers.get("Retry-After")))
        raise _RequestError(message)

    def _hopeless(self, status: int, answer: Any, message: str) -> EngineError | None:
        """What ends the stage at once: the next request would be answered alike."""
        name, url = self._name, self._settings.base_url
        variable = self._settings.api_key_variable
        if status == 401 or (status == 403 and not self._answered):
            if variable is None:
                advice = f"name the environment variable of a key in engines.{name}.api_key_variable"
            elif self._api_key():
                advice = f"put a valid key into the environment variable {variable}"
            else:
                advice = f"no key was sent: set the environment variable {variable}"
            return EngineError(f"engine {name}: {url} refused access ({message}); {advice}")
        if status in {404, 405}:
            return EngineError(
                f"engine {name}: {url} does not know this model or address ({message}); "
                f"check engines.{name}.model ({self._settings.model}) and engines.{name}.base_url"
            )
        code = answer.get("error") if isinstance(answer, dict) else None
        quota = isinstance(code, dict) and code.get("code") == "insufficient_quota"
        if status == 402 or quota:
            return EngineError(f"engine {name}: the account at {url} has no credit left ({message})")
        if 300 <= status < 400:
            return EngineError(
                f"engine {name}: {url} sends elsewhere (HTTP {status}); "
                f"put the final address into engines.{name}.base_url"
            )
        return None

    def _reply(self, key: str, request: ChatRequest, answer: Mapping[str, Any], seconds: float) -> ChatReply:
        choices = answer.get("choices")
        first = choices[0] if isinstance(choices, list) and choices else None
        message = first.get("message") if isinstance(first, dict) else None
        if not isinstance(first, dict) or not isinstance(message, dict):
            what = _server_message(answer, b"") if "error" in answer else "no choices in it"
            raise _TransientError(f"a reply without text: {self._clean(what)}")
        text = self._without_key(rearmed(_text(message.get("content")), request))
        reason = first.get("finish_reason")
        if reason == "content_filter":
            return ChatReply(key, "", "error", error="the server's content filter stopped the reply")
        if not text and isinstance(refusal := message.get("refusal"), str) and refusal:
            return ChatReply(key, "", "error", error=f"the model refused: {self._clean(refusal)}")
        probability = None
        if request.choices:
            choice, probability = read_choice(text, request.choices, _first_token(first))
            if choice is not None:
                text, reason = choice, "stop"
        usage = answer.get("usage")
        return ChatReply(
            key,
            text,
            "length" if reason == "length" else "stop",
            prompt_tokens=_count(usage, "prompt_tokens"),
            completion_tokens=_count(usage, "completion_tokens"),
            seconds=seconds,
            probability=probability,
        )

    def _api_key(self) -> str | None:
        variable = self._settings.api_key_variable
        key = os.environ.get(variable, "").strip() if variable else ""
        if not (key.isascii() and key.isprintable()):
            raise EngineError(f"engine {self._name}: the key in {variable} holds characters that no header can carry")
        return key or None

    def _without_key(self, text: str) -> str:
        """A reply, which is stored and published, where a server repeats the key; short words like EMPTY are none."""
        key = self._api_key()
        return text.replace(key, "[key]") if key and len(key) >= KEY_CHARACTERS else text

    def _clean(self, text: str) -> str:
        """Outside text for a message: one line, cut, without the key."""
        if key := self._api_key():
            text = text.replace(key, "[key]")
        return _storable(" ".join(text.split())[:MESSAGE_CHARACTERS])


class _Connector(aiohttp.TCPConnector):
    """Knows whether any connection came about; tracing, which tells it too, is dear at every request."""

    connected = False

    async def connect(self, *arguments: Any, **named: Any) -> Any:
        """A connection, as aiohttp asks for it."""
        connection = await super().connect(*arguments, **named)
        self.connected = True
        return connection


def _endpoint(base_url: str, name: str) -> tuple[URL, str | None]:
    """Address of chat completions, and the proxy of the environment that leads there.

    Raises EngineError for what is no http(s) address.
    """
    setting = f"engines.{name}.base_url"
    try:
        parts = urlsplit(base_url)
        host = parts.hostname
        valid = parts.scheme in {"http", "https"} and bool(host) and parts.port != 0
    except ValueError:
        valid, host = False, None
    if not valid or host is None:
        raise EngineError(f"{setting}: not an http or https address; it looks like http://127.0.0.1:8000/v1")
    local = host == "localhost" or host == "::1" or host.startswith("127.")
    proxy = None if local or urllib.request.proxy_bypass(host) else urllib.request.getproxies().get(parts.scheme)
    return URL(base_url.rstrip("/") + "/chat/completions"), proxy


def _server_message(answer: Any, content: bytes) -> str:
    """The words of a server's error, wherever the common servers put them."""
    if isinstance(answer, dict):
        for field in ("error", "message", "detail"):
            value = answer.get(field)
            if isinstance(value, dict):
                value = value.get("message") or value
            if value:
                return value if isinstance(value, str) else json.dumps(value)
    return content[:2000].decode("utf-8", "replace")


def _retry_after(value: str | None) -> float | None:
    """Seconds to wait by a Retry-After header (seconds or an HTTP date); None where it says nothing."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            until = parsedate_to_datetime(value)
        except ValueError:
            return None
        seconds = (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _text(content: Any) -> str:
    if content is None:
        return ""
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(part for part in parts if isinstance(part, str))
    if not isinstance(content, str):
        raise _TransientError("a reply whose text is no string")
    return _storable(content)


def _storable(text: str) -> str:
    """The text as UTF-8 can hold it."""
    return _LONE_SURROGATE.sub("\ufffd", text)


def _first_token(choice: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Likely tokens with log-probabilities at the reply's first position that holds a word."""
    logprobs = choice.get("logprobs")
    positions = logprobs.get("content") if isinstance(logprobs, dict) else None
    for position in positions if isinstance(positions, list) else []:
        if isinstance(position, dict) and folded(str(position.get("token", ""))):
            ranked = position.get("top_logprobs") or [position]
            return [
                (entry["token"], float(entry["logprob"]))
                for entry in (ranked if isinstance(ranked, list) else [])
                if isinstance(entry, dict)
                and isinstance(entry.get("token"), str)
                and isinstance(entry.get("logprob"), int | float)
                and abs(entry["logprob"]) < _GREATEST_NUMBER
            ]
    return []


def _count(usage: Any, field: str) -> int:
    value = usage.get(field) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and 0 <= value < _GREATEST_NUMBER else 0
