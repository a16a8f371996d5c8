"""Folders of rendered files: each appears whole or not at all, and records how it was made.

What is rendered is not known here.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from spare_assets.storage.temporaries import sweep_temporaries, temporary_beside

MARKER = "corpus.json"
"""File inside a rendered folder that records how it was made; a folder without it is never replaced."""


class CorpusError(RuntimeError):
    """A folder cannot be rendered; the message says where, why and what to do."""


def record_of(folder: Path) -> dict[str, Any] | None:
    """How the files of a folder were made; None where it holds nothing rendered."""
    try:
        record = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def write_folder(folder: Path, record: Mapping[str, Any], write: Callable[[Path], None]) -> None:
    """Put a folder in place of an older rendered one, once `write` has filled it.

    Raises CorpusError where the folder holds something else.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    sweep_temporaries(folder.parent.glob(".*.tmp"))
    temporary = temporary_beside(folder)
    temporary.mkdir()
    try:
        write(temporary)
        (temporary / MARKER).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        _publish(temporary, folder)
    except OSError:
        # Another process may have put the same files in place a moment before.
        if record_of(folder) != json.loads(json.dumps(record)):
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _publish(temporary: Path, folder: Path) -> None:
    if folder.exists() and not (folder / MARKER).is_file():
        if not folder.is_dir() or any(folder.iterdir()):
            raise CorpusError(
                f"{folder} holds something that was not rendered here: move it away, or name other files in the profile"
            )
        folder.rmdir()
    if folder.exists():
        retired = temporary_beside(folder)
        try:
            folder.rename(retired)
        finally:
            shutil.rmtree(retired, ignore_errors=True)
    temporary.rename(folder)
