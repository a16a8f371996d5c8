from __future__ import annotations

import base64
import io
import itertools
import json
import logging
import math
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from spare_assets import settings as profile
from spare_assets.engines import openai_engine
from spare_assets.engines.chat import ChatEngine, ChatImage, ChatMessage, ChatReply, ChatRequest, EngineError
from spare_assets.engines.openai_engine import OpenAIEngine
from spare_assets.engines.openai_format import read_choice
from spare_assets_tests.engines.chat_server import Answer, Behaviour, Call, ChatServer, Drop, Raw, error

KEY = "sk-planted-5b1f0c7d-not-to-be-seen"
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


def ask(text: str, **kwargs: Any) -> ChatRequest:
    return ChatRequest((ChatMessage("user", text),), kwargs.pop("max_new_tokens", 100), **kwargs)


def keyed(count: int) -> list[tuple[str, ChatRequest]]:
    return [(f"key{number}", ask(f"question {number}")) for number in range(count)]


def engine(server: ChatServer | str, **kwargs: Any) -> OpenAIEngine:
    url = server if isinstance(server, str) else server.base_url
    values = {
        "timeout_seconds": 5,
        "backoff_seconds": 0.01,
        "concurrency": 8,
        "api_key_variable": None,
        **kwargs,
    }
    return OpenAIEngine(profile.OpenAIEngine(model="m", base_url=url, **values), name="judge")


def one(behave: Callable[[Call], Behaviour], request: ChatRequest | None = None, **kwargs: Any) -> ChatReply:
    with ChatServer(behave) as server:
        (reply,) = engine(server, **kwargs).complete([("k", request or ask("hello there"))])
    return reply


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def engine_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("engine-")]


def test_replies_carry_text_tokens_and_time() -> None:
    made = engine("http://127.0.0.1:9/v1")
    assert isinstance(made, ChatEngine)
    reply = one(lambda call: Answer(call.text, seconds=0.05))
    assert reply == ChatReply("k", "hello there", "stop", 2, 7, reply.seconds)
    assert 0.05 <= reply.seconds < 2


def test_length_is_told_from_stop() -> None:
    assert one(lambda call: Answer("cut", "length")).finish_reason == "length"
    assert one(lambda call: Answer("whole", None)).finish_reason == "stop"


@pytest.mark.parametrize(
    "trouble",
    [
        error(429),
        error(429, retry_after="0"),
        error(429, retry_after="in a while"),
        error(500),
        error(502),
        error(503),
        error(504),
        error(529),
        Drop(),
        Raw(body=b'{"choices": [{"mess'),
        Raw(body=b"[1, 2]"),
        Raw(body=b"[" * 100_000),
        Raw(body=b'{"choices": []}'),
        Raw(body=b'{"error": {"message": "upstream is tired"}}'),
        Raw(body=b"<html>busy</html>", content_type="text/html"),
        Answer(seconds=3.0),
    ],
    ids=lambda trouble: str(trouble)[:40],
)
def test_passing_trouble_is_tried_again(trouble: Behaviour) -> None:
    with ChatServer(lambda call: trouble if call.nth <= 2 else Answer("at last")) as server:
        (reply,) = engine(server, timeout_seconds=0.4).complete(keyed(1))
        assert reply.text == "at last"
        assert reply.error is None
        assert len(server.calls) == 3


def test_good_json_of_a_wrong_content_type_is_read() -> None:
    body = json.dumps({"choices": [{"message": {"content": "yes"}}]}).encode()
    assert one(lambda call: Raw(body=body, content_type="text/plain")).text == "yes"


def test_every_request_ends_as_a_reply_under_all_troubles_at_once() -> None:
    troubles: list[Behaviour] = [
        error(429),
        error(429, retry_after="0.05"),
        error(500),
        Drop(),
        Raw(body=b"{"),
        Raw(body=b'{"choices": []}'),
        Answer("late", seconds=2.0),
    ]

    def behave(call: Call) -> Behaviour:
        number = int(call.text.split()[1])
        if number % 10 == 9:
            return error(400, "cannot do that one")
        return troubles[number % len(troubles)] if call.nth <= number % 3 else Answer(call.text)

    with ChatServer(behave) as server:
        replies = list(engine(server, timeout_seconds=0.5).complete(keyed(60)))
        assert len(server.calls) == sum(1 if n % 10 == 9 else 1 + n % 3 for n in range(60))
    assert sorted(reply.key for reply in replies) == sorted(key for key, _ in keyed(60))
    failed = {reply.key for reply in replies if reply.finish_reason == "error"}
    assert failed == {f"key{number}" for number in range(9, 60, 10)}
    assert all(reply.text == f"question {reply.key[3:]}" for reply in replies if reply.key not in failed)


def test_a_request_that_never_succeeds_is_an_error_reply_after_its_attempts() -> None:
    with ChatServer(lambda call: error(503, "warming up")) as server:
        (reply,) = engine(server, attempts=3).complete(keyed(1))
        assert len(server.calls) == 3
    assert reply.finish_reason == "error"
    assert reply.error == "gave up after 3 attempts; the last: HTTP 503: warming up"


def test_a_bad_request_is_not_repeated_and_its_message_is_cut() -> None:
    with ChatServer(lambda call: error(400, "too long " * 500)) as server:
        (reply,) = engine(server).complete(keyed(1))
        assert len(server.calls) == 1
    assert reply.error is not None and reply.error.startswith("HTTP 400: too long too long")
    assert len(reply.error) < 520


def test_a_refused_schema_names_the_setting() -> None:
    reply = one(lambda call: error(400, "no such response_format"), ask("x", schema=SCHEMA))
    assert reply.error is not None and "engines.judge.structured=json_schema" in reply.error


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_waited_for(form: str) -> None:
    times: list[float] = []

    def behave(call: Call) -> Behaviour:
        times.append(time.monotonic())
        value = "1" if form == "seconds" else format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
        return error(429, retry_after=value) if call.nth == 1 else Answer("ok")

    assert one(behave).text == "ok"
    # An HTTP date has whole seconds, so up to one of the two is lost.
    assert 0.9 <= times[1] - times[0] < 4


def test_pauses_double_are_jittered_and_capped() -> None:
    connections = openai_engine._Connections(
        profile.OpenAIEngine(model="m", base_url="http://127.0.0.1:9/v1", backoff_seconds=1), "judge"
    )
    try:
        for attempt, longest in ((1, 1), (2, 2), (3, 4), (20, openai_engine.MAX_PAUSE_SECONDS)):
            pauses = {connections._pause(attempt, None) for _ in range(50)}
            assert all(longest / 2 <= pause <= longest for pause in pauses)
            assert len(pauses) > 1
        shortest = [min(connections._pause(attempt, None) for _ in range(50)) for attempt in range(1, 8)]
        assert sum(shortest) > 60, "a server that is away for a minute costs no request, by default"
        assert connections._pause(1, 10) >= 10
        assert connections._pause(1, 1e9) <= openai_engine.MAX_RETRY_AFTER_SECONDS + 1
    finally:
        connections.close()


@given(st.text(max_size=40))
def test_any_retry_after_header_is_survived(value: str) -> None:
    seconds = openai_engine._retry_after(value)
    assert seconds is None or (seconds >= 0 and math.isfinite(seconds))


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.just(10**400) | st.text(st.characters()),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    ["choices", "message", "content", "logprobs", "token", "top_logprobs", "usage", "error"]
                ),
                inner,
            )
        ),
    )
)
def test_any_json_answer_is_a_reply_or_a_failure(answer: Any) -> None:
    made = _parser()
    if not isinstance(answer, dict):
        answer = {"choices": [{"message": {"content": "yes"}, "logprobs": answer}], "usage": answer}
    try:
        reply = made._reply("k", ask("x", choices=("yes", "no")), answer, 0.0)
    except (openai_engine._TransientError, openai_engine._RequestError) as error:
        str(error).encode()
        return
    pl.DataFrame([asdict(reply)], schema_overrides={"prompt_tokens": pl.Int64, "completion_tokens": pl.Int64})


def _parser() -> openai_engine._Connections:
    connections = object.__new__(openai_engine._Connections)
    connections._settings = profile.OpenAIEngine(model="m", api_key_variable=None)
    connections._name = "judge"
    return connections


def test_too_large_a_reply_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_engine, "MAX_REPLY_BYTES", 1000)
    with ChatServer(lambda call: Answer("x" * 5000)) as server:
        (reply,) = engine(server).complete(keyed(1))
        assert len(server.calls) == 1
    assert reply.error == "the reply is larger than 1,000 bytes"


def test_filtered_and_refused_replies_are_errors() -> None:
    assert "content filter" in (one(lambda call: Answer("", "content_filter")).error or "")
    refusal = one(lambda call: Answer(None, message={"refusal": "I would rather not"}))
    assert refusal.error == "the model refused: I would rather not"


# what ends the stage


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_ends_it_once_and_is_never_shown(
    status: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PLANTED_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    with ChatServer(lambda call: error(status, f"Incorrect API key provided: {KEY}.")) as server:
        made = engine(server, api_key_variable="PLANTED_KEY", concurrency=2)
        with pytest.raises(EngineError) as raised:
            list(made.complete(keyed(50)))
        assert len(server.calls) <= 4
        assert server.calls[0].headers["Authorization"] == f"Bearer {KEY}"
    assert "PLANTED_KEY" in str(raised.value) and "[key]" in str(raised.value)
    seen = repr(raised.value) + repr(raised.value.__context__) + repr(made) + repr(vars(made)) + caplog.text
    assert KEY not in seen


def test_a_missing_key_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PLANTED_KEY", raising=False)
    with ChatServer(lambda call: error(401)) as server:
        with pytest.raises(EngineError, match="no key was sent: set the environment variable PLANTED_KEY"):
            list(engine(server, api_key_variable="PLANTED_KEY").complete(keyed(3)))
        assert "Authorization" not in server.calls[0].headers


def test_a_key_no_header_can_carry_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED_KEY", "secret\nsecret")
    with ChatServer() as server, pytest.raises(EngineError, match="PLANTED_KEY") as raised:
        list(engine(server, api_key_variable="PLANTED_KEY").complete(keyed(1)))
    assert "secret" not in str(raised.value)


def test_the_key_is_not_in_errors_of_single_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED_KEY", KEY)
    for behaviour in (error(400, f"you sent {KEY}"), Raw(body=KEY.encode()), Drop()):
        with ChatServer(lambda call, behaviour=behaviour: behaviour) as server:  # type: ignore[misc]
            (reply,) = engine(server, api_key_variable="PLANTED_KEY", attempts=1).complete(keyed(1))
        assert reply.finish_reason == "error"
        assert KEY not in repr(reply)


@pytest.mark.parametrize(("key", "stored"), [("planted-0123456789", "a [key] b"), ("EMPTY", "a EMPTY b")])
def test_a_reply_that_repeats_the_key_is_stored_without_it(
    monkeypatch: pytest.MonkeyPatch, key: str, stored: str
) -> None:
    monkeypatch.setenv("PLANTED_KEY", key)
    with ChatServer(lambda call: Answer(f"a {call.headers['Authorization'].removeprefix('Bearer ')} b")) as server:
        (reply,) = engine(server, api_key_variable="PLANTED_KEY").complete(keyed(1))
    assert reply.text == stored


def test_a_403_after_good_replies_concerns_one_request() -> None:
    with ChatServer(lambda call: error(403, "moderated") if call.number == 3 else Answer()) as server:
        replies = list(engine(server, concurrency=1).complete(keyed(5)))
    assert [reply.finish_reason for reply in replies].count("error") == 1


def test_an_unknown_model_ends_it() -> None:
    with ChatServer(lambda call: error(404, "The model `m` does not exist")) as server:
        with pytest.raises(EngineError, match=r"(?s)`m` does not exist.*engines\.judge\.model"):
            list(engine(server).complete(keyed(3)))
        assert len(server.calls) <= 3


def test_no_credit_ends_it() -> None:
    body = json.dumps({"error": {"message": "quota", "code": "insufficient_quota"}}).encode()
    with ChatServer(lambda call: Raw(429, body)) as server, pytest.raises(EngineError, match="no credit"):
        list(engine(server).complete(keyed(1)))


def test_a_redirect_is_not_followed() -> None:
    def behave(call: Call) -> Behaviour:
        return Raw(307, headers={"Location": "http://127.0.0.1:9/elsewhere"})

    with ChatServer(behave) as server, pytest.raises(EngineError, match=r"engines\.judge\.base_url"):
        list(engine(server).complete(keyed(1)))


def test_no_server_is_said_once_with_the_setting() -> None:
    url = f"http://127.0.0.1:{free_port()}/v1"
    with pytest.raises(EngineError, match=rf"no connection to {url}.*engines\.judge\.base_url"):
        list(engine(url, attempts=2).complete(keyed(100)))


def test_a_server_that_is_still_starting_is_waited_for() -> None:
    server = ChatServer()
    server.port = free_port()
    starter = threading.Timer(0.4, server.__enter__)
    starter.start()
    replies = list(engine(server, backoff_seconds=0.2).complete(keyed(3)))
    starter.join()
    server.__exit__(None, None, None)
    assert [reply.error for reply in replies] == [None] * 3


def test_an_unknown_host_is_said_at_once() -> None:
    started = time.monotonic()
    with pytest.raises(EngineError, match="base_url"):
        list(engine("http://no-such-host.invalid/v1", backoff_seconds=30).complete(keyed(2)))
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("url", ["127.0.0.1:8000/v1", "ftp://host/v1", "http://", "http://h:x/"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(EngineError, match=r"engines\.judge\.base_url"):
        list(engine(url).complete(keyed(1)))


def test_an_outage_in_mid_run_ends_it_after_many_requests_and_without_a_hot_loop() -> None:
    with ChatServer(lambda call: Answer() if call.number <= 10 else Drop()) as server:
        replies: list[ChatReply] = []
        with pytest.raises(EngineError, match="in a row got no answer"):
            replies.extend(engine(server, attempts=2, concurrency=16).complete(keyed(500)))
        assert len(server.calls) < 10 + 2 * (openai_engine.OUTAGE_REQUESTS + 16)


def test_a_server_that_refuses_every_request_is_not_asked_for_the_whole_corpus() -> None:
    with ChatServer(lambda call: error(400, "Invalid model: m")) as server:
        with pytest.raises(EngineError, match=r"in a row got no answer.*HTTP 400: Invalid model: m.*engines\.judge"):
            list(engine(server, concurrency=4).complete(keyed(1_000)))
        assert len(server.calls) < openai_engine.OUTAGE_REQUESTS + 8


def test_a_server_that_filters_or_refuses_contents_answers() -> None:
    with ChatServer(lambda call: Answer("", "content_filter")) as server:
        replies = list(engine(server, concurrency=4).complete(keyed(openai_engine.OUTAGE_REQUESTS + 10)))
    assert {reply.error for reply in replies} == {"the server's content filter stopped the reply"}


def test_half_a_character_in_a_reply_or_an_error_is_replaced() -> None:
    lone = b'{"choices": [{"message": {"content": "a \\ud83d b"}}]}'
    assert one(lambda call: Raw(body=lone)).text == "a \ufffd b"
    failed = one(lambda call: Raw(400, b'{"error": {"message": "a \\udc00 b"}}'))
    assert failed.error == "HTTP 400: a \ufffd b"


def test_an_end_does_not_lose_what_has_come_back() -> None:
    with ChatServer(lambda call: error(404) if call.number == 6 else Answer()) as server:
        replies: list[ChatReply] = []
        with pytest.raises(EngineError):
            for reply in engine(server, concurrency=1).complete(keyed(20)):
                replies.append(reply)
    assert len(replies) == 5


# bounds, order, stopping


def test_no_more_than_the_set_number_is_in_flight() -> None:
    with ChatServer(lambda call: Answer(seconds=0.05)) as server:
        assert len(list(engine(server, concurrency=5).complete(keyed(40)))) == 40
        assert server.peak == 5


def test_replies_come_as_they_finish() -> None:
    with ChatServer(lambda call: Answer(seconds=0.8 if call.text == "question 0" else 0.0)) as server:
        replies = list(engine(server, concurrency=4).complete(keyed(12)))
    assert replies[-1].key == "key0"


def test_requests_are_pulled_lazily_and_in_the_consumers_thread() -> None:
    pulled = 0
    threads = set()

    def source() -> Iterator[tuple[str, ChatRequest]]:
        nonlocal pulled
        for number in itertools.count():
            pulled += 1
            threads.add(threading.current_thread())
            yield f"key{number}", ask(f"question {number}")

    with ChatServer() as server:
        replies = engine(server, concurrency=4).complete(source())
        assert pulled == 0
        for received in range(1, 101):
            next(replies)
            assert pulled - received <= 8
        replies.close()
    assert threads == {threading.current_thread()}


def test_a_slow_source_does_not_hold_replies_back() -> None:
    pulled = 0

    def source() -> Iterator[tuple[str, ChatRequest]]:
        nonlocal pulled
        for item in keyed(8):
            pulled += 1
            yield item
            time.sleep(0.1)

    with ChatServer() as server:
        replies = engine(server).complete(source())
        next(replies)
        assert pulled < 5
        assert len(list(replies)) == 7


def test_equal_keys_and_no_requests_are_fine() -> None:
    with ChatServer() as server:
        assert list(engine(server).complete([])) == []
        assert len(list(engine(server).complete([("same", ask("a")), ("same", ask("b"))]))) == 2


def test_stopping_early_stops_everything() -> None:
    with ChatServer(lambda call: Answer(seconds=0.0 if call.number == 1 else 30.0)) as server:
        replies = engine(server, concurrency=4, timeout_seconds=60).complete(keyed(100))
        next(replies)
        started = time.monotonic()
        replies.close()
        assert time.monotonic() - started < 3
        assert engine_threads() == []
        asked = len(server.calls)
        deadline = time.monotonic() + 3
        while server.in_flight and time.monotonic() < deadline:
            time.sleep(0.02)
        assert server.in_flight == 0
        assert len(server.calls) == asked


def test_closing_the_engine_from_elsewhere_ends_a_waiting_consumer() -> None:
    with ChatServer(lambda call: Answer(seconds=30.0)) as server:
        made = engine(server, timeout_seconds=60)
        threading.Timer(0.3, made.close).start()
        with pytest.raises(EngineError, match="closed"):
            list(made.complete(keyed(20)))
        assert engine_threads() == []
        made.close()


def test_an_interrupt_ends_a_waiting_process_within_seconds() -> None:
    program = """
import signal
import sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from spare_assets import settings
from spare_assets.engines.chat import ChatMessage, ChatRequest
from spare_assets.engines.openai_engine import OpenAIEngine
request = ChatRequest((ChatMessage("user", "x"),), 5)
engine = OpenAIEngine(settings.OpenAIEngine(model="m", base_url=sys.argv[1]))
list(engine.complete((str(number), request) for number in range(100)))
"""
    with ChatServer(lambda call: Answer(seconds=60)) as server:
        process = subprocess.Popen([sys.executable, "-c", program, server.base_url], stderr=subprocess.PIPE)
        try:
            deadline = time.monotonic() + 30
            while server.in_flight < 32 and time.monotonic() < deadline:
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=5)
        finally:
            process.kill()
    assert b"KeyboardInterrupt" in errors
    assert b"never awaited" not in errors and b"destroyed" not in errors


def test_a_failing_source_of_requests_leaves_nothing_behind() -> None:
    def source() -> Iterator[tuple[str, ChatRequest]]:
        yield from keyed(3)
        raise RuntimeError("the source broke")

    with ChatServer() as server, pytest.raises(RuntimeError, match="the source broke"):
        list(engine(server).complete(source()))
    assert engine_threads() == []


# what is sent


def sent(request: ChatRequest, **kwargs: Any) -> dict[str, Any]:
    with ChatServer(lambda call: Answer("yes")) as server:
        list(engine(server, **kwargs).complete([("k", request)]))
        return server.calls[0].body


def test_decoding_is_greedy_and_limited() -> None:
    body = sent(ask("x", max_new_tokens=321))
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("m", 0, 321)
    assert "response_format" not in body
    assert sent(ask("x"), token_limit_field="max_completion_tokens")["max_completion_tokens"] == 100


def test_dialects_of_structured_output() -> None:
    request = ask("x", schema=SCHEMA)
    strict = sent(request)["response_format"]
    assert strict["type"] == "json_schema"
    assert strict["json_schema"]["strict"] is True and strict["json_schema"]["schema"] == SCHEMA
    loose = sent(request, structured="json_object_schema")["response_format"]
    assert loose == {"type": "json_object", "schema": SCHEMA}
    assert sent(request, structured="guided_json")["guided_json"] == SCHEMA
    plain = sent(request, structured="none")
    assert not {"response_format", "guided_json"} & set(plain)


@pytest.mark.parametrize("token", ["<|im_end|>", "<｜User｜>", "</s>", "<start_of_turn>", "[INST]", "[/INST]"])
def test_no_control_token_of_a_text_reaches_the_server_whole(token: str) -> None:
    text = f"a {token}b{token} < c [sic] <3 [A]"
    with ChatServer(lambda call: Answer(call.text)) as server:
        (reply,) = engine(server).complete([("k", ask(text))])
        assert token not in server.calls[0].text
        assert server.calls[0].text.replace("\u200b", "") == text
        assert server.calls[0].text.count("\u200b") == 2
    assert reply.text == text


def test_images_travel_as_data_urls(tmp_path: Path) -> None:
    jpeg, turned, bitmap = tmp_path / "a.bin", tmp_path / "b.jpg", tmp_path / "c.bmp"
    picture = Image.new("RGB", (8, 4), "red")
    picture.save(jpeg, "JPEG")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(turned, "JPEG", exif=exif)
    picture.save(bitmap)
    images = tuple(ChatImage(path, path.name) for path in (jpeg, turned, bitmap))
    content = sent(ChatRequest((ChatMessage("user", "what?", images),), 5))["messages"][0]["content"]
    urls = [part["image_url"]["url"] for part in content[:-1]]
    assert [url.split(";")[0] for url in urls] == ["data:image/jpeg", "data:image/png", "data:image/png"]
    assert base64.b64decode(urls[0].split(",")[1]) == jpeg.read_bytes()
    assert Image.open(io.BytesIO(base64.b64decode(urls[1].split(",")[1]))).size == (4, 8)
    assert content[-1] == {"type": "text", "text": "what?"}


def test_an_unreadable_image_fails_its_request_alone(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    bad = ChatRequest((ChatMessage("user", "x", (ChatImage(tmp_path / "broken.jpg", "h"),)),), 5)
    with ChatServer() as server:
        replies = {reply.key: reply for reply in engine(server).complete([("bad", bad), *keyed(2)])}
        assert len(server.calls) == 2
    assert "broken.jpg" in (replies["bad"].error or "")


# choices

YES_NO = ("yes", "no")


def ranked(**probabilities: float) -> list[dict[str, Any]]:
    top = [{"token": token.replace("_", " "), "logprob": math.log(value)} for token, value in probabilities.items()]
    return [{"token": top[0]["token"], "logprob": top[0]["logprob"], "top_logprobs": top}]


def test_probability_counts_variants_in_case_and_space() -> None:
    logprobs = ranked(Yes=0.3, No=0.35, _yes=0.2, yes=0.05, Maybe=0.1)
    reply = one(lambda call: Answer("No", "length", logprobs=logprobs), ask("x", choices=YES_NO))
    assert (reply.text, reply.finish_reason) == ("yes", "stop")
    assert reply.probability == pytest.approx(0.55 / 0.9)


def test_choices_ask_for_few_tokens_and_their_probabilities() -> None:
    body = sent(ask("x", choices=YES_NO))
    assert body["max_tokens"] == 2
    assert (body["logprobs"], body["top_logprobs"]) == (True, 20)
    assert sent(ask("x", choices=YES_NO), structured="guided_json")["guided_choice"] == ["yes", "no"]


def test_without_probabilities_the_text_is_read() -> None:
    reply = one(lambda call: Answer("  Yes."), ask("x", choices=YES_NO))
    assert (reply.text, reply.probability) == ("yes", None)
    other = one(lambda call: Answer("Nobody", "length"), ask("x", choices=YES_NO))
    assert (other.text, other.finish_reason) == ("Nobody", "length")


def test_a_server_that_refuses_logprobs_is_asked_without() -> None:
    def behave(call: Call) -> Behaviour:
        return error(400, "logprobs are not supported") if "logprobs" in call.body else Answer("no")

    with ChatServer(behave) as server:
        requests = [(f"k{n}", ask(f"question {n}", choices=YES_NO)) for n in range(10)]
        replies = list(engine(server, concurrency=1).complete(requests))
        assert len(server.calls) == 11
    assert {(reply.text, reply.probability) for reply in replies} == {("no", None)}


@pytest.mark.parametrize(
    ("text", "tokens", "expected"),
    [
        ("", [("Ġyes", 0.0), ("▁NO", -1.0)], ("yes", 1 / (1 + math.exp(-1)))),
        ("", [("no", -1.0), ("no", -1.0), ("yes", -1.0)], ("no", 1 / 3)),
        ("", [("y", 0.0)], ("yes", 1.0)),
        ("", [("", 0.0), ("maybe", 0.0)], (None, None)),
        ("no, it is not", None, ("no", None)),
        ("**Yes**", None, ("yes", None)),
        ("north", None, (None, None)),
    ],
)
def test_reading_a_choice(text: str, tokens: list[tuple[str, float]] | None, expected: tuple[Any, Any]) -> None:
    choice, probability = read_choice(text, YES_NO, tokens)
    assert choice == expected[0]
    assert probability == (None if expected[1] is None else pytest.approx(expected[1]))


@given(
    st.text(max_size=20),
    st.lists(st.tuples(st.sampled_from([*YES_NO, "Y", ""]) | st.text(max_size=6), st.floats())),
)
def test_a_probability_is_a_probability(text: str, tokens: list[tuple[str, float]]) -> None:
    choice, probability = read_choice(text, YES_NO, tokens)
    assert choice in (*YES_NO, None)
    assert probability is None or 0 <= probability <= 1


def test_the_fingerprint_is_model_revision_and_constraint() -> None:
    def of(**kwargs: Any) -> str:
        return OpenAIEngine(profile.OpenAIEngine(**{"model": "m", **kwargs})).fingerprint

    assert of() == of(base_url="http://elsewhere/v1", concurrency=1, structured="json_object_schema")
    assert len({of(), of(model="n"), of(revision="1"), of(structured="none")}) == 4
