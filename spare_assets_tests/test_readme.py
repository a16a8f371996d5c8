"""README.md and docs/ are true: commands parse, settings fit, SQL runs, links lead somewhere, names exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import duckdb
import pytest
import yaml

from spare_assets.cli.main import main
from spare_assets.definitions import build_defs
from spare_assets.settings import PROFILES, Home, Settings, load_settings
from spare_assets.storage.catalog import rebuild_catalog
from spare_assets.storage.tables import TableStore

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {path: path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]}
PAPER = PAGES[ROOT / "docs" / "paper.md"]
WALK = ROOT / "docs" / "own_captions.md"
"""The page whose blocks another test runs."""
GENERATED = ROOT / "docs" / "settings.md"
"""The page that is made from the settings, and compared with them by another test."""


def blocks(language: str) -> list[str]:
    """Fenced blocks of all pages but the walk's."""
    others = [text for path, text in PAGES.items() if path != WALK]
    return [block for text in others for block in re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)]


def commands() -> list[str]:
    lines = [line.split("#")[0].strip() for block in blocks("bash") for line in block.splitlines()]
    written = [text for path, text in PAGES.items() if path != GENERATED]
    inline = [" ".join(found.split()) for text in written for found in re.findall(r"`(spare\s[^`]+)`", text)]
    return sorted({line for line in [*lines, *inline] if line.startswith("spare ")})


@pytest.mark.parametrize("command", commands())
def test_commands_parse(command: str) -> None:
    name, *arguments = shlex.split(command)[1:]
    subcommand = main.commands[name]
    subcommand.make_context(name, arguments)
    assert isinstance(subcommand, click.Command)


def test_the_two_commands_stand_there_and_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in ("demo", "test", "ui"):
        assert f"make {target}" in README
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_settings_fit() -> None:
    sandbox = yaml.safe_load((PROFILES / "sandbox.yaml").read_text(encoding="utf-8"))
    assert blocks("yaml")
    for block in blocks("yaml"):
        document = yaml.safe_load(block)
        if "engines" in document:
            document["engines"] |= sandbox["engines"]
        Settings.model_validate({"name": "mine", **sandbox, **document})


def test_sql_runs(tmp_path: Path) -> None:
    rebuild_catalog(tmp_path / "spare.duckdb", TableStore(tmp_path / "tables"))
    assert blocks("sql")
    with duckdb.connect(str(tmp_path / "spare.duckdb"), read_only=True) as connection:
        for block in blocks("sql"):
            connection.execute(block)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", PAGES[page]):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_every_page_is_found_from_the_readme() -> None:
    for page in ROOT.glob("docs/*.md"):
        assert f"](docs/{page.name})" in README, page.name


def test_every_room_is_on_the_map() -> None:
    rooms = PAGES[ROOT / "docs" / "code.md"]
    for room in ROOT.glob("spare_assets/*/__init__.py"):
        assert f"`{room.parent.name}/`" in rooms, room.parent.name


def test_the_paper_is_gone_through_table_by_table_with_assets_that_exist(tmp_path: Path) -> None:
    assert [int(number) for number in re.findall(r"^## Table (\d+):", PAPER, re.MULTILINE)] == list(range(1, 12))
    sections = re.split(r"^##+ (?=Table |\d|Figures)", PAPER, flags=re.MULTILINE)[1:]
    named = []
    for section in sections:
        (listed,) = re.findall(r"^\*Assets:\* (.*?)\n\n", section, re.DOTALL | re.MULTILINE)
        named.append(set(re.findall(r"`(\w+)`", listed)))
    graph = build_defs(home=Home(tmp_path / "home", load_settings("sandbox"))).resolve_asset_graph()
    there = {key.path[-1] for key in graph.get_all_asset_keys()}
    assert set.union(*named) - there == set()
    predictions = {name for name in there if name.endswith("_predictions")}
    assert there - set.union(*named) - predictions == set(), "assets that the page does not name"


def test_names_in_the_readme_are_assets_or_known() -> None:
    """What the README lists as an asset of the graph is one."""
    listed = re.search(r"^## Look into the data\n(.*?)^## ", README, re.DOTALL | re.MULTILINE)
    assert listed is not None
    graph = build_defs(home=Home(Path("unused"), load_settings("sandbox"))).resolve_asset_graph()
    there = {key.path[-1] for key in graph.get_all_asset_keys()}
    columns = {"frame"}
    assert set(re.findall(r"`([a-z]\w*)`", listed[1])) - there - columns == set()
