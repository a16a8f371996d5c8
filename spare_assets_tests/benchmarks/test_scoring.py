"""Questions as rows, samples of them, and what replies come to."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spare_assets.benchmarks import scoring
from spare_assets.benchmarks.catalog import CATALOG, columns
from spare_assets.benchmarks.dialects import load_dialect
from spare_assets.benchmarks.metrics import interval, mean_score
from spare_assets.benchmarks.questions import Form, Question, UnreadableRecord
from spare_assets.benchmarks.scoring import (
    ScoringError,
    asked_items,
    chance,
    check_readable,
    measured,
    not_asked,
    predictions,
    question_rows,
    request,
    score_table,
)
from spare_assets.engines.chat import ChatImage
from spare_assets.settings import BenchmarkSettings, LimitSettings
from spare_assets.storage.schemas import TABLES
from spare_assets_tests.benchmarks.asked import read

VSR = CATALOG["vsr"]
DEFAULT, SCENES = load_dialect("default"), load_dialect("scenes")
SETTINGS = BenchmarkSettings(file="records")
LETTERED = {"A": "left", "B": "right"}
TEXT = st.text(max_size=20)
QUESTIONS = st.builds(
    Question,
    TEXT,
    st.sampled_from(get_args(Form)),
    TEXT,
    st.lists(TEXT, max_size=3).map(tuple),
    st.dictionaries(st.sampled_from("ABCDE"), TEXT),
    TEXT,
    st.dictionaries(TEXT, TEXT, max_size=3),
    st.lists(st.builds(ChatImage, TEXT.map(lambda name: Path("/pictures", name)), TEXT), max_size=3).map(tuple),
    TEXT,
    TEXT,
)


def statement(item: str, answer: str = "true", text: str = "The mug is red.", **more: Any) -> Question:
    return Question(item, "statement", text, (answer,), category="colour", **more)


def choice(item: str, group: str = "1", answer: str = "A") -> Question:
    return Question(item, "choice", "Which side?", (answer,), LETTERED, "side", {"g_index": group, "index": item})


def rows(questions: Iterable[Question | UnreadableRecord], benchmark: str = "vsr") -> pl.LazyFrame:
    return pl.concat(question_rows(questions, CATALOG[benchmark])).lazy()


def answered(
    questions: Sequence[Question],
    replies: Mapping[str, str],
    benchmark: str = "vsr",
    dialect: str = "default",
    finish: str = "stop",
    error: str | None = None,
) -> pl.DataFrame:
    """Predictions of a model that replies so, by item."""
    asked = rows(questions, benchmark).collect()
    asked = asked.with_columns(
        text=pl.Series([replies[item] for item in asked["item"]], dtype=pl.String),
        finish_reason=pl.lit(finish),
        error=pl.lit(error, dtype=pl.String),
    )
    return pl.concat(predictions([asked], "base", CATALOG[benchmark], load_dialect(dialect), SETTINGS))


def said(predicted: pl.DataFrame) -> tuple[str, str | None, float | None]:
    (found,) = predicted.select("outcome", "prediction", "score").rows()
    return found


# questions as rows


@given(st.lists(QUESTIONS, max_size=5))
@settings(max_examples=50, deadline=None)
def test_a_question_comes_back_from_its_row(questions: list[Question]) -> None:
    found = rows(questions).collect()
    assert [scoring._question(row) for row in found.iter_rows(named=True)] == questions
    assert found["group"].to_list() == [VSR.group(question) for question in questions]
    assert found["readable"].all()


def test_rows_come_in_batches_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "_BATCH", 3)
    found: list[Question | UnreadableRecord] = [statement("a"), UnreadableRecord("b", "no caption")]
    found += [statement(str(n)) for n in range(5)]
    batches = list(question_rows(found, VSR))
    assert [batch.height for batch in batches] == [3, 3, 1]
    together = pl.concat(batches)
    assert together["item"].to_list() == [one.item for one in found]
    unreadable = together.filter(~pl.col("readable")).row(0, named=True)
    assert (unreadable["item"], unreadable["problem"]) == ("b", "no caption")
    assert [batch.height for batch in question_rows([], VSR)] == [0]


def test_text_that_no_table_can_store_makes_a_record_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "vsr.jsonl"
    path.write_text(
        '{"caption": "half \\ud83d of it", "label": 1, "relation": "left of", "image": "1.jpg"}\n'
        '{"caption": "\\ud83d\\ude00 whole", "label": 1, "relation": "left of", "image": "1.jpg"}\n'
    )
    found = read(VSR, path, tmp_path)
    table = rows([*found, UnreadableRecord("\ud800", "why"), UnreadableRecord("\ud801", "why")]).collect()
    assert table["readable"].to_list() == [False, True, False, False]
    assert table["item"].n_unique() == 4
    assert "surrogate" in table["problem"][0]


# samples


def passes(groups: int, size: int = 3) -> list[Question | UnreadableRecord]:
    found: list[Question | UnreadableRecord] = [
        choice(f"{n}/{g}", f"group {g}") for n in range(size) for g in range(groups)
    ]
    return [*found, UnreadableRecord("x", "why")]


def items(frame: pl.LazyFrame) -> list[str]:
    return frame.collect()["item"].to_list()


def test_a_sample_is_of_whole_groups_and_part_of_every_larger_one() -> None:
    every = rows(passes(20), "mmbench")
    before: set[str] = set()
    for sample in range(1, 70):
        chosen = asked_items(every, CATALOG["mmbench"], sample).collect()
        assert set(chosen.group_by("group").len()["len"]) == {3}
        assert min(sample, 60) <= chosen.height < sample + 3
        assert before <= set(chosen["item"])
        before = set(chosen["item"])
    assert len(before) == 60


def test_a_sample_depends_on_the_groups_alone_and_keeps_the_order_of_the_file() -> None:
    found = passes(20)
    chosen = items(asked_items(rows(found, "mmbench"), CATALOG["mmbench"], 12))
    places = {one.item: place for place, one in enumerate(found)}
    assert [places[item] for item in chosen] == sorted(places[item] for item in chosen)
    random.Random(1).shuffle(found)
    assert set(items(asked_items(rows(found, "mmbench"), CATALOG["mmbench"], 12))) == set(chosen)
    # A sample that changes between versions would ask, and pay for, other questions.
    assert {item.partition("/")[2] for item in chosen} == {"5", "8", "11", "18"}
    whole = items(asked_items(rows(found, "mmbench"), CATALOG["mmbench"], None))
    assert whole == [one.item for one in found if isinstance(one, Question)]


def test_a_sample_of_sums_over_categories_holds_each_of_them() -> None:
    found = [
        Question(f"{name}{n}", "yes_no", "?", ("yes",), category=name, native={"image": str(n // 2)})
        for name, count in (("OCR", 4), ("count", 60), ("posters", 200))
        for n in range(count)
    ]
    chosen = asked_items(rows(found, "mme"), CATALOG["mme"], 12).collect()
    assert dict(chosen.group_by("category").len().iter_rows()) == {"OCR": 4, "count": 4, "posters": 4}
    assert set(chosen.group_by("group").len()["len"]) == {2}


# limits


def limited(questions: int, unreadable: int) -> str | None:
    found: list[Question | UnreadableRecord] = [statement(str(n)) for n in range(questions)]
    found += [UnreadableRecord(f"u{n}", f"why {n}") for n in range(unreadable)]
    try:
        check_readable("VSR", rows(found), LimitSettings())
    except ScoringError as error:
        return str(error)
    return None


def test_few_or_a_small_share_of_unreadable_records_pass() -> None:
    assert limited(1, 0) is None
    assert limited(1, 10) is None, "so few never fail a stage"
    assert limited(380, 20) is None, "5 % are allowed"


def test_too_many_unreadable_records_end_the_stage_with_the_first_of_them() -> None:
    message = limited(208, 11)
    assert message is not None
    assert message.startswith("VSR: 11 of 219 records can't be asked, more than `limits.unreadable_share` (5%) allows")
    assert "\n  u0: why 0\n" in message and "  u4: why 4\n" in message and "u5" not in message
    assert message.endswith("raise the limit")


def test_pictures_that_are_absent_count_towards_the_limit() -> None:
    found = [dataclasses.replace(statement(str(n)), problem="no picture") for n in range(40)]
    with pytest.raises(ScoringError, match="40 of 320 records can't be asked"):
        check_readable("VSR", rows([*found, *(statement(str(n)) for n in range(40, 320))]), LimitSettings())
    with pytest.raises(ScoringError, match="3 of 3"):
        check_readable("VSR", rows(found[:3]), LimitSettings())


def test_a_file_without_a_question_is_refused() -> None:
    assert (limited(0, 3) or "").startswith("VSR: 3 of 3 records can't be asked")
    assert (limited(0, 0) or "").startswith("VSR: its file holds no records")


# requests


def test_a_request_holds_pictures_prompt_and_system_message() -> None:
    images = (ChatImage(Path("/a.png"), "aa"), ChatImage(Path("/b.png"), "bb"))
    (row,) = rows([statement("1", images=images)]).collect().iter_rows(named=True)
    plain = request(row, DEFAULT, None, 7)
    (message,) = plain.messages
    assert (message.role, message.images) == ("user", images)
    assert message.text == DEFAULT.ask(statement("1")).text
    assert (plain.max_new_tokens, plain.schema, plain.choices) == (7, None, ())
    system, same = request(row, DEFAULT, "Be brief. {question}", 7).messages
    assert (system.role, system.text, system.images) == ("system", "Be brief. {question}", ())
    assert same == message
    assert request(row, DEFAULT, "", 7).messages[0].role == "system", "an empty system message is one"


def test_a_request_carries_the_only_replies_allowed() -> None:
    (row,) = rows([choice("1")], "mmbench").collect().iter_rows(named=True)
    assert request(row, SCENES, None, 7).choices == ("left", "right")
    assert request(row, DEFAULT, None, 7).choices == ()


# predictions


@pytest.mark.parametrize(
    ("reply", "finish", "expected"),
    [
        ("True", "stop", ("answered", "true", 1.0)),
        ("False.", "stop", ("answered", "false", 0.0)),
        ("True, I think, since", "length", ("answered", "true", 1.0)),
        ("", "stop", ("unparsed", None, 0.0)),
        ("Who knows?", "stop", ("unparsed", None, 0.0)),
        ("Let me look at the", "length", ("truncated", None, 0.0)),
        ("", "length", ("truncated", None, 0.0)),
    ],
)
def test_what_a_reply_comes_to(reply: str, finish: str, expected: tuple[str, str | None, float]) -> None:
    predicted = answered([statement("1")], {"1": reply}, finish=finish)
    assert said(predicted) == expected
    row = predicted.row(0, named=True)
    assert (row["model"], row["reply"], row["chance"]) == ("base", reply, 0.5)
    assert row["prompt"] == DEFAULT.ask(statement("1")).text
    assert bool(row["reason"]) == (expected[0] != "answered")
    assert predicted.schema == TABLES["vsr_predictions"].polars()


def test_a_failed_request_counts_as_wrong_with_its_reason() -> None:
    predicted = answered([statement("1")], {"1": "True"}, finish="error", error="HTTP 500")
    assert said(predicted) == ("failed", None, 0.0)
    assert predicted["reason"].to_list() == ["HTTP 500"]


def test_a_rewritten_claim_is_decided_by_its_dialect() -> None:
    text = "The red ball is to the left of the blue cube."
    for answer, reply, expected in (
        ("true", "left", ("answered", "true", 1.0)),
        ("false", "right", ("answered", "false", 1.0)),
        ("true", "right", ("answered", "false", 0.0)),
        ("false", "", ("unparsed", None, 0.0)),
    ):
        assert said(answered([statement("1", answer, text)], {"1": reply}, dialect="scenes")) == expected
    for reply, expected in (("right", ("answered", "B", 0.0)), ("left right", ("unparsed", None, 0.0))):
        assert said(answered([choice("1")], {"1": reply}, "mmbench", "scenes")) == expected


ASKED: list[tuple[str, Form, tuple[str, ...], dict[str, str]]] = [
    ("vsr", "statement", ("true",), {}),
    ("whats_up_a", "captions", ("A",), LETTERED),
    ("whats_up_b", "captions", ("B",), LETTERED),
    ("threedsr_bench", "choice", ("A",), LETTERED),
    ("realworldqa", "as_it_stands", ("A",), LETTERED),
    ("mmmu", "choice", ("A",), LETTERED),
    ("mmbench", "choice", ("B",), LETTERED),
    ("hallusion_bench", "yes_no", ("yes",), {}),
    ("textvqa", "short", ("mug",) * 10, {}),
    ("mme", "as_it_stands", ("no",), {}),
]
NATIVE = {"g_index": "1", "set_id": "1", "index": "1", "image": "1", "qid": "1" * 13, "first": "ball", "second": "cube"}


@pytest.mark.parametrize(("key", "form", "answers", "options"), ASKED, ids=[one[0] for one in ASKED])
@pytest.mark.parametrize("dialect", ["default", "scenes"])
def test_an_empty_and_an_endless_reply_come_to_an_outcome(
    key: str, form: Form, answers: tuple[str, ...], options: dict[str, str], dialect: str
) -> None:
    texts = ("Is there a red ball in the image?", "The red ball is above the blue cube.", "Which?")
    asked = [Question(text, form, text, answers, options, "position", NATIVE) for text in texts]
    for reply in ("", " ", "A" * 10_000, "yes " * 2_500, "(" * 10_000, "\x00\u202e" * 5_000, "red ball " * 1_111):
        found = answered(asked, dict.fromkeys(texts, reply), key, dialect)
        assert set(found["outcome"]) <= {"answered", "unparsed"}
        assert found["score"].is_between(0, 1).all() and set(found["reply"]) == {reply}
        if not reply.strip():
            assert (found["score"] == 0).all() and (found["outcome"] == "unparsed").all()


def test_what_is_not_asked_counts_as_wrong_and_what_is_unreadable_not_at_all() -> None:
    found: list[Question | UnreadableRecord] = [
        statement("1", problem="image: does not decode"),
        UnreadableRecord("2", "line 2 is no JSON"),
    ]
    predicted = not_asked(rows(found).collect(), "base", VSR, DEFAULT)
    wanted = ["item", "outcome", "reason", "prediction", "score", "chance", "reply"]
    assert predicted.select(wanted).rows() == [
        ("1", "not asked", "image: does not decode", None, 0.0, 0.5, ""),
        ("2", "unreadable record", "line 2 is no JSON", None, None, None, ""),
    ]
    assert predicted["prompt"].to_list() == [DEFAULT.ask(statement("1")).text, ""]
    assert predicted.schema == TABLES["vsr_predictions"].polars()
    assert not_asked(rows([]).collect(), "base", VSR, DEFAULT).schema == predicted.schema


# scores


@pytest.mark.parametrize(
    ("answers", "options", "expected"),
    [
        (("A",), {"A": "a", "B": "b", "C": "c", "D": "d"}, 0.25),
        (("A",), {"A": "a", "B": "b"}, 0.5),
        (("yes",), {}, 0.5),
        (("No",), {}, 0.5),
        (("false",), {}, 0.5),
        (("yes", "true"), {}, None),
        (("a mug", "mug"), {}, None),
        ((), {}, None),
    ],
)
def test_chance_is_known_where_what_can_be_guessed_is(
    answers: tuple[str, ...], options: dict[str, str], expected: float | None
) -> None:
    assert chance(Question("1", "short", "?", answers, options)) == expected


def two_models() -> pl.LazyFrame:
    asked = [statement(str(n), "true" if n % 2 else "false", native={"image": str(n)}) for n in range(8)]
    return answered(asked, {question.item: "True" for question in asked}).lazy()


def test_the_score_table_holds_every_metric_with_interval_and_chance() -> None:
    scored = two_models()
    table = score_table(scored, "base", VSR, 200)
    schema = TABLES["vsr_score"]
    assert table.schema == schema.polars()
    assert table.equals(table.sort(schema.key)) and not table.select(schema.key).is_duplicated().any()
    by_key = {(row["metric"], row["category"]): row for row in table.iter_rows(named=True)}
    accuracy, of_colour = by_key["accuracy", ""], by_key["accuracy", "colour"]
    assert (accuracy["value"], accuracy["units"], accuracy["chance"]) == (50.0, 8, 50.0)
    (metric,) = (one for one in measured(scored, VSR) if (one.name, one.category) == ("accuracy", ""))
    assert (accuracy["low"], accuracy["high"]) == interval(metric, 200)
    assert accuracy["headline"] and not of_colour["headline"] and of_colour["chance"] == 50.0
    for name in ("precision", "recall", "f1"):
        assert by_key[name, ""]["chance"] is None and not by_key[name, ""]["headline"]
        assert by_key[name, ""]["value"] is not None


def test_unreadable_records_are_in_no_score() -> None:
    scored = two_models()
    unreadable = not_asked(rows([UnreadableRecord("u", "why")]).collect(), "base", VSR, DEFAULT).lazy()
    assert score_table(pl.concat([scored, unreadable]), "base", VSR, 100).equals(score_table(scored, "base", VSR, 100))
    assert score_table(unreadable, "base", VSR, 100).height == 0
    assert measured(unreadable, VSR) == []


def test_a_benchmark_of_unknown_chance_has_none() -> None:
    asked = [dataclasses.replace(statement(str(n)), answers=("mug", "cup")) for n in range(3)]
    table = score_table(answered(asked, dict.fromkeys("012", "mug")).lazy(), "base", VSR, 100)
    assert table.filter(metric="accuracy")["chance"].null_count() == 2


def test_metrics_of_one_unit_have_no_interval() -> None:
    table = score_table(answered([statement("1")], {"1": "True"}).lazy(), "base", VSR, 100)
    assert table.filter(metric="accuracy").select("value", "low", "high").unique().rows() == [(100.0, None, None)]


def test_another_column_is_measured_in_place_of_scores() -> None:
    benchmark = dataclasses.replace(VSR, measure=lambda frame: [mean_score(frame, "accuracy")])
    scored = two_models()
    assert [metric.value for metric in measured(scored.with_columns(score=pl.lit(1.0)), benchmark)] == [100.0]
    assert [metric.value for metric in measured(scored.with_columns(score=pl.lit(1.0)), benchmark, "chance")] == [50.0]


def test_columns_of_the_leaderboard_are_named_by_benchmark_and_headline() -> None:
    assert columns(VSR) == {"vsr": "accuracy"}
    assert list(columns(CATALOG["mme"])) == [
        f"mme_{name}" for name in ("perception", "reasoning", "code", "commonsense", "numerical")
    ]
    names = [column for benchmark in CATALOG.values() for column in columns(benchmark)]
    assert len(set(names)) == len(names) == 14
