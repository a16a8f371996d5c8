"""The built wheel, installed elsewhere, brings its prompts, profiles, instance files and the sandbox's models."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run(*command: str | Path, **environment: str) -> str:
    result = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env=os.environ | environment,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_the_installed_wheel_finds_all_it_ships(tmp_path: Path) -> None:
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, ROOT)
    wheel = next(tmp_path.glob("*.whl"))
    site = tmp_path / "site"
    run(*pip, "install", "--quiet", "--no-deps", "--target", site, wheel)
    code = (
        "import spare_assets; from spare_assets.package_files import package_file; "
        "from spare_assets.synthesis.prompts import load_prompts; from spare_assets.settings import load_settings; "
        "from spare_assets.benchmarks.dialects import load_dialect; "
        "[load_dialect(name) for name in ('default', 'internvl2', 'scenes')]; "
        "from spare_assets.sandbox import SANDBOX_CLIP, SANDBOX_VLM; load_prompts(); "
        "[load_settings(name) for name in ('sandbox', 'paper', 'docci')]; "
        "assert package_file('dagster.yaml').is_file() and package_file('workspace.yaml').is_file(); "
        "assert (SANDBOX_CLIP / 'open_clip_model.safetensors').is_file(); "
        "assert (SANDBOX_VLM / 'model.safetensors').is_file(); "
        "print(package_file('prompts')); print(spare_assets.__file__)"
    )
    told = run(sys.executable, "-c", code, PYTHONPATH=str(site))
    assert all(line.startswith(str(site)) for line in told.splitlines()), told
    home = tmp_path / "home"
    doctor = (sys.executable, "-m", "spare_assets.cli.main", "doctor", "--profile", "sandbox", "--home", home)
    run(*doctor, PYTHONPATH=str(site))
