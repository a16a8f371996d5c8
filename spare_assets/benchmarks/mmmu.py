"""MMMU (validation): college exam questions on thirty subjects, nine in ten of them multiple-choice.

The TSV of VLMEvalKit, whose rows of other splits are passed over; a row without options is an open question.

Variant `vlmevalkit` reads an option out of the reply. An open question, put as it stands, counts as one whose option A
is its answer and B "Other Answers"; the model is shown neither.

Variant `official` follows the release's script:

- An option: the letter in brackets; where there is none, one before a space or the end; else one before a dot; else, in
  more than five words, an option's text. Of several the last. Where nothing is found the script guesses; here nothing
  was read, and it counts as wrong. The script takes the end of a word for a letter, and of letters before dots the
  first; here a letter stands alone and the last wins.
- An open answer: what follows the last sign of a conclusion in each line of the reply, and the numbers in it, are held
  against the accepted answers. Numbers agree when they do to two decimals; words when the answer stands in the reply.
  The script drops a dot that a reply begins with too, and so reads .5 as 5.
"""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from spare_assets.benchmarks.image_files import BenchmarkFiles
from spare_assets.benchmarks.lettered_records import lettered_question, native_fields, options_of, slices
from spare_assets.benchmarks.metrics import Metric, mean_score
from spare_assets.benchmarks.option_answers import chosen_option
from spare_assets.benchmarks.origins import ORIGINS
from spare_assets.benchmarks.pictures import Pictures
from spare_assets.benchmarks.questions import Benchmark, Grade, Question, UnreadableRecord
from spare_assets.benchmarks.records import read_questions, required_text, text_of
from spare_assets.settings import BenchmarkSettings

_SPLIT = "validation"
_OF_ANOTHER_SPLIT = Question("", "short", "", ())
_OTHER_ANSWERS = "Other Answers"

_ENDS = ",.!?;:'" + string.whitespace
_LETTERS = (r"\(([A-Z])\)", r"(?<!\w)([A-Z])(?=\s|$)", r"(?<!\w)([A-Z])\.")
_WORDS_BEFORE_TEXTS = 5

_CONCLUSIONS = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
_EQUATION = "="
_TRIVIAL = set(":,.!?;'")
# Each begins where a run of digits does, so that a long run is read once.
_NUMBERS = (
    re.compile(r"-?\b\d{1,3}(?:,\d{3})+\b"),
    re.compile(r"-?(?<!\d)\d+(?:\.\d+)?[eE][+-]?\d+"),
    re.compile(r"-?(?:(?<!\d)\d+\.\d+|\.\d+|(?<!\d)\d+\b)(?![eE][+-]?\d+)(?![,\d])"),
)


def read(
    files: BenchmarkFiles, pictures: Pictures, settings: BenchmarkSettings
) -> Iterator[Question | UnreadableRecord]:
    """A question for each row of the validation split; for each row where the file has no column `split`."""

    def question(item: str, fields: Mapping[str, Any]) -> Question:
        if (text_of(fields, "split") or _SPLIT) != _SPLIT:
            return _OF_ANOTHER_SPLIT
        if options_of(fields):
            return lettered_question(item, fields, pictures)
        answer = required_text(fields, "answer")
        images, problem = pictures.asked_about(fields)
        return Question(
            item,
            "short" if settings.variant == "official" else "as_it_stands",
            required_text(fields, "question"),
            _wordings(answer) if settings.variant == "official" else (answer,),
            category=text_of(fields, "category"),
            native=native_fields(fields),
            images=images,
            hint=text_of(fields, "hint"),
            problem=problem,
        )

    return (found for found in read_questions(files, question) if found is not _OF_ANOTHER_SPLIT)


def _wordings(answer: str) -> tuple[str, ...]:
    """The accepted wordings of an open answer: one, or several written as a list."""
    try:
        listed = ast.literal_eval(answer) if answer.startswith("[") else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        listed = None
    wordings = [str(wording) for wording in listed] if isinstance(listed, list) else []
    return tuple(wording for wording in wordings if wording.strip()) or (answer,)


def grade(question: Question, reply: str, settings: BenchmarkSettings) -> Grade:
    """The option or the open answer read out of a reply, as the variant says."""
    if settings.variant == "official":
        if question.options:
            letter = _official_letter(reply, question.options)
            return Grade(letter, float(letter in question.answers))
        conclusions = _conclusions(reply)
        return Grade(conclusions[-1] or None, float(_agree(conclusions, question.answers)))
    if question.options:
        letter = chosen_option(reply, question.options, settings)
        return Grade(letter, float(letter in question.answers))
    (answer,) = question.answers
    options = {"A": answer, "B": _OTHER_ANSWERS}
    letter = chosen_option(reply, options, settings)
    # As VLMEvalKit has it, an answer that is itself the letter A or B is taken for that of the right option.
    right = answer if answer in options else "A"
    return Grade(options[letter] if letter else None, float(letter == right))


def _official_letter(reply: str, options: Mapping[str, str]) -> str | None:
    reply = reply.strip(_ENDS)
    for form in _LETTERS:
        letters = [letter for letter in re.findall(form, reply) if letter in options]
        if letters:
            return str(letters[-1])
    if len(reply.split()) <= _WORDS_BEFORE_TEXTS:
        return None
    places = {letter: reply.lower().rfind(text.lower()) for letter, text in options.items()}
    last = max(places, key=places.__getitem__)
    return last if places[last] >= 0 else None


def _conclusions(reply: str) -> list[str]:
    """What each line of a reply concludes, in lower case; the whole reply where none concludes anything."""
    reply = reply.strip().rstrip(".").lower()
    lines = reply.split("\n")
    concluded = []
    for number, line in enumerate(lines, start=1):
        signs = (*_CONCLUSIONS, _EQUATION) if number == len(lines) else _CONCLUSIONS
        tails = [line.rpartition(sign)[2].strip() for sign in signs if sign in line]
        shortest = min(filter(None, tails), key=len, default=":")
        if shortest not in _TRIVIAL:
            concluded.append(shortest)
    return concluded or [reply]


def _agree(conclusions: Sequence[str], answers: Sequence[str]) -> bool:
    """Whether a conclusion, or a number in one, is one of the accepted answers."""
    numbers = [number for text in conclusions for form in _NUMBERS for number in form.findall(text)]
    said = {form for text in (*conclusions, *numbers) for form in _normalised(text)}
    accepted = {form for answer in answers for form in _normalised(answer)}
    words = [form for form in accepted if isinstance(form, str)]
    return any(any(word in form for word in words) if isinstance(form, str) else form in accepted for form in said)


def _normalised(text: str) -> tuple[float] | tuple[str, ...]:
    """A number to two decimals, or lower-case text; one character is held to stand beside a space."""
    text = text.strip()
    try:
        return (round(float(text.replace(",", "")), 2),)
    except (ValueError, OverflowError):
        text = text.lower()
        return (f" {text}", f"{text} ") if len(text) == 1 else (text,)


def measure(predictions: pl.DataFrame) -> Iterator[Metric]:
    """Accuracy, over all, by discipline and by subject."""
    for category, rows in slices(predictions):
        yield mean_score(rows, "accuracy", category)


BENCHMARK = Benchmark(
    "mmmu",
    ORIGINS["mmmu"].title,
    ORIGINS["mmmu"].homepage,
    read,
    grade,
    measure,
    headlines=("accuracy",),
    spatial=False,
)
