"""How a benchmark's question is put to a model, in the wording that suits its family.

A dialect is a folder of prompt files, one per form of question; what it lacks is taken from `default`. Belongs here:
filling the prompts, and what a reply means where the prompt decides it. Reading an answer out of a free reply belongs
to the benchmark.

Two things in a dialect change more than words. A `choice` prompt that doesn't list its options holds the model to
them where each is a single word: the likeliest is its answer. And `rewrites.yaml` puts a claim (a statement, a yes-or-
no question, each of several captions) as the question that the claim answers; the claim holds where the reply agrees.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from spare_assets.benchmarks.questions import Form, Question
from spare_assets.benchmarks.short_answers import plain_words
from spare_assets.package_files import package_file
from spare_assets.prompt_files import Prompt, read_prompt
from spare_assets.settings import SettingsError, Strict, fingerprint

DEFAULT = "default"
_PLACEHOLDERS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "choice": (("question",), ("options",)),
    "captions": (("options",), ()),
    "statement": (("statement",), ()),
    "yes_no": (("question",), ()),
    "short": (("question",), ()),
    "as_it_stands": (("question",), ()),
    "hint": (("hint",), ()),
}
_SAID: Mapping[str, tuple[str, str]] = {"statement": ("true", "false")}
_YES_NO = ("yes", "no")
_BRACED = re.compile(r"\{(\w+)\}")


class Rewrite(Strict):
    """One way to put a claim as a question: what it is read by, what is asked, and what the answer is held against."""

    forms: tuple[Form, ...]
    pattern: re.Pattern[str] = Field(description="The whole claim, case ignored; its group `claim` is what must hold.")
    ask: str = Field(description="The question; groups of the pattern in braces.")
    words: dict[str, str] = Field(default_factory=dict, description="Other words for what the claim says.")
    choices: tuple[str, ...] = Field((), description="The only replies allowed; any when absent.")

    @field_validator("pattern", mode="before")
    @classmethod
    def _compiled(cls, pattern: str) -> re.Pattern[str]:
        try:
            found = re.compile(pattern, re.IGNORECASE | re.DOTALL)
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from error
        if "claim" not in found.groupindex:
            raise ValueError("the pattern has no group named `claim`")
        return found

    @model_validator(mode="after")
    def _filled_by_groups(self) -> Rewrite:
        given = self.pattern.groupindex.keys() - {"claim"}
        if unknown := sorted(set(_BRACED.findall(self.ask)) - given):
            raise ValueError(f"`ask` holds {{{unknown[0]}}}, which is no group of the pattern beside `claim`")
        return self

    def asked(self, groups: Mapping[str, str]) -> str:
        """The question for what a claim's pattern found; it gives nothing of the claim away."""
        return _BRACED.sub(lambda braced: groups[braced[1]], self.ask)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a model is sent after the images, the only replies it may give, and what a reply means.

    `claims` are what must be found in the reply, by the answer that then stands; empty where the reply has to be read.
    """

    text: str
    choices: tuple[str, ...] = ()
    claims: Mapping[str, str] = field(default_factory=dict)
    otherwise: str | None = None

    @property
    def decided(self) -> bool:
        """Whether `answer` tells what a reply means; otherwise it has to be read out of it."""
        return bool(self.claims)

    def answer(self, reply: str) -> str | None:
        """The answer that a reply stands for; None where it says nothing or, of several claims, not which."""
        said = _spaced(reply)
        found = [name for name, claim in self.claims.items() if _spaced(claim) in said]
        if not said.strip():
            return None
        return found[0] if len(found) == 1 else self.otherwise


@dataclass(frozen=True, slots=True)
class Dialect:
    """The prompts of one family of models, and a fingerprint of their wording."""

    name: str
    prompts: Mapping[str, Prompt]
    rewrites: tuple[Rewrite, ...]

    @property
    def fingerprint(self) -> str:
        """Hash of all that decides how questions are put."""
        return fingerprint(
            {name: prompt.text for name, prompt in self.prompts.items()},
            [rewrite.model_dump(mode="json", exclude={"pattern"}) for rewrite in self.rewrites],
            [rewrite.pattern.pattern for rewrite in self.rewrites],
        )

    def ask(self, question: Question) -> Asked:
        """A question as this dialect puts it."""
        asked = self._rewritten(question) or self._plain(question)
        if not question.hint:
            return asked
        hint = self.prompts["hint"].fill({"hint": question.hint})
        return Asked(f"{hint}\n{asked.text}", asked.choices, asked.claims, asked.otherwise)

    def _plain(self, question: Question) -> Asked:
        prompt = self.prompts[question.form]
        options = "\n".join(f"{letter}. {text}" for letter, text in question.options.items())
        text = prompt.fill({"question": question.text, "statement": question.text, "options": options})
        words = tuple(question.options.values())
        if question.form == "choice" and "options" not in prompt.placeholders and all(map(str.isalpha, words)):
            return Asked(text, words, dict(question.options))
        return Asked(text)

    def _rewritten(self, question: Question) -> Asked | None:
        claims = question.options if question.form == "captions" else {_said(question.form)[0]: question.text}
        for rewrite in self.rewrites:
            if question.form not in rewrite.forms:
                continue
            matches = {name: rewrite.pattern.fullmatch(text.strip()) for name, text in claims.items()}
            groups = [match.groupdict("") for match in matches.values() if match and match["claim"]]
            if len(groups) < len(claims) or not groups:
                continue
            asked = {rewrite.asked(group) for group in groups}
            if len(asked) > 1:
                continue
            held = {
                name: rewrite.words.get(group["claim"].casefold(), group["claim"])
                for name, group in zip(matches, groups, strict=True)
            }
            otherwise = None if question.form == "captions" else _said(question.form)[1]
            return Asked(asked.pop(), rewrite.choices, held, otherwise)
        return None


def load_dialect(name: str, folder: str | None = None) -> Dialect:
    """A dialect of the shipped prompts, or of those in a folder.

    Raises SettingsError naming a folder or file that is absent, unreadable, or lacks a placeholder.
    """
    root = Path(folder).expanduser() if folder else package_file("prompts") / "benchmarks"
    own = root / name
    if not own.is_dir():
        known = ", ".join(sorted(path.name for path in root.glob("*/")))
        raise SettingsError(f"dialect {name!r}: there is no folder {own}; there are {known or 'none'}")
    prompts = {}
    for form, (required, optional) in _PLACEHOLDERS.items():
        path = own / f"{form}.md"
        path = path if path.is_file() else root / DEFAULT / f"{form}.md"
        prompts[form] = read_prompt(path, required, optional, "scoring.prompts")
    return Dialect(name, prompts, _rewrites(own / "rewrites.yaml"))


def _rewrites(path: Path) -> tuple[Rewrite, ...]:
    if not path.is_file():
        return ()
    try:
        return tuple(Rewrite.model_validate(entry) for entry in yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, ValidationError, TypeError, ValueError, OSError) as error:
        raise SettingsError(f"{path}: not a list of rewrites: {error}") from error


def _spaced(text: str) -> str:
    """The words of a text, a space before and after each."""
    return f" {' '.join(plain_words(text))} "


def _said(form: str) -> tuple[str, str]:
    """What a claim that holds, and one that doesn't, is as an answer."""
    return _SAID.get(form, _YES_NO)
