"""The files of a benchmark as released: its records, numbered, and the image or images of each.

Opening a benchmark's file, telling its records apart, and examining the pictures they hold or name belong here.
What a record asks, and how the answer is scored, does not.

| as released | records | a record's image |
|---|---|---|
| VSR | JSON lines | `image`, a COCO file name; `image_link`, its address |
| What's Up A and B | one JSON list | `image_path`, within the images folder, perhaps after `data/` |
| HallusionBench's own release | one JSON list | `filename`, within the images folder; null where none is needed |
| TSV of the others | tab-separated, some gigabytes | `image`: base64, several in a list, or another row's `index` |

A TSV may name its images in `image_path` too, or instead. Which of the three a file is shows in its first character,
not in its name.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import unquote, urlsplit

import polars as pl

from spare_assets.captions.files import Row, SourceFile, csv_header, csv_rows, json_document, json_lines, opened
from spare_assets.captions.image_folders import relative_name
from spare_assets.captions.image_ids import canonical_image_id, is_url
from spare_assets.captions.picture import PictureError, examine_picture
from spare_assets.captions.records import SourceError
from spare_assets.settings import BenchmarkSettings, Home
from spare_assets.storage.schemas import TABLES

NAMES = ("image_path", "filename", "image_name", "image_file", "image", "image_link", "image_url", "image_id")
"""Fields that may name a record's image. In a TSV `image` holds the picture itself."""

_IMAGE_SETS = {"vsr": "coco", "textvqa": "open_images"}
_REFERENCE_CHARACTERS = 64
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")

Status = Literal["hashed", "id only", "unreadable"]


class RecordFile(SourceFile):
    """A benchmark's file of records; `source` is the benchmark's key."""

    def error(self, problem: str, setting: str = "file") -> SourceError:
        """The error that says what is wrong with this file and which setting names it."""
        return SourceError(f"{self.path}: {problem} (setting `benchmarks.{self.source}.file`)")


@dataclass(frozen=True, slots=True)
class BenchmarkFiles:
    """A benchmark whose records are at hand; `images` is the folder of those that its records name, where set."""

    key: str
    records: RecordFile
    images: Path | None


class BenchmarkImage(NamedTuple):
    """A row of `benchmark_images`, in the order of its columns."""

    benchmark: str
    item: str
    status: Status
    image_id: str | None
    perceptual_hash: str | None


def checkable(key: str, settings: BenchmarkSettings, home: Home) -> BenchmarkFiles | None:
    """The files of a benchmark; None where its records are absent, so that nothing can be said of it."""
    path = home.resolve(settings.file)
    if not path.is_file():
        return None
    images = None if settings.images is None else home.resolve(settings.images)
    return BenchmarkFiles(key, RecordFile(path, path.name, key, None), images)


def tsv_rows(file: RecordFile) -> Iterator[Row]:
    """Records of a TSV, one at a time; `line` is the line a record starts on.

    A record that can't be taken apart comes with the reason. Raises SourceError where the header has no `image` or
    `image_path`: such a file is another one than it should be.
    """
    header = csv_header(file, "\t")
    if not {"image", "image_path"} & set(header):
        found = ", ".join(header)[:200]
        raise file.error(f"has neither a column `image` nor `image_path`, but {found!r}; fetch it again")
    yield from csv_rows(file, "\t")


def is_tabular(file: RecordFile) -> bool:
    """Whether a file is a TSV, whose field `image` holds pictures. Raises SourceError where it is empty."""
    return _first_character(file) not in (b"[", b"{")


def record_rows(files: BenchmarkFiles) -> Iterator[Row]:
    """Records of a benchmark in order: JSON lines, one JSON list, or TSV; `line` is the line, or place in the list.

    Raises SourceError where the file is empty, damaged, or none of the three.
    """
    match _first_character(files.records):
        case b"[":
            yield from json_document(files.records, "")
        case b"{":
            yield from json_lines(files.records)
        case _:
            yield from tsv_rows(files.records)


def record_items(files: BenchmarkFiles) -> Iterator[tuple[str, Row]]:
    """The records of a benchmark in order, each with a name of its own: what tables call its `item`.

    It is the record's `index`, or else its line or place; where an index comes again, followed by `@` and the line;
    of a record that can't be taken apart `line <number>`. Raises SourceError as `record_rows`.
    """
    items: set[str] = set()
    for row in record_rows(files):
        index = None if row.fields is None else row.fields.get("index")
        item = f"line {row.line}" if row.fields is None else str(row.line if index is None else index)
        if item in items:
            item = f"{item}@{row.line}"
        items.add(item)
        yield item, row


def benchmark_images(files: BenchmarkFiles, scratch: Path, max_pixels: int) -> Iterator[BenchmarkImage]:
    """The images of one benchmark, examined one at a time, in the order of its records.

    Items are named as by `record_items`; of a record with several images, followed by `/` and the image's number from
    1. A record without an image has no row; one that can't be read is an unreadable image. Embedded pictures pass
    through a file in the folder `scratch`. Raises SourceError where the file itself can't be read to its end.
    """
    pictures = _Pictures(files, scratch / "picture", max_pixels)
    tabular = is_tabular(files.records)
    held: dict[str, list[_Image]] = {}
    waiting: list[tuple[str, str]] = []
    for item, row in record_items(files):
        if row.fields is None:
            yield BenchmarkImage(files.key, item, "unreadable", None, None)
            continue
        if tabular and (target := reference(row.fields.get("image"))) is not None:
            waiting.append((item, target))
        else:
            images = pictures.of_record(row.fields, embedded=tabular)
            held[item] = images
            yield from _rows(files.key, item, images)
    # The row that holds a picture may come later than one that refers to it.
    targets = dict(waiting)
    for item, target in waiting:
        passed = {item}
        while target in targets and target not in passed:
            passed.add(target)
            target = targets[target]
        yield from _rows(files.key, item, held.get(target) or [_Image("unreadable")])


def image_table(images: Iterable[BenchmarkImage]) -> pl.DataFrame:
    """Rows of `benchmark_images`, sorted by its key; some tens of thousands over all benchmarks."""
    table = TABLES["benchmark_images"]
    return pl.DataFrame(list(images), schema=table.polars(), orient="row").sort(table.key)


class RecordPicture(NamedTuple):
    """What a record says of one of its pictures: the picture itself in base64 where it is embedded, and its names."""

    content: str | None
    names: list[str]


def pictures_of(fields: Mapping[str, Any], *, embedded: bool) -> list[RecordPicture]:
    """A record's pictures, in order; `embedded` where its field `image` holds pictures, not a name.

    A field that should hold pictures and holds none that can be told apart is one picture that does not decode.
    """
    contents = _texts(fields.get("image")) if embedded else []
    if embedded and fields.get("image") and not contents:
        return [RecordPicture("", [])]
    named = [_texts(fields.get(name)) for name in NAMES if not (embedded and name == "image")]
    count = len(contents) or max(map(len, named))
    return [
        RecordPicture(contents[place] if contents else None, [texts[place] for texts in named if len(texts) == count])
        for place in range(count)
    ]


def named_file(folder: Path | None, names: Iterable[str]) -> Path | None:
    """The first file of these names in a benchmark's images folder; None where there is none, or no folder."""
    if folder is None:
        return None
    for name in names:
        relative = _in_address(name) if is_url(name) else relative_name(name)
        if relative is None:
            continue
        for place in (relative, Path(*relative.parts[1:]) if relative.parts[0] == "data" else relative):
            path = folder / place
            try:
                if path.is_file():
                    return path
            except OSError:  # a name longer than the file system takes
                continue
    return None


def decoded_picture(content: str) -> bytes:
    """The bytes of a picture in base64, perhaps as a data address. Raises PictureError where it is not base64."""
    payload = content.partition(",")[2] if content.startswith("data:") else content
    try:
        return base64.b64decode("".join(payload.split()), validate=True)
    except (binascii.Error, ValueError):
        raise PictureError("unreadable", "is not base64") from None


class _Image(NamedTuple):
    """What is known of one image, whatever record it belongs to."""

    status: Status
    image_id: str | None = None
    perceptual_hash: str | None = None


def _rows(benchmark: str, item: str, images: list[_Image]) -> Iterator[BenchmarkImage]:
    for number, image in enumerate(images, start=1):
        yield BenchmarkImage(benchmark, item if len(images) == 1 else f"{item}/{number}", *image)


@dataclass(slots=True)
class _Pictures:
    """Examines the pictures of one benchmark; a file that many records name, once."""

    files: BenchmarkFiles
    scratch: Path
    max_pixels: int
    known: dict[Path, str | None] = field(default_factory=dict)

    def of_record(self, fields: Mapping[str, Any], *, embedded: bool) -> list[_Image]:
        """The images of a record, in order; `embedded` where its field `image` holds pictures, not a name."""
        images = []
        for content, names in pictures_of(fields, embedded=embedded):
            image_id = self._image_id(names)
            if content is not None:
                found = self._embedded(content)
            elif (path := named_file(self.files.images, names)) is not None:
                found = self._examined(path)
            else:
                images.append(_Image("id only", image_id))
                continue
            images.append(_Image("hashed" if found else "unreadable", image_id, found))
        return images

    def _image_id(self, names: list[str]) -> str | None:
        """The canonical id by which another corpus may know the image, before one of this benchmark's own."""
        key = self.files.key
        ids = [canonical_image_id(key, name, _IMAGE_SETS.get(key, "default")) for name in names]
        return min(ids, key=lambda name: (name.startswith(f"{key}:"), name.startswith("url:")), default=None)

    def _examined(self, path: Path) -> str | None:
        """The hash of a picture; None where it does not decode."""
        if path not in self.known:
            try:
                self.known[path] = examine_picture(path, self.max_pixels).perceptual_hash
            except PictureError:
                self.known[path] = None
        return self.known[path]

    def _embedded(self, content: str) -> str | None:
        """The hash of a picture in base64; None where it does not decode."""
        try:
            self.scratch.write_bytes(decoded_picture(content))
            return examine_picture(self.scratch, self.max_pixels).perceptual_hash
        except PictureError:
            return None
        finally:
            self.scratch.unlink(missing_ok=True)


def _first_character(file: RecordFile) -> bytes:
    with opened(file) as stream:
        start = stream.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if not start:
        raise file.error("is empty; fetch it again")
    return start


def _texts(value: Any) -> list[str]:
    """The texts of a field: one, several, or several written as a list."""
    if isinstance(value, list):
        return [text for text in value if isinstance(text, str)]
    if not isinstance(value, str) or not value:
        return []
    if value.startswith("["):
        return [single or double for single, double in _QUOTED.findall(value)]
    return [value]


def reference(value: Any) -> str | None:
    """The index of another row that stands in place of a picture in a TSV: no picture is so short."""
    if isinstance(value, str) and len(value) <= _REFERENCE_CHARACTERS and not value.startswith("["):
        return value
    return None


def _in_address(url: str) -> Path | None:
    """The last two parts of an address, as COCO's folders are laid out: train2017/000000000042.jpg."""
    try:
        parts = unquote(urlsplit(url).path).rsplit("/", 2)[1:]
    except ValueError:
        return None
    return relative_name("/".join(parts).lstrip("/"))
