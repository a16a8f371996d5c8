"""One model on one benchmark: its questions as rows, requests from rows, predictions from replies, scores from those.

What is the same for all ten benchmarks belongs here. How each is read, graded and measured is its own module's, how a
question is worded its dialect's, and asking is the engines'.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from spare_assets.benchmarks.dialects import Dialect
from spare_assets.benchmarks.metrics import Metric, interval
from spare_assets.benchmarks.questions import SCORED, Benchmark, Question, UnreadableRecord
from spare_assets.engines.chat import ChatImage, ChatMessage, ChatRequest
from spare_assets.settings import BenchmarkSettings, LimitSettings
from spare_assets.storage.schemas import OPTION, TABLES

VERSION = 1
"""Raise it when equal replies come to other scores than before."""
_BATCH = 1_000
_QUESTION = pl.Schema(
    {
        "item": pl.String(),
        "form": pl.String(),
        "category": pl.String(),
        "native": pl.String(),
        "question": pl.String(),
        "options": pl.List(OPTION),
        "answers": pl.List(pl.String),
        "images": pl.List(pl.String),
        "image_hashes": pl.List(pl.String),
        "hint": pl.String(),
        "group": pl.String(),
        "problem": pl.String(),
        "readable": pl.Boolean(),
    }
)
"""A question as a row; `problem` says why it is not asked, `readable` whether the record made a question at all."""


class ScoringError(RuntimeError):
    """A benchmark can't be scored; the message says why and what to do."""


def question_rows(found: Iterable[Question | UnreadableRecord], benchmark: Benchmark) -> Iterator[pl.DataFrame]:
    """Questions and unreadable records as rows, in batches."""
    batch: list[dict[str, Any]] = []
    for one in found:
        batch.append(_row(one, benchmark))
        if len(batch) == _BATCH:
            yield pl.DataFrame(batch, schema=_QUESTION)
            batch = []
    yield pl.DataFrame(batch, schema=_QUESTION)


def asked_items(questions: pl.LazyFrame, benchmark: Benchmark, sample: int | None) -> pl.LazyFrame:
    """The rows that are scored: all, or whole groups in the order of their hash until `sample` questions are together.

    A smaller sample is part of every larger one, and no circular question loses one of its passes. Of a benchmark whose
    score sums over categories each gets as many questions, so that none is missing from the sum.
    """
    readable = questions.filter("readable")
    if sample is None:
        return readable
    if benchmark.sums_categories:
        categories = readable.select(pl.col("category").unique().sort()).collect()["category"]
        each = -(-sample // max(len(categories), 1))
        parts = [_sampled(readable.filter(pl.col("category") == name), each) for name in categories]
        return pl.concat(parts) if parts else readable
    return _sampled(readable, sample)


def _sampled(readable: pl.LazyFrame, sample: int) -> pl.LazyFrame:
    groups = readable.group_by("group").agg(pl.len()).collect()
    order = [hashlib.sha256(group.encode()).hexdigest() for group in groups["group"]]
    before = (
        groups.with_columns(order=pl.Series(order))
        .sort("order")
        .with_columns(before=pl.col("len").cum_sum() - pl.col("len"))
    )
    chosen = before.filter(pl.col("before") < sample).select("group")
    return readable.join(chosen.lazy(), on="group", how="semi", maintain_order="left")


def check_readable(title: str, questions: pl.LazyFrame, limits: LimitSettings) -> None:
    """Raises ScoringError where too many records make no question that can be asked (design, law 4), or none does."""
    bad = pl.col("problem") != ""
    read, unusable = questions.select(pl.len(), bad.sum()).collect().row(0)
    if not read:
        raise ScoringError(f"{title}: its file holds no records. Fetch it again")
    too_many = unusable > limits.unreadable_rows and unusable > limits.unreadable_share * read
    if not too_many and unusable < read:
        return
    first = questions.filter(bad).head(5).collect()
    lines = [f"  {item}: {reason}" for item, reason in first.select("item", "problem").iter_rows()]
    raise ScoringError(
        "\n".join(
            [
                f"{title}: {unusable:,} of {read:,} records can't be asked, more than `limits.unreadable_share` "
                f"({limits.unreadable_share:.0%}) allows. The first:",
                *lines,
                "Fetch the file or its pictures again, or raise the limit",
            ]
        )
    )


def request(row: Mapping[str, Any], dialect: Dialect, system_prompt: str | None, max_new_tokens: int) -> ChatRequest:
    """What a model is asked for a row: its images, then the prompt of its dialect."""
    question = _question(row)
    asked = dialect.ask(question)
    system = () if system_prompt is None else (ChatMessage("system", system_prompt),)
    return ChatRequest((*system, ChatMessage("user", asked.text, question.images)), max_new_tokens, None, asked.choices)


def predictions(
    answers: Iterable[pl.DataFrame], model: str, benchmark: Benchmark, dialect: Dialect, settings: BenchmarkSettings
) -> Iterator[pl.DataFrame]:
    """Rows of `<benchmark>_predictions` from answered rows: with `text`, `finish_reason` and `error` beside."""
    for batch in answers:
        yield _table(
            benchmark, (_graded(row, model, benchmark, dialect, settings) for row in batch.iter_rows(named=True))
        )


def not_asked(rows: pl.DataFrame, model: str, benchmark: Benchmark, dialect: Dialect) -> pl.DataFrame:
    """Rows of `<benchmark>_predictions` for questions that can't be asked, which count as wrong, and for unreadable
    records, which no score counts."""
    found = []
    for row in rows.iter_rows(named=True):
        readable = row["readable"]
        found.append(
            _prediction(
                row,
                model,
                prompt=dialect.ask(_question(row)).text if readable else "",
                reply="",
                outcome="not asked" if readable else "unreadable record",
                reason=row["problem"],
                prediction=None,
                score=0.0 if readable else None,
                chance=chance(_question(row)) if readable else None,
            )
        )
    return _table(benchmark, found)


def chance(question: Question) -> float | None:
    """The chance that a uniform guess is right; None where what can be guessed is not given."""
    if question.options:
        return 1 / len(question.options)
    words = {answer.casefold() for answer in question.answers}
    return 0.5 if words and (words <= {"yes", "no"} or words <= {"true", "false"}) else None


def measured(scored: pl.LazyFrame, benchmark: Benchmark, scores: str = "score") -> list[Metric]:
    """The metrics of predictions that have a score; of another column than `score`, taken in its place."""
    rows = scored.filter(pl.col("score").is_not_null()).with_columns(score=pl.col(scores)).select(list(SCORED))
    collected = rows.collect()
    return list(benchmark.measure(collected)) if collected.height else []


def score_table(scored: pl.LazyFrame, model: str, benchmark: Benchmark, draws: int) -> pl.DataFrame:
    """Rows of `<benchmark>_score`, sorted by its key."""
    guessed = {
        (metric.name, metric.category): metric.value
        for metric in measured(scored, benchmark, "chance")
        if metric.guessable
    }
    rows = []
    for metric in measured(scored, benchmark):
        low, high = interval(metric, draws) or (None, None)
        key = (metric.name, metric.category)
        headline = metric.name in benchmark.headlines and not metric.category
        rows.append((model, *key, metric.value, low, high, metric.units, guessed.get(key), headline))
    table = TABLES[f"{benchmark.key}_score"]
    return pl.DataFrame(rows, schema=table.polars(), orient="row").sort(table.key)


def _row(one: Question | UnreadableRecord, benchmark: Benchmark) -> dict[str, Any]:
    row = _unreadable_row(one) if isinstance(one, UnreadableRecord) else _question_row(one, benchmark)
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        item = one.item.encode("utf-8", "backslashreplace").decode()
        return _unreadable_row(UnreadableRecord(item, "a text of it holds half of a surrogate pair"))
    return row


def _question_row(question: Question, benchmark: Benchmark) -> dict[str, Any]:
    return {
        "item": question.item,
        "form": question.form,
        "category": question.category,
        "native": json.dumps(dict(question.native), ensure_ascii=False),
        "question": question.text,
        "options": [{"letter": letter, "text": text} for letter, text in question.options.items()],
        "answers": list(question.answers),
        "images": [str(image.path) for image in question.images],
        "image_hashes": [image.sha256 for image in question.images],
        "hint": question.hint,
        "group": benchmark.group(question),
        "problem": question.problem,
        "readable": True,
    }


def _unreadable_row(record: UnreadableRecord) -> dict[str, Any]:
    empty: dict[str, Any] = {name: [] if isinstance(dtype, pl.List) else "" for name, dtype in _QUESTION.items()}
    return empty | {"item": record.item, "native": "{}", "problem": record.reason, "readable": False}


def _question(row: Mapping[str, Any]) -> Question:
    return Question(
        row["item"],
        row["form"],
        row["question"],
        tuple(row["answers"]),
        {option["letter"]: option["text"] for option in row["options"]},
        row["category"],
        json.loads(row["native"]),
        tuple(ChatImage(Path(path), sha256) for path, sha256 in zip(row["images"], row["image_hashes"], strict=True)),
        row["hint"],
        row["problem"],
    )


def _graded(
    row: Mapping[str, Any], model: str, benchmark: Benchmark, dialect: Dialect, settings: BenchmarkSettings
) -> dict[str, Any]:
    question = _question(row)
    asked = dialect.ask(question)
    prediction, score = None, 0.0
    outcome, reason = "failed", row["error"] or ""
    if row["error"] is None:
        if asked.decided:
            prediction = asked.answer(row["text"])
            score = float(prediction in question.answers)
        else:
            grade = benchmark.grade(question, row["text"], settings)
            prediction, score = grade.prediction, grade.score
        outcome, reason = _outcome(prediction, row["finish_reason"])
    return _prediction(
        row,
        model,
        prompt=asked.text,
        reply=row["text"],
        outcome=outcome,
        reason=reason,
        prediction=prediction,
        score=score,
        chance=chance(question),
    )


def _outcome(prediction: str | None, finish_reason: str) -> tuple[str, str]:
    if prediction is not None:
        return "answered", ""
    if finish_reason == "length":
        return "truncated", "the reply was cut by its limit before an answer could be read from it"
    return "unparsed", "no answer can be read from the reply"


def _prediction(row: Mapping[str, Any], model: str, **said: Any) -> dict[str, Any]:
    kept = ("item", "form", "category", "group", "native", "question", "options", "answers", "images")
    return {"model": model, **{name: row[name] for name in kept}, **said}


def _table(benchmark: Benchmark, rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=TABLES[f"{benchmark.key}_predictions"].polars())
