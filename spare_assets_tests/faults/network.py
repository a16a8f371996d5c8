"""The sandbox needs no network: what importing every module and running the graph would reach is written down.

An audit hook sees every look-up of a name and every connection of the process, whichever library makes it.
"""

from __future__ import annotations

import importlib
import ipaddress
import pkgutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import spare_assets
from spare_assets_tests.faults.cases import Case, Outcome
from spare_assets_tests.profiles import sandbox_profile

FAULT = "no network"
_OPTIONAL = ("vllm",)
_EVENTS = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "urllib.Request")


def _watch() -> list[str]:
    """What this process reaches for from now on, beyond loopback and files."""
    reached: list[str] = []

    def seen(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _EVENTS:
            return
        address = arguments[-1] if event in ("socket.connect", "socket.sendto") else arguments[0]
        # A path is a socket of this machine.
        host = address[0] if isinstance(address, tuple) else None if event == "socket.connect" else address
        if host is not None and not _loopback(str(host)):
            reached.append(f"{event} {address!r}")

    sys.addaudithook(seen)
    return reached


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in ("localhost", "")


def _imports(folder: Path) -> Outcome:
    code = f"from {__name__} import import_all; import_all()"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    return Outcome(int(ended.stdout.split()[-1]))


def import_all() -> None:
    """Import every module of the package; prints how many. Raises AssertionError naming what was reached."""
    reached = _watch()
    names = [module.name for module in pkgutil.walk_packages(spare_assets.__path__, "spare_assets.")]
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            assert error.name in _OPTIONAL, error
    assert not reached, reached
    print(len(names))


def _graph(selection: str, trained: bool, folder: Path) -> Outcome:
    """The graph in this process, and what its children say of theirs by failing: they have no proxy to go by."""
    from spare_assets.cli.materialize import Materialization
    from spare_assets.settings import open_home

    reached = _watch()
    profile = "sandbox" if trained else str(sandbox_profile(folder, scenes=8))
    home = open_home(profile, folder / "home").claim()
    assert Materialization(home, selection, () if trained else ("docci",)).execute()
    assert not reached, reached
    return Outcome(note="".join(selection.split()))


CASES = [
    Case(FAULT, "all modules", "at import", _imports, short=True),
    Case(FAULT, "sandbox", "the dataset of one source", partial(_graph, "+spare_dataset", False), limit_s=600),
]
