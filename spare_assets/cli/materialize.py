"""`spare materialize`: the graph in one process, without a daemon, with progress for a person to read.

The selected assets run in waves: what is by source for each source, then what spans them, then what is by model for
each model, then what spans those. A partition that fails does not stop the others of its wave.
"""

from __future__ import annotations

import difflib
import errno
import itertools
import json
import re
import signal
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any, Literal

import click
import dagster as dg
import yaml
from rich.console import Console

from spare_assets.cli.display import Display
from spare_assets.cli.status import funnel_document, print_funnels
from spare_assets.definitions import build_defs
from spare_assets.orchestration import stage
from spare_assets.orchestration.instance import database_error, end_dead_runs, living_run, open_instance, pool_holder
from spare_assets.orchestration.stage import PARTIAL_INPUTS
from spare_assets.progress import Beat
from spare_assets.settings import Home, SettingsError
from spare_assets.storage.schemas import TABLES

_BARE_NAME = re.compile(r"(?<![\w:\"])(?!(?:and|or|not)\b)([a-z][a-z0-9_]*)(?![\w:\"(])")
"""An asset's name standing alone in a selection, which Dagster wants as `key:"name"`."""


_REASON_TAG, _INTERRUPTED = "dagster/failure_reason", "UNEXPECTED_TERMINATION"
"""How Dagster records a run that a signal ended and nobody cancelled in the UI."""


_POOL_SECONDS = 2.0
_ERROR_CLASS = re.compile(r"^[\w.]+\.(?:\w*Error|Failure): ")
"""The class that Dagster puts before an error's own words."""


Result = Literal["materialized", "failed", "left out", "nothing to do"]


@dataclass(frozen=True, slots=True)
class AssetOutcome:
    """What came of one asset of one partition. `left out`: something it needs failed, or its check did."""

    asset: str
    partition: str | None
    outcome: Result
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that failed, in words. A warning is a check that found something and stops nothing."""

    partition: str | None
    asset: str | None
    check: str | None
    severity: Literal["error", "warning"]
    message: str

    def __str__(self) -> str:
        """One line for a terminal."""
        return ": ".join(part for part in (self.partition, self.asset, self.message) if part)


@dataclass(frozen=True, slots=True)
class Wave:
    """Assets that run together, and the partitions they run for one after the other; None where they have none."""

    kind: str
    keys: tuple[dg.AssetKey, ...]
    partitions: tuple[str | None, ...]


class Materialization:
    """One call of `spare materialize`: a run per wave and partition."""

    def __init__(
        self,
        home: Home,
        selection: str,
        sources: tuple[str, ...] = (),
        *,
        models: tuple[str, ...] = (),
        overrides: tuple[str, ...] = (),
        limit: int | None = None,
        replace_full: bool = False,
        verbose: bool = False,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self.home, self.verbose, self.tags = home, verbose, dict(tags or {})
        self.outcomes: list[AssetOutcome] = []
        self.problems: list[Problem] = []
        self.seconds = 0.0
        self._rows = _RowCounts()
        settings = home.settings
        self._partitions: dict[str, tuple[str | None, ...]] = {
            "source": _chosen("source", tuple(settings.sources), sources),
            "model": _chosen("model", tuple(settings.models), models),
            "": (None,),
        }
        self.defs = build_defs(home=home)
        self.waves = self._waves(self._selected(selection))
        self.config = _overrides(overrides)
        if limit is not None:
            self.config.setdefault("captions", {}).update(limit=limit, replace_full=replace_full)
        self._check_overrides()

    def execute(self, console: Console | None = None, instance: dg.DagsterInstance | None = None) -> bool:
        """Run everything selected, shown on the console. A partition that fails does not stop the others.

        Runs go to the home's own instance, or to one that is open already. True when none failed. What needs an asset
        that failed in every partition is left out; `outcomes` and `problems` tell the rest. Raises KeyboardInterrupt
        when the run was cancelled or told to end; what was done is kept.
        """
        console = console or Console()
        began = time.monotonic()
        # A terminated run must end like an interrupted one, so that it releases what it holds.
        terminated = signal.signal(signal.SIGTERM, signal.default_int_handler)
        stages = sum(len(self._ops(wave.keys)) * len(wave.partitions) for wave in self.waves)
        try:
            with (
                Display(console, stages) as display,
                _listening(display, self._rows),
                nullcontext(instance) if instance else open_instance(self.home) as opened,
            ):
                self._run_waves(opened, display)
        except Exception as error:
            if (reason := database_error(error)) is None:
                raise
            if self.home.settings.instance.postgres:
                raise OSError(errno.EIO, f"does not work any more: {reason}", "instance.postgres") from None
            # What a run did is told by the instance's database first: a disk that is full shows there.
            full = f"cannot be written: {reason}. Is the disk full?"
            raise OSError(errno.EIO, full, str(self.home.dagster)) from None
        finally:
            signal.signal(signal.SIGTERM, terminated)
            self.seconds = time.monotonic() - began
        print_funnels(self.home, console)
        for problem in self.problems:
            style = "red" if problem.severity == "error" else "yellow"
            console.print(str(problem), style=style, highlight=False, markup=False, soft_wrap=True)
        return all(problem.severity != "error" for problem in self.problems)

    def _run_waves(self, instance: dg.DagsterInstance, display: Display) -> None:
        absent: set[dg.AssetKey] = set()
        for wave in self.waves:
            keys = tuple(key for key in wave.keys if not self._needs(key, absent))
            left_out = [key for key in wave.keys if key not in keys]
            absent |= set(wave.keys)
            for number, partition in enumerate(wave.partitions, 1):
                self.outcomes += [AssetOutcome(key.path[-1], partition, "left out") for key in left_out]
                if keys:
                    of = f"{wave.kind} {number} of {len(wave.partitions)}: {partition}" if partition else "over all"
                    display.run(of, len(self._ops(keys)))
                    absent -= self._run(instance, display, keys, partition)
                    display.run_ended()

    def _run(
        self, instance: dg.DagsterInstance, display: Display, keys: tuple[dg.AssetKey, ...], partition: str | None
    ) -> set[dg.AssetKey]:
        """The assets that were materialized; `outcomes` and `problems` grow."""
        self._wait_for_pools(instance, display, keys)
        job = self.defs.resolve_implicit_global_asset_job_def()
        selected = {key.path[-1] for key in keys}
        run_id = str(uuid.uuid4())
        stages = self._ops(keys)
        instance.add_event_listener(run_id, lambda entry: _show(display, stages, entry.dagster_event))
        with living_run(self.home, run_id):
            result = job.execute_in_process(
                run_id=run_id,
                run_config={
                    "ops": {op: {"config": values} for op, values in self.config.items() if op in selected},
                    "loggers": {"console": {"config": {"log_level": "INFO" if self.verbose else "CRITICAL"}}},
                },
                instance=instance,
                partition_key=partition,
                asset_selection=list(keys),
                tags=self.tags,
                raise_on_error=False,
            )
        made = {event.asset_key for event in result.all_events if event.is_step_materialization and event.asset_key}
        self.outcomes += self._outcomes(result, keys, made, partition)
        run = instance.get_run_by_id(result.run_id)
        if run is not None and (
            run.status == dg.DagsterRunStatus.CANCELED or run.tags.get(_REASON_TAG) == _INTERRUPTED
        ):
            raise KeyboardInterrupt
        self.problems += _problems(result, partition)
        return made

    def _outcomes(
        self,
        result: dg.ExecuteInProcessResult,
        keys: tuple[dg.AssetKey, ...],
        made: set[dg.AssetKey],
        partition: str | None,
    ) -> Iterator[AssetOutcome]:
        ended = {event.step_key: event for event in result.all_events if event.is_step_success or event.is_step_failure}
        for key in keys:
            event = ended.get(self._op(key))
            outcome: Result = "left out" if event is None else "failed" if event.is_step_failure else "nothing to do"
            name = key.path[-1]
            if key in made:
                yield AssetOutcome(name, partition, "materialized", self._rows.counted.get((name, partition or "")))
            else:
                yield AssetOutcome(name, partition, outcome)

    def _op(self, key: dg.AssetKey) -> str:
        return str(self.defs.resolve_asset_graph().get(key).assets_def.op.name)

    def _ops(self, keys: tuple[dg.AssetKey, ...]) -> set[str]:
        return {self._op(key) for key in keys}

    def _needs(self, key: dg.AssetKey, absent: set[dg.AssetKey]) -> bool:
        """Whether an asset has any of these among its ancestors; one made of what is there, only these as parents."""
        graph = self.defs.resolve_asset_graph()
        if PARTIAL_INPUTS in (graph.get(key).assets_def.op.tags or {}):
            return graph.get(key).parent_keys <= absent
        return bool(absent & graph.get_ancestor_asset_keys(key))

    def _check_overrides(self) -> None:
        """Raises SettingsError for an override that no selected asset reads, or that does not fit."""
        job = self.defs.resolve_implicit_global_asset_job_def()
        selected = {key.path[-1] for wave in self.waves for key in wave.keys}
        for asset, values in self.config.items():
            if asset not in selected or asset not in {node.name for node in job.nodes}:
                raise SettingsError(
                    f"{asset} is not among the selected assets that take settings, so "
                    f"{', '.join(f'{asset}.{name}' for name in values)} would change nothing "
                    "(a limit is read by `captions`)"
                )
            schema: Any = job.graph.node_dict[asset].definition.config_schema
            known = schema.config_type.fields
            for name, value in values.items():
                if name not in known:
                    raise SettingsError(f"{asset} has no setting {name!r}: use {', '.join(sorted(known)) or 'none'}")
                if isinstance(value, str):
                    raise SettingsError(f"{asset}.{name} takes a number or true/false, not {value!r}")

    def _wait_for_pools(self, instance: dg.DagsterInstance, display: Display, keys: tuple[dg.AssetKey, ...]) -> None:
        """Wait for another run to leave the pools these assets need: here, where signals are heard, not in Dagster."""
        graph = self.defs.resolve_asset_graph()
        for pool in sorted({pool for key in keys for pool in graph.get(key).pools or ()}):
            told = False
            while (holder := pool_holder(instance, pool)) is not None:
                if not told:
                    display.line(f"waiting for pool {pool}, which run {holder[:8]} holds")
                    told = True
                time.sleep(_POOL_SECONDS)
                end_dead_runs(instance, self.home)

    def _selected(self, selection: str) -> set[dg.AssetKey]:
        graph = self.defs.resolve_asset_graph()
        names = {key.path[-1] for key in graph.get_all_asset_keys()}
        for name in _BARE_NAME.findall(selection):
            if name not in names:
                near = difflib.get_close_matches(name, names)
                meant = f"did you mean {' or '.join(near)}?" if near else f"the assets are {', '.join(sorted(names))}"
                raise SettingsError(f"--select {selection!r}: no asset is called {name!r}; {meant}")
        try:
            chosen = dg.AssetSelection.from_string(_BARE_NAME.sub(r'key:"\1"', selection)).resolve(graph)
        except Exception as error:
            raise SettingsError(
                f"--select {selection!r} can't be read ({error}): join names with `or`, as in 'captions or images'; "
                "`captions+` is with all that follows, `+captions` with all before"
            ) from error
        if not chosen:
            raise SettingsError(f"--select {selection!r} matches no asset")
        return {key for assets in graph.assets_defs if assets.keys & chosen for key in assets.keys}

    def _waves(self, selected: set[dg.AssetKey]) -> list[Wave]:
        """The selected assets in as few waves as their order allows, each of one kind of partition."""
        graph = self.defs.resolve_asset_graph()
        kinds = {key: TABLES[key.path[-1]].partition or "" for key in selected}
        waves: list[Wave] = []
        done: set[dg.AssetKey] = set()
        for kind in itertools.cycle(("source", "", "model")):
            if done == selected:
                return waves
            wave: set[dg.AssetKey] = set()
            for key in graph.toposorted_asset_keys:
                if (
                    key in selected - done
                    and kinds[key] == kind
                    and graph.get(key).parent_keys & selected <= done | wave
                ):
                    wave.add(key)
            # Outputs of one stage run together: it waits for what any of them waits for.
            whole = {key for key in wave if graph.get(key).execution_set_asset_keys <= wave | done}
            if whole and self._partitions[kind]:
                waves.append(Wave(kind, tuple(sorted(whole)), self._partitions[kind]))
            done |= whole
        return waves


def print_outcome(run: Materialization, *, interrupted: bool) -> None:
    """Print what came of a run, for a program to read."""
    failed = any(problem.severity == "error" for problem in run.problems)
    document = {
        "profile": run.home.settings.name,
        "home": str(run.home.path),
        "outcome": "interrupted" if interrupted else "failed" if failed else "succeeded",
        "seconds": round(run.seconds, 3),
        "assets": [asdict(outcome) for outcome in run.outcomes],
        "problems": [asdict(problem) for problem in run.problems],
        "funnels": funnel_document(run.home),
    }
    click.echo(json.dumps(document))


def _chosen(kind: str, declared: tuple[str, ...], asked: tuple[str, ...]) -> tuple[str, ...]:
    if unknown := sorted(set(asked) - set(declared)):
        raise SettingsError(f"unknown {kind} {', '.join(unknown)}: the profile declares {', '.join(declared)}")
    return tuple(key for key in declared if not asked or key in asked)


def _overrides(texts: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    config: dict[str, dict[str, Any]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        asset, dot, setting = name.partition(".")
        if not (equals and dot and asset and setting):
            raise SettingsError(f"--set {text!r}: write ASSET.SETTING=VALUE")
        config.setdefault(asset, {})[setting] = yaml.safe_load(value)
    return config


def _problems(result: dg.ExecuteInProcessResult, partition: str | None) -> list[Problem]:
    """What failed, and the checks that found something. Empty for a run without either."""
    problems = []
    for event in result.all_events:
        if event.is_step_failure and event.step_failure_data.error:
            error = event.step_failure_data.error
            # Dagster's wrapping comes off; what our own errors were raised from says less than they do.
            while error.cause is not None and (error.cls_name or "").startswith("Dagster"):
                error = error.cause
            message = _ERROR_CLASS.sub("", error.message.strip())
            problems.append(Problem(partition, event.step_key, None, "error", message))
        elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            if not check.passed:
                severity: Literal["error", "warning"] = (
                    "warning" if check.severity == dg.AssetCheckSeverity.WARN else "error"
                )
                asset, name = check.asset_key.path[-1], check.check_name
                said = f": {check.description}" if check.description else ""
                problems.append(Problem(partition, asset, name, severity, f"check {name} failed{said}"))
    if not result.success and all(problem.severity == "warning" for problem in problems):
        problems.append(Problem(partition, None, None, "error", "the run did not finish"))
    return problems


def _show(display: Display, stages: set[str], event: dg.DagsterEvent | None) -> None:
    """Show what becomes of a run's stages; steps that check their tables are no stages."""
    if event is not None and event.step_key in stages:
        if event.is_step_start:
            display.stage_started(event.step_key)
        elif event.is_step_failure:
            display.stage_failed(event.step_key)


class _RowCounts:
    """Rows of the tables as they are published, by table and partition."""

    interval = float("inf")

    def __init__(self) -> None:
        self.counted: dict[tuple[str, str], int] = {}

    def beat(self, asset: str, source: str, beat: Beat) -> None:
        """Of no interest here."""

    def published(self, table: str, source: str, rows: int) -> None:
        """A table is in place."""
        self.counted[table, source] = rows


@contextmanager
def _listening(*listeners: stage.Listener) -> Iterator[None]:
    stage.listeners.extend(listeners)
    try:
        yield
    finally:
        for listener in listeners:
            stage.listeners.remove(listener)
