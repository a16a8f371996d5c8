"""`spare ui` as its users meet it, in a real browser: launch, watch, look at pages, and nothing leaves the machine."""

from __future__ import annotations

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
from typing import TYPE_CHECKING

import pytest

from spare_assets.cli.materialize import Materialization
from spare_assets.settings import open_home
from spare_assets_tests.profiles import sandbox_profile

if TYPE_CHECKING:
    from playwright.sync_api import Page

SOURCES = ["docci", "localized_narratives", "pixmo_cap"]
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
SHOWS = 60_000
"""Milliseconds a page may take on a busy machine."""
FINISHES = 240_000


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a running `spare ui`, over a small home with the dataset in place."""
    folder = tmp_path_factory.mktemp("ui")
    profile = sandbox_profile(folder, scenes=25)
    home = open_home(str(profile), folder / "home").claim()
    assert Materialization(home, "+spare_dataset", ()).execute()
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
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 150
        while True:
            try:
                urllib.request.urlopen(f"{url}/server_info", timeout=30).close()
                break
            except OSError:
                assert server.poll() is None and time.monotonic() < deadline, (folder / "ui.log").read_text()
                time.sleep(1)
        yield url
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
        log.close()


@pytest.fixture
def tab(address: str) -> Iterator[Page]:
    """A page of a browser, which must ask nothing of other machines."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        if os.environ.get("CI"):
            pytest.fail("no chromium on this machine; .ci/run installs it")
        pytest.skip("no chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    asked: list[str] = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        opened = browser.new_page(viewport={"width": 1600, "height": 1400}, base_url=address)
        opened.set_default_timeout(SHOWS)
        opened.on("request", lambda request: asked.append(request.url))
        yield opened
        browser.close()
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []


@pytest.mark.browser
@pytest.mark.timeout(600)
def test_a_person_launches_backfills_looks_around_and_sees_them_finish(tab: Page) -> None:
    tab.goto("/asset-groups")
    shows(tab, "captions", "synthesis", "clip", "quality", "dataset")
    launch(tab, "deduplicated_pairs", SOURCES, "Launch backfill")
    every_source = launched(tab)
    launch(tab, "reference_checked_pairs", ["docci"], "Launch 1 run")
    one_source = launched(tab)

    tab.goto("/assets/captions")
    shows(tab, "Paper 3.1.1.", "Every caption of a source as released", "quarantined_because", "mean_words")
    opens_picture(tab, "picture")
    tab.goto("/assets/spare_dataset")
    shows(tab, "Paper 3.2.2.", "Surviving pairs in generation order", "funnel", "→")
    opens_picture(tab, "picture")
    opens_picture(tab, "funnel_picture")
    tab.goto("/assets/aligned_pairs")
    shows(tab, "Paper 3.3, check 4.", "Identity of the pair", "dropped_because", "sample", "read", "kept")
    for theme, lightness in (("Dark", range(60)), ("Light", range(200, 256))):
        tab.evaluate("theme => localStorage.setItem('dagster-theme', JSON.stringify(theme))", theme)
        tab.reload()
        opens_picture(tab, "picture")
        red, *_ = map(int, re.findall(r"\d+", tab.evaluate("getComputedStyle(document.body).backgroundColor")))
        assert red in lightness, theme

    tab.get_by_text("Plots", exact=True).click()
    tab.locator("canvas").first.wait_for()
    shows(tab, "dagster/partition_row_count", "dropped")
    tab.get_by_role("tab", name="Checks").click()
    tab.get_by_text("nothing_lost").first.click()
    shows(tab, "Latest execution", "Passed")
    tab.get_by_role("tab", name="Lineage").click()
    shows(tab, "grounded_pairs", "aligned_pairs", "spatial_pairs")

    tab.goto(every_source)
    tab.get_by_text("Succeeded", exact=True).nth(1).wait_for(timeout=FINISHES)
    counted = re.findall(r"100% completed((?:\s+\d+){4})", tab.locator("body").inner_text())
    assert [row.split() for row in counted] == [["3", "0", "3", "0"]] * 2, "targeted, in progress, succeeded, failed"
    tab.goto(one_source)
    tab.get_by_text("Success", exact=True).first.wait_for(timeout=FINISHES)
    shows(tab, "docci")


def shows(tab: Page, *texts: str) -> None:
    for text in texts:
        tab.get_by_text(text).first.wait_for()


def launch(tab: Page, asset: str, sources: list[str], button: str) -> None:
    """Materialize an asset, with the one it is made with, for these sources."""
    tab.goto(f"/assets/{asset}")
    tab.get_by_role("button", name="Materialize").first.click()
    tab.get_by_role("button", name="Confirm").click()
    if sources == SOURCES:
        tab.get_by_role("button", name="All", exact=True).click()
    else:
        tab.get_by_text("Select a partition").click()
        for source in sources:
            tab.locator("label, li, a").filter(has_text=source).last.click()
    tab.get_by_role("button", name=button, exact=True).click()


def launched(tab: Page) -> str:
    """Where the message that something was launched leads."""
    link = tab.get_by_role("link", name="View", exact=True)
    link.wait_for()
    return str(link.get_attribute("href"))


def opens_picture(tab: Page, name: str) -> None:
    """Follow a link to a picture in the metadata, see it, and close it."""
    row = tab.locator("tr").filter(has=tab.get_by_text(name, exact=True))
    row.get_by_text("[Show Markdown]").click()
    picture = tab.locator("img[src^='data:image/png;base64,']")
    picture.wait_for()
    width, height = picture.evaluate("image => [image.naturalWidth, image.naturalHeight]")
    assert width > 500 and height > 50
    tab.get_by_role("button", name="Close").click()
    picture.wait_for(state="hidden")
