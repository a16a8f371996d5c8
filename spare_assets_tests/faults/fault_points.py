"""Named places inside a run at which it kills itself: a patch of the product each, put in within the run's process.

Each leaves a mark where it is and then dies by SIGKILL in the middle of what its name says.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any


class Die:
    """Kills this process, after damage where there is any; a no-op outside the stage."""

    def __init__(self, stage: str, mark: Callable[..., None]) -> None:
        self.inside = not stage
        self._stage, self._mark = stage, mark

    def __call__(self, damage: Callable[[], object] = lambda: None) -> None:
        if self.inside:
            damage()
            self._mark("point", self._stage, "")
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class FaultPoint:
    """A place: the stage during which the run gets there, and the patch. No stage: before any of them."""

    stage: str
    patch: Callable[[Die], None]
    first: bool = False
    """Reached within the first stages that ask a model."""


def plant(name: str, mark: Callable[..., None]) -> None:
    """Patch this process so that it dies at a named point."""
    point = POINTS[name]
    die = Die(point.stage, mark)
    point.patch(die)
    if not point.stage:
        return
    from spare_assets.orchestration.stage import Stage

    enter = Stage.__enter__

    def entered(stage: Stage) -> Stage:
        die.inside = stage.context.op_def.name == point.stage
        return enter(stage)

    Stage.__enter__ = entered  # type: ignore[method-assign]


def _before(owner: Any, name: str, when: Callable[..., bool] = lambda *args, **named: True) -> Callable[[Die], None]:
    """A patch that dies on the way into a function."""

    def patch(die: Die) -> None:
        original = getattr(owner(), name)

        def patched(*args: Any, **named: Any) -> Any:
            if when(*args, **named):
                die()
            return original(*args, **named)

        setattr(owner(), name, patched)

    return patch


def _after(owner: Any, name: str, when: Callable[..., bool] = lambda *args, **named: True) -> Callable[[Die], None]:
    """A patch that dies on the way out of a function."""

    def patch(die: Die) -> None:
        original = getattr(owner(), name)

        def patched(*args: Any, **named: Any) -> Any:
            result = original(*args, **named)
            if when(*args, **named):
                die()
            return result

        setattr(owner(), name, patched)

    return patch


def _tables() -> Any:
    from spare_assets.storage import tables

    return tables


def _store() -> Any:
    return _tables().TableStore


def _stage() -> Any:
    from spare_assets.orchestration.stage import Stage

    return Stage


def _ledger() -> Any:
    from spare_assets.storage import ledger

    return ledger


def _catalog() -> Any:
    from spare_assets.storage import catalog

    return catalog


def _instance() -> Any:
    from spare_assets.orchestration import instance

    return instance


def _corpora() -> Any:
    from spare_assets.sandbox import corpora

    return corpora


def _downloader() -> Any:
    from spare_assets.captions.download import Downloader

    return Downloader


def _half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _half_a_table(die: Die) -> None:
    writer = _tables().TableWriter
    sink = writer.sink

    def sunk(self: Any, rows: Any) -> None:
        sink(self, rows)
        die(lambda: _half(self._temporary))

    writer.sink = sunk


def _half_a_reply(after: int) -> Callable[[Die], None]:
    def patch(die: Die) -> None:
        import json
        from dataclasses import asdict

        writer = _ledger().LedgerWriter
        append = writer.append
        count = 0

        def appended(self: Any, *completions: Any) -> None:
            nonlocal count
            count += die.inside * len(completions)
            if count > after:
                lines = "".join(json.dumps(asdict(completion)) + "\n" for completion in completions).encode()
                die(lambda: os.write(self._descriptor, lines[: len(lines) // 2]))
            append(self, *completions)

        writer.append = appended

    return patch


def _half_a_rewrite(die: Die) -> None:
    """Inside the Parquet file that a finished ledger is rewritten as."""
    parquet = _ledger().pq.ParquetWriter
    close = parquet.close

    def closed(self: Any) -> None:
        close(self)
        written = [path for path in _open_temporaries() if "/completions/" in path]
        if written:
            die(lambda: _half(Path(written[0])))

    parquet.close = closed


def _open_temporaries() -> list[str]:
    home = Path(os.environ["SPARE_HOME"])
    return [str(path) for path in home.rglob(".*.tmp") if f".{os.getpid()}." in path.name]


def _rename_to(part: str, *, after: bool) -> Callable[[Die], None]:
    """A patch that dies before or after a rename to a path that matches."""
    patch = _after if after else _before

    def renames_there(path: Path, target: Any) -> bool:
        return fnmatch(str(target), part)

    return patch(lambda: Path, "replace", renames_there)


def _half_a_download(die: Die) -> None:
    downloader = _downloader()
    body = downloader._body
    count = 0

    async def received(self: Any, response: Any, host: Any, target: Path) -> Any:
        nonlocal count
        kind = await body(self, response, host, target)
        count += die.inside
        if count > 5:
            die(lambda: _half(target))
        return kind

    downloader._body = received


def _half_a_folder(die: Die) -> None:
    """Inside the folder of pictures that the sandbox renders."""
    corpora = _corpora()
    write = corpora._write_image
    count = 0

    def wrote(*args: Any) -> None:
        nonlocal count
        write(*args)
        count += 1
        if count > 5:
            die()

    corpora._write_image = wrote


def _event_storage() -> Any:
    from dagster._core.storage.event_log import SqliteEventLogStorage

    return SqliteEventLogStorage


def _is_materialization(storage: Any, event: Any) -> bool:
    return event.dagster_event is not None and event.dagster_event.event_type_value == "ASSET_MATERIALIZATION"


def _half_an_export(die: Die) -> None:
    assets = _publication()
    write = assets.write_export

    def wrote(form: Any, batches: Any, folder: Path, **named: Any) -> Any:
        export = write(form, batches, folder, **named)
        written = [path for path in folder.rglob("*") if path.is_file()]
        die(lambda: _half(max(written, key=lambda path: path.stat().st_size)))
        return export

    assets.write_export = wrote


def _encoder() -> Any:
    from spare_assets.clip.encoder import ClipEncoder

    return ClipEncoder


def _asking() -> Any:
    from spare_assets.engines import asking

    return asking


def _publication() -> Any:
    from spare_assets.publication import assets

    return assets


POINTS: dict[str, FaultPoint] = {
    "home half claimed": FaultPoint("", _rename_to("*/profile.json", after=False), first=True),
    "instance file half written": FaultPoint("", _rename_to("*/dagster.yaml", after=False), first=True),
    "instance being opened": FaultPoint("", _before(_instance, "end_dead_runs"), first=True),
    "corpus half rendered": FaultPoint("captions", _half_a_folder, first=True),
    "sorted on disk, not yet read": FaultPoint("captions", _before(_tables, "read_batches"), first=True),
    "inside a table write": FaultPoint("spatial_captions", _half_a_table, first=True),
    "between write and publish": FaultPoint("spatial_captions", _before(_store, "publish"), first=True),
    "between two tables of one publication": FaultPoint(
        "spatial_captions", _rename_to("*/tables/*.parquet", after=True), first=True
    ),
    "table sealed, not in place": FaultPoint(
        "spatial_captions", _rename_to("*/tables/*.parquet", after=False), first=True
    ),
    "tables in place, folder not synced": FaultPoint("qa_pairs", _before(_tables, "sync"), first=True),
    "published, not yet reported": FaultPoint("qa_pairs", _before(_stage, "refresh_catalog"), first=True),
    "reported, event not yet stored": FaultPoint(
        "spatial_captions", _before(_event_storage, "store_event", _is_materialization), first=True
    ),
    "inside the catalog": FaultPoint(
        "deduplicated_pairs", _before(_catalog, "_create", lambda connection, view, query: view.name == "qa_pairs")
    ),
    "catalog written, not in place": FaultPoint("grounded_pairs", _rename_to("*/spare.duckdb", after=False)),
    "inside a ledger line": FaultPoint("spatial_captions", _half_a_reply(7), first=True),
    "inside a ledger flush": FaultPoint("qa_pairs", _before(lambda: _ledger().os, "fsync"), first=True),
    "inside the ledger's rewrite": FaultPoint("spatial_captions", _half_a_rewrite, first=True),
    "ledger rewritten, lines not yet removed": FaultPoint(
        "qa_pairs", _rename_to("*/completions/*", after=True), first=True
    ),
    "first reply of the ablations": FaultPoint("generation_ablation", _half_a_reply(3)),
    "replies stored, answers not yet read": FaultPoint("spatial_pairs", _before(_asking, "read_batches")),
    "pool slot claimed, step not begun": FaultPoint("", _after(_event_storage, "claim_concurrency_slot"), first=True),
    "inside a pool step": FaultPoint("question_embeddings", _after(_encoder, "encode_texts")),
    "inside a download": FaultPoint("images", _half_a_download),
    "download written, not in place": FaultPoint("images", _rename_to("*/home/images/*", after=False)),
    "inside an export": FaultPoint("llava_export", _half_an_export),
    "export written, not in place": FaultPoint("parquet_export", _before(_publication, "publish_folder")),
    "card in place, table not": FaultPoint("dataset_card", _after(_publication, "publish_folder")),
    "page written, not in place": FaultPoint("review_page", _rename_to("*/review.html", after=False)),
    "leaderboard half in place": FaultPoint("leaderboard", _rename_to("*/leaderboard.md", after=True)),
}
