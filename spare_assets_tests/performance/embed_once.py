"""Questions embedded once for checks 1 and 4, beside embedding them in each check.

    python -m spare_assets_tests.performance.embed_once [--pairs 16000] [--rounds 3]

Both sides run the product's checks on the same pairs, with the small open_clip model of the sandbox on one thread; all
questions differ. Ours embeds into the table `question_embeddings`, published as in a run, and both checks read
it. The rival embeds all questions in each check and keeps them in memory: it writes and reads no table. Both checks
see all pairs. (In a run check 4 sees those that checks 1 to 3 leave: there the rival saves the rest of its second
pass.) Time counts from the first question to the last verdict, the model loaded before; the images' vectors are given.
Verdicts must be equal to the last bit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spare_assets_tests.performance.measuring import FOLDER, Line, in_turns, median, report, run_module

MODULE = "spare_assets_tests.performance.embed_once"
SOURCE = "photos"
PAIRS_A_CAPTION = 7
THINGS = ("chair", "table", "lamp", "tree", "dog", "cat", "window", "door", "car", "bench", "clock", "boat", "bridge")
LOOKS = ("red", "blue", "green", "grey", "tall", "small", "round", "wooden", "old", "bright", "broken", "striped")


def make(folder: Path, pairs: int) -> None:
    """Tables of one source: pairs whose questions all differ, and vectors of images as wide as the model's."""
    import numpy as np
    import polars as pl

    from spare_assets.clip.encoder import ClipEncoder
    from spare_assets.sandbox import SANDBOX_CLIP
    from spare_assets.storage.tables import TableStore

    random = np.random.default_rng(11)
    width = ClipEncoder(str(SANDBOX_CLIP)).width
    rows = np.arange(pairs)
    captions = int(rows[-1] // PAIRS_A_CAPTION) + 1
    looks, things = random.choice(LOOKS, (pairs, 3)), random.choice(THINGS, (pairs, 3))
    questions = [
        f"Where is the {a} {x} number {row} in relation to the {b} {y} and the {c} {z}?"
        for row, ((a, b, c), (x, y, z)) in enumerate(zip(looks, things, strict=True))
    ]
    table = pl.DataFrame(
        {
            "pair_id": [f"{row:016x}" for row in rows],
            "caption_id": [f"{SOURCE}:{row // PAIRS_A_CAPTION:08d}" for row in rows],
            "source": SOURCE,
            "position": pl.Series(rows % PAIRS_A_CAPTION, dtype=pl.UInt32),
            "question": questions,
            "answer": "On the left.",
        }
    )
    vectors = random.standard_normal((captions, width))
    half = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    ids = [f"{SOURCE}:{number:08d}" for number in range(captions)]
    images = pl.DataFrame({"image_id": ids, "sha256": ids, "source": SOURCE}).with_columns(
        embedding=pl.Series(half, dtype=pl.Array(pl.Float16, width))
    )
    store = TableStore(folder / "tables")
    store.publish(
        store.stage("qa_pairs", SOURCE, table),
        store.stage("image_embeddings", SOURCE, iter([images])),
    )
    store.put("caption_images", SOURCE, pl.DataFrame({"caption_id": ids, "image_id": ids, "status": "ok"}))


@dataclass
class Counting:
    """An encoder that counts the texts it is given."""

    encoder: Any
    texts: int = 0

    @property
    def fingerprint(self) -> str:
        return str(self.encoder.fingerprint)

    def encode_texts(self, texts: Sequence[str]) -> Any:
        self.texts += len(texts)
        return self.encoder.encode_texts(texts)

    def encode_images(self, paths: Sequence[Path]) -> Any:
        raise AssertionError("no image is embedded here")


def checked(folder: Path, *, once: bool) -> dict[str, Any]:
    """Both checks over all pairs; texts embedded, seconds, and a hash of all verdicts."""
    import polars as pl

    from spare_assets.clip.embeddings import question_embeddings
    from spare_assets.clip.encoder import ClipEncoder
    from spare_assets.progress import Progress
    from spare_assets.quality.alignment import alignment_verdicts
    from spare_assets.quality.deduplication import deduplication_verdicts
    from spare_assets.sandbox import SANDBOX_CLIP
    from spare_assets.storage.tables import TableStore

    store = TableStore(folder / "tables")
    encoder = Counting(ClipEncoder(str(SANDBOX_CLIP), device="cpu"))
    encoder.encoder.encode_texts(["to load the model"])
    pairs, caption_images = (store.scan(name, SOURCE) for name in ("qa_pairs", "caption_images"))
    images = store.vectors("image_embeddings", SOURCE, "image_id", "embedding")
    total = store.rows("qa_pairs", SOURCE)

    def embedded() -> Any:
        return question_embeddings(pairs, None, encoder, "", Progress("questions", total, lambda beat: None))

    def stored() -> Iterator[pl.DataFrame]:
        return store.vectors("question_embeddings", SOURCE, "caption_id", "pair_id", "embedding")

    def in_memory() -> pl.LazyFrame:
        batches: list[pl.DataFrame] = list(embedded())
        return pl.concat(batches).lazy()

    wall, cpu = time.perf_counter(), time.process_time()
    if once:
        store.publish(store.stage("question_embeddings", SOURCE, embedded()))
    vectors = stored if once else in_memory
    duplicates = pl.concat(deduplication_verdicts(pairs, vectors(), 0.95))
    scores = pl.concat(alignment_verdicts(pairs, vectors(), images, caption_images, mode="required", minimum=0.0))
    taken = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    digest = hashlib.sha256()
    for verdicts in (duplicates, scores):
        digest.update(verdicts.write_json().encode())
    dropped = int((~duplicates["kept"]).sum())
    return taken | {"texts": encoder.texts, "pairs": total, "verdicts": digest.hexdigest(), "dropped": dropped}


def measure(folder: Path, pairs: int, rounds: int) -> list[Line]:
    """Run both in turns; the lines to print."""
    shutil.rmtree(folder, ignore_errors=True)
    run_module(MODULE, "--make", folder, "--pairs", str(pairs))
    one_thread = {"OMP_NUM_THREADS": "1"}

    def once(name: str) -> Callable[[], Any]:
        return lambda: run_module(MODULE, f"--{name}", folder, environment=one_thread)

    taken = in_turns(rounds, {name: once(name) for name in PARTS}, warm_up=False)
    said = {name: [usage.said for usage in usages] for name, usages in taken.items()}
    assert len({run["verdicts"] for runs in said.values() for run in runs}) == 1, "verdicts differ"
    ours, rival = (median(taken[name]) for name in PARTS)
    work = f"both CLIP checks on {pairs:,} pairs, questions embedded once"
    other = "embedded in each check"

    def ratio(of: str) -> float:
        middle = {name: sorted(run[of] for run in runs)[len(runs) // 2] for name, runs in said.items()}
        return float(middle["rival"] / middle["ours"])

    print(
        f"  texts embedded: {ours.said['texts']:,} beside {rival.said['texts']:,}; equal verdicts; "
        f"check 1 drops {ours.said['dropped']:,}"
    )
    return [
        Line(f"{work}: CPU time", other, ratio("cpu"), 1.9, "least"),
        Line(f"{work}: wall time", other, ratio("wall")),
        Line(f"{work}: texts", other, ratio("texts"), 1.9, "least"),
    ]


def main() -> int:
    """Measure and print; 1 where a figure is not reached."""
    parser = argparse.ArgumentParser(description="Embedding questions once beside embedding them in each check.")
    parser.add_argument("--pairs", type=int, default=40_000)
    parser.add_argument("--rounds", type=int, default=3)
    for part in ("make", *PARTS):
        parser.add_argument(f"--{part}", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.make:
        make(arguments.make, arguments.pairs)
        return 0
    for name, once in PARTS.items():
        if given := getattr(arguments, name):
            print(json.dumps(checked(given, once=once)))
            return 0
    folder = FOLDER / "embed_once"
    try:
        return report(measure(folder, arguments.pairs, arguments.rounds))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


PARTS = {"ours": True, "rival": False}
"""What a run is called, and whether it embeds questions once."""

if __name__ == "__main__":
    sys.exit(main())
