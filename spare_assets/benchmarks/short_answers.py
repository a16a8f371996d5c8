"""Reading yes, no, true, false or a few words out of a free reply, as the published scripts do.

Belongs here: punctuation, one word without its opposite, and the normalisation that the VQA challenge's server
(EvalAI) applies to open answers. How benchmarks are scored with them does not.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Collection, Sequence

_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_NEXT_TO_A_SPACE = {mark: (f"{mark} ", f" {mark}") for mark in _PUNCTUATION}
_DIGITS_AROUND_A_COMMA = re.compile(r"\d,\d")
_FULL_STOP = re.compile(r"(?<!\d)\.(?!\d)")
_WORD = re.compile(r"[^\W_]+")
_FULL_STOPS = 32
"""The published script drops so many and no more: it hands a flag to where the count is due. Scores depend on it."""

_ARTICLES = frozenset({"a", "an", "the"})
_NUMBERS = {
    "none": "0",
    "zero": "0",
    "one": "1",
    "two": "2",
    "three": "3",
    "four": "4",
    "five": "5",
    "six": "6",
    "seven": "7",
    "eight": "8",
    "nine": "9",
    "ten": "10",
}
_CONTRACTED = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've
    he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've
    o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's
    someone'd someone'd've someone'll someone's something'd something'd've something'll that's there'd there'd've
    there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's
    what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't would've
    wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've
"""
_RESTORED = {
    word[:place] + word[place + 1 :]: word
    for word in _CONTRACTED.split()
    for place, character in enumerate(word)
    if character == "'"
} | {"somebody'd": "somebodyd"}
"""Contractions by what they are with one apostrophe left out; the last is the server's own slip."""


def without_punctuation(text: str) -> str:
    """The text without marks: a mark that stands next to a space anywhere is dropped, another becomes a space.

    All are dropped where a comma stands between digits. A full stop goes unless it stands next to a digit.
    """
    drop_all = _DIGITS_AROUND_A_COMMA.search(text) is not None
    marks = {
        ord(mark): "" if drop_all or any(pair in text for pair in pairs) else " "
        for mark, pairs in _NEXT_TO_A_SPACE.items()
    }
    return _FULL_STOP.sub("", text.translate(marks), count=_FULL_STOPS)


def plain_words(reply: str) -> list[str]:
    """The words of a reply in lower case, parted by whatever is neither letter nor digit."""
    return _WORD.findall(reply.lower())


def only_one(words: Collection[str], choices: tuple[str, ...]) -> str | None:
    """The one of these choices that is among the words; None where none is, or several are."""
    found = set(words).intersection(choices)
    return found.pop() if len(found) == 1 else None


def yes_or_no(reply: str) -> str | None:
    """`yes` or `no` where a reply says one without the other, as the published scripts part words.

    They leave a colon or an asterisk on its word: `**Yes**` is no answer.
    """
    return only_one(without_punctuation(reply.lower()).split(), ("yes", "no"))


def normalised_answer(text: str) -> str:
    """An open answer as it is compared: no marks, lower case, digits for number words, no articles, apostrophes."""
    plain = without_punctuation(text.replace("\n", " ").replace("\t", " ").strip()).lower()
    words = (_NUMBERS.get(word, word) for word in plain.split())
    return " ".join(_RESTORED.get(word, word) for word in words if word not in _ARTICLES)


def vqa_accuracy(reply: str, answers: Sequence[str]) -> float:
    """Credit of a reply among several people's answers: each left out in turn, a third for each that agrees.

    Both as `normalised_answer` gives them. At least two answers.
    """
    agreeing = sum(answer == reply for answer in answers)
    credits = (min(1.0, (agreeing - (answer == reply)) / 3) for answer in answers)
    return sum(credits) / len(answers)


def listed_answers(value: object) -> list[str] | None:
    """The answers of a field: a list, or a list written as JSON or as Python does; None where it is neither."""
    if isinstance(value, str):
        value = _read_list(value.strip())
    if not isinstance(value, list) or not all(isinstance(answer, str | int | float) for answer in value):
        return None
    return [str(answer) for answer in value]


def _read_list(text: str) -> object:
    if not text.startswith("["):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
