"""Names of temporary files and folders that tell who writes them, so that what the dead left can be swept."""

from __future__ import annotations

import os
import re
import shutil
import socket
import time
import uuid
from collections.abc import Iterable
from pathlib import Path

import psutil

_OWNED = re.compile(r"\.(?P<host>[0-9A-Za-z-]+)\.(?P<process>\d+)\.[0-9a-f]{32}\.tmp$")
_FOREIGN_SECONDS = 7 * 24 * 3600


def host_name() -> str:
    """This machine's name, reduced to letters, digits and dashes."""
    return re.sub(r"[^0-9A-Za-z-]", "-", socket.gethostname()) or "localhost"


def temporary_beside(path: Path) -> Path:
    """A hidden, unique name in the same folder, carrying this machine and process."""
    return path.with_name(f".{path.name}.{host_name()}.{os.getpid()}.{uuid.uuid4().hex}.tmp")


def owner_lives(path: Path) -> bool:
    """Whether the writer of a temporary file may still be at work.

    Another machine's writer, or a container's before it was started anew, counts as alive for a week.
    """
    found = _OWNED.search(path.name)
    if found is None:
        return True
    try:
        if found["host"] != host_name():
            return time.time() - path.stat().st_mtime < _FOREIGN_SECONDS
        return psutil.Process(int(found["process"])).status() != psutil.STATUS_ZOMBIE
    except (FileNotFoundError, psutil.NoSuchProcess):
        return False


def sweep_temporaries(paths: Iterable[Path]) -> int:
    """Remove temporary files and folders whose writer is dead; the number removed."""
    dead = [path for path in paths if not owner_lives(path)]
    for path in dead:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return len(dead)
