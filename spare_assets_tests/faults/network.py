"""The sandbox needs no network: what importing every module and running its graph reaches for is written down.

An audit hook in every Python process, children included, sees each look-up of a name and each connection, whichever
library makes it. A process that starts without Python's `site` would escape it; none here does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import yaml

from spare_assets.settings import PROFILES
from spare_assets_tests.faults.cases import Case, Outcome
from spare_assets_tests.profiles import sandbox_profile

FAULT = "no network"
# Each process notes itself, so that the watch is known to have been there.
_WATCH = """
import ipaddress, os, sys

_CONNECTS = ("socket.connect", "socket.sendto", "socket.sendmsg")
_LOOKS_UP = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")


def _loopback(host):
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in ("localhost", "")


def _note(line):
    with open({notes!r}, "a") as file:
        file.write(f"{{line}}\\n")


def _seen(event, arguments):
    if event in _LOOKS_UP:
        host = arguments[0]
    elif event in _CONNECTS and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    host = host.decode() if isinstance(host, bytes) else host
    if host is not None and not _loopback(host):
        _note(f"REACHED {{event}} {{arguments[1:] if event in _CONNECTS else host!r}} from {{sys.argv}}")


_note(f"process {{os.getpid()}}")
sys.addaudithook(_seen)
"""
IMPORTS = """
import importlib, pkgutil, spare_assets
for module in pkgutil.walk_packages(spare_assets.__path__, "spare_assets."):
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        # Extras that are not installed.
        assert error.name in ("vllm", "ray", "dagster_ray"), error
print("imported", module.name)
"""


def _watched(folder: Path, command: list[str]) -> list[str]:
    """Run a command to its good end; what was noted on the way. Raises AssertionError where anything was reached."""
    place = folder / "watch"
    place.mkdir()
    notes = folder / "notes"
    (place / "sitecustomize.py").write_text(_WATCH.format(notes=str(notes)))
    ended = subprocess.run(
        [sys.executable, *command],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(place), str(Path.cwd())])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-2000:]
    noted = notes.read_text().splitlines()
    reached = [line for line in noted if line.startswith("REACHED")]
    assert not reached, reached[:10]
    return noted


def _watch_sees(folder: Path) -> Outcome:
    code = "import socket\ntry: socket.getaddrinfo('a.invalid', 80)\nexcept OSError: pass"
    try:
        _watched(folder, ["-c", code])
    except AssertionError as error:
        assert "a.invalid" in str(error)
        return Outcome()
    raise AssertionError("a look-up was not seen")


def _imports(folder: Path) -> Outcome:
    for name in ("seen", "imports"):
        (folder / name).mkdir()
    _watch_sees(folder / "seen")
    return Outcome(len(_watched(folder / "imports", ["-c", IMPORTS])))


def _graph(trained: bool, folder: Path) -> Outcome:
    sections = {}
    if trained:
        shipped = yaml.safe_load((PROFILES / "sandbox.yaml").read_text(encoding="utf-8"))
        training = shipped["training"]
        for recipe in training["recipes"].values():
            recipe |= {"max_steps": 4, "save_steps": 2, "warmup_steps": 1, "batch_size": 8, "micro_batch_size": 4}
        benchmarks = {"vsr": shipped["benchmarks"]["vsr"] | {"scenes": {"count": 8}}}
        models = {key: shipped["models"][key] for key in ("base", "spare-seed-0")}
        sections = {"training": training, "models": models, "benchmarks": benchmarks}
    profile = sandbox_profile(folder, scenes=12, **sections)
    command = ["-m", "spare_assets.cli.main", "materialize", "--profile", str(profile), "--home", str(folder / "home")]
    noted = _watched(folder, command if trained else [*command, "--select", "+spare_dataset", "--source", "docci"])
    assert len(noted) > trained, "training has a process of its own"
    return Outcome(len(noted), note=f"{len(noted)} processes watched")


CASES = [
    Case(FAULT, "all modules", "at import", _imports, short=True),
    Case(FAULT, "sandbox", "the dataset of one source", partial(_graph, False), limit_s=600),
    Case(FAULT, "sandbox", "everything, a model trained and scored", partial(_graph, True), limit_s=1_800),
]
