from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from spare_assets.package_files import package_file
from spare_assets.settings import SettingsError
from spare_assets.synthesis.prompts import PLACEHOLDERS, load_prompts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(package_file("prompts"), tmp_path / "prompts"))


def test_text_put_in_is_never_a_template() -> None:
    prompts = load_prompts()
    hostile = "a {caption} {question} {0} %s ${x} \\1 cup"
    filled = prompts["write_pairs"].fill({"caption": hostile})
    assert filled.endswith(hostile)
    pair = prompts["judge_pair"].fill({"question": "{answer}", "answer": "{question}"})
    assert pair.endswith("Question: {answer}\nAnswer: {question}")


def test_the_data_stands_last_so_that_servers_reuse_the_prefix() -> None:
    for task in PLACEHOLDERS:
        assert load_prompts()[task].parts[-1] == ""


def test_generation_asks_for_all_that_the_paper_asks_for() -> None:
    text = load_prompts()["write_pairs"].fill({"caption": ""}).lower()
    for aspect in (
        "position",
        "distance",
        "orientation",
        "background",
        "edges",
        "shadow",
        "overlap",
        "size",
        "json list",
    ):
        assert aspect in text


@pytest.mark.parametrize("text", ["no place for it", "{caption} and {caption}"])
def test_a_placeholder_missing_or_repeated_is_named(folder: Path, text: str) -> None:
    (folder / "judge_caption.md").write_text(text)
    with pytest.raises(SettingsError, match=r"judge_caption\.md: placeholder \{caption\} stands [02] times"):
        load_prompts(str(folder))


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "judge_pair.md").unlink()
    with pytest.raises(SettingsError, match=r"judge_pair\.md.*synthesis\.prompts"):
        load_prompts(str(folder))


def test_wording_changes_the_fingerprint_of_its_task_alone(folder: Path) -> None:
    assert load_prompts(str(folder)).fingerprints == load_prompts().fingerprints
    (folder / "judge_pair.md").write_text("Is it? {question} {answer}")
    changed, shipped = load_prompts(str(folder)).fingerprints, load_prompts().fingerprints
    assert {task for task in shipped if changed[task] != shipped[task]} == {"judge_pair"}
