"""Starts the training program as processes of its own, and sees to it that none of them outlives its run.

Belongs here: the command, the lifeline that ties every process to the one that started it, and ending them all. What
the program does, and who wants it done, are not known here. Nothing here imports Dagster or a model library.

The lifeline is a named pipe whose writing end the starting process holds open and never writes to. Every process of
the run has a watcher that waits to read from it; its end, which the system brings about however the holder dies, ends
them. It goes by name because `accelerate launch` closes inherited descriptors and gives each rank a session of its
own, which a signal to the group does not reach either.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import NoReturn

import psutil
import yaml

from spare_assets.settings import RecipeSettings
from spare_assets.training.order import TrainingError

LIFELINE_VARIABLE = "SPARE_LIFELINE"
GRACE_SECONDS = 4.0
"""What a process has between the request to end and being killed."""
_KILL_SECONDS = 4.0
_LOOK_SECONDS = 1.0
_ENVIRONMENT = {
    "OMP_WAIT_POLICY": "passive",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
    "HF_HUB_OFFLINE": "1",
}
"""Threads that wait without burning a core, words that arrive at once, and weights from the given folder only."""


def training_command(order_file: Path, recipe: RecipeSettings) -> list[str]:
    """The command that carries out an order: one process, or as many as the recipe's `accelerate_config` says.

    Raises TrainingError where that file cannot be read.
    """
    program = ["-m", "spare_assets.training.program", str(order_file)]
    if recipe.accelerate_config is None:
        return [sys.executable, *program]
    path = Path(recipe.accelerate_config).expanduser()
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise TrainingError(
            f"accelerate_config {path}: cannot be read ({error}). Write one with `accelerate config`."
        ) from error
    if not isinstance(document, dict):
        raise TrainingError(f"accelerate_config {path}: holds no settings. Write one with `accelerate config`.")
    # A free port, so that two models can train on one machine; machines that must find each other keep theirs.
    alone = document.get("num_machines") in (None, 1) and document.get("main_process_port") is None
    port = ["--main_process_port", "0"] if alone else []
    return [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(path.resolve()), *port, *program]


def run_group(
    command: list[str],
    environment: Mapping[str, str],
    tick: Callable[[], None],
    output: Path,
    interval: float = 0.5,
) -> int:
    """Run a command to its end and return its exit code, calling `tick` every `interval` seconds meanwhile.

    `environment` is added to this process's own; what the processes print is appended to the file `output`. When
    `tick` raises, or a signal does, the processes are asked to end, killed if they don't, and the exception goes on:
    within 10 seconds. However this ends, no process of the run is left.
    """
    with _Lifeline() as lifeline, output.open("ab") as printed:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            env={**os.environ, **_ENVIRONMENT, **environment, LIFELINE_VARIABLE: str(lifeline.path)},
            start_new_session=True,
        )
        try:
            while True:
                try:
                    return process.wait(interval)
                except subprocess.TimeoutExpired:
                    tick()
        finally:
            _end(process, lifeline)


def last_lines(output: Path, count: int = 20) -> str:
    """The end of what a run printed, for a message."""
    with output.open("rb") as file:
        file.seek(max(file.seek(0, os.SEEK_END) - 400 * count, 0))
        return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-count:])


def watch_lifeline() -> None:
    """Have this process killed, with its children, when the one that started the run is gone.

    Nothing where no lifeline was given. Called once, first of all, by every process of a run. The watch is kept by a
    process: a thread here would wait for the interpreter's lock, which compiled code may hold for ever.
    """
    path = os.environ.get(LIFELINE_VARIABLE)
    watched = os.getpid()
    if path and os.fork() == 0:
        try:
            _watch(path, watched)
        finally:
            os._exit(0)


def end_process(code: int) -> NoReturn:
    """End this process and its children now: no clean-up, no unwinding."""
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    os._exit(code)


def _watch(path: str, watched: int) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(FileNotFoundError):
        end = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        while _held(end):
            select.select([end], [], [], _LOOK_SECONDS)
            if os.getppid() != watched:
                return
    with contextlib.suppress(OSError):
        # The holder had no time to remove it.
        Path(path).unlink()
        Path(path).parent.rmdir()
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(watched)
        for member in [process, *process.children(recursive=True)]:
            if member.pid != os.getpid():
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.kill()


def _held(end: int) -> bool:
    """Whether someone holds the other end of a pipe that nobody writes to."""
    try:
        os.read(end, 1)
    except BlockingIOError:
        return True
    return False


class _Lifeline:
    """The holder's end. Closed on exec, so that no child of the holder keeps it open."""

    def __enter__(self) -> _Lifeline:
        self.path = Path(tempfile.mkdtemp(prefix="spare-lifeline-")) / "lifeline"
        os.mkfifo(self.path, 0o600)
        reader = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        self._end: int | None = os.open(self.path, os.O_WRONLY)
        os.close(reader)
        return self

    def cut(self) -> None:
        if self._end is not None:
            os.close(self._end)
            self._end = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cut()
        shutil.rmtree(self.path.parent, ignore_errors=True)


def _end(process: subprocess.Popen[bytes], lifeline: _Lifeline) -> None:
    """Leave no process of the run: ask, then cut the lifeline, then kill."""
    try:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    finally:
        lifeline.cut()
        until = time.monotonic() + _KILL_SECONDS
        # Again, for what was started while the others were being killed.
        while (members := _members(str(lifeline.path))) and time.monotonic() < until:
            for member in members:
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.kill()
            if process.poll() is None:
                process.kill()
            psutil.wait_procs(members, timeout=0.5)
        process.wait(_KILL_SECONDS)


def _members(lifeline: str) -> list[psutil.Process]:
    """Every process of a run, whatever its session and whoever its parent: by the lifeline in its environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(LIFELINE_VARIABLE) == lifeline:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found
