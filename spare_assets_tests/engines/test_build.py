from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from pydantic import TypeAdapter

from spare_assets import settings as profile
from spare_assets.engines.build import build_engine
from spare_assets.engines.chat import ChatEngine


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"kind": "rule_based", "slips": 0.1}, "RuleBasedEngine"),
        ({"kind": "transformers", "model": "owner/name"}, "TransformersEngine"),
        ({"kind": "openai", "model": "m"}, "OpenAIEngine"),
        ({"kind": "vllm", "model": "owner/name"}, "VllmEngine"),
    ],
)
def test_each_kind_has_its_engine(settings: dict[str, Any], name: str) -> None:
    declared: profile.EngineSettings = TypeAdapter(profile.EngineSettings).validate_python(settings)
    made = build_engine("judge", declared)
    assert type(made).__name__ == name
    made.close()


def test_slips_reach_the_rule_based_engine() -> None:
    one, other = (build_engine("a", profile.RuleBasedEngine(slips=slips)) for slips in (0.0, 0.5))
    assert isinstance(one, ChatEngine)
    assert one.fingerprint != other.fingerprint


def test_making_engines_imports_no_model_library() -> None:
    program = """
import sys
from spare_assets import settings
from spare_assets.engines.build import build_engine
for made in (settings.TransformersEngine(model="m"), settings.OpenAIEngine(model="m"), settings.VllmEngine(model="m")):
    build_engine("e", made).close()
assert not {"torch", "transformers", "vllm", "tokenizers", "llguidance"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
