"""The card that goes with a trained model: what it is, what it was trained on and how, and how to load it.

Words that come from outside (names, prompts, versions) are shown as text and can neither become markup nor end it.
"""

from __future__ import annotations

import json
import re
from typing import Any

from spare_assets.training.order import TrainingOrder, TrainingOutcome
from spare_assets.training.reports import LOG_FILE

DATASET_VERSION = "dataset_version"
"""The entry of an order's record that the card shows."""
_MARKUP = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~&:$@])")
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def model_card(order: TrainingOrder, outcome: TrainingOutcome) -> str:
    """The card in Markdown, with the metadata block that the hub reads."""
    recipe = order.recipe
    adapter = recipe.stores_adapter
    revision = f", revision {escaped(recipe.revision)}" if recipe.revision else ""
    version = order.record.get(DATASET_VERSION)
    held_out = "no rows were held out" if outcome.held_out_loss is None else f"{outcome.held_out_loss:.4f}"
    metadata = {
        "base_model": recipe.base,
        "library_name": "peft" if adapter else "transformers",
        "pipeline_tag": "image-text-to-text",
    }
    blocks = [
        "---\n" + "".join(f"{name}: {_quoted(value)}\n" for name, value in metadata.items()) + "---",
        f"# {escaped(order.model)}",
        f"{'LoRA adapter for' if adapter else 'Fine-tuned from'} {escaped(recipe.base)}{revision}, trained on "
        f"{outcome.rows:,} rows of spatial question-answer training data ({escaped(recipe.rows)}), loss on answers "
        f"alone. Dataset version: {escaped(version) if version else 'not recorded'}.",
        "## Outcome",
        _table(
            {
                "optimizer steps": f"{outcome.steps:,}",
                "tokens, of them answers": f"{outcome.tokens:,}, {outcome.answer_tokens:,}",
                "loss per answer token, last steps": f"{outcome.training_loss:.4f}",
                "loss per answer token, held out": held_out,
                "rows set aside as too long": f"{outcome.too_long:,}",
                "rows with unusable pictures": f"{outcome.unreadable:,}",
                "seconds": f"{outcome.seconds:,.0f}",
                "peak memory of a process": f"{outcome.peak_memory_bytes / 1e9:.2f} GB",
            }
        ),
        f"Every step stands in `{LOG_FILE}`; the settings and what the dataset was made of in `training.json`.",
        "## Recipe",
        _table({f"`{name}`": _shown(value) for name, value in _settings(order).items()}),
        "## Loading",
        _loading(recipe.base, recipe.revision, adapter, recipe.min_pixels, recipe.max_pixels),
        "## Licence",
        f"The weights derive from {escaped(recipe.base)} and are under its licence; the captions and pictures they "
        "were trained on have terms of their own, named by the dataset's sources.",
    ]
    return "\n\n".join(blocks) + "\n"


def escaped(value: Any) -> str:
    """A value as one line of Markdown text in which nothing is markup."""
    return _MARKUP.sub(r"\\\1", _UNSEEN.sub(" ", str(value))).replace("\\<", "&lt;").replace("\\>", "&gt;")


def _settings(order: TrainingOrder) -> dict[str, Any]:
    recipe = order.recipe.model_dump(mode="json")
    adapters = recipe.pop("lora")
    if order.recipe.method == "full":
        adapters = {}
    return {"seed": order.seed, **recipe, **{f"lora.{name}": value for name, value in adapters.items()}}


def _table(rows: dict[str, str]) -> str:
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join(["| | |", "|---|---|", *lines])


def _shown(value: Any) -> str:
    return escaped(value) if isinstance(value, str) else json.dumps(value)


def _quoted(text: str) -> str:
    """A string in YAML, in Python and in a code block: JSON without backticks."""
    return json.dumps(text).replace("`", "\\u0060")


def _loading(base: str, revision: str | None, adapter: bool, min_pixels: int, max_pixels: int) -> str:
    pixels = f"min_pixels={min_pixels}, max_pixels={max_pixels}"
    lines = ["from transformers import AutoModelForImageTextToText, AutoProcessor", ""]
    if adapter:
        lines[0:0] = ["from peft import PeftModel"]
        pinned = f", revision={_quoted(revision)}" if revision else ""
        lines += [
            f"base = AutoModelForImageTextToText.from_pretrained({_quoted(base)}{pinned})",
            'model = PeftModel.from_pretrained(base, "path/to/this/folder")',
        ]
    else:
        lines += ['model = AutoModelForImageTextToText.from_pretrained("path/to/this/folder")']
    lines += [f'processor = AutoProcessor.from_pretrained("path/to/this/folder", {pixels})']
    return "\n".join(["```python", *lines, "```"])
