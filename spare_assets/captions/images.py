"""The images a set of captions needs, one row each: found in a local folder or fetched, and verified by
decoding.

How a file is found, fetched or decoded stands in `image_folders`, `download` and `picture`; here is what is
tried in which order, and the flow: many images at once, rows in order of image_id, memory flat, an image
that can't be had never in the way of the others.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import polars as pl

from spare_assets.captions.download import Downloader
from spare_assets.captions.image_folders import ImageFolders, name_in_address
from spare_assets.captions.picture import Failure, Picture, PictureError, examine_picture
from spare_assets.settings import DownloadSettings, Home, SourceSettings
from spare_assets.storage.schemas import TABLES

WINDOW_IMAGES = 4_000
FRAME_ROWS = 1_000
MAX_DECODERS = 8
_LOOKUPS = 32
_STOP_SECONDS = 5.0

_SCHEMA = TABLES["images"].polars()
_REFERENCE = ("image_set", "image_file", "image_url")

T = TypeVar("T")
_Row: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Image:
    """A needed image: its id, the ways captions refer to it, and its row in an earlier table."""

    image_id: str
    source: str
    references: list[Mapping[str, str | None]]
    earlier: _Row | None

    def row(
        self,
        status: str,
        detail: str | None = None,
        *,
        http_status: int | None = None,
        path: Path | None = None,
        url: str | None = None,
        picture: Picture | None = None,
    ) -> _Row:
        """A row of the `images` table."""
        return {
            "image_id": self.image_id,
            "source": self.source,
            "status": status,
            "http_status": http_status,
            "detail": detail,
            "path": None if path is None else str(path),
            "url": url,
            **({} if picture is None else asdict(picture)),
        }


def needed_images(captions: pl.LazyFrame) -> pl.LazyFrame:
    """The images captions need: image_id, source, and `references`, the different ways the captions name
    it.

    One row per image_id, in its order. A reference is a struct of image_set, image_file and image_url.
    """
    return (
        captions.select("image_id", "source", *_REFERENCE)
        .unique()
        .sort("image_id", *_REFERENCE)
        .group_by("image_id", maintain_order=True)
        .agg(pl.col("source").first(), references=pl.struct(_REFERENCE))
    )


def resolve_images(
    needed: pl.LazyFrame,
    source: SourceSettings,
    home: Home,
    download: DownloadSettings,
    *,
    previous: pl.LazyFrame | None = None,
    advance: Callable[[int], object] = lambda images: None,
) -> Iterator[pl.DataFrame]:
    """Rows of the `images` table for the images of `needed_images`, in frames, in order of image_id.

    A row of `previous` whose file still lies in a folder of this source, with equal size, is taken over.
    Else each image is looked for in its folder, then fetched by address where the source allows it.
    `advance` hears, in the calling thread and at least every second, how many images were settled since.
    Abandoning the iterator stops all downloads within seconds; what was fetched stays. Raises
    ImageStoreError where images can't be written.
    """
    wanted = needed.collect()
    resolution = _Resolution(wanted, source, home, download, previous)
    told = 0

    def tell() -> None:
        nonlocal told
        if fresh := resolution.settled - told:
            told += fresh
            advance(fresh)

    yield from _from_background(resolution.frames(), tell)


class _Resolution:
    """One run of `resolve_images`; `settled` counts the images whose row is known."""

    def __init__(
        self,
        wanted: pl.DataFrame,
        source: SourceSettings,
        home: Home,
        download: DownloadSettings,
        previous: pl.LazyFrame | None,
    ) -> None:
        self.settled = 0
        self._wanted = wanted
        self._source = source
        self._settings = download
        self._store = home.images
        key = wanted["source"][0] if wanted.height else ""
        self._folders = ImageFolders(key, source, home, _shared_names(wanted))
        self._key = key
        decoders = min(MAX_DECODERS, os.cpu_count() or 1)
        self._pool = ThreadPoolExecutor(decoders, thread_name_prefix="images")
        self._earlier = (
            previous.filter(pl.col("status") == "ok")
            .join(wanted.lazy().select("image_id"), on="image_id", how="semi")
            .select("image_id", earlier=pl.struct(pl.all()))
            .collect()
            if previous is not None
            else pl.DataFrame(schema={"image_id": pl.String, "earlier": pl.Struct(_SCHEMA)})
        )

    async def frames(self) -> AsyncIterator[pl.DataFrame]:
        """Frames of rows; at most a window of images is under way, or done and waiting for its turn."""
        examine = partial(self._in_pool, examine_picture, max_pixels=self._settings.max_pixels)
        images = self._images()
        try:
            async with Downloader(self._store, self._settings, examine) as downloader:
                under_way: deque[asyncio.Task[_Row]] = deque()
                rows: list[_Row] = []
                while True:
                    for image in itertools.islice(images, WINDOW_IMAGES - len(under_way)):
                        under_way.append(asyncio.create_task(self._settle(image, downloader)))
                    if not under_way:
                        break
                    rows.append(await under_way.popleft())
                    if len(rows) == FRAME_ROWS:
                        yield pl.DataFrame(rows, schema=_SCHEMA)
                        rows = []
                if rows:
                    yield pl.DataFrame(rows, schema=_SCHEMA)
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _images(self) -> Iterator[_Image]:
        for part in self._wanted.iter_slices(FRAME_ROWS):
            known = part.join(self._earlier, on="image_id", how="left", maintain_order="left")
            yield from (_Image(**row) for row in known.iter_rows(named=True))

    async def _in_pool(self, work: Callable[..., T], *arguments: Any, **named: Any) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, partial(work, *arguments, **named))

    async def _settle(self, image: _Image, downloader: Downloader) -> _Row:
        row = await self._in_pool(self._local, image)
        if row["status"] != "ok":
            row = await self._fetched(image, row, downloader)
        self.settled += 1
        return row

    def _local(self, image: _Image) -> _Row:
        """The row of an image as far as this machine's disks know it."""
        if image.earlier is not None and self._stands(image.earlier):
            return image.earlier
        status: Failure = "missing"
        details: list[str] = []
        for reference in image.references:
            try:
                path = self._folders.find(
                    reference["image_set"] or "default", reference["image_file"], reference["image_url"]
                )
                try:
                    picture = examine_picture(path, self._settings.max_pixels)
                except PictureError as error:
                    raise PictureError(error.status, f"{path}: {error.detail}") from None
                return image.row("ok", path=path, picture=picture)
            except PictureError as error:
                details.append(error.detail)
                if error.status != "missing":
                    status = error.status
        return image.row(status, "; ".join(dict.fromkeys(details)))

    async def _fetched(self, image: _Image, local: _Row, downloader: Downloader) -> _Row:
        """The row of an image that is not on this machine's disks, after asking its addresses in turn."""
        urls = [url for reference in image.references if (url := reference["image_url"])]
        if urls and not self._source.download_images:
            off = f"`sources.{self._key}.download_images` is off"
            return image.row(local["status"], f"{local['detail']}; {off}")
        row = local
        for url in urls:
            try:
                path, picture = await downloader.fetch(url)
                return image.row("ok", path=path, url=url, picture=picture)
            except PictureError as error:
                here = "" if local["status"] == "missing" else f"; {local['detail']}"
                row = image.row(error.status, error.detail + here, http_status=error.http_status, url=url)
        return row

    def _stands(self, earlier: _Row) -> bool:
        path = Path(earlier["path"])
        try:
            same = path.stat().st_size == earlier["bytes"]
        except OSError:
            return False
        small = earlier["width"] * earlier["height"] <= self._settings.max_pixels
        return same and small and (path.is_relative_to(self._store) or self._folders.holds(path))


def _shared_names(wanted: pl.DataFrame) -> set[str]:
    """Last parts of addresses that stand for more than one image here."""
    urls = wanted.lazy().explode("references").unnest("references").select("image_id", "image_url").drop_nulls()
    last = pl.col("image_url").map_elements(name_in_address, return_dtype=pl.String)
    names = urls.select("image_id", name=last).group_by("name").agg(images=pl.col("image_id").n_unique())
    return set(names.filter(pl.col("images") > 1).select("name").drop_nulls().collect()["name"])


def _from_background(frames: AsyncIterator[pl.DataFrame], tell: Callable[[], None]) -> Iterator[pl.DataFrame]:
    """The items of an asynchronous iterator that runs in a thread of its own and goes on between them.

    Signals reach the calling thread, where an interrupt ends the wait; then all that is under way is
    cancelled. `tell` is called in the calling thread, at least every second.
    """
    loop = asyncio.new_event_loop()
    lookups = ThreadPoolExecutor(_LOOKUPS, thread_name_prefix="lookups")
    loop.set_default_executor(lookups)
    thread = threading.Thread(target=loop.run_forever, name="images", daemon=True)
    thread.start()

    def run(work: Coroutine[Any, Any, T], wait: float | None = None) -> T:
        future = asyncio.run_coroutine_threadsafe(work, loop)
        if wait is not None:
            return future.result(wait)
        while True:
            try:
                return future.result(timeout=1.0)
            except TimeoutError:
                if future.done():
                    raise
                tell()

    async def following() -> pl.DataFrame | None:
        return await anext(frames, None)

    async def stop() -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        if hasattr(frames, "aclose"):
            await frames.aclose()

    try:
        while (frame := run(following())) is not None:
            tell()
            yield frame
        tell()
    finally:
        with suppress(TimeoutError):
            run(stop(), wait=_STOP_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_STOP_SECONDS)
        lookups.shutdown(wait=False, cancel_futures=True)
        if not thread.is_alive():
            loop.close()
