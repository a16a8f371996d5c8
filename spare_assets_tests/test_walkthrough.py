"""docs/own_captions.md is true: what it shows is written and run, in order, in an empty folder, and ends as it says."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from PIL import Image, ImageDraw

from spare_assets.settings import Settings
from spare_assets.storage.tables import TableStore
from spare_assets_tests.conftest import REAL_DATA

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "own_captions.md").read_text(encoding="utf-8")
PHOTOS = 20
SECONDS = 240
UI_SECONDS = 150


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of the page: its language, the file it is saved as if it names one, and its text."""

    language: str
    file: str
    text: str


BLOCKS = [Block(*found) for found in re.findall(r"^```(\w+) ?(\S*)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)]


def of_language(language: str) -> list[Block]:
    return [block for block in BLOCKS if block.language == language]


def column_names() -> list[str]:
    """The header of the CSV that the page shows."""
    return of_language("csv")[0].text.splitlines()[0].split(",")


def named_rows() -> dict[str, int]:
    """Tables and their rows, as the page's table says."""
    return {table: int(rows) for table, rows in re.findall(r"^\| `(\w+)` \| (\d+) \|", TEXT, re.MULTILINE)}


def named_files() -> list[str]:
    return re.findall(r"^- `(\.spare/[^`]+)`", TEXT, re.MULTILINE)


def captioned_photos(folder: Path) -> list[tuple[str, str]]:
    """Twenty real photographs with their captions, or drawn ones where there are none."""
    photos = folder / "photos"
    photos.mkdir()
    if REAL_DATA.is_dir():
        manifest = (REAL_DATA / "coco_photos" / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
        taken = [json.loads(line) for line in manifest[:PHOTOS]]
        for photo in taken:
            shutil.copy(REAL_DATA / "coco_photos" / photo["file"], photos)
        return [(photo["file"], " ".join(text.strip(" .") + "." for text in photo["captions"])) for photo in taken]
    drawn = []
    for number in range(PHOTOS):
        picture = Image.new("RGB", (160, 120), (200, 220, 10 * number))
        ImageDraw.Draw(picture).ellipse((10 + 5 * number, 40, 40 + 5 * number, 70), fill="red")
        picture.save(photos / f"{number}.jpg")
        drawn.append((f"{number}.jpg", f"A red ball lies to the left of a blue box. Picture {number} is in the house."))
    return drawn


class Walk:
    """A folder, and the shell of somebody who follows the page in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = TableStore(folder / ".spare" / "holidays" / "tables")
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SPARE_", "DAGSTER_"))}
        self.environment = inherited | {"PATH": path, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}

    def run(self, *command: str, status: int = 0) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == status, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def shell(self, text: str, status: int = 0) -> str:
        return self.run("bash", "-euo", "pipefail", "-c", text, status=status)

    @contextmanager
    def ui(self, text: str) -> Iterator[str]:
        """The address of a running `spare ui`."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        log = (self.folder / "ui.log").open("w")
        server = subprocess.Popen(
            ["bash", "-c", f"exec {text.strip()} --port {port}"],
            cwd=self.folder,
            env=self.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + UI_SECONDS
            while True:
                try:
                    ask(f"http://127.0.0.1:{port}", "{ version }")
                    break
                except OSError:
                    told = (self.folder / "ui.log").read_text()
                    assert server.poll() is None and time.monotonic() < deadline, told
                    time.sleep(0.5)
            yield f"http://127.0.0.1:{port}"
        finally:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGINT)
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()
            log.close()


def ask(address: str, query: str) -> dict[str, Any]:
    body = json.dumps({"query": query}).encode()
    request = urllib.request.Request(f"{address}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        data: dict[str, Any] = json.load(answer)["data"]
    return data


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    folder = tmp_path_factory.mktemp("walk")
    with (folder / "captions.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(column_names())
        writer.writerows(captioned_photos(folder))
    for block in BLOCKS:
        if block.file:
            (folder / block.file).write_text(block.text, encoding="utf-8")
    return Walk(folder)


def test_installing_names_what_is_there() -> None:
    """The one block that is not run: it would fetch gigabytes."""
    installing = of_language("bash")[0].text
    assert (ROOT / re.findall(r"--constraint (\S+)", installing)[0]).is_file()
    assert [block for block in of_language("bash") if "pip" in block.text] == [of_language("bash")[0]]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_walk(walk: Walk) -> None:
    steps = [block for block in BLOCKS if block.language in {"bash", "python"}][1:]
    doctor, dataset, pairs, ui, exports, loaded, broken, quarantine, copied, joined = steps

    assert "missing" not in walk.shell(doctor.text)

    told = walk.shell(dataset.text)
    rows = {table: walk.store.rows(table, "holidays") for table in set(named_rows()) - {"spare_dataset"}}
    rows["spare_dataset"] = walk.store.rows("spare_dataset")
    if REAL_DATA.is_dir():
        assert rows == named_rows()
    assert rows["captions"] == PHOTOS
    assert f"spare_dataset: {rows['spare_dataset']} samples" in told
    assert rows["spatial_pairs"] >= rows["spare_dataset"] > 0
    assert "question" in walk.run(sys.executable, "-c", pairs.text)

    with walk.ui(ui.text) as address:
        nodes = ask(address, "{ assetNodes { assetKey { path } partitionKeys } }")["assetNodes"]
        partitions = {node["assetKey"]["path"][-1]: node["partitionKeys"] for node in nodes}
    assert partitions["captions"] == ["holidays"]
    assert "spare_dataset" in partitions

    walk.shell(exports.text)
    assert len(named_files()) == 2
    for file in named_files():
        assert (walk.folder / file).is_file(), file
    assert f"{rows['spare_dataset']} conversations" in walk.run(sys.executable, "-c", loaded.text)
    exported = pl.read_parquet(walk.folder / named_files()[0])
    assert exported.select(pl.col("pairs").list.len().sum()).item() == rows["spatial_pairs"]
    for image in exported["image"].struct.field("path"):
        assert Path(image).is_file()

    told = walk.shell(broken.text)
    assert f"{PHOTOS} of {PHOTOS + 1}" in told
    assert "1 quarantined" in told
    assert f"{PHOTOS} of {PHOTOS + 1}` and `1 quarantined`" in TEXT
    told = walk.run(sys.executable, "-c", quarantine.text)
    (row,) = walk.store.scan("quarantined_captions", "holidays").collect().iter_rows(named=True)
    assert f"`{row['file']}`, line {row['line']}, `` {row['reason']} ``" in TEXT
    assert row["reason"] in told

    walk.shell(copied.text)
    profile = walk.folder / "joined.yaml"
    entry = of_language("yaml")[-1].text.replace("/home/you/holidays", str(walk.folder))
    profile.write_text(profile.read_text(encoding="utf-8").replace("sources:\n", f"sources:\n{entry}", 1))
    told = walk.shell(f"{joined.text.strip()} --json", status=1)
    states = {finding["subject"]: finding["verdict"] for finding in json.loads(told)}
    assert states["source holidays"] == states["images holidays/default"] == "ok"
    assert states["source docci"] == "missing"


def test_fragments_fit_the_profile() -> None:
    (profile,) = (block.text for block in BLOCKS if block.file)
    fragments = [block.text for block in of_language("yaml") if not block.file][:-1]
    assert len(fragments) == 2
    for fragment in fragments:
        Settings.model_validate({"name": "holidays", **yaml.safe_load(profile), **yaml.safe_load(fragment)})
