"""What the training program is told to do and what it tells at the end, as JSON files.

The asset writes the order and reads the outcome; the program, a process of its own, does the reverse. What either
does is not known here. Nothing here imports a model library.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spare_assets.settings import RecipeSettings

ORDER_FILE = "order.json"
OUTCOME_FILE = "outcome.json"
ERROR_FILE = "error.txt"
"""In the work folder: why an order was not carried out, for a person."""


class TrainingError(RuntimeError):
    """Training cannot start or go on; the message says what is wrong, where, and what to do."""


@dataclass(frozen=True, slots=True)
class TrainingOrder:
    """One model to train.

    `base` is a folder of safetensors, configuration and processor; `rows` a Parquet file in the shape of
    `training_samples`. States to resume from go to `work`, the finished model to `output`, which appears whole or not
    at all. `record` is stored with the model as it is: settings, dataset version.
    """

    model: str
    base: Path
    rows: Path
    work: Path
    output: Path
    seed: int
    recipe: RecipeSettings
    record: dict[str, Any]

    def save(self) -> Path:
        """Write the order into its work folder; the file."""
        self.work.mkdir(parents=True, exist_ok=True)
        path = self.work / ORDER_FILE
        document: dict[str, Any] = {name: str(getattr(self, name)) for name in ("base", "rows", "work", "output")}
        document |= {"model": self.model, "seed": self.seed, "record": self.record}
        document |= {"recipe": self.recipe.model_dump(mode="json")}
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        return path

    @classmethod
    def load(cls, path: Path) -> TrainingOrder:
        """The order in a file."""
        document = json.loads(path.read_text(encoding="utf-8"))
        paths = {name: Path(document[name]) for name in ("base", "rows", "work", "output")}
        recipe = RecipeSettings.model_validate(document["recipe"])
        return cls(document["model"], seed=document["seed"], recipe=recipe, record=document["record"], **paths)


@dataclass(frozen=True, slots=True)
class TrainingOutcome:
    """What became of an order. Losses are mean cross-entropy per answer token; memory is the highest of any process."""

    steps: int
    rows: int
    tokens: int
    answer_tokens: int
    seconds: float
    peak_memory_bytes: int
    training_loss: float
    held_out_loss: float | None
    too_long: int
    unreadable: int
    resumed_at: int

    def save(self, folder: Path) -> None:
        """Write it into a folder."""
        (folder / OUTCOME_FILE).write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> TrainingOutcome:
        """The outcome in a folder."""
        return cls(**json.loads((folder / OUTCOME_FILE).read_text(encoding="utf-8")))
