"""The engine that spreads requests over workers of a Ray cluster, each holding an engine of its own; an optional extra.

A worker's engine pulls its requests from this process as it would pull them from a stage, and each reply is handed
back as it comes: continuous batching goes on across chunks, what is held stays within the engines' own bounds, and a
worker that dies loses only what it had not answered, which another is given. Ray Data would do neither: its input is
written out beforehand, and a block comes back whole, so that a death would have answered requests asked again.

Which machines there are, and how Ray is set up on them, is not known here.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any, Literal

from spare_assets import settings as profile
from spare_assets.engines.chat import ChatEngine, ChatReply, ChatRequest, EngineError

CHUNK = 32
"""Requests handed to a worker at once: the unit in which it asks for more, not a batch of its engine."""
_CLOSING_SECONDS = 20.0
_MORE: Literal["more"] = "more"

log = logging.getLogger(__name__)

Asked = tuple[str, ChatRequest]


class RayEngine:
    """Answers with workers on Ray; a ChatEngine with the fingerprint of the engine that they hold.

    `make` builds that engine, here for its fingerprint alone, and in every worker. `name` is its key in the profile.
    """

    def __init__(self, cluster: profile.RayWorkers, make: Callable[[], ChatEngine], name: str) -> None:
        self._cluster, self._make, self._name = cluster, make, name
        self._here = make()
        self._workers: list[_Place] = []

    @property
    def fingerprint(self) -> str:
        """That of the engine the workers hold: a ledger filled on one machine is gone on with on many."""
        return self._here.fingerprint

    def complete(self, requests: Iterable[Asked]) -> Generator[ChatReply, None, None]:
        """One reply per request, as the workers give them.

        Requests of a worker that dies are given to another. Raises EngineError where Ray is not installed, cannot be
        reached or has no room for a worker, where workers die more often than `restarts`, and what an engine raises.
        """
        source = iter(requests)
        todo = deque(islice(source, CHUNK * self._cluster.workers))
        if not todo:
            return
        ray = self._connected()
        self._workers = self._workers or [_Place() for _ in range(self._cluster.workers)]
        deaths = 0
        try:
            while True:
                if not todo:
                    todo.extend(islice(source, CHUNK))
                self._set_to_work(ray, todo)
                working = {place.said: place for place in self._workers if place.said is not None}
                if not todo and not any(place.began for place in working.values()):
                    break  # who has not begun by now waits for room on the cluster and isn't needed any more
                for said in ray.wait(list(working), num_returns=1)[0]:
                    place = working[said]
                    try:
                        heard = ray.get(next(said))
                    except StopIteration:
                        place.said, place.began = None, False
                        continue
                    except ray.exceptions.RayTaskError as error:
                        raise self._explained(error) from error
                    except ray.exceptions.RaySystemError as error:
                        raise EngineError(f"engine {self._name}: Ray stopped ({_line(error)}); start again") from error
                    except ray.exceptions.RayError as error:  # the worker, its node, or what it said is gone
                        deaths += 1
                        if deaths > self._cluster.restarts:
                            raise EngineError(
                                f"engine {self._name}: {deaths} Ray workers died, more than engines.{self._name}.ray."
                                f"restarts allows; the last: {_line(error)}. What was answered is kept; start again"
                            ) from error
                        log.warning("engine %s: a Ray worker died, another takes over: %s", self._name, _line(error))
                        todo.extend(place.under_way.items())
                        place.end(ray)
                        continue
                    place.began = True
                    for item in heard:
                        if isinstance(item, ChatReply):
                            place.under_way.pop(item.key, None)
                            yield item
                        else:
                            if not todo:
                                todo.extend(islice(source, CHUNK))
                            chunk = [todo.popleft() for _ in range(min(CHUNK, len(todo)))]
                            place.under_way.update(chunk)
                            place.worker.give.options(concurrency_group="giving").remote(chunk)
        finally:
            for place in self._workers:
                if place.said is not None:
                    place.end(ray)

    def close(self) -> None:
        """End the workers, so that the cluster has its GPUs back. The engine can be used again."""
        if (ray := sys.modules.get("ray")) is not None and self._workers and ray.is_initialized():
            closing = [place.worker.close.remote() for place in self._workers if place.worker is not None]
            if closing:
                ray.wait(closing, num_returns=len(closing), timeout=_CLOSING_SECONDS)
            for place in self._workers:
                place.end(ray)
        self._workers = []
        self._here.close()

    def _set_to_work(self, ray: Any, todo: deque[Asked]) -> None:
        """Set as many of the idle workers to work as there are chunks waiting; a place that is empty gets a worker."""
        cluster = self._cluster
        idle = [place for place in self._workers if place.said is None]
        for place in idle[: -(-len(todo) // CHUNK)]:
            if place.worker is None:
                hired = ray.remote(
                    num_cpus=cluster.cpus_per_worker,
                    num_gpus=cluster.gpus_per_worker,
                    scheduling_strategy="SPREAD",
                    concurrency_groups={"giving": 1},
                )(_Worker)
                place.worker = hired.remote(self._make, self.fingerprint, self._name)
            place.said = place.worker.answers.remote()

    def _connected(self) -> Any:
        """Ray, connected to the cluster, or started on this machine."""
        # Ray reports on its use over the network unless told not to.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError as error:
            raise EngineError(
                f"engines.{self._name}.ray: Ray cannot be imported ({error}); pip install spare-assets[ray], or leave "
                "the setting out"
            ) from error
        address = self._cluster.address or os.environ.get("RAY_ADDRESS")
        if not ray.is_initialized():
            # Ray puts an own handler in place of the one by which a terminated run ends in order.
            terminated = signal.getsignal(signal.SIGTERM)
            try:
                here = {} if address else {"include_dashboard": False}
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **here)
            except Exception as error:  # whatever a library raises here, there is no cluster
                raise EngineError(
                    f"engines.{self._name}.ray: no Ray at {address or 'this machine'} ({_line(error)}); mend `address` "
                    "or RAY_ADDRESS, or start Ray there: ray start --head"
                ) from error
            finally:
                if threading.current_thread() is threading.main_thread():
                    signal.signal(signal.SIGTERM, terminated)
        there = ray.cluster_resources()
        for resource, wanted in (("CPU", self._cluster.cpus_per_worker), ("GPU", self._cluster.gpus_per_worker)):
            if wanted > there.get(resource, 0):
                # A cluster may grow when asked to; this machine will not.
                problem = f"a worker wants {wanted:g} {resource}, and Ray has {there.get(resource, 0):g}"
                if address is None:
                    raise EngineError(f"engines.{self._name}.ray: {problem} on this machine; lower the setting")
                log.warning("engine %s: %s; waiting for it to grow", self._name, problem)
        return ray

    def _explained(self, error: Any) -> BaseException:
        """What a worker's engine raised, as it would have been raised here."""
        cause = error.cause
        return cause if isinstance(cause, EngineError) else EngineError(f"engine {self._name}: {_line(error)}")


@dataclass(slots=True)
class _Place:
    """A worker's place: who holds it, what it was given and has not answered, whether it has begun this pass."""

    worker: Any = None
    said: Any = None
    under_way: dict[str, ChatRequest] = field(default_factory=dict)
    began: bool = False

    def end(self, ray: Any) -> None:
        """End the worker at once, if it lives, and leave the place empty."""
        if self.worker is not None:
            ray.kill(self.worker)
        self.worker = self.said = None
        self.under_way, self.began = {}, False


class _Worker:
    """What runs on the cluster: an engine, fed through a queue."""

    def __init__(self, make: Callable[[], ChatEngine], fingerprint: str, name: str) -> None:
        self._engine = make()
        self._fingerprint, self._name = fingerprint, name
        self._given: SimpleQueue[list[Asked]] = SimpleQueue()

    def give(self, chunk: list[Asked]) -> None:
        """Requests to answer; none ends the pass. Called once for every `more`, until it ends."""
        self._given.put(chunk)

    def answers(self) -> Iterator[list[ChatReply | Literal["more"]]]:
        """Replies as they come, and a word for every chunk that the engine wants."""
        said: SimpleQueue[ChatReply | Literal["more"] | BaseException | None] = SimpleQueue()
        threading.Thread(target=self._answer, args=(said,), daemon=True).start()
        while True:
            items = [said.get()]
            try:
                while len(items) < CHUNK:
                    items.append(said.get_nowait())
            except Empty:
                pass
            told = [item for item in items if isinstance(item, ChatReply | str)]
            if told:
                yield told
            if isinstance(items[-1], BaseException):
                raise items[-1]
            if items[-1] is None:
                return

    def close(self) -> None:
        """Free what the engine holds."""
        self._engine.close()

    def _answer(self, said: SimpleQueue[ChatReply | Literal["more"] | BaseException | None]) -> None:
        try:
            if self._engine.fingerprint != self._fingerprint:
                raise EngineError(
                    f"engine {self._name}: a Ray worker on {os.uname().nodename} has another model or another release "
                    "of this package than the process that asks; give all machines the same"
                )
            for reply in self._engine.complete(self._pulled(said)):
                said.put(reply)
            said.put(None)
        except BaseException as error:  # it is raised where the replies are read
            said.put(error)

    def _pulled(self, said: SimpleQueue[ChatReply | Literal["more"] | BaseException | None]) -> Iterator[Asked]:
        """Requests as the engine wants them; the next chunk is asked for when one begins."""
        said.put(_MORE)
        while chunk := self._given.get():
            said.put(_MORE)
            yield from chunk


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:500]
