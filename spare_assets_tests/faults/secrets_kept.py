"""A planted key, and a server that says it wherever it can: nothing that a run leaves behind or says holds it.

What single messages say stands in the tests of the engines; the hub's token in those of `publication`.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import polars as pl
import yaml

from spare_assets_tests.engines.chat_server import Answer, Behaviour, Call, ChatServer, error
from spare_assets_tests.faults.cases import Case, Outcome
from spare_assets_tests.profiles import sandbox_profile

FAULT = "a server that repeats the key"
KEY, TOKEN, PASSWORD = (f"planted-{name}-0123456789abcdef" for name in ("key", "token", "password"))
MARK = "needle-in-the-captions"
"""Stands in every caption, to prove that the search finds what is there."""
CAPTION = f"A red cup is to the left of a blue plate. {MARK}"


def _behave(call: Call) -> Behaviour:
    said = call.headers["Authorization"]
    if "JSON list" in call.text:
        pairs = [{"question": f"Where is the cup? {said}", "answer": f"left of a blue plate {said}"}]
        return Answer(json.dumps(pairs))
    match call.number % 6:
        case 0:
            return error(400, f"this header is wrong: Authorization: {said}")
        case 1 if call.nth < 3:
            return error(503, json.dumps({"headers": dict(call.headers)}))
        case 2:
            return Answer(f"yes {said}")
    return Answer("yes")


def _run(selection: str, whole: bool, folder: Path) -> Outcome:
    (folder / "captions.jsonl").write_text("".join(json.dumps({"text": f"{n} {CAPTION}"}) + "\n" for n in range(24)))
    with ChatServer(_behave) as server:
        engine = {"kind": "openai", "model": "m", "base_url": server.base_url, "structured": "none", "attempts": 2}
        profile = sandbox_profile(
            folder,
            scenes=1,
            sources={"own": {"format": "table", "files": ["captions.jsonl"], "columns": {"caption": "text"}}},
            data=str(folder),
            engines={"analyst": engine | {"backoff_seconds": 0.01}},
            quality={"alignment": "off"},
            limits={"failed_request_share": 1.0},
        )
        document = yaml.safe_load(profile.read_text())
        del document["benchmarks"], document["analyses"]["vqa"]
        profile.write_text(yaml.safe_dump(document))
        said = _spare(folder, profile, "materialize", "--select", selection)
        assert len(server.calls) > 24 and all(call.headers["Authorization"] == f"Bearer {KEY}" for call in server.calls)
        if whole:
            # A server that refuses the key ends a stage; its words are in the run's events.
            server.behave = lambda call: error(401, f"wrong key {call.headers['Authorization']}")
            said += _spare(
                folder,
                profile,
                "materialize",
                "--select",
                "caption_verdicts",
                "--home",
                str(folder / "other"),
                fails=True,
            )
            document["engines"]["analyst"]["base_url"] = server.base_url.replace("//", f"//me:{PASSWORD}@")
            profile.write_text(yaml.safe_dump(document))
            said += _spare(folder, profile, "materialize", "--select", "+spatial_captions", fails=True)
            said += _spare(folder, profile, "doctor", fails=None)
    profile.unlink()
    searched, found = 0, 0
    for name, content in _everything(folder):
        searched += 1
        found += MARK.encode() in content
        for secret in (KEY, TOKEN, PASSWORD):
            assert secret.encode() not in content, (name, _around(content, secret.encode()))
    assert found > 3, "the search finds what is there"
    for secret in (KEY, TOKEN, PASSWORD):
        assert secret not in said, _around(said.encode(), secret.encode())
    return Outcome(searched, note=f"{searched} files and members searched")


def _spare(folder: Path, profile: Path, *arguments: str, fails: bool | None = False) -> str:
    environment = os.environ | {
        "OPENAI_API_KEY": KEY,
        "HF_TOKEN": TOKEN,
        "HTTPS_PROXY": f"http://me:{PASSWORD}@127.0.0.1:9",
        "SPARE_PROFILE": str(profile),
        "SPARE_HOME": str(folder / "home"),
    }
    command = [sys.executable, "-m", "spare_assets.cli.main", *arguments]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
    said = ended.stdout + ended.stderr
    assert fails is None or (ended.returncode != 0) == fails, said[-2000:]
    return said


def _everything(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file, unpacked where it is packed."""
    for path in folder.rglob("*"):
        if not path.is_file():
            continue
        name = str(path.relative_to(folder))
        yield name, path.read_bytes()
        if path.suffix == ".parquet":
            yield f"{name} unpacked", repr(pl.read_parquet(path).select(pl.exclude(pl.Array)).rows()).encode()
            yield f"{name} metadata", repr(pl.read_parquet_metadata(path)).encode()
        elif path.suffix == ".gz":
            yield f"{name} unpacked", gzip.decompress(path.read_bytes())
        elif path.suffix == ".tar":
            with tarfile.open(path) as archive:
                for member in archive.getmembers():
                    if (file := archive.extractfile(member)) is not None:
                        yield f"{name}/{member.name}", file.read()


def _around(content: bytes, secret: bytes) -> bytes:
    place = content.find(secret)
    return content[max(place - 300, 0) : place + 60]


CASES = [
    Case(FAULT, "qa_pairs", "in errors and replies", partial(_run, "+qa_pairs", False), short=True),
    Case(FAULT, "whole graph", "in errors and replies", partial(_run, "*", True), limit_s=900),
]
