"""A plan beside what the run then wrote; counts that are exact; and answers where there is nothing to go by."""

from __future__ import annotations

import gzip
import json
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from spare_assets.analyses import plan_figures, plan_ledger
from spare_assets.analyses.plan import SUMS, Machine, Plan, StagePlan, plan
from spare_assets.analyses.plan_figures import PAPER, Figure, known_total, paper_figures, product, remaining, total
from spare_assets.captions import source_size as sizes
from spare_assets.captions.source_size import source_size
from spare_assets.cli.materialize import Materialization
from spare_assets.settings import PROFILES, Home, LimitSettings, SourceSettings, load_settings, open_home
from spare_assets.storage.ledger import CompletionLedger
from spare_assets.storage.tables import TableStore
from spare_assets_tests.profiles import sandbox_profile

ROOMY = Machine(free_bytes=10**15, memory_bytes=10**12, gpu=True)
SCENES, OTHER = 40, "localized_narratives"
DATASET = "captions or generation_forecast or spatial_captions or qa_pairs or group:quality or group:clip or images"
TASKS = {"spatial_captions": "judge_caption", "qa_pairs": "write_pairs", "spatial_pairs": "judge_pair"}
FORECAST = ("spatial_captions", "qa_pairs")


def stage(made: Plan, name: str, owner: str) -> StagePlan:
    return next(found for found in made.stages if (found.stage, found.owner) == (name, owner))


def value(figure: Figure | None) -> float:
    assert figure is not None
    return figure.value


def shipped() -> dict[str, Any]:
    profile: dict[str, Any] = yaml.safe_load((PROFILES / "sandbox.yaml").read_text(encoding="utf-8"))
    return profile


def materialized(home: Home, selection: str, *sources: str) -> None:
    assert Materialization(home, selection, sources).execute()


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Plan, Home]:
    """The plan of a home with one source done and the captions and forecast of another; that of the end; the home."""
    folder = tmp_path_factory.mktemp("planned")
    both = {key: source for key, source in shipped()["sources"].items() if key in ("docci", OTHER)}
    for source in both.values():
        source["scenes"]["count"] = SCENES
    profile = sandbox_profile(folder, scenes=SCENES, sources=both, analyses={"forecast": {"minimum": 20}})
    home = open_home(str(profile), folder / "home").claim()
    materialized(home, DATASET, "docci")
    materialized(home, "captions or generation_forecast", OTHER)
    half = plan(home, ROOMY)
    materialized(home, DATASET)
    return half, plan(home, ROOMY), home


def test_a_finished_source_has_nothing_left_to_do(planned: tuple[Plan, Plan, Home]) -> None:
    half, _, home = planned
    store = TableStore(home.tables)
    for found in half.of("docci"):
        assert found.done, found.stage
        assert value(found.bytes_to_write) == 0
        assert value(found.rows_out) == store.rows(found.stage, "docci")
        assert {figure.origin for figure in found.figures().values()} == {"measured"}
    for name in TASKS:
        assert value(stage(half, name, "docci").to_ask) == 0


def test_what_is_counted_is_exact(planned: tuple[Plan, Plan, Home]) -> None:
    half, _, home = planned
    store = TableStore(home.tables)
    key = OTHER
    assert value(stage(half, "captions", key).rows_out) == store.rows("captions", key)
    asked = stage(half, "spatial_captions", key)
    assert value(asked.rows_in) == value(asked.requests) == store.rows("captions", key)
    assert value(asked.answered) == 20, "the sample of the forecast"
    assert value(asked.to_ask) == store.rows("captions", key) - 20
    answered_pairs = stage(half, "qa_pairs", key).answered
    assert 0 < value(answered_pairs) <= 20


def test_the_forecast_s_bounds_hold_what_the_run_wrote(planned: tuple[Plan, Plan, Home]) -> None:
    half, _, home = planned
    store, key = TableStore(home.tables), OTHER
    for name in FORECAST:
        found = stage(half, name, key).rows_out
        assert found is not None and found.origin == "forecast"
        low, high = found.bounds()
        assert low <= store.rows(name, key) <= high
        assert high > low


def test_a_half_finished_home_s_plan_is_near_what_the_run_then_writes(planned: tuple[Plan, Plan, Home]) -> None:
    """Forty scenes a source, and shares measured of another: rows within a third, bytes of tiny tables within 2.5."""
    half, whole, _ = planned
    for before, after in zip(half.of(OTHER), whole.of(OTHER), strict=True):
        assert before.stage == after.stage and after.done and before.done == (before.stage == "captions")
        near = 0.5 if before.stage == "rejected_pairs" else 0.34
        for name in ("rows_in", "rows_out"):
            expected, found = value(getattr(before, name)), value(getattr(after, name))
            assert expected == pytest.approx(found, rel=near), (before.stage, name)
        assert 0.4 < value(before.bytes) / value(after.bytes) < 2.5, before.stage


def test_tokens_still_to_be_paid_are_near_what_the_rest_used(planned: tuple[Plan, Plan, Home]) -> None:
    half, _, home = planned
    reading = plan_ledger.LedgerReading(home.completions)
    model = reading.model("analyst", home.settings.engines["analyst"])
    for name in FORECAST:
        found, used = stage(half, name, OTHER), reading.replies(TASKS[name], OTHER, model)
        share = value(found.to_ask) / value(found.requests)
        for tokens in ("prompt_tokens", "completion_tokens"):
            assert value(getattr(found, tokens)) == pytest.approx(getattr(used, tokens) * share, rel=0.25), (
                name,
                tokens,
            )


def test_seconds_and_bytes_of_replies_are_the_ledger_s(planned: tuple[Plan, Plan, Home]) -> None:
    _, _, home = planned
    reading = plan_ledger.LedgerReading(home.completions)
    model = reading.model("analyst", home.settings.engines["analyst"])
    for key in home.settings.sources:
        ledger = CompletionLedger(home.completions, "judge_pair", key)
        used = reading.replies("judge_pair", key, model)
        assert used.requests == len(ledger.answered())
        assert used.bytes == sum(path.stat().st_size for path in ledger.files())
        assert 0 < used.elapsed() < 60
    assert reading.replies("judge_pair", "docci", "another model") == plan_ledger.Replies()


def test_a_long_table_is_looked_up_row_by_so_many(
    planned: tuple[Plan, Plan, Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, whole, home = planned
    monkeypatch.setattr(plan_ledger, "EXACT_KEYS", 20)
    TableStore(home.tables).path("spatial_captions", "docci").rename(home.path / "aside.parquet")
    try:
        found = stage(plan(home, ROOMY), "spatial_captions", "docci")
    finally:
        (home.path / "aside.parquet").rename(TableStore(home.tables).path("spatial_captions", "docci"))
    assert not found.done
    assert value(found.requests) == value(stage(whole, "spatial_captions", "docci").rows_in)
    assert value(found.to_ask) == 0, "all is answered, and only the table is to be written"
    assert found.requests is not None and "every" in found.requests.note


def test_more_captions_than_a_stage_was_made_of_are_asked_about(planned: tuple[Plan, Plan, Home]) -> None:
    _, _, home = planned
    store = TableStore(home.tables)
    copied = home.path.parent / "grown"
    shutil.copytree(home.path, copied)
    grown = Home(copied, home.settings)
    more = store.scan("captions", "docci").collect()
    from polars import col, concat, lit

    extra = more.head(5).with_columns(caption_id=col("caption_id") + lit("x"), caption=col("caption") + lit(" And so."))
    frame = concat([more, extra]).sort("caption_id")
    grown_store = TableStore(copied / "tables")
    grown_store.publish(grown_store.stage("captions", "docci", frame, {"rows_in_source": str(frame.height)}))
    found = stage(plan(grown, ROOMY), "spatial_captions", "docci")
    assert not found.done
    assert value(found.to_ask) == 5
    assert value(found.answered) == more.height


def test_a_trial_tells_rates_and_is_not_the_whole(make_home: Callable[..., Home]) -> None:
    home = make_home(scenes=SCENES)
    assert Materialization(home, "captions or spatial_captions", ("docci",), limit=20).execute()
    made = plan(home, ROOMY)
    captions, spatial = stage(made, "captions", "docci"), stage(made, "spatial_captions", "docci")
    assert not captions.done and value(captions.rows_in) == SCENES
    assert captions.rows_in is not None and captions.rows_in.origin == "counted"
    assert not spatial.done and value(spatial.answered) == 20
    store = TableStore(home.tables)
    kept = store.rows("spatial_captions", "docci") / 20
    assert value(spatial.rows_out) == pytest.approx(value(captions.rows_out) * kept)


def test_with_nothing_materialized_the_scenes_are_the_count(make_home: Callable[..., Home]) -> None:
    home = make_home(scenes=SCENES)
    made = plan(home, ROOMY)
    assert not any(found.done for found in made.stages)
    for key in home.settings.sources:
        assert value(stage(made, "captions", key).rows_in) == SCENES
        assert value(stage(made, "spatial_pairs", key).to_ask) > SCENES
    assert not made.warnings
    assert any("rendered scenes" in statement for statement in made.statements())
    assert not (home.path / "data").exists(), "planning renders nothing"


def test_the_paper_without_its_files(tmp_path: Path) -> None:
    home = Home(tmp_path / "home", load_settings("paper"))
    made = plan(home, Machine(free_bytes=10**9, memory_bytes=10**9, gpu=False))
    final = [stage(made, "spatial_pairs", key) for key in home.settings.sources]
    assert value(total(found.rows_out for found in final)) == sum(row.pairs for row in PAPER.values()) == 3_372_000
    captions = [stage(made, "captions", key) for key in home.settings.sources]
    assert value(total(found.rows_out for found in captions)) == 1_581_000
    spatial = total(stage(made, "spatial_captions", key).rows_out for key in home.settings.sources)
    assert value(spatial) == pytest.approx(0.35 * 1_581_000, rel=0.01)
    assert value(stage(made, "spare_dataset", "all sources").rows_out) == pytest.approx(455_000, rel=0.01)
    trained = stage(made, "checkpoint", "spare-2b-seed-0")
    assert value(trained.rows_out) == -(-value(trained.rows_in) // 64) * 2
    assert trained.on == "gpu" and trained.gpu_memory
    assert value(stage(made, "vsr_score", "benchmarks").to_ask) == 1_222 * len(home.settings.models)
    assert 100e9 < value(stage(made, "images", "pixmo_cap").bytes_to_write) < 370e9
    for words in ("disk: ", "GPU: none here", "memory: ", "no such file"):
        assert any(words in warning for warning in made.warnings), words
    measured = [figure for found in made.stages for figure in found.figures().values() if figure.origin == "measured"]
    assert all(figure.value == 0 for figure in measured), "nothing was measured, so nothing says so"
    assert not home.path.exists(), "planning writes nothing"


def test_totals_are_the_sums_of_what_remains(planned: tuple[Plan, Plan, Home]) -> None:
    half, whole, _ = planned
    for name in SUMS:
        parts = [figure.value for found in half.stages if (figure := getattr(found, name)) is not None]
        assert value(half.totals()[name]) == pytest.approx(sum(parts))
    assert value(half.totals()["to_ask"]) > 0
    of_sources = [found for found in whole.stages if found.owner in ("docci", OTHER)]
    assert all(found.done for found in of_sources)


def test_rates_of_runs_are_used(make_home: Callable[..., Home]) -> None:
    home = make_home(scenes=SCENES)
    found = stage(plan(home, ROOMY, {("captions", "docci"): 30.0}), "captions", "docci").seconds
    assert found is not None and found.value == pytest.approx(SCENES / 30)


# --- figures --------------------------------------------------------------------------------------------------------

origins = st.sampled_from(list(plan_figures.ORIGINS))
figures = st.builds(Figure, st.floats(0, 1e9), origins)


@given(st.lists(figures, min_size=1, max_size=5))
def test_a_figure_is_no_surer_than_its_least_sure_part(parts: list[Figure]) -> None:
    rank = list(plan_figures.ORIGINS).index
    for made in (product(*parts), total(parts)):
        assert made is not None
        assert rank(made.origin) == max(rank(part.origin) for part in parts)


def test_bounds_follow_and_the_unknown_stays_unknown() -> None:
    forecast = Figure(10, "forecast", low=8, high=13)
    twice = product(forecast, 2)
    assert twice is not None and twice.bounds() == (16, 26)
    left = remaining(forecast, 9)
    assert left == replace(forecast, value=1, low=0, high=4)
    assert product(forecast, None) is None and total([forecast, None]) is None and total([]) is None
    assert value(known_total([forecast, None])) == 10


def test_the_paper_s_figures_lead_from_captions_to_pairs() -> None:
    for source_format, row in PAPER.items():
        figures = paper_figures(source_format)
        pairs = float(row.captions)
        for name in ("spatial_captions", "qa_pairs", "grounded_pairs", "aligned_pairs", "spatial_pairs"):
            pairs *= figures[name].value
        assert pairs == pytest.approx(row.pairs)


# --- the size of a source -------------------------------------------------------------------------------------------


def docci_rows(count: int) -> bytes:
    draw = random.Random(1)
    lines = [
        json.dumps(
            {
                "example_id": f"train_{n}",
                "split": "train",
                "image_file": f"train_{n}.jpg",
                "description": f"a {draw.getrandbits(800):x}",
            }
        )
        for n in range(count)
    ]
    return ("\n".join(lines) + "\n").encode()


@pytest.mark.parametrize("packed", [False, True])
def test_a_large_source_is_told_from_its_beginning(
    tmp_path: Path, make_home: Callable[..., Home], monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    monkeypatch.setattr(sizes, "READ_BATCHES", 1)
    monkeypatch.setattr("spare_assets.captions.readers.BATCH_ROWS", 100)
    monkeypatch.setattr(sizes, "_BEGINNING_BYTES", 1_000_000)
    monkeypatch.setattr(sizes, "_CHUNK_BYTES", 10_000)
    rows = docci_rows(10_000)
    path = tmp_path / ("d.jsonl.gz" if packed else "d.jsonl")
    path.write_bytes(gzip.compress(rows) if packed else rows)
    source = SourceSettings(format="docci", files=(str(path),))
    found = source_size("docci", source, make_home(), LimitSettings())
    assert not found.exact and found.mean_words == 2
    assert found.captions == pytest.approx(10_000, rel=0.15 if packed else 0) and found.captions == found.rows


def test_a_small_source_is_counted_exactly(tmp_path: Path, make_home: Callable[..., Home]) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes(docci_rows(50) + b"{broken\n")
    source = SourceSettings(format="docci", files=(str(path),))
    found = source_size("docci", source, make_home(), LimitSettings())
    assert found.exact and (found.rows, found.captions) == (51, 50)
