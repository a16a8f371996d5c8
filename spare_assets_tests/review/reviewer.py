"""A person at the review page: a browser that presses keys and hears what the page says beside."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def chromium() -> Iterator[Any]:
    """A real browser. While it is open no graph can run: both want this thread's event loop."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("no chromium on this machine; .ci/run installs it")
        pytest.skip("no chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


class Reviewer:
    """A browser with the page open, and what it said beside."""

    def __init__(self, browser: Any, file: Path, **options: Any) -> None:
        self.context = browser.new_context(offline=True, **options)
        self.told: list[str] = []
        self.tab = self.open(file)

    def open(self, file: Path) -> Any:
        tab = self.context.new_page()
        tab.on("console", lambda message: self.told.append(message.text))
        tab.on("pageerror", lambda error: self.told.append(str(error)))
        tab.on("request", lambda request: self.told.append(request.url) if request.url.startswith("http") else None)
        tab.goto(file.as_uri())
        return tab

    def press(self, *keys: str) -> None:
        for key in keys:
            self.tab.keyboard.press(key)

    @property
    def step(self) -> str:
        return str(self.tab.inner_text("#step"))

    @property
    def said(self) -> str:
        return str(self.tab.inner_text("#told"))

    def download(self, folder: Path) -> Path:
        with self.tab.expect_download() as started:
            self.press("d")
        path = folder / started.value.suggested_filename
        started.value.save_as(path)
        return path


def wait(tab: Any, place: str, text: str) -> None:
    """Return when the text stands there. The page's policy forbids the waiting that evaluates scripts."""
    tab.locator(place).filter(has_text=text).wait_for(timeout=10_000)
