"""What a model's reply says: pairs, a yes or no, or one flag per pair; and the JSON schemas to ask for them.

Replies are outside text. Nothing here raises on any of it, takes more than linear time, or keeps characters
that have no place in a table. Prompts, and what becomes of an outcome, do not belong here.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Outcome = Literal["ok", "none", "truncated", "malformed"]

QUESTION_CHARACTERS = 1000
ANSWER_CHARACTERS = 2000

# White space among the control characters is left for `split` to squeeze.
_NO_TEXT = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff]")
_FENCE = re.compile(r"```[A-Za-z]*\s(.*?)(?:```|\Z)", re.DOTALL)
_STRUCTURE = re.compile(r'[{}\[\]"]')
_STRING_REST = re.compile(r'[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_WORD = re.compile(r"[^\W_]+")
_DECODER = json.JSONDecoder(strict=False)  # strings may hold line breaks


@dataclass(frozen=True, slots=True)
class ParsedPairs:
    """The pairs of one reply, (question, answer) in reply order, and how reading it went.

    `ok`: a list as asked for, with pairs. `none`: such a list without any. `truncated`: cut off; complete
    pairs are kept. `malformed`: not what was asked for; complete pairs are kept here too. `reason` says what
    was left out.
    """

    outcome: Outcome
    pairs: list[tuple[str, str]]
    reason: str = ""


def pairs_schema(max_pairs: int) -> dict[str, Any]:
    """JSON schema of a list of at most `max_pairs` pairs (paper, Table 10)."""

    # One more than is accepted: a string that the schema cut off is then too long, and not taken for whole.
    def text(limit: int) -> dict[str, Any]:
        return {"type": "string", "minLength": 1, "maxLength": limit + 1}

    return {
        "type": "array",
        "maxItems": max_pairs,
        "items": {
            "type": "object",
            "properties": {"question": text(QUESTION_CHARACTERS), "answer": text(ANSWER_CHARACTERS)},
            "required": ["question", "answer"],
            "additionalProperties": False,
        },
    }


def flags_schema(count: int) -> dict[str, Any]:
    """JSON schema of one flag for each of `count` pairs, under the key `spatial`."""
    flags = {"type": "array", "items": {"type": "boolean"}, "minItems": count, "maxItems": count}
    return {
        "type": "object",
        "properties": {"spatial": flags},
        "required": ["spatial"],
        "additionalProperties": False,
    }


def parse_pairs(text: str, finish_reason: str, max_pairs: int) -> ParsedPairs:
    """Pairs of a generation reply, strictly first, then salvaged.

    A JSON list of {"question", "answer"} objects is read as it is, inside an object with no other list, in a
    code fence, or with prose around it. From anything else every complete object with both texts is kept, in
    order. Control characters and lone surrogates go, white space is squeezed; blank and overlong texts and
    pairs beyond `max_pairs` are left out and counted in the reason.
    """
    text = text.strip().strip("\ufeff")
    cut = finish_reason == "length"
    # In a reply that hit its limit, only the whole of it proves that the list had come to its end.
    candidates = [text] if cut else _json_parts(text)
    items = next((found for part in candidates if (found := _list_in(_decoded(part))) is not None), None)
    outcome: Outcome | None = None
    if items is None:
        items, unterminated = _complete_objects(text)
        outcome = "truncated" if cut or unterminated else "malformed"
    pairs, left_out = _clean_pairs(items, max_pairs)
    if outcome is None:
        misshapen = left_out["of another shape"] > 0
        outcome = "malformed" if misshapen else "ok" if pairs else "none"
    reasons = [f"{count} {what}" for what, count in left_out.items()]
    if outcome == "truncated":
        reasons.insert(0, "cut off")
    elif outcome == "malformed" and not reasons:
        reasons = ["not a JSON list of pairs"]
    return ParsedPairs(outcome, pairs, ", ".join(reasons))


NEITHER_YES_NOR_NO = "the reply is neither yes nor no"


def unreadable_outcome(finish_reason: str, error: str | None, reason: str) -> tuple[str, str]:
    """Outcome and reason of a reply that says nothing: it failed, was cut, or is malformed for `reason`."""
    if error is not None:
        return "failed", error
    return ("truncated" if finish_reason == "length" else "malformed"), reason


def parse_yes_no(text: str, choices: Sequence[str] = ("yes", "no")) -> bool | None:
    """Whether a reply says the first choice (or true) not the second (or false); None for neither or both.

    Case, punctuation and the words around it do not count, so {"spatial": true} is a yes.
    """
    words = _WORD.findall(text.lower())
    affirmative, negative = (_WORD.findall(choice.lower()) for choice in choices)
    if words in (affirmative, negative):
        return words == affirmative
    said = set(words)
    yes, no = not said.isdisjoint([*affirmative, "true"]), not said.isdisjoint([*negative, "false"])
    return yes if yes != no else None


def parse_flags(text: str, count: int) -> list[bool] | None:
    """The flags of a reply about `count` pairs; None unless there is exactly one for each.

    Read from a JSON list, alone or in an object with no other list; an item may also be the word yes or no.
    """
    for part in _json_parts(text.strip()):
        items = _list_in(_decoded(part))
        if items is not None:
            flags = [parse_yes_no(item) if isinstance(item, str) else item for item in items]
            if len(flags) == count and all(isinstance(flag, bool) for flag in flags):
                return [flag is True for flag in flags]
    return None


def _json_parts(text: str) -> Iterator[str]:
    """The places where the JSON of a whole reply may stand; few, so that trying all stays linear."""
    yield text
    if fence := _FENCE.search(text):
        yield fence.group(1)
    for first, last in ("[]", "{}"):
        start, end = text.find(first), text.rfind(last)
        if 0 <= start < end:
            yield text[start : end + 1]


def _decoded(text: str) -> Any:
    """The JSON value that is all of the text; None when it is none."""
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError):
        return None


def _list_in(value: Any) -> list[Any] | None:
    """The value if it is a list, or the only list among an object's values."""
    if isinstance(value, dict):
        lists = [inner for inner in value.values() if isinstance(inner, list)]
        return lists[0] if len(lists) == 1 else None
    return value if isinstance(value, list) else None


def _complete_objects(text: str) -> tuple[list[Any], bool]:
    """Innermost JSON objects whose braces close, and whether the text ends inside an open structure.

    One pass: every character is looked at once here, and once more by the decoder in an innermost object.
    """
    objects: list[Any] = []
    open_braces: list[int] = []
    open_brackets = 0
    innermost = False
    position = 0
    while match := _STRUCTURE.search(text, position):
        position = match.end()
        symbol = match.group()
        if symbol == "{":
            open_braces.append(match.start())
            innermost = True
        elif symbol == "[":
            open_brackets += 1
        elif symbol == "]":
            open_brackets -= 1
        elif symbol == "}":
            if open_braces:
                start = open_braces.pop()
                if innermost and isinstance(value := _decoded(text[start:position]), dict):
                    objects.append(value)
                innermost = False
        elif open_braces:  # a string; outside of objects a quotation mark is prose
            end = _STRING_REST.match(text, position)
            if end is None:
                return objects, True
            position = end.end()
    return objects, bool(open_braces) or open_brackets > 0


def _clean_pairs(items: Sequence[Any], max_pairs: int) -> tuple[list[tuple[str, str]], Counter[str]]:
    """Pairs fit for a table, and how many items were left out, by why."""
    pairs: list[tuple[str, str]] = []
    left_out: Counter[str] = Counter()
    for item in items:
        question, answer = (item.get("question"), item.get("answer")) if isinstance(item, dict) else (None, None)
        if not isinstance(question, str) or not isinstance(answer, str):
            left_out["of another shape"] += 1
            continue
        question, answer = _clean(question), _clean(answer)
        if not question or not answer:
            left_out["blank"] += 1
        elif len(question) > QUESTION_CHARACTERS or len(answer) > ANSWER_CHARACTERS:
            left_out["too long"] += 1
        elif len(pairs) == max_pairs:
            left_out[f"beyond the first {max_pairs}"] += 1
        else:
            pairs.append((question, answer))
    return pairs, left_out


def _clean(text: str) -> str:
    """The text without control characters and lone surrogates, its white space squeezed."""
    return " ".join(_NO_TEXT.sub("", text).split())
