"""Rivals of a benchmark, each in a virtual environment of its own that is made once and used again.

What a rival is asked to do belongs to the benchmarks; none of its packages becomes a dependency of the project.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

from spare_assets_tests.performance.measuring import FOLDER


def rival(name: str, *requirements: str) -> Path:
    """The Python of a rival's environment, with exactly these requirements asked for.

    It is made anew where the requirements changed or an earlier making broke off. Raises CalledProcessError when the
    packages can't be installed.
    """
    folder = (FOLDER / "rivals" / name).absolute()
    python, asked = folder / "bin" / "python", folder / "requirements.txt"
    wanted = "".join(f"{requirement}\n" for requirement in requirements)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not asked.exists() or asked.read_text() != wanted:
            print(f"  installing {name}: {', '.join(requirements)}", file=sys.stderr, flush=True)
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            subprocess.run([python, "-m", "pip", "install", "-qq", *requirements], check=True)
            asked.write_text(wanted)
    return python
