"""What a model's card says, and that words from outside stay words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from spare_assets.training.model_card import escaped, model_card
from spare_assets.training.order import TrainingOrder, TrainingOutcome
from spare_assets_tests.training.small_rows import recipe

OUTCOME = TrainingOutcome(120, 1000, 50_000, 8_000, 12.5, 2_000_000_000, 0.4567, 0.5678, 3, 2, 0)


def card(record: dict[str, Any] | None = None, outcome: TrainingOutcome = OUTCOME, **changes: Any) -> str:
    path = Path("x")
    return model_card(TrainingOrder("spare-2b", path, path, path, path, 7, recipe(**changes), record or {}), outcome)


def test_it_says_what_the_model_is() -> None:
    text = card({"dataset_version": "abc123"}, base="Qwen/Qwen2-VL-2B-Instruct", revision="895c3a4")
    metadata = yaml.safe_load(text.split("---")[1])
    assert metadata["base_model"] == "Qwen/Qwen2-VL-2B-Instruct"
    assert metadata["library_name"] == "transformers"
    for words in (
        "# spare\\-2b",
        "895c3a4",
        "abc123",
        "| 120 |",
        "0.4567",
        "0.5678",
        "| `learning_rate` | 0.001 |",
        "| `seed` | 7 |",
    ):
        assert words in text
    assert "lora" not in text
    assert "under its licence" in text


def test_an_adapter_says_so_and_how_to_load_it() -> None:
    text = card(base="Qwen/Qwen2-VL-7B-Instruct", revision="eed1309", method="lora")
    assert "LoRA adapter for" in text
    assert "| `lora.rank` | 64 |" in text
    assert 'from_pretrained("Qwen/Qwen2-VL-7B-Instruct", revision="eed1309")' in text
    assert "PeftModel" not in card(method="lora", lora={"merge": True})


def test_no_held_out_rows_is_said() -> None:
    values = {name: getattr(OUTCOME, name) for name in TrainingOutcome.__slots__} | {"held_out_loss": None}
    assert "no rows were held out" in card(outcome=TrainingOutcome(**values))


def test_words_from_outside_stay_words() -> None:
    hostile = "x | y\n\n# Title <script>alert(1)</script> [a](http://b) ``` www.evil.example"
    text = card({"dataset_version": hostile}, base=hostile, system_prompt=hostile)
    prose = text.split("---\n", 2)[2].split("```python")[0]
    assert "<script>" not in prose and "](http" not in prose and "\n# Title" not in text and "www.evil" not in prose
    assert yaml.safe_load(text.split("---\n")[1])["base_model"] == hostile
    assert text.count("```") == 2
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.replace("\\|", "").count("|") == 3 for line in rows)


@given(st.text())
def test_escaped_text_is_one_line(text: str) -> None:
    assert len(escaped(text).splitlines()) <= 1
