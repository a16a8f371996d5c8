from __future__ import annotations

import json

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from spare_assets.engines.chat import ChatRequest
from spare_assets.engines.rule_based import RuleBasedEngine
from spare_assets.settings import load_settings
from spare_assets.storage.schemas import TABLES
from spare_assets.synthesis.analyst import LanguageModelAnalyst, RuleBasedAnalyst, analyst
from spare_assets.synthesis.generation import generated_pairs
from spare_assets.synthesis.prompts import load_prompts
from spare_assets.synthesis.spatial_filter import caption_verdicts

CAPTION = "A red cup stands to the left of a white plate."


def answers(*replies: tuple[str, str, float | None, str | None]) -> pl.DataFrame:
    schema = {"caption_id": pl.String, "source": pl.String, "text": pl.String, "finish_reason": pl.String}
    schema |= {"probability": pl.Float64, "error": pl.String}
    rows = [(f"s:{number}", "s", *reply) for number, reply in enumerate(replies)]
    return pl.DataFrame(rows, schema=schema, orient="row")


def test_verdicts_follow_reply_probability_and_failure() -> None:
    batch = answers(
        ("yes", "stop", None, None),
        ("No.", "stop", None, None),
        ("yes", "stop", 0.4, None),
        ("no", "stop", 0.6, None),
        ("perhaps", "stop", None, None),
        ("Let me th", "length", None, None),
        ("", "error", None, "HTTP 500"),
    )
    verdicts = pl.concat(caption_verdicts([batch], 0.5))
    assert verdicts["kept"].to_list() == [True, False, False, True, False, False, False]
    assert verdicts["outcome"].to_list() == ["ok", "ok", "ok", "ok", "malformed", "truncated", "failed"]
    assert verdicts["score"][:2].to_list() == [1.0, 0.0]
    assert verdicts["reason"][6] == "HTTP 500"
    assert verdicts.schema == TABLES["caption_verdicts"].polars()


def test_a_probability_that_is_no_number_counts_for_nothing() -> None:
    batch = answers(("no", "stop", float("nan"), None), ("yes", "stop", float("nan"), None))
    assert pl.concat(caption_verdicts([batch], 0.5))["kept"].to_list() == [False, True]


def test_every_caption_has_one_outcome_and_every_pair_its_caption() -> None:
    two = json.dumps([{"question": "Where is A?", "answer": "left"}, {"question": "Where is B?", "answer": "right"}])
    batch = answers(
        (two, "stop", None, None),
        (two[:-20], "length", None, None),
        ("[]", "stop", None, None),
        ("nonsense", "stop", None, None),
        ("", "error", None, "connection reset"),
    )
    generated = list(generated_pairs([batch, batch.clear()], 64))
    outcomes = pl.concat([part.outcomes for part in generated])
    pairs = pl.concat([part.pairs for part in generated])
    assert outcomes["outcome"].to_list() == ["ok", "truncated", "none", "malformed", "failed"]
    assert outcomes["pairs"].to_list() == [2, 1, 0, 0, 0]
    assert pairs["caption_id"].to_list() == ["s:0", "s:0", "s:1"]
    assert pairs["position"].to_list() == [0, 1, 0]
    assert pairs["pair_id"].is_unique().all()


@given(st.lists(st.text(max_size=60), min_size=1, max_size=5))
def test_any_reply_becomes_one_outcome(texts: list[str]) -> None:
    batch = answers(*((text, "stop", None, None) for text in texts))
    outcomes = pl.concat([part.outcomes for part in generated_pairs([batch], 64)])
    assert outcomes.height == len(texts)
    assert outcomes["outcome"].is_in(["ok", "none", "truncated", "malformed"]).all()


def test_a_language_model_is_asked_with_the_prompts_and_a_bounded_schema() -> None:
    asked = LanguageModelAnalyst(RuleBasedEngine(), load_prompts(), 8192, 64)
    generation = asked.write_pairs(CAPTION)
    assert generation.messages[-1].text.endswith(CAPTION)
    assert generation.max_new_tokens == 8192
    assert generation.schema is not None and generation.schema["maxItems"] == 64
    assert asked.judge_caption(CAPTION).choices == ("yes", "no")
    both = asked.judge_pairs([("Where is A?", "left"), ("What colour is B?", "red")])
    assert "2. Question: What colour is B?" in both.messages[-1].text


def test_the_rule_based_engine_answers_what_its_analyst_asks() -> None:
    engine = RuleBasedEngine()
    asked = RuleBasedAnalyst(engine)

    def reply(request: ChatRequest) -> str:
        return next(iter(engine.complete([("key", request)]))).text

    assert reply(asked.judge_caption(CAPTION)) == "yes"
    assert reply(asked.judge_caption("A red cup and a white plate.")) == "no"
    assert any("left of the white plate" in json.dumps(pair) for pair in json.loads(reply(asked.write_pairs(CAPTION))))
    assert reply(asked.judge_pair("Where is the cup?", "to the left of the plate")) == "yes"
    flags = json.loads(reply(asked.judge_pairs([("Where is the cup?", "left"), ("What colour is the cup?", "red")])))
    assert flags == {"spatial": [True, False]}


def test_the_engine_decides_who_asks() -> None:
    for profile, kind in (("sandbox", RuleBasedAnalyst), ("paper", LanguageModelAnalyst)):
        settings = load_settings(profile)
        name = settings.synthesis.filter_engine
        assert isinstance(analyst(name, RuleBasedEngine(), settings, load_prompts()), kind)
