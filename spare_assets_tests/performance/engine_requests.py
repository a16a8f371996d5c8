"""Engine and ledger over many requests to an instant server, beside aiohttp alone and beside distilabel.

    python -m spare_assets_tests.performance.engine_requests [--requests 20000] [--concurrency 64] [--rounds 3]

The server is a process of its own and answers at once, so that only the cost of asking is left. Ours goes from
captions to captions with their replies: keys, requests, the ledger with its rewrite as Parquet, and the join. Timed
is each from its first request on, without imports. Of distilabel, whose pipeline takes seconds to start, fewer rows
are asked, at two sizes: its cost per row is the difference of both, so its start counts for nothing. All must get
the same replies.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from spare_assets_tests.performance.instant_server import instant_server
from spare_assets_tests.performance.measuring import Line, Usage, in_turns, median, report, run
from spare_assets_tests.performance.rivals import rival

_HERE = Path(__file__).parent
_QUESTION = (
    "Caption number {number}. Does this text say where things are? A red mug stands to the left of a {colour} "
    "laptop on a wooden desk near the window; behind the laptop, a tall lamp leans towards the wall, and below "
    "the lamp there is a small pot with a cactus. To the right of the mug lie three pencils, the longest of which"
    " points at the door in the background. In the upper left corner a framed photograph of a harbour hangs above"
    " a shelf, on which five books stand between two stones. The floor, of which only a strip is seen at the "
    "bottom, is covered with a carpet of {colour} and grey stripes that run from the front to the back. Answer "
    "with one word."
)
_COLOURS = ("green", "blue", "silver", "black", "white")


def questions(count: int) -> list[str]:
    """Texts of the length of a caption, each another."""
    return [_QUESTION.format(number=number, colour=_COLOURS[number % 5]) for number in range(count)]


def ours(url: str, concurrency: int, file: Path) -> dict[str, Any]:
    """Ask every question of a file by engine and ledger."""
    import polars as pl

    from spare_assets import settings as profile
    from spare_assets.engines.asking import Inquiry
    from spare_assets.engines.chat import ChatMessage, ChatRequest
    from spare_assets.engines.openai_engine import OpenAIEngine
    from spare_assets.progress import Progress
    from spare_assets.storage.ledger import CompletionLedger

    texts = [json.loads(line) for line in file.read_text().splitlines()]
    captions = pl.DataFrame({"text": texts}).rename({"text": "caption"})
    engine = OpenAIEngine(
        profile.OpenAIEngine(model="m", base_url=url, concurrency=concurrency, api_key_variable=None), name="judge"
    )
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        begun, busy = time.perf_counter(), time.process_time()
        ledger = CompletionLedger(folder, "judge_caption", "corpus")
        progress = Progress("asking", len(texts), lambda beat: None)
        with Inquiry(engine, ledger, "run", folder / "scratch", progress) as inquiry:
            inquiry.ask(
                captions.iter_slices(1_000),
                lambda row: ChatRequest((ChatMessage("user", row["caption"]),), 50),
            )
            answered = list(inquiry.answers(usage=True))
        seconds, cpu = time.perf_counter() - begun, time.process_time() - busy
    digest = hashlib.sha256()
    fields = ["caption", "text", "finish_reason", "prompt_tokens", "completion_tokens", "error"]
    asked = iter(texts)
    for caption, *reply, error in (row for batch in answered for row in batch.select(fields).iter_rows()):
        assert caption == next(asked) and error is None, error
        digest.update(json.dumps(reply).encode())
    rows = sum(batch.height for batch in answered)
    return {"rows": rows, "seconds": seconds, "cpu": cpu, "digest": digest.hexdigest()}


def _timed(usage: Usage) -> Usage:
    """What a run took from its first request on, as it tells itself."""
    return Usage(usage.said["seconds"], usage.said["cpu"], usage.peak, usage.said)


def main() -> int:
    """Measure, print throughputs and ratios; 1 where one is below its limit."""
    parser = argparse.ArgumentParser(description="Engine and ledger beside aiohttp alone and beside distilabel.")
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--distilabel-requests", type=int, default=2_000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    few = arguments.distilabel_requests
    bare = rival("aiohttp", "aiohttp==3.14.5")
    # The release asks for no upper bounds, and for one package that it imports not at all.
    distilabel = rival(
        "distilabel", "distilabel==1.5.3", "openai==3.54.0", "datasets==5.2.0", "requests==2.34.2", "pydantic==2.14.3"
    )
    with tempfile.TemporaryDirectory() as scratch, instant_server() as url:
        files = {count: Path(scratch) / f"{count}.jsonl" for count in (arguments.requests, few, few // 4)}
        for count, file in files.items():
            file.write_text("".join(json.dumps(text) + "\n" for text in questions(count)))
        where = (url, str(arguments.concurrency))

        def asked(command: Sequence[str | Path], count: int) -> Usage:
            usage = _timed(run([*command, *where, files[count]]))
            assert usage.said["rows"] == count
            return usage

        engine = [sys.executable, "-m", "spare_assets_tests.performance.engine_requests", "ours"]
        taken = in_turns(
            arguments.rounds,
            {
                "ours": partial(asked, engine, arguments.requests),
                "aiohttp": partial(asked, [bare, _HERE / "bare_client.py"], arguments.requests),
            },
        )
        taken |= in_turns(
            arguments.rounds,
            {
                "ours, few": partial(asked, engine, few),
                "distilabel": partial(asked, [distilabel, _HERE / "distilabel_client.py"], few),
                "distilabel, a quarter": partial(asked, [distilabel, _HERE / "distilabel_client.py"], few // 4),
            },
            warm_up=False,
        )
    middle = {name: median(usages) for name, usages in taken.items()}
    for all_, some in (("ours", "aiohttp"), ("ours, few", "distilabel")):
        assert middle[all_].said["digest"] == middle[some].said["digest"], f"{all_} and {some} got other replies"
    ours_wall, ours_cpu = middle["ours"].wall / arguments.requests, middle["ours"].cpu / arguments.requests
    bare_wall, bare_cpu = middle["aiohttp"].wall / arguments.requests, middle["aiohttp"].cpu / arguments.requests
    whole, part = middle["distilabel"], middle["distilabel, a quarter"]
    per_row = (whole.wall - part.wall) / (few - few // 4)
    print(
        f"requests/s: ours {1 / ours_wall:,.0f}, aiohttp {1 / bare_wall:,.0f}, distilabel {1 / per_row:,.0f} "
        f"({few / whole.wall:,.0f} with the start of its pipeline)"
    )
    work = f"engine and ledger, {arguments.requests:,} requests, {arguments.concurrency} at once: throughput"
    return report(
        [
            Line(work, "aiohttp", bare_wall / ours_wall, 0.8, "least"),
            Line(f"{work} per CPU time", "aiohttp", bare_cpu / ours_cpu),
            Line(work, "distilabel", per_row / ours_wall, 5.0, "least"),
            Line(f"{work}", f"distilabel, start included, {few:,} rows", whole.wall / few / ours_wall),
        ]
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["ours"]:
        print(json.dumps(ours(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))))
    else:
        sys.exit(main())
