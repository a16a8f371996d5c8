"""A snapshot of the graph's shape, so that a change to it shows up in review.

Write it anew with `python -m spare_assets_tests.orchestration.test_graph`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import yaml

from spare_assets.definitions import build_defs
from spare_assets.settings import PROFILES, Home, load_settings
from spare_assets.storage.schemas import TABLES

SNAPSHOT = Path(__file__).with_name("graph.txt")


def shape(defs: dg.Definitions) -> str:
    graph = defs.resolve_asset_graph()
    lines = []
    for key in sorted(graph.get_all_asset_keys(), key=lambda key: (graph.get(key).group_name, key)):
        node = graph.get(key)
        parents = ", ".join(sorted(parent.to_user_string() for parent in node.parent_keys))
        partition = f"by {TABLES[key.path[-1]].partition}" if node.partitions_def else "whole"
        pools = ", ".join(sorted(node.pools or ())) or "-"
        lines.append(f"{node.group_name}/{key.to_user_string()} | {partition} | pool {pools} | from {parents or '-'}")
    for check in sorted(graph.asset_check_keys, key=str):
        lines.append(f"check {check.name} on {check.asset_key.to_user_string()}")
    return "\n".join(lines) + "\n"


def test_the_graph_has_the_shape_on_record(make_home: Callable[..., Home]) -> None:
    assert shape(build_defs(home=make_home())) == SNAPSHOT.read_text(), (
        "the graph changed; if you meant it: python -m spare_assets_tests.orchestration.test_graph"
    )


def test_the_graph_is_the_same_in_every_profile(tmp_path: Path) -> None:
    shapes = {
        name: shape(build_defs(home=Home(tmp_path / name, load_settings(name)).claim()))
        for name in ("sandbox", "paper", "docci")
    }
    assert len(set(shapes.values())) == 1


def test_every_table_is_an_asset_with_a_described_schema(make_home: Callable[..., Home]) -> None:
    graph = build_defs(home=make_home()).resolve_asset_graph()
    assert {key.to_user_string() for key in graph.get_all_asset_keys()} == set(TABLES)
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        columns = node.metadata["dagster/column_schema"].columns
        assert [column.name for column in columns] == TABLES[key.to_user_string()].names
        assert all(column.description for column in columns)
        assert node.description and node.code_version and node.group_name


def test_all_sources_share_one_backfill_policy(make_home: Callable[..., Home]) -> None:
    graph = build_defs(home=make_home()).resolve_asset_graph()
    policies = {graph.get(key).backfill_policy for key in graph.get_all_asset_keys() if graph.get(key).partitions_def}
    assert policies == {dg.BackfillPolicy.multi_run(1)}


def test_assets_are_partitioned_as_their_tables(tmp_path: Path) -> None:
    home = Home(tmp_path, load_settings("sandbox")).claim()
    graph = build_defs(home=home).resolve_asset_graph()
    keys = {"source": list(home.settings.sources), "model": list(home.settings.models), None: None}
    for key in graph.get_all_asset_keys():
        partitions = graph.get(key).partitions_def
        found = list(partitions.get_partition_keys()) if partitions else None
        assert found == keys[TABLES[key.path[-1]].partition], key


def test_a_setting_makes_exactly_the_assets_that_read_it_stale(make_home: Callable[..., Home]) -> None:
    def versions(home: Home) -> dict[str, str | None]:
        graph = build_defs(home=home).resolve_asset_graph()
        return {key.to_user_string(): graph.get(key).code_version for key in graph.get_all_asset_keys()}

    before = versions(make_home("one"))
    after = versions(make_home("two", quality={"minimum_alignment": 0.4}))
    assert {name for name in before if before[name] != after[name]} == {"aligned_pairs", "alignment_verdicts"}
    engine = {"kind": "transformers", "model": "a/b"}
    one, other = (
        versions(make_home(f"engine-{size}", engines={"analyst": engine | {"batch_size": size}})) for size in (1, 64)
    )
    assert one == other, "how many requests go together decides nothing"
    sandbox = yaml.safe_load((PROFILES / "sandbox.yaml").read_text())
    training = copy.deepcopy(sandbox["training"])
    training["recipes"]["spare"] |= {"learning_rate": 0.1, "micro_batch_size": 1}
    after = versions(make_home("recipe", training=training))
    assert {name for name in before if before[name] != after[name]} == {"checkpoint", "hyperparameter_trials"}
    training["recipes"]["spare"] |= {"learning_rate": sandbox["training"]["recipes"]["spare"]["learning_rate"]}
    assert versions(make_home("shared", training=training)) == before, "how many rows share a pass decides nothing"
    after = versions(make_home("three", synthesis={"max_new_tokens": 99}))
    assert {name for name in before if before[name] != after[name]} == {
        "qa_pairs",
        "generation_outcomes",
        "generation_ablation",
        "generation_forecast",
    }


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        SNAPSHOT.write_text(shape(build_defs(home=Home(Path(folder), load_settings("sandbox")).claim())))
