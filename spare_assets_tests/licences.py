"""`python -m spare_assets_tests.licences`: writes docs/licences.md: what a default install brings, on which terms.

What a package says of itself stands there, from its own metadata; nothing is looked up.
"""

from __future__ import annotations

import sys
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "licences.md"
_TEXT = """# Licences

What `pip install --constraint constraints.txt .` installs beside this project (Apache-2.0), and the licence that each
package declares: {count} packages on Linux with torch for CPUs. `make licences` writes this page; a test holds it to
what is installed. The optional extras (`vllm`, `ray`, `fuzz`, `dev`) are not in it.

| package | version | licence |
|---|---|---|
{rows}
"""
_WRITTEN_OUT = 60


def declared(*extras: str) -> list[str]:
    """What pyproject.toml asks for, with these extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]


def installed(*extras: str) -> list[str]:
    """Names of all packages that this project, with these extras, needs here, by themselves or through others."""
    found: dict[str, set[str]] = {}
    waiting = [(line, "") for line in declared(*extras)]
    while waiting:
        line, asked_by = waiting.pop()
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": asked_by}):
            continue
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras} - found.setdefault(name, set()):
            found[name].add(extra)
            waiting += [(needed, extra) for needed in metadata.requires(name) or ()]
    return sorted(found)


def licence(name: str) -> str:
    """What a package says of its licence: the expression, else its classifiers, else the first line of the field."""
    fields = metadata.metadata(name)
    if expression := fields.get("License-Expression"):
        return expression
    classifiers = [
        line.rpartition(" :: ")[2] for line in fields.get_all("Classifier") or () if line.startswith("License :: ")
    ]
    named = " / ".join(text for text in classifiers if text != "OSI Approved")
    written = next(iter((fields.get("License") or "").strip().splitlines()), "")
    return named or written[:_WRITTEN_OUT] or "not declared"


def page() -> str:
    """The page for what is installed here."""
    cells = ((name, metadata.version(name).partition("+")[0], licence(name)) for name in installed())
    rows = [f"| {' | '.join(cell.replace('|', ' or ') for cell in row)} |" for row in cells]
    return _TEXT.format(count=len(rows), rows="\n".join(rows))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.exit(0)
