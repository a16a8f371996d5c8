"""A source whose images have addresses: fetched once, told apart by status, and never in the way of the rest."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import polars as pl
import pytest

from spare_assets.cli.materialize import Materialization
from spare_assets.sandbox.scenes import make_scene, render
from spare_assets.settings import open_home
from spare_assets.storage.tables import TableStore
from spare_assets_tests.profiles import sandbox_profile


class Counting(SimpleHTTPRequestHandler):
    """Serves a folder and counts what it was asked for."""

    asked: ClassVar[Counter[str]] = Counter()

    def do_GET(self) -> None:
        self.asked[self.path] += 1
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "served"
    folder.mkdir()
    for number in range(3):
        render(make_scene(number)).save(folder / f"{number}.png")
    (folder / "page.jpg").write_text("<html>no picture</html>")
    Counting.asked = Counter()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Counting, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_images_are_fetched_once_and_what_cannot_be_had_has_a_reason(tmp_path: Path, address: str) -> None:
    names = ["0.png", "1.png", "2.png", "page.jpg", "gone.png"]
    captions = [
        {"text": f"A red circle stands to the left of a blue square. Picture {number}.", "url": f"{address}/{name}"}
        for number, name in enumerate(names)
    ]
    (tmp_path / "captions.jsonl").write_text("\n".join(json.dumps(row) for row in captions))
    source = {
        "format": "table",
        "files": [str(tmp_path / "captions.jsonl")],
        "columns": {"caption": "text", "image": "url"},
        "download_images": True,
    }
    profile = sandbox_profile(
        tmp_path,
        scenes=1,
        sources={"web": source},
        engines={"analyst": {"kind": "rule_based"}},
        quality={"minimum_alignment": -1.0},
        download={"allow_private_hosts": True, "attempts": 1},
    )
    home = open_home(str(profile), tmp_path / "home").claim()
    assert Materialization(home, "*", ()).execute()
    store = TableStore(home.tables)
    images = store.scan("images", "web").collect()
    assert Counter(images["status"]) == {"ok": 3, "http": 1, "unreadable": 1}
    assert images.filter(pl.col("status") == "http")["http_status"].to_list() == [404]
    assert store.rows("spare_dataset") == 3
    rejected = store.scan("rejected_pairs", "web").collect()
    assert {"no image: http", "no image: unreadable"} == set(rejected["reason"])

    assert Materialization(home, "images+", ()).execute()
    assert all(count == 1 for path, count in Counting.asked.items() if path.endswith(("0.png", "1.png", "2.png")))
