"""Waiting until what was written is on disk, so that a power cut leaves the old or the new and nothing between."""

from __future__ import annotations

import os
from pathlib import Path

from spare_assets.storage.temporaries import temporary_beside


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


def write_whole(path: Path, content: bytes) -> None:
    """Write a small file so that whoever reads it sees the old one or the new one, whole; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        temporary.write_bytes(content)
        sync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
