"""The cost report, on ledgers written by hand: each reply counted once, under its heading, at its price."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from spare_assets.analyses.ablations import JUDGED_BY
from spare_assets.analyses.cost import cost_report, ledger_use, recover_ledger, training_use, unpriced
from spare_assets.settings import Settings
from spare_assets.storage.ledger import Completion, CompletionLedger, remember_engine
from spare_assets.storage.schemas import TABLES
from spare_assets.training.order import OUTCOME_FILE, TrainingOutcome

KEYS: Iterator[int] = count()
PROFILE = {
    "name": "priced",
    "sources": {
        name: {"format": "table", "files": ["x.csv"], "columns": {"caption": "text"}} for name in ("birds", "abbeys")
    },
    "engines": {
        "small": {"kind": "rule_based"},
        "server": {"kind": "openai", "model": "m", "concurrency": 10},
        "other": {"kind": "rule_based", "strictness": "strict"},
    },
    "synthesis": {"filter_engine": "small", "generation_engine": "server"},
    "quality": {"verification_engine": "small"},
    "clip": {"model": "sandbox"},
    "models": {
        "far": {"kind": "endpoint", "engine": "server"},
        "near": {"kind": "base", "model": "sandbox"},
    },
    "analyses": {
        "prices": {
            "engines": {
                "server": {"prompt_per_million": 2.0, "completion_per_million": 10.0},
                "small": {"per_gpu_hour": 3.0, "gpus": 2},
            },
            "training": {"per_gpu_hour": 4.0},
        }
    },
}
SETTINGS = Settings.model_validate(PROFILE)


def reply(model: str, prompt: int, completion: int, seconds: float, error: str | None = None) -> Completion:
    return Completion(f"{next(KEYS):064x}", "", "stop", prompt, completion, seconds, None, error, model, 0.0)


def answered(root: Path, task: str, owner: str, *replies: Completion) -> None:
    with CompletionLedger(root, task, owner).writer("run") as writer:
        for each in replies:
            writer.append(each)


def report(root: Path, kept: dict[str, int], checkpoints: Path | None = None) -> pl.DataFrame:
    used = [*ledger_use(root), *(training_use(checkpoints) if checkpoints else ())]
    return cost_report(used, root, SETTINGS, kept)


def row(table: pl.DataFrame, **values: str) -> dict[str, Any]:
    found = table.filter(**values)
    assert found.height == 1, found
    return found.row(0, named=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "completions"
    for model, name in (("s1", "small"), ("s2", "small"), ("v", "server"), ("o", "other")):
        remember_engine(root, model, name)
    answered(root, "judge_caption", "birds", reply("s1", 100, 1, 1800.0), reply("s1", 100, 1, 1800.0, "HTTP 500"))
    answered(root, "judge_caption", "birds", reply("s2", 50, 1, 3600.0), reply("o", 7, 7, 7.0))
    answered(root, "write_pairs", "birds", reply("v", 1_000_000, 100_000, 36_000.0))
    answered(root, "write_pairs", "abbeys", reply("v", 500_000, 0, 0.0), reply("gone", 3, 4, 5.0))
    answered(root, "judge_pair", JUDGED_BY, reply("s1", 10, 1, 3600.0))
    answered(root, "judge_questions", "vqav2", reply("s1", 20, 2, 3600.0))
    answered(root, "score_vsr", "near", reply("weights", 30, 3, 60.0))
    answered(root, "score_vsr", "far", reply("w", 1_000_000, 0, 36_000.0))
    return root


def test_use_is_put_under_stage_owner_and_engine(root: Path) -> None:
    table = report(root, {"birds": 4, "abbeys": 0})
    assert table.schema == TABLES["cost_report"].polars()
    assert table["place"].to_list() == [*range(1, table.height + 1)]
    filtering = row(table, stage="spatial_captions", owner="birds", engine="small")
    assert (filtering["purpose"], filtering["requests"], filtering["failed"]) == ("dataset", 3, 1)
    assert (filtering["prompt_tokens"], filtering["completion_tokens"]) == (250, 3), "both fingerprints of one engine"
    assert row(table, engine="other")["purpose"] == "analyses", "the profile's filter is another"
    assert row(table, engine="gone")["purpose"] == "analyses", "nobody knows which engine that was"
    assert row(table, stage="spatial_pairs", owner=JUDGED_BY)["purpose"] == "analyses"
    assert row(table, stage="judge_questions", owner="vqav2")["purpose"] == "analyses"
    assert row(table, stage="vsr_score", owner="near")["purpose"] == "models"
    assert row(table, stage="vsr_score", owner="far")["engine"] == "server"


def test_prices_are_those_of_the_engine_asked(root: Path) -> None:
    table = report(root, {"birds": 4})
    assert row(table, stage="spatial_captions", owner="birds", engine="small")["cost"] == pytest.approx(2 * 2 * 3.0)
    generation = row(table, stage="qa_pairs", owner="birds")
    assert generation["cost"] == pytest.approx(2.0 + 1.0)
    assert generation["hours"] == pytest.approx(1.0), "ten requests at once"
    assert generation["seconds"] == 36_000.0
    assert row(table, stage="vsr_score", owner="far")["cost"] == pytest.approx(2.0)
    assert row(table, stage="vsr_score", owner="near")["cost"] is None
    assert unpriced(table) == ["gone", "other", "vsr_score"]


def test_sums_and_what_a_kept_pair_cost(root: Path) -> None:
    table = report(root, {"birds": 4, "abbeys": 0})
    birds = row(table, stage="total", owner="birds")
    assert birds["cost"] == pytest.approx(12.0 + 3.0)
    assert birds["kept_pairs"] == 4
    assert birds["cost_per_kept_pair"] == pytest.approx(15.0 / 4)
    assert birds["tokens_per_kept_pair"] == pytest.approx((250 + 3 + 1_100_000) / 4)
    assert birds["seconds_per_kept_pair"] == pytest.approx((7_200 + 36_000) / 4)
    assert row(table, stage="total", owner="abbeys")["cost_per_kept_pair"] is None, "no pair to share it"
    whole = row(table, stage="total", owner="total", purpose="dataset")
    assert whole["kept_pairs"] == 4 and whole["cost"] == pytest.approx(15.0 + 1.0)
    single = table.filter(pl.col("stage") != "total")
    assert single["requests"].sum() == 11, "every reply once"
    sums = table.filter(stage="total", owner="total")
    for column in ("requests", "failed", "prompt_tokens", "completion_tokens"):
        assert sums[column].sum() == single[column].sum(), column
    assert report(root, {}).filter(purpose="dataset")["kept_pairs"].null_count() == 6


def test_trainings_that_ended_count(tmp_path: Path) -> None:
    finished, unfinished = tmp_path / "near" / "f1", tmp_path / "near" / "f2.partial"
    for folder in (finished, unfinished):
        folder.mkdir(parents=True)
        TrainingOutcome(20, 8, 1_000, 300, 7_200.0, 0, 0.1, None, 0, 0, 0).save(folder)
    (tmp_path / "near" / "f3").mkdir()
    assert json.loads((finished / OUTCOME_FILE).read_text())["steps"] == 20
    table = report(tmp_path / "completions", {}, tmp_path)
    trained = row(table, stage="checkpoint")
    assert (trained["owner"], trained["engine"], trained["purpose"]) == ("near", "f1", "models")
    assert (trained["requests"], trained["prompt_tokens"], trained["completion_tokens"]) == (20, 700, 300)
    assert trained["cost"] == pytest.approx(8.0)


def test_a_killed_runs_replies_are_counted_too(root: Path) -> None:
    before = sum(use["requests"] for use in ledger_use(root))
    line = json.dumps({name: getattr(reply("s1", 1, 1, 1.0), name) for name in Completion.__dataclass_fields__})
    (root / "judge_caption" / "birds" / "killed.jsonl").write_text(f"{line}\n{line[:20]}", encoding="utf-8")
    (told,) = recover_ledger(root)
    assert "1 damaged lines set aside" in told
    assert sum(use["requests"] for use in ledger_use(root)) == before + 1


def test_a_home_without_replies_has_an_empty_report(tmp_path: Path) -> None:
    assert report(tmp_path / "completions", {}, tmp_path / "checkpoints").is_empty()
