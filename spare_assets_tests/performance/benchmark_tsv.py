"""A benchmark's TSV of 2 GB read to its end, beside one pass of `wc -l` over the file.

    python -m spare_assets_tests.performance.benchmark_tsv [--megabytes 2000] [--rounds 3] [--keep]

The file is MMBench in VLMEvalKit's layout: a photograph-sized JPEG in base64 in each row, every fourth row with quoted
fields that hold quotes and line breaks. Reading is what the product does with every such file whatever follows: records
told apart, named and checked (UTF-8, number of fields, quotes, twice the same index), each field a text, the picture
still in base64. Two further figures decide nothing, since they are work on pictures and not on the file: making the
questions of the first rows with their pictures unpacked, each decoded and written to a file of its own (once in a
home's life), and making them again (base64 decoded and hashed, the file found). All runs find the file in the disk
cache. Every record's texts are checked by a hash that the writer of the file has, too.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spare_assets_tests.performance.measuring import FOLDER, Line, in_turns, median, peak_line, report, run, run_module

MODULE = "spare_assets_tests.performance.benchmark_tsv"
COLUMNS = ("index", "question", "hint", "A", "B", "C", "D", "answer", "category", "l2-category", "image")
PICTURES = 48
WITH_PICTURES = 400
"""Rows whose pictures are unpacked, too."""
MAX_PIXELS = 50_000_000


def make(folder: Path, megabytes: int) -> dict[str, Any]:
    """Write the file, and the beginning of it as a file of its own; rows and the hash of their texts."""
    pictures = [_jpeg(number) for number in range(PICTURES)]
    digest, rows, written = hashlib.sha256(), 0, 0
    with (
        (folder / "whole.tsv").open("w", encoding="utf-8", newline="") as whole,
        (folder / "beginning.tsv").open("w", encoding="utf-8", newline="") as beginning,
    ):
        for file in (whole, beginning):
            file.write("\t".join(COLUMNS) + "\n")
        while written < megabytes * 1_000_000:
            values = _values(rows, pictures[rows % PICTURES])
            _add(digest, values)
            line = "\t".join(map(_quoted, values)) + "\n"
            whole.write(line)
            if rows < WITH_PICTURES:
                beginning.write(line)
            written += len(line)
            rows += 1
    return {"rows": rows, "digest": digest.hexdigest()}


def _jpeg(seed: int) -> bytes:
    """A picture of 640 x 480 that takes about as much as a photograph."""
    import numpy as np
    from PIL import Image

    noise = np.random.default_rng(seed).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    fine = np.random.default_rng(seed + 1000).integers(-24, 24, (480, 640, 3))
    smooth = np.asarray(Image.fromarray(noise).resize((640, 480), Image.Resampling.BICUBIC)).astype(int)
    buffer = io.BytesIO()
    Image.fromarray(np.clip(smooth + fine, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def _values(row: int, picture: bytes) -> list[str]:
    """The texts of a record. A comment makes each picture another file."""
    comment = f"{row:08d}".encode()
    own = picture[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + picture[2:]
    hint = 'The sign says "no entry".\nBehind it stands a café.' if row % 4 == 0 else ""
    question = f"Where is object {row} in relation to the tree?"
    options = ("left of it", "right of it", "behind it", "in front of it")
    answer = "ABCD"[random.Random(row).randrange(4)]
    image = base64.b64encode(own).decode()
    return [str(row), question, hint, *options, answer, "spatial_relationship", "relation_reasoning", image]


def _quoted(value: str) -> str:
    return '"' + value.replace('"', '""') + '"' if '"' in value or "\n" in value else value


def _add(digest: Any, values: list[str]) -> None:
    """All short texts of a record, the length of its picture and the ends of it."""
    picture = values[-1]
    digest.update("\x1f".join([*values[:-1], str(len(picture)), picture[:200], picture[-200:]]).encode())


def _files(path: Path) -> Any:
    from spare_assets.benchmarks.image_files import BenchmarkFiles, RecordFile

    return BenchmarkFiles("mmbench", RecordFile(path, path.name, "mmbench", None), None)


def ours(path: Path) -> dict[str, Any]:
    """Every record of the file, its fields as texts."""
    from spare_assets.benchmarks.image_files import record_items

    digest, rows = hashlib.sha256(), 0
    for _, row in record_items(_files(path)):
        assert row.fields is not None, row.reason
        _add(digest, [row.fields[name] or "" for name in COLUMNS])
        rows += 1
    return {"rows": rows, "digest": digest.hexdigest()}


def questions(path: Path) -> dict[str, Any]:
    """Every question of the file with its picture as a file, in the folder `pictures` beside it."""
    from spare_assets.benchmarks.catalog import CATALOG
    from spare_assets.benchmarks.pictures import Pictures
    from spare_assets.settings import BenchmarkSettings

    files = _files(path)
    pictures = Pictures(files, path.parent / "pictures", MAX_PIXELS)
    made: Iterator[Any] = CATALOG["mmbench"].read(files, pictures, BenchmarkSettings(file=str(path)))
    rows = 0
    for question in made:
        assert not question.problem and len(question.images) == 1
        rows += 1
    return {"rows": rows}


def measure(folder: Path, megabytes: int, rounds: int) -> list[Line]:
    """Make the input, run both in turns; the lines to print."""
    whole, beginning, made = folder / "whole.tsv", folder / "beginning.tsv", folder / "made.json"
    wanted = {"megabytes": megabytes}
    if not made.exists() or wanted.items() - json.loads(made.read_text()).items():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        written = run_module(MODULE, "--make", folder, "--megabytes", str(megabytes)).said
        made.write_text(json.dumps(wanted | written))
    expected = json.loads(made.read_text())
    taken = in_turns(
        rounds, {"ours": lambda: run_module(MODULE, "--ours", whole), "wc": lambda: run(["wc", "-l", whole])}
    )
    mine, lines = median(taken["ours"]), median(taken["wc"])
    assert (mine.said["rows"], mine.said["digest"]) == (expected["rows"], expected["digest"]), "records differ"
    shutil.rmtree(folder / "pictures", ignore_errors=True)
    unpacked, again = (run_module(MODULE, "--questions", beginning) for _ in range(2))
    assert unpacked.said["rows"] == again.said["rows"] == min(expected["rows"], WITH_PICTURES)
    part = beginning.stat().st_size / whole.stat().st_size
    nothing = folder / "nothing.tsv"
    nothing.write_text("\t".join(COLUMNS) + "\n")
    alone = run_module(MODULE, "--questions", nothing)
    work = f"reading a TSV of {whole.stat().st_size / 1e9:.2f} GB, {expected['rows']:,} records"
    other = "wc -l"
    for name, usage in (("unpacked", unpacked), ("again", again)):
        per_row = (usage.cpu - alone.cpu) / unpacked.said["rows"]
        print(f"  questions of {unpacked.said['rows']:,} rows, pictures {name}: {usage}; {1000 * per_row:.1f} ms a row")
    return [
        Line(f"{work}: CPU time", other, mine.cpu / lines.cpu, 10),
        Line(f"{work}: wall time", other, mine.wall / lines.wall),
        peak_line(work, mine, 1),
        Line("  with pictures unpacked: CPU time", other, (unpacked.cpu - alone.cpu) / (lines.cpu * part)),
        Line("  with pictures unpacked before: CPU time", other, (again.cpu - alone.cpu) / (lines.cpu * part)),
    ]


def main() -> int:
    """Measure and print; 1 where a figure is not reached."""
    parser = argparse.ArgumentParser(description="Reading a benchmark's TSV beside wc -l.")
    parser.add_argument("--megabytes", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", action="store_true", help="Leave the input where it is, for another time.")
    for option in (*PARTS, "make"):
        parser.add_argument(f"--{option}", type=Path, metavar="PATH", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.make:
        print(json.dumps(make(arguments.make, arguments.megabytes)))
        return 0
    for name, part in PARTS.items():
        if given := getattr(arguments, name):
            print(json.dumps(part(given)))
            return 0
    folder = FOLDER / "benchmark_tsv"
    try:
        return report(measure(folder, arguments.megabytes, arguments.rounds))
    finally:
        if not arguments.keep:
            shutil.rmtree(folder, ignore_errors=True)


PARTS = {"ours": ours, "questions": questions}

if __name__ == "__main__":
    sys.exit(main())
