"""`spare materialize`: the graph in one process, without a daemon, with progress for a person to read.

The selected assets run in waves: what is by source for each source, then what spans them, then what is by model for
each model, then what spans those. A partition that fails does not stop the others of its wave.
"""

from __future__ import annotations

import itertools
import re
import signal
import time
import uuid
from dataclasses import dataclass
from typing import Any

import dagster as dg
import yaml
from rich.console import Console

from spare_assets.cli.status import print_funnels
from spare_assets.definitions import build_defs
from spare_assets.orchestration import stage
from spare_assets.orchestration.instance import end_dead_runs, living_run, open_instance, pool_holder
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


class Terminal:
    """Shows beats and published tables: a live line on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.status = console.status("") if console.is_terminal else None

    def start(self, text: str) -> None:
        """Say what begins."""
        self.console.print(text, highlight=False)
        if self.status:
            self.status.update(text)
            self.status.start()

    def stop(self) -> None:
        """Remove the live line."""
        if self.status:
            self.status.stop()

    def beat(self, asset: str, source: str, beat: Beat) -> None:
        """Show progress of a stage."""
        if self.status and not beat.finished:
            self.status.update(f"{source} {beat}")
        elif not self.status:
            self.console.print(f"  {beat}", highlight=False, markup=False)

    def published(self, table: str, source: str, rows: int) -> None:
        """Show a table that is now in place."""
        self.console.print(f"  {table:<24} {rows:>12,} rows", highlight=False, markup=False)


@dataclass(frozen=True, slots=True)
class Wave:
    """Assets that run together, and the partitions they run for one after the other; None where they have none."""

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
    ) -> None:
        self.home, self.verbose = home, verbose
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

    def execute(self) -> bool:
        """Run everything selected. A partition that fails does not stop the others; True when none did.

        What needs an asset that failed in every partition is left out. Raises KeyboardInterrupt when the run was
        cancelled or told to end; what was done is kept.
        """
        terminal = Terminal(Console())
        failures: list[str] = []
        # A terminated run must end like an interrupted one, so that it releases what it holds.
        terminated = signal.signal(signal.SIGTERM, signal.default_int_handler)
        stage.listeners.append(terminal)
        try:
            with open_instance(self.home) as instance:
                absent: set[dg.AssetKey] = set()
                for wave in self.waves:
                    keys = tuple(key for key in wave.keys if not self._needs(key, absent))
                    absent |= set(wave.keys)
                    for partition in wave.partitions if keys else ():
                        terminal.start(f"[bold]{partition or 'over all'}[/bold]")
                        made, told = self._run(instance, keys, partition)
                        absent -= made
                        failures += told
        finally:
            terminal.stop()
            stage.listeners.remove(terminal)
            signal.signal(signal.SIGTERM, terminated)
        print_funnels(self.home, terminal.console)
        for failure in failures:
            terminal.console.print(failure, style="red", highlight=False, markup=False, soft_wrap=True)
        return not failures

    def _run(
        self, instance: dg.DagsterInstance, keys: tuple[dg.AssetKey, ...], partition: str | None
    ) -> tuple[set[dg.AssetKey], list[str]]:
        """The assets that were materialized, and a line for each failure."""
        self._wait_for_pools(instance, keys)
        job = self.defs.resolve_implicit_global_asset_job_def()
        selected = {key.path[-1] for key in keys}
        run_id = str(uuid.uuid4())
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
                raise_on_error=False,
            )
        run = instance.get_run_by_id(result.run_id)
        if run is not None and (
            run.status == dg.DagsterRunStatus.CANCELED or run.tags.get(_REASON_TAG) == _INTERRUPTED
        ):
            raise KeyboardInterrupt
        made = {event.asset_key for event in result.all_events if event.is_step_materialization and event.asset_key}
        return made, [] if result.success else _failures(result, partition)

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

    def _wait_for_pools(self, instance: dg.DagsterInstance, keys: tuple[dg.AssetKey, ...]) -> None:
        """Wait for another run to leave the pools these assets need: here, where signals are heard, not in Dagster."""
        graph = self.defs.resolve_asset_graph()
        for pool in sorted({pool for key in keys for pool in graph.get(key).pools or ()}):
            told = False
            while (holder := pool_holder(instance, pool)) is not None:
                if not told:
                    Console().print(f"waiting for pool {pool}, which run {holder[:8]} holds", highlight=False)
                    told = True
                time.sleep(_POOL_SECONDS)
                end_dead_runs(instance, self.home)

    def _selected(self, selection: str) -> set[dg.AssetKey]:
        graph = self.defs.resolve_asset_graph()
        try:
            chosen = dg.AssetSelection.from_string(_BARE_NAME.sub(r'key:"\1"', selection)).resolve(graph)
        except Exception as error:
            raise SettingsError(f"--select {selection!r}: {error}") from error
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
                waves.append(Wave(tuple(sorted(whole)), self._partitions[kind]))
            done |= whole
        return waves


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


def _failures(result: dg.ExecuteInProcessResult, partition: str | None) -> list[str]:
    where = f"{partition}: " if partition else ""
    lines = []
    for event in result.all_events:
        if event.is_step_failure and event.step_failure_data.error:
            error = event.step_failure_data.error
            # Dagster's wrapping comes off; what our own errors were raised from says less than they do.
            while error.cause is not None and (error.cls_name or "").startswith("Dagster"):
                error = error.cause
            lines.append(f"{where}{event.step_key}: {_ERROR_CLASS.sub('', error.message.strip())}")
        elif (
            event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION
            and not event.asset_check_evaluation_data.passed
        ):
            lines.append(f"{where}check {event.asset_check_evaluation_data.check_name} failed")
    return lines or [f"{where}the run did not finish"]
