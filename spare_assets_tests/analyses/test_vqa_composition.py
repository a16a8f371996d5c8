"""Table 2 adds up, stands beside the printed figures, and is judged by the grammar or by an engine over a sample."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from spare_assets.analyses.spatial_content import Draw, judged_statement, spatial_flags
from spare_assets.analyses.vqa_composition import (
    PRINTED,
    Composition,
    composition_table,
    shown_table,
    too_many_unreadable,
)
from spare_assets.analyses.vqa_datasets import QUESTIONS
from spare_assets.cli.materialize import Materialization
from spare_assets.settings import RESERVED_SOURCE, Home, LimitSettings, load_settings, open_home
from spare_assets.storage.ledger import CompletionLedger
from spare_assets.storage.tables import TableStore
from spare_assets_tests.profiles import sandbox_profile

REAL = Path(__file__).parents[3] / "shared" / "data"


def test_shares_add_up_and_the_total_weighs_by_questions() -> None:
    table = composition_table(
        [
            Composition("vqav2", "VQAv2", 900, 0, 900, 90, "grammar"),
            Composition("gqa", "GQA", 100, 2, 50, 50, "engine"),
            Composition("okvqa", "OKVQA"),
        ]
    )
    assert table["dataset"].to_list() == ["vqav2", "gqa", "okvqa", RESERVED_SOURCE]
    assert table["status"].to_list() == ["read", "read", "absent", "total"]
    assert table["share"].to_list() == [90.0, 10.0, None, 100.0]
    assert table["spatial_share"].to_list() == [10.0, 100.0, None, pytest.approx(19.0)]
    assert table["judged_questions"].to_list() == [900, 50, None, 950]
    # Only a sample has an interval.
    assert table["low"].is_null().to_list() == [True, False, True, True]
    assert table["paper_questions"].to_list() == [443_800, 943_000, 9_000, 30_747_500]
    assert shown_table(table).row(0)[:4] == ("VQAv2", "0.9k", "90.0 %", "10.0 %")


def test_the_printed_figures_are_those_of_the_paper() -> None:
    counts = [count for key, (count, _) in PRINTED.items() if key != RESERVED_SOURCE]
    assert sum(counts) == PRINTED[RESERVED_SOURCE][0]
    for count, share in PRINTED.values():
        assert share == pytest.approx(100 * count / PRINTED[RESERVED_SOURCE][0], abs=0.036)
    assert set(PRINTED) - {RESERVED_SOURCE} <= set(load_settings("paper").analyses.vqa)


def test_nothing_there_is_a_table_of_absences() -> None:
    table = composition_table([Composition("vqav2", "VQAv2")])
    assert table.select("dataset", "questions", "share").rows() == [("vqav2", None, None), (RESERVED_SOURCE, 0, None)]


def flags(form: str, *turns: tuple[str, str | None]) -> list[bool]:
    rows = [{"dataset": "some", "question": question, "answer": answer} for question, answer in turns]
    return spatial_flags(pl.DataFrame(rows, schema=QUESTIONS), form).to_list()


def test_questions_are_judged_by_their_wording_and_statements_as_captions() -> None:
    assert flags("gqa", ("What is to the left of the cup?", "a plate"), ("What color is it?", "red")) == [True, False]
    assert flags("vsr", ("The cat is under the table.", "True"), ("The cat is happy.", "False")) == [True, False]
    described = "A small dog sits to the left of the red ball."
    assert flags("conversations", ("Describe the image.", described), ("Describe it.", "A fine day.")) == [True, False]
    # A question stays one, however its answer goes on.
    assert flags("conversations", ("What is it?", described)) == [False]
    assert judged_statement("Describe the image.", None, "conversations") is None


@pytest.mark.skipif(not (REAL / "vsr").is_dir(), reason="the real VSR statements are not beside the project")
def test_real_vsr_statements_are_nearly_all_spatial() -> None:
    lines = (REAL / "vsr/splits/zeroshot/dev.jsonl").read_text(encoding="utf-8").splitlines()
    found = flags("vsr", *((json.loads(line)["caption"], None) for line in lines))
    assert sum(found) / len(found) > 0.93


def test_a_larger_draw_holds_the_smaller_one_and_is_even() -> None:
    questions = pl.DataFrame(
        {"dataset": ["some"] * 10_000, "question": [f"{n}?" for n in range(10_000)], "answer": None}
    )
    drawn = []
    for size, batch in ((100, 999), (1_000, 10_000), (20_000, 37)):
        draw = Draw(size)
        for start in range(0, questions.height, batch):
            draw.add(questions.slice(start, batch))
        drawn.append(draw.rows()["ordinal"].to_list())
    assert [len(ordinals) for ordinals in drawn] == [100, 1_000, 10_000]
    assert set(drawn[0]) < set(drawn[1]) < set(drawn[2])
    assert drawn[1] == sorted(drawn[1])
    assert all(60 <= sum(1 for n in drawn[1] if n // 1_000 == part) <= 140 for part in range(10))


def test_more_unreadable_questions_than_allowed_are_told_with_file_and_line() -> None:
    limits = LimitSettings(unreadable_share=0.05, unreadable_rows=10)
    assert too_many_unreadable("gqa", 0, 10, ["q.json:1: bad"], limits) == ""
    assert too_many_unreadable("gqa", 380, 20, ["q.json:1: bad"], limits) == ""
    said = too_many_unreadable("gqa", 100, 20, ["q.json:1: bad"], limits)
    assert "20 of 120" in said
    assert "q.json:1: bad" in said


def small(folder: Path, **analyses: Any) -> Home:
    shipped = load_settings("sandbox").model_dump(mode="json")["analyses"]["vqa"]
    for dataset in shipped.values():
        dataset["scenes"]["count"] = 60
    chosen = {key: shipped[key] for key in ("vqav2", "vsr", "objects365_yorn")}
    chosen["absent"] = shipped["gqa"] | {
        "scenes": None,
        "files": ["nowhere/*.json"],
        "homepage": "https://gqa.example/",
    }
    profile = sandbox_profile(folder, scenes=5, analyses={"vqa": chosen, **analyses})
    return open_home(str(profile), folder / "home").claim()


def test_the_asset_counts_all_by_the_grammar_and_lists_what_is_absent(tmp_path: Path) -> None:
    home = small(tmp_path)
    assert Materialization(home, "vqa_composition", ()).execute()
    table = TableStore(home.tables).scan("vqa_composition").collect()
    rows = {row["dataset"]: row for row in table.iter_rows(named=True)}
    assert {key: row["questions"] for key, row in rows.items()} == {
        **{"absent": None, "objects365_yorn": 60, "vqav2": 60, "vsr": 60},
        RESERVED_SOURCE: 180,
    }
    assert rows["absent"]["status"] == "absent"
    assert rows["vsr"]["spatial_questions"] >= 54
    assert 0 < rows["vqav2"]["spatial_questions"] < 30
    assert rows["objects365_yorn"]["spatial_questions"] == 0
    assert set(table["judge"].drop_nulls()) == {"grammar"}


def test_an_engine_is_asked_about_a_sample_and_nothing_twice(tmp_path: Path) -> None:
    home = small(tmp_path, spatial_engine="analyst", spatial_sample=20)
    assert Materialization(home, "vqa_composition", ()).execute()
    table = TableStore(home.tables).scan("vqa_composition").collect()
    read = table.filter(pl.col("status") == "read")
    assert read["judged_questions"].to_list() == [20] * 3
    assert set(read["judge"]) == {"analyst"}
    assert (read["low"] < read["high"]).all()
    stored = {key: len(CompletionLedger(home.completions, "judge_vqa", key).answered()) for key in read["dataset"]}
    assert all(0 < replies <= 20 for replies in stored.values())
    assert Materialization(home, "vqa_composition", ()).execute()
    again = {key: len(CompletionLedger(home.completions, "judge_vqa", key).answered()) for key in read["dataset"]}
    assert again == stored


def test_profile_with_no_file_at_hand_still_has_its_table(tmp_path: Path) -> None:
    dataset = {"title": "GQA", "format": "gqa", "files": ["nowhere.json"]}
    profile = sandbox_profile(tmp_path, scenes=5, analyses={"vqa": {"gqa": dataset}})
    home = open_home(str(profile), tmp_path / "home").claim()
    assert Materialization(home, "vqa_composition", ()).execute()
    assert TableStore(home.tables).rows("vqa_composition") == 2
