"""The forecast: its arithmetic on numbers worked out by hand, and its promise on full runs of the sandbox."""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spare_assets.analyses.asked_captions import USE
from spare_assets.analyses.forecast import (
    FILTER,
    GENERATION,
    TOTAL,
    Asked,
    Population,
    estimate_count,
    estimate_total,
    forecast,
    sample_size,
    sample_use,
)
from spare_assets.engines.chat import ChatRequest
from spare_assets.engines.rule_based import RuleBasedEngine
from spare_assets.sandbox.corpora import CorpusFormat, describe
from spare_assets.sandbox.scenes import make_scene, scene_seed
from spare_assets.settings import ForecastSettings, OpenAIEngine, Price, load_settings
from spare_assets.settings import RuleBasedEngine as RuleBasedSettings
from spare_assets.storage.schemas import TABLES
from spare_assets.synthesis.analyst import RuleBasedAnalyst
from spare_assets.synthesis.reply_parsing import parse_pairs

SANDBOX = load_settings("sandbox")
PRICE = Price(prompt_per_million=1.0, completion_per_million=3.0, per_gpu_hour=2.0, gpus=2)
ASKED = {FILTER: Asked(RuleBasedSettings(), PRICE), GENERATION: Asked(RuleBasedSettings(), PRICE)}
SEEDS = 50
SHARE = 0.05


@cache
def full_run(source: str) -> pl.DataFrame:
    """What filter and generation use for every caption of one sandbox source, by the profile's analyst."""
    declared = SANDBOX.sources[source]
    assert declared.scenes is not None and declared.format != "table"
    corpus: CorpusFormat = declared.format
    analyst_settings = SANDBOX.engines[SANDBOX.synthesis.filter_engine]
    assert isinstance(analyst_settings, RuleBasedSettings)
    analyst = RuleBasedAnalyst(RuleBasedEngine(analyst_settings.slips, analyst_settings.asides))

    def ask(request: ChatRequest) -> tuple[str, dict[str, float]]:
        (reply,) = analyst.engine.complete([("key", request)])
        return reply.text, {name: getattr(reply, name) for name in USE}

    rows = []
    for index in range(declared.scenes.count):
        caption = describe(corpus, make_scene(scene_seed(corpus, declared.scenes.seed, index)))
        verdict, filtering = ask(analyst.judge_caption(caption))
        spatial = verdict == "yes"
        text, writing = ask(analyst.write_pairs(caption)) if spatial else ("[]", dict.fromkeys(USE, 0.0))
        rows.append(
            {"caption_id": f"{source}:{index}", "words": len(caption.split()), "spatial": spatial}
            | {"pairs": len(parse_pairs(text, "stop", 64).pairs)}
            | {f"{FILTER}_{name}": float(value) for name, value in filtering.items()}
            | {f"{GENERATION}_{name}": float(value) for name, value in writing.items()}
        )
    return pl.DataFrame(rows)


def drawn(rows: pl.DataFrame, count: int, seed: int) -> pl.DataFrame:
    """As trials draw, by hash; another seed draws others."""
    hashes = [hashlib.sha256(f"{seed}:{name}".encode()).hexdigest() for name in rows["caption_id"]]
    return rows.with_columns(pl.Series("hash", hashes)).sort("hash").head(count).drop("hash")


def population(rows: pl.DataFrame) -> Population:
    return Population(rows.height, int(rows["words"].sum()))


@pytest.mark.parametrize("source", list(SANDBOX.sources))
def test_the_interval_is_narrow_and_holds_what_the_full_run_used(source: str) -> None:
    rows = full_run(source)
    whole = population(rows)
    # Of the whole source the forecast is what was used.
    truth = forecast(source, rows, whole, ASKED, "USD", 0.95).select("stage", "quantity", used="estimate")
    count = sample_size(rows.height, SANDBOX.analyses.forecast)
    assert count == SHARE * rows.height
    forecasts = pl.concat(
        forecast(source, drawn(rows, count, seed), whole, ASKED, "USD", SANDBOX.analyses.forecast.level)
        for seed in range(SEEDS)
    ).join(truth, on=["stage", "quantity"])
    promised = forecasts.group_by("stage", "quantity").agg(
        seeds=pl.len(),
        holds=pl.col("used").is_between("low", "high").mean(),
        widest=((pl.col("high") - pl.col("low")) / 2 / pl.col("estimate")).max(),
    )
    assert promised.height == 3 * 5 + 2 and (promised["seeds"] == SEEDS).all()
    # Seconds, and money with them, are measured anew by every run of this test, beside whatever else runs.
    counted = promised.filter(pl.col("quantity") != "hours", pl.col("quantity") != "cost")
    assert counted.filter(pl.col("holds") < 0.9).is_empty(), counted
    used = counted.filter(pl.col("quantity").str.ends_with("tokens"))
    assert used.height == 9 and used.filter(pl.col("widest") > 0.15).is_empty(), used


def test_money_by_token_is_forecast_as_tokens_are() -> None:
    rows = full_run("docci")
    price = Price(prompt_per_million=1.0, completion_per_million=3.0)
    asked = {FILTER: Asked(RuleBasedSettings(), price), GENERATION: Asked(RuleBasedSettings(), price)}
    held = 0
    for seed in range(SEEDS):
        rows_of_cost = forecast("docci", drawn(rows, 50, seed), population(rows), asked, "EUR", 0.95).filter(
            pl.col("stage") == TOTAL, pl.col("quantity") == "cost"
        )
        row = rows_of_cost.row(0, named=True)
        prompt, completion = (
            sum(float(rows[f"{stage}_{name}"].sum()) for stage in (FILTER, GENERATION)) for name in USE[:2]
        )
        held += row["low"] <= (prompt + 3 * completion) / 1e6 <= row["high"]
        assert (row["high"] - row["low"]) / 2 <= 0.15 * row["estimate"]
        assert row["unit"] == "EUR"
    assert held >= 0.9 * SEEDS


def test_a_line_is_read_at_the_sources_mean_length() -> None:
    words = np.array([10.0, 20.0, 30.0, 40.0])
    found = estimate_total(5 + 2 * words, words, Population(100, 5_000), 0.95)
    assert found.estimate == pytest.approx(5 * 100 + 2 * 5_000)
    assert found.high - found.low < 1e-3, "use that is linear in length leaves nothing open"


def test_the_interval_is_students() -> None:
    # All of one length: the mean times the population, and the margin of the textbook.
    used = np.array([1.0, 3.0])
    found = estimate_total(used, np.array([7.0, 7.0]), Population(1_000_000, 7_000_000), 0.5)
    assert found.estimate == pytest.approx(2_000_000)
    # Residuals of 1 weigh double at leverage one half; one degree of freedom, whose quartile is 1.
    assert (found.high - found.low) / 2 == pytest.approx(2_000_000, rel=0.05)


def test_all_captions_leave_nothing_open() -> None:
    used = np.array([4.0, 0.0, 9.0])
    assert estimate_total(used, np.array([1.0, 2.0, 3.0]), Population(3, 6), 0.95).low == 13.0
    assert estimate_count(np.ones(1), np.ones(1), Population(1, 1), 0.95).high == 1.0


@pytest.mark.parametrize(("holds", "low", "high"), [(1.0, 9_422, 10_000), (0.0, 0, 578)])
def test_what_held_of_all_may_not_hold_of_the_rest(holds: float, low: int, high: int) -> None:
    # 1 - 0.05 ** (1 / 50) = 5.82 % of the 9,950 others.
    found = estimate_count(np.full(50, holds), np.arange(50.0), Population(10_000, 245_000), 0.95)
    assert (found.low, found.high) == pytest.approx((low, high), abs=2)


@given(
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 500)), min_size=1, max_size=60),
    st.integers(0, 1_000),
)
def test_an_interval_holds_its_estimate_and_what_was_used_already(sample: list[tuple[int, int]], rest: int) -> None:
    used, words = (np.array(column, dtype=np.float64) for column in zip(*sample, strict=True))
    whole = Population(len(sample) + rest, int(words.sum()) + 20 * rest)
    found = estimate_total(used, words, whole, 0.95)
    assert used.sum() <= found.low <= found.estimate <= found.high


@pytest.mark.parametrize(
    ("captions", "asked"), [(0, 0), (1, 1), (50, 50), (200, 50), (1_000, 50), (20_000, 1_000), (700_000, 2_000)]
)
def test_a_sample_is_a_share_within_bounds(captions: int, asked: int) -> None:
    assert sample_size(captions, ForecastSettings()) == asked


def test_hours_of_a_server_pass_for_many_requests_at_once() -> None:
    rows = full_run("docci").head(20)
    whole = Population(20, int(rows["words"].sum()))

    def hours(engine: OpenAIEngine | RuleBasedSettings) -> float:
        asked = {FILTER: Asked(engine, None), GENERATION: Asked(engine, None)}
        table = forecast("docci", rows, whole, asked, "USD", 0.95)
        assert table.filter(quantity="cost")["estimate"].null_count() == 3, "no price, no cost"
        return float(table.filter(stage=TOTAL, quantity="hours")["estimate"][0])

    assert hours(RuleBasedSettings()) == pytest.approx(32 * hours(OpenAIEngine(model="m", concurrency=32)))


def test_failed_captions_are_left_out_and_unasked_ones_used_nothing() -> None:
    sample = pl.DataFrame({"caption_id": ["a", "b", "c", "d"], "words": [1, 2, 3, 4]})
    use = {"prompt_tokens": 5, "completion_tokens": 1, "seconds": 0.5}
    verdicts = pl.DataFrame(
        [
            {"caption_id": name, "kept": kept, "outcome": outcome, **use}
            for name, kept, outcome in (
                ("a", True, "ok"),
                ("b", False, "ok"),
                ("c", False, "failed"),
                ("d", True, "ok"),
            )
        ]
    )
    outcomes = pl.DataFrame(
        [
            {"caption_id": "a", "pairs": 7, "outcome": "ok", **use},
            {"caption_id": "d", "pairs": 0, "outcome": "failed", **use},
        ],
    )
    rows = sample_use(sample, verdicts, outcomes)
    assert rows["caption_id"].to_list() == ["a", "b"]
    assert rows["pairs"].to_list() == [7, 0]
    assert rows[f"{GENERATION}_prompt_tokens"].to_list() == [5, 0]
    assert rows[f"{FILTER}_seconds"].to_list() == [0.5, 0.5]


def test_the_table_has_its_shape() -> None:
    rows = full_run("docci")
    table = forecast("docci", drawn(rows, 50, 0), population(rows), ASKED, "USD", 0.95)
    assert table.schema == TABLES["generation_forecast"].polars()
    assert table.equals(table.sort("stage", "quantity"))
    by = {(row["stage"], row["quantity"]): row["estimate"] for row in table.iter_rows(named=True)}
    for quantity in ("prompt_tokens", "completion_tokens", "tokens", "cost", "hours"):
        assert by[TOTAL, quantity] == pytest.approx(by[FILTER, quantity] + by[GENERATION, quantity])
