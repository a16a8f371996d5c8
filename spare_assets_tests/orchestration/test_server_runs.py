"""The graph against a real chat server on loopback: faults lose nothing, and a killed run is not paid for twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import dagster as dg
import polars as pl

from spare_assets.cli.materialize import Materialization
from spare_assets.engines.chat import ChatMessage, ChatRequest
from spare_assets.engines.rule_based import RuleBasedEngine
from spare_assets.orchestration.instance import open_instance
from spare_assets.settings import open_home
from spare_assets.storage.tables import TableStore
from spare_assets_tests.engines.chat_server import Answer, Behaviour, Call, ChatServer, Drop, Raw, error
from spare_assets_tests.profiles import sandbox_profile

SCENES = 60
RULES = RuleBasedEngine()


def reply_of_rules(call: Call) -> str:
    """What the rule-based engine would say to the prompt in this call."""
    task = (
        "write_pairs" if "JSON list" in call.text else "judge_caption" if "Description:" in call.text else "judge_pair"
    )
    if task == "judge_pair":
        question, _, answer = call.text.rpartition("Question: ")[2].partition("\nAnswer: ")
        content = json.dumps({"question": question, "answer": answer})
    else:
        content = call.text.rpartition("Description:\n")[2]
    request = ChatRequest((ChatMessage("system", task), ChatMessage("user", content)), 0)
    return next(iter(RULES.complete([("key", request)]))).text


def server_profile(folder: Path, url: str, **engine: object) -> Path:
    return sandbox_profile(
        folder,
        scenes=SCENES,
        engines={
            "analyst": {
                "kind": "openai",
                "model": "rules",
                "base_url": url,
                "api_key_variable": None,
                "concurrency": 8,
                "backoff_seconds": 0.01,
                "timeout_seconds": 2,
                **engine,
            }
        },
    )


def test_a_misbehaving_server_loses_no_caption(tmp_path: Path) -> None:
    def behave(call: Call) -> Behaviour:
        first = call.nth == 1
        faults: list[Behaviour] = [
            error(429, retry_after="0"),
            error(429),
            error(500),
            error(503),
            Drop(),
            Raw(body=b'{"choices": [{"mess'),
            Raw(body=b'{"choices": []}'),
            Answer("late", seconds=3),
        ]
        if first and call.number % 3 == 0:
            return faults[call.number // 3 % len(faults)]
        return Answer(reply_of_rules(call))

    with ChatServer(behave) as server:
        home = open_home(str(server_profile(tmp_path, server.base_url)), tmp_path / "home").claim()
        assert Materialization(home, "+qa_pairs", ("docci",)).execute()
    store = TableStore(home.tables)
    verdicts = store.scan("caption_verdicts", "docci").collect()
    outcomes = store.scan("generation_outcomes", "docci").collect()
    assert verdicts.height == store.rows("captions", "docci")
    assert set(verdicts["outcome"]) == {"ok"}
    assert outcomes.height == store.rows("spatial_captions", "docci") > 20
    assert set(outcomes["outcome"]) <= {"ok", "none"}
    assert any(call.nth > 1 for call in server.calls), "faults were met and asked again"


def test_replies_that_are_no_pairs_are_counted_and_the_rest_goes_on(tmp_path: Path) -> None:
    def behave(call: Call) -> Behaviour:
        reply = reply_of_rules(call)
        if "JSON list" not in call.text:
            return Answer(reply)
        kind = len(call.text) % 4
        if kind == 0:
            return Answer("I would rather not.")
        if kind == 1:
            return Answer(reply[: len(reply) * 2 // 3], finish_reason="length")
        return Answer(reply)

    with ChatServer(behave) as server:
        home = open_home(str(server_profile(tmp_path, server.base_url)), tmp_path / "home").claim()
        assert Materialization(home, "+qa_pairs", ("docci",)).execute()
    outcomes = TableStore(home.tables).scan("generation_outcomes", "docci").collect()
    counted = Counter(outcomes["outcome"])
    assert {"ok", "malformed", "truncated"} <= set(counted)
    assert outcomes.filter(pl.col("outcome") == "truncated")["pairs"].sum() > 0, (
        "complete pairs of a cut reply are kept"
    )
    assert sum(counted.values()) == TableStore(home.tables).rows("spatial_captions", "docci")


def test_requests_that_fail_are_asked_again_next_time(tmp_path: Path) -> None:
    broken = True

    def behave(call: Call) -> Behaviour:
        if broken and len(call.text) % 10 == 0:
            return error(500)
        return Answer(reply_of_rules(call))

    with ChatServer(behave) as server:
        profile = server_profile(tmp_path, server.base_url, attempts=2)
        home = open_home(str(profile), tmp_path / "home").claim()
        assert not Materialization(home, "captions or spatial_captions", ("docci",)).execute(), "above the limit of 5 %"
        assert not TableStore(home.tables).exists("caption_verdicts", "docci")
        asked = len({call.text for call in server.calls})
        broken = False
        server.calls.clear()
        assert Materialization(home, "spatial_captions", ("docci",)).execute()
        assert 0 < len(server.calls) < asked / 2, "only what failed is asked again"


def test_a_killed_run_is_not_paid_for_twice_and_blocks_nobody(tmp_path: Path) -> None:
    with ChatServer(lambda call: Answer(reply_of_rules(call), seconds=0.05)) as server:
        profile = server_profile(tmp_path, server.base_url)
        home = open_home(str(profile), tmp_path / "home").claim()
        assert Materialization(home, "captions", ("docci",)).execute()
        captions = TableStore(home.tables).rows("captions", "docci")
        command = [sys.executable, "-m", "spare_assets.cli.main", "materialize", "--select", "spatial_captions"]
        command += ["--source", "docci", "--profile", str(profile), "--home", str(home.path)]
        killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        folder = home.completions / "judge_caption" / "docci"
        deadline = time.monotonic() + 120
        while stored_lines(folder) < captions // 3 and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait()
        stored = stored_lines(folder)
        assert 0 < stored < captions, "the run was killed in the middle"
        time.sleep(0.2)
        server.calls.clear()
        result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        assert len(server.calls) == captions - stored, "no stored reply is asked for again"
    assert TableStore(home.tables).rows("caption_verdicts", "docci") == captions
    assert not list(folder.glob("*.jsonl"))
    with open_instance(home) as instance:
        statuses = Counter(run.status for run in instance.get_runs())
        assert statuses == {dg.DagsterRunStatus.SUCCESS: 2, dg.DagsterRunStatus.FAILURE: 1}
        pool = instance.event_log_storage.get_concurrency_info("gpu")
        assert not pool.claimed_slots and not pool.pending_steps
    assert not list(home.scratch.iterdir())
    assert not list(home.path.rglob("*.tmp"))


def stored_lines(folder: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("*.jsonl"))


def test_a_terminated_run_stops_at_once_and_keeps_its_replies(tmp_path: Path) -> None:
    with ChatServer(lambda call: Answer(reply_of_rules(call), seconds=0.3)) as server:
        profile = server_profile(tmp_path, server.base_url, concurrency=2)
        command = [sys.executable, "-m", "spare_assets.cli.main", "materialize"]
        command += ["--profile", str(profile), "--home", str(tmp_path / "home")]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        folder = tmp_path / "home" / "completions" / "judge_caption" / "docci"
        deadline = time.monotonic() + 120
        while not stored_lines(folder) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        told, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted; what was done is kept" in told
    assert "localized_narratives" not in told, "no further source is begun"
    assert len(list(folder.glob("*.parquet"))) == 1
