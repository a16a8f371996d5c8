"""What the leaderboard is told of each model, and how each is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl
import pytest

from spare_assets.benchmarks.examinees import resolution, scored_model, system_prompt
from spare_assets.benchmarks.leaderboard import ModelScores
from spare_assets.benchmarks.standings import (
    Scored,
    base_of,
    model_scores,
    of_one_version,
    resolution_in_words,
    unclean_items,
)
from spare_assets.settings import Home, OpenAIEngine, Settings, TransformersEngine
from spare_assets.storage.schemas import TABLES
from spare_assets.training.contamination import coverage

RECIPE = {"base": "org/model", "revision": "a" * 40, "learning_rate": 1e-3, "batch_size": 8, "system_prompt": "Look."}
MODELS: dict[str, Any] = {
    "other-revision": {"kind": "base", "model": "org/model", "revision": "b" * 40},
    "no-revision": {"kind": "base", "model": "org/model"},
    "released": {"kind": "base", "model": "org/model", "revision": "a" * 40},
    "spare": {"kind": "trained", "recipe": "spare", "seed": 3},
    "captions": {"kind": "trained", "recipe": "captions"},
    "orphan": {"kind": "trained", "recipe": "orphan"},
    "server": {"kind": "endpoint", "engine": "remote"},
    "large": {"kind": "base", "model": "org/large", "max_pixels": 9000, "system_prompt": "See."},
    "fixed": {"kind": "base", "model": "org/llava", "fixed_resolution": True},
}


@pytest.fixture
def settings(make_home: Callable[..., Home]) -> Settings:
    return make_home(
        models=MODELS,
        engines={"analyst": {"kind": "rule_based"}, "remote": {"kind": "openai", "model": "molmo"}},
        scoring={"min_pixels": 100, "max_pixels": 2000, "system_prompt": "Be brief.", "dtype": "float32"},
        training={
            "search": None,
            "recipes": {
                "spare": RECIPE,
                "captions": {**RECIPE, "rows": "caption_training_samples"},
                "orphan": {**RECIPE, "base": "org/elsewhere"},
            },
        },
    ).settings


def record(model: str, kind: str, **values: Any) -> dict[str, Any]:
    return {**dict.fromkeys(TABLES["checkpoint"].polars()), "model": model, "kind": kind, **values}


TRAINED = record(
    "spare",
    "trained",
    path="/models/base",
    adapter="/models/spare",
    seed=3,
    min_pixels=3136,
    max_pixels=50_000,
    system_prompt="As trained.",
)
RELEASED = record("released", "base", path="/models/base")
SERVER = record("server", "endpoint", url="http://127.0.0.1:1/v1", name="molmo")


def predictions(scores: Mapping[str, tuple[float | None, str]], benchmark: str = "vsr") -> pl.LazyFrame:
    rows = [
        {
            "model": "spare",
            "item": item,
            "form": "statement",
            "category": "left of",
            "group": item,
            "native": "{}",
            "question": "?",
            "options": [],
            "answers": ["true"],
            "images": [],
            "prompt": "",
            "reply": "",
            "outcome": outcome,
            "reason": "",
            "prediction": "true" if score else None,
            "score": score,
            "chance": None if score is None else 0.5,
        }
        for item, (score, outcome) in scores.items()
    ]
    return pl.DataFrame(rows, schema=TABLES[f"{benchmark}_predictions"].polars()).lazy()


def standing(
    row: Mapping[str, Any], rows: Mapping[str, pl.LazyFrame], unclean: Mapping[str, pl.Series], settings: Settings
) -> ModelScores:
    scored = {key: Scored(frame, "v1", "3,136 px", "As asked.") for key, frame in rows.items()}
    return model_scores(row, scored, unclean, settings)


RIGHT, WRONG = (1.0, "answered"), (0.0, "answered")


# which model a trained one came from


def test_the_base_is_the_released_model_of_the_recipes_base_and_revision(settings: Settings) -> None:
    assert {key: base_of(key, settings) for key in MODELS} == dict.fromkeys(MODELS) | {
        "spare": "released",
        "captions": "released",
    }


# clean questions


def contaminated(rows: list[tuple[str, str]]) -> pl.LazyFrame:
    schema = TABLES["contaminated_images"].polars()
    found = [{"image_id": "i", "benchmark": key, "item": item, "match": "id", "distance": None} for key, item in rows]
    return pl.DataFrame(found, schema=schema).lazy()


def checked(**of: str) -> pl.DataFrame:
    return pl.DataFrame({"benchmark": list(of), "checked": list(of.values())})


def test_contaminated_items_are_the_questions_whose_pictures_are_in_the_dataset() -> None:
    found = contaminated([("mmmu", "7/1"), ("mmmu", "7/2"), ("mmmu", "8"), ("vsr", "8"), ("mme", "1")])
    none = TABLES["benchmark_images"].empty().lazy()
    items = unclean_items(found, none, checked(mmmu="yes", vsr="in part", textvqa="yes", mme="no"))
    assert {key: sorted(values) for key, values in items.items()} == {"mmmu": ["7", "8"], "vsr": ["8"], "textvqa": []}


def test_what_could_not_be_checked_is_left_out() -> None:
    images = TABLES["benchmark_images"].empty()
    assert unclean_items(contaminated([]), images.lazy(), coverage(["vsr", "mme"], images)) == {}


def test_a_picture_that_cannot_be_compared_is_never_clean() -> None:
    rows = [
        {"benchmark": "vsr", "item": "1", "status": "hashed", "image_id": "vsr:a", "perceptual_hash": "0f0f"},
        {"benchmark": "vsr", "item": "2", "status": "id only", "image_id": "coco:1", "perceptual_hash": None},
        {"benchmark": "vsr", "item": "3", "status": "id only", "image_id": "vsr:b", "perceptual_hash": None},
        {"benchmark": "vsr", "item": "4", "status": "unreadable", "image_id": None, "perceptual_hash": None},
    ]
    images = pl.DataFrame(rows, schema=TABLES["benchmark_images"].polars())
    items = unclean_items(contaminated([]), images.lazy(), coverage(["vsr"], images))
    assert sorted(items["vsr"]) == ["3", "4"]


def test_what_is_scored_with_an_unclean_question_is_not_clean_either(settings: Settings) -> None:
    rows = predictions({"1": RIGHT, "1-flip": RIGHT, "2": WRONG}).with_columns(group=pl.col("item").str.head(1))
    clean = standing(TRAINED, {"vsr": rows}, {"vsr": pl.Series(["1"])}, settings).clean_metrics["vsr"]
    assert clean is not None and (clean.value, clean.units) == (0.0, 1)


def test_models_asked_other_questions_do_not_compare() -> None:
    rows = predictions({"1": RIGHT})
    scored = {key: Scored(rows, version, "", None) for key, version in (("a", "v1"), ("b", "v2"), ("c", "v2"))}
    assert list(of_one_version(scored, "c")) == ["b", "c"]
    assert list(of_one_version(scored, "a")) == ["a"]


def test_clean_scores_leave_contaminated_questions_out(settings: Settings) -> None:
    rows = predictions({"1": RIGHT, "2": WRONG, "3": RIGHT, "4@9": RIGHT})
    found = standing(TRAINED, {"vsr": rows}, {"vsr": pl.Series(["2", "4@9"])}, settings)
    clean = found.clean_metrics["vsr"]
    assert clean is not None and (clean.value, clean.units) == (100.0, 2)
    assert (found.metrics["vsr"].value, found.metrics["vsr"].units) == (75.0, 4)


def test_no_contaminated_question_is_clean_and_none_checked_is_not(settings: Settings) -> None:
    rows = predictions({"1": RIGHT, "2": WRONG})
    none = pl.Series([], dtype=pl.String)
    all_clean = standing(TRAINED, {"vsr": rows}, {"vsr": none}, settings).clean_metrics["vsr"]
    assert all_clean is not None and all_clean.units == 2
    for unchecked in ({}, {"mme": none}):
        assert standing(TRAINED, {"vsr": rows}, unchecked, settings).clean_metrics == {"vsr": None}
    every = {"vsr": pl.Series(["1", "2"])}
    assert standing(TRAINED, {"vsr": rows}, every, settings).clean_metrics == {"vsr": None}


# a model's standing


def test_a_standing_says_who_the_model_is_and_how_it_was_asked(settings: Settings) -> None:
    rows = {"vsr": predictions({"1": RIGHT})}
    spare = standing(TRAINED, rows, {}, settings)
    assert (spare.model, spare.kind, spare.recipe, spare.seed, spare.base) == (
        "spare",
        "trained",
        "spare",
        3,
        "released",
    )
    assert (spare.caption_trained, spare.resolution, spare.system_prompt) == (False, "3,136 px", "As asked.")
    assert standing({**TRAINED, "model": "captions"}, rows, {}, settings).caption_trained
    released = standing(RELEASED, rows, {}, settings)
    assert (released.kind, released.recipe, released.seed, released.base) == ("base", None, None, None)


def test_a_column_without_predictions_is_absent(settings: Settings) -> None:
    unreadable: dict[str, tuple[float | None, str]] = {"1": (None, "unreadable record")}
    found = standing(
        TRAINED, {"vsr": predictions(unreadable), "textvqa": predictions({"1": RIGHT}, "textvqa")}, {}, settings
    )
    assert list(found.metrics) == list(found.unparsed) == list(found.chance) == ["textvqa"]


def test_a_column_is_of_all_questions_and_not_of_a_category(settings: Settings) -> None:
    rows = predictions({"1": RIGHT, "2": WRONG}).with_columns(category=pl.col("item"))
    assert standing(TRAINED, {"vsr": rows}, {}, settings).metrics["vsr"].value == 50.0


def test_mme_fills_five_columns(settings: Settings) -> None:
    rows = predictions({"1": RIGHT, "2": WRONG}, "mme")
    found = standing(TRAINED, {"mme": rows.with_columns(category=pl.lit("code_reasoning"))}, {}, settings)
    assert {column: metric.value for column, metric in found.metrics.items()} == {
        "mme_perception": None,
        "mme_reasoning": 50.0,
        "mme_code": 50.0,
        "mme_commonsense": None,
        "mme_numerical": None,
    }


def test_chance_is_what_guessing_scores_where_it_is_known(settings: Settings) -> None:
    rows = predictions({"1": RIGHT, "2": WRONG})
    assert standing(TRAINED, {"vsr": rows}, {}, settings).chance == {"vsr": 50.0}
    unknown = rows.with_columns(chance=pl.lit(None, dtype=pl.Float64))
    assert standing(TRAINED, {"vsr": unknown}, {}, settings).chance == {"vsr": None}


def test_the_unparsed_share_is_of_replies_alone(settings: Settings) -> None:
    rows = predictions(
        {
            "a": RIGHT,
            "b": WRONG,
            "c": (0.0, "unparsed"),
            "d": (0.0, "truncated"),
            "e": (0.0, "failed"),
            "f": (0.0, "not asked"),
            "g": (None, "unreadable record"),
        }
    )
    found = standing(TRAINED, {"vsr": rows}, {}, settings)
    assert (found.unparsed, found.unanswered) == ({"vsr": 0.5}, {"vsr": 2 / 6})
    silent = predictions({"1": (0.0, "failed")})
    assert standing(TRAINED, {"vsr": silent}, {}, settings).unparsed == {"vsr": 0.0}


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (None, None, "the processor's own"),
        (3136, 3136, "3,136 px"),
        (3136, 50_000, "3,136–50,000 px"),
        (None, 50_000, "at most 50,000 px"),
        (3136, None, "at least 3,136 px"),
    ],
)
def test_a_resolution_in_words(low: int | None, high: int | None, words: str) -> None:
    assert resolution_in_words("trained", low, high) == words
    assert resolution_in_words("endpoint", None, None) == "the server's own"


# how models are asked


def asked(row: Mapping[str, Any], settings: Settings) -> TransformersEngine:
    engine = scored_model(row, settings)
    assert isinstance(engine, TransformersEngine)
    return engine


def test_trained_models_are_asked_as_they_were_trained(settings: Settings) -> None:
    engine = asked(TRAINED, settings)
    assert (engine.model, engine.adapter, engine.dtype) == ("/models/base", "/models/spare", "float32")
    assert (engine.min_pixels, engine.max_pixels) == resolution(TRAINED, settings) == (3136, 50_000)
    assert system_prompt(TRAINED, settings) == "As trained."
    assert system_prompt({**TRAINED, "system_prompt": None}, settings) is None, "not what others are asked with"


def test_released_models_are_asked_as_scoring_says(settings: Settings) -> None:
    engine = asked(RELEASED, settings)
    assert (engine.model, engine.adapter) == ("/models/base", None)
    assert (engine.min_pixels, engine.max_pixels) == resolution(RELEASED, settings) == (100, 2000)
    assert system_prompt(RELEASED, settings) == "Be brief."


def test_a_released_model_may_have_conditions_of_its_own(settings: Settings) -> None:
    large, fixed = (record(key, "base", path="/models/base") for key in ("large", "fixed"))
    assert (resolution(large, settings), system_prompt(large, settings)) == ((100, 9000), "See.")
    assert (resolution(fixed, settings), system_prompt(fixed, settings)) == ((None, None), "Be brief.")


def test_endpoints_are_asked_by_their_own_engine(settings: Settings) -> None:
    engine = scored_model(SERVER, settings)
    assert isinstance(engine, OpenAIEngine) and engine.model == "molmo"
    assert resolution(SERVER, settings) == (None, None)
    assert system_prompt(SERVER, settings) == "Be brief."
