"""The prompts of the stages that make pairs, and what stands in each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from spare_assets.package_files import package_file
from spare_assets.prompt_files import Prompt, read_prompt
from spare_assets.settings import fingerprint

PLACEHOLDERS: Mapping[str, tuple[str, ...]] = {
    "judge_caption": ("caption",),
    "write_pairs": ("caption",),
    "judge_pair": ("question", "answer"),
    "judge_pairs": ("pairs",),
}


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
    prompts = {
        task: read_prompt(root / f"{task}.md", names, setting="synthesis.prompts")
        for task, names in PLACEHOLDERS.items()
    }
    return Prompts(prompts, {task: fingerprint(prompt.text) for task, prompt in prompts.items()})
