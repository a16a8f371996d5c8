from __future__ import annotations

import gc
from collections.abc import Generator, Iterable
from itertools import islice
from pathlib import Path

import polars as pl
import pytest

from spare_assets.engines.asking import Inquiry, Tally
from spare_assets.engines.chat import ChatMessage, ChatReply, ChatRequest, EngineError, RequestKeys
from spare_assets.progress import Progress
from spare_assets.storage.ledger import CompletionLedger


class EchoEngine:
    """Answers with the question in capitals; fails where told to; counts what it was asked."""

    fingerprint = "echo"

    def __init__(self, failing: frozenset[str] = frozenset(), dies_after: int | None = None) -> None:
        self.asked: list[str] = []
        self.failing, self.dies_after = failing, dies_after

    def complete(self, requests: Iterable[tuple[str, ChatRequest]]) -> Generator[ChatReply, None, None]:
        for key, request in requests:
            text = request.messages[0].text
            self.asked.append(text)
            if self.dies_after is not None and len(self.asked) > self.dies_after:
                raise KeyboardInterrupt
            if text in self.failing:
                yield ChatReply(key, "", "error", error="HTTP 500")
            else:
                yield ChatReply(key, text.upper(), "stop", 3, 1)

    def close(self) -> None:
        return


def ask(tmp_path: Path, engine: EchoEngine, texts: list[str]) -> tuple[Tally, pl.DataFrame]:
    ledger = CompletionLedger(tmp_path / "completions", "task", "source")
    progress = Progress("ask", len(texts), lambda beat: None)
    rows = pl.DataFrame({"caption_id": [f"s:{n}" for n in range(len(texts))], "caption": texts})
    with Inquiry(engine, ledger, "run", tmp_path / "scratch", progress) as inquiry:
        tally = inquiry.ask([rows[:2], rows[2:]], lambda row: ChatRequest((ChatMessage("user", row["caption"]),), 8))
        return tally, pl.concat(inquiry.answers())


def test_every_row_gets_its_reply_in_order(tmp_path: Path) -> None:
    tally, answers = ask(tmp_path, EchoEngine(), ["c", "a", "b"])
    assert answers["text"].to_list() == ["C", "A", "B"]
    assert answers["caption_id"].to_list() == ["s:0", "s:1", "s:2"]
    assert (tally.asked, tally.answered_before, tally.prompt_tokens) == (3, 0, 9)
    assert not list((tmp_path / "scratch").iterdir())


class PairingEngine(EchoEngine):
    """Answers two at a time, and looks what is stored when it goes on."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder, self.threshold = folder, 0
        self.stored: list[int] = []

    def complete_together(self, requests: Iterable[tuple[str, ChatRequest]]) -> Generator[list[ChatReply], None, None]:
        self.threshold = gc.get_threshold()[0]
        replies = self.complete(requests)
        while pair := list(islice(replies, 2)):
            yield pair
            self.stored.append(sum(path.read_bytes().count(b"\n") for path in self.folder.rglob("*.jsonl")))


def test_replies_that_come_together_are_stored_before_the_engine_goes_on(tmp_path: Path) -> None:
    engine = PairingEngine(tmp_path)
    before = gc.get_threshold()
    tally, answers = ask(tmp_path, engine, ["a", "b", "c", "d", "e"])
    assert engine.stored == [2, 4, 5]
    assert answers["text"].to_list() == ["A", "B", "C", "D", "E"]
    assert (tally.asked, tally.completion_tokens) == (5, 5)
    assert engine.threshold > before[0], "the collector is held back"
    assert gc.get_threshold() == before, "and only while asking"


def test_nothing_is_asked_twice(tmp_path: Path) -> None:
    first, second = EchoEngine(), EchoEngine()
    ask(tmp_path, first, ["a", "b", "a"])
    assert first.asked == ["a", "b"], "equal requests are asked once"
    tally, answers = ask(tmp_path, second, ["a", "b", "c"])
    assert second.asked == ["c"]
    assert tally.answered_before == 2
    assert answers["text"].to_list() == ["A", "B", "C"]


def test_a_failed_request_is_told_and_asked_again(tmp_path: Path) -> None:
    tally, answers = ask(tmp_path, EchoEngine(frozenset("b")), ["a", "b"])
    assert tally.failed == 1
    assert answers["error"].to_list() == [None, "HTTP 500"]
    again = EchoEngine()
    _, answers = ask(tmp_path, again, ["a", "b"])
    assert again.asked == ["b"]
    assert answers["error"].to_list() == [None, None]


def test_an_interrupted_run_keeps_what_was_answered(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        ask(tmp_path, EchoEngine(dies_after=2), ["a", "b", "c", "d"])
    engine = EchoEngine()
    ask(tmp_path, engine, ["a", "b", "c", "d"])
    assert engine.asked == ["c", "d"]


def test_when_all_requests_fail_the_stage_ends(tmp_path: Path) -> None:
    texts = [f"t{n}" for n in range(120)]
    with pytest.raises(EngineError, match="all 120 requests failed; the last error: HTTP 500"):
        ask(tmp_path, EchoEngine(frozenset(texts)), texts)


def test_the_first_of_two_answers_wins(tmp_path: Path) -> None:
    ask(tmp_path, EchoEngine(), ["a"])
    folder = tmp_path / "completions" / "task" / "source"
    first = next(folder.glob("*.parquet"))
    later = pl.read_parquet(first).with_columns(text=pl.lit("LATER"), answered_at=pl.col("answered_at") + 5)
    later.write_parquet(folder / "0-earlier-name.parquet")
    _, answers = ask(tmp_path, EchoEngine(), ["a"])
    assert answers["text"].to_list() == ["A"]


def test_no_rows_ask_nothing(tmp_path: Path) -> None:
    ledger = CompletionLedger(tmp_path / "completions", "task", "source")
    with Inquiry(EchoEngine(), ledger, "run", tmp_path / "scratch", Progress("x", 0, lambda beat: None)) as inquiry:
        assert inquiry.ask([], lambda row: pytest.fail("no row, no request")).rows == 0
        assert list(inquiry.answers()) == []


def test_the_key_covers_what_decides_a_reply() -> None:
    request = ChatRequest((ChatMessage("user", "a"),), 8)
    variants = [
        RequestKeys("one")(request),
        RequestKeys("two")(request),
        RequestKeys("one")(ChatRequest((ChatMessage("user", "b"),), 8)),
        RequestKeys("one")(ChatRequest((ChatMessage("system", "a"),), 8)),
        RequestKeys("one")(ChatRequest((ChatMessage("user", "a"),), 9)),
        RequestKeys("one")(ChatRequest((ChatMessage("user", "a"),), 8, schema={"type": "array"})),
        RequestKeys("one")(ChatRequest((ChatMessage("user", "a"),), 8, choices=("yes", "no"))),
    ]
    assert len(set(variants)) == len(variants)
    assert RequestKeys("one")(request) == variants[0]


def test_answers_tell_what_they_used_when_asked_for_it(tmp_path: Path) -> None:
    ledger = CompletionLedger(tmp_path / "completions", "task", "source")
    rows = pl.DataFrame({"caption_id": ["s:0", "s:1"], "caption": ["a", "b"]})
    for _ in range(2):
        progress = Progress("ask", 2, lambda beat: None)
        with Inquiry(EchoEngine(frozenset("b")), ledger, "run", tmp_path / "scratch", progress) as inquiry:
            inquiry.ask([rows], lambda row: ChatRequest((ChatMessage("user", row["caption"]),), 8))
            told = pl.concat(inquiry.answers(usage=True))
        assert told["prompt_tokens"].to_list() == [3, 0], "of whichever run; a failed request used nothing"
        assert told["completion_tokens"].to_list() == [1, 0]
        assert told["seconds"].to_list() == [0.0, 0.0]
