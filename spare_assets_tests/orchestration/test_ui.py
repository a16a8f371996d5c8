"""`spare ui` as its users meet it: a backfill over all sources, and the pages in a real browser."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from spare_assets.cli.materialize import Materialization
from spare_assets.settings import open_home
from spare_assets_tests.profiles import sandbox_profile

SOURCES = ["docci", "localized_narratives", "pixmo_cap"]
LAUNCH = """
mutation($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}"""
PROGRESS = """
query($id: String!) {
  partitionBackfillOrError(backfillId: $id) {
    ... on PartitionBackfill {
      status
      assetBackfillData { assetBackfillStatuses {
        ... on AssetPartitionsStatusCounts { assetKey { path } numPartitionsMaterialized numPartitionsFailed }
      } }
    }
  }
}"""


class Page:
    """A running `spare ui`."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            data: dict[str, Any] = json.load(answer)["data"]
        return data


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("ui")
    profile = sandbox_profile(folder, scenes=25)
    home = open_home(str(profile), folder / "home").claim()
    assert Materialization(home, "*", ()).execute()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "spare_assets.cli.main", "ui", "--port", str(port)]
    log = (folder / "ui.log").open("w")
    server = subprocess.Popen(
        [*command, "--profile", str(profile), "--home", str(home.path)],
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        opened = Page(port)
        deadline = time.monotonic() + 150
        while True:
            try:
                opened.ask("{ version }")
                break
            except OSError:
                assert server.poll() is None and time.monotonic() < deadline, (folder / "ui.log").read_text()
                time.sleep(1)
        yield opened
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
        log.close()


def test_a_backfill_of_one_asset_over_all_sources_succeeds(page: Page) -> None:
    answer = page.ask(
        LAUNCH,
        params={
            "assetSelection": [{"path": ["deduplicated_pairs"]}, {"path": ["deduplication_verdicts"]}],
            "partitionNames": SOURCES,
        },
    )["launchPartitionBackfill"]
    assert answer["__typename"] == "LaunchBackfillSuccess", answer
    deadline = time.monotonic() + 280
    while True:
        state = page.ask(PROGRESS, id=answer["backfillId"])["partitionBackfillOrError"]
        if state["status"] != "REQUESTED" or time.monotonic() > deadline:
            break
        time.sleep(2)
    assert state["status"] == "COMPLETED_SUCCESS", state
    for counts in state["assetBackfillData"]["assetBackfillStatuses"]:
        assert (counts["numPartitionsMaterialized"], counts["numPartitionsFailed"]) == (3, 0)


@pytest.mark.browser
def test_pages_show_groups_schema_samples_and_funnel(page: Page) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        if os.environ.get("CI"):
            pytest.fail("no chromium on this machine; .ci/run installs it")
        pytest.skip("no chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    outside: list[str] = []
    with playwright.sync_playwright() as driver:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
        browser = driver.chromium.launch(executable_path=chromium, args=flags)
        tab = browser.new_page(viewport={"width": 1600, "height": 2400})
        tab.on(
            "request",
            lambda request: (
                None if request.url.startswith((page.url, "data:", "blob:")) else outside.append(request.url)
            ),
        )
        tab.goto(f"{page.url}/asset-groups")
        for group in ("captions", "synthesis", "clip", "quality", "dataset"):
            playwright.expect(tab.get_by_text(group, exact=True).first).to_be_visible(timeout=60_000)
        tab.goto(f"{page.url}/assets/aligned_pairs?partition=docci&view=overview")
        for text in ("Paper 3.3, check 4.", "Identity of the pair", "dropped_because", "sample", "read", "kept"):
            playwright.expect(tab.get_by_text(text).first).to_be_visible(timeout=60_000)
        tab.goto(f"{page.url}/assets/spare_dataset?view=overview")
        for text in ("Paper 3.2.2.", "Surviving pairs in generation order", "funnel"):
            playwright.expect(tab.get_by_text(text).first).to_be_visible(timeout=60_000)
        tab.goto(f"{page.url}/assets/aligned_pairs?view=lineage")
        playwright.expect(tab.get_by_text("grounded_pairs").first).to_be_visible(timeout=60_000)
        browser.close()
    assert not outside, "the pages ask nothing of other machines"
