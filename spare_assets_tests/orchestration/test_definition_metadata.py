"""What the definition of every asset tells: origins of columns, kinds, tags, owners, descriptions, run settings."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from dagster._core.definitions.utils import is_valid_owner
from hypothesis import given
from hypothesis import strategies as st

from spare_assets.cli.materialize import Materialization
from spare_assets.definitions import build_defs
from spare_assets.orchestration.instance import open_instance
from spare_assets.orchestration.resources import engine_kind, with_batch_size
from spare_assets.settings import (
    OWNER,
    Home,
    OpenAIEngine,
    RuleBasedEngine,
    SettingsError,
    TransformersEngine,
    VllmEngine,
    load_settings,
    open_home,
)
from spare_assets.storage.schemas import TABLES, column_origins
from spare_assets.storage.tables import TableStore
from spare_assets_tests.engines.chat_server import Answer, ChatServer
from spare_assets_tests.orchestration.test_server_runs import reply_of_rules, server_profile
from spare_assets_tests.profiles import sandbox_profile

# Columns that bear the name of a column upstream and are made anew all the same.
MADE_ANEW = {
    "threshold": "every check has its own cut-off",
    "place": "rows of a report are numbered anew",
    "kind": "what a row of a report, an item or a model is",
    "metric": "of people's verdicts",
    "category": "of the benchmark's question",
    "units": "counted anew",
    "chance": "of the benchmark's question",
    "engine": "compared by name",
    "origin": "where printed figures come from",
    "weight": "drawn anew",
    "stage": "a row of a report",
    "file": "files written anew",
    "rows": "of the files written",
    "bytes": "of the files written",
    "sha256": "of the files written",
    "benchmark": "named by the table a row is from",
    "source": "of the leaderboard: where a printed figure comes from",
    "relation": "the taxonomy's",
    "keyword": "the taxonomy's",
    "paper_share": "the taxonomy's",
    "scope": "the taxonomy's",
    "prompt_tokens": "of the ledger",
    "completion_tokens": "of the ledger",
    "seconds": "of the ledger",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("home"), load_settings("sandbox")).claim()


@pytest.fixture(scope="module")
def defs(home: Home) -> dg.Definitions:
    return build_defs(home=home)


@pytest.fixture(scope="module")
def nodes(defs: dg.Definitions) -> dict[str, Any]:
    graph = defs.resolve_asset_graph()
    return {key.to_user_string(): graph.get(key) for key in graph.get_all_asset_keys()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with the dataset of one small source."""
    folder = tmp_path_factory.mktemp("finished")
    home = open_home(str(sandbox_profile(folder, scenes=25)), folder / "home").claim()
    assert Materialization(home, "+spare_dataset or +review_sample", ("docci",)).execute()
    return home


def parents(node: Any) -> set[str]:
    return {parent.to_user_string() for parent in node.parent_keys}


def test_columns_come_from_columns_of_the_tables_directly_upstream(nodes: dict[str, Any]) -> None:
    for name, schema in TABLES.items():
        assert set(schema.made_from) <= set(schema.names), name
        assert set(schema.carried_from) <= parents(nodes[name]), name
        for column, origins in column_origins(schema).items():
            assert origins and len(set(origins)) == len(origins), (name, column)
            for table, origin in origins:
                assert table in parents(nodes[name]), (name, column, table)
                assert origin in TABLES[table].names, (name, column, table, origin)


def test_a_column_that_is_also_upstream_is_said_to_come_from_there(nodes: dict[str, Any]) -> None:
    for name, schema in TABLES.items():
        upstream = {column for parent in parents(nodes[name]) for column in TABLES[parent].names}
        unsaid = {column for column in schema.names if column not in column_origins(schema)} & upstream
        assert unsaid <= set(MADE_ANEW), (name, unsaid)


def test_tables_without_origins_are_those_that_begin_the_graph() -> None:
    assert {name for name, schema in TABLES.items() if not column_origins(schema)} == {
        "captions",
        "quarantined_captions",
        "benchmark_images",
        "vqa_relations",
        "vqa_composition",
    }
    for name in ("qa_pairs", "spatial_captions", "spatial_pairs", "rejected_pairs", "spare_dataset"):
        assert set(column_origins(TABLES[name])) == set(TABLES[name].names), name
    assert column_origins(TABLES["qa_pairs"])["question"] == (("spatial_captions", "caption"),)


def test_what_is_carried_over_is_found_upstream(finished: Home) -> None:
    store = TableStore(finished.tables)

    def rows(table: str) -> pl.LazyFrame | None:
        key = "docci" if TABLES[table].partition == "source" else None
        stored = TABLES[table].partition != "model" and store.exists(table, key)
        return store.scan(table, key) if stored else None

    compared = 0
    for name, schema in TABLES.items():
        for column, origins in column_origins(schema).items():
            tables = [rows(table) for table, origin in origins if origin == column]
            values = rows(name)
            if column in schema.made_from or values is None or any(table is None for table in tables):
                continue
            known = pl.concat([table.select(column) for table in tables if table is not None])
            strange = values.select(column).drop_nulls().join(known, on=column, how="anti").collect()
            assert strange.is_empty(), (name, column)
            compared += 1
    assert compared > 50


def test_the_asset_page_is_told_where_columns_come_from(nodes: dict[str, Any], finished: Home) -> None:
    for name, schema in TABLES.items():
        metadata = nodes[name].metadata
        lineage = metadata["dagster/column_lineage"]
        assert {
            column: {(dep.asset_key.to_user_string(), dep.column_name) for dep in deps}
            for column, deps in lineage.deps_by_column.items()
        } == {column: set(origins) for column, origins in column_origins(schema).items()}
    columns = {c.name: c for c in nodes["question_embeddings"].metadata["dagster/column_schema"].columns}
    assert columns["embedding"].description.endswith("From [qa_pairs.question](/assets/qa_pairs).")
    columns = {c.name: c for c in nodes["model_comparison"].metadata["dagster/column_schema"].columns}
    assert columns["contrast"].description.endswith(", 6 more.")
    with open_instance(finished) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey("qa_pairs"))
    assert event is not None and event.asset_materialization is not None
    lineage = event.asset_materialization.metadata["dagster/column_lineage"].value
    assert lineage == nodes["qa_pairs"].metadata["dagster/column_lineage"]


def test_kinds_and_tags_say_what_an_asset_uses(nodes: dict[str, Any], defs: dg.Definitions) -> None:
    for name, node in nodes.items():
        assert "parquet" in node.kinds and 2 <= len(node.kinds) <= 3, name
        assert (node.tags["cost"] == "model") == ("gpu" in (node.pools or ())), name
        assert node.tags["stage"] in {"dataset", "training", "evaluation", "study", "release"}
    graph = defs.resolve_asset_graph()
    selected = dg.AssetSelection.from_string('tag:"stage"="dataset" and tag:"cost"="model"').resolve(graph)
    assert {key.to_user_string() for key in selected} == {
        "spatial_captions",
        "caption_verdicts",
        "qa_pairs",
        "generation_outcomes",
        "question_embeddings",
        "image_embeddings",
        "spatial_pairs",
        "spatial_verdicts",
    }


def test_whatever_asks_a_model_queues_for_it(defs: dg.Definitions) -> None:
    """Judged by what an asset takes. `vqa_composition` takes engines and asks none unless the profile names one."""
    models = {"engines", "encoder", "scored_models"}
    graph = defs.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        takes = models & set(node.assets_def.required_resource_keys)
        trains = key.to_user_string() in {"checkpoint", "hyperparameter_trials"}
        expected = {"gpu"} if trains or (takes and key.to_user_string() != "vqa_composition") else set()
        assert set(node.pools or ()) == expected, key


def test_the_kind_of_a_stage_follows_its_engine(make_home: Callable[..., Home]) -> None:
    engines = {"analyst": {"kind": "rule_based"}, "server": {"kind": "openai", "model": "any"}}
    synthesis = {"filter_engine": "server", "generation_engine": "analyst"}
    graph = build_defs(home=make_home(engines=engines, synthesis=synthesis)).resolve_asset_graph()
    assert "openai" in graph.get(dg.AssetKey("spatial_captions")).kinds
    assert "python" in graph.get(dg.AssetKey("qa_pairs")).kinds


def test_owners_are_a_setting(nodes: dict[str, Any], make_home: Callable[..., Home]) -> None:
    assert {tuple(node.owners) for node in nodes.values()} == {("team:spare",)}
    owners = ["team:vision lab", "ada.l@example.org"]
    graph = build_defs(home=make_home("other", owners=owners)).resolve_asset_graph()
    assert all(list(graph.get(key).owners) == owners for key in graph.get_all_asset_keys())
    graph = build_defs(home=make_home("nobody", owners=[])).resolve_asset_graph()
    assert not any(graph.get(key).owners for key in graph.get_all_asset_keys())
    with pytest.raises(SettingsError, match=r"owners\.0"):
        make_home("wrong", owners=["spare"])


@given(st.from_regex(OWNER, fullmatch=True))
def test_an_owner_that_settings_take_dagster_takes(owner: str) -> None:
    assert is_valid_owner(owner)


def test_descriptions_are_sentences_with_the_paper_where_it_speaks(nodes: dict[str, Any]) -> None:
    for name, node in nodes.items():
        for paragraph in node.description.split("\n\n"):
            assert not paragraph[0].islower() and paragraph.rstrip().endswith("."), (name, paragraph)
    ours = {"quarantined_captions", "caption_relations", "cost_report", "generation_forecast", "pair_relations"}
    speaking = {"captions", "synthesis", "clip", "quality", "benchmarks", "analyses"}
    silent = {
        name
        for name, node in nodes.items()
        if node.group_name in speaking and not {"paper", "table"} & set(re.findall(r"[a-z]+", node.description.lower()))
    }
    assert silent <= ours


def test_a_batch_size_reaches_the_setting_of_each_engine() -> None:
    assert with_batch_size(TransformersEngine(model="a/b"), 3) == TransformersEngine(model="a/b", batch_size=3)
    assert with_batch_size(OpenAIEngine(model="a"), 3) == OpenAIEngine(model="a", concurrency=3)
    assert with_batch_size(VllmEngine(model="a/b"), 3) == VllmEngine(model="a/b", window=3)
    assert with_batch_size(RuleBasedEngine(), 3) == RuleBasedEngine()
    assert with_batch_size(OpenAIEngine(model="a"), None) == OpenAIEngine(model="a")
    assert {engine_kind(engine) for engine in (RuleBasedEngine(), OpenAIEngine(model="a"))} == {"python", "openai"}


def test_a_batch_size_of_one_run_is_used_and_nothing_is_asked_twice(tmp_path: Path) -> None:
    with ChatServer(lambda call: Answer(reply_of_rules(call), seconds=0.02)) as server:
        home = open_home(str(server_profile(tmp_path, server.base_url)), tmp_path / "home").claim()
        three = tuple(f"{asset}.batch_size=3" for asset in ("spatial_captions", "qa_pairs"))
        assert Materialization(home, "+qa_pairs", ("docci",), overrides=three).execute()
        assert server.peak == 3
        calls = len(server.calls)
        assert Materialization(home, "spatial_captions or qa_pairs", ("docci",)).execute()
        assert len(server.calls) == calls, "the profile's size finds every reply of the run's"
        again = Materialization(home, "spatial_captions", ("docci",), overrides=("spatial_captions.batch_size=5",))
        assert again.execute() and len(server.calls) == calls
        assert not Materialization(home, "qa_pairs", ("docci",), overrides=("qa_pairs.batch_size=0",)).execute()
    store = TableStore(home.tables)
    assert "overrides" not in store.metadata("spatial_captions", "docci")
    with open_instance(home) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey("spatial_captions"))
    assert event is not None and event.asset_materialization is not None
    assert "launchpad_overrides" not in event.asset_materialization.metadata


def test_a_cut_off_of_one_run_is_an_override_and_a_batch_size_beside_it_is_not(tmp_path: Path) -> None:
    home = open_home(str(sandbox_profile(tmp_path, scenes=5)), tmp_path / "home").claim()
    overrides = ("spatial_captions.minimum_probability=0.7", "spatial_captions.batch_size=2")
    assert Materialization(home, "+spatial_captions", ("docci",), overrides=overrides).execute()
    recorded = TableStore(home.tables).metadata("spatial_captions", "docci")["overrides"]
    assert json.loads(recorded) == {"minimum_probability": 0.7}


def test_every_setting_of_the_launchpad_is_described_and_may_be_left_out(defs: dg.Definitions) -> None:
    job = defs.resolve_implicit_global_asset_job_def()
    settings: dict[str, set[str]] = {}
    for node in job.nodes:
        schema: Any = job.graph.node_dict[node.name].definition.config_schema
        for name, field in (getattr(schema.config_type, "fields", None) or {}).items():
            assert field.description and not field.is_required, (node.name, name)
            settings.setdefault(node.name, set()).add(name)
    assert settings["captions"] == {"limit", "replace_full"}
    assert {name for name, found in settings.items() if "batch_size" in found} == {
        "spatial_captions",
        "qa_pairs",
        "spatial_pairs",
        *(name for name in TABLES if name.endswith("_score")),
    }
