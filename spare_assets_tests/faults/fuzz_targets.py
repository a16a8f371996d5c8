"""Everything that reads text from outside, as functions of bytes: what a fuzzer feeds, and what must hold of any input.

A target may refuse an input only with the error its reader promises; anything else that it raises is a fault. How
inputs are made belongs to `fuzzing`.
"""

from __future__ import annotations

import io
import json
import string
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from spare_assets.analyses import json_stream
from spare_assets.analyses.vqa_datasets import SECTION, VqaQuestions
from spare_assets.benchmarks.catalog import CATALOG
from spare_assets.benchmarks.image_files import BenchmarkFiles, RecordFile
from spare_assets.benchmarks.pictures import Pictures
from spare_assets.benchmarks.questions import Question
from spare_assets.captions.files import source_files
from spare_assets.captions.readers import read_captions
from spare_assets.captions.records import SourceError
from spare_assets.review.items import items
from spare_assets.review.verdict_files import VerdictFileError, read_verdicts
from spare_assets.sandbox.benchmark_files import write_benchmark
from spare_assets.settings import (
    PROFILES,
    BenchmarkSettings,
    Home,
    LimitSettings,
    SettingsError,
    SourceSettings,
    VqaDataset,
    load_settings,
)
from spare_assets.storage.ledger import RECORD, Completion, CompletionLedger
from spare_assets.synthesis.reply_parsing import (
    ANSWER_CHARACTERS,
    QUESTION_CHARACTERS,
    parse_flags,
    parse_pairs,
    parse_yes_no,
)
from spare_assets_tests.review.drawn import caption_rows, pair_rows, verdict_file

Feed = Callable[[bytes], None]
LIMITS = LimitSettings()
_KEY = "0123456789abcdef" * 4


@dataclass(frozen=True, slots=True)
class Target:
    """A reader: well-formed inputs to start from, and how it is fed in an empty folder."""

    seeds: Callable[[], Iterable[bytes]]
    feeder: Callable[[Path], Feed]


def _home(folder: Path) -> Home:
    home = Home(folder / "home", load_settings("sandbox"))
    home.data.mkdir(parents=True)
    return home


# captions


def _captions(name: str, **settings: Any) -> Callable[[Path], Feed]:
    def feeder(folder: Path) -> Feed:
        home = _home(folder)
        source = SourceSettings(files=(name,), **settings)
        path = home.resolve(name)

        def feed(content: bytes) -> None:
            path.write_bytes(content)
            captions = read = passed_over = 0
            try:
                for batch in read_captions("outside", source, home, limits=LIMITS):
                    captions += batch.captions.height
                    read += batch.read
                    passed_over += batch.passed_over
                    assert not batch.captions["caption"].str.contains("\0", literal=True).any()
                    assert batch.quarantined["reason"].str.len_chars().min() != 0
            except SourceError as error:
                assert name in str(error), "the message names the file"
                return
            if path.suffix == ".jsonl" and not content.startswith(b"\x1f\x8b"):
                lines = sum(1 for line in io.BytesIO(content) if not line.isspace())
                assert read + passed_over == lines, "every line is a caption, in quarantine or passed over"

        return feed

    return feeder


def _tables(folder: Path) -> Feed:
    columns = {"caption": "text", "image": "photo", "id": "id", "split": "split"}
    kinds = ("jsonl", "json", "csv", "tsv")
    feeds = []
    for kind in kinds:
        (folder / kind).mkdir()
        feeds.append(_captions(f"in.{kind}", format="table", columns=columns)(folder / kind))
    return lambda content: feeds[content[0] % len(kinds)](content[1:]) if content else None


def _parquet(columns: Mapping[str, list[Any]]) -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame(dict(columns)).write_parquet(buffer, compression="uncompressed")
    return buffer.getvalue()


def _lines(*records: Any) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def _docci() -> Iterable[bytes]:
    row = {"example_id": "a1", "split": "train", "image_file": "a1.jpg", "description": "A cup left of a plate."}
    yield _lines(row, row | {"example_id": "a2", "more": [1.5, None, {"a": True}]})
    yield b"\xef\xbb\xbf" + _lines(row | {"description": "\u202e\ud800 na\u00efve \U0001f9ed"})


def _narratives() -> Iterable[bytes]:
    row = {"dataset_id": "mscoco_train2017", "image_id": "42", "annotator_id": 7, "caption": "A cup."}
    yield _lines(row, row, row | {"dataset_id": "open_images_train", "image_id": "0123456789abcdef"})
    traced = row | {"timed_caption": [{"utterance": "A"}], "traces": [[{"x": 0.1}]], "voice_recording": "a.ogg"}
    yield _lines(traced)


def _pixmo() -> Iterable[bytes]:
    yield _parquet({"image_url": ["http://a.org/b.jpg", "x"], "caption": ["A cup.", None], "transcripts": [["a"], []]})


def _table_seeds() -> Iterable[bytes]:
    row = {"text": "A cup left of a plate.", "photo": "a/b.jpg", "id": 1, "split": None}
    other = row | {"id": "x", "photo": "https://a.org/b.jpg"}
    yield b"\x00" + _lines(row, other)
    yield b"\x01" + json.dumps([row, other]).encode()
    yield b"\x01" + json.dumps({"b.jpg": "A cup.", "c.jpg": "A plate."}).encode()
    yield b'\x02id,photo,text,split\n1,a.jpg,"A ""cup"", left\nof it",x\n2,b.jpg,=cmd()\n'
    yield b"\x03id\tphoto\ttext\tsplit\n1\ta.jpg\tA cup\t\n"


# other datasets, benchmarks, reviewers


def _vqa(folder: Path) -> Feed:
    home = _home(folder)
    # Small, so that members cross the ends of chunks.
    json_stream.CHUNK_BYTES = 64
    path = home.data / "in.json"
    path.write_bytes(b" ")
    readers = []
    for form in _VQA:
        dataset = VqaDataset(title=form, format=form, files=(path.name,))
        readers.append(VqaQuestions("outside", dataset, source_files("outside", dataset, home, SECTION)))

    def feed(content: bytes) -> None:
        questions, content = readers[(content or b"\0")[0] % len(readers)], content[1:]
        path.write_bytes(content)
        try:
            rows = sum(batch.height for batch in questions.batches(3))
        except SourceError as error:
            assert path.name in str(error)
        else:
            assert rows == questions.read

    return feed


_VQA = ("vqav2", "gqa", "visual7w", "vsr", "hateful_memes", "conversations")


def _vqa_seeds() -> Iterable[bytes]:
    asked = {"question": "Where is it?", "answer": "left"}
    turns = {"conversations": [{"from": "human", "value": "<image>\nWhere?"}, {"from": "gpt", "value": "left"}]}
    documents: list[Any] = [
        {"info": {"a": [1, 2.5e-3]}, "questions": [asked, asked]},
        {"1": asked, "2": asked},
        {"images": [{"qa_pairs": [asked, {"question": "Which?", "answer": 12}]}]},
    ]
    for number, document in enumerate(documents):
        yield bytes([number]) + json.dumps(document).encode()
    yield b"\x03" + _lines({"caption": "A cup is left.", "label": 1})
    yield b"\x04" + _lines({"text": "a meme", "label": 0})
    yield b"\x05" + _lines(turns)
    yield b"\x05" + json.dumps([turns]).encode()


def _benchmarks(folder: Path) -> Feed:
    path = folder / "records"
    benchmarks = list(CATALOG.values())
    asked = BenchmarkSettings(file=path.name)

    def feed(content: bytes) -> None:
        benchmark = benchmarks[(content or b"\0")[0] % len(benchmarks)]
        path.write_bytes(content[1:])
        files = BenchmarkFiles(benchmark.key, RecordFile(path, path.name, benchmark.key, None), folder / "images")
        try:
            found = list(benchmark.read(files, Pictures(files, folder / "pictures", 1_000_000), asked))
        except SourceError as error:
            assert path.name in str(error)
        else:
            assert len({question.item for question in found}) == len(found)

    return feed


def _benchmark_seeds() -> Iterable[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        for number, key in enumerate(CATALOG):
            path = Path(folder, key, "records")
            path.parent.mkdir()
            write_benchmark(key, path, 2, 0)
            yield bytes([number]) + path.read_bytes()


def _graded(folder: Path) -> Feed:
    """What models reply to benchmark questions."""
    options = {"A": "left of the mug", "B": "right of the mug", "C": "3.5"}
    asked = [
        (benchmark, Question("1", form, "Where?", answers, options if form in ("choice", "captions") else {}))
        for benchmark in CATALOG.values()
        for form, answers in (("choice", ("A",)), ("captions", ("B",)), ("yes_no", ("yes",)), ("short", ("3.5",)))
    ]

    def feed(content: bytes) -> None:
        benchmark, question = asked[(content or b"\0")[0] % len(asked)]
        # As JSON can say it, halves of surrogate pairs included.
        reply = content[1:].decode("utf-8", "surrogateescape")
        grade = benchmark.grade(question, reply, BenchmarkSettings(file="f"))
        assert 0 <= grade.score <= 1

    return feed


def _graded_seeds() -> Iterable[bytes]:
    for number, reply in enumerate(("B", "The answer is (A).", "yes, it is", "**3.5** mugs", "left of the mug", "No.")):
        yield bytes([number * 5]) + reply.encode()


def _verdicts(folder: Path) -> Feed:
    marked = items(pair_rows(3), caption_rows(2))

    def feed(content: bytes) -> None:
        (folder / "one.json").write_bytes(content)
        try:
            assert set(read_verdicts(folder, marked)["item"]) <= set(marked["item"])
        except VerdictFileError as error:
            assert "one.json" in str(error)

    return feed


def _verdict_seeds() -> Iterable[bytes]:
    for given in ({"p01": "correct"}, {"p02": "wrong object", "c01": "spatial"}):
        yield json.dumps(verdict_file(pair_rows(3), caption_rows(2), "Ann", given)).encode()


# what we wrote ourselves, and a disk or a person changed


def _ledger(folder: Path) -> Feed:
    whole = json.dumps(asdict(_completion(_KEY))).encode() + b"\n"

    def feed(content: bytes) -> None:
        ledger = CompletionLedger(folder, "task", "owner")
        ledger.folder.mkdir(parents=True, exist_ok=True)
        for path in ledger.folder.iterdir():
            path.unlink()
        (ledger.folder / "run.jsonl").write_bytes(whole + content)
        ledger.recover()
        assert ledger.answered().hold([_KEY]) == [True], "a whole line is used whatever stands beside it"
        for path in ledger.files():
            assert pl.read_parquet(path).schema == RECORD

    return feed


def _completion(key: str) -> Completion:
    return Completion(key, "a \u00e9 \U0001f9ed \ud800", "stop", 12, 3, 0.25, 0.5, None, "m" * 64, 1_800_000_000.5)


def _ledger_seeds() -> Iterable[bytes]:
    yield json.dumps(asdict(_completion("f" * 64))).encode() + b"\n"
    failed = asdict(_completion("e" * 64)) | {"error": "429", "probability": None}
    yield _lines(failed, failed) + b'{"key": "torn'


def _profile(folder: Path) -> Feed:
    path = folder / "outside.yaml"

    def feed(content: bytes) -> None:
        path.write_bytes(content)
        try:
            load_settings(str(path))
        except SettingsError as error:
            assert path.name in str(error)

    return feed


def _profile_seeds() -> Iterable[bytes]:
    document = yaml.safe_load((PROFILES / "sandbox.yaml").read_text())
    document = {name: document[name] for name in ("sources", "engines", "synthesis", "clip", "quality")}
    document["engines"] = {"analyst": {"kind": "openai", "model": "x", "base_url": "http://127.0.0.1:1/v1"}}
    document["sources"] = {"own": {"format": "table", "files": ["a.csv"], "columns": {"caption": "text"}}}
    yield yaml.safe_dump(document).encode()
    yield b"data: ~nobody/x\nsources: &a {b: *a, 2024-01-01: !!binary aGk=, <<: *a}\n"


# replies of models


def _replies(folder: Path) -> Feed:
    def feed(content: bytes) -> None:
        text = content.decode("utf-8", "surrogateescape")
        for finish_reason in ("stop", "length"):
            parsed = parse_pairs(text, finish_reason, 4)
            assert len(parsed.pairs) <= 4
            assert (parsed.outcome == "none") <= (not parsed.pairs)
            for question, answer in parsed.pairs:
                assert 0 < len(question) <= QUESTION_CHARACTERS and 0 < len(answer) <= ANSWER_CHARACTERS
                (question + answer).encode()
                assert not set(question + answer) & _CONTROLS
        parse_yes_no(text)
        flags = parse_flags(text, 2)
        assert flags is None or len(flags) == 2

    return feed


_CONTROLS = {chr(code) for code in (*range(32), *range(127, 160))}


def _reply_seeds() -> Iterable[bytes]:
    pair = {"question": "Where is the cup?", "answer": "Left \u202e of <|im_end|> the plate {description}."}
    yield json.dumps([pair, pair]).encode()
    yield b"Sure! ```json\n" + json.dumps({"pairs": [pair]}).encode() + b"\n``` done"
    yield json.dumps([pair, pair], ensure_ascii=False).encode()[:-20]
    yield b'{"spatial": [true, "no"]}'
    yield b"Yes, it is."
    yield string.punctuation.encode()


TARGETS: Mapping[str, Target] = {
    "DOCCI lines": Target(_docci, _captions("in.jsonl", format="docci")),
    "Localized Narratives lines": Target(_narratives, _captions("in.jsonl", format="localized_narratives")),
    "PixMo-Cap Parquet": Target(_pixmo, _captions("in.parquet", format="pixmo_cap")),
    "tables": Target(_table_seeds, _tables),
    "replies": Target(_reply_seeds, _replies),
    "replies to benchmarks": Target(_graded_seeds, _graded),
    "benchmark records": Target(_benchmark_seeds, _benchmarks),
    "question files": Target(_vqa_seeds, _vqa),
    "verdict files": Target(_verdict_seeds, _verdicts),
    "ledger lines": Target(_ledger_seeds, _ledger),
    "profile": Target(_profile_seeds, _profile),
}
