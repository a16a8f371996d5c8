"""Samples of a table on its asset page: what people read first, in lines of a readable length."""

import dagster as dg
import polars as pl

from spare_assets.orchestration.stage import sample_table

BLANK, FIXED = " ", "\N{NO-BREAK SPACE}"


def cells(**row: object) -> dict[str, object]:
    table = sample_table(pl.LazyFrame([row]))
    assert isinstance(table, dg.TableMetadataValue)
    return dict(table.records[0].data)


def test_a_line_of_a_cell_breaks_only_where_it_is_full() -> None:
    said = str(cells(question="Where is the red lamp in relation to the small wooden table?")["question"])
    lines = said.split(BLANK)
    assert len(lines) == 2 and max(map(len, lines)) <= 36
    assert said.replace(FIXED, BLANK) == "Where is the red lamp in relation to the small wooden table?"


def test_what_has_no_blanks_stays_whole() -> None:
    identity = "pixmo_cap:" + "0123456789abcdef" * 3
    assert cells(caption_id=identity) == {"caption_id": identity}


def test_pairs_are_told_as_people_read_them() -> None:
    pairs = [{"pair_id": "ab", "question": "What is left?", "answer": "the cup"}]
    assert cells(pairs=pairs)["pairs"] == "What is left? → the cup".replace(BLANK, FIXED)


def test_long_texts_are_cut_and_what_people_read_comes_first() -> None:
    found = cells(caption_id="a", caption="word " * 100, kept=True, score=0.123456)
    assert [*found] == ["caption", "kept", "score", "caption_id"]
    assert len(str(found["caption"])) <= 160 and str(found["caption"]).endswith("…")
    assert found["score"] == 0.1235 and found["kept"] is True
