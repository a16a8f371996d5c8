"""Pictures of a benchmark as files that a model can be shown.

Belongs here: finding a record's pictures in the folder it names them in, and writing those that a TSV holds to files
named by their content. What is asked about them does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spare_assets.benchmarks.image_files import BenchmarkFiles
from spare_assets.engines.chat import ChatImage


class UnusablePictureError(Exception):
    """A record's picture is absent or doesn't decode; the message says which and why."""


class Pictures:
    """The pictures of one benchmark; those a TSV holds are written to `folder` once, as `<sha256>.<format>`."""

    def __init__(self, files: BenchmarkFiles, folder: Path, max_pixels: int) -> None:
        self.files, self.folder, self.max_pixels = files, folder, max_pixels

    def of_record(self, fields: Mapping[str, Any]) -> tuple[ChatImage, ...]:
        """The pictures of a record, in order. Raises UnusablePictureError."""
        raise NotImplementedError
