"""Help that can be trusted, exit codes that scripts can rely on, and one line for what a person can mend."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shlex
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click
import pytest
from click.testing import CliRunner, Result

from spare_assets.cli import commands
from spare_assets.cli.commands import EXIT_CODES, FAILED, INTERRUPTED, USAGE, SpareCommand
from spare_assets.cli.main import main
from spare_assets.cli.ports import unusable
from spare_assets.settings import HOME_VARIABLE, Home, open_home


def spare(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="spare")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result


@pytest.fixture
def where(make_home: Callable[..., Home]) -> tuple[str, ...]:
    home = make_home(scenes=5)
    return ("--profile", str(home.path.parent / "home-profile.yaml"), "--home", str(home.path))


def test_help_says_exit_codes_variables_and_version() -> None:
    assert (FAILED, USAGE, INTERRUPTED) == (1, 2, 130)
    text = spare("--help").output
    for code, _ in EXIT_CODES:
        assert re.search(rf"^  {code} +\w", text, re.MULTILINE)
    for variable in ("SPARE_PROFILE", "SPARE_HOME", "SPARE_DATA", "NO_COLOR"):
        assert variable in text
    assert not re.search(r"^  .*\.\.\.$", text, re.MULTILINE), "no command is described by half a sentence"
    assert importlib.metadata.version("spare-assets") in spare("--version").output


@pytest.mark.parametrize("name", list(main.commands))
def test_every_command_explains_itself_with_examples_that_parse(name: str) -> None:
    command = main.commands[name]
    assert isinstance(command, SpareCommand) and command.examples
    text = spare(name, "--help").output
    for example in command.examples:
        assert example in text, "not wrapped: it is there to be copied"
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
    lexed = [line for line in command.examples if line.startswith("spare ")]
    for line in lexed:
        arguments = shlex.split(re.split(r" [#|>]| 2>", line)[0])[1:]
        main.commands[arguments[0]].make_context(arguments[0], arguments[1:])


def test_nothing_to_complain_about_is_0(where: tuple[str, ...]) -> None:
    assert spare("status", *where).exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("stauts",),
        ("status", "--no-such-option"),
        ("status", "--profile", "nowhere"),
        ("settings", "--profile", "nowhere"),
        ("ui", "--port", "70000"),
        ("materialize", "--limit", "0"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_2(arguments: tuple[str, ...]) -> None:
    result = spare(*arguments)
    assert result.exit_code == USAGE
    assert result.stdout == ""


def test_a_failed_asset_is_1_and_told_as_json(where: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> NoReturn:
        raise ValueError("[red]no[/red] good")

    monkeypatch.setattr("spare_assets.orchestration.stage.Stage.progress", broken)
    result = spare("materialize", "--select", "captions or spatial_captions", "--source", "docci", "--json", *where)
    assert result.exit_code == FAILED
    document = json.loads(result.stdout)
    assert document["outcome"] == "failed"
    assert {entry["asset"]: entry["outcome"] for entry in document["assets"]}["captions"] == "failed"
    assert {entry["asset"]: entry["outcome"] for entry in document["assets"]}["spatial_captions"] == "left out"
    (problem,) = document["problems"]
    assert (problem["partition"], problem["asset"], problem["severity"]) == ("docci", "captions", "error")
    assert "docci: captions: ValueError: [red]no[/red] good" in result.stderr, "an error's words are not markup"


def test_an_interruption_is_130(where: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr("spare_assets.cli.status.print_status", interrupted)
    assert spare("status", *where).exit_code == INTERRUPTED
    monkeypatch.setattr("spare_assets.cli.materialize.Materialization.execute", interrupted)
    result = spare("materialize", "--select", "captions", "--json", *where)
    assert result.exit_code == INTERRUPTED
    assert json.loads(result.stdout)["outcome"] == "interrupted"
    assert "the same command goes on from there" in result.stderr


def test_a_home_that_cannot_be_used_is_told_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv(HOME_VARIABLE, str(file))
    result = spare("status")
    assert (result.exit_code, result.stderr.count("\n")) == (USAGE, 1)
    assert f"{file} is a file" in result.stderr
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    (tmp_path / "profile.json").mkdir()
    result = spare("status")
    assert (result.exit_code, result.stderr.count("\n")) == (USAGE, 1)
    assert "cannot be read as a home" in result.stderr


def test_a_home_of_another_profile_names_both_ways_out(tmp_path: Path) -> None:
    open_home("sandbox", tmp_path / "home").claim()
    result = spare("status", "--profile", "docci", "--home", tmp_path / "home")
    assert (result.exit_code, result.stderr.count("\n")) == (USAGE, 1)
    assert "choose another folder with --home" in result.stderr and "open it with --profile sandbox" in result.stderr


def test_a_full_disk_is_told_in_a_line(where: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> NoReturn:
        raise OSError(28, "No space left on device", "/somewhere/table")

    monkeypatch.setattr("spare_assets.cli.status.print_status", full)
    result = spare("status", *where)
    assert (result.exit_code, result.stderr) == (FAILED, "spare: /somewhere/table: No space left on device\n")


def test_a_misspelt_asset_is_guessed(where: tuple[str, ...]) -> None:
    result = spare("materialize", "--select", "captions or aligned_piars+", *where)
    assert result.exit_code == USAGE
    assert "no asset is called 'aligned_piars'; did you mean aligned_pairs" in result.stderr


def test_a_selection_that_cannot_be_read_says_how_to_join_names(where: tuple[str, ...]) -> None:
    result = spare("materialize", "--select", "captions,images", *where)
    assert result.exit_code == USAGE
    assert "join names with `or`" in result.stderr


def test_a_port_in_use_names_one_that_is_free(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        result = spare("ui", "--port", str(port), "--home", tmp_path / "home")
        assert (result.exit_code, result.stderr.count("\n")) == (FAILED, 1)
        found = re.search(rf"port {port} of 127.0.0.1 is in use.*try --port (\d+)", result.stderr)
        assert found and unusable("127.0.0.1", int(found[1])) is None
    assert unusable("127.0.0.1", port) is None, "a port that was just left is free"
    assert "nothing can listen at 192.0.2.1" in (unusable("192.0.2.1", port) or "")
    assert not (tmp_path / "home").exists(), "nothing is created for a server that cannot start"


def test_ui_prints_its_address(where: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _, command: started.append(command))
    monkeypatch.setattr(os, "chdir", lambda _: None)
    monkeypatch.setattr("spare_assets.cli.ports._refusal", lambda *_: None)
    result = spare("ui", "--port", "3456", *where)
    assert result.exit_code == 0
    assert "http://127.0.0.1:3456" in result.stdout
    assert "3456" in started[0]


def test_options_without_a_section_come_last() -> None:
    @click.command(cls=commands.SpareCommand)
    @click.option("--plain", help="plain")
    @click.option("--put", cls=commands.SectionedOption, section="Put here", help="put")
    def command(**_: Any) -> None:
        """A command."""

    text = CliRunner().invoke(command, ["--help"]).output
    assert re.search(r"Other options:\n  --plain.*\n  --help.*\n\nPut here:\n  --put", text)
