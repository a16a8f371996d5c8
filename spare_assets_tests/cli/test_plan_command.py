"""`spare plan` as it is typed: a table for people, a document for programs, and what a run recorded taken in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from spare_assets.analyses.plan import SUMS
from spare_assets.analyses.plan_figures import ORIGINS
from spare_assets.cli.main import main
from spare_assets.cli.materialize import Materialization
from spare_assets.cli.plan import recorded_rates
from spare_assets.settings import Home


def spare(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="spare")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result


def options(home: Home) -> tuple[str, ...]:
    return ("--profile", str(home.path.parent / "home-profile.yaml"), "--home", str(home.path))


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "180")


def test_the_table_names_sources_stages_totals_and_assumptions(make_home: Callable[..., Home]) -> None:
    home = make_home(scenes=5)
    result = spare("plan", *options(home))
    assert result.exit_code == 0
    for words in (*home.settings.sources, "qa_pairs", "image_embeddings", "training_samples", "vsr_score"):
        assert (words in result.output) == (words != "vsr_score"), f"{words}: there is no model to be scored"
    for words in ("all that remains", "requests to ask", "to write", "Taken from the paper, or assumed:"):
        assert words in result.output
    assert "a: stated below; nothing was measured" in result.output


def test_the_document_gives_every_figure_its_origin(tmp_path: Path) -> None:
    result = spare("plan", "--profile", "paper", "--home", tmp_path / "none", "--json")
    assert result.exit_code == 0
    document: dict[str, Any] = json.loads(result.stdout)
    assert document["profile"] == "paper" and document["statements"] and document["warnings"]
    assert set(SUMS) <= set(document["totals"])
    figures = [part for stage in document["stages"] for part in stage.values() if isinstance(part, dict)]
    assert figures and {figure["origin"] for figure in figures} <= set(ORIGINS)
    owners = {stage["owner"] for stage in document["stages"]}
    assert {"docci", "all sources", "spare-2b-seed-0", "benchmarks"} <= owners
    assert not (tmp_path / "none").exists()


def test_names_from_outside_are_no_markup(make_home: Callable[..., Home]) -> None:
    home = make_home(scenes=5)
    profile = home.path.parent / "home-profile.yaml"
    document = yaml.safe_load(profile.read_text(encoding="utf-8"))
    document["sources"]["docci"] |= {"files": ["[red]no such[/red].jsonl"], "scenes": None}
    profile.write_text(yaml.safe_dump(document), encoding="utf-8")
    result = spare("plan", *options(home))
    assert result.exit_code == 0
    assert "[red]no such[/red].jsonl: no such file" in result.output


def test_rates_come_from_what_runs_recorded(make_home: Callable[..., Home]) -> None:
    home = make_home(scenes=5)
    assert recorded_rates(home) == {}
    assert Materialization(home, "captions", ("docci",)).execute()
    rates = recorded_rates(home)
    assert list(rates) == [("captions", "docci")] and rates["captions", "docci"] > 0
    document = json.loads(spare("plan", *options(home), "--json").stdout)
    by_owner = {stage["owner"]: stage for stage in document["stages"] if stage["stage"] == "captions"}
    assert by_owner["docci"]["done"] and not by_owner["pixmo_cap"]["done"]
    assert by_owner["pixmo_cap"]["seconds"]["value"] == pytest.approx(5 / rates["captions", "docci"])
