"""Pictures of a benchmark as files that a model can be shown.

Belongs here: finding a record's pictures in the folder it names them in, and writing those that a TSV holds to files
named by their content. What is asked about them does not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from spare_assets.benchmarks.image_files import (
    BenchmarkFiles,
    decoded_picture,
    is_tabular,
    named_file,
    pictures_of,
    record_rows,
    reference,
)
from spare_assets.captions.picture import FORMATS, PictureError, examine_picture
from spare_assets.engines.chat import ChatImage
from spare_assets.storage.temporaries import temporary_beside


class UnusablePictureError(Exception):
    """A record's picture is absent or doesn't decode; the message says which and why."""


class Pictures:
    """The pictures of one benchmark; those a TSV holds are written to `folder` once, as `<sha256>.<format>`.

    Kept in memory: path and hash of each picture met, by file name and by the `index` of its row.
    """

    def __init__(self, files: BenchmarkFiles, folder: Path, max_pixels: int) -> None:
        self.files, self.folder, self.max_pixels = files, folder, max_pixels
        self._named: dict[Path, ChatImage | str] = {}
        self._rows: dict[str, tuple[ChatImage, ...] | str] = {}
        self._targets: dict[str, str] = {}
        self._all_rows_noted = False

    def of_record(self, fields: Mapping[str, Any]) -> tuple[ChatImage, ...]:
        """The pictures of a record, in order; none where it has none.

        Where a TSV's `image` is another row's index, they are that row's, which may come later: the file is then read
        through once, at the first such reference. Of rows with one index the first counts. Raises
        UnusablePictureError.
        """
        found = self._noted(fields)
        if isinstance(found, str):
            raise UnusablePictureError(found)
        return found

    def asked_about(self, fields: Mapping[str, Any], *, needed: bool = True) -> tuple[tuple[ChatImage, ...], str]:
        """The pictures of a record and "", or none and why its question can't be asked: what a `Question` holds.

        A record without a picture is a problem where one is needed.
        """
        try:
            images = self.of_record(fields)
        except UnusablePictureError as error:
            return (), str(error)
        return images, "" if images or not needed else "image: the record neither holds nor names one"

    @cached_property
    def _tabular(self) -> bool:
        return is_tabular(self.files.records)

    def _noted(self, fields: Mapping[str, Any]) -> tuple[ChatImage, ...] | str:
        """The pictures of a record, or why they can't be used; noted for rows that refer to it."""
        index = None if not self._tabular or fields.get("index") is None else str(fields["index"])
        known = index in self._rows or index in self._targets
        target = reference(fields.get("image")) if self._tabular else None
        if target is not None:
            if index is not None and not known:
                self._targets[index] = target
            return self._referred(target)
        found = self._own(fields)
        if index is not None and not known:
            self._rows[index] = found
        return found

    def _referred(self, target: str) -> tuple[ChatImage, ...] | str:
        end = self._end(target)
        if end is not None and end not in self._rows and not self._all_rows_noted:
            self._note_all_rows()
            end = self._end(target)
        if end is None:
            return f"image: row {target!r} in place of a picture leads back to itself"
        found = self._rows.get(end)
        if found is None:
            return f"image: {end!r} is neither a picture in base64 nor the index of a row"
        if found == ():
            return f"image: row {end!r}, whose picture it refers to, has none"
        return f"row {end!r}, whose picture it refers to: {found}" if isinstance(found, str) else found

    def _end(self, target: str) -> str | None:
        """The row that references lead to, as far as rows are noted; None where they go round."""
        passed: set[str] = set()
        while target in self._targets:
            if target in passed:
                return None
            passed.add(target)
            target = self._targets[target]
        return target

    def _note_all_rows(self) -> None:
        self._all_rows_noted = True
        for row in record_rows(self.files):
            index = None if row.fields is None else row.fields.get("index")
            if row.fields is None or index is None or index in self._rows or index in self._targets:
                continue
            if (target := reference(row.fields.get("image"))) is not None:
                self._targets[index] = target
            else:
                self._rows[index] = self._own(row.fields)

    def _own(self, fields: Mapping[str, Any]) -> tuple[ChatImage, ...] | str:
        """The pictures a record holds or names itself, or why the first that can't be used can't."""
        images = []
        pictures = pictures_of(fields, embedded=self._tabular)
        for number, (content, names) in enumerate(pictures, start=1):
            found = self._in_folder(names) if content is None else self._embedded(content)
            if isinstance(found, str):
                return f"image {number} of {len(pictures)}: {found}" if len(pictures) > 1 else f"image: {found}"
            images.append(found)
        return tuple(images)

    def _in_folder(self, names: list[str]) -> ChatImage | str:
        path = named_file(self.files.images, names)
        if path is None:
            setting = f"`benchmarks.{self.files.key}.images`"
            if self.files.images is None:
                return f"{names[0][:200]!r} is a file name; name the folder it is in with {setting}"
            return f"no file {names[0][:200]!r} in {self.files.images} ({setting})"
        if path not in self._named:
            try:
                self._named[path] = ChatImage(path, examine_picture(path, self.max_pixels).sha256)
            except PictureError as error:
                self._named[path] = f"{path}: {error}"
        return self._named[path]

    def _embedded(self, content: str) -> ChatImage | str:
        """A picture in base64 as a file, or why it is none. What lies in the folder was examined before."""
        try:
            decoded = decoded_picture(content)
            digest = hashlib.sha256(decoded).hexdigest()
            for format_name in FORMATS:
                path = self._place(digest, format_name)
                if path.is_file():
                    return ChatImage(path, digest)
            return ChatImage(self._written(decoded, digest), digest)
        except PictureError as error:
            return str(error)

    def _place(self, digest: str, format_name: str) -> Path:
        return self.folder / f"{digest}.{format_name.lower()}"

    def _written(self, decoded: bytes, digest: str) -> Path:
        """Writes a picture under its name once it is known to decode. Raises PictureError."""
        from PIL import Image

        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = temporary_beside(self.folder / digest)
        try:
            temporary.write_bytes(decoded)
            examine_picture(temporary, self.max_pixels)
            with Image.open(temporary, formats=FORMATS) as image:
                path = self._place(digest, image.format or FORMATS[0])
            return temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
