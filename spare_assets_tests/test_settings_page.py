"""The page and the schema of all settings say what the types say, and the committed page is the current one."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from pydantic import Field

from spare_assets.cli.main import main
from spare_assets.settings import PROFILES, Settings, Strict, available_profiles, load_settings
from spare_assets.settings_page import Section, described, profile_schema, sections, settings_page

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"


def printed(*arguments: str) -> str:
    result = CliRunner().invoke(main, ["settings", *arguments], prog_name="spare")
    assert result.exit_code == 0, result.output
    return result.stdout


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


@pytest.mark.parametrize("section", sections(), ids=lambda section: section.title)
def test_no_setting_lacks_a_description(section: Section) -> None:
    assert section.model.__doc__
    for name, setting in section.model.model_fields.items():
        assert described(setting).endswith("."), f"{section.title}: {name}"


def test_the_committed_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == settings_page(), "spare settings --markdown > docs/settings.md"
    assert printed("--markdown") == settings_page()


def test_every_setting_has_one_row_of_four_cells() -> None:
    rows = [line for line in settings_page().splitlines() if line.startswith("| `")]
    assert all(len(cells(line)) == 4 for line in rows)
    assert len(rows) == sum(len(section.model.model_fields) for section in sections())
    named = {cells(line)[0].strip("`"): cells(line) for line in rows}
    assert named["minimum_grounding"][1:3] == ["number, at least 0, at most 1", "`0.5`"]
    assert named["alignment"][1] == "`required` or `when_image_present` or `off`"
    assert named["search"][1] == "section, or `null`"
    assert named["languages"][1:3] == ["list of texts, not empty", '`["en"]`']
    assert named["learning_rate"][2] == "**required**"


def test_links_lead_to_headings() -> None:
    text = settings_page()
    headings = re.findall(r"^## `(.+)`$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    links = re.findall(r"\]\(#([^)]+)\)", text)
    assert links and set(links) <= anchors
    assert len(anchors) == len(headings)


def test_words_are_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd(Strict):
        """A <b>section</b> with *stars*."""

        odd: str = Field("a|b`c", pattern="^[|]$", description="One | two <i>three</i> `a|b` [four](five).")

    monkeypatch.setattr("spare_assets.settings_page.Settings", Odd)
    text = settings_page()
    row = next(line for line in text.splitlines() if line.startswith("| `odd`"))
    assert cells(row) == [
        "`odd`",
        r"text, matching `^[\|]$`",
        r"`` a\|b`c ``",
        r"One \| two &lt;i&gt;three&lt;/i&gt; `a\|b` \[four\]\(five\)\.",
    ]
    assert r"A &lt;b&gt;section&lt;/b&gt; with \*stars\*\." in text


@pytest.mark.parametrize("profile", available_profiles())
def test_effective_values_are_the_same_profile(profile: str, tmp_path: Path) -> None:
    written = tmp_path / "again.yaml"
    written.write_text(printed("--profile", profile))
    assert load_settings(str(written)) == load_settings(profile)
    assert Settings.model_validate(json.loads(printed("--profile", profile, "--json"))) == load_settings(profile)


@pytest.mark.parametrize("profile", available_profiles())
def test_shipped_profiles_fit_the_schema_and_misspelt_ones_do_not(profile: str) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(printed("--json-schema"))
    assert schema == json.loads(json.dumps(profile_schema()))
    document = yaml.safe_load((PROFILES / f"{profile}.yaml").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(document)
    document["quality"]["minimum_aligment"] = 0.3
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate(document)
