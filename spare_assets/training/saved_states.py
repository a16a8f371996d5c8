"""States of an unfinished training to go on from: which of them are whole, and how many are kept.

What a state holds is the trainer's business. Nothing here imports a model library.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from spare_assets.storage.durability import sync, sync_tree

KEPT = 2
_MANIFEST = "whole.json"
_NAME = re.compile(r"checkpoint-(\d+)")


class SavedStates:
    """Folders `checkpoint-<step>` in one folder.

    A state is whole when its manifest is there and every file has the size that stands in it; the manifest is
    written last, when everything else is on disk.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def newest(self) -> tuple[int, Path] | None:
        """Step and folder of the newest whole state."""
        whole = [(step, path) for step, path in self._all() if _is_whole(path)]
        return max(whole) if whole else None

    def complete(self, step: int) -> None:
        """Declare the state of a step whole, when it is on disk, and drop all but the last two."""
        folder = self.folder / f"checkpoint-{step}"
        files = [path for path in folder.rglob("*") if path.is_file()]
        sync_tree(folder)
        sizes = {str(path.relative_to(folder)): path.stat().st_size for path in files}
        manifest = folder / _MANIFEST
        manifest.write_text(json.dumps(sizes, indent=1), encoding="utf-8")
        sync(manifest)
        sync(folder)
        sync(self.folder)
        for _, old in sorted(self._all())[:-KEPT]:
            shutil.rmtree(old)

    def drop_torn(self) -> None:
        """Remove what a killed run left half-written."""
        for _, path in self._all():
            if not _is_whole(path):
                shutil.rmtree(path)

    def remove(self) -> None:
        """Remove all states."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _all(self) -> list[tuple[int, Path]]:
        if not self.folder.is_dir():
            return []
        return [(int(found[1]), path) for path in self.folder.iterdir() if (found := _NAME.fullmatch(path.name))]


def _is_whole(folder: Path) -> bool:
    try:
        sizes = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False
