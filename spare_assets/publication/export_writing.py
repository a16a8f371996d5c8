"""Exports as files: rows written part by part and shard by shard, pictures brought along, a folder put in place whole.

Streaming, counting and naming belong here; what a row holds does not (`export_formats`). File names derive from parts,
shard numbers and hashes, never from outside text. Equal inputs give equal bytes: rows come in the order of the
dataset, and nothing in a file tells the time.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import sys
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from spare_assets.publication.export_formats import (
    CONTROL_TEXT,
    ExportFormat,
    ImageFile,
    Part,
    Row,
    Sample,
    json_text,
)
from spare_assets.storage.durability import sync, sync_tree
from spare_assets.storage.temporaries import temporary_beside

_GROUP_ROWS = 2_000
_GROUP_BYTES = 32_000_000
_EXTENSIONS = (
    (b"\xff\xd8\xff", "jpg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
)
_KEY_DIGITS = 32


class ExportError(RuntimeError):
    """A picture can't be brought along; the message says which, why and what to do."""


@dataclass(frozen=True, slots=True)
class Export:
    """What was written. `files` has a row for every data file, in the schema of the exports' tables.

    Of the `pairs`, `without_image` stand in rows without a picture, `changed` held a mark of the format, and
    `control_text` hold what some model takes for a control token. `bytes` are of the whole folder.
    """

    files: pl.DataFrame
    samples: int
    rows: int
    pairs: int
    without_image: int
    changed: int
    control_text: int
    image_files: int
    bytes: int


class Images(Protocol):
    """How an export comes by the picture of a sample; None where there is none to be had."""

    def of(self, sample: Sample) -> ImageFile | None:
        """The picture as the sample's rows hold it."""


class ReferencedImages:
    """Pictures stay where they are and are named by absolute path."""

    def of(self, sample: Sample) -> ImageFile | None:
        """The picture's path."""
        return ImageFile(sample["image_path"]) if sample["image_path"] else None


class EmbeddedImages:
    """Pictures go into the rows, under a name from their hash."""

    def of(self, sample: Sample) -> ImageFile | None:
        """The picture's bytes. Raises ExportError where they are not those that the dataset was made with."""
        if not sample["image_path"]:
            return None
        content = verified_content(Path(sample["image_path"]), sample["image_sha256"])
        return ImageFile(image_name(content, sample["image_sha256"]), content)


class CopiedImages:
    """Pictures are copied below the export's own folder, each once, as `images/<two digits>/<hash>.<extension>`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, sample: Sample) -> ImageFile | None:
        """The picture's path within the folder. Raises ExportError as EmbeddedImages does."""
        if not sample["image_path"]:
            return None
        sha256 = sample["image_sha256"]
        content = verified_content(Path(sample["image_path"]), sha256)
        path = f"images/{sha256[:2]}/{image_name(content, sha256)}"
        target = self._folder / path
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        return ImageFile(path)


def verified_content(path: Path, sha256: str) -> bytes:
    """A picture's bytes. Raises ExportError where it is gone or has another content."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ExportError(f"{path}: {error.strerror or error}; materialize `images` of its source again") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ExportError(f"{path}: changed since the dataset was made; materialize `images` of its source again")
    return content


def image_name(content: bytes, sha256: str) -> str:
    """A picture's file name: its hash, and the extension its first bytes call for."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return f"{sha256}.webp"
    return f"{sha256}.{next((name for start, name in _EXTENSIONS if content.startswith(start)), 'img')}"


def images_for(form: ExportFormat, folder: Path, *, with_images: bool) -> Images:
    """Pictures by path; or inside Parquet and tar files, and as copies beside JSON."""
    if not with_images:
        return ReferencedImages()
    return CopiedImages(folder) if form.container in ("json", "jsonl") else EmbeddedImages()


def write_export(
    form: ExportFormat,
    batches: Iterable[pl.DataFrame],
    folder: Path,
    *,
    images: Images,
    part_of: Callable[[str], Part],
    shard_rows: int,
    shard_bytes: int,
    advance: Callable[[int], object],
) -> Export:
    """Write samples, rows of `spare_dataset` in order, as one format into an empty folder.

    `part_of` tells a part by image_id. A shard ends at `shard_rows` rows, or where text and pictures in it come to
    `shard_bytes`, before compression. There is always a file of `train`; of another part only where it has rows.
    `advance` hears of every batch's samples. Memory holds one batch and one group of rows per part. Raises ExportError.
    """
    samples = rows = pairs = without_image = changed = control_text = 0
    with ExitStack() as stack:
        parts: dict[Part, _PartWriter] = {}

        def writer(part: Part) -> _PartWriter:
            if part not in parts:
                opened = _WRITERS[form.container](form, folder, part, shard_rows, shard_bytes)
                stack.callback(opened.close)
                parts[part] = opened
            return parts[part]

        writer("train")
        for batch in batches:
            for sample in batch.iter_rows(named=True):
                image = images.of(sample)
                made = form.rows(sample, image)
                writer(part_of(sample["image_id"])).add(sample, made, image)
                texts = [(pair["question"], pair["answer"]) for pair in sample["pairs"]]
                rows += len(made)
                pairs += len(texts)
                without_image += len(texts) if image is None else 0
                changed += sum(any(map(form.holds_marks, pair)) for pair in texts)
                control_text += sum(any(map(CONTROL_TEXT.search, pair)) for pair in texts)
            samples += batch.height
            advance(batch.height)
    written = {part: opened.files() for part, opened in parts.items()}
    if form.beside is not None:
        first = {part: files[0].name for part, files in written.items()}
        for name, document in form.beside(first).items():
            (folder / name).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    everything = [path for path in folder.rglob("*") if path.is_file()]
    return Export(
        files=pl.DataFrame(
            [
                {
                    "file": file.name,
                    "part": part,
                    "rows": file.rows,
                    "pairs": file.pairs,
                    "images": file.images,
                    "bytes": (folder / file.name).stat().st_size,
                    "sha256": _file_hash(folder / file.name),
                }
                for part, files in written.items()
                for file in files
            ]
        ).sort("file"),
        samples=samples,
        rows=rows,
        pairs=pairs,
        without_image=without_image,
        changed=changed,
        control_text=control_text,
        image_files=sum(path.is_relative_to(folder / "images") for path in everything),
        bytes=sum(path.stat().st_size for path in everything),
    )


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(slots=True)
class _File:
    """A data file, by its name within the folder, and what it holds."""

    name: str
    rows: int = 0
    pairs: int = 0
    images: int = 0


class _PartWriter(ABC):
    """Writes the rows of one part, in as many files as it takes."""

    def __init__(self, form: ExportFormat, folder: Path, part: Part, shard_rows: int, shard_bytes: int) -> None:
        self._form, self._folder, self._part = form, folder, part
        self._shard_rows, self._shard_bytes = shard_rows, shard_bytes
        self._shards: list[_File] = []
        self._weight = 0
        self._next_shard()

    def add(self, sample: Sample, rows: list[Row], image: ImageFile | None) -> None:
        """Write a sample's rows, which stay together."""
        shard = self._shards[-1]
        if shard.rows and (shard.rows + len(rows) > self._shard_rows or self._weight >= self._shard_bytes):
            self._end_shard()
            self._next_shard()
            shard = self._shards[-1]
        text = len(sample["caption"]) + sum(len(pair["question"]) + len(pair["answer"]) for pair in sample["pairs"])
        pictures = len(image.content) * len(rows) if image is not None and image.content is not None else 0
        self._weight += text + pictures
        shard.rows += len(rows)
        shard.pairs += len(sample["pairs"])
        shard.images += len(rows) if image is not None else 0
        self._write(sample, rows, image, text + pictures)

    def close(self) -> None:
        """End the last shard."""
        self._end_shard()

    def files(self) -> list[_File]:
        """The files, once closed, under their final names."""
        return self._shards

    def _next_shard(self) -> None:
        self._weight = 0
        self._shards.append(_File(self._name(len(self._shards))))
        path = self._folder / self._shards[-1].name
        path.parent.mkdir(parents=True, exist_ok=True)
        self._open(path)

    @abstractmethod
    def _name(self, number: int) -> str: ...

    @abstractmethod
    def _open(self, path: Path) -> None: ...

    @abstractmethod
    def _write(self, sample: Sample, rows: list[Row], image: ImageFile | None, weight: int) -> None: ...

    @abstractmethod
    def _end_shard(self) -> None: ...


class _ParquetShards(_PartWriter):
    """`data/<part>-<number>-of-<count>.parquet`, by which `datasets` tells the parts without further configuration."""

    def files(self) -> list[_File]:
        for shard in self._shards:
            final = shard.name.replace("-of-?????", f"-of-{len(self._shards):05}")
            (self._folder / shard.name).rename(self._folder / final)
            shard.name = final
        return self._shards

    def _name(self, number: int) -> str:
        return f"data/{self._part}-{number:05}-of-?????.parquet"

    def _open(self, path: Path) -> None:
        self._group: list[Row] = []
        self._group_weight = 0
        # A row per pair repeats its picture: within a group of rows the dictionary holds it once.
        self._writer = pq.ParquetWriter(
            path, self._form.columns, compression="zstd", dictionary_pagesize_limit=2 * _GROUP_BYTES
        )

    def _write(self, sample: Sample, rows: list[Row], image: ImageFile | None, weight: int) -> None:
        self._group += rows
        self._group_weight += weight
        if len(self._group) >= _GROUP_ROWS or self._group_weight >= _GROUP_BYTES:
            self._flush()

    def _end_shard(self) -> None:
        if self._group:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        self._writer.write_table(pa.Table.from_pylist(self._group, schema=self._form.columns))
        self._group, self._group_weight = [], 0


class _JsonFile(_PartWriter):
    """One file per part, whatever its size: `<part>.jsonl`, or `<part>.json` with one array."""

    def __init__(self, form: ExportFormat, folder: Path, part: Part, shard_rows: int, shard_bytes: int) -> None:
        self._array = form.container == "json"
        super().__init__(form, folder, part, sys.maxsize, sys.maxsize)

    def _name(self, number: int) -> str:
        return f"{self._part}.{self._form.container}"

    def _open(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", newline="\n")
        self._empty = True
        if self._array:
            self._file.write("[\n")

    def _write(self, sample: Sample, rows: list[Row], image: ImageFile | None, weight: int) -> None:
        for row in rows:
            between = "" if self._empty else ",\n" if self._array else "\n"
            self._file.write(between + json_text(row))
            self._empty = False

    def _end_shard(self) -> None:
        self._file.write("" if self._empty else "\n")
        self._file.write("]\n" if self._array else "")
        self._file.close()


class _TarShards(_PartWriter):
    """`<part>-<number>.tar`: of every sample `<key>.json`, and the picture where it is embedded, side by side.

    Written block by block, because `tarfile` keeps an entry in memory for every member.
    """

    def _name(self, number: int) -> str:
        return f"{self._part}-{number:06}.tar"

    def _open(self, path: Path) -> None:
        self._file = path.open("wb")

    def _write(self, sample: Sample, rows: list[Row], image: ImageFile | None, weight: int) -> None:
        key = hashlib.sha256(sample["caption_id"].encode()).hexdigest()[:_KEY_DIGITS]
        for row in rows:
            self._member(f"{key}.json", json_text(row).encode())
        if image is not None and image.content is not None:
            self._member(f"{key}{Path(image.path).suffix}", image.content)

    def _member(self, name: str, content: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(content), 0o644
        self._file.write(member.tobuf(tarfile.USTAR_FORMAT))
        self._file.write(content)
        self._file.write(bytes(-len(content) % tarfile.BLOCKSIZE))

    def _end_shard(self) -> None:
        self._file.write(bytes(2 * tarfile.BLOCKSIZE))
        self._file.write(bytes(-self._file.tell() % tarfile.RECORDSIZE))
        self._file.close()


_WRITERS: Mapping[str, type[_PartWriter]] = {
    "parquet": _ParquetShards,
    "json": _JsonFile,
    "jsonl": _JsonFile,
    "tar": _TarShards,
}


def publish_folder(folder: Path, target: Path) -> None:
    """Put a finished folder, which lies beside `target`, in its place; what was there before is removed.

    Readers find the old folder or the new one. Where the system can't exchange two names at once, there is a moment
    in which they find none.
    """
    sync_tree(folder)
    if not target.exists():
        folder.rename(target)
    elif _exchanged(folder, target):
        shutil.rmtree(folder)
    else:
        retired = temporary_beside(target)
        target.rename(retired)
        folder.rename(target)
        shutil.rmtree(retired)
    sync(target.parent)


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange two names in one step, where the system can."""
    exchange: Any = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    here, exchange_flag = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return exchange is not None and exchange(here, os.fsencode(one), here, os.fsencode(other), exchange_flag) == 0
