"""The `spare` command with bad input: a message a person can act on, no traceback, and good rows survive."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from spare_assets.cli.main import main
from spare_assets.package_files import package_file
from spare_assets.settings import Home, open_home
from spare_assets.storage.tables import TableStore
from spare_assets_tests.profiles import sandbox_profile

GOOD = "A red cup stands to the left of a white plate on the table."


def spare(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    assert "Traceback" not in result.output
    return result


def plain(result: Result) -> str:
    """Output without the line breaks of the terminal's width."""
    return " ".join(result.output.split())


@pytest.fixture
def table_profile(tmp_path: Path) -> Callable[..., Path]:
    """A profile of one generic source; `source` and other sections change it."""

    def make(file: str = "captions.jsonl", source: dict[str, Any] | None = None, **sections: Any) -> Path:
        entry = {"format": "table", "files": [file], "columns": {"caption": "text"}} | (source or {})
        defaults: dict[str, Any] = {
            "sources": {"mine": entry},
            "engines": {"analyst": {"kind": "rule_based"}},
            "quality": {"alignment": "when_image_present"},
        }
        profile = sandbox_profile(tmp_path, scenes=1, name="mine", **(defaults | sections))
        profile.write_text(profile.read_text() + f"data: {tmp_path}\n")
        return profile

    return make


def materialize(profile: Path, *arguments: str) -> Result:
    return spare("materialize", "--profile", profile, "--home", profile.parent / "home", *arguments)


def test_unknown_profile() -> None:
    result = spare("status", "--profile", "nowhere")
    assert result.exit_code == 2
    assert "unknown profile 'nowhere': use one of docci, paper, sandbox" in result.output


def test_home_of_another_profile(tmp_path: Path) -> None:
    open_home("sandbox", tmp_path / "home").claim()
    result = spare("materialize", "--profile", "docci", "--home", tmp_path / "home")
    assert result.exit_code == 2
    assert "is the home of profile 'sandbox', not of 'docci'" in result.output


def test_unknown_source_asset_and_override(tmp_path: Path) -> None:
    home = ("--profile", "sandbox", "--home", tmp_path / "home")
    assert "unknown source coco: the profile declares docci" in spare("materialize", "--source", "coco", *home).output
    assert "did you mean captions" in spare("materialize", "--select", "capshuns", *home).output
    assert "write ASSET.SETTING=VALUE" in spare("materialize", "--set", "captions", *home).output
    for wrong, told in (
        (("--set", "aligned_pair.minimum_alignment=1"), "aligned_pair is not among the selected assets"),
        (("--set", "aligned_pairs.minimum=1"), "aligned_pairs has no setting 'minimum': use minimum_alignment"),
        (("--set", "aligned_pairs.minimum_alignment=high"), "takes a number or true/false, not 'high'"),
        (("--select", "spatial_captions", "--limit", "3"), "a limit is read by `captions`"),
    ):
        result = spare("materialize", *wrong, *home)
        assert result.exit_code == 2
        assert told in result.output


def test_bad_rows_are_set_aside_and_good_ones_go_on(table_profile: Callable[..., Path], tmp_path: Path) -> None:
    rows = [json.dumps({"text": f"{GOOD} {number}"}) for number in range(40)]
    rows.insert(5, '{"text": "A cut')
    rows.insert(9, json.dumps({"caption": GOOD}))
    rows.insert(20, json.dumps({"text": "long " * 250_000}))
    (tmp_path / "captions.jsonl").write_text("\n".join(rows) + "\n")
    result = materialize(table_profile())
    assert result.exit_code == 0, result.output
    store = TableStore(tmp_path / "home" / "tables")
    assert store.rows("captions", "mine") == 40
    assert store.rows("spatial_pairs", "mine") > 0
    quarantined = store.scan("quarantined_captions", "mine").collect()
    assert quarantined["line"].to_list() == [6, 10, 21]
    assert "mine: 3 not read, first captions.jsonl, line 6: " in plain(result)
    assert all(len(raw) <= 10_000 for raw in quarantined["raw"])


def test_too_many_bad_rows_fail_the_stage_with_the_rows_on_disk(
    table_profile: Callable[..., Path], tmp_path: Path
) -> None:
    rows = [json.dumps({"text": GOOD + str(number)}) for number in range(40)] + ["{broken"] * 15
    (tmp_path / "captions.jsonl").write_text("\n".join(rows))
    result = materialize(table_profile(), "--select", "captions")
    assert result.exit_code == 1
    assert "15 of 55 rows can't be read" in plain(result)
    assert "captions.jsonl, line 41" in plain(result)
    store = TableStore(tmp_path / "home" / "tables")
    assert store.rows("quarantined_captions", "mine") == 15
    assert not store.exists("captions", "mine")


@pytest.mark.parametrize(
    ("content", "source", "expected"),
    [
        (None, {}, "captions.jsonl"),
        ("", {}, "empty"),
        ("name,words\na,b\n", {"files": ["captions.csv"]}, "name"),
    ],
    ids=["missing file", "empty file", "wrong column"],
)
def test_files_that_cannot_be_a_source(
    table_profile: Callable[..., Path], tmp_path: Path, content: str | None, source: dict[str, Any], expected: str
) -> None:
    if content is not None:
        (tmp_path / source.get("files", ["captions.jsonl"])[0]).write_text(content)
    result = materialize(table_profile(source=source), "--select", "captions")
    assert result.exit_code == 1
    assert expected in plain(result)
    assert "sources.mine." in plain(result), "the setting is named"
    assert "nothing is materialized yet" not in result.output, "the failure is the news"
    doctor = spare("doctor", "--profile", tmp_path / "mine.yaml", "--home", tmp_path / "home", "--json")
    found = {finding["subject"]: finding for finding in json.loads(doctor.output)}
    assert found["source mine"]["verdict"] == "missing", "told before a run"
    assert expected in found["source mine"]["detail"]


def test_missing_image_folder_is_told_and_stops_nothing(table_profile: Callable[..., Path], tmp_path: Path) -> None:
    row = {"text": GOOD, "photo": "a.jpg"}
    (tmp_path / "captions.jsonl").write_text(json.dumps(row) + "\n")
    columns = {"caption": "text", "image": "photo"}
    profile = table_profile(source={"columns": columns, "image_folders": {"default": "no-such-folder"}})
    result = materialize(profile)
    assert result.exit_code == 0
    assert "mine: 1 of 1 images can't be used, first mine:a.jpg: " in plain(result)
    image = TableStore(tmp_path / "home" / "tables").scan("images", "mine").collect().row(0, named=True)
    assert image["status"] == "missing"
    assert "no-such-folder" in image["detail"]


def test_a_stage_that_keeps_nothing_is_pointed_out(table_profile: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "captions.jsonl").write_text(json.dumps({"text": GOOD, "photo": "a.jpg"}) + "\n")
    columns = {"caption": "text", "image": "photo"}
    source = {"columns": columns, "image_folders": {"default": "no-such-folder"}}
    profile = table_profile(source=source, quality={"alignment": "required"})
    result = materialize(profile)
    assert result.exit_code == 0
    assert "mine: aligned_pairs kept none of" in plain(result)
    assert "no image: missing" in plain(result)
    doctor = spare("doctor", "--profile", profile, "--home", tmp_path / "home", "--json")
    states = {finding["subject"]: finding["verdict"] for finding in json.loads(doctor.output)}
    assert states["images mine/default"] == "missing"
    assert states["CLIP"] == "note"


def test_missing_prompt_placeholder(table_profile: Callable[..., Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(package_file("prompts"), tmp_path / "prompts"))
    (folder / "write_pairs.md").write_text("Write pairs.")
    result = materialize(table_profile(synthesis={"prompts": str(folder)}))
    assert result.exit_code == 2
    assert "write_pairs.md: placeholder {caption} stands 0 times" in plain(result)


def test_model_that_cannot_be_loaded(table_profile: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "captions.jsonl").write_text(json.dumps({"text": GOOD}) + "\n")
    engine = {"kind": "transformers", "model": str(tmp_path / "no-model"), "device": "cpu"}
    result = materialize(table_profile(engines={"analyst": engine}), "--select", "captions or spatial_captions")
    assert result.exit_code == 1
    assert "engines.analyst.model" in plain(result)
    assert "no-model" in plain(result)


def test_damaged_table_is_named(table_profile: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "captions.jsonl").write_text(json.dumps({"text": GOOD}) + "\n")
    profile = table_profile()
    assert materialize(profile, "--select", "captions").exit_code == 0
    path = TableStore(tmp_path / "home" / "tables").path("captions", "mine")
    path.write_bytes(path.read_bytes()[:100])
    result = materialize(profile, "--select", "spatial_captions")
    assert result.exit_code == 1
    assert "source=mine.parquet: damaged" in plain(result)


def test_doctor_says_what_is_missing_and_where_to_get_it(tmp_path: Path) -> None:
    result = spare("doctor", "--profile", "paper", "--home", tmp_path / "home", "--json")
    assert result.exit_code == 1
    found = {finding["subject"]: finding for finding in json.loads(result.output)}
    assert found["source docci"]["verdict"] == "missing"
    assert "google.github.io/docci" in found["source docci"]["detail"]
    assert "Qwen/Qwen2.5-3B-Instruct" in found["engine qwen2.5-3b"]["detail"]
    assert spare("doctor", "--profile", "paper", "--home", tmp_path / "home").exit_code == 1


def test_doctor_finds_the_sandbox_complete(make_home: Callable[..., Home]) -> None:
    home = make_home()
    result = spare("doctor", "--profile", home.path.parent / "home-profile.yaml", "--home", home.path)
    assert result.exit_code == 0, result.output
    assert "missing" not in result.output


def test_status_before_anything_is_there(tmp_path: Path) -> None:
    result = spare("status", "--profile", "sandbox", "--home", tmp_path / "home")
    assert "nothing is materialized yet" in plain(result)
    assert not (tmp_path / "home").exists(), "looking creates nothing"
    open_home("docci", tmp_path / "holidays").claim()
    result = spare("status", "--profile", "sandbox", "--home", tmp_path / "home")
    assert "Homes beside it: holidays; --profile chooses one" in plain(result)
