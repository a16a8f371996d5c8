"""The whole graph on small sandbox sources, run for real, and the laws of the design held on what it stored."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import duckdb
import polars as pl
import pytest
from PIL import Image

from spare_assets.cli.materialize import Materialization
from spare_assets.dataset.funnel import check_parts, funnel
from spare_assets.definitions import build_defs
from spare_assets.orchestration.instance import open_instance
from spare_assets.pages.card import MOST_BYTES, WIDTH
from spare_assets.quality import assets as quality_assets
from spare_assets.quality.verdicts import CHECKS
from spare_assets.settings import Home, open_home
from spare_assets.storage.conservation import ConservationError
from spare_assets.storage.ledger import CompletionLedger
from spare_assets.storage.schemas import TABLES
from spare_assets.storage.tables import StagedTable, TableStore, content_hash
from spare_assets_tests.profiles import sandbox_profile

SCENES = 50


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home in which the whole graph has run once."""
    folder = tmp_path_factory.mktemp("finished")
    home = open_home(str(sandbox_profile(folder, scenes=SCENES)), folder / "home").claim()
    assert Materialization(home, "*", ()).execute()
    return home


@pytest.fixture
def copied(finished: Home, tmp_path: Path) -> Home:
    """A copy of that home to change at will."""
    subprocess.run(["cp", "-r", str(finished.path), str(tmp_path / "home")], check=True)
    (tmp_path / "home" / "dagster" / "dagster.yaml").unlink(missing_ok=True)
    return Home(tmp_path / "home", finished.settings)


def hashes(home: Home) -> dict[str, str]:
    return {str(path.relative_to(home.tables)): content_hash(path) for path in sorted(home.tables.rglob("*.parquet"))}


def stored_replies(home: Home, task: str) -> int:
    return sum(len(CompletionLedger(home.completions, task, key).answered()) for key in home.settings.sources)


def partitions(home: Home, table: str) -> list[str | None]:
    keys = {"source": home.settings.sources, "model": home.settings.models, None: (None,)}
    return [*keys[TABLES[table].partition]]


def spare(home: Home, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "spare_assets.cli.main", *arguments, "--home", str(home.path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert not check or result.returncode == 0, result.stdout + result.stderr
    return result


def test_every_table_is_stored_for_every_source(finished: Home) -> None:
    store = TableStore(finished.tables)
    for name, schema in TABLES.items():
        for source in partitions(finished, name):
            assert store.exists(name, source), (name, source)
            keys = store.scan(name, source).select(schema.key).collect()
            assert keys.equals(keys.sort(schema.key)), f"{name} is sorted by its key"
            if name != "quarantined_captions":
                assert keys.is_unique().all(), f"{name} is unique in its key"


def test_nothing_is_lost_at_any_stage(finished: Home) -> None:
    store = TableStore(finished.tables)
    for source in finished.settings.sources:
        steps = list(funnel(store, source))
        assert len(steps) == 3 + len(CHECKS)
        for step in steps:
            assert step.adds_up, (source, step)


def test_survivors_and_rejected_are_every_generated_pair(finished: Home) -> None:
    store = TableStore(finished.tables)
    for source in finished.settings.sources:
        generated, survivors, rejected = (
            store.scan(name, source).select("pair_id").collect()["pair_id"]
            for name in ("qa_pairs", "spatial_pairs", "rejected_pairs")
        )
        assert sorted([*survivors, *rejected]) == sorted(generated)
        assert generated.is_unique().all()


def test_every_check_keeps_some_and_drops_some(finished: Home) -> None:
    store = TableStore(finished.tables)
    for check in CHECKS:
        parts = [check_parts(store, source, check) for source in finished.settings.sources]
        assert sum(part["kept"] for part in parts) > 0, check
        assert sum(part["dropped"] for part in parts) > 0, check


def test_planted_defects_are_found(finished: Home) -> None:
    store = TableStore(finished.tables)
    statuses = pl.concat([store.scan("images", key).select("status") for key in finished.settings.sources]).collect()
    assert {"ok", "missing", "unreadable"} <= set(statuses["status"])
    assert "question does not fit the image" in set(
        pl.concat([store.scan("rejected_pairs", key) for key in finished.settings.sources]).collect()["reason"]
    ), "pictures of other scenes"


def test_the_dataset_holds_the_survivors_with_their_images(finished: Home) -> None:
    store = TableStore(finished.tables)
    dataset = store.scan("spare_dataset").collect()
    survivors = pl.concat([store.scan("spatial_pairs", key) for key in finished.settings.sources]).collect()
    pairs = dataset.explode("pairs").unnest("pairs")
    assert sorted(pairs["pair_id"]) == sorted(survivors["pair_id"])
    assert all(Path(path).is_file() for path in dataset["image_path"])
    assert pairs["alignment_score"].min() >= finished.settings.quality.minimum_alignment
    totals = store.scan("dataset_statistics").filter(pl.col("source") == "total").collect().row(0, named=True)
    assert totals["samples"] == dataset.height
    assert totals["pairs"] == survivors.height


ILLUSTRATED = {
    *("captions", "spatial_captions", "caption_verdicts", "qa_pairs", "generation_outcomes", "images"),
    *(table for tables in CHECKS.values() for table in tables),
    *("rejected_pairs", "spare_dataset", "dataset_statistics"),
}


@pytest.mark.parametrize("table", sorted(ILLUSTRATED))
def test_asset_pages_have_a_picture_small_enough_for_the_instance(finished: Home, table: str) -> None:
    with open_instance(finished) as instance:
        for source in partitions(finished, table):
            filters = dg.AssetRecordsFilter(dg.AssetKey(table), asset_partitions=[source] if source else None)
            event = instance.fetch_materializations(filters, limit=1).records[0].asset_materialization
            assert event is not None
            picture = event.metadata["picture"]
            assert isinstance(picture, dg.MarkdownMetadataValue) and picture.md_str is not None
            kind, _, content = picture.md_str.removesuffix(")").partition(";base64,")
            assert kind.endswith("(data:image/png")
            png = base64.b64decode(content)
            assert len(png) <= MOST_BYTES
            with Image.open(io.BytesIO(png)) as opened:
                assert opened.format == "PNG" and opened.width <= WIDTH


def test_the_catalog_answers_for_every_table(finished: Home) -> None:
    store = TableStore(finished.tables)
    with duckdb.connect(str(finished.catalog), read_only=True) as connection:
        for name in TABLES:
            expected = sum(store.rows(name, partition) for partition in partitions(finished, name))
            assert connection.execute(f'SELECT count(*) FROM "{name}"').fetchone() == (expected,)


def test_running_again_asks_nothing_and_changes_nothing(copied: Home) -> None:
    assert Materialization(copied, "images+", ()).execute(), "the copy's images lie elsewhere than the original's"
    before = hashes(copied)
    ledger_files = sorted(copied.completions.rglob("*.*"))
    assert Materialization(copied, "*", ()).execute()
    assert hashes(copied) == before
    assert sorted(copied.completions.rglob("*.*")) == ledger_files


def test_a_second_home_gives_equal_tables(finished: Home, tmp_path: Path) -> None:
    home = open_home(str(sandbox_profile(tmp_path, scenes=SCENES)), tmp_path / "second").claim()
    assert Materialization(home, "*", ("docci",)).execute()
    holding_paths = {"images", "spare_dataset", "dataset_statistics"}
    holding_measured_seconds = {"generation_forecast"}
    left_out = holding_paths | holding_measured_seconds

    def comparable(of: Home) -> dict[str, str]:
        return {k: v for k, v in hashes(of).items() if "docci" in k and k.split("/")[0] not in left_out}

    assert comparable(home) == comparable(finished)
    assert len(comparable(home)) > 15


def test_tightening_asks_nothing_and_imports_no_model_library(copied: Home) -> None:
    code = (
        "import sys; from spare_assets.settings import open_home; "
        "from spare_assets.cli.materialize import Materialization; "
        "home = open_home(sys.argv[1], sys.argv[2]); "
        "assert Materialization(home, sys.argv[3], overrides=(sys.argv[4],)).execute(); "
        "loaded = {'torch', 'transformers', 'open_clip', 'torchvision'} & set(sys.modules); "
        "assert not loaded, loaded"
    )
    profile = sandbox_profile(copied.path.parent, scenes=SCENES)
    replies = stored_replies(copied, "judge_pair")
    for selection, override in (
        ("aligned_pairs+", "aligned_pairs.minimum_alignment=0.5"),
        ("deduplicated_pairs+", "deduplicated_pairs.duplicate_cosine=0.8"),
    ):
        command = [sys.executable, "-c", code, str(profile), str(copied.path), selection, override]
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
        assert result.returncode == 0, result.stdout + result.stderr
        if selection == "aligned_pairs+":
            store = TableStore(copied.tables)
            assert set(store.scan("alignment_verdicts", "docci").collect()["threshold"]) == {0.5}
            assert json.loads(store.metadata("aligned_pairs", "docci")["overrides"]) == {"minimum_alignment": 0.5}
            assert stored_replies(copied, "judge_pair") == replies


def test_loosening_asks_only_about_the_pairs_newly_let_in(copied: Home) -> None:
    store = TableStore(copied.tables)
    before = {key: set(store.scan("aligned_pairs", key).collect()["pair_id"]) for key in copied.settings.sources}
    replies = stored_replies(copied, "judge_pair")
    assert Materialization(copied, "aligned_pairs+", overrides=("aligned_pairs.minimum_alignment=-1",)).execute()
    let_in, questions_before = set(), set()
    for key in copied.settings.sources:
        pairs = store.scan("aligned_pairs", key).collect()
        texts = set(pairs.filter(pl.col("pair_id").is_in(before[key])).select("question", "answer").rows())
        new = pairs.filter(~pl.col("pair_id").is_in(before[key]))
        let_in |= {(key, *row) for row in new.select("question", "answer").rows() if row not in texts}
        questions_before |= texts
    assert let_in
    assert stored_replies(copied, "judge_pair") == replies + len(let_in)


def test_a_stage_whose_counts_do_not_add_up_refuses_to_publish(copied: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    before = hashes(copied)
    real = quality_assets.reference_verdicts
    monkeypatch.setattr(quality_assets, "reference_verdicts", lambda *given: real(*given).slice(1))
    defs = build_defs(home=copied)
    job = defs.resolve_implicit_global_asset_job_def()
    with open_instance(copied) as instance, pytest.raises(ConservationError, match=r"reference_checked_pairs.*lost"):
        job.execute_in_process(
            instance=instance,
            partition_key="docci",
            asset_selection=[dg.AssetKey("reference_checked_pairs"), dg.AssetKey("reference_verdicts")],
        )
    assert hashes(copied) == before
    assert not list(copied.tables.rglob(".*.tmp"))


def test_a_failed_count_of_what_is_stored_blocks_the_stages_after_it(
    copied: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = hashes(copied)
    publish = TableStore.publish

    def damages_what_it_publishes(store: TableStore, *staged: StagedTable) -> None:
        publish(store, *staged)
        for table in staged:
            if table.schema.name == "grounded_pairs":
                pl.read_parquet(table.path).slice(1).write_parquet(table.path)

    monkeypatch.setattr(TableStore, "publish", damages_what_it_publishes)
    run = Materialization(copied, "grounded_pairs or grounding_verdicts or images", ("docci",))
    assert not run.execute()
    after = hashes(copied)
    assert {name for name in after if after[name] != before[name]} == {"grounded_pairs/source=docci.parquet"}


def test_a_trial_is_part_of_the_whole_and_never_replaces_it(finished: Home, tmp_path: Path) -> None:
    trial = open_home(str(sandbox_profile(tmp_path, scenes=SCENES)), tmp_path / "trial").claim()
    store, whole = TableStore(trial.tables), TableStore(finished.tables)
    assert Materialization(trial, "*", ("docci",), limit=10).execute()
    ids = set(store.scan("captions", "docci").collect()["caption_id"])
    assert len(ids) == 10
    assert ids < set(whole.scan("captions", "docci").collect()["caption_id"])
    for table in ("captions", "spatial_pairs", "rejected_pairs"):
        assert json.loads(store.metadata(table, "docci")["limits"]) == {"docci": 10}
    assert json.loads(store.metadata("spare_dataset")["limits"]) == {"docci": 10}
    assert Materialization(trial, "*", ("docci",), limit=20).execute(), "a larger trial may replace a smaller"
    assert ids < set(store.scan("captions", "docci").collect()["caption_id"])
    assert Materialization(trial, "captions", ("docci",)).execute()
    assert "limits" not in store.metadata("captions", "docci")
    assert not Materialization(trial, "captions", ("docci",), limit=10).execute()
    assert store.rows("captions", "docci") == whole.rows("captions", "docci")
    assert Materialization(trial, "captions", ("docci",), limit=10, replace_full=True).execute()
    assert store.rows("captions", "docci") == 10


def test_one_source_alone_makes_a_dataset_that_names_the_absent(tmp_path: Path) -> None:
    home = open_home(str(sandbox_profile(tmp_path, scenes=20)), tmp_path / "home").claim()
    assert Materialization(home, "*", ("pixmo_cap",)).execute()
    with open_instance(home) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey("spare_dataset"))
    assert event is not None and event.asset_materialization is not None
    assert event.asset_materialization.metadata["absent_sources"].value == ["docci", "localized_narratives"]


def test_a_users_own_asset_reads_tables_as_lazy_frames(copied: Home) -> None:
    defs = build_defs(home=copied)
    sources = dg.StaticPartitionsDefinition(list(copied.settings.sources))

    @dg.asset(partitions_def=sources)
    def long_answers(qa_pairs: pl.LazyFrame) -> pl.LazyFrame:
        assert isinstance(qa_pairs, pl.LazyFrame)
        return qa_pairs.filter(pl.col("answer").str.len_chars() > 10)

    @dg.asset
    def samples_by_source(spare_dataset: pl.LazyFrame, long_answers: dict[str, pl.LazyFrame]) -> pl.DataFrame:
        assert set(long_answers) == set(copied.settings.sources)
        return spare_dataset.group_by("source").len().collect()

    merged = dg.Definitions.merge(defs, dg.Definitions(assets=[long_answers, samples_by_source]))
    job = merged.resolve_implicit_global_asset_job_def()
    with open_instance(copied) as instance:
        for key in copied.settings.sources:
            assert job.execute_in_process(
                asset_selection=[long_answers.key], partition_key=key, instance=instance
            ).success
        assert job.execute_in_process(asset_selection=[samples_by_source.key], instance=instance).success
    assert pl.read_parquet(copied.tables / "samples_by_source" / "all.parquet").height == 3


def test_status_counts_what_is_stored(finished: Home) -> None:
    result = spare(finished, "status", "--json", "--profile", str(next(finished.path.parent.glob("*.yaml"))))
    told = json.loads(result.stdout)
    steps = {step["table"]: step for step in told["docci"]}
    assert steps["captions"]["read"] == SCENES
    assert steps["spatial_pairs"]["parts"]["kept"] == TableStore(finished.tables).rows("spatial_pairs", "docci")


@pytest.fixture(autouse=True)
def _no_listener_stays(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from spare_assets.orchestration import stage

    yield
    assert not stage.listeners


def test_two_runs_of_one_source_at_once_end_in_one_of_the_two(tmp_path: Path) -> None:
    profile = sandbox_profile(tmp_path, scenes=25)
    home = tmp_path / "home"
    command = [sys.executable, "-m", "spare_assets.cli.main", "materialize", "--source", "docci", "--profile"]
    command += [str(profile), "--home", str(home), "--select", "+grounded_pairs"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)]
    for process in both:
        told, _ = process.communicate(timeout=240)
        assert process.returncode == 0, told
    opened = open_home(str(profile), home)
    store = TableStore(opened.tables)
    assert all(step.adds_up for step in funnel(store, "docci"))
    alone = open_home(str(profile), tmp_path / "alone").claim()
    assert Materialization(alone, "+grounded_pairs", ("docci",)).execute()
    assert hashes(alone) == hashes(opened)
    assert not list(home.rglob("*.tmp"))


def test_a_damaged_table_is_mended_by_its_own_asset(copied: Home) -> None:
    store = TableStore(copied.tables)
    before = hashes(copied)
    path = store.path("question_embeddings", "docci")
    path.write_bytes(path.read_bytes()[:200])
    assert Materialization(copied, "question_embeddings", ("docci",)).execute()
    assert hashes(copied) == before
