from __future__ import annotations

import random
import string
from collections.abc import Mapping

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from spare_assets.benchmarks.option_answers import chosen_option
from spare_assets.settings import BenchmarkSettings

SETTINGS = {name: BenchmarkSettings(file="f", extraction=name) for name in ("vlmevalkit", "answer_is")}
SIDES = {"A": "left of the dog", "B": "right of the dog", "C": "behind the dog", "D": "under it"}
LONG = "I looked at the picture for a long while and this is what I have to say about it"


def chosen(reply: str, options: Mapping[str, str] = SIDES, extraction: str = "vlmevalkit") -> str | None:
    return chosen_option(reply, options, SETTINGS[extraction])


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        # A letter alone, whatever of the listed punctuation is about it.
        ("B", "B"),
        ("(B)", "B"),
        ("B.", "B"),
        ("**B**: right of the dog", "B"),
        ("[B], {B} #B!;", "B"),
        (" \n B \t", "B"),
        # Other punctuation keeps it from being a word of its own, and the text is all there is to go by.
        ("'B'", None),
        ("B?", None),
        ('"B" right of the dog', "B"),
        # Lower case names nothing.
        ("b", None),
        ("a cat", None),
        # Exactly one distinct letter, as often as it likes.
        ("B B B", "B"),
        ("A or B", None),
        ("A B: right of the dog", "B"),
        # Its first occurrence among the last four words.
        (f"{LONG} B", "B"),
        (f"{LONG} B one two three", "B"),
        (f"{LONG} B one two three four", None),
        ("B one two three B", None),
        ("B one two three", "B"),
        # "A" is a letter like any other, even as an article.
        ("A dog", "A"),
        # Letters that are no options are nobody's.
        ("E", None),
        ("E or B", "B"),
        # One text, in any case, with anything around it; not two of them.
        ("the cat is BEHIND the dog", "C"),
        ("behind the dog or under it", None),
        ("behind the cat", None),
        # No longer than twice the options' texts together: here 53 characters.
        ("behind the dog".ljust(106, "-"), "C"),
        ("behind the dog".ljust(107, "-"), None),
        # Z says none of them, unless a letter of the options stands beside it; the text is not asked any more.
        ("Z", None),
        ("Z: behind the dog", None),
        ("Z B", "B"),
        ("Z A B behind the dog", "C"),
        # Refusals.
        ("I can't process this file. B", None),
        ("Cannot determine the answer, perhaps B", None),
        ("Sorry, I can't help with images of people yet. B", None),
        ("I'm sorry, but without the image provided I say B", None),
        ("cannot determine the answer, perhaps B", "B"),
        # Nothing.
        ("", None),
        (" ", None),
        (".", None),
    ],
)
def test_what_names_an_option(reply: str, letter: str | None) -> None:
    assert chosen(reply) == letter


@pytest.mark.parametrize(
    ("reply", "plain", "letter"),
    [
        ("The answer is B", "B", "B"),
        (f"The answer is B. {LONG}", None, "B"),
        (f"answer  is: **(B)** because A is further away. {LONG}", None, "B"),
        (f'The correct Answer is "B", not A. {LONG}', None, "B"),
        (f"The answer is A. Wait, no: the answer is B, I think. {LONG}", None, "B"),
        (f"The answer is a dog. {LONG}", None, None),
        (f"The answer is E. {LONG}", None, None),
        (f"The answer is Behind. {LONG}", None, None),
        (f"The answer is A's dog. {LONG}", None, None),
        (f"The answer isB. {LONG}", None, None),
        ("Cannot determine the answer. If I must, the answer is B", None, "B"),
        ("right of the dog", "B", "B"),
        ("The answer is right of the dog", "B", "B"),
        ("", None, None),
    ],
)
def test_an_answer_that_is_stated(reply: str, plain: str | None, letter: str | None) -> None:
    assert chosen(reply) == plain
    assert chosen(reply, extraction="answer_is") == letter


def test_no_options_and_texts_of_one_character() -> None:
    assert chosen("B", {}) is None
    assert chosen("the second, 2", {"A": "1", "B": "2"}) is None  # longer than twice one and one
    assert chosen("2", {"A": "1", "B": "2"}) == "B"
    assert chosen("x2", {"A": "2", "B": "x2"}) is None  # a text within another


@pytest.mark.parametrize(
    "reply",
    ["A " * 5_000, "x" * 10_000, "(" * 10_000, "answer is " * 1_000, "answer is" + " " * 10_000, "answer " * 1_500],
)
@pytest.mark.parametrize("extraction", ["vlmevalkit", "answer_is"])
def test_ten_thousand_characters_of_anything(reply: str, extraction: str) -> None:
    assert chosen(reply, extraction=extraction) is None
    assert chosen(f"{reply} (B)", extraction=extraction) in {None, "B"}


WORDS = st.text(string.ascii_lowercase, min_size=4, max_size=9)
TEXTS = st.lists(st.lists(WORDS, min_size=1, max_size=4).map(" ".join), min_size=2, max_size=6, unique=True)
FORMS = (
    "{letter}",
    "({letter})",
    "{letter}.",
    "{letter}. {text}",
    "**{letter}**",
    "Answer: {letter}",
    "The answer is {letter}",
    "the right option, after all, is [{letter}]!",
    "{text}",
    "{text}.",
)


def independent(texts: list[str]) -> bool:
    """No text within another, and room for a form around any."""
    return not any(one in other for one in texts for other in texts if one is not other)


@given(TEXTS, st.data())
def test_a_reply_that_states_an_option_finds_it_in_any_order(texts: list[str], data: st.DataObject) -> None:
    assume(independent(texts))
    text = data.draw(st.sampled_from(texts))
    form = data.draw(st.sampled_from(FORMS))
    extraction = data.draw(st.sampled_from(sorted(SETTINGS)))
    # A letter before a text of more than three words is too far from the end; the text then has to be found.
    assume("{text}" not in form or len(text) + 3 <= 2 * sum(map(len, texts)))
    for order in (texts, data.draw(st.permutations(texts))):
        options = dict(zip(string.ascii_uppercase, order, strict=False))
        letter = next(letter for letter in options if options[letter] == text)
        assert chosen(form.format(letter=letter, text=text), options, extraction) == letter


@given(st.text(max_size=200), TEXTS, st.randoms(use_true_random=False), st.sampled_from(sorted(SETTINGS)))
def test_what_is_chosen_by_its_text_does_not_hang_on_the_order(
    reply: str, texts: list[str], order: random.Random, extraction: str
) -> None:
    reply = "".join(character for character in reply if not character.isupper()) + texts[0]
    options = dict(zip(string.ascii_uppercase, texts, strict=False))
    shuffled = dict(zip(options, order.sample(texts, len(texts)), strict=True))
    before, after = chosen(reply, options, extraction), chosen(reply, shuffled, extraction)
    assert (before and options[before]) == (after and shuffled[after])


@given(st.text(max_size=300) | st.text("ABCDZ.() \nxanswer is", max_size=300), TEXTS, st.sampled_from(sorted(SETTINGS)))
def test_any_reply_chooses_one_of_the_options_or_none(reply: str, texts: list[str], extraction: str) -> None:
    options = dict(zip(string.ascii_uppercase, texts, strict=False))
    assert chosen(reply, options, extraction) in {None, *options}
