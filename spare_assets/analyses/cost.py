"""What the stages used, by the completion ledger and the finished trainings, and what a kept pair cost.

Reading use, putting it under stages and owners, and adding it up belong here. What prices mean does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from spare_assets.analyses.prices import cost, in_flight
from spare_assets.settings import EndpointModel, Price, Settings
from spare_assets.storage.conservation import conserve
from spare_assets.storage.ledger import CompletionLedger, engine_names
from spare_assets.storage.schemas import TABLES
from spare_assets.training.order import OUTCOME_FILE, TrainingOutcome

_STAGES = {
    "judge_caption": "spatial_captions",
    "write_pairs": "qa_pairs",
    "judge_pair": "spatial_pairs",
    "judge_pairs": "spatial_pairs",
}
"""The asset that asks each task of the dataset, in the order of the graph."""
_SCORE = "score_"
_FINGERPRINT_CHARACTERS = 24
_PURPOSES = ("dataset", "analyses", "models")
_SUMS = ("requests", "failed", "prompt_tokens", "completion_tokens", "seconds", "hours")


def recover_ledger(root: Path) -> list[str]:
    """Make what killed runs left in the ledger countable; messages about what is damaged."""
    return [message for ledger in _ledgers(root) for message in ledger.recover()]


def ledger_use(root: Path) -> Iterator[dict[str, Any]]:
    """What was used, by task, owner and model: requests, failed, prompt_tokens, completion_tokens, seconds.

    Counted from finished files, one folder at a time. Raises ConservationError where a reply is not counted.
    """
    for ledger in _ledgers(root):
        if not (files := ledger.files()):
            continue
        replies = pl.scan_parquet(files, glob=False)
        used = (
            replies.group_by("model")
            .agg(
                requests=pl.len(),
                failed=pl.col("error").is_not_null().sum(),
                prompt_tokens=pl.col("prompt_tokens").sum(),
                completion_tokens=pl.col("completion_tokens").sum(),
                seconds=pl.col("seconds").sum(),
            )
            .sort("model")
            .collect(engine="streaming")
        )
        stored = sum(int(pq.read_metadata(path).num_rows) for path in files)
        conserve("cost_report", read=stored, parts={"counted": int(used["requests"].sum())})
        for row in used.iter_rows(named=True):
            yield {"task": ledger.folder.parent.name, "owner": ledger.folder.name, **row}


def training_use(checkpoints: Path) -> Iterator[dict[str, Any]]:
    """What every finished training used, of models and of trials, also of those that were trained anew since."""
    for path in sorted(checkpoints.glob(f"*/*/{OUTCOME_FILE}")):
        if path.parent.suffix:
            continue
        outcome = TrainingOutcome.load(path.parent)
        yield {
            "task": "training",
            "owner": path.parents[1].name,
            "model": path.parent.name,
            "requests": outcome.steps,
            "failed": 0,
            "prompt_tokens": outcome.tokens - outcome.answer_tokens,
            "completion_tokens": outcome.answer_tokens,
            "seconds": outcome.seconds,
        }


def cost_report(
    used: Iterable[Mapping[str, Any]], root: Path, settings: Settings, kept: Mapping[str, int]
) -> pl.DataFrame:
    """The table `cost_report`: a row per stage, owner and engine, then sums by source and by purpose.

    `used` is that of the ledger in `root` and of training, `kept` the surviving pairs of each source.
    """
    names = engine_names(root)
    rows = _joined(_row(row, names, settings) for row in used)
    rows.sort(key=lambda row: _order(row, settings))
    report = []
    of_dataset = [row for row in rows if row["purpose"] == "dataset"]
    for source in settings.sources:
        own = [row for row in of_dataset if row["owner"] == source]
        report += [*own, *_total(own, source, "dataset")]
    report += _total(of_dataset, "total", "dataset")
    for purpose in _PURPOSES[1:]:
        others = [row for row in rows if row["purpose"] == purpose]
        report += [*others, *_total(others, "total", purpose)]
    pairs = dict(kept) | {"total": sum(kept.values())} if kept else {}
    schema = TABLES["cost_report"].polars()
    return pl.DataFrame(
        [_per_pair({"place": place, **row}, pairs) for place, row in enumerate(report, start=1)],
        schema_overrides=schema,
        schema=list(schema),
        orient="row",
    )


def unpriced(report: pl.DataFrame) -> list[str]:
    """Engines, or stages of models, that have no price and so are in no sum of costs."""
    rows = report.filter(pl.col("cost").is_null() & (pl.col("stage") != "total"))
    models = rows.filter(pl.col("purpose") == "models")["stage"]
    return sorted({*rows.filter(pl.col("purpose") != "models")["engine"], *models})


def _ledgers(root: Path) -> list[CompletionLedger]:
    folders = sorted(path for path in root.glob("*/*") if path.is_dir())
    return [CompletionLedger(root, folder.parent.name, folder.name) for folder in folders]


def _row(used: Mapping[str, Any], names: Mapping[str, str], settings: Settings) -> dict[str, Any]:
    """A row of the report but for what depends on the others."""
    task, owner, model = used["task"], used["owner"], used["model"]
    prices = settings.analyses.prices
    name = names.get(model)
    price: Price | None = prices.engines.get(name) if name is not None else None
    stage, purpose = _STAGES.get(task, task), "analyses"
    if task == "training":
        stage, purpose, price = "checkpoint", "models", prices.training
    elif task.startswith(_SCORE):
        stage, purpose = f"{task.removeprefix(_SCORE)}_score", "models"
        scored = settings.models.get(owner)
        name = scored.engine if isinstance(scored, EndpointModel) else name
        price = prices.scoring if name is None else prices.engines.get(name)
    elif owner in settings.sources and name == _own_engine(stage, settings):
        purpose = "dataset"
    hours = used["seconds"] / (3600 * in_flight(settings.engines.get(name or "")))
    sums = {column: used[column] for column in _SUMS if column != "hours"} | {"hours": hours}
    money = cost(price, float(used["prompt_tokens"]), float(used["completion_tokens"]), hours)
    engine = name or model[:_FINGERPRINT_CHARACTERS]
    return {"stage": stage, "owner": owner, "engine": engine, "purpose": purpose, **sums, "cost": money}


def _own_engine(stage: str, settings: Settings) -> str | None:
    """The engine a stage of the dataset asks."""
    return {
        "spatial_captions": settings.synthesis.filter_engine,
        "qa_pairs": settings.synthesis.generation_engine,
        "spatial_pairs": settings.quality.verification_engine,
    }.get(stage)


def _joined(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per stage, owner and engine: an engine has another fingerprint after every change."""
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in rows:
        key = (row["stage"], row["owner"], row["engine"], row["purpose"])
        found[key] = row if key not in found else found[key] | _sums([found[key], row])
    return list(found.values())


def _order(row: Mapping[str, Any], settings: Settings) -> tuple[Any, ...]:
    stages, sources = list(_STAGES.values()), list(settings.sources)
    place = stages.index(row["stage"]) if row["stage"] in stages else len(stages)
    owner = sources.index(row["owner"]) if row["owner"] in sources else len(sources)
    return _PURPOSES.index(row["purpose"]), owner, place, row["stage"], row["owner"], row["engine"]


def _total(rows: list[dict[str, Any]], owner: str, purpose: str) -> list[dict[str, Any]]:
    """The sum of rows as a row; none of no rows."""
    if not rows:
        return []
    return [{"stage": "total", "owner": owner, "engine": "", "purpose": purpose, **_sums(rows)}]


def _sums(rows: list[dict[str, Any]]) -> dict[str, Any]:
    costs = [row["cost"] for row in rows if row["cost"] is not None]
    return {column: sum(row[column] for row in rows) for column in _SUMS} | {"cost": sum(costs) if costs else None}


def _per_pair(row: dict[str, Any], kept: Mapping[str, int]) -> dict[str, Any]:
    pairs = kept.get(row["owner"]) if row["purpose"] == "dataset" else None
    tokens = row["prompt_tokens"] + row["completion_tokens"]
    return row | {
        "kept_pairs": pairs,
        "tokens_per_kept_pair": tokens / pairs if pairs else None,
        "seconds_per_kept_pair": row["seconds"] / pairs if pairs else None,
        "cost_per_kept_pair": row["cost"] / pairs if pairs and row["cost"] is not None else None,
    }
