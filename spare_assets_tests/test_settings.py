from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from spare_assets.settings import (
    HOME_VARIABLE,
    PROFILE_VARIABLE,
    PROFILES,
    SettingsError,
    available_profiles,
    fingerprint,
    load_settings,
    open_home,
)


def test_shipped_profiles_load_and_pin_their_models() -> None:
    assert {"sandbox", "paper", "docci"} <= set(available_profiles())
    for name in available_profiles():
        settings = load_settings(name)
        assert settings.name == name
        for engine in settings.engines.values():
            if engine.kind == "transformers":
                assert engine.revision, f"{name}: {engine.model} has no pinned revision"
        assert settings.clip.model == "sandbox" or "@" in (settings.clip.pretrained or "")


def test_the_paper_profile_holds_the_papers_numbers() -> None:
    settings = load_settings("paper")
    assert set(settings.sources) == {"docci", "localized_narratives", "pixmo_cap"}
    assert settings.quality.duplicate_cosine == 0.95
    assert settings.quality.minimum_alignment == 0.25
    assert settings.quality.alignment == "required"
    assert settings.synthesis.max_new_tokens == 8192


def test_unknown_profile_lists_what_exists() -> None:
    with pytest.raises(
        SettingsError, match=rf"unknown profile 'papr.yaml': no file {Path.cwd()}/papr.yaml; use one of"
    ):
        load_settings("papr.yaml")
    with pytest.raises(SettingsError, match="unknown profile 'papr': use one of docci, paper, sandbox"):
        load_settings("papr")


def sandbox_with(tmp_path: Path, **changes: object) -> str:
    document = yaml.safe_load((PROFILES / "sandbox.yaml").read_text()) | changes
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(document))
    return str(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clip": {"modle": "x"}}, r"clip\.modle: no such setting; did you mean .*model"),
        (
            {"sources": {"t": {"format": "table", "column": {}}}},
            r"sources\.t\.column: no such setting; did you mean columns",
        ),
        ({"clip": {"qqqq": 1}}, r"clip\.qqqq: no such setting; docs/settings.md"),
        ({"quality": {"verification_engine": "nobody"}}, "names 'nobody', which `engines` does not declare"),
        ({"sources": {"Bad Key": {"format": "docci", "files": ["x"]}}}, "source key 'Bad Key'"),
        ({"sources": {"t": {"format": "table", "files": ["x.csv"]}}}, "needs `columns: {caption"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        load_settings(sandbox_with(tmp_path, **changes))
    assert "mine.yaml" in str(caught.value)


@pytest.mark.parametrize("url", ["http://me:pw@host/v1", "https://pw@host/v1", "http://h/v1?key=pw", "http://[pw/v1"])
def test_an_address_with_a_secret_in_it_is_refused_without_showing_it(tmp_path: Path, url: str) -> None:
    engine = {"kind": "openai", "model": "m", "base_url": url}
    for changes, place in (
        ({"engines": {"analyst": engine}}, r"engines\.analyst\.openai\.base_url"),
        ({"publication": {"endpoint": url}}, r"publication\.endpoint"),
    ):
        with pytest.raises(SettingsError, match=place) as caught:
            load_settings(sandbox_with(tmp_path, **changes))
        assert "pw" not in str(caught.value)


def test_broken_yaml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("sources: [")
    with pytest.raises(SettingsError, match=r"broken\.yaml: not readable as YAML"):
        load_settings(str(path))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sources: 2024-99-99", "not readable as YAML"),
        ("[" * 5000, "not readable as YAML"),
        ("data: ~no_such_user/x", "is no path"),
        ('data: "a\\0b"', "is no path"),
        (f"clip: {{model: {'x' * 5000}}}", "is no path"),
    ],
)
def test_what_no_file_of_settings_can_say_is_refused_in_words(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=rf"odd\.yaml: .*{said}"):
        load_settings(str(path))


def test_a_home_of_another_profile_is_refused(tmp_path: Path) -> None:
    open_home("sandbox", tmp_path / "home").claim()
    with pytest.raises(SettingsError, match="is the home of profile 'sandbox', not of 'paper'"):
        open_home("paper", tmp_path / "home")


def test_opening_a_home_tells_child_processes(tmp_path: Path) -> None:
    home = open_home(sandbox_with(tmp_path), tmp_path / "home")
    assert os.environ[HOME_VARIABLE] == str(home.path)
    assert open_home().settings == home.settings
    assert os.environ[PROFILE_VARIABLE].endswith("mine.yaml")


def test_relative_data_starts_from_the_profile_file(tmp_path: Path) -> None:
    home = open_home(sandbox_with(tmp_path, data="corpora"), tmp_path / "home")
    assert home.resolve("a/b.jsonl") == tmp_path / "corpora" / "a" / "b.jsonl"


def test_fingerprints_follow_content() -> None:
    settings = load_settings("sandbox")
    assert fingerprint(settings.quality) == fingerprint(load_settings("sandbox").quality)
    changed = settings.quality.model_copy(update={"duplicate_cosine": 0.9})
    assert fingerprint(changed) != fingerprint(settings.quality)
