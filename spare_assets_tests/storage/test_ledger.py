from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spare_assets.storage.ledger import AnsweredKeys, Completion, CompletionLedger, engine_names, remember_engine

KEYS = st.lists(st.binary(min_size=32, max_size=32).map(bytes.hex), max_size=40)


def completion(number: int, text: str = "yes", error: str | None = None) -> Completion:
    return Completion(f"{number:064x}"[::-1], text, "stop", 5, 1, 0.1, None, error, "model", 1000.0 + number)


@pytest.fixture
def ledger(tmp_path: Path) -> CompletionLedger:
    return CompletionLedger(tmp_path, "judge_caption", "docci")


@given(held=KEYS, asked=KEYS)
def test_answered_keys_hold_what_was_given(held: list[str], asked: list[str]) -> None:
    answered = AnsweredKeys([pl.Series(held, dtype=pl.String)])
    assert answered.hold(held) == [True] * len(held)
    assert answered.hold(asked) == [key in held for key in asked]


def test_replies_are_finished_as_parquet(ledger: CompletionLedger) -> None:
    with ledger.writer("run") as writer:
        for number in range(3):
            writer.append(completion(number))
        writer.append(completion(3, error="HTTP 500"))
    assert [path.suffix for path in ledger.folder.iterdir()] == [".parquet"]
    assert pl.read_parquet(writer.finished).height == 4
    keys = [completion(number).key for number in range(4)]
    assert ledger.answered().hold(keys) == [True, True, True, False]


def test_a_run_without_replies_leaves_nothing(ledger: CompletionLedger) -> None:
    with ledger.writer("run"):
        pass
    assert not list(ledger.folder.iterdir())


def test_kill_loses_no_written_reply_and_a_torn_line_is_set_aside(ledger: CompletionLedger) -> None:
    code = f"""
import time
from pathlib import Path
from spare_assets.storage.ledger import CompletionLedger
from spare_assets_tests.storage.test_ledger import completion
with CompletionLedger(Path({str(ledger.folder.parents[1])!r}), "judge_caption", "docci").writer("dead") as writer:
    for number in range(50):
        writer.append(completion(number, "yes \\u2028 é"))
    print("written", flush=True)
    time.sleep(60)
"""
    root = Path(__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=root)
    assert process.stdout is not None
    assert process.stdout.readline() == b"written\n"
    assert ledger.recover() == []
    assert ledger.files() == [], "the file of a living writer is left alone"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    torn = next(ledger.folder.glob("*.jsonl"))
    with torn.open("ab") as file:
        file.write(b'{"key": "abc", "text": "half a l')
    assert [message.partition(": ")[2] for message in ledger.recover()] == [
        f"1 damaged lines set aside in {torn.stem}.damaged; their requests are asked again"
    ]
    assert not list(ledger.folder.glob("*.jsonl"))
    assert len(ledger.answered()) == 50
    assert set(pl.read_parquet(ledger.files())["text"]) == {"yes \u2028 é"}


def test_damaged_lines_and_files_are_set_aside_with_a_message(ledger: CompletionLedger) -> None:
    with ledger.writer("good") as writer:
        writer.append(completion(1))
    whole = writer.finished.read_bytes()
    (ledger.folder / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    record = {field: getattr(completion(2), field) for field in Completion.__slots__}
    (ledger.folder / "bad.jsonl").write_text(f"not json\n{json.dumps(record)}\n[1]\n")
    messages = ledger.recover()
    assert len(messages) == 2
    assert "bad.jsonl: 2 damaged lines" in messages[0]
    assert "cut.parquet: damaged" in messages[1]
    assert len(ledger.answered()) == 2
    assert (ledger.folder / "bad.damaged").read_text() == "not json\n[1]\n"
    assert ledger.recover() == []


def test_a_reply_with_half_of_a_surrogate_pair_is_kept(ledger: CompletionLedger) -> None:
    with ledger.writer("run") as writer:
        writer.append(completion(1, "a \ud83e b \U0001f9ed"))
        writer.append(completion(2, error="\udc80"))
    assert ledger.recover() == []
    stored = pl.read_parquet(writer.finished)
    assert stored["text"].to_list() == ["a \ufffd b \U0001f9ed", "yes"]
    assert stored["error"].to_list() == [None, "\ufffd"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("key", "g" * 64),
        ("key", "ab"),
        ("key", None),
        ("text", None),
        ("text", 1),
        ("prompt_tokens", 10**30),
        ("prompt_tokens", 1.5),
        ("prompt_tokens", True),
        ("seconds", "1"),
        ("probability", float("nan")),
        ("answered_at", None),
        ("model", ["x"]),
    ],
)
def test_a_line_that_no_writer_wrote_is_set_aside_and_the_others_are_used(
    ledger: CompletionLedger, field: str, value: object
) -> None:
    ledger.folder.mkdir(parents=True)
    lines = [json.dumps(asdict(completion(1))), json.dumps(asdict(completion(2)) | {field: value}), "[" * 5000]
    (ledger.folder / "run.jsonl").write_text("\n".join(lines) + "\n")
    (message,) = ledger.recover()
    assert "2 damaged lines" in message
    assert ledger.answered().hold([completion(1).key, completion(2).key]) == [True, False]


def test_replies_reach_the_disk_while_the_run_goes_on(ledger: CompletionLedger) -> None:
    with ledger.writer("run") as writer:
        writer.append(completion(1))
        assert json.loads(writer.path.read_text())["key"] == completion(1).key
        deadline = time.monotonic() + 10
        while writer._dirty and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not writer._dirty, "written replies are forced to disk within two seconds"


def test_a_model_goes_by_the_name_it_was_last_asked_under(tmp_path: Path) -> None:
    root = tmp_path / "completions"
    assert engine_names(root) == {}
    for name in ("first", "first", "second"):
        remember_engine(root, "print", name)
    remember_engine(root, "other", "third")
    with (root / "engines.jsonl").open("ab") as file:
        file.write(b'{"model": "torn\n[1]\n')
    assert engine_names(root) == {"print": "second", "other": "third"}
    assert len((root / "engines.jsonl").read_bytes().splitlines()) == 5, "what is known is not noted again"
