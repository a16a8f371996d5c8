"""`spare status`: the funnel of each source, from what is stored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import click
import polars as pl
from rich.console import Console
from rich.table import Table

from spare_assets.dataset.funnel import FunnelStep, funnel
from spare_assets.quality.verdicts import CHECKS, drop_reasons
from spare_assets.settings import HOME_RECORD, Home
from spare_assets.storage.schemas import TABLES
from spare_assets.storage.tables import TableStore, open_tables


def print_status(home: Home, *, as_json: bool) -> None:
    """Print the funnels, for a person or as JSON."""
    if as_json:
        click.echo(json.dumps(funnel_document(home)))
        return
    console = Console()
    console.print(f"home {home.path}, profile {home.settings.name}", highlight=False, markup=False, soft_wrap=True)
    if not any(_funnels(home).values()):
        console.print(_nothing_yet(home), highlight=False, markup=False, soft_wrap=True)
    print_funnels(home, console)


def funnel_document(home: Home) -> dict[str, list[dict[str, Any]]]:
    """The funnels for a program to read: the steps of each source."""
    return {source: [asdict(step) for step in steps] for source, steps in _funnels(home).items()}


def print_funnels(home: Home, console: Console) -> None:
    """One table: a row per stage, a column per source; kept of read, and what was dropped. Nothing of an empty home."""
    funnels = _funnels(home)
    stages = list(dict.fromkeys(step.table for steps in funnels.values() for step in steps))
    if not stages:
        return
    table = Table(title="Kept of read, per stage: captions up to qa_pairs, then pairs")
    table.add_column("stage", overflow="fold")
    for source in funnels:
        table.add_column(source, justify="right", overflow="fold")
    for stage in stages:
        steps = {source: next((s for s in found if s.table == stage), None) for source, found in funnels.items()}
        table.add_row(stage, *(_cell(step) for step in steps.values()))
    store = open_tables(home)
    limits = {s: store.metadata("captions", s).get("limits") for s in funnels if store.exists("captions", s)}
    console.print(table)
    for warning in (*_quarantined(store, funnels), *_without_picture(store, funnels), *_emptied(store, funnels)):
        console.print(warning, style="yellow", highlight=False, markup=False, soft_wrap=True)
    if trials := sorted(source for source, limit in limits.items() if limit):
        console.print(f"trial runs, not all captions: {', '.join(trials)}", highlight=False)
    if store.exists("spare_dataset"):
        rows = store.rows("spare_dataset")
        console.print(
            f"spare_dataset: {rows:,} samples in {store.path('spare_dataset')}",
            highlight=False,
            soft_wrap=True,
        )
    if exported := [name.removesuffix("_export") for name in TABLES if name.endswith("_export") and store.exists(name)]:
        console.print(f"exports: {', '.join(exported)} in {home.exports}", highlight=False, soft_wrap=True)
    for line in _models(home, store):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    console.print(f"SQL over every table: {home.catalog}", highlight=False, soft_wrap=True)


def _models(home: Home, store: TableStore) -> Iterator[str]:
    """A line for each model that has a record."""
    for key in home.settings.models:
        if store.exists("checkpoint", key):
            record = store.scan("checkpoint", key).collect().row(0, named=True)
            line = f"checkpoint {key}: {record['kind']}"
            if record["kind"] == "trained":
                line += f", {record['steps']:,} steps"
                if record["held_out_loss"] is not None:
                    line += f", held-out loss {record['held_out_loss']:.3f}"
            yield f"{line}, {record['adapter'] or record['path'] or record['url']}"


def _nothing_yet(home: Home) -> str:
    """What to do about a home without tables: perhaps the run was of another profile, or in another folder."""
    records = home.path.parent.glob(f"*/{HOME_RECORD}")
    others = sorted(record.parent.name for record in records if record.parent != home.path)
    beside = f" Homes beside it: {', '.join(others)}; --profile chooses one." if others else ""
    return (
        f"nothing is materialized yet in {home.path}: run `spare materialize`.{beside} "
        "A home lies in the folder where its run was started; from elsewhere, name it with --home."
    )


def _quarantined(store: TableStore, funnels: dict[str, list[FunnelStep]]) -> Iterator[str]:
    """A line for each source with rows that could not be read, with the first of them."""
    for source in funnels:
        if store.exists("quarantined_captions", source) and (rows := store.rows("quarantined_captions", source)):
            file, line, reason = (
                store.scan("quarantined_captions", source).select("file", "line", "reason").head(1).collect().row(0)
            )
            yield f"{source}: {rows:,} not read, first {file}, line {line}: {reason} (table quarantined_captions)"


def _without_picture(store: TableStore, funnels: dict[str, list[FunnelStep]]) -> Iterator[str]:
    """A line for each source with images that are missing or unfit, with the first of them."""
    for source in funnels:
        if not store.exists("images", source):
            continue
        unfit = store.scan("images", source).filter(pl.col("status") != "ok")
        if count := unfit.select(pl.len()).collect().item():
            image, detail = unfit.select("image_id", "detail").head(1).collect().row(0)
            of = f"{count:,} of {store.rows('images', source):,}"
            yield f"{source}: {of} images can't be used, first {image}: {detail} (table images, `status`)"


def _emptied(store: TableStore, funnels: dict[str, list[FunnelStep]]) -> Iterator[str]:
    """A line for each stage that read something and kept nothing, with the commonest reason and the best score."""
    verdicts_of = {"spatial_captions": "caption_verdicts"} | dict(CHECKS.values())
    for source, steps in funnels.items():
        for step in steps:
            if not step.read or step.passed:
                continue
            line = f"{source}: {step.table} kept none of {step.read:,} {step.unit}"
            if table := verdicts_of.get(step.table):
                verdicts = store.scan(table, source)
                reasons = drop_reasons(verdicts, most=1)["reason"].to_list()
                best, cut = verdicts.select(pl.col("score").max(), pl.col("threshold").max()).collect().row(0)
                line += f"; most often: {reasons[0]}" if reasons else ""
                line += f"; best score {best:.2f} against {cut:.2f}" if best is not None and cut is not None else ""
            yield line


def _funnels(home: Home) -> dict[str, list[FunnelStep]]:
    store = open_tables(home)
    return {source: list(funnel(store, source)) for source in home.settings.sources}


def _cell(step: FunnelStep | None) -> str:
    if step is None:
        return "-"
    text = f"{step.passed:,} of {step.read:,}"
    extra = ", ".join(f"{count:,} {name}" for name, count in step.parts.items() if count and name in _SHOWN)
    if not step.adds_up:
        extra = "stale: materialize again"
    return f"{text}\n[dim]{extra}[/dim]" if extra else text


_SHOWN = {"failed", "passed unscored", "with none", "quarantined"}
