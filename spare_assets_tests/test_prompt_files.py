from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spare_assets.prompt_files import Prompt, read_prompt
from spare_assets.settings import SettingsError


def prompt(folder: Path, text: str, *, optional: tuple[str, ...] = ()) -> Prompt:
    path = folder / "choice.md"
    path.write_text(text, encoding="utf-8")
    return read_prompt(path, ("question",), optional, "scoring.prompts")


def test_a_prompt_keeps_its_words_and_fills_its_places(tmp_path: Path) -> None:
    found = prompt(tmp_path, "\nOf {question}, {options}? {other} {{}}\n", optional=("options",))
    assert found.text == "Of {question}, {options}? {other} {{}}"
    assert found.placeholders == {"question", "options"}
    assert found.fill({"question": "q", "options": "o", "unused": "u"}) == "Of q, o? {other} {{}}"


@given(st.text(), st.text())
def test_what_is_put_in_stays_as_it_is(question: str, options: str) -> None:
    found = Prompt(("Q: ", "question", "\n", "options", ""))
    assert found.fill({"question": question, "options": options}) == f"Q: {question}\n{options}"


def test_an_optional_place_may_be_absent_but_not_twice(tmp_path: Path) -> None:
    assert prompt(tmp_path, "{question}", optional=("options",)).placeholders == {"question"}
    with pytest.raises(SettingsError, match=r"choice\.md: placeholder \{options\} stands 2 times.* at most once"):
        prompt(tmp_path, "{question} {options} {options}", optional=("options",))
    with pytest.raises(SettingsError, match=r"choice\.md: placeholder \{question\} stands 0 times.* exactly once"):
        prompt(tmp_path, "{options}", optional=("options",))


def test_a_file_that_is_no_text_names_itself_and_the_setting(tmp_path: Path) -> None:
    path = tmp_path / "choice.md"
    with pytest.raises(SettingsError, match=r"choice\.md.*scoring\.prompts"):
        read_prompt(path, ("question",), setting="scoring.prompts")
    path.write_bytes(b"\xff {question}")
    with pytest.raises(SettingsError, match=r"choice\.md.*scoring\.prompts"):
        read_prompt(path, ("question",), setting="scoring.prompts")
