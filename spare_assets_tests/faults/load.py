"""Very many requests at once against a fast server in a process of its own: all are answered, memory stays flat.

`python -m spare_assets_tests.faults.load` is that server: it prints its port, answers every POST alike, and ends
with its standard input.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import polars as pl

from spare_assets.engines.asking import Inquiry
from spare_assets.progress import Progress
from spare_assets.storage.ledger import CompletionLedger
from spare_assets_tests.faults.cases import Case, Outcome
from spare_assets_tests.faults.memory import Memory
from spare_assets_tests.faults.servers import batches, make_engine, question

CONCURRENCY = 512
# Of a request only sixteen bytes of its key stay, in a set; a kept request or reply would be 100 MB and more.
GROWTH_BYTES = 40_000_000
_BODY = json.dumps(
    {
        "choices": [{"message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 200, "completion_tokens": 1},
    }
).encode()
_REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(_BODY), _BODY)


def load(folder: Path, rows: int) -> Outcome:
    """Ask for so many captions at once, then again: the second time nothing is asked."""
    ledger = CompletionLedger(folder, "judge_caption", "corpus")
    pulled_all = 0.0

    def pulled() -> Iterator[pl.DataFrame]:
        nonlocal pulled_all
        yield from batches(rows)
        pulled_all = time.monotonic()

    with fast_server() as url:
        engine = make_engine(url, concurrency=CONCURRENCY, timeout_seconds=120.0, backoff_seconds=1.0, attempts=8)
        progress = Progress("asking", rows, lambda beat: None)
        # Connections, threads and buffers of the first round are no growth.
        with Inquiry(
            engine, CompletionLedger(folder, "judge_caption", "before"), "run", folder / "scratch", progress
        ) as inquiry:
            inquiry.ask(batches(2 * CONCURRENCY), question)
        with Inquiry(engine, ledger, "run", folder / "scratch", progress) as inquiry:
            started = time.monotonic()
            with Memory(interval=0.25) as memory:
                tally = inquiry.ask(pulled(), question)
            seconds = time.monotonic() - started
            answered = sum(part.height for part in inquiry.answers() if (part["text"] == "yes").all())
        assert (tally.asked, tally.failed, answered) == (rows, 0, rows)
        with Inquiry(engine, ledger, "again", folder / "scratch", progress) as inquiry:
            assert inquiry.ask(batches(rows), question).answered_before == rows
    # Up to here: what follows is the ledger's rewrite, in groups of equal size.
    half = (started + pulled_all) / 2
    first = max(size for moment, size in memory.samples if moment <= half)
    second = max(size for moment, size in memory.samples if half < moment <= pulled_all)
    peak = max(size for _, size in memory.samples)
    assert second - first < GROWTH_BYTES, f"{second - first:,} bytes more in the second half"
    assert pl.scan_parquet(ledger.files()).select(pl.len()).collect().item() == rows
    return Outcome(
        tried=rows,
        note=f"{rows / seconds:,.0f} requests/s, {CONCURRENCY} at once; {second / 1e6:.0f} MB while asking, "
        f"{(second - first) / 1e6:+.1f} MB from the first half to the second; {peak / 1e6:.0f} MB with the rewrite",
    )


@contextmanager
def fast_server() -> Iterator[str]:
    """Address of a server that answers as fast as one process can."""
    command = [sys.executable, "-m", __name__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdin is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        process.stdin.close()
        assert process.wait(10) == 0


class _Answering(asyncio.Protocol):
    """One connection: as many answers as whole requests have come."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (head := self._received.find(b"\r\n\r\n")) >= 0:
            lines = self._received[:head].lower().split(b"\r\n")
            length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
            if len(self._received) < head + 4 + length:
                return
            self._received = self._received[head + 4 + length :]
            self._transport.write(_REPLY)


async def serve() -> None:
    """Answer on a free port of loopback until the standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Answering, "127.0.0.1", 0, backlog=2 * CONCURRENCY)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


CASES = [
    Case("load", "engine and ledger", "2,000 requests", partial(load, rows=2_000), short=True),
    Case("load", "engine and ledger", "200,000 requests", partial(load, rows=200_000), limit_s=1_800),
]

if __name__ == "__main__":
    asyncio.run(serve())
