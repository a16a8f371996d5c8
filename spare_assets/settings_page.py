"""What settings there are, read from their types: a Markdown page for people, a JSON schema for editors.

Values of a profile are not shown here, and nothing is said that the types do not say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from spare_assets.pages.markdown_text import markdown_line
from spare_assets.settings import DATA_VARIABLE, HOME_VARIABLE, PROFILE_VARIABLE, Settings, available_profiles

_INTRODUCTION = f"""# Settings

<!-- Made by `spare settings --markdown` from the typed settings of the package. -->

A profile is one YAML file. `{PROFILE_VARIABLE}` or `--profile` names a shipped one ({{profiles}}) or gives the path of
one's own. What it leaves out has the default given here; what it names and this page does not is refused, with the line
to mend. Relative folders of a profile start from the profile's own folder, corpora from the data folder
(`{DATA_VARIABLE}`, or `data`), and `{HOME_VARIABLE}` or `--home` says where runs write.

- `spare settings --profile mine.yaml` prints a profile with every default filled in.
- `spare settings --json-schema > profile.schema.json` writes a schema by which editors complete and check profiles: put
  `# yaml-language-server: $schema=profile.schema.json` into the profile's first line.
- What a person changes for one run only is in the Launchpad, and behind `spare materialize --set`.

"""


@dataclass(slots=True)
class Section:
    """The settings of one type, and every place of a profile where they stand."""

    model: type[BaseModel]
    places: list[str] = field(default_factory=list)
    kind: str | None = None

    @property
    def title(self) -> str:
        """The first place; one type of several for a place names its kind."""
        return (self.places[0] or "profile") + (f", kind {self.kind}" if self.kind else "")

    @property
    def anchor(self) -> str:
        """What links to its heading, as hubs of repositories derive it."""
        return re.sub(r"[^\w\- ]", "", self.title.lower()).replace(" ", "-")


def settings_page() -> str:
    """All settings: a table per section with type, default, bounds and meaning."""
    found = sections()
    profiles = ", ".join(f"`{name}`" for name in available_profiles())
    lines = [_INTRODUCTION.format(profiles=profiles).rstrip("\n"), ""]
    by_model = {section.model: section for section in found}
    for section in found:
        lines += [f"## `{section.title}`", "", _prose(_summary(section.model)), ""]
        if len(section.places) > 1:
            lines += [f"Also at {', '.join(f'`{place}`' for place in section.places[1:])}.", ""]
        lines += ["| setting | takes | default | meaning |", "|---|---|---|---|"]
        for name, setting in section.model.model_fields.items():
            within = [by_model[model] for model in _models(setting.annotation)]
            meaning = _prose(described(setting))
            if within:
                meaning += (
                    " See " + ", ".join(f"[{_prose(f'`{part.title}`')}](#{part.anchor})" for part in within) + "."
                )
            default = "the file's" if (section.model, name) == (Settings, "name") else _default(setting)
            lines.append(f"| `{name}` | {_takes(setting)} | {default} | {meaning} |")
        lines.append("")
    return "\n".join(lines)


def profile_schema() -> dict[str, Any]:
    """JSON schema of a profile as it is written: its name may be left to its file."""
    schema = Settings.model_json_schema()
    schema["required"] = [name for name in schema["required"] if name != "name"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "A profile of spare"}


def sections() -> list[Section]:
    """All sections of a profile, in the order of their places; a type that stands in several places comes once."""
    found: dict[type[BaseModel], Section] = {}
    for model, place, kind in _walk(Settings, "", None):
        places = found.setdefault(model, Section(model, kind=kind)).places
        if place not in places:  # several types of one place may hold it
            places.append(place)
    return list(found.values())


def described(setting: FieldInfo) -> str:
    """What a setting means: its own words, or the first line of the section it opens; empty where neither is."""
    if setting.description:
        return setting.description
    return " ".join(_summary(model) for model in _models(setting.annotation))


def _walk(model: type[BaseModel], place: str, kind: str | None) -> Iterator[tuple[type[BaseModel], str, str | None]]:
    yield model, place, kind
    for name, setting in model.model_fields.items():
        inner = f"{place}.{name}".lstrip(".") + (".<name>" if get_origin(setting.annotation) is dict else "")
        models = _models(setting.annotation)
        for part in models:
            yield from _walk(part, inner, part.model_fields["kind"].default if len(models) > 1 else None)


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The sections that a type holds."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) is Literal:
        return []
    return [model for part in get_args(annotation) for model in _models(part)]


def _summary(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").strip().split("\n\n")[0].split())


def _takes(setting: FieldInfo) -> str:
    words = _type(setting.annotation)
    bounds = [bound for constraint in setting.metadata for bound in _bounds(constraint)]
    return ", ".join([words, *bounds])


def _type(annotation: Any) -> str:
    """A type in words."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(parts[0])
    if origin in (Union, UnionType):
        kinds = [part for part in parts if part is not NoneType]
        words = "section" if _models(annotation) else " or ".join(_type(part) for part in kinds)
        return words + (", or `null`" if NoneType in parts else "")
    if origin is Literal:
        return " or ".join(_code(part) for part in parts)
    if origin is tuple:
        return f"list of {_plural(_type(parts[0]))}"
    if origin is dict:
        return f"{_plural(_type(parts[1]))} by name"
    if _models(annotation):
        return "section"
    return {str: "text", int: "whole number", float: "number", bool: "`true` or `false`", Any: "anything"}[annotation]


def _plural(words: str) -> str:
    return {"text": "texts", "section": "sections", "number": "numbers", "anything": "values"}.get(words, words)


def _bounds(constraint: Any) -> Iterator[str]:
    for name, words in (("ge", "at least"), ("gt", "more than"), ("le", "at most"), ("lt", "less than")):
        if (value := getattr(constraint, name, None)) is not None:
            yield f"{words} {value:g}" if isinstance(value, float) else f"{words} {value:,}"
    if (least := getattr(constraint, "min_length", None)) is not None:
        yield "not empty" if least == 1 else f"{least} or more"
    if (pattern := getattr(constraint, "pattern", None)) is not None:
        yield f"matching {_code(pattern)}"


def _default(setting: FieldInfo) -> str:
    if setting.is_required():
        return "**required**"
    value = setting.get_default(call_default_factory=True)
    return "its own" if isinstance(value, BaseModel) else _code(value)


def _code(value: Any) -> str:
    """A value as YAML takes it, as code inside a table."""
    text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
    fence = "``" if "`" in text else "`"
    return f"{fence}{' ' if fence == '``' else ''}{text}{' ' if fence == '``' else ''}{fence}".replace("|", r"\|")


def _prose(text: str) -> str:
    """Words of ours with code between backticks; the rest is no markup."""
    pieces = " ".join(text.split()).split("`")
    if len(pieces) % 2 == 0:
        return markdown_line(text)
    return "".join(_code(piece) if number % 2 else _line(piece) for number, piece in enumerate(pieces))


def _line(text: str) -> str:
    """As `markdown_line`, with the space at either end kept."""
    if not text.strip():
        return text
    before, after = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
    return before + markdown_line(text) + after
