"""`spare benchmarks`: what is at hand, where the rest comes from, and whether files are the published ones."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from click.testing import CliRunner, Result

from spare_assets.benchmarks.origins import ORIGINS, md5_of, missing_file_message, missing_images_message
from spare_assets.cli.main import main
from spare_assets.settings import BENCHMARKS, load_settings
from spare_assets_tests.profiles import sandbox_profile


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def listed(tmp_path: Path, declared: dict[str, Any], *arguments: str) -> Result:
    profile = sandbox_profile(tmp_path, scenes=1, name="mine")
    document = yaml.safe_load(profile.read_text()) | {"benchmarks": declared, "data": str(tmp_path / "data")}
    profile.write_text(yaml.safe_dump(document))
    command = ["benchmarks", "--profile", str(profile), "--home", str(tmp_path / "home"), *arguments]
    result = CliRunner().invoke(main, command, env={"COLUMNS": "160"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result


def as_json(tmp_path: Path, declared: dict[str, Any], *arguments: str) -> dict[str, dict[str, Any]]:
    found = json.loads(listed(tmp_path, declared, "--json", *arguments).output)
    assert [entry["key"] for entry in found] == list(BENCHMARKS)
    return {entry["key"]: entry for entry in found}


def test_origins_are_complete() -> None:
    for key, origin in ORIGINS.items():
        for address in (origin.url, origin.homepage):
            parts = urlsplit(address)
            assert parts.scheme == "https" and parts.hostname, key
        assert origin.md5 is None or len(bytes.fromhex(origin.md5)) == 16
        assert (origin.md5 is None) == (not origin.file_name.endswith(".tsv")) == bool(origin.pictures)
        assert origin.md5 is None or origin.url.endswith(f"/{origin.file_name}")


@pytest.mark.parametrize("profile", ["paper", "docci"])
def test_profiles_name_files_as_they_are_published(profile: str) -> None:
    for key, settings in load_settings(profile).benchmarks.items():
        assert Path(settings.file).name == ORIGINS[key].file_name
        assert (settings.images is not None) == bool(ORIGINS[key].pictures)


def test_messages_say_which_file_where_from_and_where_to_put_it() -> None:
    for key, origin in ORIGINS.items():
        message = missing_file_message(key, Path("/data/here.tsv"))
        for part in (origin.title, "/data/here.tsv", f"benchmarks.{key}.file", origin.file_name, origin.url):
            assert part in message
        assert (origin.md5 or origin.pictures) in message
        assert f"benchmarks.{key}.images" in missing_images_message(key, Path("/data/images"))
    assert "/data/images/controlled_clevr " in missing_images_message("whats_up_b", Path("/data/images"))


def test_present_absent_rendered_and_undeclared(tmp_path: Path, data: Path) -> None:
    (data / "vsr.jsonl").write_text("{}")
    (data / "coco").mkdir()
    (data / "whats_up").mkdir()
    declared = {
        "vsr": {"file": "vsr.jsonl", "images": "coco"},
        "whats_up_a": {"file": "whats_up/controlled_images_dataset.json", "images": "whats_up"},
        "mme": {"file": "MME.tsv", "scenes": {"count": 3}},
        "mmmu": {"file": "not here/MMMU_DEV_VAL.tsv"},
    }
    found = as_json(tmp_path, declared)
    states = {key: entry["state"] for key, entry in found.items() if entry["state"] != "not in the profile"}
    assert states == {"vsr": "present", "whats_up_a": "absent", "mme": "rendered", "mmmu": "absent"}
    assert (found["vsr"]["bytes"], found["vsr"]["images_present"]) == (2, True)
    assert found["whats_up_a"]["images_present"] is False, "the folder is there, but not the one in it"
    (data / "whats_up" / "controlled_images").mkdir()
    assert as_json(tmp_path, declared)["whats_up_a"]["images_present"] is True
    result = listed(tmp_path, declared)
    assert result.exit_code == 0
    command = f"-o '{data}/not here/MMMU_DEV_VAL.tsv' {ORIGINS['mmmu'].url}\n"
    assert command in result.output, "a command to copy, whole"
    assert "not in profile mine: whats_up_b, threedsr_bench," in result.output
    assert ORIGINS["mme"].url not in result.output and ORIGINS["vsr"].url not in result.output


def test_pictures_without_a_folder_are_told(tmp_path: Path, data: Path) -> None:
    (data / "vsr.jsonl").write_text("{}")
    result = listed(tmp_path, {"vsr": {"file": "vsr.jsonl"}})
    assert "set `benchmarks.vsr.images`; its pictures: COCO's" in result.output


def test_verify(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (data / "MME.tsv").write_text("index\timage\n")
    (data / "MMMU_DEV_VAL.tsv").write_text("index\n")
    declared = {"mme": {"file": "MME.tsv"}, "mmmu": {"file": "MMMU_DEV_VAL.tsv"}}
    assert {entry["check"] for entry in as_json(tmp_path, declared).values()} == {"not compared", "none published"}
    result = listed(tmp_path, declared, "--verify")
    assert result.exit_code == 1
    assert "MMMU: " in result.output and "is not the file of md5 585e8ad75e73f75dcad265dfd0417d64" in result.output
    origin = ORIGINS["mme"]
    sum_here = md5_of(data / "MME.tsv")
    assert sum_here == hashlib.md5(b"index\timage\n").hexdigest()
    same = type(origin)(origin.title, origin.file_name, origin.url, sum_here, origin.homepage)
    monkeypatch.setattr("spare_assets.cli.benchmarks.ORIGINS", {**ORIGINS, "mme": same})
    found = as_json(tmp_path, declared, "--verify")
    assert (found["mme"]["check"], found["mmmu"]["check"]) == ("as published", "differs")
    assert listed(tmp_path, {"mme": {"file": "MME.tsv"}}, "--verify").exit_code == 0
    rendered = {"mmmu": {"file": "MMMU_DEV_VAL.tsv", "scenes": {"count": 3}}}
    assert as_json(tmp_path, rendered, "--verify")["mmmu"]["check"] == "not compared", "it never is the release"


def test_text_of_the_profile_is_no_markup(tmp_path: Path, data: Path) -> None:
    result = listed(tmp_path, {"mme": {"file": "[bold]x[/nothing]/MME.tsv"}})
    assert result.exit_code == 0
    assert "[bold]x[/nothing]/MME.tsv" in result.output
