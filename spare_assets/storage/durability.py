"""Waiting until what was written is on disk, so that a power cut leaves the old or the new and nothing between."""

from __future__ import annotations

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Return when a file, or a folder's list of files, is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Return when a folder and all in it are on disk."""
    for path in [*folder.rglob("*"), folder]:
        sync(path)
