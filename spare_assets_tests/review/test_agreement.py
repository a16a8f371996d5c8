"""Wilson's interval and Cohen's kappa against values worked out by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spare_assets.review.agreement import cohens_kappa, wilson_interval

LABELS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=40)


def test_wilson_by_hand() -> None:
    # 16 of 400 with z = 2: centre (0.04 + 0.005) / 1.01, spread 2 sqrt(0.04 * 0.96 / 400 + 4 / 640000) / 1.01
    low, high = wilson_interval(16, 400, 2.0) or (0, 0)
    spread = 2 * math.sqrt(0.000096 + 0.00000625) / 1.01
    assert low == pytest.approx(0.045 / 1.01 - spread) == pytest.approx(0.02453, abs=1e-5)
    assert high == pytest.approx(0.045 / 1.01 + spread) == pytest.approx(0.06458, abs=1e-5)
    assert wilson_interval(10, 100) == pytest.approx((0.05523, 0.17437), abs=1e-5)
    # None of ten: 3.8416 / 13.8416.
    assert wilson_interval(0, 10) == pytest.approx((0, 0.27754), abs=1e-5)
    assert wilson_interval(10, 10) == pytest.approx((0.72246, 1), abs=1e-5)
    assert wilson_interval(0, 0) is None


@given(st.integers(1, 500).flatmap(lambda total: st.tuples(st.floats(0, total), st.just(total))))
def test_wilson_holds_the_share_and_stays_a_share(counts: tuple[float, int]) -> None:
    found, total = counts
    low, high = wilson_interval(found, total) or (2, -1)
    assert 0 <= low <= found / total + 1e-12 and found / total - 1e-12 <= high <= 1


def test_kappa_by_hand() -> None:
    # 20 both yes, 5 yes/no, 10 no/yes, 15 both no: alike 0.7; by chance 0.5 * 0.6 + 0.5 * 0.4 = 0.5; kappa 0.4
    counts = {("y", "y"): 20, ("y", "n"): 5, ("n", "y"): 10, ("n", "n"): 15}
    first, second = zip(*[pair for pair, count in counts.items() for _ in range(count)], strict=True)
    assert cohens_kappa(first, second) == pytest.approx((50, 0.7, 0.5, 0.4))
    # Three labels: alike 4 of 6; by chance (3 * 2 + 2 * 2 + 1 * 2) / 36 = 1/3; kappa 0.5
    assert cohens_kappa("aaabbc", "aabbcc") == pytest.approx((6, 4 / 6, 12 / 36, 0.5))
    assert cohens_kappa("ab", "ba").kappa == -1


def test_kappa_where_chance_leaves_no_room() -> None:
    assert cohens_kappa("aaa", "aaa") == (3, 1.0, 1.0, None)
    assert cohens_kappa("aaa", "aab").kappa == 0
    with pytest.raises(ValueError, match="the same items"):
        cohens_kappa("", "")
    with pytest.raises(ValueError, match="2 and 1"):
        cohens_kappa("ab", "a")


@given(LABELS)
def test_kappa_is_symmetric_and_at_most_one(labels: list[tuple[str, str]]) -> None:
    first, second = zip(*labels, strict=True)
    found, turned = cohens_kappa(first, second), cohens_kappa(second, first)
    assert found == turned
    assert found.kappa is None or -1 <= found.kappa <= 1
    assert found.kappa is None or (found.kappa == 1) == (first == second)
