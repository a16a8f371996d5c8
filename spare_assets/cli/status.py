"""`spare status`: the funnel of each source, from what is stored."""

from __future__ import annotations

import json
from dataclasses import asdict

import click
from rich.console import Console
from rich.table import Table

from spare_assets.dataset.funnel import FunnelStep, funnel
from spare_assets.settings import Home
from spare_assets.storage.tables import TableStore


def print_status(home: Home, *, as_json: bool) -> None:
    """Print the funnels, for a person or as JSON."""
    if as_json:
        click.echo(json.dumps({source: [asdict(step) for step in steps] for source, steps in _funnels(home).items()}))
        return
    console = Console()
    console.print(f"home {home.path}, profile {home.settings.name}", highlight=False, markup=False)
    print_funnels(home, console)


def print_funnels(home: Home, console: Console) -> None:
    """One table: a row per stage, a column per source; kept of read, and what was dropped."""
    funnels = _funnels(home)
    stages = list(dict.fromkeys(step.table for steps in funnels.values() for step in steps))
    if not stages:
        console.print(f"nothing is materialized yet in {home.path}: run `spare materialize`", highlight=False)
        return
    table = Table(title="Kept of read, per stage: captions up to qa_pairs, then pairs")
    table.add_column("stage", overflow="fold")
    for source in funnels:
        table.add_column(source, justify="right", overflow="fold")
    for stage in stages:
        steps = {source: next((s for s in found if s.table == stage), None) for source, found in funnels.items()}
        table.add_row(stage, *(_cell(step) for step in steps.values()))
    store = TableStore(home.tables)
    limits = {s: store.metadata("captions", s).get("limits") for s in funnels if store.exists("captions", s)}
    console.print(table)
    if trials := sorted(source for source, limit in limits.items() if limit):
        console.print(f"trial runs, not all captions: {', '.join(trials)}", highlight=False)
    if store.exists("spare_dataset"):
        rows = store.rows("spare_dataset")
        console.print(
            f"spare_dataset: {rows:,} samples in {store.path('spare_dataset')}",
            highlight=False,
            soft_wrap=True,
        )
    console.print(f"SQL over every table: {home.catalog}", highlight=False, soft_wrap=True)


def _funnels(home: Home) -> dict[str, list[FunnelStep]]:
    store = TableStore(home.tables)
    return {source: list(funnel(store, source)) for source in home.settings.sources}


def _cell(step: FunnelStep | None) -> str:
    if step is None:
        return "-"
    passed = sum(count for name, count in step.parts.items() if name in (step.kept, "passed unscored"))
    text = f"{passed:,} of {step.read:,}"
    extra = ", ".join(f"{count:,} {name}" for name, count in step.parts.items() if count and name in _SHOWN)
    if not step.adds_up:
        extra = "stale: materialize again"
    return f"{text}\n[dim]{extra}[/dim]" if extra else text


_SHOWN = {"failed", "passed unscored", "with none", "quarantined"}
