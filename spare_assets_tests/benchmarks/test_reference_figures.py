from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from spare_assets.benchmarks.reference_figures import (
    AVERAGE,
    GENERAL_COLUMNS,
    PAPER,
    PRINTED_AVERAGE,
    SAMPLED,
    SPATIAL_COLUMNS,
    TABLE_3,
    TABLE_4,
    recomputed_average,
)

TEXT = Path(__file__).parents[2] / "../shared/paper/spare.txt"
ROWS = {row.name: row for row in TABLE_3}


def printed_rows() -> Iterator[list[str]]:
    if not TEXT.is_file():
        pytest.skip("the paper's text is not beside this checkout")
    for line in TEXT.read_text(encoding="utf-8").splitlines():
        if line.startswith("|"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def test_table_3_stands_as_printed() -> None:
    columns = (*SPATIAL_COLUMNS, AVERAGE, *GENERAL_COLUMNS)
    found = {}
    for name, *figures in printed_rows():
        if len(figures) == len(columns) and all(re.fullmatch(r"[\d.]+|–", figure) for figure in figures):
            read = {column: float(figure) for column, figure in zip(columns, figures, strict=True) if figure != "–"}
            found[name.removesuffix(" ⁷")] = read
    assert found == {row.name: dict(row.figures) for row in TABLE_3}
    assert list(found) == [row.name for row in TABLE_3]


def test_table_4_stands_as_printed_and_agrees_with_table_3() -> None:
    cells = [row for row in printed_rows() if len(row) == 2]
    assert [row for row in cells if row[0] in TABLE_4] == [[name, str(value)] for name, value in TABLE_4.items()]
    assert TABLE_4["SpaRE-7B"] == ROWS["SpaRE-7B (Ours)"].figures[AVERAGE]
    assert TABLE_4["Qwen2VL-7B"] == ROWS["Qwen2VL-7B"].figures[AVERAGE]


def test_averages_that_are_not_the_mean_of_their_row_say_so() -> None:
    differing = {}
    for row in TABLE_3:
        mean = recomputed_average(row.figures)
        assert mean is not None
        if f"{mean:.1f}" != f"{row.figures[AVERAGE]:.1f}":
            differing[row.name] = f"{mean:.1f}"
    assert differing == {
        "Human Estimate": "97.8",
        "SpaRE-2B (Ours)": "77.4",
        "Qwen2VL-7B": "79.6",
        "InternVL2-8B": "72.9",
        "GPT-4o-mini": "66.8",
        "GPT-4o": "77.1",
    }
    for name, row in ROWS.items():
        noted = f"{PRINTED_AVERAGE}; the figures of its row average {differing[name]}" if name in differing else ""
        assert row.sources[AVERAGE] == (noted or PRINTED_AVERAGE)
    assert recomputed_average({"mmmu": 40.0}) is None


def test_every_cell_names_its_source() -> None:
    assert all(set(row.sources) == set(row.figures) for row in TABLE_3)
    for name in ("Random", "Human Estimate"):
        sources = ROWS[name].sources
        assert "Liu et al., 2023a" in sources["vsr"] and "Ma et al., 2024" in sources["threedsr_bench"]
        assert "Kamath et al., 2023" in sources["whats_up_a"] == sources["whats_up_b"]
    for name in ("GPT-4o", "GPT-4o-mini"):
        sources = ROWS[name].sources
        assert {sources[column] for column in ("vsr", "whats_up_a", "whats_up_b")} == {SAMPLED}
        assert "Ma et al., 2024" in sources["threedsr_bench"] and sources["realworldqa"] == PAPER
    own = {source for column, source in ROWS["SpaRE-2B (Ours)"].sources.items() if column != AVERAGE}
    assert own == {PAPER}
