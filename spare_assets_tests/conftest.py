"""Fixtures shared by all rooms: homes, small profiles, and the folder of real data where there is one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

os.environ["OMP_WAIT_POLICY"] = "passive"

from spare_assets.settings import DATA_VARIABLE, HOME_VARIABLE, PROFILE_VARIABLE, Home, load_settings
from spare_assets_tests.profiles import sandbox_profile

# How long an example takes tells of the machine; whatever else is chosen, as on CI, stays.
hypothesis.settings.register_profile("untimed", hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("untimed")

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
    """Builds a home of the sandbox profile with few scenes and with sections changed."""

    def make(name: str = "home", scenes: int = 30, **sections: Any) -> Home:
        profile = sandbox_profile(tmp_path, scenes=scenes, name=f"{name}-profile", **sections)
        return Home(tmp_path / name, load_settings(str(profile))).claim()

    return make
