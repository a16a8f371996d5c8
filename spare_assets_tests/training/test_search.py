"""Which recipes a search tries, and how they rank."""

from __future__ import annotations

import math
from typing import Any

import pytest

from spare_assets.settings import RecipeSettings, SearchSettings, load_settings
from spare_assets.training.order import TrainingError
from spare_assets.training.search import ranked, trials

RECIPE = RecipeSettings(base="b", learning_rate=3e-5, batch_size=64, optimizer="adamw_8bit")


def search(**tried: tuple[Any, ...]) -> SearchSettings:
    return SearchSettings(recipe="r", tried=tried)


def test_one_setting_at_a_time_starts_from_the_recipe_itself() -> None:
    found = trials(search(learning_rate=(1e-5, 3e-5), batch_size=(32, 64)), RECIPE)
    assert [trial.changed for trial in found] == [{}, {"learning_rate": 1e-5}, {"batch_size": 32}]
    assert found[1].recipe == RECIPE.model_copy(update={"learning_rate": 1e-5})


def test_a_grid_holds_every_combination_once() -> None:
    settings = search(learning_rate=(1e-5, 3e-5), batch_size=(32, 64)).model_copy(update={"grid": True})
    found = trials(settings, RECIPE)
    assert len({tuple(sorted(trial.changed.items())) for trial in found}) == len(found) == 4


def test_table_5_has_432_combinations_and_varies_ten_settings() -> None:
    training = load_settings("paper").training
    recipe = training.recipes["spare-2b"]
    assert len(trials(training.search, recipe)) == 1 + 1 + 1 + 2 + 1 + 2 + 1 + 2
    assert len(trials(training.search.model_copy(update={"grid": True}), recipe)) == 432


def test_a_value_that_does_not_fit_is_named() -> None:
    with pytest.raises(TrainingError, match=r"batch_size.*-1"):
        trials(search(batch_size=(-1,)), RECIPE)


def test_ranking_puts_what_is_no_number_last() -> None:
    rows = [
        {"recipe": "r", "changed": name, "held_out_loss": loss, "training_loss": 1.0, "steps": 1, "fingerprint": name}
        for name, loss in (("nan", math.nan), ("worse", 0.5), ("none", None), ("better", 0.25))
    ]
    found = ranked(rows)
    assert found["changed"].to_list()[:2] == ["better", "worse"]
    assert found["rank"].to_list() == [1, 2, 3, 4]
    assert ranked([]).height == 0
