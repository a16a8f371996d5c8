"""Entropy, Gini coefficient and concentration curve agree with what is worked out by hand, and with the paper."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spare_assets.analyses.concentration import Concentration
from spare_assets.analyses.relation_frequencies import PRINTED, keyword_concentration, relation_concentration


def test_the_papers_own_table_gives_what_the_paper_says_of_it() -> None:
    keywords = keyword_concentration(PRINTED)
    assert len(keywords.shares) == 198
    assert (17, 91) in {(round(100 * across), round(100 * held)) for across, held in keywords.curve()}
    assert round(100 * keywords.held_by(0.17)) == 91
    assert keywords.curve()[34][1] > 0.9 > keywords.curve()[32][1]
    assert round(100 * relation_concentration(PRINTED).held_by(0.17)) == 73, "of relations the same can't be said"


def test_worked_by_hand() -> None:
    spread = Concentration.of([1, 0, 2, 1])
    assert spread.shares == (0.5, 0.25, 0.25, 0.0)
    assert spread.curve() == [(0, 0), (0.25, 0.5), (0.5, 0.75), (0.75, 1), (1, 1)]
    assert spread.held_by(0.5) == 0.75
    assert spread.entropy == 1.5
    assert spread.evenness == 0.75
    assert spread.gini == pytest.approx(0.375)


@pytest.mark.parametrize("number", [1, 2, 29, 198])
def test_the_ends_of_the_scale(number: int) -> None:
    even, single = Concentration.of([3] * number), Concentration.of([7, *[0] * (number - 1)])
    assert even.entropy == pytest.approx(math.log2(number))
    assert even.evenness == pytest.approx(1)
    assert even.gini == pytest.approx(0)
    assert single.entropy == 0
    assert single.gini == pytest.approx(1 - 1 / number)


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=50).filter(any))
def test_whatever_the_amounts(amounts: list[int]) -> None:
    spread = Concentration.of(amounts)
    held = [y for _, y in spread.curve()]
    steps = [after - before for before, after in itertools.pairwise(held)]
    assert held == sorted(held)
    assert all(after <= before + 1e-9 for before, after in itertools.pairwise(steps)), "largest first"
    assert math.isclose(held[-1], 1)
    pairs = sum(abs(one - other) for one in amounts for other in amounts)
    assert spread.gini == pytest.approx(pairs / (2 * len(amounts) * sum(amounts)), abs=1e-9), "mean difference"
    assert -1e-9 <= spread.entropy <= math.log2(len(amounts)) + 1e-9


def test_nothing_has_no_concentration() -> None:
    with pytest.raises(ValueError, match="nothing is spread"):
        Concentration.of([0, 0])
