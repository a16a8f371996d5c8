from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spare_assets.benchmarks.metrics import (
    TERMS,
    Metric,
    all_right,
    by_category,
    combined,
    interval,
    mean_score,
    paired_p_value,
)


def accuracy(hits: Sequence[float | None], units: Sequence[str] | None = None) -> Metric:
    """An accuracy over these credits, each question a unit of its own where none are named."""
    names = [str(place) for place in range(len(hits))] if units is None else list(units)
    terms = {"unit": names, "stratum": ["all"] * len(hits), "numerator": hits, "denominator": [1.0] * len(hits)}
    return Metric("accuracy", "", pl.DataFrame(terms, schema=TERMS))


def f1(truths: Sequence[bool], guesses: Sequence[bool]) -> Metric:
    terms = {
        "unit": [str(place) for place in range(len(truths))],
        "stratum": ["f1"] * len(truths),
        "numerator": [2.0 * (truth and guess) for truth, guess in zip(truths, guesses, strict=True)],
        "denominator": [float(truth) + float(guess) for truth, guess in zip(truths, guesses, strict=True)],
    }
    return Metric("f1", "", pl.DataFrame(terms, schema=TERMS))


def test_a_sum_over_strata_is_the_same_to_the_last_bit_each_time() -> None:
    strata = [f"subtask {place % 14}" for place in range(14 * 30)]
    terms = {
        "unit": [str(place) for place in range(len(strata))],
        "stratum": strata,
        "numerator": [float(place % (3 + place % 14) == 0) for place in range(len(strata))],
        "denominator": [1.0] * len(strata),
    }
    metric = Metric("score", "", pl.DataFrame(terms, schema=TERMS))
    assert len({metric.value for _ in range(50)}) == 1


def predictions(scores: Sequence[float | None], groups: Sequence[str] | None = None) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "item": [str(place) for place in range(len(scores))],
            "category": list(groups or [""] * len(scores)),
            "score": pl.Series(scores, dtype=pl.Float64),
        }
    )


credits = st.lists(st.sampled_from([0.0, 0.3, 1.0]), min_size=2, max_size=40)


def test_an_interval_of_an_accuracy_is_as_wide_as_its_standard_error_says() -> None:
    hits = [1.0] * 700 + [0.0] * 300
    found = interval(accuracy(hits), draws=4000)
    assert found is not None
    error = 100 * math.sqrt(0.7 * 0.3 / 1000)
    assert found[0] == pytest.approx(70 - 1.96 * error, abs=0.15 * error)
    assert found[1] == pytest.approx(70 + 1.96 * error, abs=0.15 * error)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    random = np.random.default_rng(5)
    found = [interval(accuracy((random.random(150) < 0.6).astype(float).tolist()), draws=400) for _ in range(300)]
    covering = sum(low <= 60 <= high for low, high in filter(None, found))
    assert 0.90 <= covering / 300 <= 0.98


def test_questions_drawn_together_widen_the_interval() -> None:
    hits = [1.0, 1.0, 0.0, 0.0] * 100
    apart = interval(accuracy(hits), draws=4000)
    together = interval(accuracy(hits, [str(place // 2) for place in range(400)]), draws=4000)
    assert apart is not None and together is not None
    assert (together[1] - together[0]) / (apart[1] - apart[0]) == pytest.approx(math.sqrt(2), rel=0.08)


def test_too_little_to_draw_from_has_no_interval_and_no_p_value() -> None:
    one, none, unknown = accuracy([1.0]), accuracy([]), accuracy([0.5, None])
    for metric in (one, none, unknown):
        assert interval(metric) is None
        assert paired_p_value([metric], [metric]) is None
    assert one.value == 100 and none.value is None and unknown.value is None
    assert paired_p_value([], [accuracy([1.0, 0.0])]) is None
    assert paired_p_value([accuracy([1.0, 0.0], ["a", "b"])], [accuracy([1.0, 0.0], ["b", "c"])]) is None


def test_full_marks_have_an_interval_of_full_marks() -> None:
    assert interval(accuracy([1.0] * 30)) == (100.0, 100.0)
    assert interval(f1([True] * 30, [True] * 30)) == (100.0, 100.0)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=60))
@settings(max_examples=40, deadline=None)
def test_a_ratio_is_the_f1_of_its_counts_and_lies_in_bounds(pairs: list[tuple[bool, bool]]) -> None:
    truths, guesses = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    metric = f1(truths, guesses)
    right = sum(truth and guess for truth, guess in pairs)
    wrong = sum(truth != guess for truth, guess in pairs)
    if right + wrong == 0:
        assert metric.value is None and interval(metric, draws=50) is None
        return
    assert metric.value == pytest.approx(100 * 2 * right / (2 * right + wrong))
    found = interval(metric, draws=50)
    assert found is not None and 0 <= found[0] <= found[1] <= 100


def test_the_interval_of_a_ratio_is_the_one_of_drawing_unit_by_unit() -> None:
    random = np.random.default_rng(1)
    truths = random.random(300) < 0.5
    guesses = np.where(random.random(300) < 0.75, truths, ~truths)
    places = random.integers(0, 300, (4000, 300))
    right = (truths & guesses)[places].sum(1)
    drawn = 200 * right / (truths[places].sum(1) + guesses[places].sum(1))
    found = interval(f1(truths.tolist(), guesses.tolist()), draws=4000)
    assert found == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])), abs=0.5)


def test_strata_are_summed_ratio_by_ratio_and_each_is_drawn() -> None:
    parts = [accuracy([1.0] * 60 + [0.0] * 40), accuracy([1.0] * 5 + [0.0] * 15, [f"b{place}" for place in range(20)])]
    metric = combined("perception", parts)
    assert metric.value == pytest.approx(60 + 25)
    assert metric.units == 120
    error = 100 * math.sqrt(0.6 * 0.4 / 100 + 0.25 * 0.75 / 20)
    found = interval(metric, draws=4000)
    assert found is not None
    assert found[1] - found[0] == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert combined("nothing", []).value is None


def test_a_stratum_shared_by_units_of_another_is_drawn_with_them() -> None:
    hits = [1.0] * 50 + [0.0] * 50
    alone, twice = interval(accuracy(hits), 4000), interval(combined("twice", [accuracy(hits)] * 2), 4000)
    assert alone is not None and twice is not None
    assert twice[1] - twice[0] == pytest.approx(2 * (alone[1] - alone[0]), rel=0.1)


@given(credits, st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_the_order_of_the_terms_changes_nothing(hits: list[float], random: object) -> None:
    metric, other = accuracy(hits), accuracy([1 - hit for hit in hits])
    order = list(range(len(hits)))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = Metric("accuracy", "", metric.terms[order])
    assert shuffled.value == pytest.approx(metric.value)
    assert interval(shuffled, 50) == pytest.approx(interval(metric, 50))
    assert paired_p_value([shuffled], [other], 50) == paired_p_value([metric], [other], 50)


@given(credits, credits)
@settings(max_examples=60, deadline=None)
def test_a_p_value_is_a_share_and_no_difference_is_certain_to_be_chance(mine: list[float], other: list[float]) -> None:
    p_value = paired_p_value([accuracy(mine)], [accuracy(other)], 100)
    assert p_value is not None and 0 < p_value <= 1
    assert paired_p_value([accuracy(mine)] * 2, [accuracy(mine)], 100) == 1


def test_both_directions_count_the_same() -> None:
    random = np.random.default_rng(2)
    base = (random.random(200) < 0.5).astype(float)
    better = np.maximum(base, random.random(200) < 0.04).tolist()
    up = paired_p_value([accuracy(better)], [accuracy(base.tolist())], 4000)
    down = paired_p_value([accuracy(base.tolist())], [accuracy(better)], 4000)
    assert up == pytest.approx(down, abs=0.03)
    assert paired_p_value([accuracy([1.0] * 50)], [accuracy([0.0] * 50)], 2000) == pytest.approx(2 / 2001)


def test_pairing_sees_a_small_steady_difference_that_the_intervals_hide() -> None:
    base = [1.0] * 200 + [0.0] * 200
    better = [1.0] * 210 + [0.0] * 190
    mine, theirs = interval(accuracy(better)), interval(accuracy(base))
    assert mine is not None and theirs is not None and mine[0] < theirs[1]
    p_value = paired_p_value([accuracy(better)], [accuracy(base)])
    assert p_value is not None and p_value < 0.01
    # The same two scores, of answers that have nothing to do with one another.
    apart = paired_p_value([accuracy(better)], [accuracy([1.0, 0.0] * 200)])
    assert apart is not None and apart > 0.2


def test_without_a_difference_few_p_values_are_small() -> None:
    random = np.random.default_rng(3)

    def drawn() -> Metric:
        return accuracy((random.random(120) < 0.6).astype(float).tolist())

    small = sum((paired_p_value([drawn()], [drawn()], 400) or 1) < 0.05 for _ in range(300))
    assert 0.015 <= small / 300 <= 0.1


def test_seeds_are_meaned_and_only_units_that_all_have_are_compared() -> None:
    up, down, level = [1.0] * 100, [0.0] * 100, [1.0, 0.0] * 50
    assert paired_p_value([accuracy(up), accuracy(down)], [accuracy([0.5] * 100)], 200) == 1
    extra = accuracy([*level, *[0.0] * 100])
    assert paired_p_value([extra], [accuracy(level)], 200) == 1


def test_chances_multiply_in_a_group_and_an_unknown_one_makes_it_unknown() -> None:
    groups = ["a", "a", "b"]
    assert all_right(predictions([0.5, 0.5, 0.25], groups), "pairs", [pl.col("category")]).value == pytest.approx(25)
    assert all_right(predictions([0.5, None, 0.25], groups), "pairs", [pl.col("category")]).value is None
    assert mean_score(predictions([1.0, 0.0, None]), "accuracy").value is None
    assert mean_score(predictions([1.0, 0.0]), "accuracy").value == 50


def test_a_question_without_a_category_is_in_none() -> None:
    rows = predictions([1.0, 0.0, 1.0], ["b", "", "a"])
    assert [(name, part.height) for name, part in by_category(rows)] == [("a", 1), ("b", 1)]
