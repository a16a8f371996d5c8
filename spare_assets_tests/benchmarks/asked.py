"""Questions of a benchmark's file with replies made up for them, as the frame its `measure` takes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from spare_assets.benchmarks.pictures import Pictures
from spare_assets.benchmarks.questions import SCORED, Benchmark, Question, UnreadableRecord
from spare_assets.settings import BenchmarkSettings
from spare_assets_tests.benchmarks.test_image_files import MAX_PIXELS, files

SETTINGS = BenchmarkSettings(file="records")


def read(
    benchmark: Benchmark, path: Path, images: Path | None = None, settings: BenchmarkSettings = SETTINGS
) -> list[Question | UnreadableRecord]:
    """All that a benchmark makes of a file; items are unique."""
    here = files(benchmark.key, path, images)
    pictures = Pictures(here, path.parent / "pictures", MAX_PIXELS)
    found = list(benchmark.read(here, pictures, settings))
    assert len({one.item for one in found}) == len(found)
    return found


def questions(found: Iterable[Question | UnreadableRecord]) -> list[Question]:
    return [one for one in found if isinstance(one, Question)]


def reasons(found: Iterable[Question | UnreadableRecord]) -> dict[str, str]:
    """Why records were unreadable or questions can't be asked, by item."""
    return {
        one.item: reason
        for one in found
        if (reason := one.reason if isinstance(one, UnreadableRecord) else one.problem)
    }


def scored(
    benchmark: Benchmark,
    asked: Sequence[Question],
    reply: Callable[[Question], str],
    settings: BenchmarkSettings = SETTINGS,
) -> pl.DataFrame:
    """Predictions from replies."""
    rows = []
    for question in asked:
        grade = benchmark.grade(question, reply(question), settings)
        rows.append(_row(question, grade.prediction, grade.score))
    return pl.DataFrame(rows, schema=SCORED)


def guessed(asked: Sequence[Question], chance: float | Sequence[float] | None) -> pl.DataFrame:
    """The chance of a right guess in place of scores: of all questions, or of each."""
    chances = chance if isinstance(chance, Sequence) else [chance] * len(asked)
    rows = [_row(question, None, one) for question, one in zip(asked, chances, strict=True)]
    return pl.DataFrame(rows, schema=SCORED)


def _row(question: Question, prediction: str | None, score: float | None) -> dict[str, object]:
    return {
        "item": question.item,
        "category": question.category,
        "native": json.dumps(dict(question.native), ensure_ascii=False),
        "options": [{"letter": letter, "text": text} for letter, text in question.options.items()],
        "answers": list(question.answers),
        "prediction": prediction,
        "score": score,
    }


def values(benchmark: Benchmark, predictions: pl.DataFrame) -> dict[tuple[str, str], float | None]:
    """Every metric's value, by its name and category; no name comes twice in a category."""
    found = list(benchmark.measure(predictions))
    by_name = {(metric.name, metric.category): metric.value for metric in found}
    assert len(by_name) == len(found)
    return by_name


def guessable_values(benchmark: Benchmark, predictions: pl.DataFrame) -> dict[tuple[str, str], float | None]:
    return {(one.name, one.category): one.value for one in benchmark.measure(predictions) if one.guessable}


def draws(asked: Sequence[Question], chance: float | Sequence[float], count: int = 10_000) -> NDArray[np.bool_]:
    """Which questions a guesser gets right, [count, questions]."""
    return np.random.default_rng(1).random((count, len(asked))) < np.asarray(chance)


def share(right: NDArray[np.bool_], groups: Sequence[object] | None = None) -> NDArray[np.float64]:
    """Of each draw the share of questions that are right, or of groups that are all right; None is in no group."""
    if groups is None:
        return np.asarray(right.mean(axis=1))
    members: dict[object, list[int]] = {}
    for place, group in enumerate(groups):
        if group is not None:
            members.setdefault(group, []).append(place)
    return np.asarray(np.mean([right[:, places].all(axis=1) for places in members.values()], axis=0))


def assert_expected(value: float | None, simulated: NDArray[np.float64]) -> None:
    """A value computed from chances lies within three standard errors of the mean of draws (of shares)."""
    assert value is not None
    error = 100 * simulated.std(ddof=1) / np.sqrt(len(simulated))
    assert abs(value - 100 * simulated.mean()) <= 3 * error


def assert_order_is_nothing(benchmark: Benchmark, predictions: pl.DataFrame) -> None:
    """Shuffled rows measure the same."""
    expected = values(benchmark, predictions)
    for seed in range(3):
        found = values(benchmark, predictions.sample(fraction=1, shuffle=True, seed=seed))
        assert found == pytest.approx(expected, abs=1e-9)
