"""What a dataset's card has to say, gathered from tables and profile; how it is worded is not known here.

Counts, cut-offs, overrides and trial limits are those of the tables, which say what is there. Models, prompts and terms
are the profile's: the assets that use them are stale when these change, and with them the card.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import polars as pl

from spare_assets.dataset.funnel import FunnelStep, check_parts, funnel
from spare_assets.quality.verdicts import CHECKS, drop_reasons
from spare_assets.settings import RESERVED_SOURCE, EngineSettings, RuleBasedEngine, Settings, SourceSettings
from spare_assets.storage.schemas import TABLES
from spare_assets.storage.tables import TableStore, content_hash
from spare_assets.synthesis.prompts import load_prompts

UNKNOWN = "unknown"
"""What a licence says that nobody declared."""
_JUDGED = {"per_pair": "judge_pair", "per_sample": "judge_pairs"}


class CardError(ValueError):
    """The tables don't make one dataset that can be described; the message says what to materialize."""


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """One source of the dataset: its terms, and what came of it."""

    key: str
    settings: SourceSettings
    counts: Mapping[str, Any]
    steps: tuple[FunnelStep, ...]
    thresholds: Mapping[str, tuple[float, ...]]
    unscored_pairs: int
    limit: int | None


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model that helped to make the dataset, and what it did."""

    task: str
    engine: str
    name: str
    revision: str | None
    details: str
    pinnable: bool = True


@dataclass(frozen=True, slots=True)
class PromptFacts:
    """A prompt as sent, with the fingerprint of its wording."""

    task: str
    fingerprint: str
    text: str


@dataclass(frozen=True, slots=True)
class ReviewFacts:
    """What people found wrong: share of judged pairs, with its interval."""

    rate: float
    low: float
    high: float
    judged: int


@dataclass(frozen=True, slots=True)
class CardFacts:
    """All that the card and the Croissant metadata are made of."""

    title: str
    languages: tuple[str, ...]
    repository: str | None
    profile: str
    version: str
    sources: tuple[SourceFacts, ...]
    absent: tuple[str, ...]
    totals: Mapping[str, Any]
    models: tuple[ModelFacts, ...]
    prompts: tuple[PromptFacts, ...]
    reply_tokens: int
    alignment: str
    alignment_formula: str
    overrides: Mapping[str, Mapping[str, Any]]
    drop_reasons: tuple[tuple[str, int], ...]
    review: ReviewFacts | None

    @property
    def limits(self) -> dict[str, int]:
        """Sources that are trials, and of how many captions."""
        return {source.key: source.limit for source in self.sources if source.limit is not None}

    @property
    def undeclared(self) -> list[str]:
        """Sources whose licence nobody declared."""
        return [source.key for source in self.sources if not declared(source.settings.licence)]


def declared(licence: str) -> bool:
    """Whether a licence is named at all."""
    return licence.strip().lower() not in ("", UNKNOWN)


def card_facts(store: TableStore, settings: Settings) -> CardFacts:
    """The facts about the stored dataset.

    Raises CardError where `spare_dataset`, `dataset_statistics` and the tables by source are of different states.
    """
    for table in ("spare_dataset", "dataset_statistics"):
        if not store.exists(table):
            raise CardError(f"table {table} is not materialized yet: materialize asset {table} first")
    rows = {row["source"]: row for row in store.scan("dataset_statistics").collect().iter_rows(named=True)}
    totals = rows.pop(RESERVED_SOURCE)
    _same_state(store, rows)
    limits = json.loads(store.metadata("spare_dataset").get("limits", "{}"))
    sources = tuple(
        _source(store, key, settings.sources[key], rows[key], limits.get(key))
        for key in settings.sources
        if key in rows
    )
    quality = settings.quality
    prefix = f", the question after {quality.alignment_prefix!r}" if quality.alignment_prefix else ""
    weighted = "" if quality.alignment_weight == 1 else f" times {quality.alignment_weight:g}"
    return CardFacts(
        title=settings.publication.pretty_name,
        languages=settings.publication.languages,
        repository=settings.publication.repo_id,
        profile=settings.name,
        version=content_hash(store.path("spare_dataset")),
        sources=sources,
        absent=tuple(key for key in settings.sources if key not in rows),
        totals=totals,
        models=tuple(_models(settings)),
        prompts=tuple(_prompts(settings)),
        reply_tokens=settings.synthesis.max_new_tokens,
        alignment=quality.alignment,
        alignment_formula=f"cosine of the CLIP embeddings{weighted}{prefix}",
        overrides=_overrides(store, list(rows)),
        drop_reasons=_drop_reasons(store, list(rows)),
        review=_review(store),
    )


def _same_state(store: TableStore, rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises CardError where dataset, statistics and the sources' own tables hold different numbers of pairs."""
    held = dict(
        store.scan("spare_dataset").group_by("source").agg(pl.col("pairs").list.len().sum()).collect().iter_rows()
    )
    for key in sorted({*rows, *held}):
        counted = rows[key]["pairs"] if key in rows else None
        stored = store.rows("spatial_pairs", key) if store.exists("spatial_pairs", key) else None
        if not (held.get(key, 0) == counted == stored):
            raise CardError(
                f"{key}: spare_dataset holds {held.get(key, 0):,} pairs, dataset_statistics counted {counted}, and "
                f"spatial_pairs holds {stored}: materialize spare_dataset and dataset_statistics again"
            )


def _source(
    store: TableStore, key: str, settings: SourceSettings, counts: Mapping[str, Any], limit: int | None
) -> SourceFacts:
    verdicts = {"spatial caption": "caption_verdicts"} | {check: table for check, (_, table) in CHECKS.items()}
    thresholds = {
        check: tuple(
            store.scan(table, key).select(pl.col("threshold").drop_nulls().unique().sort()).collect()["threshold"]
        )
        for check, table in verdicts.items()
    }
    unscored = check_parts(store, key, "alignment").get("passed unscored", 0)
    return SourceFacts(key, settings, counts, tuple(funnel(store, key)), thresholds, unscored, limit)


def _engine_facts(task: str, name: str, engine: EngineSettings) -> ModelFacts:
    if isinstance(engine, RuleBasedEngine):
        planted = [
            f"{kind} in {share:g} of captions"
            for kind, share in (("slips", engine.slips), ("asides", engine.asides))
            if share
        ]
        details = ", ".join(["a grammar, no model", f"strictness {engine.strictness}", *planted])
        return ModelFacts(task, name, "rule-based analyst", None, details, pinnable=False)
    dtype = getattr(engine, "dtype", None)
    structured = "constrained to the reply's form" if getattr(engine, "structured", True) not in (False, "none") else ""
    details = ", ".join(filter(None, [engine.kind, dtype, structured]))
    return ModelFacts(task, name, public_name(engine.model), engine.revision, details)


def _models(settings: Settings) -> Iterator[ModelFacts]:
    synthesis, quality = settings.synthesis, settings.quality
    for task, name in (
        ("judges captions", synthesis.filter_engine),
        ("writes pairs", synthesis.generation_engine),
        ("judges pairs (check 5)", quality.verification_engine),
    ):
        yield _engine_facts(task, name, settings.engines[name])
    tag, _, revision = (settings.clip.pretrained or "").partition("@")
    details = ", ".join(filter(None, ["open_clip", tag]))
    yield ModelFacts("compares (checks 1 and 4)", "clip", public_name(settings.clip.model), revision or None, details)


def _prompts(settings: Settings) -> Iterator[PromptFacts]:
    """The prompts that were sent. The rule-based analyst is asked without any."""
    synthesis, quality = settings.synthesis, settings.quality
    prompts = load_prompts(synthesis.prompts)
    for task, name in (
        ("judge_caption", synthesis.filter_engine),
        ("write_pairs", synthesis.generation_engine),
        (_JUDGED[quality.verification], quality.verification_engine),
    ):
        if not isinstance(settings.engines[name], RuleBasedEngine):
            yield PromptFacts(task, prompts.fingerprints[task], prompts[task].text)


def public_name(model: str) -> str:
    """A model's id; of a folder of this machine the last part alone."""
    return PurePath(model).name if PurePath(model).is_absolute() else model


def _overrides(store: TableStore, sources: list[str]) -> dict[str, dict[str, Any]]:
    """What the Launchpad changed for tables that the dataset is made of, by table and source."""
    made_of = ["captions", "spatial_captions", "qa_pairs", *(kept for kept, _ in CHECKS.values()), "images"]
    found = {}
    for table in made_of:
        assert TABLES[table].partition == "source"
        for key in sources:
            if store.exists(table, key) and (changed := json.loads(store.metadata(table, key).get("overrides", "{}"))):
                found[f"{table}, {key}"] = changed
    return found


def _drop_reasons(store: TableStore, sources: list[str]) -> tuple[tuple[str, int], ...]:
    """What the drop ledger names most often, with the check it belongs to."""
    ledgers = [store.scan("rejected_pairs", key) for key in sources if store.exists("rejected_pairs", key)]
    if not ledgers:
        return ()
    reasons = drop_reasons(pl.concat(ledgers).select(kept=pl.lit(False), reason=pl.format("{}: {}", "check", "reason")))
    return tuple(reasons.iter_rows())


def _review(store: TableStore) -> ReviewFacts | None:
    """The error rate by people's verdicts, where there are any."""
    if not store.exists("review_results"):
        return None
    rows = (
        store.scan("review_results")
        .filter(metric="error", scope="all", reviewer="")
        .filter(pl.col("judged") > 0)
        .collect()
    )
    if rows.is_empty():
        return None
    row = rows.row(0, named=True)
    return ReviewFacts(row["rate"], row["low"], row["high"], row["judged"])
