"""The graph that is killed: small sources of both kinds, servers that count, homes at one path, an unbroken run.

Every home of a slot has lain at the same path, so that tables which hold paths are equal too. What is done to a run
and what must hold afterwards is not known here.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

import spare_assets
from spare_assets_tests.faults import fault_points

_FORK = multiprocessing.get_context("fork")
_SLOTS = 8
_FIRST_PORT, _PORT_STEPS = 20_000, 700
_LIMIT_SECONDS = 600.0
_PRINTED_SECONDS = 5.0
_LAST = 4_000
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Extent:
    """How much of the graph runs, and over how many captions of each source."""

    name: str
    selection: str
    scenes: int
    with_downloads: bool
    with_models: bool


WHOLE = Extent("whole", "*", 32, with_downloads=True, with_models=True)
"""All stages but training: a folder of captions and images, and captions whose images have addresses."""
FIRST = Extent("first", "+qa_pairs", 12, with_downloads=False, with_models=False)
"""The stages that ask a model for captions and pairs, for a quick look."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A line that a run leaves on its way: a stage entered or left, a fault point reached."""

    event: str
    stage: str
    partition: str
    at: float


@dataclass(frozen=True, slots=True)
class Span:
    """A stage of the unbroken run and how long it took."""

    stage: str
    partition: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Asked:
    """What the servers were asked for so far."""

    replies: int
    pictures: int


class Servers:
    """A chat server and a server of pictures on loopback, in a process of their own, which counts."""

    def __init__(self, pictures: Path, chat_port: int, picture_port: int) -> None:
        self._here, there = _FORK.Pipe()
        self._process = _FORK.Process(target=_serve, args=(there, pictures, chat_port, picture_port), daemon=True)
        self._process.start()
        there.close()
        self._here.recv()

    @property
    def pid(self) -> int:
        """The servers' process."""
        assert self._process.pid is not None
        return self._process.pid

    def asked(self) -> Asked:
        """Counts since the start."""
        self._here.send(None)
        return Asked(*self._here.recv())

    def take(self, seconds: float) -> None:
        """How long an answer takes from now on."""
        self._here.send(seconds)
        self._here.recv()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()


def _serve(orders: Connection, folder: Path, chat_port: int, picture_port: int) -> None:
    from spare_assets_tests.engines.chat_server import Answer, ChatServer
    from spare_assets_tests.orchestration.test_server_runs import reply_of_rules

    pictures, pace = 0, 0.005

    class Pictures(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            nonlocal pictures
            pictures += 1
            time.sleep(pace)
            with suppress(ConnectionError):
                super().do_GET()

        def log_message(self, format: str, *args: object) -> None:
            return

    of_pictures = ThreadingHTTPServer(("127.0.0.1", picture_port), partial(Pictures, directory=str(folder)))
    of_pictures.daemon_threads = True
    Thread(target=of_pictures.serve_forever, daemon=True).start()
    chat = ChatServer(lambda call: Answer(reply_of_rules(call), seconds=pace))
    chat.port = chat_port
    with chat:
        orders.send("ready")
        while True:
            try:
                order = orders.recv()
            except EOFError:
                return
            pace = pace if order is None else order
            orders.send((len(chat.calls), pictures))


class Run:
    """A `spare materialize` in a process and session of its own, forked from this one, and the marks it leaves.

    This process has loaded PyTorch and Dagster but nothing that starts threads, which spares each run ten seconds.
    """

    def __init__(self, arguments: Sequence[str], log: Path, fault: str = "") -> None:
        self.marks: list[Mark] = []
        self.log = log
        self._reader, writer = os.pipe()
        self._rest = b""
        # Another process writes the log: where the run's disk is full, it can still be heard.
        printed, output = os.pipe()
        with log.open("wb") as file:
            self._printer = subprocess.Popen(["cat"], stdin=printed, stdout=file, start_new_session=True)
        os.close(printed)
        self._process = _FORK.Process(target=_materialize, args=(arguments, fault, writer, output))
        self._process.start()
        os.close(writer)
        os.close(output)
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    def next_mark(self) -> Mark | None:
        """The next mark as it comes; None once the run has ended."""
        while b"\n" not in self._rest:
            chunk = os.read(self._reader, 4096)
            if not chunk:
                return None
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        mark = Mark(**json.loads(line))
        self.marks.append(mark)
        return mark

    def reach(self, event: str, stage: str, partition: str) -> bool:
        """Wait until a mark is left; False where the run ends without it."""
        while (mark := self.next_mark()) is not None:
            if (mark.event, mark.stage, mark.partition) == (event, stage, partition):
                return True
        return False

    def signal(self, number: int) -> None:
        """Send a signal to the run's process alone."""
        os.kill(self.pid, number)

    def end(self) -> int:
        """Wait for the end; the exit code, negative where a signal ended it."""
        self._process.join(_LIMIT_SECONDS)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
            raise AssertionError(f"the run hung: {self.told()}")
        while self.next_mark() is not None:
            pass
        os.close(self._reader)
        # What outlives the run holds its output open, and is found where leftovers are looked for.
        with suppress(subprocess.TimeoutExpired):
            self._printer.wait(_PRINTED_SECONDS)
        return self._process.exitcode

    def told(self) -> str:
        """The end of what the run printed."""
        return self.log.read_text(errors="replace")[-_LAST:]

    @property
    def place(self) -> Mark | None:
        """The last mark: where the run was when it ended."""
        return self.marks[-1] if self.marks else None


def _materialize(arguments: Sequence[str], fault: str, marks: int, output: int) -> None:
    os.setsid()
    os.dup2(output, 1)
    os.dup2(output, 2)
    from spare_assets.orchestration.stage import Stage

    def mark(event: str, stage: str = "", partition: str = "") -> None:
        line = {"event": event, "stage": stage, "partition": partition, "at": time.monotonic()}
        os.write(marks, json.dumps(line).encode() + b"\n")

    enter, leave = Stage.__enter__, Stage.__exit__

    def entered(stage: Stage) -> Stage:
        mark("entered", stage.context.op_def.name, stage.partition or "")
        return enter(stage)

    def left(stage: Stage, *error: Any) -> None:
        leave(stage, *error)
        mark("left", stage.context.op_def.name, stage.partition or "")

    Stage.__enter__ = entered  # type: ignore[method-assign]
    Stage.__exit__ = left  # type: ignore[method-assign,assignment]
    if fault:
        fault_points.plant(fault, mark)
    from spare_assets.cli.main import main

    main(["materialize", *arguments], prog_name="spare")


def apart(work: Callable[..., _Result], *arguments: Any) -> _Result:
    """What a function returns, called in a process of its own, which may start threads."""
    here, there = _FORK.Pipe(duplex=False)

    def call() -> None:
        try:
            there.send((work(*arguments), None))
        except BaseException:
            there.send((None, traceback.format_exc()))

    process = _FORK.Process(target=call)
    process.start()
    there.close()
    try:
        result, error = here.recv()
    except EOFError:
        raise AssertionError(f"{work.__name__} died") from None
    finally:
        process.join()
    if error:
        raise AssertionError(error)
    return result  # type: ignore[no-any-return]


class SmallGraph:
    """A slot: a home, the servers it asks, and the unbroken run it is compared with."""

    def __init__(self, folder: Path, extent: Extent, port: int) -> None:
        self.folder, self.extent = folder, extent
        self.home, self.unbroken = folder / "home", folder / "unbroken"
        self.profile = folder / "profile.yaml"
        self.temporary = folder / "tmp"
        self._port = port
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self.temporary, ignore_errors=True)
        self.temporary.mkdir()
        os.environ["TMPDIR"] = str(self.temporary)
        if not self.profile.exists():
            apart(_prepare, folder, extent, port)
        self.servers = Servers(folder / "web" / "images", port, port + 1)

    def make_unbroken(self) -> None:
        """The run that nothing disturbs, once for all cases of this slot."""
        record = self.folder / "unbroken.json"
        if not record.exists():
            self.empty()
            run = self.start()
            assert run.end() == 0, run.told()
            shutil.rmtree(self.unbroken, ignore_errors=True)
            self.home.rename(self.unbroken)
            entered = {(mark.stage, mark.partition): mark.at for mark in run.marks if mark.event == "entered"}
            spans = [
                (mark.stage, mark.partition, mark.at - entered[mark.stage, mark.partition])
                for mark in run.marks
                if mark.event == "left"
            ]
            asked = self.servers.asked()
            record.write_text(json.dumps({"spans": spans, "asked": [asked.replies, asked.pictures]}))
        stored = json.loads(record.read_text())
        self.spans = [Span(*span) for span in stored["spans"]]
        self.needed = Asked(*stored["asked"])

    def empty(self) -> None:
        """Begin with no home at all."""
        shutil.rmtree(self.home, ignore_errors=True)

    def before(self, *stages: str) -> str:
        """Begin with the home of the unbroken run as it was before some stages and all that follows from them.

        Returns the selection that makes the rest.
        """
        self.empty()
        shutil.copytree(self.unbroken, self.home, symlinks=True)
        selection = f"({' or '.join(f'{stage}+' for stage in stages)}) and ({self.extent.selection})"
        apart(_forget, self.profile, self.home, selection)
        return selection

    def start(self, selection: str | None = None, fault: str = "") -> Run:
        """A run of the graph, or of a part of it, in a process of its own."""
        arguments = ["--profile", str(self.profile), "--home", str(self.home)]
        arguments += ["--select", selection or self.extent.selection]
        return Run(arguments, self.folder / "log", fault)

    def span(self, stage: str, partition: str) -> Span:
        """How long a stage took in the unbroken run."""
        return next(span for span in self.spans if (span.stage, span.partition) == (stage, partition))

    def partitions(self, stage: str) -> list[str]:
        """The partitions that a stage ran for."""
        return [span.partition for span in self.spans if span.stage == stage]


@contextmanager
def small_graph(extent: Extent) -> Iterator[SmallGraph]:
    """A slot that no other case uses, with its unbroken run."""
    _load_libraries(extent.with_models)
    version = _code_version()
    root = Path(tempfile.gettempdir()) / f"spare-kills-{version}-{extent.name}"
    root.mkdir(exist_ok=True)
    first_port = _FIRST_PORT + int(version, 16) % _PORT_STEPS * 16 + (0 if extent is WHOLE else _PORT_STEPS * 16)
    first_port %= 32_000
    for number in range(_SLOTS):
        port = first_port + 2 * number
        lock = (root / f"{number}.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _probe(port)
            _probe(port + 1)
        except OSError:
            lock.close()
            continue
        with lock:
            graph = SmallGraph(root / str(number), extent, port)
            try:
                graph.make_unbroken()
                yield graph
            finally:
                graph.servers.close()
                graph.empty()
        return
    raise AssertionError(f"all {_SLOTS} slots in {root} are taken")


def _probe(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))


def _load_libraries(of_models: bool) -> None:
    """Load what every run would load for itself, as long as it starts no threads."""
    import dagster  # noqa: F401

    if of_models:
        from spare_assets.clip.torchvision_shim import install

        install()
        import open_clip  # noqa: F401

    threaded = {"polars", "duckdb", "pyarrow"} & set(sys.modules)
    assert not threaded, f"{threaded} must not be loaded before a fork"


def _code_version() -> str:
    digest = hashlib.sha256()
    package = Path(spare_assets.__file__).parent
    for path in [*sorted(package.rglob("*.py")), *sorted(package.rglob("*.yaml")), Path(__file__)]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _prepare(folder: Path, extent: Extent, port: int) -> None:
    """Write the profile, and the captions and pictures of the source whose images have addresses."""
    import yaml

    from spare_assets.sandbox.corpora import write_corpus
    from spare_assets.settings import PROFILES
    from spare_assets_tests.profiles import sandbox_profile

    sandbox = yaml.safe_load((PROFILES / "sandbox.yaml").read_text(encoding="utf-8"))
    sources = {"docci": sandbox["sources"]["docci"]}
    if extent.with_downloads:
        web = folder / "web"
        write_corpus("docci", web, extent.scenes, 7)
        rows = [json.loads(line) for line in (web / "docci_descriptions.jsonlines").read_text().splitlines()]
        captions = [
            {
                "id": row["example_id"],
                "text": row["description"],
                "url": f"http://127.0.0.1:{port + 1}/{row['image_file']}",
            }
            for row in rows
        ]
        (web / "captions.jsonl").write_text("\n".join(map(json.dumps, captions)) + "\n")
        sources["web"] = {
            "format": "table",
            "files": [str(web / "captions.jsonl")],
            "columns": {"id": "id", "caption": "text", "image": "url"},
            "download_images": True,
            "licence": "CC0-1.0",
            "image_licence": "CC0-1.0",
        }
    sources["docci"]["scenes"]["count"] = extent.scenes
    # Other questions than those of the sources are few: they are not what is killed here.
    for benchmark in sandbox["benchmarks"].values():
        benchmark["scenes"]["count"] = 12
    for dataset in sandbox["analyses"]["vqa"].values():
        dataset["scenes"]["count"] = 40
    written = sandbox_profile(
        folder,
        scenes=extent.scenes,
        name="written",
        sources=sources,
        engines={
            "analyst": {
                "kind": "openai",
                "model": "rules",
                "base_url": f"http://127.0.0.1:{port}/v1",
                "api_key_variable": None,
                "concurrency": 4,
            }
        },
        download={"allow_private_hosts": True, "attempts": 1, "concurrency": 2},
        benchmarks=sandbox["benchmarks"],
        analyses=sandbox["analyses"],
    )
    written.rename(folder / "profile.yaml")


def _forget(profile: Path, home: Path, selection: str) -> None:
    """Remove the tables of a selection, the replies its stages asked for and the images they fetched."""
    from spare_assets.settings import open_home

    opened = open_home(str(profile), home)
    from spare_assets.cli.materialize import Materialization

    forgotten = {key.path[-1] for wave in Materialization(opened, selection).waves for key in wave.keys}
    for table in forgotten:
        shutil.rmtree(opened.tables / table, ignore_errors=True)
    for table, ledgers in LEDGERS.items():
        if table in forgotten:
            for folder in opened.completions.glob(ledgers):
                shutil.rmtree(folder)
    if "images" in forgotten:
        shutil.rmtree(opened.images, ignore_errors=True)


LEDGERS = {
    "spatial_captions": "judge_caption/*",
    "qa_pairs": "write_pairs/*",
    "spatial_pairs": "judge_pair/[!_]*",
    "generation_ablation": "*/_ablations",
}
"""Where the replies lie that a stage asks for."""
