"""Fuzzing of every reader and of the reply parser: coverage-guided in the full form, plain mutations in the short one.

The full form needs `pip install --editable ".[fuzz]"` (atheris: Linux and macOS). A case per reader, so that a run
that was stopped goes on. `python -m spare_assets_tests.faults.fuzzing "verdict files" 5000` runs one by hand.
"""

from __future__ import annotations

import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from spare_assets_tests.faults.cases import Case, Outcome

FAULT = "any bytes at a reader"
SHORT_INPUTS = 150
LONGEST_BYTES = 4096
HUNG_SECONDS = 20
_FRAGMENTS = (
    *(b"\0", b"\xff", b"\xed\xa0\x80", b"\\ud800", "\u202e\u2028".encode(), b"\r\n", b"\n\n", b"\t", b'"', b'""', b","),
    *(b"{", b"}", b"[", b"]", b"[[[[[[", b"null", b"NaN", b"1e999", b"-1", b"9" * 5000, b"true", b"<|im_end|>"),
    *(b"{description}", b"../", b"/etc/passwd", b"'; DROP TABLE captions; --", b"=cmd()", b"```", b"<script>", b"~x/"),
)


def mutations(seeds: Sequence[bytes], seed: int) -> Iterator[bytes]:
    """The seeds, and then bytes near them without end; equal seeds give equal bytes."""
    yield from seeds
    draw = random.Random(seed)
    while True:
        content = bytearray(draw.choice(seeds))
        for _ in range(draw.randint(1, 4)):
            place = draw.randint(0, len(content))
            match draw.randint(0, 4):
                case 0:
                    content[place : place + 1] = bytes([draw.randint(0, 255)])
                case 1:
                    del content[place : place + draw.randint(1, 20)]
                case 2:
                    content[place:place] = draw.choice(_FRAGMENTS)
                case 3:
                    other = draw.choice(seeds)
                    start = draw.randint(0, len(other))
                    content[place:place] = other[start : start + draw.randint(1, 60)]
                case _:
                    content[place : place + draw.randint(1, 30)] = draw.choice(_FRAGMENTS)
        yield bytes(content)


def _short(folder: Path) -> Outcome:
    from spare_assets_tests.faults.fuzz_targets import TARGETS

    assert list(TARGETS) == [name for name, _, _ in FULL], "every reader has its case in the full form"
    tried = 0
    for name, target in TARGETS.items():
        place = folder / name
        place.mkdir()
        feed = target.feeder(place)
        inputs = mutations(list(target.seeds()), seed=1)
        for _ in range(SHORT_INPUTS):
            content = next(inputs)
            started = time.perf_counter()
            try:
                feed(content)
            except Exception as error:
                raise AssertionError(f"{name}: {content!r}") from error
            assert time.perf_counter() - started < HUNG_SECONDS, (name, content)
            tried += 1
    return Outcome(tried)


def _full(name: str, inputs: int, folder: Path) -> Outcome:
    command = [sys.executable, "-m", __name__, name, str(inputs), str(folder)]
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, cwd=folder)
    told = ended.stdout.decode(errors="replace")
    found = [f"{path.name}: {path.read_bytes()!r}" for path in folder.glob("found-*")]
    assert ended.returncode == 0 and not found, "\n".join([told[-1500:], *found])
    runs = re.search(r"Done (\d+) runs", told)
    assert runs is not None and int(runs[1]) >= inputs, told[-1500:]
    covered = re.findall(r"cov: (\d+)", told)
    return Outcome(int(runs[1]), note=f"{covered[-1] if covered else '?'} edges")


def _cases() -> Iterator[Case]:
    # The readers' modules are not imported here: listing cases stays cheap.
    for name, stage, inputs in FULL:
        yield Case(FAULT, stage, f"coverage-guided: {name}", partial(_full, name, inputs), limit_s=1_800)


FULL = (
    ("DOCCI lines", "captions", 30_000),
    ("Localized Narratives lines", "captions", 30_000),
    ("PixMo-Cap Parquet", "captions", 20_000),
    ("tables", "captions", 60_000),
    ("replies", "qa_pairs", 450_000),
    ("replies to benchmarks", "benchmarks", 350_000),
    ("benchmark records", "benchmarks", 10_000),
    ("question files", "analyses", 40_000),
    ("verdict files", "review", 20_000),
    ("ledger lines", "ledger", 8_000),
    ("profile", "settings", 10_000),
)
"""Targets, the stage each belongs to, and inputs of the full form."""

CASES = [Case(FAULT, "all readers", "mutations", _short, short=True), *_cases()]


def main() -> None:
    """Feed one target until it has had its inputs; ends the process, as libFuzzer does."""
    import atheris

    name, inputs = sys.argv[1], int(sys.argv[2])
    folder = Path(sys.argv[3]) if len(sys.argv) > 3 else Path(tempfile.mkdtemp(prefix="fuzz-"))
    with atheris.instrument_imports(include=["spare_assets", "json", "yaml", "csv"], enable_loader_override=False):
        from spare_assets_tests.faults.fuzz_targets import TARGETS
    target = TARGETS[name]
    corpus, work = folder / "corpus", folder / "work"
    corpus.mkdir()
    work.mkdir()
    for number, seed in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    words = folder / "words.dict"
    words.write_text("\n".join(f'"{_escaped(word)}"' for word in _FRAGMENTS if len(word) < 60) + "\n")
    arguments = [
        *(sys.argv[0], str(corpus), f"-runs={inputs}", f"-timeout={HUNG_SECONDS}", f"-max_len={LONGEST_BYTES}"),
        *(
            "-seed=1",
            "-rss_limit_mb=4096",
            f"-dict={words}",
            f"-artifact_prefix={folder}/found-",
            "-print_final_stats=0",
        ),
    ]
    atheris.Setup(arguments, target.feeder(work))
    atheris.Fuzz()


def _escaped(word: bytes) -> str:
    """A word as libFuzzer's dictionaries hold it."""
    return "".join(f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    main()
