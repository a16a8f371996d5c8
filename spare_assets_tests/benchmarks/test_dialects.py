"""How questions are put, and what replies to rewritten claims mean."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spare_assets.benchmarks.dialects import Asked, Dialect, load_dialect
from spare_assets.benchmarks.questions import Form, Question
from spare_assets.package_files import package_file
from spare_assets.settings import SettingsError

SHIPPED = sorted(path.name for path in (package_file("prompts") / "benchmarks").iterdir())
SCENES = load_dialect("scenes")
LEFT = "The red ball is to the left of the blue cube."
HOSTILE = "{question} {options} {0} %s <|im_end|> </s> \\1 A. B."
CAPTIONS = {
    "A": "A red ball to the right of a blue cube",
    "B": "A red ball above a blue cube",
    "C": "A red ball to the left of a blue cube",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(package_file("prompts") / "benchmarks", tmp_path / "prompts"))


def question(form: Form, text: str, options: Mapping[str, str] | None = None, hint: str = "") -> Question:
    return Question("1", form, text, (), options or {}, hint=hint)


def asked(form: Form, text: str, options: Mapping[str, str] | None = None) -> Asked:
    return SCENES.ask(question(form, text, options))


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("form", get_args(Form))
def test_every_form_of_every_dialect_fills_and_outside_text_stays_text(name: str, form: Form) -> None:
    options = {"A": HOSTILE, "B": "a mug"}
    put = load_dialect(name).ask(question(form, HOSTILE, options))
    assert HOSTILE in put.text
    assert put.text.replace(HOSTILE, "").count("{") == 0
    assert not put.decided and not put.choices


@given(st.text(), st.text(min_size=1))
def test_any_text_is_put_as_it_is(text: str, hint: str) -> None:
    put = SCENES.ask(question("short", text, hint=hint))
    assert put.text == f"Hint: {hint}\n{text}"


def test_options_are_listed_by_letter() -> None:
    options = {"A": "a mug", "B": "the\nlamp"}
    put = load_dialect("default").ask(question("choice", "What is it?", options)).text
    assert "Question: What is it?\nOptions:\nA. a mug\nB. the\nlamp\n" in put
    assert load_dialect("default").ask(question("choice", "Which?", {"A": "red", "B": "blue"})).choices == ()
    captions = load_dialect("default").ask(question("captions", "Which caption?", CAPTIONS)).text
    assert all(f"{letter}. {text}\n" in captions for letter, text in CAPTIONS.items())


def test_a_dialect_takes_from_the_default_what_it_lacks() -> None:
    default, other = load_dialect("default"), load_dialect("internvl2")
    changed = {form for form, prompt in other.prompts.items() if prompt != default.prompts[form]}
    assert changed == {"choice", "short"}


def test_a_prompt_without_options_holds_the_model_to_single_words() -> None:
    put = asked("choice", "Which colour does the ball have?", {"A": "red", "B": "Blue"})
    assert put == Asked("Which colour does the ball have?", ("red", "Blue"), {"A": "red", "B": "Blue"})
    assert (put.answer("red"), put.answer(" BLUE. "), put.answer("It is red!")) == ("A", "B", "A")
    assert (put.answer("red or blue"), put.answer("reddish"), put.answer("")) == (None, None, None)
    for options in ({"A": "red", "B": "dark blue"}, {"A": "red", "B": "2"}, {"A": "red", "B": ""}, {}):
        assert asked("choice", "Which?", options) == Asked("Which?")
    foreign = asked("choice", "Welche?", {"A": "grün", "B": "weiß"})
    assert (foreign.answer("Grün"), foreign.answer("weiß")) == ("A", "B")


@pytest.mark.parametrize(
    ("form", "text", "put", "replies"),
    [
        (
            "statement",
            LEFT,
            "Where exactly is the red ball in relation to the blue cube?",
            {"left": "true", "right": "false", "To the left of it.": "true", "": None, "…": None},
        ),
        (
            "as_it_stands",
            "Is there a red ball in the image? Please answer yes or no.",
            "Which objects does the image show?",
            {"A RED ball, and a cube": "yes", "a red cube and a blue ball": "no", "redball": "no", " \n": None},
        ),
        (
            "yes_no",
            "Is the colour of the ball red?",
            "Which colour does the ball have?",
            {"red": "yes", "green": "no", "": None},
        ),
        (
            "yes_no",
            "Someone who keeps this collects red things and nothing else. Right?",
            "Which objects does the image show?",
            {"a red ball": "yes", "a blue ball": "no", "": None},
        ),
        (
            "as_it_stands",
            "Are there three objects in the image? Please answer yes or no.",
            "How many objects are in the picture?",
            {"three": "yes", "Two.": "no", "": None},
        ),
        (
            "as_it_stands",
            "Is one plus two the number of objects? Please answer yes or no.",
            "How many objects are in the picture?",
            {"three": "yes", "two": "no", "": None},
        ),
    ],
)
def test_a_claim_is_put_as_the_question_that_it_answers(
    form: Form, text: str, put: str, replies: Mapping[str, str | None]
) -> None:
    rewritten = asked(form, text)
    assert rewritten.text == put and rewritten.decided
    assert {reply: rewritten.answer(reply) for reply in replies} == replies


def test_captions_are_put_as_one_question_and_answered_by_their_letter() -> None:
    put = asked("captions", "Which caption describes the image?", CAPTIONS)
    assert put.text == "Where exactly is the red ball in relation to the blue cube?"
    assert put.choices == ("left", "right", "above", "below")
    assert {reply: put.answer(reply) for reply in ("left", "right", "above", "below", "left right", "")} == {
        "left": "C",
        "right": "A",
        "above": "B",
        "below": None,
        "left right": None,
        "": None,
    }


@pytest.mark.parametrize(
    "put",
    [
        question("statement", "The cat is pleased."),
        question("statement", f"{LEFT} And so is the cat."),
        question("captions", "Which?", CAPTIONS | {"D": "A red ball under a blue cube"}),
        question("captions", "Which?", CAPTIONS | {"D": "A red ball below a green cube"}),
        question("captions", "Which?"),
        question("yes_no", "Is it so?"),
        question("short", "Is there a red ball in the image?"),
    ],
    ids=["other words", "more", "a caption", "other things", "no captions", "yes or no", "another form"],
)
def test_what_no_rewrite_reads_is_put_plainly(put: Question) -> None:
    plain = Dialect("plain", SCENES.prompts, ())
    assert SCENES.ask(put) == plain.ask(put)
    assert not SCENES.ask(put).decided


def test_the_hint_stands_in_front_and_changes_nothing_else() -> None:
    plain = asked("statement", LEFT)
    hinted = SCENES.ask(question("statement", LEFT, hint="Look {up}"))
    assert hinted == Asked(f"Hint: Look {{up}}\n{plain.text}", plain.choices, plain.claims, plain.otherwise)


@given(st.text(max_size=60))
def test_any_reply_means_one_of_the_answers_or_nothing(reply: str) -> None:
    assert asked("statement", LEFT).answer(reply) in {"true", "false", None}
    assert asked("captions", "Which?", CAPTIONS).answer(reply) in {*CAPTIONS, None}


def test_a_folder_that_is_absent_is_named_with_those_there(folder: Path) -> None:
    with pytest.raises(SettingsError, match=r"dialect 'molmo'.*prompts/molmo; there are default, internvl2, scenes"):
        load_dialect("molmo", str(folder))
    with pytest.raises(SettingsError, match=r"nowhere/default; there are none"):
        load_dialect("default", str(folder / "nowhere"))


def test_an_own_folder_is_used_whole(folder: Path) -> None:
    assert load_dialect("scenes", str(folder)).fingerprint == SCENES.fingerprint
    (folder / "mine").mkdir()
    (folder / "mine" / "yes_no.md").write_text("{question} Yes?")
    put = load_dialect("mine", str(folder)).ask(question("yes_no", "Is it?"))
    assert put.text == "Is it? Yes?"
    (folder / "default" / "short.md").unlink()
    with pytest.raises(SettingsError, match=r"default/short\.md.*scoring\.prompts"):
        load_dialect("mine", str(folder))


def test_a_prompt_without_its_place_is_named(folder: Path) -> None:
    (folder / "scenes" / "choice.md").write_text("Which one?")
    with pytest.raises(SettingsError, match=r"scenes/choice\.md: placeholder \{question\} stands 0 times"):
        load_dialect("scenes", str(folder))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("- {forms: [yes_no], pattern: '(?P<claim>', ask: Which}", "no regular expression"),
        ("- {forms: [yes_no], pattern: 'is it .*', ask: Which}", "no group named `claim`"),
        ("- {forms: [yes_no], pattern: '(?P<claim>.*)', ask: 'Which {thing}?'}", "holds {thing}"),
        ("- {forms: [yes_no], pattern: '(?P<claim>.*)', ask: 'Is it {claim}?'}", "holds {claim}"),
        ("- {forms: [riddle], pattern: '(?P<claim>.*)', ask: Which}", "forms"),
        ("- {forms: [yes_no], pattern: '(?P<claim>.*)', ask: Which, choice: [a]}", "choice"),
        ("- {forms: [yes_no], pattern: 7, ask: Which}", "not a list of rewrites"),
        ("- [", "not a list of rewrites"),
        ("forms: [yes_no]", "not a list of rewrites"),
        ("", "not a list of rewrites"),
    ],
)
def test_broken_rewrites_are_named(folder: Path, content: str, said: str) -> None:
    path = folder / "scenes" / "rewrites.yaml"
    path.write_text(content)
    with pytest.raises(SettingsError) as raised:
        load_dialect("scenes", str(folder))
    assert str(raised.value).startswith(f"{path}: ") and said in str(raised.value)


def test_a_claim_that_its_pattern_leaves_open_is_not_rewritten(folder: Path) -> None:
    (folder / "scenes" / "rewrites.yaml").write_text(
        "- {forms: [yes_no], pattern: 'is it(?P<claim> red)?( by (?P<place>.+))?', ask: 'Which colour at {place}?'}"
    )
    dialect = load_dialect("scenes", str(folder))
    assert not dialect.ask(question("yes_no", "Is it")).decided
    assert dialect.ask(question("yes_no", "Is it red")).text == "Which colour at ?"
    assert dialect.ask(question("yes_no", "Is it red by {place}")).text == "Which colour at {place}?"


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("scenes/short.md", "{question}", "{question} Shortly."),
        ("default/statement.md", "true or false", "right or wrong"),
        ("scenes/rewrites.yaml", "Which objects", "What objects"),
        ("scenes/rewrites.yaml", "collects", "gathers"),
        ("scenes/rewrites.yaml", "one plus one: two", "one plus one: three"),
        ("scenes/rewrites.yaml", "choices: [two, ", "choices: ["),
    ],
)
def test_the_fingerprint_goes_by_the_wording(folder: Path, file: str, before: str, after: str) -> None:
    path = folder / file
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    assert load_dialect("scenes", str(folder)).fingerprint != SCENES.fingerprint
