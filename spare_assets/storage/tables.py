"""Atomic Parquet tables: staged beside their place, checked, then renamed into it.

A reader sees the old table or the new one, never half of one, and none that was changed since it was written: beside
each lies a seal, the hash of its bytes. What the rows mean is not known here, nor that tables may lie elsewhere than in
the home (see `objects`): only `open_tables` chooses.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeAlias

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from spare_assets.storage.durability import sync, write_whole
from spare_assets.storage.queries import database, quoted
from spare_assets.storage.schemas import TABLES, TableSchema
from spare_assets.storage.temporaries import temporary_beside
from spare_assets.storage.vectors import vector_batches, vector_layout

if TYPE_CHECKING:
    from spare_assets.settings import Home

Rows: TypeAlias = pl.LazyFrame | pl.DataFrame | Iterable[pl.DataFrame]

_HASHED_ROWS = 50_000
_UNREPEATED = {"pair_id"}
"""Columns that hold no value twice: a dictionary of them would be the column once more, in twice the time."""
_METADATA_PREFIX = "spare."


class TableError(RuntimeError):
    """A table is absent, damaged or not what its schema says; the message says what to materialize or mend."""


@dataclass(frozen=True, slots=True)
class StagedTable:
    """A table written in full under a temporary name, not yet visible to readers."""

    schema: TableSchema
    temporary: Path
    path: Path
    rows: int
    digest: str

    def scan(self) -> pl.LazyFrame:
        """The staged rows."""
        return pl.scan_parquet(self.temporary, glob=False)

    def discard(self) -> None:
        """Remove the temporary file; a no-op once published."""
        self.temporary.unlink(missing_ok=True)


def open_tables(home: Home) -> TableStore:
    """The tables of a home: in its folder, or where the profile's `tables` says."""
    address = home.settings.tables
    if address is None:
        return TableStore(home.tables)
    from spare_assets.storage.objects import ObjectTables

    return ObjectTables(home.tables, address)


class TableStore:
    """The Parquet tables of one home: `<asset>/source=<key>.parquet`, or `<asset>/all.parquet`.

    `source` is the partition key throughout; of a table by model it is the model's key.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, table: str, source: str | None = None) -> Path:
        """File of a table, or of one partition of it, as it was last published; none is there before that."""
        place = self._place(table, source)
        self._up_to_date(place)
        return place

    def _place(self, table: str, source: str | None) -> Path:
        schema = TABLES.get(table)
        if schema is not None and schema.partitioned != (source is not None):
            raise TableError(f"table {table} is partitioned by {schema.partition or 'nothing'}")
        dimension = schema.partition if schema is not None else "source"
        return self.root / table / ("all.parquet" if source is None else f"{dimension}={source}.parquet")

    def exists(self, table: str, source: str | None = None) -> bool:
        """Whether the table, or this partition of it, is materialized."""
        return self._published(self._place(table, source))

    def scan(self, table: str, source: str | None = None) -> pl.LazyFrame:
        """Rows of a table, lazily. Raises TableError when it is not materialized, or not as it was written."""
        path = self._present(table, source)
        _check_seal(path)
        return pl.scan_parquet(path, glob=False)

    def vectors(self, table: str, source: str, *columns: str) -> Iterator[pl.DataFrame]:
        """Columns of a table that holds vectors, in order, in batches. Raises TableError as `scan` does."""
        path = self._present(table, source)
        _check_seal(path)
        return vector_batches(path, columns)

    def rows(self, table: str, source: str | None = None) -> int:
        """Row count, from the file's footer."""
        return int(self._footer(self._present(table, source)).num_rows)

    def metadata(self, table: str, source: str | None = None) -> dict[str, str]:
        """What was recorded with the table when it was published: limit, content version, settings."""
        stored = self._footer(self._present(table, source)).metadata or {}
        return {
            key.decode().removeprefix(_METADATA_PREFIX): value.decode()
            for key, value in stored.items()
            if key.decode().startswith(_METADATA_PREFIX)
        }

    def stage(
        self,
        table: str,
        source: str | None,
        rows: Rows,
        metadata: Mapping[str, str] | None = None,
    ) -> StagedTable:
        """Write rows in the table's schema beside its place. Rows come sorted by the table's key.

        Raises TableError when columns are missing or do not fit the schema.
        """
        with self.writer(table, source, metadata) as writer:
            if isinstance(rows, pl.LazyFrame | pl.DataFrame):
                writer.sink(rows.lazy())
            else:
                for batch in rows:
                    writer.append(batch)
        return writer.staged

    def writer(self, table: str, source: str | None, metadata: Mapping[str, str] | None = None) -> TableWriter:
        """A writer to append batches to, for stages that fill several tables at once."""
        path = self._place(table, source)
        path.parent.mkdir(parents=True, exist_ok=True)
        return TableWriter(TABLES[table], path, dict(metadata or {}))

    def put(self, table: str, source: str | None, frame: pl.DataFrame) -> int:
        """Store a frame that is no table of the graph, atomically, under a name of its own; the rows written."""
        path = self._place(table, source)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_beside(path)
        try:
            frame.write_parquet(temporary)
            sync(temporary)
            unknown = TableSchema(table, "A user's own.", key=(), columns=())
            self.publish(StagedTable(unknown, temporary, path, frame.height, digest_of(temporary)))
        finally:
            temporary.unlink(missing_ok=True)
        return frame.height

    def publish(self, *staged: StagedTable) -> None:
        """Rename staged tables into place together: another run's publication comes before or after, not between."""
        with self.publishing():
            for table in staged:
                into_place(table.temporary, table.path, table.digest)
            for folder in {table.path.parent for table in staged}:
                sync(folder)

    @contextmanager
    def publishing(self) -> Iterator[None]:
        """While this lasts no other process of this home publishes, on whatever machine."""
        self.root.mkdir(parents=True, exist_ok=True)
        # A file, since a network file system locks a folder on one machine alone.
        with (self.root / ".publishing").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _published(self, place: Path) -> bool:
        """Whether a table is published that belongs there."""
        return place.is_file()

    def _up_to_date(self, place: Path) -> bool:
        """See to it that a table's last publication lies there. False where there is none."""
        return self._published(place)

    def _present(self, table: str, source: str | None) -> Path:
        place = self._place(table, source)
        if not self._up_to_date(place):
            of_source = f" for source {source!r}" if source else ""
            raise TableError(f"table {table}{of_source} is not materialized yet: materialize asset {table} first")
        return place

    @staticmethod
    def _footer(path: Path) -> pq.FileMetaData:
        try:
            return pq.read_metadata(path)
        except (pa.ArrowInvalid, OSError) as error:
            raise TableError(f"{path}: damaged ({error}); materialize its asset again") from error


class TableWriter:
    """Writes one table under a temporary name. A context manager; `staged` is there once it closed without error."""

    staged: StagedTable

    def __init__(self, schema: TableSchema, path: Path, metadata: dict[str, str]) -> None:
        self._schema, self._path = schema, path
        self._temporary = temporary_beside(path)
        self._recorded = {f"{_METADATA_PREFIX}{key}": value for key, value in metadata.items()}
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> TableWriter:
        return self

    def append(self, batch: pl.DataFrame) -> None:
        """Add rows, in order."""
        if not batch.height:
            return
        frame = conform(batch.lazy(), self._schema).collect()
        arrow = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
        if self._writer is None:
            layout, options = vector_layout(arrow.schema)
            options["use_dictionary"] = [
                name for name in options.get("use_dictionary", layout.names) if name not in _UNREPEATED
            ]
            self._writer = pq.ParquetWriter(self._temporary, layout, **options)
        self._writer.write_table(arrow.cast(self._writer.schema))

    def sink(self, rows: pl.LazyFrame) -> None:
        """Write all rows of a lazy frame, streaming."""
        frame = conform(rows, self._schema)
        frame.sink_parquet(self._temporary, row_group_size=_HASHED_ROWS, metadata=self._recorded)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._writer is not None:
                if kind is None:
                    self._writer.add_key_value_metadata(self._recorded)
                self._writer.close()
            if kind is None:
                if not self._temporary.exists():
                    self._schema.empty().write_parquet(self._temporary, metadata=self._recorded)
                sync(self._temporary)
                rows = int(pq.read_metadata(self._temporary).num_rows)
                digest = digest_of(self._temporary)
                self.staged = StagedTable(self._schema, self._temporary, self._path, rows, digest)
        finally:
            if not hasattr(self, "staged"):
                self._temporary.unlink(missing_ok=True)


def seal_path(path: Path) -> Path:
    """Where a table's seal lies: the hashes of its bytes and of those of the table it replaced."""
    return path.with_name(f".{path.stem}.seal")


def into_place(temporary: Path, path: Path, digest: str) -> None:
    """Give a table its name, and before it its seal; of the one it replaces the seal stays valid until then."""
    try:
        before = seal_path(path).read_text(encoding="ascii").split()[:1]
    except FileNotFoundError:
        before = [digest_of(path)] if path.exists() else []
    write_whole(seal_path(path), "\n".join([digest, *before]).encode())
    temporary.replace(path)
    if (known := _digests.pop(temporary, None)) is not None:
        _digests[path] = known


def _check_seal(path: Path) -> None:
    """Raises TableError where a table's bytes are not those its seal tells of; without a seal it is taken as it is."""
    for _ in range(2):  # a table published in between is met with its own seal the second time
        digest = digest_of(path)
        try:
            sealed = seal_path(path).read_text(encoding="ascii").split()
        except FileNotFoundError:
            return
        if digest in sealed:
            return
    raise TableError(f"{path}: damaged, it is not what was written; materialize its asset again")


def digest_of(path: Path) -> str:
    """Hash of a file's bytes, worked out once as long as the file is the same."""
    status = path.stat()
    version = (status.st_ino, status.st_mtime_ns, status.st_size)
    known, digest = _digests.get(path, (None, ""))
    if known != version:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        _digests[path] = version, digest
    return digest


_digests: dict[Path, tuple[tuple[int, int, int], str]] = {}
"""Hashes that this process has worked out, and the files they are of."""


def conform(frame: pl.LazyFrame, schema: TableSchema) -> pl.LazyFrame:
    """Select and cast a frame to a table's columns.

    Raises TableError naming columns that are missing, or embeddings that are not half-precision arrays.
    """
    present = frame.collect_schema()
    if missing := [name for name in schema.names if name not in present]:
        raise TableError(f"table {schema.name}: columns {missing} are missing; found {list(present)}")
    selected = []
    for column in schema.columns:
        if column.dtype is not None:
            selected.append(pl.col(column.name).cast(column.dtype))
        elif isinstance(dtype := present[column.name], pl.Array) and dtype.inner == pl.Float16:
            selected.append(pl.col(column.name))
        else:
            raise TableError(f"table {schema.name}: {column.name} is {dtype}, not an array of Float16")
    return frame.select(selected)


def content_hash(path: Path) -> str:
    """Hash of a table's rows and columns, independent of how Parquet laid them out; 16 hexadecimal characters."""
    digest = hashlib.sha256()
    frame = pl.scan_parquet(path, glob=False)
    total = int(pq.read_metadata(path).num_rows)
    for start in range(0, max(total, 1), _HASHED_ROWS):
        buffer = io.BytesIO()
        frame.slice(start, _HASHED_ROWS).collect().rechunk().write_ipc_stream(
            buffer, compat_level=pl.CompatLevel.oldest()
        )
        digest.update(buffer.getbuffer())
    return digest.hexdigest()[:16]


def sorted_by_key(batches: Iterable[pl.DataFrame], schema: TableSchema, scratch: Path) -> Iterator[pl.DataFrame]:
    """Batches in any order, yielded again in the order of the table's key, sorted on disk."""
    scratch.mkdir(parents=True, exist_ok=True)
    unsorted, ordered = (scratch / f"{uuid.uuid4().hex}.parquet" for _ in range(2))
    try:
        with TableWriter(schema, unsorted, {}) as writer:
            for batch in batches:
                writer.append(batch)
        writer.staged.temporary.replace(unsorted)
        with database(scratch) as ordering:
            key = ", ".join(f'"{name}"' for name in schema.key)
            ordering.execute(
                f"COPY (FROM read_parquet(?) ORDER BY {key}) TO '{quoted(ordered)}' (FORMAT parquet)",
                [str(unsorted)],
            )
        yield from read_batches(ordered)
    finally:
        unsorted.unlink(missing_ok=True)
        ordered.unlink(missing_ok=True)


def read_batches(path: Path, size: int = 10_000) -> Iterator[pl.DataFrame]:
    """Rows of a Parquet file in order, in batches."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(size):
            frame = pl.from_arrow(batch)
            assert isinstance(frame, pl.DataFrame)
            yield frame
