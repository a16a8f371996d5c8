"""Names of things put into words: as a list, with an article. What is said of them is not known here."""

from __future__ import annotations

from collections.abc import Sequence


def listed(names: Sequence[str]) -> str:
    """Things as a list in words."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def with_article(name: str) -> str:
    """A thing with its indefinite article."""
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
