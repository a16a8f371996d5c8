"""A home and its instance, made by a process that dies at the worst moment."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from spare_assets.orchestration.instance import open_instance
from spare_assets.package_files import package_file
from spare_assets.settings import Home

KILLED = """
import os, sys
from pathlib import Path
from spare_assets.orchestration.instance import open_instance
from spare_assets.settings import open_home
from spare_assets.storage import durability
replace = Path.replace
def dying(path, target):
    if Path(target).name == sys.argv[3]:
        os.truncate(path, path.stat().st_size // 2)
        os.kill(os.getpid(), 9)
    return replace(path, target)
Path.replace = dying
open_instance(open_home(sys.argv[1], sys.argv[2]))
"""
DEAD_WRITER = """
import sys
from pathlib import Path
from spare_assets.storage.temporaries import temporary_beside
path = temporary_beside(Path(sys.argv[1]))
path.parent.mkdir(parents=True)
path.touch()
"""


@pytest.mark.parametrize("written", ["profile.json", "dagster.yaml"])
def test_a_home_killed_at_its_beginning_is_taken_up(make_home: Callable[..., Home], written: str) -> None:
    home = make_home("unused")
    path = home.path.parent / "home"
    arguments = [str(home.path.parent / "unused-profile.yaml"), str(path), written]
    assert subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False).returncode == -9
    assert not list(path.rglob(written)), "no half of it is in place"
    open_instance(Home(path, home.settings).claim()).dispose()
    assert (path / "dagster" / "dagster.yaml").read_bytes() == package_file("dagster.yaml").read_bytes()
    assert not list(path.rglob("*.tmp"))


@pytest.mark.parametrize("place", ["benchmark_images/vsr/picture", "tables/captions/source=docci", "exports/llava"])
def test_what_the_dead_left_is_swept_when_the_instance_opens(make_home: Callable[..., Home], place: str) -> None:
    home = make_home()
    subprocess.run([sys.executable, "-c", DEAD_WRITER, str(home.path / place)], check=True)
    assert len(list(home.path.rglob("*.tmp"))) == 1
    open_instance(home).dispose()
    assert not list(home.path.rglob("*.tmp"))
    assert Path(home.path / place).parent.is_dir()
