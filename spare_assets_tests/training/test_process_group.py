"""Processes of a run: started, told of, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from spare_assets.settings import RecipeSettings
from spare_assets.training.order import TrainingError
from spare_assets.training.process_group import LIFELINE_VARIABLE, last_lines, run_group, training_command

STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.SIG_IGN)
# A child in a session of its own, as a launcher's ranks are.
subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"],
                 start_new_session=True)
print("ready", flush=True)
time.sleep(60)
"""
WATCHING = """
import ctypes, multiprocessing, os, sys, time
from spare_assets.training.process_group import watch_lifeline
watch_lifeline()
if __name__ == "__main__":
    multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,)).start()
    open(sys.argv[1], "w").write(os.environ["SPARE_LIFELINE"])
    # Compiled code that waits and keeps the interpreter's lock.
    ctypes.PyDLL(None).sleep(60)
"""
PARENT = """
import signal, sys
from pathlib import Path
from spare_assets.training.process_group import run_group
# A test run in the background of a script hands on that SIGINT is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
run_group([sys.executable, "-c", sys.argv[1], sys.argv[2]], {}, lambda: None, Path(sys.argv[3]))
"""


def recipe(**changes: object) -> RecipeSettings:
    return RecipeSettings.model_validate({"base": "sandbox", "learning_rate": 1e-3, "batch_size": 8, **changes})


def members(mark: str) -> list[psutil.Process]:
    """Processes with this in the value of the lifeline's variable."""
    found = []
    for process in psutil.process_iter():
        try:
            if mark in process.environ().get(LIFELINE_VARIABLE, ""):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def wait_for(path: Path, text: str = "", seconds: float = 30) -> str:
    until = time.monotonic() + seconds
    while not (path.exists() and text in path.read_text() and path.read_text()):
        assert time.monotonic() < until, f"{path} never held {text!r}"
        time.sleep(0.02)
    return path.read_text()


def test_a_run_gives_its_exit_code_and_its_words(tmp_path: Path) -> None:
    ticks: list[float] = []
    code = "import os, sys, time; time.sleep(.5); print('said', os.environ['ADDED']); sys.exit(7)"
    output = tmp_path / "out.txt"
    command = [sys.executable, "-c", code]
    assert run_group(command, {"ADDED": "äöü"}, lambda: ticks.append(time.monotonic()), output, 0.05) == 7
    assert len(ticks) >= 3
    assert last_lines(output) == "said äöü"


def test_last_lines_are_the_last(tmp_path: Path) -> None:
    output = tmp_path / "out.txt"
    output.write_text("".join(f"line {number}\n" for number in range(10_000)))
    assert last_lines(output, 2) == "line 9998\nline 9999"


def test_what_a_run_leaves_running_is_ended(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    code = (
        "import os, subprocess, sys; open(sys.argv[1], 'w').write(os.environ['SPARE_LIFELINE']);"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True)"
    )
    assert run_group([sys.executable, "-c", code, str(seen)], {}, lambda: None, tmp_path / "out.txt") == 0
    assert not members(seen.read_text())
    assert not Path(seen.read_text()).parent.exists()


@pytest.mark.parametrize("reason", [KeyboardInterrupt, ValueError])
def test_a_cancel_ends_a_group_that_does_not_listen(tmp_path: Path, reason: type[BaseException]) -> None:
    output = tmp_path / "out.txt"
    lifelines: list[str] = []
    cancelled_at: list[float] = []

    def tick() -> None:
        if "ready" in output.read_text():
            own = psutil.Process().children(recursive=True)
            lifelines.extend({process.environ()[LIFELINE_VARIABLE] for process in own})
            assert len(members(lifelines[0])) == 2
            cancelled_at.append(time.monotonic())
            raise reason

    with pytest.raises(reason):
        run_group([sys.executable, "-c", STUBBORN], {}, tick, output, interval=0.05)
    assert time.monotonic() - cancelled_at[0] < 10
    assert not members(lifelines[0])


def test_a_signal_cancels_too(tmp_path: Path) -> None:
    output = tmp_path / "out.txt"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, STUBBORN, "-", str(output)], stderr=subprocess.DEVNULL)
    wait_for(output, "ready")
    (child,) = psutil.Process(parent.pid).children()
    lifeline = child.environ()[LIFELINE_VARIABLE]
    parent.send_signal(signal.SIGINT)
    assert parent.wait(10) != 0
    assert not members(lifeline)


def test_killing_the_parent_ends_all(tmp_path: Path) -> None:
    told = tmp_path / "lifeline"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, WATCHING, str(told), str(tmp_path / "out.txt")])
    lifeline = wait_for(told)
    assert len(members(lifeline)) == 3, "the process, its child, and the watcher"
    parent.kill()
    parent.wait()
    until = time.monotonic() + 5
    while members(lifeline) and time.monotonic() < until:
        time.sleep(0.05)
    assert not members(lifeline)
    assert not Path(lifeline).parent.exists()


def test_the_watch_ends_with_the_watched(tmp_path: Path) -> None:
    lifeline = tmp_path / "lifeline"
    os.mkfifo(lifeline)
    held = os.open(lifeline, os.O_RDWR)
    code = "from spare_assets.training.process_group import watch_lifeline; watch_lifeline(); print('gone')"
    subprocess.run([sys.executable, "-c", code], env={**os.environ, LIFELINE_VARIABLE: str(lifeline)}, check=True)
    until = time.monotonic() + 5
    while members(str(lifeline)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not members(str(lifeline))
    assert lifeline.exists(), "another's lifeline is left alone"
    os.close(held)


def test_one_process_needs_no_launcher(tmp_path: Path) -> None:
    order = tmp_path / "order.json"
    assert training_command(order, recipe()) == [sys.executable, "-m", "spare_assets.training.program", str(order)]


@pytest.mark.parametrize(
    ("named", "port"), [({}, True), ({"main_process_port": 29501}, False), ({"num_machines": 2}, False)]
)
def test_several_processes_are_launched(tmp_path: Path, named: dict[str, int], port: bool) -> None:
    config = tmp_path / "accelerate.yaml"
    config.write_text(yaml.safe_dump({"num_processes": 2, **named}))
    command = training_command(tmp_path / "order.json", recipe(accelerate_config=str(config)))
    assert command[1:5] == ["-m", "accelerate.commands.launch", "--config_file", str(config)]
    assert ("--main_process_port" in command) is port
    assert command[-3:] == ["-m", "spare_assets.training.program", str(tmp_path / "order.json")]


@pytest.mark.parametrize("text", [None, "[", "just words", b"\xff\xfe"])
def test_an_unreadable_configuration_is_named(tmp_path: Path, text: str | bytes | None) -> None:
    config = tmp_path / "accelerate.yaml"
    if text is not None:
        config.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(TrainingError, match=r"accelerate_config .*accelerate\.yaml"):
        training_command(tmp_path / "order.json", recipe(accelerate_config=str(config)))
