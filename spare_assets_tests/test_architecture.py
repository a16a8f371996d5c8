"""The walls between the rooms, held by reading the code's imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "spare_assets"
MODULES = sorted(PACKAGE.rglob("*.py"))
MODEL_LIBRARIES = {"torch", "transformers", "open_clip", "torchvision", "vllm", "timm", "peft", "ray"}


def imports(path: Path, *, only_top_level: bool = False) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if only_top_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def may_import_dagster(path: Path) -> bool:
    place = path.relative_to(PACKAGE)
    return (
        place == Path("definitions.py")
        or place.parts[0] in {"orchestration", "cli"}
        or place.name in {"assets.py", "checks.py"}
    )


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_pure_modules_never_import_dagster(path: Path) -> None:
    roots = {name.partition(".")[0] for name in imports(path)}
    shells = {
        name for name in imports(path) if name.startswith("spare_assets.orchestration") or name.endswith(".assets")
    }
    if not may_import_dagster(path):
        assert "dagster" not in roots
        assert not shells, "a pure module must not reach Dagster through a shell"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_model_libraries_are_imported_inside_functions(path: Path) -> None:
    roots = {name.partition(".")[0] for name in imports(path, only_top_level=True)}
    assert not roots & MODEL_LIBRARIES


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_states_its_charter(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path


def test_storage_knows_no_stage() -> None:
    rooms = {"engines", "clip", "captions", "synthesis", "quality", "dataset", "sandbox", "cli"}
    for path in (PACKAGE / "storage").glob("*.py"):
        for name in imports(path):
            parts = name.split(".")
            assert not (parts[0] == "spare_assets" and len(parts) > 1 and parts[1] in rooms), (
                path.name,
                name,
            )


def test_no_names_that_say_nothing() -> None:
    assert not {path.stem for path in MODULES} & {"utils", "helpers", "common", "misc", "manager"}


def test_loading_the_definitions_imports_no_model_library(tmp_path: Path) -> None:
    code = (
        "import sys, spare_assets.definitions as d; "
        f"loaded = sorted({MODEL_LIBRARIES!r} & set(sys.modules)); "
        "assert not loaded, loaded; assert len(d.defs.resolve_asset_graph().get_all_asset_keys()) > 20"
    )
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        cwd=PACKAGE.parent,
        env={"PATH": "/usr/bin:/bin", "SPARE_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)},
    )
