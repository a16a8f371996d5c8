"""The installed command on a real pseudo-terminal and through pipes: bars, colours, clean JSON."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from spare_assets.settings import Home

COMMAND = [sys.executable, "-m", "spare_assets.cli.main"]
_COLOUR = re.compile(r"\x1b\[[0-9;]*(?:3[0-7]|9[0-7]|38;[25])[0-9;]*m")


def on_terminal(arguments: list[str], **environment: str) -> tuple[int, str]:
    """Exit code and all that a terminal of 100 columns would be sent."""
    ours, theirs = pty.openpty()
    inherited = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=inherited | {"TERM": "xterm-256color", "COLUMNS": "100"} | environment,
        start_new_session=True,
    )
    os.close(theirs)
    received, deadline = b"", time.monotonic() + 200
    try:
        while time.monotonic() < deadline:
            if select.select([ours], [], [], 1)[0]:
                try:
                    received += os.read(ours, 65536)
                except OSError:
                    break
        return process.wait(20), received.decode()
    finally:
        process.kill()
        os.close(ours)


@pytest.fixture
def small(make_home: Callable[..., Home]) -> tuple[list[str], Home]:
    home = make_home(scenes=20)
    return ["--profile", str(home.path.parent / "home-profile.yaml"), "--home", str(home.path)], home


def test_colours_and_bars_on_a_terminal_only(small: tuple[list[str], Home]) -> None:
    where, _ = small
    code, text = on_terminal(["materialize", "--select", "captions", "--source", "docci", *where])
    assert code == 0, text
    assert "━" in text and _COLOUR.search(text)
    assert "source 1 of 1: docci / asset 1 of 1" in text
    code, text = on_terminal(["doctor", *where], NO_COLOR="1")
    assert code == 0, text
    assert not _COLOUR.search(text)
    assert _COLOUR.search(on_terminal(["doctor", *where])[1])
    piped = subprocess.run([*COMMAND, "doctor", *where], capture_output=True, text=True, check=True)
    assert "\x1b" not in piped.stdout + piped.stderr


def test_stdout_is_json_and_nothing_else(small: tuple[list[str], Home]) -> None:
    where, home = small
    command = [*COMMAND, "materialize", "--select", "captions", "--source", "docci", "--verbose", "--json", *where]
    piped = subprocess.run(command, capture_output=True, text=True)
    assert piped.returncode == 0, piped.stderr
    document = json.loads(piped.stdout)
    assert document["outcome"] == "succeeded"
    assert (document["profile"], document["home"]) == (home.settings.name, str(home.path))
    assert document["seconds"] > 0 and not document["problems"]
    outcomes = {(entry["asset"], entry["partition"]): entry for entry in document["assets"]}
    assert outcomes["captions", "docci"]["outcome"] == "materialized"
    assert outcomes["captions", "docci"]["rows"] > 0
    assert document["funnels"]["docci"][0]["table"] == "captions"
    assert "source 1 of 1: docci" in piped.stderr
    assert "\x1b[" not in piped.stdout


def test_usage_errors_leave_stdout_empty(tmp_path: Path) -> None:
    piped = subprocess.run(
        [*COMMAND, "status", "--json", "--profile", "nowhere"], capture_output=True, text=True, cwd=tmp_path
    )
    assert (piped.returncode, piped.stdout) == (2, "")
    assert piped.stderr.startswith("spare: unknown profile 'nowhere'")
