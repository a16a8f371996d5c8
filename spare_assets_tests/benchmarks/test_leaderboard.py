from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from spare_assets.benchmarks.leaderboard import (
    COLUMNS,
    Cell,
    LeaderboardRow,
    ModelScores,
    caption_comparison,
    leaderboard,
    leaderboard_table,
)
from spare_assets.benchmarks.leaderboard_picture import leaderboard_picture
from spare_assets.benchmarks.leaderboard_text import comparison_latex, comparison_markdown, latex, markdown
from spare_assets.benchmarks.metrics import TERMS, Metric, combined
from spare_assets.benchmarks.reference_figures import AVERAGE, GENERAL_COLUMNS, SPATIAL_COLUMNS
from spare_assets.storage.schemas import TABLES

QUESTIONS = 200
PRINTED = 12


def accuracy(right: int, questions: int = QUESTIONS) -> Metric:
    hits = [1.0] * right + [0.0] * (questions - right)
    terms = {"unit": [str(place) for place in range(questions)], "stratum": ["all"] * questions, "numerator": hits}
    return Metric("accuracy", "", pl.DataFrame(terms | {"denominator": [1.0] * questions}, schema=TERMS))


def points(right: int) -> Metric:
    """A score out of 200, as MME's are."""
    return combined("sum", [accuracy(right, 100)] * 2)


def scores(model: str, kind: str, right: Mapping[str, int], **given: Any) -> ModelScores:
    metrics = {
        column: points(count) if column.startswith("mme") else accuracy(count) for column, count in right.items()
    }
    return ModelScores(model, kind, metrics, **given)  # type: ignore[arg-type]


BASE = scores("base", "base", {"vsr": 100, "whats_up_a": 60, "mmmu": 80, "mme_code": 50})
SEEDS = [
    scores("spare-0", "trained", {"vsr": 150, "whats_up_a": 120, "mmmu": 80, "mme_code": 50}, recipe="spare", seed=0),
    scores("spare-1", "trained", {"vsr": 160, "whats_up_a": 140, "mmmu": 81, "mme_code": 48}, recipe="spare", seed=1),
]
SEEDS = [replace(seed, base="base") for seed in SEEDS]
CAPTIONS = scores(
    "captions-0", "trained", {"vsr": 104, "whats_up_a": 60}, recipe="captions", base="base", caption_trained=True
)
ENDPOINT = scores("server", "endpoint", {"vsr": 120})


def row(rows: Sequence[LeaderboardRow], name: str) -> LeaderboardRow:
    (found,) = [row for row in rows if row.name == name]
    return found


def test_rows_stand_in_order_and_the_table_has_one_for_each_cell() -> None:
    models = [CAPTIONS, *reversed(SEEDS), ENDPOINT, replace(BASE, chance={"vsr": 50.0})]
    rows = leaderboard(models, draws=100)
    names = [row.name for row in rows]
    assert names[:7] == ["base", "server", "spare", "spare-0", "spare-1", "captions-0", "random"]
    assert names[7:9] == ["Random", "Human Estimate"] and len(rows) == 7 + PRINTED
    table = leaderboard_table(rows)
    assert table.schema == TABLES["leaderboard"].polars()
    assert table.height == sum(len(row.cells) for row in rows) == table.select("place", "column").n_unique()
    assert table.filter(pl.col("source").is_null())["kind"].unique().sort().to_list() == [
        "base",
        "endpoint",
        "random",
        "trained",
    ]


def test_a_recipe_is_the_mean_over_its_seeds_with_their_sample_deviation() -> None:
    rows = leaderboard([BASE, *SEEDS], draws=500)
    cell = row(rows, "spare").cells["vsr"]
    assert [cell.value, cell.delta, cell.seeds, cell.units] == pytest.approx([77.5, 27.5, 2, QUESTIONS])
    assert cell.deviation == pytest.approx(50**0.5 / 2)
    assert cell.p_value is not None and cell.p_value < 0.01
    assert row(rows, "spare").cells["mme_code"].value == pytest.approx(98)
    assert row(rows, "spare-0").cells["vsr"].deviation is None
    assert row(rows, "spare-0").mean_in == "spare"
    assert row(rows, "spare").cells["mmmu"].p_value == pytest.approx(1, abs=0.3)
    released = row(rows, "base").cells["vsr"]
    assert released.delta is None and released.p_value is None


def test_the_average_is_the_mean_of_the_spatial_columns_present_and_deviates_as_the_seeds_averages() -> None:
    rows = leaderboard([BASE, *SEEDS], draws=500)
    cell = row(rows, "spare").cells[AVERAGE]
    assert cell.value == pytest.approx((77.5 + 65) / 2)
    # The seeds average 67.5 and 75.
    assert cell.deviation == pytest.approx(7.5 / 2**0.5)
    assert cell.delta == pytest.approx((77.5 + 65) / 2 - (50 + 30) / 2)
    assert cell.units == 2 and cell.p_value is not None and cell.p_value < 0.01
    assert row(rows, "base").cells[AVERAGE].value == pytest.approx(40)
    general = leaderboard([scores("one", "base", {"mmmu": 3})])[0]
    assert AVERAGE not in general.cells


def test_the_average_keeps_questions_of_different_benchmarks_apart() -> None:
    base = scores("base", "base", {"vsr": 0, "whats_up_a": 6})
    # Worse on the other at the very places where it is better on the one: drawn together, they would cancel out.
    model = scores("m", "trained", {"vsr": 12, "whats_up_a": 0}, base="base")
    cell = row(leaderboard([base, model], draws=1000), "m").cells[AVERAGE]
    assert cell.delta == pytest.approx(1.5) and cell.p_value is not None and 0.05 < cell.p_value < 0.5


def test_wholes_are_not_compared_where_one_side_lacks_a_column() -> None:
    partial = replace(SEEDS[1], metrics={"vsr": accuracy(160)})
    rows = leaderboard([BASE, SEEDS[0], partial], draws=100)
    cell = row(rows, "spare").cells[AVERAGE]
    assert cell.value == pytest.approx((77.5 + 60) / 2)
    assert cell.deviation is None and cell.p_value is None and cell.seeds == 1
    assert row(rows, "spare").cells["whats_up_a"].seeds == 1
    assert row(rows, "spare-1").cells[AVERAGE].delta == pytest.approx(80 - 50)
    poorer = leaderboard([scores("base", "base", {"vsr": 100}), SEEDS[0]], draws=100)
    assert row(poorer, "spare-0").cells[AVERAGE].delta is None
    assert "1 of 2 seeds are scored on all of this" in markdown(rows).replace("\\", "")


def test_clean_scores_stand_where_every_seed_was_checked() -> None:
    clean = {"vsr": accuracy(90, 120), "whats_up_a": None}
    rows = leaderboard([BASE, *(replace(seed, clean_metrics=clean) for seed in SEEDS)], draws=100, references=())
    cells = row(rows, "spare").cells
    assert (cells["vsr"].clean_value, cells["vsr"].clean_units) == (75.0, 120)
    assert cells["whats_up_a"].clean_units is None and cells[AVERAGE].clean_value is None
    both = [replace(seed, clean_metrics={**clean, "whats_up_a": accuracy(30, 40)}) for seed in SEEDS]
    assert row(leaderboard(both, draws=100), "spare").cells[AVERAGE].clean_value == pytest.approx(75)
    one = [both[0], replace(both[1], clean_metrics={})]
    assert row(leaderboard(one, draws=100), "spare").cells["vsr"].clean_value is None
    nothing_left = replace(BASE, clean_metrics={"vsr": accuracy(0, 0)})
    cell = leaderboard([nothing_left])[0].cells["vsr"]
    assert cell.clean_value is None and cell.clean_units == 0
    text = markdown(rows)
    assert "75.0 (120)" in text and "Not checked for images of the dataset: What's Up A, MMMU, MME code." in text


def test_guessing_is_what_the_largest_set_of_questions_says_and_unknown_where_it_can_not_be_told() -> None:
    sample = replace(ENDPOINT, metrics={"vsr": accuracy(5, 10)}, chance={"vsr": 48.0})
    full = replace(BASE, chance={"vsr": 50.0, "whats_up_a": 25.0, "mmmu": None})
    rows = leaderboard([sample, full], draws=100)
    cells = row(rows, "random").cells
    assert {column: cell.value for column, cell in cells.items()} == {"vsr": 50.0, "whats_up_a": 25.0, AVERAGE: 37.5}
    assert not [row for row in leaderboard([BASE], draws=100) if row.kind == "random"]
    assert "over 10 of 200 units" in markdown(rows)


def test_resolution_prompt_and_unparsed_replies_are_shown() -> None:
    seeds = [replace(seed, resolution="a to b", unparsed={"vsr": 0.5, "mmmu": 0.0}) for seed in SEEDS]
    rows = leaderboard([replace(BASE, system_prompt="Be brief."), *seeds], draws=100)
    found = leaderboard_table(rows).filter(pl.col("row") == "spare", pl.col("column") == "vsr").row(0, named=True)
    assert (found["resolution"], found["system_prompt"], found["unparsed"]) == ("a to b", None, 0.5)
    text = markdown(rows)
    assert "VSR 50.0%" in text and "Be brief" in text and "a to b" in text


def test_table_4_lays_pairs_base_and_captions_side_by_side_with_the_printed_ones() -> None:
    found = caption_comparison(leaderboard([BASE, *SEEDS, CAPTIONS, ENDPOINT], draws=100))
    assert found["row"].to_list() == ["spare", "base", "captions-0", "SpaRE-7B", "Qwen2VL-7B", "Molmo-7B-D"]
    assert found["trained_on"].to_list() == ["pairs", "nothing", "captions"] * 2
    assert found["value"].to_list() == pytest.approx([71.25, 40, 41, 82.3, 79.2, 76.6])
    assert found["seeds"].to_list()[:3] == [2, 1, 1] and found["columns"].to_list()[:3] == [2, 2, 2]
    assert found["source"].is_null().to_list() == [True] * 3 + [False] * 3
    assert "82.3" in comparison_markdown(found) and r"\toprule" in comparison_latex(found)
    assert caption_comparison([]).height == 3
    assert caption_comparison(leaderboard([CAPTIONS], draws=100))["row"].to_list()[0] == "captions-0"


def test_mistaken_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="base"):
        leaderboard([BASE, BASE])
    with pytest.raises(ValueError, match=r"one.*mme_colour"):
        leaderboard([scores("one", "base", {"mme_colour": 3})])


EVERY = dict.fromkeys((*SPATIAL_COLUMNS, *GENERAL_COLUMNS), 20)
MANY = [
    *(scores(f"model-{place}", "endpoint", {c: n + place for c, n in EVERY.items()}) for place in range(60)),
    *(scores(f"seed-{place}", "trained", EVERY, recipe="r", seed=place) for place in range(5)),
]


@pytest.mark.parametrize(
    "models",
    [
        [],
        [BASE],
        [SEEDS[0]],
        [scores("one", "endpoint", {"mmmu": 3})],
        [scores("none", "base", {})],
        [ModelScores("empty", "base", {"vsr": accuracy(0, 0)})],
        [BASE, *SEEDS, CAPTIONS, ENDPOINT],
        [replace(BASE, model="b", base="gone", kind="trained"), replace(SEEDS[0], system_prompt="x" * 5000)],
    ],
    ids=["no model", "base", "seed", "one general column", "no score", "no question", "some", "no base"],
)
@pytest.mark.parametrize("printed", [True, False])
def test_every_board_is_drawn_and_written(models: list[ModelScores], printed: bool) -> None:
    rows = leaderboard(models, draws=100) if printed else leaderboard(models, draws=100, references=())
    assert leaderboard_table(rows).schema == TABLES["leaderboard"].polars()
    for block in re.findall(r"(?:^\|.*\n)+", markdown(rows), flags=re.M):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1
    assert_latex_is_sound(latex(rows))
    png = leaderboard_picture(rows)
    picture = Image.open(io.BytesIO(png))
    assert picture.format == "PNG" and len(png) <= 200_000 and picture.width > 300


def assert_latex_is_sound(text: str) -> None:
    body = re.sub(r"\A%[^\n]*\n", "", text)
    plain = re.sub(r"\\.", "", body, flags=re.S)
    assert not set(plain) & set("#%~"), "a special character that nothing escapes"
    assert body.count(r"\begin{") == body.count(r"\end{")
    assert plain.count("{") == plain.count("}") and plain.count("$") % 2 == 0
    for table in re.findall(r"\\toprule\n(.*?)\\bottomrule", body, flags=re.S):
        lines = [line for line in table.replace("\\midrule\n", "").split("\\\\\n") if line.strip()]
        assert len({len(re.findall(r"(?<!\\)&", line)) for line in lines}) == 1


@given(st.text(max_size=30), st.text(max_size=30))
@settings(max_examples=60, deadline=None)
def test_outside_text_is_text_in_every_markup(name: str, prompt: str) -> None:
    model = replace(ENDPOINT, model=name, system_prompt=prompt, resolution=prompt)
    rows = leaderboard([model], draws=100, references=())
    plain = leaderboard([ENDPOINT], draws=100, references=())
    text = markdown(rows)
    assert len(text.splitlines()) == len(markdown(plain).splitlines())
    bars = re.compile(r"(?<!\\)(?:\\\\)*\|")
    assert [len(bars.findall(line)) for line in text.splitlines()] == [
        len(bars.findall(line)) for line in markdown(plain).splitlines()
    ]
    assert "<" not in text
    assert_latex_is_sound(latex(rows))


def test_the_worst_names_stay_names() -> None:
    name = r"[x](javascript:y) <b>|`$\frac{1}{2}$ **_%#&~^{}" + "\n# no heading"
    rows = leaderboard([replace(ENDPOINT, model=name)], draws=100)
    text = markdown(rows)
    assert "<b>" not in text and "\n# no" not in text and "[x](" not in text
    assert r"{[}x{]}" in latex(rows) and r"\frac" not in latex(rows)
    for hard in (name, r"$\nonsense$"):
        assert leaderboard_picture([replace(rows[0], name=hard)])[:4] == b"\x89PNG"


def test_marks_tell_how_sure_a_difference_is_and_where_a_figure_comes_from() -> None:
    cells = {"vsr": Cell(80.0, 1.25, 2, 10.0, 0.001), "whats_up_a": Cell(70.0, None, 2, -0.04, 0.03)}
    quoted = {"vsr": Cell(60.0, source="someone_else"), "whats_up_a": Cell(61.0, source="someone_else")}
    rows = [LeaderboardRow("m", "trained", cells, seeds=2), LeaderboardRow("r", "reference", quoted)]
    text = markdown(rows)
    assert r"80.0 ± 1.2 (+10.0\*\*)" in text and r"70.0 (0.0\*)" in text
    assert "60.0¹" in text and "61.0¹" in text and text.count("someone") == 1
    assert r"(+10.0^{**})" in latex(rows) and r"60.0\textsuperscript{1}" in latex(rows)


def test_the_picture_shows_other_scores_otherwise() -> None:
    few = leaderboard([BASE, *SEEDS], draws=100)
    other = leaderboard([BASE, SEEDS[0]], draws=100)
    assert leaderboard_picture(few) == leaderboard_picture(few) != leaderboard_picture(other)
    assert leaderboard_picture(few) == leaderboard_picture([row for row in few if row.kind != "reference"])


def test_of_many_models_those_trained_here_are_drawn_and_the_picture_stays_small() -> None:
    png = leaderboard_picture(leaderboard(MANY, draws=100, references=()))
    assert len(png) <= 200_000
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    blue = [pixel for _, pixel in picture.getcolors(1 << 24) or [] if pixel[2] > pixel[0] + 100]  # type: ignore[index, operator]
    assert blue, "the colour of models trained on pairs"


def test_columns_are_those_of_table_3() -> None:
    assert list(COLUMNS) == [*SPATIAL_COLUMNS, AVERAGE, *GENERAL_COLUMNS] and len(COLUMNS) == 15
