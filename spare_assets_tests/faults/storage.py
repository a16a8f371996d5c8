"""Faults of the disk and of those who share it: full, read-only, damaged behind our back, two runs at once.

Faults of a process that dies belong to `kills`.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from spare_assets_tests.faults.cases import Case, Outcome
from spare_assets_tests.faults.small_graph import FIRST, WHOLE, Extent, Run, SmallGraph, apart, small_graph

if TYPE_CHECKING:
    from spare_assets_tests.faults.aftermath import Aftermath

_FULL_AT = 1_000
"""Bytes that a file may still grow to once the disk is full."""
_WRITING = {
    FIRST: ("captions", "spatial_captions", "qa_pairs"),
    WHOLE: (
        *("question_embeddings", "deduplicated_pairs", "grounded_pairs", "images", "image_embeddings"),
        *("aligned_pairs", "spatial_pairs", "rejected_pairs", "spare_dataset", "dataset_statistics", "parquet_export"),
        *("webdataset_export", "dataset_card", "review_page", "leaderboard"),
    ),
}
"""Stages that write: tables, ledgers, images, exports, pages."""


def disk_full(extent: Extent, stage: str, folder: Path) -> Outcome:
    """No file grows beyond a kilobyte from the moment a stage begins; then there is room again."""
    with small_graph(extent) as graph:
        selection = graph.before(stage)
        before = apart(_tables, graph.home)
        run = graph.start(selection)
        assert run.reach("entered", stage, graph.partitions(stage)[0]), f"{stage} was not reached: {run.told()}"
        resource.prlimit(run.pid, resource.RLIMIT_FSIZE, (_FULL_AT, resource.RLIM_INFINITY))
        assert run.end() == 1, f"the run did not fail: {run.told()}"
        _told_in_words(run.told(), str(graph.home), "disk")
        changed = {name for name, digest in apart(_tables, graph.home).items() if before.get(name, digest) != digest}
        assert not changed, f"tables changed: {changed}"
        return _to_the_end(graph, selection, f"at {stage}")


def read_only(folder: Path) -> Outcome:
    """A home nobody may write to: it can be looked at, and a run says what is wrong before it does anything."""
    with small_graph(FIRST) as graph:
        selection = graph.before("qa_pairs")
        with _not_writable(graph.home):
            told = _command(graph, "materialize", "--select", selection)
            assert told.returncode not in (0, None), told.stdout
            _told_in_words(told.stdout, str(graph.home))
            status = _command(graph, "status")
            assert status.returncode == 0, status.stdout
        return _to_the_end(graph, selection, "read-only")


def damaged_tables(extent: Extent, folder: Path) -> Outcome:
    """Every table cut in half, and with one bit changed: nobody reads it; its own asset mends it."""
    with small_graph(extent) as graph:
        graph.empty()
        shutil.copytree(graph.unbroken, graph.home, symlinks=True)
        tried = apart(_damage_each, graph.home)
        victim = graph.home / "tables" / "spatial_captions" / "source=docci.parquet"
        content = bytearray(victim.read_bytes())
        content[len(content) // 2] ^= 1
        victim.write_bytes(content)
        run = graph.start(_within(graph, "qa_pairs+"))
        assert run.end() == 1, run.told()
        _told_in_words(run.told(), "source=docci.parquet: damaged", "materialize its asset again")
        outcome = _to_the_end(graph, _within(graph, "spatial_captions+"), "mended by its asset")
        return Outcome(tried=tried + outcome.tried, lost=outcome.lost, note=outcome.note)


def ledger_cut(folder: Path) -> Outcome:
    """The file of a run that died is cut in half: its whole lines count, the rest is set aside and asked again."""
    with small_graph(FIRST) as graph:
        selection = graph.before("qa_pairs")
        graph.servers.take(0.1)
        run = graph.start(selection)
        assert run.reach("entered", "qa_pairs", "docci"), run.told()
        ledger = _ledger_with(graph.home / "completions" / "write_pairs" / "docci", lines=6)
        run.signal(signal.SIGKILL)
        run.end()
        graph.servers.take(0.005)
        whole = ledger.read_bytes()
        lines = whole.split(b"\n")[:-1]
        torn = len(b"\n".join(lines[:-1])) + len(lines[-1]) // 2
        ledger.write_bytes(whole[:torn])
        asked = graph.servers.asked().replies
        outcome = _to_the_end(graph, selection, "cut in half", "1 damaged lines set aside")
        again = graph.servers.asked().replies - asked
        expected = apart(_stored_replies, graph.unbroken, "write_pairs/docci") - (len(lines) - 1)
        assert again == expected, f"{again} requests, {expected} had no whole line"
        assert ledger.with_suffix(".damaged").read_bytes() == whole[:torn].rpartition(b"\n")[2]
        return outcome


def finished_ledger_cut(folder: Path) -> Outcome:
    """A finished ledger file is cut in half: it is set aside with a warning, and its requests are asked again."""
    with small_graph(FIRST) as graph:
        graph.empty()
        shutil.copytree(graph.unbroken, graph.home, symlinks=True)
        (ledger,) = (graph.home / "completions" / "judge_caption" / "docci").glob("*.parquet")
        stored = apart(_stored_replies, graph.home, "judge_caption/docci")
        ledger.write_bytes(ledger.read_bytes()[: ledger.stat().st_size // 2])
        asked = graph.servers.asked().replies
        outcome = _to_the_end(
            graph, _within(graph, "spatial_captions+"), "finished ledger cut", "set aside; its requests"
        )
        assert graph.servers.asked().replies - asked == stored
        return outcome


def two_runs(extent: Extent, folder: Path) -> Outcome:
    """Two runs of the same partitions at once: both end, no reply is paid for twice, the tables are those of one."""
    with small_graph(extent) as graph:
        graph.empty()
        asked = graph.servers.asked()
        first = graph.start()
        assert first.reach("entered", "captions", "docci"), first.told()
        log = graph.folder / "second.log"
        arguments = ["--profile", str(graph.profile), "--home", str(graph.home), "--select", extent.selection]
        second = Run(arguments, log)
        codes = first.end(), second.end()
        assert codes == (0, 0), f"{codes}: {first.told()}\n{second.told()}"
        paid = graph.servers.asked().replies - asked.replies
        outcome = _equal(graph, "both ended")
        stored = apart(_stored_replies, graph.home, "*/*")
        assert paid == stored, f"{paid} requests for {stored} replies"
        return Outcome(tried=2, lost=outcome.lost, note=outcome.note)


def two_homes(folder: Path) -> Outcome:
    """Two homes on one machine at once: neither waits for the other nor sees anything of it."""
    with small_graph(FIRST) as graph:
        graph.empty()
        other = folder / "home"
        first = graph.start()
        arguments = ["--profile", str(graph.profile), "--home", str(other), "--select", FIRST.selection]
        second = Run(arguments, folder / "log")
        codes = first.end(), second.end()
        assert codes == (0, 0), f"{codes}: {first.told()}\n{second.told()}"
        outcome = _equal(graph, "beside another home")
        assert apart(_contents, other) == apart(_contents, graph.unbroken)
        return Outcome(tried=2, lost=outcome.lost, note=outcome.note)


def catalog_held(folder: Path) -> Outcome:
    """A client holds `spare.duckdb` open for writing: the run goes on, the client keeps what it sees."""
    with small_graph(FIRST) as graph:
        selection = graph.before("qa_pairs")
        client = subprocess.Popen(
            [sys.executable, "-c", _CLIENT, str(graph.home / "spare.duckdb")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert client.stdin is not None and client.stdout is not None
        before = client.stdout.readline()
        assert int(before) > 0
        outcome = _to_the_end(graph, selection, "held by a client")
        client.stdin.write("\n")
        client.stdin.close()
        assert client.stdout.readline() == before, "the client reads on"
        assert client.wait(20) == 0
        return outcome


_CLIENT = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1])
for _ in range(2):
    print(connection.execute("SELECT count(*) FROM captions").fetchone()[0], flush=True)
    sys.stdin.readline()
"""


def _within(graph: SmallGraph, selection: str) -> str:
    return f"({selection}) and ({graph.extent.selection})"


def _to_the_end(graph: SmallGraph, selection: str, note: str, said: str = "") -> Outcome:
    run = graph.start(selection)
    assert run.end() == 0, run.told()
    if said:
        stored = apart(_said, graph.profile, graph.home)
        assert said in stored, f"nothing was said of {said!r}"
    return _equal(graph, note)


def _equal(graph: SmallGraph, note: str) -> Outcome:
    found = apart(_aftermath, graph.profile, graph.home, graph.unbroken)
    assert not found.slots_taken, f"pool slots taken: {found.slots_taken}"
    left = [name for name in found.left_over if not name.endswith(".damaged")]
    assert not left, f"left over: {left}"
    assert not found.files_that_differ, f"files differ: {found.files_that_differ}"
    lost = sum(found.rows_that_differ.values())
    assert not lost, f"rows differ: {found.rows_that_differ}"
    return Outcome(lost=lost, note=note)


def _aftermath(profile: Path, home: Path, unbroken: Path) -> Aftermath:
    # Not at the top: it brings Polars along, which must not be loaded where runs are forked.
    from spare_assets_tests.faults.aftermath import aftermath

    return aftermath(profile, home, unbroken)


def _told_in_words(told: str, *words: str) -> None:
    assert "Traceback" not in told, f"a bare traceback: {told}"
    missing = [word for word in words if word.lower() not in told.lower()]
    assert not missing, f"nothing was said of {missing}: {told}"


def _tables(home: Path) -> dict[str, str]:
    from spare_assets.storage.tables import content_hash

    return {str(path): content_hash(path) for path in sorted((home / "tables").glob("*/[!.]*.parquet"))}


def _contents(home: Path) -> dict[str, str]:
    return {str(Path(name).relative_to(home)): digest for name, digest in _tables(home).items()}


def _damage_each(home: Path) -> int:
    """Damage every table in two ways and see that neither is read; the number of times."""
    from spare_assets.storage.tables import TableError, TableStore

    def cut(content: bytes) -> bytes:
        return content[: len(content) // 2]

    def flipped(content: bytes) -> bytes:
        place = len(content) // 3
        return content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]

    tried = 0
    for path in sorted((home / "tables").glob("*/[!.]*.parquet")):
        whole = path.read_bytes()
        partition = None if path.stem == "all" else path.stem.partition("=")[2]
        for damage in (cut, flipped):
            path.write_bytes(damage(whole))
            try:
                TableStore(home / "tables").scan(path.parent.name, partition)
            except TableError as error:
                assert str(path) in str(error), error
            else:
                raise AssertionError(f"{path} was read though it is {damage.__name__}")
            tried += 1
        path.write_bytes(whole)
    return tried


def _stored_replies(home: Path, ledgers: str) -> int:
    import polars as pl

    files = (home / "completions").glob(f"{ledgers}/*.parquet")
    return sum(pl.read_parquet(path).filter(pl.col("error").is_null()).height for path in files)


def _said(profile: Path, home: Path) -> str:
    """Everything that materializations of this home said of ledgers."""
    import dagster as dg

    from spare_assets.orchestration.instance import prepare_instance
    from spare_assets.settings import open_home

    prepare_instance(open_home(str(profile), home))
    with dg.DagsterInstance.get() as instance:
        records = instance.fetch_materializations(dg.AssetKey("qa_pairs"), limit=20).records
        records = [*records, *instance.fetch_materializations(dg.AssetKey("spatial_captions"), limit=20).records]
        warnings = [
            record.asset_materialization.metadata.get("ledger_warnings")
            for record in records
            if record.asset_materialization
        ]
        return json.dumps([str(warning.value) for warning in warnings if warning])


def _ledger_with(folder: Path, lines: int) -> Path:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for path in folder.glob("*.jsonl"):
            if path.read_bytes().count(b"\n") >= lines:
                return path
        time.sleep(0.02)
    raise AssertionError(f"{folder} never held {lines} replies")


@contextmanager
def _not_writable(home: Path) -> Iterator[None]:
    paths = [home, *home.rglob("*")]
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in paths}
    for path, mode in modes.items():
        path.chmod(mode & ~0o222)
    try:
        yield
    finally:
        for path, mode in modes.items():
            path.chmod(mode)


def _command(graph: SmallGraph, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A `spare` command that permissions hold for, also where the superuser runs it."""
    bound = ["setpriv", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []
    home = ["--profile", str(graph.profile), "--home", str(graph.home)]
    return subprocess.run(
        [*bound, sys.executable, "-m", "spare_assets.cli.main", *arguments, *home],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )


def _case(fault: str, stage: str, name: str, check: Callable[[Path], Outcome], *, short: bool = False) -> Case:
    return Case(fault, stage, name, check, short)


CASES = [
    *(
        _case("disk full", stage, "no room", partial(disk_full, extent, stage), short=stage == "qa_pairs")
        for extent, stages in _WRITING.items()
        for stage in stages
    ),
    _case("read-only home", "any", "not writable", read_only, short=True),
    _case("table damaged", "any", "the first tables", partial(damaged_tables, FIRST), short=True),
    _case("table damaged", "any", "all tables", partial(damaged_tables, WHOLE)),
    _case("ledger cut in half", "qa_pairs", "of a run that died", ledger_cut, short=True),
    _case("ledger cut in half", "spatial_captions", "finished", finished_ledger_cut),
    _case("two runs at once", "first stages", "same partitions", partial(two_runs, FIRST), short=True),
    _case("two runs at once", "all stages", "same partitions", partial(two_runs, WHOLE)),
    _case("two homes at once", "first stages", "one machine", two_homes, short=True),
    _case("catalog held open", "qa_pairs", "by a SQL client", catalog_held, short=True),
]
