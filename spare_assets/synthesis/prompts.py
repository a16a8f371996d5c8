"""Prompt files: loading, checking and filling them. What the text is put in is never read as a template."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from spare_assets.package_files import package_file
from spare_assets.settings import SettingsError, fingerprint

PLACEHOLDERS: Mapping[str, tuple[str, ...]] = {
    "judge_caption": ("caption",),
    "write_pairs": ("caption",),
    "judge_pair": ("question", "answer"),
    "judge_pairs": ("pairs",),
}


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt, cut at its placeholders: text, name, text, name, ..., text."""

    parts: tuple[str, ...]

    def fill(self, values: Mapping[str, str]) -> str:
        """The message, with each placeholder replaced once; braces inside values stay as they are."""
        return "".join(part if place % 2 == 0 else values[part] for place, part in enumerate(self.parts))


@dataclass(frozen=True, slots=True)
class Prompts:
    """The prompts of all tasks, each with a fingerprint of its wording."""

    by_task: Mapping[str, Prompt]
    fingerprints: Mapping[str, str]

    def __getitem__(self, task: str) -> Prompt:
        return self.by_task[task]


def load_prompts(folder: str | None = None) -> Prompts:
    """The shipped prompts, or those of a folder.

    Raises SettingsError naming a file that is absent, unreadable, or lacks a placeholder.
    """
    root = Path(folder).expanduser() if folder else package_file("prompts")
    prompts, texts = {}, {}
    for task, names in PLACEHOLDERS.items():
        path = root / f"{task}.md"
        try:
            texts[task] = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"prompt {path}: {error}; setting synthesis.prompts names the folder") from error
        prompts[task] = _cut(path, texts[task], names)
    return Prompts(prompts, {task: fingerprint(text) for task, text in texts.items()})


def _cut(path: Path, text: str, names: tuple[str, ...]) -> Prompt:
    for name in names:
        if (count := text.count(f"{{{name}}}")) != 1:
            raise SettingsError(
                f"prompt {path}: placeholder {{{name}}} stands {count} times in it; it must stand there exactly once"
            )
    return Prompt(tuple(re.split(r"\{(" + "|".join(names) + r")\}", text)))
