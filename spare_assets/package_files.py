"""Files that stand at the top of the repository and travel inside the package when it is built."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent
_IN_PACKAGE = {
    "prompts": "prompts",
    "dagster.yaml": "orchestration/dagster.yaml",
    "workspace.yaml": "orchestration/workspace.yaml",
}


def package_file(name: str) -> Path:
    """Where one of these files lies: in the installed package, else at the top of a checkout.

    Raises FileNotFoundError when the installation is incomplete.
    """
    installed, checkout = _PACKAGE / _IN_PACKAGE[name], _PACKAGE.parent / name
    for path in (installed, checkout):
        if path.exists():
            return path
    raise FileNotFoundError(f"{name} is neither at {installed} nor at {checkout}: install the package again")
