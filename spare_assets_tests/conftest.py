"""Fixtures shared by all rooms: homes, small profiles, and the folder of real data where there is one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

os.environ["OMP_WAIT_POLICY"] = "passive"

from spare_assets.settings import DATA_VARIABLE, HOME_VARIABLE, PROFILE_VARIABLE, Home, load_settings

REAL_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No test sees the choices of the shell it was started from, or leaves its own behind."""
    for variable in (PROFILE_VARIABLE, HOME_VARIABLE, DATA_VARIABLE, "DAGSTER_HOME", "SPARE_INSTANCE"):
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    if not REAL_DATA.is_dir():
        pytest.skip("the folder of real captions is not beside the project")
    return REAL_DATA


@pytest.fixture
def make_home(tmp_path: Path) -> Callable[..., Home]:
    """Builds a home from the sandbox profile with sections replaced; sources are small unless given."""

    def make(name: str = "home", **sections: Any) -> Home:
        document = yaml.safe_load((Path(load_settings.__globals__["PROFILES"]) / "sandbox.yaml").read_text())
        for source in document["sources"].values():
            source["scenes"]["count"] = 30
        document |= sections
        profile = tmp_path / f"{name}-profile.yaml"
        profile.write_text(yaml.safe_dump(document))
        return Home(tmp_path / name, load_settings(str(profile))).claim()

    return make
