"""Finding a caption's image among local folders, without ever leaving them.

File names come from a corpus and are not trusted: they are read as relative paths below their image set's
folder, and one that points elsewhere is refused. Links inside a folder are its owner's business and are
followed.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Collection
from pathlib import Path
from urllib.parse import unquote, urlsplit

from spare_assets.captions.picture import PictureError
from spare_assets.settings import Home, SourceSettings

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")


def relative_name(name: str) -> Path | None:
    """A corpus's file name as a path that stays below any folder it is joined to; None where it would not."""
    plain = name.replace("\\", "/")
    parts = plain.split("/")
    if plain.startswith("/") or ".." in parts or ":" in parts[0] or "\0" in plain:
        return None
    path = Path(*parts)
    return path if path.name else None


def name_in_address(url: str) -> str | None:
    """The last path component of an address, decoded: what a downloader would have called the file."""
    try:
        return unquote(urlsplit(url).path).rsplit("/", 1)[-1] or None
    except ValueError:
        return None


class ImageFolders:
    """The local image folders of one source.

    A name without a suffix is tried with those of pictures. A bare name that is not in the folder itself is
    looked for in its sub-folders (COCO's train2017 and val2017, ADE20K's scenes): each folder is walked
    once, when first needed; about 150 bytes of memory a file. `ambiguous` are names in addresses that stand
    for several pictures.
    """

    def __init__(self, key: str, source: SourceSettings, home: Home, ambiguous: Collection[str] = frozenset()) -> None:
        self._key = key
        self._folders = {name: home.resolve(folder) for name, folder in source.image_folders.items()}
        self._ambiguous = ambiguous
        self._walked: dict[Path, dict[str, Path | None]] = {}
        self._lock = threading.Lock()

    def holds(self, path: Path) -> bool:
        """Whether a path lies in one of the folders."""
        return any(path.is_relative_to(folder) for folder in self._folders.values())

    def find(self, image_set: str, image_file: str | None, image_url: str | None) -> Path:
        """The file of an image, by its name or by the last part of its address.

        Raises PictureError: `refused` for a name that leaves the folder, `missing` with the setting to
        mend.
        """
        setting = f"`sources.{self._key}.image_folders.{image_set}`"
        name = image_file or (name_in_address(image_url) if image_url else None)
        if name is None:
            raise PictureError("missing", "the caption names no image file")
        relative = relative_name(name)
        if relative is None:
            raise PictureError("refused", f"image file {name[:200]!r} points out of its folder")
        folder = self._folders.get(image_set)
        if folder is None:
            raise PictureError("missing", f"no folder is set in {setting}")
        if not folder.is_dir():
            raise PictureError("missing", f"folder {folder} of {setting} does not exist")
        if image_file is None and relative.name in self._ambiguous:
            raise PictureError("missing", f"several addresses end in {relative.name!r}: no telling whose file it is")
        suffixes = ("",) if relative.suffix.lower() in SUFFIXES else ("", *SUFFIXES)
        for suffix in suffixes:
            path = folder / f"{relative}{suffix}"
            if _is_file(path):
                return path
        if len(relative.parts) == 1:
            below = self._below(folder)
            for suffix in suffixes:
                if found := below.get(f"{relative}{suffix}"):
                    return found
                if f"{relative}{suffix}" in below:
                    raise PictureError("missing", f"several files below {folder} are called {relative}{suffix}")
        raise PictureError("missing", f"no file {str(relative)[:200]} in {folder} ({setting})")

    def _below(self, folder: Path) -> dict[str, Path | None]:
        """Files in all sub-folders by name; None where several share one."""
        with self._lock:
            if folder not in self._walked:
                names: dict[str, Path | None] = {}
                for place, _, files in os.walk(folder):
                    if place != str(folder):
                        for file in files:
                            names[file] = None if file in names else Path(place, file)
                self._walked[folder] = names
            return self._walked[folder]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name longer than the file system takes
        return False
