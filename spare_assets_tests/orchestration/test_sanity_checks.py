"""Checks of sanity: quiet on a clean home, and each finds the fault that is planted for it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from spare_assets.cli.materialize import Materialization
from spare_assets.orchestration.instance import open_instance
from spare_assets.orchestration.sanity_checks import checks
from spare_assets.orchestration.table_checks import Finding, Occasion
from spare_assets.settings import Home, Settings, open_home
from spare_assets.storage.schemas import TABLES
from spare_assets.storage.tables import TableStore
from spare_assets_tests.profiles import sandbox_profile

WARN, ERROR = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR
PREFILTER = ("spatial_captions", "prefilter_drop")
DATASET = "+spare_dataset or dataset_statistics or rejected_pairs"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with a dataset of one source, its checks made twice."""
    folder = tmp_path_factory.mktemp("sane")
    home = open_home(str(sandbox_profile(folder, scenes=30)), folder / "home").claim()
    assert Materialization(home, DATASET, ("docci",)).execute()
    return home


@pytest.fixture
def copied(finished: Home, tmp_path: Path) -> Home:
    """A copy of that home to change at will."""
    subprocess.run(["cp", "-r", str(finished.path), str(tmp_path / "home")], check=True)
    return Home(tmp_path / "home", finished.settings)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def changed(home: Home, section: str = "sanity", **values: Any) -> Home:
    """The home with settings of one section changed."""
    document = home.settings.model_dump(mode="json")
    document[section] = document[section] | values
    return Home(home.path, Settings.model_validate(document))


def find(home: Home, instance: dg.DagsterInstance, table: str, name: str) -> Finding:
    """What a check finds now."""
    check = next(check for check in checks(home) if (check.table, check.name) == (table, name))
    return check.judge(Occasion(table, "docci" if TABLES[table].partition else None, instance))


def rewrite(home: Home, table: str, *rows: pl.DataFrame, **recorded: str) -> None:
    """Put other rows in place of a table's."""
    store = TableStore(home.tables)
    source = "docci" if TABLES[table].partition else None
    store.publish(store.stage(table, source, pl.concat(rows), store.metadata(table, source) | recorded))


def rows_of(home: Home, table: str) -> pl.DataFrame:
    return TableStore(home.tables).scan(table, "docci" if TABLES[table].partition else None).collect()


def report(instance: dg.DagsterInstance, read: int, dropped: int, **more: Any) -> None:
    """A run of check 4 that read and dropped so many pairs."""
    metadata = {"read": read, "dropped": dropped, **more}
    instance.report_runless_asset_event(dg.AssetMaterialization("aligned_pairs", partition="docci", metadata=metadata))


def test_a_clean_home_warns_of_nothing_and_every_check_is_made(finished: Home) -> None:
    with open_instance(finished) as instance:
        events = [entry.dagster_event for run in instance.get_runs() for entry in instance.all_logs(run.run_id)]
        evaluated = dg.DagsterEventType.ASSET_CHECK_EVALUATION
        made = [event.asset_check_evaluation_data for event in events if event and event.event_type == evaluated]
        assert all(evaluation.passed for evaluation in made)
        names = {(evaluation.asset_key.path[-1], evaluation.check_name) for evaluation in made}
        for check in checks(finished):
            if check.table not in {"training_samples", "caption_training_samples"}:
                assert (check.table, check.name) in names
                assert find(finished, instance, check.table, check.name).passed
            assert check.description
            assert not check.blocking


def test_checks_are_partitioned_as_their_tables(finished: Home) -> None:
    from spare_assets.definitions import build_defs

    graph = build_defs(home=finished).resolve_asset_graph()
    for key in graph.asset_check_keys:
        assert graph.get(key).partitions_def == graph.get(key.asset_key).partitions_def, key
    blocking = {key.name for key in graph.asset_check_keys if graph.get(key).blocking}
    assert blocking == {"nothing_lost"}


@pytest.mark.parametrize("table", ["caption_verdicts", "generation_outcomes", "spatial_verdicts"])
def test_cut_replies_warn_above_the_share_of_the_settings(
    copied: Home, instance: dg.DagsterInstance, table: str
) -> None:
    rows = rows_of(copied, table)
    cut = pl.int_range(pl.len()) < rows.height // 2
    column, value = ("outcome", "truncated") if "outcome" in rows.columns else ("reason", "truncated: no yes or no")
    rewrite(copied, table, rows.with_columns(pl.when(cut).then(pl.lit(value)).otherwise(column).alias(column)))
    told = find(changed(copied, minimum_rows=10), instance, table, "truncated_replies")
    assert (told.passed, told.severity) == (False, WARN)
    assert "were cut by the reply limit" in (told.words or "") and told.metadata["truncated"] == rows.height // 2
    assert find(changed(copied, minimum_rows=10, truncated_share=0.6), instance, table, "truncated_replies").passed
    few = find(changed(copied, minimum_rows=10**6), instance, table, "truncated_replies")
    assert few.passed and "not judged below 1,000,000 rows" in (few.words or "")


def test_the_pre_filter_is_held_to_the_papers_corpus(copied: Home, instance: dg.DagsterInstance) -> None:
    rendered = find(copied, instance, *PREFILTER)
    assert rendered.passed and "not judged: rendered" in (rendered.words or "")
    sources = copied.settings.model_dump(mode="json")["sources"]
    sources["docci"]["scenes"] = None
    real = changed(copied, "sources", docci=sources["docci"])
    judged = changed(real, minimum_rows=10, prefilter_tolerance=0.05)
    told = find(judged, instance, *PREFILTER)
    assert (told.passed, told.severity) == (False, WARN)
    assert "loses 33% of this corpus" in (told.words or "")
    assert find(changed(real, minimum_rows=10, prefilter_tolerance=0.3), instance, *PREFILTER).passed
    rewrite(copied, "captions", rows_of(copied, "captions"), limits=json.dumps({"docci": 30}))
    assert "not judged: a trial" in (find(judged, instance, *PREFILTER).words or "")
    sources["docci"] |= {"format": "table", "columns": {"caption": "text"}}
    other = changed(copied, "sources", docci=sources["docci"])
    assert "not judged: none of the paper's corpora" in (find(other, instance, *PREFILTER).words or "")


def test_the_pre_filter_over_all_is_held_to_text_and_table(copied: Home, instance: dg.DagsterInstance) -> None:
    home = changed(copied, minimum_rows=1)
    alone = find(home, instance, "dataset_statistics", "prefilter_drop")
    assert alone.passed and "not judged: docci is rendered" in (alone.words or "")
    sources = home.settings.model_dump(mode="json")["sources"]
    for source in sources.values():
        source["scenes"] = None
    real = changed(home, "sources", **sources)
    assert "without localized_narratives, pixmo_cap" in (
        find(real, instance, "dataset_statistics", "prefilter_drop").words or ""
    )
    store = TableStore(home.tables)
    for key in ("localized_narratives", "pixmo_cap"):
        store.publish(store.stage("captions", key, rows_of(home, "captions")))
    rows = rows_of(home, "dataset_statistics")
    line = rows.filter(pl.col("source") == "docci")
    more = [line.with_columns(source=pl.lit(key)) for key in ("localized_narratives", "pixmo_cap")]
    total = rows.filter(pl.col("source") == "total")
    for kept, passed in ((20, False), (31, True), (33, True), (70, False)):
        counted = total.with_columns(captions=pl.lit(100, pl.UInt64), spatial_captions=pl.lit(kept, pl.UInt64))
        rewrite(home, "dataset_statistics", line, *more, counted.cast(total.schema))
        exact = changed(real, prefilter_tolerance=0.05)
        told = find(exact, instance, "dataset_statistics", "prefilter_drop")
        assert told.passed is passed, (kept, told)
        assert passed or "~65 % in its text and 71 % by Table 1" in (told.words or "")


def test_a_check_that_drops_another_share_than_before_warns(finished: Home, instance: dg.DagsterInstance) -> None:
    steady = ("aligned_pairs", "drop_share_steady")
    assert find(finished, instance, *steady).words == "nothing was reported yet"
    report(instance, 1000, 100)
    assert find(finished, instance, *steady).words == "the first run of this source"
    report(instance, 1000, 140)
    assert find(finished, instance, *steady).words is None
    report(instance, 1000, 200)
    told = find(finished, instance, *steady)
    assert (told.passed, told.severity) == (False, WARN)
    assert "20.0% of 1,000 pairs were dropped, 14.0% of 1,000 in the run before" in (told.words or "")
    assert find(changed(finished, drop_share_change=0.1), instance, *steady).passed
    report(instance, 50, 40)
    assert "not judged below 100 rows" in (find(finished, instance, *steady).words or "")
    report(instance, 500, 400, trial_limits=dg.MetadataValue.json({"docci": 40}))
    assert "trial" in (find(finished, instance, *steady).words or "")
    instance.report_runless_asset_event(
        dg.AssetMaterialization("aligned_pairs", partition="pixmo_cap", metadata={"read": 500, "dropped": 0})
    )
    assert find(finished, instance, *steady).metadata["dropped"] == 400, "another source's runs are not its own"


@pytest.mark.parametrize(
    ("stage", "table"),
    [
        ("captions", "captions"),
        ("qa_pairs", "spatial_captions"),
        ("qa_pairs", "qa_pairs"),
        ("rejected_pairs", "deduplicated_pairs"),
        ("rejected_pairs", "rejected_pairs"),
        ("images", "images"),
        ("spare_dataset", "spare_dataset"),
    ],
)
def test_ids_that_stand_twice_are_an_error(copied: Home, instance: dg.DagsterInstance, stage: str, table: str) -> None:
    rows = rows_of(copied, table)
    rewrite(copied, table, rows, rows.head(1))
    told = find(copied, instance, stage, "unique_ids")
    assert (told.passed, told.severity) == (False, ERROR)
    assert str(rows[TABLES[table].key[0]][0]) in (told.words or "")


def test_a_pairs_id_is_its_own_wherever_it_stands(copied: Home, instance: dg.DagsterInstance) -> None:
    rows = rows_of(copied, "grounding_verdicts")
    first = rows["pair_id"][0]
    rewrite(copied, "grounding_verdicts", rows.with_columns(pair_id=pl.lit(first)))
    told = find(copied, instance, "rejected_pairs", "unique_ids")
    assert not told.passed and told.metadata["table"] == "grounding_verdicts"
    assert told.metadata["double_ids"] == 1


@pytest.mark.parametrize(
    ("table", "severity", "words"),
    [
        ("captions", ERROR, "quarantined_captions"),
        ("qa_pairs", WARN, "generation_outcomes"),
        ("spatial_pairs", WARN, "rejected_pairs"),
    ],
)
def test_empty_sources_are_told(
    copied: Home, instance: dg.DagsterInstance, table: str, severity: dg.AssetCheckSeverity, words: str
) -> None:
    rewrite(copied, table, rows_of(copied, table).head(0))
    told = find(copied, instance, table, "not_empty")
    assert (told.passed, told.severity) == (False, severity)
    assert words in (told.words or "") and "docci" in (told.words or "")


def test_a_warning_fails_no_run_and_is_shown(copied: Home, capsys: pytest.CaptureFixture[str]) -> None:
    home = changed(copied, drop_share_change=0.0, minimum_rows=1)
    two = "deduplicated_pairs or deduplication_verdicts or reference_checked_pairs or reference_verdicts"
    run = Materialization(home, two, ("docci",), overrides=("deduplicated_pairs.duplicate_cosine=0.5",))
    assert run.execute(), "warnings fail nothing, and stop nothing downstream"
    assert {problem.severity for problem in run.problems} == {"warning"}
    assert "were dropped" in capsys.readouterr().out
    with open_instance(home) as instance:
        assert instance.get_runs(limit=1)[0].status == dg.DagsterRunStatus.SUCCESS


def test_an_error_that_does_not_block_is_told_and_stops_nothing(copied: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    from spare_assets.orchestration import sanity_checks

    monkeypatch.setattr(sanity_checks, "_double", lambda rows, columns: pl.DataFrame({"id": ["one"], "len": [2]}))
    run = Materialization(copied, "qa_pairs or generation_outcomes or question_embeddings", ("docci",))
    assert not run.execute()
    assert {problem.check for problem in run.problems} == {"unique_ids"}
    assert [outcome.outcome for outcome in run.outcomes] == ["materialized"] * 3
