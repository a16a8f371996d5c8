"""Completion, asked as a shell asks: in a real bash, and without what makes it slow."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from spare_assets.settings import load_settings
from spare_assets.storage.schemas import TABLES
from spare_assets_tests.profiles import sandbox_profile


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH on which `spare` is this checkout's."""
    command = tmp_path / "bin" / "spare"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m spare_assets.cli.main "$@"\n')
    command.chmod(0o755)
    return f"{command.parent}:{os.environ['PATH']}"


def completed(path: str, *words: str) -> list[str]:
    """What bash offers after these words, the last one unfinished."""
    if (bash := shutil.which("bash")) is None:
        pytest.skip("there is no bash here")
    line = shlex.join(words)
    script = (
        'eval "$(spare completion bash)"\n'
        f"COMP_WORDS=({line}) COMP_CWORD={len(words) - 1}\n"
        # Outside a key press bash cannot fall back to file names, and says so.
        '_spare_completion spare 2>/dev/null; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    result = subprocess.run(
        [bash, "--norc", "-c", script], capture_output=True, text=True, check=True, env=os.environ | {"PATH": path}
    )
    return result.stdout.split()


def test_bash_completes_commands_options_and_profiles(path: str) -> None:
    assert completed(path, "spare", "st") == ["status"]
    assert completed(path, "spare", "materialize", "--repl") == ["--replace-full"]
    assert completed(path, "spare", "status", "--profile", "") == ["docci", "paper", "sandbox"]


def test_bash_completes_the_keys_of_the_profile_on_the_line(path: str, tmp_path: Path) -> None:
    mine = sandbox_profile(tmp_path, scenes=1, models={"tiny-base": {"kind": "base", "model": "sandbox"}})
    words = ("spare", "materialize", "--profile", str(mine))
    assert completed(path, *words, "--source", "") == list(load_settings(str(mine)).sources)
    assert completed(path, *words, "--model", "t") == ["tiny-base"]
    assert completed(path, "spare", "materialize", "--profile", "nowhere", "--source", "") == []


def test_bash_completes_assets_and_keeps_what_stands_before(path: str) -> None:
    assert completed(path, "spare", "materialize", "--select", "aligned") == ["aligned_pairs"]
    assert completed(path, "spare", "materialize", "--select", "+qa_") == ["+qa_pairs"]


def test_every_asset_is_known_by_its_table() -> None:
    from spare_assets.definitions import defs

    keys = defs.resolve_asset_graph().get_all_asset_keys()
    assert {key.path[-1] for key in keys} == set(TABLES), "completion reads names from the tables"


@pytest.mark.parametrize(
    ("words", "heavy"),
    [
        ("spare materialize --select qa", ("dagster", "torch", "transformers")),
        ("spare materialize --source d", ("dagster", "torch", "polars", "rich", "numpy")),
        ("spare stat", ("dagster", "torch", "polars", "rich", "numpy")),
    ],
)
def test_answering_loads_nothing_heavy(words: str, heavy: tuple[str, ...]) -> None:
    code = (
        "import sys\nfrom spare_assets.cli.main import main\n"
        "try:\n    main(prog_name='spare')\nexcept SystemExit:\n    pass\n"
        f"loaded = set({heavy!r}) & set(sys.modules)\nassert not loaded, loaded"
    )
    asked = {"_SPARE_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | asked)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("plain,")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(shell: str) -> None:
    command = [sys.executable, "-m", "spare_assets.cli.main", "completion", shell]
    script = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"_SPARE_COMPLETE={shell}_complete" in script
    if interpreter := shutil.which(shell):
        subprocess.run([interpreter, "-n"], input=script, text=True, check=True)
