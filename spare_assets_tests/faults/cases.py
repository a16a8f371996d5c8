"""What a case of the fault matrix is, and the list of all cases.

How cases are run and what the table looks like belongs to `matrix`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

MODULES: tuple[str, ...] = (
    *("kills", "ui_cancels", "storage", "servers", "load", "downloads"),
    *("texts", "fuzzing", "weights", "secrets_kept", "network"),
)
"""Modules of this folder that list cases, each under the name CASES, in the order of the table."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a case whose promise held; a promise that did not hold is an AssertionError.

    `tried` faults were planted. `stage` says where a fault of unforeseeable place landed. `lost` counts what was paid
    for and is gone: rows of final tables that differ, replies asked again.
    """

    tried: int = 1
    lost: int = 0
    stage: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """One planted fault: what it is, where, and a function that plants it in an empty folder and checks the promise."""

    fault: str
    stage: str
    name: str
    check: Callable[[Path], Outcome]
    short: bool = False
    """Part of `make test`."""
    limit_s: float = 300.0
    """Seconds after which the case counts as hung."""

    @property
    def key(self) -> str:
        """Identity within the matrix."""
        return f"{self.fault} / {self.stage} / {self.name}"


def each_case() -> Iterator[Case]:
    """Every case, in the order of the table. A module is imported only when its cases are wanted."""
    for name in MODULES:
        yield from importlib.import_module(f"{__package__}.{name}").CASES


def all_cases() -> list[Case]:
    """Every case at once. Raises ValueError where two share a key."""
    cases = list(each_case())
    keys = [case.key for case in cases]
    if len(set(keys)) < len(keys):
        raise ValueError(f"two cases share a key: {sorted(key for key in set(keys) if keys.count(key) > 1)}")
    return cases
