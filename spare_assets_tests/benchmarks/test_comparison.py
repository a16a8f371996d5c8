"""Predictions of several models side by side: who was right where, and which questions are chosen to be shown."""

from __future__ import annotations

import random
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spare_assets.benchmarks.comparison import CONTRASTS, Selection, comparison_rows, contrast_counts, select_questions
from spare_assets.storage.schemas import TABLES
from spare_assets.storage.tables import TableStore

BASES = {"spare-0": "base", "spare-1": "base"}


def predictions(model: str, scores: dict[str, float | None], outcomes: dict[str, str] | None = None) -> pl.LazyFrame:
    """A table of predictions; a null score makes the record unreadable."""
    table = TABLES["vsr_predictions"]
    rows = [
        {
            "model": model,
            "item": item,
            "form": "choice",
            "category": "orientation_viewpoint" if item.startswith("v") else "height_higher",
            "native": "{}",
            "question": f"Question {item}?",
            "options": [{"letter": "A", "text": "left"}, {"letter": "B", "text": "right"}],
            "answers": ["B"],
            "images": ["/nowhere.png"],
            "prompt": "",
            "reply": "B" if score else "A",
            "outcome": (outcomes or {}).get(item, "answered" if score is not None else "unreadable record"),
            "reason": "",
            "prediction": "B" if score else "A",
            "score": score,
            "chance": 0.5,
        }
        for item, score in sorted(scores.items())
    ]
    return pl.DataFrame(rows, schema=table.polars()).lazy()


def compared(of_models: dict[str, pl.LazyFrame], **more: int) -> pl.DataFrame:
    return pl.concat([TABLES["model_comparison"].empty(), *comparison_rows({"vsr": of_models}, BASES, **more)])


def contrasts(frame: pl.DataFrame, model: str) -> dict[str, str | None]:
    return dict(frame.filter(pl.col("model") == model).select("item", "contrast").rows())


def test_the_four_contrasts() -> None:
    frame = compared(
        {
            "base": predictions("base", {"1": 0.0, "2": 1.0, "3": 1.0, "4": 0.0, "5": 0.3}),
            "spare-0": predictions("spare-0", {"1": 1.0, "2": 0.0, "3": 1.0, "4": 0.0, "5": 0.9}),
            "other": predictions("other", {"1": 1.0, "2": 1.0, "3": 1.0, "4": 1.0, "5": 1.0}),
        }
    )
    expected = {"1": "gained", "2": "lost", "3": "both right", "4": "both wrong", "5": "gained"}
    assert contrasts(frame, "spare-0") == expected
    assert set(contrasts(frame, "base").values()) == set(contrasts(frame, "other").values()) == {None}
    assert contrast_counts(frame.lazy()).rows(named=True) == [
        {"benchmark": "vsr", "model": "spare-0", "gained": 2, "lost": 1, "both right": 1, "both wrong": 1}
    ]


def test_only_questions_that_two_models_were_asked() -> None:
    frame = compared(
        {
            "base": predictions("base", {"1": 0.0, "2": 1.0, "3": None, "4": 0.0}, {"4": "not asked"}),
            "spare-0": predictions("spare-0", {"1": 1.0, "3": None, "4": 0.0}, {"4": "not asked"}),
            "spare-1": predictions("spare-1", {"2": 1.0}),
        }
    )
    assert frame.select("item", "model").rows() == [("1", "base"), ("1", "spare-0"), ("2", "base"), ("2", "spare-1")]
    assert compared({"base": predictions("base", {"1": 1.0})}).is_empty()
    assert compared({}).is_empty()


def test_a_failed_request_is_no_contrast() -> None:
    frame = compared(
        {
            "base": predictions("base", {"1": 0.0, "2": 0.0}, {"1": "failed"}),
            "spare-0": predictions("spare-0", {"1": 1.0, "2": 0.0}, {"2": "failed"}),
            "spare-1": predictions("spare-1", {"1": 1.0, "2": 1.0}),
        }
    )
    assert contrasts(frame, "spare-0") == {"1": None, "2": None}
    assert contrasts(frame, "spare-1") == {"1": None, "2": "gained"}


def test_a_trained_model_whose_base_was_not_asked_has_no_contrast() -> None:
    scores = {"1": 1.0}
    frame = compared({"spare-0": predictions("spare-0", scores), "spare-1": predictions("spare-1", scores)})
    assert frame["contrast"].to_list() == [None, None]


score = st.sampled_from([None, 0.0, 1.0])
table = st.dictionaries(st.integers(0, 20).map(str), score)


@settings(max_examples=40, deadline=None)
@given(
    of_models=st.dictionaries(st.sampled_from(["base", "spare-0", "spare-1", "other"]), table), chunk=st.integers(1, 9)
)
def test_rows_do_not_depend_on_the_batches(of_models: dict[str, dict[str, float | None]], chunk: int) -> None:
    frames = {model: predictions(model, scores) for model, scores in of_models.items()}
    whole, pieces = compared(frames), compared(frames, chunk_rows=chunk)
    assert whole.equals(pieces)
    key = TABLES["model_comparison"].key
    assert whole.equals(whole.sort(key)) and not whole.select(key).is_duplicated().any()
    for item in {item for scores in of_models.values() for item in scores}:
        asked = [model for model, scores in of_models.items() if scores.get(item) is not None]
        expected = sorted(asked) if len(asked) > 1 else []
        assert whole.filter(pl.col("item") == item)["model"].to_list() == expected


def test_rows_go_into_the_table(tmp_path: Path) -> None:
    store = TableStore(tmp_path)
    frames = {model: predictions(model, {"1": 1.0, "2": 0.0}) for model in ("base", "spare-0")}
    store.publish(store.stage("model_comparison", None, comparison_rows({"vsr": frames, "mme": frames}, BASES)))
    assert store.scan("model_comparison").collect()["benchmark"].to_list() == ["mme"] * 4 + ["vsr"] * 4


@pytest.fixture(scope="module")
def many() -> pl.LazyFrame:
    rng = random.Random(3)
    items = [f"{'v' if number % 3 else 'h'}{number}" for number in range(200)]
    frames = {
        model: predictions(model, {item: float(rng.random() < share) for item in items})
        for model, share in (("base", 0.5), ("spare-0", 0.7), ("spare-1", 0.7))
    }
    return pl.concat(list(comparison_rows({"vsr": frames, "threedsr_bench": frames}, BASES))).lazy()


def test_a_bounded_choice_of_each_benchmark_and_contrast(many: pl.LazyFrame) -> None:
    chosen = select_questions(many, Selection(each=5))
    for benchmark in ("vsr", "threedsr_bench"):
        for contrast in CONTRASTS:
            of_cell = chosen.filter((pl.col("benchmark") == benchmark) & (pl.col("contrast") == contrast))
            assert of_cell["item"].n_unique() >= 5
        assert chosen.filter(pl.col("benchmark") == benchmark)["item"].n_unique() <= 20
    assert (chosen.group_by("benchmark", "item").len()["len"] == 3).all(), "every model's row is there"
    assert chosen.equals(chosen.sort(TABLES["model_comparison"].key))


def test_a_smaller_choice_is_part_of_a_larger_and_does_not_follow_the_order(many: pl.LazyFrame) -> None:
    question = ["benchmark", "item"]
    small, large = (select_questions(many, Selection(each=each)).select(question).unique() for each in (3, 6))
    assert small.join(large, on=question, how="anti").is_empty()
    shuffled = many.collect().sample(fraction=1.0, shuffle=True, seed=1).lazy()
    assert select_questions(shuffled, Selection(each=3)).equals(select_questions(many, Selection(each=3)))
    assert small.filter(pl.col("benchmark") == "vsr")["item"].sort()[0] != "h0" or small.height < 24


def test_filters(many: pl.LazyFrame) -> None:
    chosen = select_questions(many, Selection(("gained",), ("threedsr_bench",), "VIEWPOINT", each=1000))
    assert set(chosen["benchmark"]) == {"threedsr_bench"}
    assert set(chosen["category"]) == {"orientation_viewpoint"}
    gained = chosen.group_by("item").agg((pl.col("contrast") == "gained").any())
    assert gained["contrast"].all() and gained.height > 10
    assert select_questions(many, Selection(category="(.*")).is_empty()


def test_questions_without_a_contrast_are_shown_where_none_is_asked_for() -> None:
    frames = {model: predictions(model, {"1": 1.0, "2": 0.0}) for model in ("one", "two")}
    rows = pl.concat(list(comparison_rows({"vsr": frames}, {}))).lazy()
    assert select_questions(rows, Selection()).height == 4
    assert select_questions(rows, Selection(each=1)).height == 2
    assert select_questions(rows, Selection(contrasts=("gained",))).is_empty()
