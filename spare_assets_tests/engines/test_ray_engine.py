"""Workers on a real local Ray: the replies of one process, lazily asked, whatever happens to a worker."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from spare_assets import settings as profile
from spare_assets.cli.materialize import Materialization
from spare_assets.clip.torchvision_shim import install
from spare_assets.engines.build import build_engine
from spare_assets.engines.chat import ChatEngine, ChatMessage, ChatReply, ChatRequest, EngineError
from spare_assets.engines.ray_engine import CHUNK, RayEngine
from spare_assets.engines.rule_based import RuleBasedEngine
from spare_assets.settings import open_home
from spare_assets.storage.tables import content_hash
from spare_assets_tests.engines.small_models import save_text_model
from spare_assets_tests.profiles import sandbox_profile

install()
ray: Any = pytest.importorskip("ray", reason="the optional extra `ray` is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

CAPTION = "A red cup stands to the left of a blue bowl. Behind the bowl is plant {}."
TWO = profile.RayWorkers(workers=2, cpus_per_worker=0.5)


@pytest.fixture(scope="module", autouse=True)
def local_ray() -> Iterator[None]:
    """A Ray of two processors, whatever the machine has."""
    before = signal.getsignal(signal.SIGTERM)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    signal.signal(signal.SIGTERM, before)
    yield
    ray.shutdown()


def keyed(count: int, task: str = "write_pairs") -> Iterator[tuple[str, ChatRequest]]:
    for number in range(count):
        messages = (ChatMessage("system", task), ChatMessage("user", CAPTION.format(number)))
        yield f"key{number}", ChatRequest(messages, 100)


class Slow:
    """The rule-based analyst, so slow that there is time to kill it, telling in a file what it answers and where."""

    def __init__(self, told: Path, seconds: float = 0.01) -> None:
        self._inner, self._told, self._seconds = RuleBasedEngine(), told, seconds
        self.fingerprint = "slow"

    def complete(self, requests: Iterable[tuple[str, ChatRequest]]) -> Generator[ChatReply, None, None]:
        for reply in self._inner.complete(requests):
            time.sleep(self._seconds)
            with self._told.open("a") as file:
                file.write(f"{reply.key} {os.getpid()}\n")
            yield reply

    def close(self) -> None:
        with self._told.open("a") as file:
            file.write(f"closed {os.getpid()}\n")


class Deadly(Slow):
    """An engine that takes its process with it."""

    def complete(self, requests: Iterable[tuple[str, ChatRequest]]) -> Generator[ChatReply, None, None]:
        for number, reply in enumerate(super().complete(requests)):
            yield reply
            if number == 5:
                os.kill(os.getpid(), signal.SIGKILL)


def slow(told: Path, make: type[Slow] = Slow, **settings: Any) -> RayEngine:
    return RayEngine(TWO.model_copy(update=settings), partial(make, told), "slow")


def told_by(told: Path) -> dict[str, list[str]]:
    """Which keys each worker says it answered."""
    said: dict[str, list[str]] = {}
    for line in told.read_text().splitlines():
        key, process = line.split()
        if process != str(os.getpid()):
            said.setdefault(process, []).append(key)
    return said


def test_replies_are_those_of_one_process() -> None:
    declared = profile.RuleBasedEngine(slips=0.2)
    plain, spread = build_engine("a", declared), build_engine("a", declared.model_copy(update={"ray": TWO}))
    assert isinstance(spread, ChatEngine)
    assert spread.fingerprint == plain.fingerprint
    expected = {reply.key: reply.text for reply in plain.complete(keyed(200))}
    replies = list(spread.complete(keyed(200)))
    assert len(replies) == 200
    assert {reply.key: reply.text for reply in replies} == expected
    assert len(list(spread.complete(keyed(10)))) == 10, "an engine that is held is asked again"
    assert list(spread.complete(iter(()))) == []
    spread.close()


def test_both_workers_answer_and_are_freed(tmp_path: Path) -> None:
    engine = slow(tmp_path / "told")
    assert len(list(engine.complete(keyed(8 * CHUNK)))) == 8 * CHUNK
    engine.close()
    said = told_by(tmp_path / "told")
    assert len(said) == 2
    assert all(len(keys) > CHUNK and keys[-1] == "closed" for keys in said.values())
    assert wait_for(lambda: not any(psutil.pid_exists(int(process)) for process in said))


def test_requests_are_pulled_as_they_are_needed(tmp_path: Path) -> None:
    pulled = itertools.count()
    drawn = 0

    def endless() -> Iterator[tuple[str, ChatRequest]]:
        nonlocal drawn
        for drawn in pulled:
            yield from ((f"{drawn}", request) for _, request in keyed(1))

    engine = slow(tmp_path / "told")
    for answered, _ in enumerate(itertools.islice(engine.complete(endless()), 10 * CHUNK), 1):
        assert drawn <= answered + 7 * CHUNK
    engine.close()


def test_a_killed_worker_costs_no_reply_and_doubles_none(tmp_path: Path) -> None:
    told = tmp_path / "told"
    engine = slow(told)
    replies = engine.complete(keyed(12 * CHUNK))
    answered = [next(replies).key for _ in range(2 * CHUNK)]
    victim = next(iter(told_by(told)))
    os.kill(int(victim), signal.SIGKILL)
    answered += [reply.key for reply in replies]
    engine.close()
    assert sorted(answered) == sorted(key for key, _ in keyed(12 * CHUNK))
    said = told_by(told)
    assert len(said) == 3, "another worker took the place"
    answers = [key for keys in said.values() for key in keys if key != "closed"]
    # What the dead one had answered and not handed over is a few replies, not its chunks.
    assert len(answers) - len(set(answers)) <= 5


def test_workers_that_keep_dying_end_the_stage_in_words(tmp_path: Path) -> None:
    engine = slow(tmp_path / "told", Deadly, restarts=2)
    replies = engine.complete(keyed(6 * CHUNK))
    answered: list[ChatReply] = []
    with pytest.raises(EngineError, match=r"3 Ray workers died, more than engines\.slow\.ray\.restarts") as raised:
        answered.extend(replies)
    assert "\n" not in str(raised.value)
    engine.close()


def test_what_an_engine_raises_is_raised_here() -> None:
    engine = build_engine("a", profile.RuleBasedEngine(ray=TWO))
    with pytest.raises(EngineError, match="the rule-based analyst knows the tasks"):
        list(engine.complete(keyed(3, "sing")))
    assert len(list(engine.complete(keyed(3)))) == 3, "and it can be used again"
    engine.close()


def test_a_worker_with_another_model_is_refused(tmp_path: Path) -> None:
    engine = slow(tmp_path / "told")
    engine._here.fingerprint = "another"  # type: ignore[misc]
    with pytest.raises(EngineError, match="another model or another release"):
        list(engine.complete(keyed(1)))
    engine.close()


def test_what_never_fits_is_refused_where_nothing_can_grow() -> None:
    engine = build_engine("a", profile.RuleBasedEngine(ray=TWO.model_copy(update={"gpus_per_worker": 999})))
    with pytest.raises(EngineError, match=r"wants 999 GPU, and Ray has \d+ on this machine"):
        list(engine.complete(keyed(1)))


def test_more_workers_than_fit_wait_and_are_not_waited_for(tmp_path: Path) -> None:
    engine = slow(tmp_path / "told", workers=6, cpus_per_worker=1.0)
    assert len(list(engine.complete(keyed(7 * CHUNK)))) == 7 * CHUNK
    assert len(told_by(tmp_path / "told")) == 2
    engine.close()


def test_a_pass_broken_off_leaves_no_worker(tmp_path: Path) -> None:
    engine = slow(tmp_path / "told")
    replies = engine.complete(keyed(100 * CHUNK))
    next(replies)
    replies.close()
    said = told_by(tmp_path / "told")
    assert wait_for(lambda: not any(psutil.pid_exists(int(process)) for process in said))
    engine.close()


def test_a_language_model_answers_the_same(tmp_path: Path) -> None:
    declared = profile.TransformersEngine(
        model=str(save_text_model(tmp_path / "model")), batch_size=1, device="cpu", dtype="float32"
    )
    requests = [(f"key{n}", ChatRequest((ChatMessage("user", f"Where is the cat {n}?"),), 8)) for n in range(6)]
    plain = build_engine("small", declared, tmp_path / "weights.json")
    one = TWO.model_copy(update={"workers": 1})
    spread = build_engine("small", declared.model_copy(update={"ray": one}), tmp_path / "weights.json")
    assert spread.fingerprint == plain.fingerprint
    expected = {reply.key: reply.text for reply in plain.complete(requests)}
    assert {reply.key: reply.text for reply in spread.complete(requests)} == expected
    spread.close()


def test_a_termination_is_handled_as_before() -> None:
    """Ray puts its own handler in place when it starts; the one that ends a run in order stays."""
    program = """
import signal
from spare_assets import settings as profile
from spare_assets.cli.materialize import Materialization
from spare_assets.clip.torchvision_shim import install
from spare_assets.engines.build import build_engine
from spare_assets_tests.engines.test_ray_engine import keyed
import ray
signal.signal(signal.SIGTERM, signal.default_int_handler)
engine = build_engine("a", profile.RuleBasedEngine(ray=profile.RayWorkers(workers=1)))
assert len(list(engine.complete(keyed(1)))) == 1
assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)


def test_tables_are_those_of_a_plain_run_whatever_dies(tmp_path: Path) -> None:
    """The model stages of a source, plain, and over two workers of which the first to answer is killed."""
    plain = materialized(tmp_path, None)
    killed: list[int] = []
    reaper = threading.Thread(target=kill_one_that_answers, args=(killed,))
    reaper.start()
    spread = materialized(tmp_path, {"workers": 2, "cpus_per_worker": 0.5})
    reaper.join()
    assert len(killed) == 1
    assert spread == plain
    assert len(plain) > 8


def materialized(folder: Path, workers: dict[str, Any] | None) -> dict[str, str]:
    """Content of all tables up to the last check; the home lies at the same path each time, as tables hold paths."""
    file = sandbox_profile(
        folder,
        scenes=80,
        engines={"analyst": {"kind": "rule_based", "slips": 0.3, "asides": 0.3, "ray": workers}},
        synthesis={"filter_engine": "analyst", "generation_engine": "analyst"},
        quality={"verification_engine": "analyst", "alignment": "off"},
    )
    shutil.rmtree(folder / "home", ignore_errors=True)
    home = open_home(str(file), folder / "home").claim()
    source = next(iter(home.settings.sources))
    assert Materialization(home, "+spatial_pairs", (source,)).execute()
    return {path.parent.name: content_hash(path) for path in sorted(home.tables.rglob("*.parquet"))}


def kill_one_that_answers(killed: list[int]) -> None:
    """Kill the first worker that is seen answering; Ray shows in a process's title what it does."""

    def found() -> bool:
        for process in psutil.process_iter(["cmdline"]):
            if (process.info["cmdline"] or [""])[0].startswith("ray::_Worker.answers"):
                process.kill()
                killed.append(process.pid)
                return True
        return False

    wait_for(found, seconds=120)


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True
