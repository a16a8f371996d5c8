from __future__ import annotations

import pytest

from spare_assets.storage.conservation import ConservationError, TooManyFailedError, check_failed, conserve


def test_counts_that_add_up_pass() -> None:
    conserve("grounding", read=12, parts={"kept": 7, "dropped": 5})
    conserve("grounding", read=0, parts={})


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"kept": 1_000, "dropped": 4}, "read 1,005, but kept 1,000 + dropped 4 = 1,004 (1 lost)"),
        ({"kept": 1_000, "dropped": 6}, "(1 too many)"),
        ({"kept": 1_006, "dropped": -1}, "(a negative count)"),
        ({}, "but nothing = 0 (1,005 lost)"),
    ],
)
def test_counts_that_do_not_add_up_raise_with_the_numbers(parts: dict[str, int], said: str) -> None:
    with pytest.raises(ConservationError) as caught:
        conserve("grounding", read=1_005, parts=parts)
    assert str(caught.value).startswith("grounding: ")
    assert said in str(caught.value)


def test_failures_are_compared_with_their_limit() -> None:
    check_failed("qa_pairs", 100, 5, 0.05)
    check_failed("qa_pairs", 0, 0, 0.0)
    with pytest.raises(TooManyFailedError, match=r"qa_pairs: 6 of 100 rows \(6\.0%\).*failed_request_share.*5\.0%"):
        check_failed("qa_pairs", 100, 6, 0.05)
