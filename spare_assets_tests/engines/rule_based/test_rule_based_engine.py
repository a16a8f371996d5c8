"""The rule-based analyst as a chat engine: its replies, its fingerprint, its calm before any text, its slips."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spare_assets.engines.chat import ChatEngine, ChatMessage, ChatReply, ChatRequest, EngineError
from spare_assets.engines.rule_based import RuleBasedEngine
from spare_assets.engines.rule_based.judge import asks_about_space
from spare_assets.engines.rule_based.questions import Pair, write_pairs
from spare_assets.engines.rule_based.slips import add_asides, add_slips
from spare_assets.relations.taxonomy import KEYWORDS
from spare_assets.sandbox.corpora import describe
from spare_assets.sandbox.scenes import make_scene, scene_seed

CAPTION = "A green kettle is on the stove. The stove is to the left of a tall fridge."


def request(task: str, text: str) -> ChatRequest:
    return ChatRequest((ChatMessage("system", task), ChatMessage("user", text)), max_new_tokens=0)


def ask(task: str, text: str, engine: RuleBasedEngine | None = None) -> ChatReply:
    (reply,) = (engine or RuleBasedEngine()).complete([("key", request(task, text))])
    return reply


def test_is_a_chat_engine() -> None:
    assert isinstance(RuleBasedEngine(), ChatEngine)


def test_judges_a_caption() -> None:
    assert ask("judge_caption", CAPTION).text == "yes"
    assert ask("judge_caption", "Two men in suits smile on a sunny day.").text == "no"


def test_writes_pairs_as_json() -> None:
    assert json.loads(ask("write_pairs", CAPTION).text) == [
        {"question": "What is on the stove?", "answer": "a green kettle"},
        {"question": "Where is the green kettle?", "answer": "on the stove"},
        {"question": "What is to the left of the tall fridge?", "answer": "the stove"},
        {"question": "Where is the stove in relation to the tall fridge?", "answer": "to the left of the tall fridge"},
    ]
    assert json.loads(ask("write_pairs", "").text) == []


def test_judges_pairs() -> None:
    spatial = {"question": "What is on the stove?", "answer": "a kettle"}
    other = {"question": "What colour is the kettle?", "answer": "green"}
    assert ask("judge_pair", json.dumps(spatial)).text == "yes"
    assert ask("judge_pair", json.dumps(other)).text == "no"
    assert json.loads(ask("judge_pairs", json.dumps([spatial, other])).text) == {"spatial": [True, False]}


def test_replies_count_words_and_give_no_probability() -> None:
    reply = ask("judge_caption", "A cup is on the table.")
    assert (reply.key, reply.finish_reason, reply.probability, reply.error) == ("key", "stop", None, None)
    assert (reply.prompt_tokens, reply.completion_tokens) == (7, 1)


def test_replies_are_made_one_by_one() -> None:
    pulled: list[str] = []

    def requests() -> Iterator[tuple[str, ChatRequest]]:
        for key in "abc":
            pulled.append(key)
            yield key, request("judge_caption", CAPTION)

    replies = RuleBasedEngine().complete(requests())
    assert next(replies).key == "a"
    assert pulled == ["a"]


def test_an_unknown_task_names_those_it_knows() -> None:
    with pytest.raises(EngineError, match="write_pairs"):
        ask("summarise", CAPTION)
    prompt = ChatRequest((ChatMessage("user", "Please judge this."),), max_new_tokens=4)
    with pytest.raises(EngineError, match="judge_caption"):
        list(RuleBasedEngine().complete([("key", prompt)]))


def test_fingerprint_tells_settings_apart() -> None:
    assert RuleBasedEngine().fingerprint == RuleBasedEngine().fingerprint
    assert RuleBasedEngine().fingerprint.startswith("rule-based:")
    assert RuleBasedEngine().fingerprint != RuleBasedEngine(slips=0.5).fingerprint
    assert RuleBasedEngine().fingerprint != RuleBasedEngine(asides=0.5).fingerprint
    with pytest.raises(ValueError, match="between 0 and 1"):
        RuleBasedEngine(slips=2)


WORDS = st.sampled_from(
    [
        *KEYWORDS,
        "a",
        "the",
        "dog",
        "red",
        "and",
        ",",
        ".",
        "which",
        "is",
        "sits",
        "there",
        "it",
        "“",
        '"',
        "’s",
        "\n",
        "of",
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.text(), st.lists(WORDS).map(" ".join)))
def test_any_text_gets_a_reply(text: str) -> None:
    pairs = json.loads(ask("write_pairs", text).text)
    assert all(pair["question"].endswith("?") and pair["answer"] for pair in pairs)
    assert ask("judge_caption", text).text == ("yes" if pairs else "no")
    assert ask("judge_pair", text).text in ("yes", "no")
    assert isinstance(json.loads(ask("judge_pairs", text).text)["spatial"], list)
    # Answers stand in the caption: nothing is made up.
    lowered = " ".join(text.lower().split())
    for pair in pairs:
        for word in pair["answer"].lower().split():
            assert word.strip(",") in lowered or word == "the"


@pytest.mark.parametrize("piece", ["the ", "a cup, ", "on ", ".", '"', "a-", "x", "(", "İ ", "a red cup on the "])
def test_a_long_monotone_caption_is_read_in_linear_time(piece: str) -> None:
    # A quadratic step would take many minutes here; the suite's own time limit ends it.
    assert isinstance(write_pairs(piece * (300_000 // len(piece))), list)


def test_a_caption_of_a_megabyte_is_read() -> None:
    caption = "A red cup is on the wooden table. In the image there is a cat near the door. " * 13_000
    assert len(caption) > 1_000_000
    assert write_pairs(caption)[0] == Pair("What is on the wooden table?", "a red cup")


def sandbox_captions(count: int) -> list[str]:
    return list(SCENES)[:count]


SCENES = {describe("docci", scene): scene for scene in (make_scene(scene_seed("docci", 8, i)) for i in range(600))}


def test_slips_hit_their_share_and_leave_the_pairs_alone() -> None:
    captions = [caption for caption in sandbox_captions(400) if write_pairs(caption)]
    slipped = 0
    for caption in captions:
        pairs = write_pairs(caption)
        assert add_slips(caption, pairs, 0) == pairs
        more = add_slips(caption, pairs, 0.4)
        assert more == add_slips(caption, pairs, 0.4)
        remaining = list(more)
        for pair in pairs:
            remaining.remove(pair)
        assert len(remaining) <= 2
        slipped += bool(remaining)
    assert 0.3 < slipped / len(captions) < 0.5


def test_slips_are_of_four_kinds_about_equally() -> None:
    kinds: Counter[str] = Counter()
    for caption in sandbox_captions(600):
        pairs = write_pairs(caption)
        for slip in set(add_slips(caption, pairs, 1.0)) - set(pairs):
            kinds[kind_of(caption, slip)] += 1
        kinds["repetition"] += len(add_slips(caption, pairs, 1.0)) - len(set(add_slips(caption, pairs, 1.0)))
    assert set(kinds) == {"repetition", "talk", "ungrounded", "colour"}
    assert max(kinds.values()) < 1.5 * min(kinds.values())


def test_asides_are_true_and_not_spatial_and_come_last() -> None:
    captions = [caption for caption in sandbox_captions(200) if write_pairs(caption)]
    told = counted = 0
    for caption in captions:
        pairs = write_pairs(caption)
        assert add_asides(caption, pairs, 0) == pairs
        more = add_asides(caption, pairs, 0.5)
        assert more[: len(pairs)] == pairs
        for question, answer in more[len(pairs) :]:
            # The judge takes the cross in a question for what a path does.
            assert not asks_about_space(question.replace("cross", "star"))
            if question.startswith("What colour is the "):
                assert f"{answer} {question.removeprefix('What colour is the ').removesuffix('?')}" in caption
            elif question.startswith("How many shapes"):
                assert answer == {2: "two", 3: "three", 4: "four"}[len(SCENES[caption].objects)]
                assert answer in caption
                counted += 1
            else:
                named = re.findall(r"apart from the (\w+ \w+)", question)
                others = re.split(r"(?:, | and )?\b(?:an|a) ", answer)[1:]
                assert sorted(named + others) == sorted(item.name for item in SCENES[caption].objects)
        told += len(more) > len(pairs)
    assert 0.4 < told / len(captions) < 0.6
    assert counted > 10
    two_cups = "A red cup is left of a blue cup."
    assert add_asides(two_cups, [Pair("Where is the red cup?", "left")], 1.0) == [Pair("Where is the red cup?", "left")]


def kind_of(caption: str, slip: Pair) -> str:
    if not asks_about_space(slip.question):
        assert slip.answer in caption
        return "colour"
    if "description" in slip.question or "caption" in slip.question or "mentioned" in slip.answer:
        return "talk"
    grounded = all(word in caption.lower() for word in slip.answer.lower().split())
    return "repetition" if grounded else "ungrounded"


def test_strictness_decides_what_counts_as_spatial() -> None:
    lenient, standard, strict = (RuleBasedEngine(strictness=level) for level in ("lenient", "standard", "strict"))
    no_place = "Two men in suits smile on a sunny day."
    near = "The red cup is next to the white plate."
    assert [ask("judge_caption", no_place, engine).text for engine in (lenient, standard, strict)] == [
        "yes",
        "no",
        "no",
    ]
    assert [ask("judge_caption", near, engine).text for engine in (lenient, standard, strict)] == ["yes", "yes", "no"]
    assert [ask("judge_caption", CAPTION, engine).text for engine in (lenient, standard, strict)] == ["yes"] * 3
    written = json.loads(ask("write_pairs", CAPTION, strict).text)
    assert written == [pair for pair in json.loads(ask("write_pairs", CAPTION).text) if "left" in str(pair)]
    loose = json.dumps({"question": "What colour is the cup on the table?", "answer": "red"})
    close = json.dumps({"question": "What is next to the plate?", "answer": "the cup"})
    assert [ask("judge_pair", loose, engine).text for engine in (lenient, standard, strict)] == ["yes", "no", "no"]
    assert [ask("judge_pair", close, engine).text for engine in (lenient, standard, strict)] == ["yes", "yes", "no"]


def test_only_another_strictness_is_part_of_the_fingerprint() -> None:
    assert RuleBasedEngine(strictness="standard").fingerprint == RuleBasedEngine().fingerprint
    assert len({RuleBasedEngine(strictness=level).fingerprint for level in ("lenient", "standard", "strict")}) == 3
    assert RuleBasedEngine().fingerprint.endswith(":slips=0:asides=0")
