"""The relation analyses as assets of real runs: over the sandbox, and over real captions and VSR's statements.

With `-s` the run over real texts prints its tables.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import polars as pl
import pytest

from spare_assets.analyses.relation_frequencies import PRINTED, relation_table, spread_table, stored_counts
from spare_assets.cli.materialize import Materialization
from spare_assets.orchestration.instance import open_instance
from spare_assets.relations.matcher import KeywordCounts, count_keywords
from spare_assets.settings import Home, open_home
from spare_assets.storage.tables import TableStore, content_hash
from spare_assets_tests.profiles import real_captions_profile, sandbox_profile
from spare_assets_tests.real_texts import real_texts

RELATIONS = "+pair_relations or +caption_relations"
FLATTER = {
    *("entropy_gain_bits", "gini_drop", "top_share_drop"),
    *("relation_entropy_gain_bits", "relation_gini_drop"),
}


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home of the sandbox in which the relations have been counted."""
    folder = tmp_path_factory.mktemp("counted")
    home = open_home(str(sandbox_profile(folder, scenes=30)), folder / "home").claim()
    assert Materialization(home, RELATIONS).execute()
    return home


def metadata(home: Home, asset: str) -> dict[str, Any]:
    with open_instance(home) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(asset))
    assert event is not None and event.asset_materialization is not None
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def counts_of(rows: pl.LazyFrame, **of: str) -> KeywordCounts:
    return stored_counts(rows.filter(**of))


def found(counts: KeywordCounts) -> dict[str, int]:
    return {keyword: count for keyword, count in counts.matches.items() if count}


def test_one_view_shows_captions_pairs_and_questions(counted: Home) -> None:
    with duckdb.connect(str(counted.catalog), read_only=True) as connection:
        sums = connection.execute(
            "SELECT kind, corpus, scope, count(*), sum(share), sum(matches) FROM relation_frequencies GROUP BY ALL"
        ).fetchall()
    sources = set(counted.settings.sources)
    assert {(kind, corpus) for kind, corpus, *_ in sums} == {
        *(("captions", source) for source in sources),
        *(("pairs", source) for source in (*sources, "total")),
        *(("vqa", dataset) for dataset in (*counted.settings.analyses.vqa, "total")),
    }
    for kind, corpus, scope, rows, share, matches in sums:
        assert scope in ("all", "spatial")
        assert rows == 201
        assert share == pytest.approx(100) if matches else share is None, (kind, corpus, scope)


def test_the_tables_count_what_the_stages_hold(counted: Home) -> None:
    store = TableStore(counted.tables)
    for source in counted.settings.sources:
        for table, scope, stage in (
            ("caption_relations", "all", "captions"),
            ("caption_relations", "spatial", "spatial_captions"),
            ("pair_relations", "all", "aligned_pairs"),
            ("pair_relations", "spatial", "spatial_pairs"),
        ):
            partition = source if table == "caption_relations" else None
            counts = counts_of(store.scan(table, partition), source=source, scope=scope)
            assert counts.texts == store.rows(stage, source), (table, scope)
            assert counts.matches["left"] > 0
    totals = {
        scope: counts_of(store.scan("pair_relations"), source="total", scope=scope) for scope in ("all", "spatial")
    }
    assert totals["spatial"].texts == sum(store.rows("spatial_pairs", source) for source in counted.settings.sources)
    assert totals["spatial"].texts < totals["all"].texts


def test_the_asset_pages_show_spread_and_picture(counted: Home) -> None:
    for asset in ("caption_relations", "pair_relations", "vqa_relations"):
        shown = metadata(counted, asset)
        assert len(shown["picture"]) < 200_000
        assert len(shown["relations_percent"].records) == 29
        assert {"entropy_bits", "gini", "top_17%_hold"} <= set(shown["spread"].records[0].data)
    assert set(metadata(counted, "pair_relations")) >= FLATTER
    assert metadata(counted, "vqa_relations")["absent_datasets"] == {}


def test_counting_again_changes_nothing(counted: Home) -> None:
    tables = [
        path for name in ("pair_relations", "vqa_relations") for path in (counted.tables / name).glob("*.parquet")
    ]
    before = [content_hash(path) for path in tables]
    assert Materialization(counted, "vqa_relations or pair_relations").execute()
    assert [content_hash(path) for path in tables] == before


def test_without_files_of_any_dataset_there_is_a_table_of_zeros(tmp_path: Path) -> None:
    vqa = {"mine": {"title": "Mine", "format": "vsr", "files": ["mine.jsonl"], "homepage": "https://example.org"}}
    home = open_home(str(sandbox_profile(tmp_path, scenes=1, analyses={"vqa": vqa})), tmp_path / "home").claim()
    assert Materialization(home, "vqa_relations").execute()
    rows = TableStore(home.tables).scan("vqa_relations").collect()
    assert rows["dataset"].unique().to_list() == ["total"]
    assert rows["matches"].sum() == 0
    assert "mine.jsonl" in metadata(home, "vqa_relations")["absent_datasets"]["mine"]


def test_real_captions_and_statements(real_data: Path, tmp_path: Path) -> None:
    home = open_home(str(real_profile(tmp_path, real_data)), tmp_path / "home").claim()
    assert Materialization(home, RELATIONS).execute()
    store = TableStore(home.tables)
    texts = real_texts(real_data)
    every_caption = texts["COCO"]
    texts["COCO"] = [caption for _, caption in one_caption_per_image(real_data)]
    sources = {"docci": "DOCCI", "imageinwords": "IIW", "comprecap": "CompreCap", "coco": "COCO"}
    report: dict[str, KeywordCounts] = {}
    for source, name in sources.items():
        rows = store.scan("caption_relations", source)
        report[f"{name} captions"] = counts_of(rows, scope="all")
        report[f"{name} captions, spatial"] = counts_of(rows, scope="spatial")
        plain = count_keywords(pl.LazyFrame({"text": texts[name]}), "text")
        assert found(report[f"{name} captions"]) == found(plain), name
        assert report[f"{name} captions"].texts == len(texts[name])
    pairs, questions = store.scan("pair_relations"), store.scan("vqa_relations")
    report["COCO, all five captions"] = count_keywords(pl.LazyFrame({"text": every_caption}), "text")
    report |= {f"pairs of {name}": counts_of(pairs, source=key, scope="spatial") for key, name in sources.items()}
    report["all pairs"] = counts_of(pairs, source="total", scope="spatial")
    report["VSR statements"] = counts_of(questions, dataset="vsr", scope="all")
    report["VSR statements, spatial"] = counts_of(questions, dataset="vsr", scope="spatial")
    assert report["VSR statements"].texts == len(texts["VSR"])
    assert report["VSR statements, spatial"].texts > 0.8 * len(texts["VSR"]), "its statements are about space"
    report["Table 11 as printed"] = PRINTED
    shown = metadata(home, "pair_relations")
    assert set(shown) >= FLATTER
    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=400, fmt_str_lengths=40, float_precision=3):
        print(spread_table(report))
        print(relation_table(report))
        print({name: round(shown[name], 3) for name in sorted(FLATTER)})


def real_profile(folder: Path, data: Path) -> Path:
    captions = folder / "coco.csv"
    with captions.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "text"])
        writer.writerows(one_caption_per_image(data))
    sources = {
        "docci": {"format": "docci", "files": ["docci/docci_descriptions.jsonlines"]},
        "imageinwords": {
            "format": "table",
            "files": ["imageinwords/iiw_400.jsonl"],
            "columns": {"caption": "IIW", "id": "image/key"},
        },
        "comprecap": {
            "format": "table",
            "files": ["comprecap_longcaps/GPT-4o.json"],
            "columns": {"caption": "value", "id": "key"},
        },
        "coco": {"format": "table", "files": [str(captions)], "columns": {"caption": "text", "id": "image"}},
    }
    vsr = {"title": "VSR", "format": "vsr", "files": ["vsr/splits/zeroshot/*.jsonl"]}
    return real_captions_profile(folder, data, sources=sources, analyses={"vqa": {"vsr": vsr}})


def one_caption_per_image(data: Path) -> list[tuple[int, str]]:
    """The first of the five captions of each of COCO's 5,000 validation images."""
    path = data / "coco_captions_val2017" / "captions_val2017.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["annotations"]
    return list({row["image_id"]: row["caption"] for row in reversed(rows)}.items())
