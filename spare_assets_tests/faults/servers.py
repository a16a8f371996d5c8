"""Chat servers that misbehave, asked through the ledger: every caption ends as answered, or as failed with its reason.

What the engine does with a single answer is tested in `spare_assets_tests/engines/test_openai_engine.py`; a whole graph
against a bad server in `spare_assets_tests/orchestration/test_server_runs.py`.
"""

from __future__ import annotations

import gzip
import itertools
import json
import os
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import polars as pl

from spare_assets import settings as profile
from spare_assets.engines.asking import Inquiry, Tally
from spare_assets.engines.chat import ChatMessage, ChatRequest, EngineError
from spare_assets.engines.openai_engine import MAX_REPLY_BYTES, OUTAGE_REQUESTS, OpenAIEngine
from spare_assets.progress import Progress
from spare_assets.storage.ledger import CompletionLedger
from spare_assets_tests.engines.chat_server import Answer, Behaviour, Call, ChatServer, Drop, Raw, Stream, error
from spare_assets_tests.faults.cases import Case, Outcome
from spare_assets_tests.faults.memory import Memory

CORPUS = 849_000
CONCURRENCY = 8
ATTEMPTS = 3
BACKOFF = 0.05
TIMEOUT = 0.5
KEY_VARIABLE = "FAULTS_PLANTED_KEY"
PLANTED_KEY = "sk-planted-3d9c27aa-not-to-be-seen"
_HUNDRED_MEGABYTES = 100_000_000


@dataclass(frozen=True)
class Trouble:
    """How a server misbehaves, and the words in which a caption that failed by it says so."""

    name: str
    answers: tuple[Behaviour, ...]
    reason: str
    asked_again: bool = True
    """Whether the next attempt may go better; else a request ends at once."""
    engine: dict[str, float] = field(default_factory=dict)


def _json(document: object) -> Raw:
    return Raw(body=json.dumps(document).encode())


TROUBLES = (
    Trouble("429", (error(429, "slow down"),), "HTTP 429: slow down"),
    Trouble("429 with Retry-After", (error(429, "slow down", retry_after="0.1"),), "HTTP 429: slow down"),
    Trouble("500", (error(500, "oops"),), "HTTP 500: oops"),
    Trouble("503", (error(503, "warming up"),), "HTTP 503: warming up"),
    Trouble("reset", (Drop(),), "Server disconnected|reset"),
    Trouble("hang", (Answer(seconds=30.0),), f"no reply within {TIMEOUT:g} s"),
    Trouble("trickle", (Stream(b" ", 300, 0.1),), f"no reply within {TIMEOUT:g} s"),
    Trouble("half JSON", (Raw(body=b'{"choices": [{"mess'), Raw(body=b"")), "no JSON object"),
    Trouble(
        "wrong schema",
        (
            _json({"result": "yes"}),
            _json({"choices": "yes"}),
            _json({"choices": [{"text": "yes"}]}),
            _json({"choices": [{"message": {"content": 7}}]}),
            _json(["yes"]),
        ),
        "without text|text is no string|no JSON object",
    ),
    Trouble("empty choices", (_json({"choices": []}), _json({"choices": None})), "no choices in it"),
    Trouble(
        "wrong content type",
        (Raw(body=b"<html>busy</html>", content_type="text/html"), Raw(body=b"\x89PNG", content_type="image/png")),
        "no JSON object",
    ),
    Trouble(
        "100 MB reply",
        (
            Stream(b"x" * 65_536, _HUNDRED_MEGABYTES // 65_536),
            Raw(body=gzip.compress(bytes(_HUNDRED_MEGABYTES), 1), headers={"Content-Encoding": "gzip"}),
        ),
        f"larger than {MAX_REPLY_BYTES:,} bytes",
        asked_again=False,
        engine={"timeout_seconds": 30.0},
    ),
)


def batches(rows: int) -> Iterator[pl.DataFrame]:
    """Captions, made as they are pulled."""
    for start in range(0, rows, 1_000):
        numbers = pl.int_range(start, min(start + 1_000, rows), eager=True).alias("number")
        yield pl.DataFrame(numbers).with_columns(caption=pl.format("caption {}", "number"))


def question(row: object) -> ChatRequest:
    """The request of a caption."""
    return ChatRequest((ChatMessage("user", row["caption"]),), 50)  # type: ignore[index]


def make_engine(url: str, **changed: object) -> OpenAIEngine:
    """An engine with little patience."""
    values = {
        "concurrency": CONCURRENCY,
        "attempts": ATTEMPTS,
        "backoff_seconds": BACKOFF,
        "timeout_seconds": TIMEOUT,
        "api_key_variable": None,
        **changed,
    }
    return OpenAIEngine(profile.OpenAIEngine(model="m", base_url=url, **values), name="judge")  # type: ignore[arg-type]


def ask(folder: Path, engine: OpenAIEngine, rows: int) -> tuple[Tally, pl.DataFrame]:
    """One run of a stage's questions: what it cost, and every row with what became of it."""
    ledger = CompletionLedger(folder, "judge_caption", "corpus")
    with Inquiry(engine, ledger, "run", folder / "scratch", Progress("asking", rows, lambda beat: None)) as inquiry:
        tally = inquiry.ask(batches(rows), question)
        return tally, pl.concat(inquiry.answers())


class Watched:
    """A server's behaviour that notes when each text was asked for; `broken` is lifted between two runs."""

    def __init__(self, behave: Callable[[Call], Behaviour]) -> None:
        self.behave = behave
        self.broken = True
        self.times: dict[str, list[float]] = defaultdict(list)

    def __call__(self, call: Call) -> Behaviour:
        self.times[call.text].append(time.monotonic())
        return self.behave(call) if self.broken else Answer(call.text)

    @property
    def busiest_second(self) -> int:
        """Requests within one second, at most."""
        moments = sorted(moment for times in self.times.values() for moment in times)
        return max(sum(1 for moment in moments[n:] if moment < start + 1) for n, start in enumerate(moments))

    def check_pauses(self) -> None:
        """A text asked for again was waited with, each time longer."""
        for times in self.times.values():
            for attempt, (before, after) in enumerate(itertools.pairwise(times)):
                # The two are taken as they reach this server, the first perhaps late.
                least = 0.8 * BACKOFF * 2**attempt / 2
                assert after - before >= least, f"asked again after {after - before:.3f} s"


def in_trouble(folder: Path, trouble: Trouble, rows: int) -> Outcome:
    """A third of the captions meets the trouble always, a third once; then the server is well and is asked again."""

    def behave(call: Call) -> Behaviour:
        number = int(call.text.split()[1])
        if number % 3 == 0 or (number % 3 == 1 and call.nth == 1 and trouble.asked_again):
            return trouble.answers[number // 3 % len(trouble.answers)]
        return Answer(call.text)

    watched = Watched(behave)
    lasting = {f"caption {number}" for number in range(0, rows, 3)}
    with ChatServer() as server:  # what libraries take at their first use is not the trouble's
        ask(folder / "before", make_engine(server.base_url), 3)
    with ChatServer(watched) as server, Memory() as memory:
        engine = make_engine(server.base_url, **trouble.engine)
        tally, answers = ask(folder, engine, rows)
        assert answers.height == tally.asked == rows
        failed = answers.filter(pl.col("error").is_not_null())
        assert set(failed["caption"]) == lasting, "those fail that met the trouble in all attempts, and no other"
        assert failed["error"].str.contains(trouble.reason).all(), failed["error"][0]
        well = answers.filter(pl.col("error").is_null())
        assert (well["text"] == well["caption"]).all()
        calls = {text: len(times) for text, times in watched.times.items()}
        assert all(calls[text] == (ATTEMPTS if trouble.asked_again else 1) for text in lasting)
        watched.check_pauses()
        busiest = watched.busiest_second
        watched.broken = False
        again, answers = ask(folder, engine, rows)
        assert (answers["text"] == answers["caption"]).all() and answers["error"].is_null().all()
        assert (again.asked, again.answered_before, again.failed) == (len(lasting), rows - len(lasting), 0)
        lost = sum(len(times) - calls[text] for text, times in watched.times.items() if text not in lasting)
    assert memory.grown < 80_000_000, f"{memory.grown:,} bytes more in memory"
    return Outcome(
        tried=rows,
        lost=lost,
        note=f"at most {busiest} requests in a second, memory +{memory.grown / 1e6:.0f} MB",
    )


def hopeless(folder: Path, trouble: Trouble) -> Outcome:
    """Nothing but the trouble, from the middle of a large corpus on: the stage ends, soon and without a hot loop."""
    watched = Watched(lambda call: Answer() if call.number <= 20 else trouble.answers[0])
    with ChatServer(watched) as server:
        try:
            ask(folder, make_engine(server.base_url, **trouble.engine), CORPUS)
        except EngineError as ended:
            assert "in a row got no answer" in str(ended)
        else:
            raise AssertionError("a corpus was asked for in vain")
    attempts = ATTEMPTS if trouble.asked_again else 1
    requests = sum(len(times) for times in watched.times.values())
    assert requests <= 20 + attempts * (OUTAGE_REQUESTS + 2 * CONCURRENCY)
    if trouble.asked_again:
        watched.check_pauses()
    ledger = CompletionLedger(folder, "judge_caption", "corpus")
    ledger.recover()
    assert len(ledger.answered()) == 20, "what was answered before is kept"
    return Outcome(tried=requests, note=f"ended after {requests:,} requests for {CORPUS:,} captions")


def dead_port(folder: Path, seconds: float, rows: int, **engine: float) -> Outcome:
    """The server dies in mid-run, its port with it, and comes back: no caption fails."""
    died = threading.Event()

    def behave(call: Call) -> Behaviour:
        if call.number == rows // 2:
            died.set()
        return Drop() if died.is_set() else Answer(call.text, seconds=0.002)

    first, second = ChatServer(behave), ChatServer(lambda call: Answer(call.text))

    def fall_and_rise() -> None:
        died.wait(120)
        first.__exit__(None, None, None)
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", first.port)) != 0
        time.sleep(seconds)
        second.__enter__()

    first.__enter__()
    second.port = first.port
    keeper = threading.Thread(target=fall_and_rise)
    keeper.start()
    try:
        tally, answers = ask(folder, make_engine(first.base_url, **engine), rows)
    finally:
        died.set()
        keeper.join()
        second.__exit__(None, None, None)
    assert (tally.asked, tally.failed) == (rows, 0)
    assert (answers["text"] == answers["caption"]).all()
    assert len(second.calls) >= rows // 4
    return Outcome(tried=1, note=f"{rows} captions answered over a port that was dead for {seconds:g} s")


def refused(folder: Path, behaviour: Behaviour, says: str, limit: int) -> Outcome:
    """A wrong key or model name: one message after a few requests, and the key in none of what is left behind."""
    os.environ[KEY_VARIABLE] = PLANTED_KEY
    started = time.monotonic()
    with ChatServer(lambda call: behaviour) as server:
        try:
            ask(folder, make_engine(server.base_url, api_key_variable=KEY_VARIABLE), CORPUS)
        except EngineError as ended:
            message = str(ended)
        else:
            raise AssertionError("a corpus was asked for in vain")
        asked = len(server.calls)
    assert says in message and PLANTED_KEY not in message, message
    assert asked <= limit, f"{asked} requests"
    assert time.monotonic() - started < 20
    for path in folder.rglob("*"):
        assert not path.is_file() or PLANTED_KEY.encode() not in path.read_bytes()
    return Outcome(tried=1, note=f"ended after {asked} requests for {CORPUS:,} captions")


WRONG_KEY = partial(
    refused, behaviour=error(401, f"bad key {PLANTED_KEY}"), says=f"variable {KEY_VARIABLE}", limit=2 * CONCURRENCY
)
WRONG_MODEL = partial(refused, behaviour=error(404, "no model m"), says="engines.judge.model", limit=2 * CONCURRENCY)
WRONG_MODEL_400 = partial(
    refused,
    behaviour=error(400, "no model m"),
    says="HTTP 400: no model m",
    limit=OUTAGE_REQUESTS + 2 * CONCURRENCY,
)


def every_trouble(folder: Path) -> Outcome:
    """The short form: a few captions in each trouble, most of which is waiting."""
    with ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(lambda trouble: in_trouble(folder / trouble.name, trouble, 6), TROUBLES))
    outcomes.append(dead_port(folder / "dead port", 1.0, 200, attempts=8))
    outcomes += [check(folder / str(n)) for n, check in enumerate((WRONG_KEY, WRONG_MODEL, WRONG_MODEL_400))]
    return Outcome(tried=sum(outcome.tried for outcome in outcomes), lost=sum(outcome.lost for outcome in outcomes))


CASES = [
    Case("server", "each trouble in turn", "a few captions", every_trouble, short=True, limit_s=120),
    *(
        Case("server", trouble.name, "for a third of the captions", partial(in_trouble, trouble=trouble, rows=90))
        for trouble in TROUBLES
    ),
    *(
        Case("server", trouble.name, "for good, in mid-run", partial(hopeless, trouble=trouble))
        for trouble in TROUBLES
        if trouble.name != "429 with Retry-After"
    ),
    Case(
        "server",
        "dead for a minute",
        "default patience",
        partial(dead_port, seconds=60.0, rows=400, backoff_seconds=1.0, attempts=8),
    ),
    Case("server", "wrong API key", "401", WRONG_KEY),
    Case("server", "wrong model name", "404", WRONG_MODEL),
    Case("server", "wrong model name", "400", WRONG_MODEL_400),
]
