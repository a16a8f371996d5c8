"""README.md is true: its commands parse, its settings fit, its SQL runs, its links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import duckdb
import pytest
import yaml

from spare_assets.cli.main import main
from spare_assets.settings import PROFILES, Settings
from spare_assets.storage.catalog import rebuild_catalog
from spare_assets.storage.tables import TableStore

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def commands() -> list[str]:
    lines = [line.split("#")[0].strip() for block in blocks("bash") for line in block.splitlines()]
    inline = re.findall(r"`((?:\.venv/bin/)?spare [^`]+)`", TEXT)
    return [line for line in [*lines, *inline] if line.removeprefix(".venv/bin/").startswith("spare ")]


@pytest.mark.parametrize("command", commands())
def test_commands_parse(command: str) -> None:
    name, *arguments = shlex.split(command)[1:]
    subcommand = main.commands[name]
    subcommand.make_context(name, arguments)
    assert isinstance(subcommand, click.Command)


def test_the_two_commands_stand_there_and_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in ("demo", "test", "ui"):
        assert f"make {target}" in TEXT
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


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_every_room_is_on_the_map() -> None:
    for room in ROOT.glob("spare_assets/*/__init__.py"):
        assert f"`{room.parent.name}/`" in TEXT, room.parent.name
