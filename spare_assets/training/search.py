"""The hyperparameter search of Tables 5 and 6: which combinations are tried, and how they rank.

Training them is the training program's.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from pydantic import ValidationError

from spare_assets.settings import RecipeSettings, SearchSettings
from spare_assets.storage.schemas import TABLES
from spare_assets.training.order import TrainingError


@dataclass(frozen=True, slots=True)
class Trial:
    """A recipe to try, and what of it differs from the one that is varied."""

    changed: dict[str, Any]
    recipe: RecipeSettings


def trials(search: SearchSettings, recipe: RecipeSettings) -> list[Trial]:
    """The recipes to try, the unchanged one first.

    With `grid` every combination of the tried values; otherwise one setting at a time takes each of its values. Raises
    TrainingError where a tried value does not fit.
    """
    own = recipe.model_dump(mode="json")
    if search.grid:
        combinations = [
            dict(zip(search.tried, values, strict=True)) for values in itertools.product(*search.tried.values())
        ]
    else:
        combinations = [{name: value} for name, values in search.tried.items() for value in values]
    changes = [{}, *({name: value for name, value in chosen.items() if value != own[name]} for chosen in combinations)]
    unlike = {json.dumps(changed, sort_keys=True): changed for changed in changes}
    made = []
    for changed in unlike.values():
        try:
            made.append(Trial(changed, RecipeSettings.model_validate(own | changed)))
        except ValidationError as error:
            raise TrainingError(f"training.search.tried: {changed}: {error.errors()[0]['msg']}") from error
    return made


def ranked(rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """Rows of `hyperparameter_trials`, lowest held-out loss first; a loss that is no number comes last."""
    schema = TABLES["hyperparameter_trials"].polars()

    def order(row: dict[str, Any]) -> tuple[float, str]:
        loss = row["held_out_loss"]
        return (math.inf if loss is None or math.isnan(loss) else loss, row["changed"])

    placed = [{"rank": rank, **row} for rank, row in enumerate(sorted(rows, key=order), start=1)]
    return pl.DataFrame(placed, schema=schema)
