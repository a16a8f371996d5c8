"""`spare plan`: what each stage will read, write, ask and need, before it runs."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import psutil
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from spare_assets.analyses.plan import SUMS, Machine, Plan, StagePlan, plan
from spare_assets.analyses.plan_figures import ORIGINS, Figure, Origin
from spare_assets.cli.doctor import has_gpu
from spare_assets.settings import Home

_MARKS: dict[Origin, str] = {
    "measured": "",
    "counted": "",
    "settings": "",
    "forecast": "f",
    "paper": "p",
    "assumption": "a",
}
_TIMED = ("captions", "images", "question_embeddings", "image_embeddings")
"""Stages whose runs record how many rows they did a second, and that ask no engine."""
_RATE = "items_per_second"
_COUNTS = ("rows_in", "rows_out", "to_ask", "answered")


def print_plan(home: Home, *, as_json: bool) -> None:
    """Print the plan of a home, for a person or as JSON."""
    made = plan(home, this_machine(home), recorded_rates(home))
    if as_json:
        click.echo(json.dumps(plan_document(home, made)))
        return
    console = Console()
    models = [stage for stage in made.stages if stage.owner in home.settings.models]
    for owner in made.owners:
        if owner not in home.settings.models:
            console.print(_table(owner, made.of(owner)))
        elif models and owner == models[0].owner:
            console.print(_table("models", models, of_models=True))
    console.print(_totals(made))
    used = {figure.origin for stage in made.stages if not stage.done for figure in stage.figures().values()}
    marks = [f"{mark}: {ORIGINS[origin]}" for origin, mark in _MARKS.items() if mark and origin in used]
    console.print("; ".join(["without a mark: measured here, counted or set", *marks]), highlight=False, markup=False)
    if statements := made.statements():
        console.print("Taken from the paper, or assumed:", highlight=False)
        for statement in statements:
            console.print(f"  - {statement}", highlight=False, markup=False)
    for warning in made.warnings:
        console.print(warning, style="yellow", highlight=False, markup=False, soft_wrap=True)


def plan_document(home: Home, made: Plan) -> dict[str, Any]:
    """The plan for a program to read: every figure with its value, origin, note and bounds."""
    return {
        "profile": home.settings.name,
        "home": str(home.path),
        "stages": [asdict(stage) for stage in made.stages],
        "totals": {name: None if figure is None else asdict(figure) for name, figure in made.totals().items()},
        "statements": made.statements(),
        "warnings": list(made.warnings),
    }


def this_machine(home: Home) -> Machine:
    """What is free and at hand here."""
    standing: Path = next(folder for folder in (home.path, *home.path.parents) if folder.exists())
    return Machine(shutil.disk_usage(standing).free, psutil.virtual_memory().total, has_gpu())


def recorded_rates(home: Home) -> dict[tuple[str, str], float]:
    """Rows a second of the last runs of this home, by stage and source, from what they recorded with their tables."""
    if not (home.dagster / "dagster.yaml").is_file():
        return {}
    import dagster as dg

    from spare_assets.orchestration.instance import prepare_instance

    prepare_instance(home)
    found = {}
    with dg.DagsterInstance.get() as instance:
        for stage in _TIMED:
            for source in home.settings.sources:
                wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(stage), asset_partitions=[source])
                for record in instance.fetch_materializations(wanted, limit=1).records:
                    event = record.asset_materialization
                    if event is not None and isinstance(rate := event.metadata.get(_RATE), dg.FloatMetadataValue):
                        found[stage, source] = rate.value or 0.0
    return found


def _table(title: str, stages: list[StagePlan], *, of_models: bool = False) -> Table:
    table = Table(title=escape(title), title_justify="left")
    table.add_column("checkpoint" if of_models else "stage", overflow="fold")
    for column in (
        "rows in",
        "rows out",
        "to ask",
        "answered",
        "prompt tok.",
        "reply tok.",
        "to write",
        "time",
        "memory",
    ):
        table.add_column(column, justify="right", overflow="fold")
    for stage in stages:
        state = "[green]done[/green]" if stage.done else _seconds(stage.seconds, stage.on)
        memory = "" if stage.done else _bytes(stage.memory) + (" GPU" if stage.gpu_memory and stage.memory else "")
        table.add_row(
            escape(stage.owner if of_models else stage.stage),
            *(_count(getattr(stage, name)) for name in _COUNTS),
            _count(stage.prompt_tokens),
            _count(stage.completion_tokens),
            _bytes(stage.bytes_to_write),
            state,
            memory,
        )
    return table


def _totals(made: Plan) -> Table:
    table = Table(title="all that remains", title_justify="left", show_header=False)
    sums = made.totals()
    names = ("requests to ask", "prompt and training tokens", "reply tokens", "to write")
    for name, key in zip(names, SUMS, strict=True):
        table.add_row(name, (_bytes if key == "bytes_to_write" else _count)(sums[key]))
    for place in ("cpu", "gpu", "server"):
        if (seconds := sums[f"{place}_seconds"]) is not None:
            table.add_row({"cpu": "on this machine", "gpu": "on a GPU", "server": "at servers"}[place],
                          _seconds(seconds, place))  # fmt: skip
    return table


def _count(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    for size, letter in ((1e9, "G"), (1e7, "M")):
        if figure.value >= size:
            return f"{figure.value / (1e6 if letter == 'M' else size):,.1f}{letter}{_mark(figure)}"
    return f"{figure.value:,.0f}{_mark(figure)}"


def _bytes(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if figure.value >= size:
            return f"{figure.value / size:,.1f} {unit}{_mark(figure)}"
    return f"{figure.value:,.0f} B{_mark(figure)}"


def _seconds(figure: Figure | None, place: str) -> str:
    if figure is None:
        return "-"
    where = " GPU" if place == "gpu" else ""
    for size, unit in ((3600, "h"), (60, "min")):
        if figure.value >= size:
            return f"{figure.value / size:,.1f} {unit}{where}{_mark(figure)}"
    return f"{figure.value:,.1f} s{where}{_mark(figure)}"


def _mark(figure: Figure) -> str:
    return f" {mark}" if (mark := _MARKS[figure.origin]) else ""
