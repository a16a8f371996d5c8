"""What is installed: pinned by hash for CI, and listed with its licence."""

from __future__ import annotations

import re
import sys
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from spare_assets_tests.licences import PAGE, ROOT, declared, installed, licence, page

LOCKS = ("requirements-ci.txt", "requirements-ci-source.txt")
_LOCKED = re.compile(r"(?m)^([A-Za-z0-9][\w.-]*)==(\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)")


def locked() -> dict[str, str]:
    """Versions by name, without the build they are of."""
    text = "".join((ROOT / name).read_text() for name in LOCKS)
    found = _LOCKED.findall(text)
    assert len(found) == sum(line[:1].isalnum() for line in text.splitlines()), "each with its hashes"
    return {canonicalize_name(name): version.partition("+")[0] for name, version, _ in found}


def constrained() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


def test_what_ci_installs_is_pinned_by_hash_to_the_versions_tried_together() -> None:
    versions, tried = locked(), constrained()
    assert {name: tried.get(name) for name in versions} == versions


def test_what_the_project_asks_for_is_in_the_lock() -> None:
    wanted = [Requirement(line) for line in declared("dev")]
    versions = locked()
    assert not [str(line) for line in wanted if versions.get(canonicalize_name(line.name)) not in line.specifier]


@pytest.mark.skipif(sys.platform != "linux", reason="the lock is that of Linux")
def test_what_that_needs_in_turn_is_in_the_lock() -> None:
    assert not set(installed("dev")) - set(locked())


@pytest.mark.skipif(sys.platform != "linux", reason="other systems need other packages")
def test_the_list_of_licences_is_that_of_what_is_installed() -> None:
    tried = constrained()
    if other := [name for name in installed() if metadata.version(name).partition("+")[0] != tried.get(name)]:
        pytest.skip(f"other versions are installed here: {', '.join(other)}")
    assert PAGE.read_text(encoding="utf-8") == page(), "make licences"


def test_every_package_of_a_default_install_declares_its_licence() -> None:
    assert not [name for name in installed() if licence(name) == "not declared"]
