"""One materialization of a stage: reads inputs, stages tables, counts, publishes, reports.

The bridge between Dagster's context and the pure modules. What a stage computes does not belong here.
"""

from __future__ import annotations

import base64
import json
import shutil
import textwrap
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Protocol

import dagster as dg
import polars as pl

from spare_assets.engines.asking import Tally
from spare_assets.orchestration.launchpad import BatchConfig
from spare_assets.orchestration.tables import column_lineage, row_count_key
from spare_assets.progress import Beat, Progress
from spare_assets.settings import Home, fingerprint
from spare_assets.storage.catalog import rebuild_catalog
from spare_assets.storage.schemas import TABLES
from spare_assets.storage.tables import Rows, StagedTable, TableError, TableWriter, content_hash, open_tables
from spare_assets.storage.temporaries import temporary_beside

PARTIAL_INPUTS = "spare/partial_inputs"
"""Op tag of assets that are made of whatever of their inputs is there."""
_LOG_SECONDS = 10.0
"""Between two lines of progress in the run log."""
_SAMPLE_ROWS = 5
_CELL_CHARACTERS = 160
_LINE_CHARACTERS = 36
"""Of a line in a cell: a page would break it after every word, to make room for columns that can't be broken."""
_READ_FIRST = (
    *("question", "answer", "answers", "prediction", "reply", "caption", "kept", "score", "threshold", "reason"),
    *("check", "status", "pairs", "metric", "category", "value"),
)
_NOT_SHOWN = ("native", "embedding", "source")


class Listener(Protocol):
    """Hears of a stage's progress besides the run log: the terminal display is one."""

    @property
    def interval(self) -> float:
        """Seconds between beats that it wants to hear; the run log keeps its own time."""

    def beat(self, asset: str, source: str, beat: Beat) -> None:
        """Work went on."""

    def published(self, table: str, source: str, rows: int) -> None:
        """A table is in place."""


listeners: list[Listener] = []
"""Listeners of this process."""


class Stage:
    """One run of one asset for one partition, or for none. A context manager: what was not published is removed."""

    def __init__(self, context: dg.AssetExecutionContext, home: Home, overrides: dg.Config | None = None) -> None:
        self.context, self.home = context, home.claim()
        self.store = open_tables(home)
        self.partition: str | None = only_partition(context) if context.assets_def.partitions_def else None
        self.scratch = temporary_beside(home.scratch / context.op_def.name)
        self._overrides = (
            overrides.model_dump(exclude_defaults=True, exclude=set(BatchConfig.model_fields)) if overrides else {}
        )
        self._staged: list[StagedTable] = []
        self._notes: dict[str, Any] = {}
        self._limits = self._inherited_limits()

    def __enter__(self) -> Stage:
        self.scratch.mkdir(parents=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for table in self._staged:
            table.discard()
        shutil.rmtree(self.scratch, ignore_errors=True)
        if is_interrupt(error):
            raise dg.DagsterExecutionInterruptedError from error

    @property
    def source_key(self) -> str:
        """The source, in a stage by source."""
        assert self.partition is not None
        return self.partition

    @property
    def model_key(self) -> str:
        """The model, in a stage by model."""
        assert self.partition is not None
        return self.partition

    def earlier(self, table: str, **recorded: str) -> pl.LazyFrame | None:
        """This stage's own table from before, if it was made under the same recorded conditions.

        A damaged one counts as absent: this run is what mends it.
        """
        if not self.store.exists(table, self.partition):
            return None
        try:
            metadata = self.store.metadata(table, self.partition)
        except TableError as error:
            self.context.log.warning(str(error))
            return None
        same = all(metadata.get(key) == value for key, value in recorded.items())
        return self.store.scan(table, self.partition) if same else None

    def vectors(self, table: str, *columns: str) -> Iterator[pl.DataFrame]:
        """Columns of a source's table of vectors, batch by batch: many times as fast as its LazyFrame gives them."""
        return self.store.vectors(table, self.source_key, *columns)

    def limit_to(self, limit: int | None, *, replace_full: bool) -> None:
        """Declare this run a trial of so many captions. Raises Failure where that would replace a full table."""
        if limit is None:
            return
        self._limits[self.source_key] = limit
        if self.store.exists("captions", self.partition) and not replace_full:
            stored = self._stored_limits("captions").get(self.source_key)
            if stored is None or stored > limit:
                held = "all captions" if stored is None else f"{stored:,} captions"
                path = self.store.path("captions", self.source_key)
                raise failure(
                    f"{path} holds {held}; a trial of {limit:,} would replace it. "
                    "Use another home for trials (--home), or say so: --replace-full, or replace_full: true in the "
                    "Launchpad"
                )

    def sources_with(self, *tables: str) -> list[str]:
        """Declared sources that have all these tables. Raises Failure where none has."""
        declared = list(self.home.settings.sources)
        present = [key for key in declared if all(self.store.exists(table, key) for table in tables)]
        if not present:
            raise failure(
                f"no declared source ({', '.join(declared)}) has {', '.join(tables)}: materialize at least one first"
            )
        return present

    def stage(self, table: str, rows: Rows, **recorded: str) -> StagedTable:
        """Write a table beside its place."""
        staged = self.store.stage(table, self.partition, rows, self._recorded(recorded))
        self._staged.append(staged)
        return staged

    def writer(self, table: str, **recorded: str) -> TableWriter:
        """A writer for stages that fill several tables at once; hand its `staged` to `add`."""
        return self.store.writer(table, self.partition, self._recorded(recorded))

    def add(self, *staged: StagedTable) -> None:
        """Take staged tables into this publication."""
        self._staged.extend(staged)

    def note(self, **metadata: Any) -> None:
        """Metadata for every table of this publication."""
        self._notes.update(metadata)

    def progress(self, total: int | None) -> Progress:
        """Progress that beats in the run log, and wherever else somebody listens."""
        asset = self.context.op_def.name
        logged = 0.0

        def tell(beat: Beat) -> None:
            nonlocal logged
            due = beat.finished or beat.seconds - logged >= _LOG_SECONDS
            logged = beat.seconds if due else logged
            self.tell(beat, log=due)
            if beat.finished:
                self.note(seconds=beat.seconds, items_per_second=beat.rate)
                if beat.tokens:
                    self.note(tokens_per_second=beat.tokens / max(beat.seconds, 1e-9))

        interval = min([_LOG_SECONDS, *(listener.interval for listener in listeners)])
        return Progress(asset, total, tell, interval)

    def tell(self, beat: Beat, *, log: bool = True) -> None:
        """Say how far the work is, in the run log and to whoever else listens."""
        if log:
            self.context.log.info(str(beat))
        for listener in listeners:
            listener.beat(self.context.op_def.name, self.partition or "", beat)

    def drawn(self, title: str, draw: Callable[[], bytes], name: str = "picture") -> dict[str, Any]:
        """Metadata with a picture. A by-product: when it can't be drawn, the table stands all the same."""
        try:
            return {name: embedded(draw(), title)}
        except Exception as error:
            self.context.log.warning(f"the picture of {title} was not drawn: {error}")
            return {}

    def publish(self, **per_table: Mapping[str, Any]) -> Iterator[dg.MaterializeResult[None]]:
        """Rename all staged tables into place and report each.

        `per_table` adds metadata to single tables. Counting belongs before this call: what is published is final.
        """
        # The table that later stages read comes last: whoever sees it finds the tables beside it in place.
        tables = sorted(self._staged, key=lambda staged: staged.schema.name == self.context.op_def.name)
        versions = {staged.path: content_hash(staged.temporary) for staged in tables}
        self.store.publish(*tables)
        self.refresh_catalog()
        for staged in tables:
            for listener in listeners:
                listener.published(staged.schema.name, self.partition or "", staged.rows)
            yield dg.MaterializeResult(
                asset_key=dg.AssetKey(staged.schema.name),
                metadata=self._metadata(staged, per_table.get(staged.schema.name, {})),
                data_version=dg.DataVersion(versions[staged.path]),
            )

    def refresh_catalog(self) -> None:
        """Rebuild the DuckDB file. A by-product: when that fails, the tables stand all the same."""
        try:
            rebuild_catalog(self.home.catalog, self.store)
        except Exception as error:
            if is_interrupt(error):
                raise
            self.context.log.warning(f"{self.home.catalog} was not rebuilt: {error}")

    def _recorded(self, recorded: Mapping[str, str]) -> dict[str, str]:
        code_versions = self.context.assets_def.code_versions_by_key.values()
        document = {
            "profile": self.home.settings.name,
            "code_version": fingerprint(sorted(map(str, code_versions))),
        }
        if self._limits:
            document["limits"] = json.dumps(self._limits, sort_keys=True)
        if self._overrides:
            document["overrides"] = json.dumps(self._overrides, sort_keys=True)
        return document | dict(recorded)

    def _inherited_limits(self) -> dict[str, int]:
        limits: dict[str, int] = {}
        keys = {key for keys in self.context.assets_def.asset_deps.values() for key in keys}
        for name in sorted(key.path[-1] for key in keys):
            if name in TABLES:
                limits |= self._stored_limits(name)
        return limits

    def _stored_limits(self, table: str) -> dict[str, int]:
        every = {"source": list(self.home.settings.sources), "model": list(self.home.settings.models)}
        dimension = TABLES[table].partition
        partitions: list[str | None] = [None]
        if dimension is not None:
            partitions = [self.partition] if self.partition else [*every[dimension]]
        limits: dict[str, int] = {}
        for partition in partitions:
            if self.store.exists(table, partition):
                limits |= json.loads(self.store.metadata(table, partition).get("limits", "{}"))
        return limits

    def _metadata(self, staged: StagedTable, extra: Mapping[str, Any]) -> dict[str, Any]:
        """What the asset page shows, in the order that a person asks for it."""
        metadata: dict[str, Any] = {row_count_key(self.partition): staged.rows}
        if self._limits:
            metadata["trial_limits"] = dg.MetadataValue.json(self._limits)
        if self._overrides:
            metadata["launchpad_overrides"] = dg.MetadataValue.json(self._overrides)
        told = self._notes | dict(extra)
        # A page shows a picture as a link to open: it stands where it is seen.
        pictures = {name: value for name, value in told.items() if _is_picture(value)}
        about = {
            "sample": sample_table(pl.scan_parquet(staged.path)),
            "path": dg.MetadataValue.path(str(staged.path)),
            "size_bytes": dg.MetadataValue.int(staged.path.stat().st_size),
            "dagster/column_lineage": column_lineage(staged.schema),
        }
        # What a stage tells under one of these names holds.
        return metadata | pictures | told | about | told


def is_interrupt(error: BaseException | None) -> bool:
    """Whether a signal ended a DuckDB query, which raises this in place of what the signal's handler raised."""
    return type(error) is RuntimeError and str(error) == "Query interrupted"


def only_partition(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> str:
    """The one partition a run is for; a backfill names it as a range of one.

    Raises Failure for a run over several at once.
    """
    keys = context.op_execution_context.partition_keys
    if len(keys) != 1:
        raise failure(f"this run covers {len(keys)} partitions ({', '.join(keys)}); launch one run for each")
    return str(keys[0])


def sample_table(rows: pl.LazyFrame) -> dg.TableMetadataValue | dg.MarkdownMetadataValue:
    """A few rows from all over a table, what people read first, cells cut to a readable length."""
    total = rows.select(pl.len()).collect().item()
    names = rows.collect_schema().names()
    shown = [name for name in _READ_FIRST if name in names]
    shown += [name for name in names if name not in (*_READ_FIRST, *_NOT_SHOWN)]
    places = sorted({place * total // _SAMPLE_ROWS for place in range(_SAMPLE_ROWS)})
    head = pl.concat([rows.slice(place, 1) for place in places]).select(shown).collect()
    if not head.height:
        return dg.MetadataValue.md("no rows")
    records = [
        dg.TableRecord({name: _cell(value) for name, value in row.items()}) for row in head.iter_rows(named=True)
    ]
    schema = dg.TableSchema([dg.TableColumn(name) for name in head.columns])
    return dg.MetadataValue.table(records, schema=schema)


def failure(message: str) -> dg.Failure:
    """What ends a stage that a retry would not help."""
    return dg.Failure(message, allow_retries=False)


def embedded(picture: bytes, title: str) -> dg.MarkdownMetadataValue:
    """A PNG that the asset page shows. Metadata lies in the instance's database: keep it under 200 kB."""
    return dg.MetadataValue.md(f"![{title}](data:image/png;base64,{base64.b64encode(picture).decode()})")


def _is_picture(value: Any) -> bool:
    return isinstance(value, dg.MarkdownMetadataValue) and (value.md_str or "").startswith("![")


def count_table(rows: pl.DataFrame) -> dg.TableMetadataValue | dg.MarkdownMetadataValue:
    """A small table of counts."""
    if not rows.height:
        return dg.MetadataValue.md("none")
    records = [dg.TableRecord({key: _cell(value) for key, value in row.items()}) for row in rows.iter_rows(named=True)]
    return dg.MetadataValue.table(records, schema=dg.TableSchema([dg.TableColumn(name) for name in rows.columns]))


def _cell(value: Any) -> str | int | float | bool:
    if value is None:
        return ""
    if isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return round(value, 4)
    text = value if isinstance(value, str) else _listed(value)
    return _in_lines(text if len(text) <= _CELL_CHARACTERS else text[: _CELL_CHARACTERS - 1] + "…")


def _listed(value: Any) -> str:
    """A list or structure in a cell: pairs as a person reads them, others as JSON."""
    if isinstance(value, list) and all(isinstance(item, dict) and {"question", "answer"} <= {*item} for item in value):
        return "  ".join(f"{pair['question']} → {pair['answer']}" for pair in value)
    return json.dumps(value, ensure_ascii=False, default=str)


def _in_lines(text: str) -> str:
    """A text whose blanks break only where a line is full."""
    lines = textwrap.wrap(text, _LINE_CHARACTERS, break_long_words=False, break_on_hyphens=False)
    return " ".join(line.replace(" ", "\N{NO-BREAK SPACE}") for line in lines)


def tally_metadata(tally: Tally) -> dict[str, Any]:
    """What asking cost, for the asset page."""
    metadata: dict[str, Any] = {
        "requests_asked": tally.asked,
        "answered_before": tally.answered_before,
        "requests_failed": tally.failed,
        "prompt_tokens": tally.prompt_tokens,
        "completion_tokens": tally.completion_tokens,
    }
    if tally.warnings:
        metadata["ledger_warnings"] = dg.MetadataValue.text("\n".join(tally.warnings))
    return metadata
