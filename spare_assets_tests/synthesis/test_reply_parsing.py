from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spare_assets.synthesis.reply_parsing import (
    ANSWER_CHARACTERS,
    QUESTION_CHARACTERS,
    flags_schema,
    pairs_schema,
    parse_flags,
    parse_pairs,
    parse_yes_no,
)

DOG = {"question": "Where is the dog?", "answer": "Left of the [red] {box}"}
CAT = {"question": 'Who sits "on top"?', "answer": "The cat, \\ and é"}
BOTH = [tuple(DOG.values()), tuple(CAT.values())]
LIST = json.dumps([DOG, CAT])


@pytest.mark.parametrize(
    "reply",
    [
        LIST,
        json.dumps([DOG, CAT], indent=2, ensure_ascii=False),
        f"\ufeff  {LIST}\n",
        json.dumps({"pairs": [DOG, CAT], "count": 2}),
        f"```json\n{LIST}\n```",
        f"Sure! Here are the pairs:\n```\n{LIST}\n```\nI hope this helps.",
        f"Here they are: {LIST} Anything else?",
        f'Here is "the wrapped one: {json.dumps({"qa_pairs": [DOG, CAT]})}',
        json.dumps([{"id": 1, **DOG, "relation": {"name": "left"}}, CAT]),
    ],
)
def test_pairs_are_read_from_the_list_and_what_models_put_around_it(reply: str) -> None:
    parsed = parse_pairs(reply, "stop", 64)
    assert (parsed.outcome, parsed.pairs, parsed.reason) == ("ok", BOTH, "")


@pytest.mark.parametrize("reply", ["[]", " [ ]\n", '{"pairs": []}', "```json\n[]\n```", "There is nothing: []"])
def test_an_empty_list_is_an_answer(reply: str) -> None:
    assert parse_pairs(reply, "stop", 64) == parse_pairs("[]", "length", 64)
    assert parse_pairs(reply, "stop", 64).outcome == "none"


@pytest.mark.parametrize(
    "reply",
    ["", "Sorry, I can't.", "null", "7", '"text"', "[1, 2]", '[["q", "a"]]', '{"a": [], "b": []}', "}"],
)
def test_what_is_no_list_of_pairs_is_malformed(reply: str) -> None:
    parsed = parse_pairs(reply, "stop", 64)
    assert (parsed.outcome, parsed.pairs) == ("malformed", [])
    assert parsed.reason


@pytest.mark.parametrize(
    "reply",
    [
        f"[{json.dumps(DOG)}, {json.dumps(CAT)},]",
        f"{json.dumps(DOG)}\n{json.dumps(CAT)}",
        json.dumps([DOG, {"question": "Who?"}, CAT]),
        f'[{{"pair": {json.dumps(DOG)}}}, {{"pair": {json.dumps(CAT)}}},]',
        json.dumps([DOG, "odd", CAT, {"question": "How many?", "answer": 2}]),
    ],
)
def test_complete_pairs_of_a_malformed_reply_are_kept(reply: str) -> None:
    parsed = parse_pairs(reply, "stop", 64)
    assert (parsed.outcome, parsed.pairs) == ("malformed", BOTH)
    assert parsed.reason


def test_only_innermost_objects_are_salvaged() -> None:
    assert parse_pairs(json.dumps({"pairs": DOG}), "stop", 64).reason == "not a JSON list of pairs"


def test_a_reply_that_hit_its_limit_is_truncated_unless_its_list_is_whole() -> None:
    assert parse_pairs(LIST, "length", 64).outcome == "ok"
    assert parse_pairs(f"{LIST} And", "length", 64).outcome == "truncated"
    assert parse_pairs(LIST[:-1], "stop", 64).outcome == "truncated"
    cut = parse_pairs(LIST[:-3], "length", 64)
    assert (cut.outcome, cut.pairs, cut.reason) == ("truncated", BOTH[:1], "cut off")


def test_what_is_left_out_is_counted() -> None:
    blank = {"question": " \u200a\x00", "answer": "x"}
    long_question = {"question": "q" * (QUESTION_CHARACTERS + 1), "answer": "x"}
    long_answer = {"question": "q", "answer": "x" * (ANSWER_CHARACTERS + 1)}
    parsed = parse_pairs(json.dumps([blank, DOG, long_question, long_answer, CAT, CAT]), "stop", 2)
    assert parsed.pairs == BOTH
    assert (parsed.outcome, parsed.reason) == ("ok", "1 blank, 2 too long, 1 beyond the first 2")
    assert parse_pairs(json.dumps([blank]), "stop", 2).outcome == "none"


def test_texts_lose_control_characters_and_lone_surrogates_and_spare_space() -> None:
    reply = (
        r'[{"question": "\u0000Who\u0007\t\n is\u00a0 \ud83dhere\ud83d\ude00?", "answer": "a' + "\n\x1b[31m b" + '"}]'
    )
    assert parse_pairs(reply, "stop", 64).pairs == [("Who is here😀?", "a [31m b")]


texts = st.text(st.characters(exclude_categories=[]), max_size=20)
pair_lists = st.lists(st.fixed_dictionaries({"question": texts, "answer": texts}), max_size=6)


@given(pair_lists, st.data(), st.booleans(), st.sampled_from(["", '{"pairs": ', "```json\n", 'Well, "here: ']))
def test_whatever_is_cut_keeps_every_complete_pair(
    pairs: list[dict[str, str]], data: st.DataObject, ascii_only: bool, before: str
) -> None:
    def written(count: int) -> str:
        return json.dumps(pairs[:count], ensure_ascii=ascii_only)

    place = data.draw(st.integers(1, len(written(len(pairs))) - 1))
    complete = max(count for count in range(len(pairs) + 1) if count == 0 or len(written(count)) - 1 <= place)
    expected = parse_pairs(written(complete), "stop", 64).pairs
    for finish_reason in ("length", "stop"):
        cut = parse_pairs(before + written(len(pairs))[:place], finish_reason, 64)
        assert (cut.outcome, cut.pairs) == ("truncated", expected)
    assert parse_pairs(written(len(pairs)), "stop", 64).outcome in ("ok", "none")


@given(
    st.text(st.characters(exclude_categories=[]) | st.sampled_from('[]{}",:\\`'), max_size=300),
    st.sampled_from(["stop", "length", "error"]),
)
def test_nothing_raises_on_any_text(text: str, finish_reason: str) -> None:
    parsed = parse_pairs(text, finish_reason, 3)
    for words in (*parsed.pairs, (parsed.reason,)):
        for word in words:
            word.encode()
    parse_yes_no(text)
    parse_flags(text, 2)


@pytest.mark.parametrize(
    "unit",
    [
        "[{",
        "{",
        "[",
        "}",
        '{"',
        '"',
        '"\\',
        '[{"',
        '{"a":',
        "```",
        "```a",
        '{"question":"a","answer":"b"}',
        "{}",
        "9",
        "yes ",
    ],
)
def test_hostile_replies_take_linear_time(unit: str) -> None:
    def seconds(size: int) -> float:
        text = (unit * (size // len(unit) + 1))[:size]
        start = time.perf_counter()
        for finish_reason in ("stop", "length"):
            parse_pairs(text, finish_reason, 64)
        parse_yes_no(text)
        parse_flags(text, 4)
        return time.perf_counter() - start

    # A quadratic pass over a megabyte takes many minutes; the margin is for a busy machine.
    assert seconds(1_000_000) < 20


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("yes", True),
        ("No.", False),
        (" YES!\n", True),
        ("**no**", False),
        ("True", True),
        ("false", False),
        ('{"spatial": true}', True),
        ('{"spatial": "no"}', False),
        ("Yes, it says where the dog is", True),
        ("yes or no", None),
        ("yesterday I noted", None),
        ("", None),
        ("true, no", None),
        ("maybe", None),
    ],
)
def test_yes_and_no_are_read_as_words(text: str, said: bool | None) -> None:
    assert parse_yes_no(text) is said


def test_choices_may_be_other_words() -> None:
    assert parse_yes_no("Spatial.", ("spatial", "other")) is True
    assert parse_yes_no("not spatial", ("spatial", "not spatial")) is False
    assert parse_yes_no("spatial", ("spatial", "not spatial")) is True


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ('{"spatial": [true, false]}', [True, False]),
        ("[true, false]", [True, False]),
        ('```json\n{"spatial": [true, false]}\n```', [True, False]),
        ('The flags: {"spatial": ["yes", "no"]}.', [True, False]),
        ('{"spatial": [true]}', None),
        ('{"spatial": [true, false, true]}', None),
        ('{"spatial": [1, 0]}', None),
        ('{"spatial": [true, null]}', None),
        ('{"spatial": ["yes", "perhaps"]}', None),
        ('{"spatial": [true, fal', None),
        ("", None),
    ],
)
def test_flags_come_one_for_each_pair_or_not_at_all(text: str, flags: list[bool] | None) -> None:
    assert parse_flags(text, 2) == flags


@pytest.mark.parametrize("schema", [pairs_schema(64), flags_schema(17), pairs_schema(1), flags_schema(1)])
def test_schemas_compile_in_the_grammar_engine(schema: dict[str, Any]) -> None:
    llguidance = pytest.importorskip("llguidance")
    grammar = llguidance.LLMatcher.grammar_from_json_schema(json.dumps(schema))
    is_error, messages = llguidance.LLMatcher.validate_grammar_with_warnings(grammar)
    assert not is_error, messages
    assert not messages


@settings(max_examples=25)
@given(st.integers(0, 30))
def test_what_follows_the_schemas_is_parsed(count: int) -> None:
    flags = [place % 2 == 0 for place in range(count)]
    assert parse_flags(json.dumps({"spatial": flags}), count) == flags
    assert flags_schema(count)["properties"]["spatial"]["maxItems"] == count
    assert parse_pairs(json.dumps([DOG] * count), "stop", 64).pairs == BOTH[:1] * count


def test_a_text_that_the_schema_cut_off_is_not_taken_for_whole() -> None:
    limits = pairs_schema(64)["items"]["properties"]
    cut = {"question": "q" * limits["question"]["maxLength"], "answer": "a"}
    assert parse_pairs(json.dumps([cut, DOG]), "stop", 64).pairs == BOTH[:1]
