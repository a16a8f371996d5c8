"""Prompt files: text cut at its placeholders, and filled. What is put in is never read as a template.

Which prompts there are, and who is asked with them, is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spare_assets.settings import SettingsError


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt, cut at its placeholders: text, name, text, name, ..., text."""

    parts: tuple[str, ...]

    @property
    def placeholders(self) -> frozenset[str]:
        """The placeholders that stand in it."""
        return frozenset(self.parts[1::2])

    @property
    def text(self) -> str:
        """The prompt as it stands in its file."""
        return "".join(part if place % 2 == 0 else f"{{{part}}}" for place, part in enumerate(self.parts))

    def fill(self, values: Mapping[str, str]) -> str:
        """The message, with each placeholder replaced once; braces inside values stay as they are."""
        return "".join(part if place % 2 == 0 else values[part] for place, part in enumerate(self.parts))


def read_prompt(path: Path, required: Sequence[str], optional: Sequence[str] = (), setting: str = "") -> Prompt:
    """The prompt in a file. `setting` names what decides the folder, for messages.

    Raises SettingsError where it is absent or unreadable, or a placeholder is missing or stands in it twice.
    """
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"prompt {path}: {error}; setting {setting} names the folder") from error
    names = (*required, *optional)
    for name in names:
        count = text.count(f"{{{name}}}")
        if count > 1 or (count == 0 and name in required):
            wanted = "exactly" if name in required else "at most"
            raise SettingsError(
                f"prompt {path}: placeholder {{{name}}} stands {count} times in it; it must stand there {wanted} once"
            )
    return Prompt(tuple(re.split(r"\{(" + "|".join(names) + r")\}", text)))
