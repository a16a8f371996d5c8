"""`spare doctor`: what a profile needs to run here, what is missing, and how to get it. No model is loaded."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from spare_assets.captions.files import SourceFile, source_files
from spare_assets.captions.generic_table import table_rows
from spare_assets.captions.records import SourceError
from spare_assets.sandbox import SANDBOX_CLIP, SANDBOX_VLM
from spare_assets.settings import (
    DATA_VARIABLE,
    SHIPPED_CLIP,
    SHIPPED_VLM,
    Home,
    OpenAIEngine,
    ReleasedModel,
    RuleBasedEngine,
    SettingsError,
    SourceSettings,
    TrainedModel,
    TransformersEngine,
    VllmEngine,
)
from spare_assets.synthesis.prompts import load_prompts

Verdict = Literal["ok", "note", "missing"]
_STYLES = {"ok": "green", "note": "yellow", "missing": "red"}
_LOW_DISK_BYTES = 20 * 10**9
_SANDBOX_DISK_BYTES = 10**9
_LOOKED_INTO_BYTES = 50 * 10**6


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `missing` means that a run would fail."""

    subject: str
    verdict: Verdict
    detail: str


def findings(home: Home) -> Iterator[Finding]:
    """Everything a run of this profile depends on, in the order in which a run meets it."""
    yield Finding("Python", "ok", f"{sys.version.split()[0]} at {sys.executable}")
    yield from _disk(home)
    yield from _stores(home)
    yield Finding(
        "data folder",
        "ok" if home.data.is_dir() else "note",
        f"{home.data} (set {DATA_VARIABLE} to change it)",
    )
    for key, source in home.settings.sources.items():
        yield from _source(home, key, source)
    yield from _gpu(home)
    for name in home.settings.engines:
        yield _engine(home, name)
    yield _clip(home)
    yield from _training(home)
    try:
        load_prompts(home.settings.synthesis.prompts)
        yield Finding("prompts", "ok", home.settings.synthesis.prompts or "shipped")
    except SettingsError as error:
        yield Finding("prompts", "missing", str(error))


def print_findings(home: Home, *, as_json: bool) -> bool:
    """Print all findings; True when nothing is missing."""
    found = list(findings(home))
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in found]))
    else:
        table = Table(title=f"profile {home.settings.name}, home {home.path}", show_lines=False)
        for column in ("what", "state", "detail"):
            table.add_column(column, overflow="fold")
        for finding in found:
            style = _STYLES[finding.verdict]
            state = f"[{style}]{finding.verdict}[/{style}]"
            table.add_row(escape(finding.subject), state, escape(finding.detail))
        Console().print(table)
    return all(finding.verdict != "missing" for finding in found)


def _disk(home: Home) -> Iterator[Finding]:
    standing = next(folder for folder in (home.path, *home.path.parents) if folder.exists())
    free = shutil.disk_usage(standing).free
    needed = _SANDBOX_DISK_BYTES if _all_rendered(home) else _LOW_DISK_BYTES
    yield Finding("disk", "ok" if free >= needed else "note", f"{free / 1e9:,.0f} GB free under {home.path}")
    if not os.access(standing, os.W_OK):
        yield Finding("home", "missing", f"{standing} cannot be written: choose another home with --home")


def _stores(home: Home) -> Iterator[Finding]:
    """Where runs and tables are kept, where that is not the home."""
    if (postgres := home.settings.instance.postgres) is not None:
        from spare_assets.orchestration.instance import check_usable

        try:
            check_usable(home.settings.instance)
            yield Finding("instance", "ok", f"PostgreSQL, {postgres}; not connected to")
        except SettingsError as error:
            yield Finding("instance", "missing", str(error))
    if (address := home.settings.tables) is not None:
        from spare_assets.storage.objects import Bucket
        from spare_assets.storage.tables import TableError

        try:
            Bucket(address).check()
            yield Finding("tables", "ok", f"{address}; the bucket answers")
        except TableError as error:
            yield Finding("tables", "missing", str(error))


def _source(home: Home, key: str, source: SourceSettings) -> Iterator[Finding]:
    known = source.licence != "unknown"
    yield Finding(
        f"licence {key}", "ok" if known else "note", source.licence if known else f"unknown: set sources.{key}.licence"
    )
    if source.scenes is not None:
        yield Finding(f"source {key}", "ok", f"{source.scenes.count:,} scenes, rendered when first read")
        return
    try:
        found = source_files(key, source, home)
        size = sum(file.path.stat().st_size for file in found)
        if source.format == "table":
            _check_columns(found, source)
        files = "1 file" if len(found) == 1 else f"{len(found)} files"
        yield Finding(
            f"source {key}", "ok", f"{files}, {f'{size / 1e6:,.1f} MB' if size >= 1e6 else f'{size:,} bytes'}"
        )
    except SourceError as error:
        yield Finding(f"source {key}", "missing", str(error))
    for image_set, folder in source.image_folders.items():
        path = home.resolve(folder)
        if path.is_dir():
            yield Finding(f"images {key}/{image_set}", "ok", str(path))
        elif not source.download_images and home.settings.quality.alignment == "required":
            yield Finding(
                f"images {key}/{image_set}",
                "missing",
                f"no folder {path} (sources.{key}.image_folders), and quality.alignment requires images",
            )
        else:
            instead = (
                "images with a URL are downloaded, others will be missing"
                if source.download_images
                else "its images will be missing"
            )
            yield Finding(f"images {key}/{image_set}", "note", f"no folder {path}: {instead}")
    if not source.image_folders and not source.download_images:
        yield Finding(f"images {key}", "note", f"neither sources.{key}.image_folders nor download_images is set")


def _check_columns(files: list[SourceFile], source: SourceSettings) -> None:
    """Raises SourceError where a table lacks a column that the settings name, told by its header or first row."""
    for file in files:
        if file.path.stat().st_size <= _LOOKED_INTO_BYTES or file.path.suffix != ".json":  # JSON is read as a whole
            next(table_rows(file, source), None)


def _gpu(home: Home) -> Iterator[Finding]:
    if has_gpu():
        yield Finding("GPU", "ok", "an NVIDIA driver is installed")
    elif any(isinstance(e, TransformersEngine | VllmEngine) for e in home.settings.engines.values()):
        yield Finding("GPU", "note", "none found: models run on the CPU, which is slow for the full corpora")
    else:
        yield Finding("GPU", "ok", "none found, none needed by this profile")


def has_gpu() -> bool:
    """Whether an NVIDIA driver is installed."""
    return bool(shutil.which("nvidia-smi")) or Path("/proc/driver/nvidia").exists()


def _engine(home: Home, name: str) -> Finding:
    engine = home.settings.engines[name]
    subject = f"engine {name}"
    if isinstance(engine, RuleBasedEngine):
        if engine.slips and not _all_rendered(home):
            return Finding(
                subject, "note", f"makes mistakes on purpose, for the sandbox: set engines.{name}.slips to 0"
            )
        return Finding(subject, "ok", "rule-based, needs nothing")
    if isinstance(engine, OpenAIEngine):
        key = engine.api_key_variable
        if key and not os.environ.get(key):
            return Finding(subject, "note", f"{engine.base_url}: environment variable {key} is not set")
        return Finding(subject, "ok", f"{engine.model} at {engine.base_url}")
    if isinstance(engine, VllmEngine) and importlib.util.find_spec("vllm") is None:
        return Finding(subject, "missing", "vLLM is not installed: pip install 'spare-assets[vllm]'")
    return _model(subject, engine.model, engine.revision, f"engines.{name}.model")


def _clip(home: Home) -> Finding:
    clip = home.settings.clip
    if clip.model == SHIPPED_CLIP:
        if not _all_rendered(home) and home.settings.quality.alignment != "off":
            return Finding(
                "CLIP", "note", "the shipped CLIP knows rendered scenes only and drops photographs: set clip.model"
            )
        complete = (SANDBOX_CLIP / "open_clip_model.safetensors").is_file()
        return Finding("CLIP", "ok" if complete else "missing", f"shipped, {SANDBOX_CLIP}")
    if Path(clip.model).is_dir():
        return Finding("CLIP", "ok", clip.model)
    return Finding(
        "CLIP",
        "note",
        f"{clip.model}/{clip.pretrained}: downloaded by open_clip when first used, if not cached",
    )


def _training(home: Home) -> Iterator[Finding]:
    settings = home.settings
    gpu = has_gpu()
    recipes = {model.recipe for model in settings.models.values() if isinstance(model, TrainedModel)}
    for name in sorted(recipes):
        recipe, subject = settings.training.recipes[name], f"recipe {name}"
        if recipe.require_gpu and not gpu:
            yield Finding(subject, "note", f"needs a GPU (training.recipes.{name}.require_gpu): will not train here")
        elif recipe.accelerate_config and not Path(recipe.accelerate_config).is_file():
            yield Finding(subject, "missing", f"no file {recipe.accelerate_config}: write it with `accelerate config`")
        elif recipe.attention == "flash_attention_2" and importlib.util.find_spec("flash_attn") is None:
            yield Finding(subject, "missing", "flash-attn is not installed: pip install flash-attn, or attention: sdpa")
        else:
            yield Finding(subject, "ok", f"{recipe.method}, {recipe.optimizer}, {recipe.dtype}")
        yield _weights(f"base of {name}", recipe.base, recipe.revision, f"training.recipes.{name}.base")
    for key, model in settings.models.items():
        if isinstance(model, ReleasedModel):
            yield _weights(f"model {key}", model.model, model.revision, f"models.{key}.model")
    for key, benchmark in settings.benchmarks.items():
        path = home.resolve(benchmark.file)
        there = path.is_file()
        yield Finding(
            f"benchmark {key}",
            "ok" if there else "note",
            str(path) if there else f"no file {path}: training images are not checked against it",
        )


def _weights(subject: str, model: str, revision: str | None, setting: str) -> Finding:
    if model != SHIPPED_VLM:
        return _model(subject, model, revision, setting)
    complete = (SANDBOX_VLM / "model.safetensors").is_file()
    return Finding(subject, "ok" if complete else "missing", f"shipped, {SANDBOX_VLM}")


def _model(subject: str, model: str, revision: str | None, setting: str) -> Finding:
    if Path(model).is_dir():
        return Finding(subject, "ok", f"folder {model}")
    if model.startswith("package:"):
        package = model.removeprefix("package:")
        found = package.isidentifier() and importlib.util.find_spec(package) is not None
        return Finding(subject, "ok" if found else "missing", f"weights of the package {package} ({setting})")
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        cached = isinstance(try_to_load_from_cache(model, "config.json", revision=revision), str)
    except HFValidationError:
        return Finding(subject, "missing", f"{model!r} is neither a folder nor a hub id ({setting})")
    pinned = "" if revision else "; no revision pinned"
    if cached:
        return Finding(subject, "ok", f"{model}, in the hub cache{pinned}")
    command = f"hf download {model}" + (f" --revision {revision}" if revision else "")
    return Finding(
        subject,
        "note",
        f"{model}: not in the hub cache; get it with `{command}`, or it is downloaded{pinned} on first use",
    )


def _all_rendered(home: Home) -> bool:
    return all(source.scenes is not None for source in home.settings.sources.values())
