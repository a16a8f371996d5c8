"""Profiles for tests: the sandbox with few scenes, and whatever a test changes about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from spare_assets.settings import PROFILES


def sandbox_profile(folder: Path, *, scenes: int, name: str = "small", **sections: Any) -> Path:
    """A profile file in `folder`; `sections` replace or extend whole sections of the sandbox's."""
    document = yaml.safe_load((PROFILES / "sandbox.yaml").read_text(encoding="utf-8"))
    for source in document["sources"].values():
        source["scenes"]["count"] = scenes
    for section, values in sections.items():
        merge = isinstance(values, dict) and section not in {"sources", "engines"}
        document[section] = document.get(section, {}) | values if merge else values
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path
