"""The dataset as a folder that a hub takes as it is: data/<source>/*.parquet, README.md and croissant.json.

Pictures are referred to, or stand inside the files where their licence lets them be passed on. Paths of this machine
are never in it. What the card says, and where the folder goes, is not known here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from spare_assets.publication.croissant import croissant
from spare_assets.publication.dataset_card import dataset_card
from spare_assets.publication.export_writing import image_name, verified_content
from spare_assets.publication.facts import CardFacts
from spare_assets.storage.schemas import TABLES, Column
from spare_assets.storage.tables import TableStore, read_batches

CARD = "README.md"
CROISSANT = "croissant.json"
PASSED_ON = {
    *("cc0-1.0", "pddl-1.0", "odc-by-1.0", "mit", "apache-2.0"),
    *("cc-by-2.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-2.0", "cc-by-sa-3.0", "cc-by-sa-4.0"),
}
"""Licences, in lower case, under which anybody may pass a picture on."""
IMAGE = Column("image", pl.Struct({"bytes": pl.Binary, "path": pl.String}), "The picture, where it may be passed on")
_ROWS = {column.name: column for name in ("spatial_captions", "spare_dataset") for column in TABLES[name].columns}
COLUMNS = tuple(
    _ROWS[name]
    for name in (
        *("caption_id", "source", "split", "image_id", "image_set", "image_file", "image_url", "image_sha256"),
        *("caption", "pairs"),
    )
)
"""What is published of a sample."""
# Without the note, and these very types, `datasets` takes pictures for structs of bytes.
_IMAGE_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_IMAGE_FEATURE = {"huggingface": json.dumps({"info": {"features": {IMAGE.name: {"_type": "Image"}}}})}
_BATCH_ROWS = 100
_SHARD_BYTES = 400_000_000


def embeddable(facts: CardFacts) -> list[str]:
    """Sources whose pictures may be passed on."""
    return [s.key for s in facts.sources if s.settings.image_licence.strip().lower() in PASSED_ON]


def write_dataset_folder(
    folder: Path,
    facts: CardFacts,
    store: TableStore,
    embed: Collection[str] | None = None,
    shard_bytes: int = _SHARD_BYTES,
) -> pl.DataFrame:
    """Fill an empty folder. A row per file: file, rows, bytes, sha256, embedded_images.

    `embed`: sources whose pictures go into the files, which then all have a column `image`; None: no such column.
    Raises ExportError where a picture is gone or not the one that the dataset was made with.
    """
    files = [
        file
        for source in facts.sources
        if source.counts["samples"]
        for file in _write_source(folder, store, source.key, embed, shard_bytes)
    ]
    columns = COLUMNS if embed is None else (*COLUMNS, IMAGE)
    (folder / CROISSANT).write_text(croissant(facts, files, columns), encoding="utf-8")
    (folder / CARD).write_text(dataset_card(facts), encoding="utf-8")
    files += [_file(folder, folder / name) for name in (CARD, CROISSANT)]
    return pl.DataFrame(files, infer_schema_length=None).sort("file")


def published_rows(store: TableStore, source: str) -> pl.LazyFrame:
    """The samples of a source as they are published, in the order of the dataset."""
    references = store.scan("spatial_captions", source).select("caption_id", "image_set", "image_file", "image_url")
    asked = store.scan("images", source).select("image_id", "url")
    return (
        store.scan("spare_dataset")
        .filter(pl.col("source") == source)
        .join(references, on="caption_id", how="left", maintain_order="left")
        .join(asked, on="image_id", how="left", maintain_order="left")
        .with_columns(image_url=pl.coalesce("image_url", "url"))
        .select(*(column.name for column in COLUMNS), "image_path")
    )


def _write_source(
    folder: Path, store: TableStore, source: str, embed: Collection[str] | None, shard_bytes: int
) -> Iterator[dict[str, str | int | None]]:
    place = folder / "data" / source
    place.mkdir(parents=True)
    rows = published_rows(store, source)
    if embed is None:
        path = place / "00000.parquet"
        rows.drop("image_path").sink_parquet(path)
        yield _file(folder, path, embedded=0)
        return
    # Joined on disk first: pictures are read for a batch of rows at a time.
    joined = place / ".joined"
    rows.sink_parquet(joined)
    shards: list[_PictureShard] = []
    for batch in read_batches(joined, _BATCH_ROWS):
        if not shards or shards[-1].weight >= shard_bytes:
            if shards:
                shards[-1].close()
            shards.append(_PictureShard(place / f"{len(shards):05}.parquet"))
        shards[-1].write(batch, embed=source in embed)
    joined.unlink()
    shards[-1].close()
    for shard in shards:
        yield _file(folder, shard.path, embedded=shard.embedded)


class _PictureShard:
    """A Parquet file with a column of pictures that `datasets` decodes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.weight, self.embedded = 0, 0
        self._writer: pq.ParquetWriter | None = None

    def write(self, batch: pl.DataFrame, *, embed: bool) -> None:
        pictures = [
            _picture(path, sha256) if embed and path else None
            for path, sha256 in batch.select("image_path", "image_sha256").iter_rows()
        ]
        frame = batch.drop("image_path").with_columns(pl.Series(IMAGE.name, pictures, dtype=IMAGE.dtype))
        arrow = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
        if self._writer is None:
            place = arrow.schema.get_field_index(IMAGE.name)
            schema = arrow.schema.set(place, pa.field(IMAGE.name, _IMAGE_TYPE)).with_metadata(_IMAGE_FEATURE)
            self._writer = pq.ParquetWriter(self.path, schema, compression="zstd")
        self._writer.write_table(arrow.cast(self._writer.schema))
        self.embedded += sum(picture is not None for picture in pictures)
        self.weight += sum(len(picture["bytes"]) for picture in pictures if picture) + int(batch.estimated_size())

    def close(self) -> None:
        assert self._writer is not None
        self._writer.close()


def _picture(path: str, sha256: str) -> dict[str, bytes | str]:
    content = verified_content(Path(path), sha256)
    return {"bytes": content, "path": image_name(content, sha256)}


def _file(folder: Path, path: Path, embedded: int | None = None) -> dict[str, str | int | None]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    rows = int(pq.read_metadata(path).num_rows) if path.suffix == ".parquet" else None
    return {
        "file": path.relative_to(folder).as_posix(),
        "rows": rows,
        "bytes": path.stat().st_size,
        "sha256": digest,
        "embedded_images": embedded,
    }
