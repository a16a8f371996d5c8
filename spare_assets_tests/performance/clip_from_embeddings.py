"""Checks 1 and 4 over a paper-sized source's stored embeddings, beside one pass of numpy over the same numbers.

    python -m spare_assets_tests.performance.clip_from_embeddings [--pairs 3370000] [--rounds 3] [--keep]

Ours: the product's own modules, from tables to tables. Check 1 reads `qa_pairs` and `question_embeddings` and writes
its verdicts; check 4 reads both again with `image_embeddings` and the captions' images and writes its own. Seals are
checked at the first read of each table and made for what is written, as in a run. The rival maps a plain file of the
question embeddings alone and sums it in chunks as float32: it decodes no table, reads no text and writes nothing.

Vectors are random, of unit length, 512 wide, in half precision; 7.4 pairs to a caption. Of some pairs the vector is
nearly that of the pair before, so that check 1 has something to drop. Verdicts of the first captions are held against
plain numpy in double precision. Twice 3.5 GB are written under .spare/performance/, and removed at the end
unless --keep is given.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spare_assets_tests.performance.measuring import (
    FOLDER,
    Line,
    in_turns,
    median,
    peak_line,
    report,
    run_module,
)

MODULE = "spare_assets_tests.performance.clip_from_embeddings"
WIDTH = 512
PAIRS_A_CAPTION = 7.4
SOURCE = "photos"
COSINE = 0.95
MINIMUM = 0.0
"""Cut-off of check 4: of random vectors half lie above it."""
REPEATED_SHARE = 0.01
CHUNK = 8_192
COMPARED = 3_000
"""Captions whose verdicts are worked out again."""


def make(folder: Path, pairs: int) -> None:
    """Write the tables of one source, and the plain array of its question embeddings beside them."""
    import numpy as np
    import polars as pl

    from spare_assets.clip.embeddings import BATCH
    from spare_assets.storage.tables import TableStore

    random = np.random.default_rng(7)
    captions = max(1, round(pairs / PAIRS_A_CAPTION))
    sizes = 1 + random.poisson(PAIRS_A_CAPTION - 1, captions)
    sizes[-1] = max(1, sizes[-1] + pairs - sizes.sum())
    pairs = int(sizes.sum())
    of_caption = np.repeat(np.arange(captions), sizes)
    position = np.arange(pairs) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    table = pl.DataFrame(
        {
            "pair_id": pl.Series(random.permutation(pairs)).map_elements(lambda n: f"{n:016x}", return_dtype=pl.String),
            "caption_id": pl.Series(of_caption).map_elements(_caption_id, return_dtype=pl.String),
            "source": pl.repeat(SOURCE, pairs, eager=True),
            "position": pl.Series(position, dtype=pl.UInt32),
        }
    ).with_columns(
        question=pl.format("Where is object {} in relation to the tall tree by the house?", "position"),
        answer=pl.lit("It stands to the left of it, a little further back."),
    )
    repeated = (position > 0) & (random.random(pairs) < REPEATED_SHARE)

    def unit(count: int) -> Any:
        vectors = random.standard_normal((count, WIDTH), dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def embedded(vectors: Any) -> pl.Series:
        return pl.Series("embedding", vectors, dtype=pl.Array(pl.Float16, WIDTH))

    store = TableStore(folder / "tables")
    plain = np.lib.format.open_memmap(folder / "embeddings.npy", mode="w+", dtype=np.float16, shape=(pairs, WIDTH))

    def questions() -> Iterator[pl.DataFrame]:
        before = unit(1)
        for start in range(0, pairs, BATCH):
            vectors = unit(min(BATCH, pairs - start))
            for place in np.flatnonzero(repeated[start : start + len(vectors)]):
                vectors[place] = (vectors[place - 1] if place else before[0]) + 0.1 * vectors[place]
                vectors[place] /= np.linalg.norm(vectors[place])
            before = vectors[-1:]
            half = vectors.astype(np.float16)
            plain[start : start + len(half)] = half
            yield table[start : start + len(half)].with_columns(embedded(half))

    def images() -> Iterator[pl.DataFrame]:
        for start in range(0, captions, BATCH):
            numbers = range(start, min(start + BATCH, captions))
            ids = [_image_id(number) for number in numbers]
            yield pl.DataFrame(
                {"image_id": ids, "sha256": ids, "embedding": embedded(unit(len(ids)).astype(np.float16))}
            ).with_columns(source=pl.lit(SOURCE))

    batches = (table[start : start + 15_000] for start in range(0, pairs, 15_000))
    for name, rows in (
        ("qa_pairs", batches),
        ("question_embeddings", questions()),
        ("image_embeddings", images()),
    ):
        store.publish(store.stage(name, SOURCE, rows))
    plain.flush()
    numbers = pl.Series(range(captions))
    store.put(
        "caption_images",
        SOURCE,
        pl.DataFrame(
            {
                "caption_id": numbers.map_elements(_caption_id, return_dtype=pl.String),
                "image_id": numbers.map_elements(_image_id, return_dtype=pl.String),
            }
        ).with_columns(status=pl.lit("ok")),
    )
    (folder / "made.json").write_text(json.dumps({"pairs": pairs}))


def ours(folder: Path) -> dict[str, Any]:
    """Both checks, from tables to tables; the seconds of each."""
    import polars as pl

    from spare_assets.quality.alignment import alignment_verdicts
    from spare_assets.quality.deduplication import deduplication_verdicts
    from spare_assets.storage.tables import TableStore

    store = TableStore(folder / "tables")
    pairs, caption_images = (store.scan(name, SOURCE) for name in ("qa_pairs", "caption_images"))
    images = store.vectors("image_embeddings", SOURCE, "image_id", "embedding")

    def embeddings() -> Iterator[pl.DataFrame]:
        return store.vectors("question_embeddings", SOURCE, "caption_id", "pair_id", "embedding")

    begun = time.perf_counter()
    duplicates = store.stage("deduplication_verdicts", SOURCE, deduplication_verdicts(pairs, embeddings(), COSINE))
    deduplicated = time.perf_counter()
    scores = store.stage(
        "alignment_verdicts",
        SOURCE,
        alignment_verdicts(pairs, embeddings(), images, caption_images, mode="required", minimum=MINIMUM),
    )
    aligned = time.perf_counter()
    store.publish(duplicates, scores)
    return {"pairs": scores.rows, "deduplication": deduplicated - begun, "alignment": aligned - deduplicated}


def rival(folder: Path) -> dict[str, Any]:
    """The sum of all numbers, a chunk at a time as float32."""
    import numpy as np

    array = np.load(folder / "embeddings.npy", mmap_mode="r")
    total = 0.0
    for start in range(0, len(array), CHUNK):
        total += float(array[start : start + CHUNK].astype(np.float32).sum())
    return {"pairs": len(array), "sum": total}


def compare(folder: Path) -> dict[str, Any]:
    """Hold the verdicts of the first captions against plain numpy; raises AssertionError where they differ."""
    import numpy as np
    import polars as pl

    from spare_assets.storage.tables import TableStore

    store = TableStore(folder / "tables")
    ids = [_caption_id(number) for number in range(COMPARED)]

    def of_ids(name: str) -> pl.DataFrame:
        return store.scan(name, SOURCE).filter(pl.col("caption_id") <= ids[-1]).collect()

    pairs, duplicates, scores = (of_ids(name) for name in ("qa_pairs", "deduplication_verdicts", "alignment_verdicts"))
    questions = np.load(folder / "embeddings.npy", mmap_mode="r")[: pairs.height].astype(np.float64)
    images = store.scan("image_embeddings", SOURCE).head(COMPARED).collect()["embedding"].to_numpy().astype(np.float64)
    questions /= np.linalg.norm(questions, axis=1, keepdims=True)
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    of_caption = pairs["caption_id"].rle_id().to_numpy()
    cosines = (questions * images[of_caption]).sum(axis=1)
    assert pairs["pair_id"].equals(scores["pair_id"]) and pairs["pair_id"].equals(duplicates["pair_id"])
    assert np.abs(cosines - scores["score"].to_numpy()).max() < 1e-5
    doubtful = np.abs(cosines - MINIMUM) < 1e-5
    assert ((cosines >= MINIMUM) == scores["kept"].to_numpy())[~doubtful].all()
    kept: list[bool] = []
    for place, caption in enumerate(of_caption):
        earlier = [other for other in range(place) if of_caption[other] == caption and kept[other]] if place else []
        nearest = max((float(questions[place] @ questions[other]) for other in earlier), default=None)
        stored = duplicates.item(place, "score")
        assert (nearest is None) == (stored is None) and abs((nearest or 0) - (stored or 0)) < 1e-5, place
        kept.append(nearest is None or nearest <= COSINE)
    assert kept == duplicates["kept"].to_list()
    dropped = store.scan("deduplication_verdicts", SOURCE).select((~pl.col("kept")).sum()).collect().item()
    return {"pairs": pairs.height, "dropped": dropped}


def _caption_id(number: int) -> str:
    return f"{SOURCE}:{number:08d}"


def _image_id(number: int) -> str:
    return f"{SOURCE}:{number:012d}.jpg"


def measure(folder: Path, pairs: int, rounds: int) -> list[Line]:
    """Run both in turns on an input made for it; the lines to print."""
    made = folder / "made.json"
    if not made.exists() or abs(json.loads(made.read_text())["pairs"] - pairs) > pairs / 100:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        print(f"  input: {run_module(MODULE, '--make', folder, '--pairs', str(pairs))}", file=sys.stderr)
    taken = in_turns(
        rounds,
        {
            "ours": lambda: run_module(MODULE, "--ours", folder),
            "rival": lambda: run_module(MODULE, "--rival", folder),
        },
    )
    compared = run_module(MODULE, "--compare", folder).said
    print(
        f"  verdicts of {compared['pairs']:,} pairs are those of plain numpy; check 1 dropped {compared['dropped']:,}"
    )
    mine, bare = median(taken["ours"]), median(taken["rival"])
    assert mine.said["pairs"] == bare.said["pairs"]
    work, summed = f"CLIP dedup and scores, {mine.said['pairs']:,} pairs", "numpy sum as float32"
    return [
        Line(f"{work}: wall time", summed, mine.wall / bare.wall, 5),
        Line(f"{work}: CPU time", summed, mine.cpu / bare.cpu),
        peak_line(work, mine, 6),
    ]


def main() -> int:
    """Measure and print; 1 where a figure is not reached."""
    parser = argparse.ArgumentParser(description="Checks 1 and 4 from stored embeddings beside a numpy sum.")
    parser.add_argument("--pairs", type=int, default=3_370_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", action="store_true", help="Leave the input where it is, for another time.")
    for option in (*PARTS, "make"):
        parser.add_argument(f"--{option}", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.make:
        make(arguments.make, arguments.pairs)
        return 0
    for name, part in PARTS.items():
        if given := getattr(arguments, name):
            print(json.dumps(part(given)))
            return 0
    folder = FOLDER / "clip_from_embeddings"
    try:
        return report(measure(folder, arguments.pairs, arguments.rounds))
    finally:
        if not arguments.keep:
            shutil.rmtree(folder, ignore_errors=True)


PARTS = {"ours": ours, "rival": rival, "compare": compare}

if __name__ == "__main__":
    sys.exit(main())
