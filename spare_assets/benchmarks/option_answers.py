"""Reading the chosen option's letter out of a free reply, as exact matching in VLMEvalKit does.

Belongs here: what counts as naming an option. Which options there are, and which is right, does not.

The rules of `vlmevalkit` are those of ms-vlmeval 0.0.20. What it does with its own mark of a failed request is left
out: a failed request has no reply here. Upper-case letters alone name options, so that "a" is no answer.

1. A reply that holds one of four refusals, word for word, is no answer.
2. `.()[],:;!*#{}` become spaces. Of the words that remain, exactly one distinct letter of the options stands among
   them, its first occurrence among the last four words: that option. No such letter, but a `Z`: no answer.
3. Exactly one option's text stands in the reply, case ignored, and the reply is no longer than twice all options' texts
   together: that option.

`answer_is` begins with one more rule: the last "answer is X" decides, where X is an option's letter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from spare_assets.settings import BenchmarkSettings

_TO_SPACES = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))
_LAST_WORDS = 4
_LENGTH = 2
_NONE_OF_THEM = "Z"
_REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)
_ANSWER_IS = re.compile(r"\b[Aa]nswer\s+is\b[\s:*(\[\"'“]*([A-Z])(?![\w'’])")


def chosen_option(reply: str, options: Mapping[str, str], settings: BenchmarkSettings) -> str | None:
    """Letter of the option a reply chooses, by the extraction that the settings name; None where it chooses none.

    `options` are texts by letter. The time it takes grows with the reply's length and no faster.
    """
    if settings.extraction == "answer_is" and (stated := _stated(reply, options)):
        return stated
    if any(refusal in reply for refusal in _REFUSALS):
        return None
    words = reply.translate(_TO_SPACES).split()
    letters = set(words) & set(options)
    if len(letters) == 1:
        letter = letters.pop()
        if words.index(letter) >= len(words) - _LAST_WORDS:
            return letter
    elif not letters and _NONE_OF_THEM in words:
        return None
    return _quoted(reply.lower(), {letter: text.lower() for letter, text in options.items()})


def _stated(reply: str, options: Mapping[str, str]) -> str | None:
    letters = [letter for letter in _ANSWER_IS.findall(reply) if letter in options]
    return letters[-1] if letters else None


def _quoted(reply: str, options: Mapping[str, str]) -> str | None:
    if len(reply) > _LENGTH * sum(map(len, options.values())):
        return None
    letters = [letter for letter, text in options.items() if text in reply]
    return letters[0] if len(letters) == 1 else None
