from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spare_assets.benchmarks.short_answers import (
    listed_answers,
    normalised_answer,
    vqa_accuracy,
    without_punctuation,
    yes_or_no,
)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("yes.", "yes"),
        ("yes, it is", "yes it is"),
        ("left/right", "left right"),
        ("left/right / both", "leftright  both"),
        ("x-ray", "x ray"),
        ("1,000-fold", "1000fold"),
        ("5.", "5."),
        (".5", ".5"),
        ("3.5 m. long", "3.5 m long"),
        ("it's 10:30*", "it's 10:30*"),
        ("a" + ". b" * 40, "a" + " b" * 32 + ". b" * 8),
    ],
)
def test_marks_go_as_the_published_script_has_them_go(text: str, plain: str) -> None:
    assert without_punctuation(text) == plain


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("Yes", "yes"),
        ("NO!", "no"),
        ("yes.\n", "yes"),
        ("Yes, there is.", "yes"),
        ("The answer is no", "no"),
        ("Yes yes yes", "yes"),
        ("(yes)", "yes"),
        ("yes or no", None),
        ("No, yes", None),
        ("nothing", None),
        ("yesterday", None),
        ("not", None),
        ("yes:", None),
        ("**Yes**", None),
        ("", None),
        ("y" * 10_000, None),
        ("? " * 5_000 + "no", "no"),
    ],
)
def test_yes_without_no_or_no_without_yes(reply: str, answer: str | None) -> None:
    assert yes_or_no(reply) == answer


@given(st.lists(st.sampled_from(["it", "is", "nothing", "(yesterday)", "not,", "?"]), max_size=8), st.data())
def test_a_yes_counts_wherever_it_stands_and_a_no_beside_it_undoes_it(words: list[str], data: st.DataObject) -> None:
    said = data.draw(st.permutations([*words, "Yes"]))
    assert yes_or_no(" ".join(said)) == "yes"
    assert yes_or_no(" ".join(data.draw(st.permutations([*said, "no"])))) is None


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The Coca-Cola", "coca cola"),
        ("a  cat\tand\nan owl", "cat and owl"),
        ("Ten", "10"),
        ("none", "0"),
        ("twenty one", "twenty 1"),
        ("DONT", "don't"),
        ("couldnt've", "couldn't've"),
        ("couldn'tve", "couldn't've"),
        ("somebody'd", "somebodyd"),
        ("shes", "shes"),
        ("lets go", "lets go"),
        ("oclock", "o'clock"),
        ("$1,000.50", "$1000.50"),
        ("  stop. ", "stop"),
        ("the", ""),
        ("", ""),
    ],
)
def test_open_answers_as_they_are_compared(text: str, normal: str) -> None:
    assert normalised_answer(text) == normal


_PLAIN = st.lists(st.sampled_from(["stop", "one", "2", "don't", "blue", "the", "a"]), max_size=6)


@given(_PLAIN, st.sampled_from(["", ".", "!", " "]), st.booleans())
def test_case_articles_and_end_marks_make_no_difference(words: list[str], mark: str, upper: bool) -> None:
    text = " ".join(words)
    changed = f"  {text.upper() if upper else text}"
    changed = changed + (mark if words and not words[-1].isdigit() else "")
    assert normalised_answer(changed) == normalised_answer(" ".join(word for word in words if word not in {"the", "a"}))


@given(st.text(max_size=200))
def test_any_text_is_normalised(text: str) -> None:
    normal = normalised_answer(text)
    assert not set(normal.split()) & {"a", "an", "the"} and normal == " ".join(normal.split())


@pytest.mark.parametrize("agreeing", range(11))
def test_vqa_accuracy_leaves_each_person_out(agreeing: int) -> None:
    answers = ["x"] * agreeing + ["y"] * (10 - agreeing)
    left_out = [min(1, sum(other == "x" for j, other in enumerate(answers) if j != i) / 3) for i in range(10)]
    assert vqa_accuracy("x", answers) == pytest.approx(sum(left_out) / 10)
    assert vqa_accuracy("x", answers) == pytest.approx([0, 0.3, 0.6, 0.9, 1, 1, 1, 1, 1, 1, 1][agreeing])


@given(st.lists(st.text(max_size=10), max_size=10))
def test_a_list_of_answers_is_read_however_it_is_written(answers: list[str]) -> None:
    assert listed_answers(answers) == answers
    assert listed_answers(json.dumps(answers)) == answers
    assert listed_answers(repr(answers)) == answers


@pytest.mark.parametrize(
    "value",
    [None, 3, "", "stop", "{'a'}", "['a'", "[['a']]", "[None]", "[" * 100_000, "__import__('os')", "[open('x')]"],
)
def test_what_is_no_list_of_answers(value: object) -> None:
    assert listed_answers(value) is None


def test_numbers_among_answers_are_texts() -> None:
    assert listed_answers("[10, '10', 2.5]") == ["10", "10", "2.5"]


@given(st.text(max_size=60))
def test_any_field_is_a_list_of_answers_or_none(value: str) -> None:
    found = listed_answers(value)
    assert found is None or all(isinstance(answer, str) for answer in found)
