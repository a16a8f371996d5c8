"""Rates, agreement and labels against counts made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from spare_assets.review.agreement import wilson_interval
from spare_assets.review.items import items
from spare_assets.review.results import METRICS, caption_labels, review_agreement, review_disagreements, review_results
from spare_assets.review.verdict_files import read_verdicts
from spare_assets_tests.review.drawn import caption_rows, pair_rows, put, verdict_file

PAIRS, CAPTIONS = pair_rows(10), caption_rows(4)
ANN = {
    **{f"p{number:02}": "correct" for number in range(1, 6)},
    "p06": "wrong relation",
    "p07": "wrong relation",
    "p08": "wrong object",
    "p09": "not spatial",
    "p10": "unclear",
}
BEN = {"p01": "correct", "p02": "wrong object", "p06": "wrong relation", "p10": "wrong relation"}


@pytest.fixture
def both(tmp_path: Path) -> pl.DataFrame:
    put(tmp_path, "ann.json", verdict_file(PAIRS, CAPTIONS, "Ann", ANN | {"c01": "spatial", "c02": "not spatial"}))
    labels = {"c01": "spatial", "c02": "spatial", "c03": "unclear"}
    put(tmp_path, "ben.json", verdict_file(PAIRS, CAPTIONS, "Ben", BEN | labels))
    return read_verdicts(tmp_path, items(PAIRS, CAPTIONS))


def rate(results: pl.DataFrame, metric: str, scope: str = "all", group: str = "", reviewer: str = "") -> dict[str, Any]:
    found = results.filter(metric=metric, scope=scope, group=group, reviewer=reviewer)
    assert found.height == 1
    return found.row(0, named=True)


def test_one_reviewers_rates(both: pl.DataFrame) -> None:
    results = review_results(both, PAIRS)
    for metric, found, judged in (
        ("error", 4, 9),
        ("wrong relation", 2, 9),
        ("wrong object", 1, 9),
        ("not spatial", 1, 9),
        ("unclear", 1, 10),
    ):
        row = rate(results, metric, reviewer="Ann")
        assert (row["found"], row["judged"]) == (found, judged), metric
        assert row["rate"] == pytest.approx(found / judged)
        assert (row["low"], row["high"]) == pytest.approx(wilson_interval(found, judged))


def test_reviewers_together_count_each_pair_once(both: pl.DataFrame) -> None:
    results = review_results(both, PAIRS)
    # p02 is wrong by one of two; p10 is unclear to one and wrong to the other, who alone judged it.
    assert rate(results, "error")["found"] == pytest.approx(4 + 0.5 + 1)
    assert rate(results, "error")["judged"] == 10
    assert rate(results, "wrong object")["found"] == pytest.approx(1.5)
    assert (rate(results, "unclear")["found"], rate(results, "unclear")["judged"]) == (0.5, 10)


def test_by_source_and_by_relation(both: pl.DataFrame) -> None:
    results = review_results(both, PAIRS)
    # Even numbers are docci's and speak of above as well.
    docci = rate(results, "error", "source", "docci", "Ann")
    assert (docci["found"], docci["judged"]) == (2, 4)
    above = rate(results, "wrong relation", "relation", "above", "Ann")
    assert (above["found"], above["judged"]) == (1, 4)
    assert rate(results, "error", "relation", "left", "Ann")["judged"] == 9
    for scope, groups in (("source", 2), ("relation", 2), ("all", 1)):
        assert results.filter(scope=scope, reviewer="").height == groups * len(METRICS)


def test_a_rate_of_nothing_judged_is_null(tmp_path: Path) -> None:
    put(tmp_path, "a.json", verdict_file(PAIRS, CAPTIONS, "Ann", {"p01": "unclear"}))
    results = review_results(read_verdicts(tmp_path, items(PAIRS, CAPTIONS)), PAIRS)
    row = rate(results, "error")
    assert (row["rate"], row["low"], row["high"], row["judged"]) == (None, None, None, 0)
    assert rate(results, "unclear")["rate"] == 1


def test_pairs_that_name_no_relation_are_in_no_relations_rate(tmp_path: Path) -> None:
    pairs = pair_rows(2, relations=[])
    put(tmp_path, "a.json", verdict_file(pairs, CAPTIONS, "Ann", {"p01": "correct"}))
    results = review_results(read_verdicts(tmp_path, items(pairs, CAPTIONS)), pairs)
    assert results.filter(scope="relation").is_empty() and rate(results, "error")["judged"] == 1


def test_agreement_over_what_both_marked(both: pl.DataFrame) -> None:
    found = review_agreement(both)
    assert found.select("kind", "reviewer", "other", "items").rows() == [
        ("caption", "Ann", "Ben", 2),
        ("pair", "Ann", "Ben", 4),
    ]
    # Ann: correct twice, wrong relation, unclear. Ben: correct, wrong object, wrong relation twice.
    # Alike 2 of 4; by chance (2 * 1 + 1 * 2) / 16 = 1/4; kappa (1/2 - 1/4) / (3/4) = 1/3.
    assert found.row(1)[4:] == pytest.approx((0.5, 0.25, 1 / 3))


def test_three_reviewers_are_three_twos(tmp_path: Path) -> None:
    for name in ("Ann", "Ben", "Cem"):
        put(tmp_path, f"{name}.json", verdict_file(PAIRS, CAPTIONS, name, {"p01": "correct"}))
    put(tmp_path, "Dee.json", verdict_file(PAIRS, CAPTIONS, "Dee", {"p02": "correct"}))
    found = review_agreement(read_verdicts(tmp_path, items(PAIRS, CAPTIONS)))
    assert found.select("reviewer", "other", "kappa").rows() == [
        ("Ann", "Ben", None),
        ("Ann", "Cem", None),
        ("Ben", "Cem", None),
    ]


def test_disagreements_are_listed_with_their_text(both: pl.DataFrame) -> None:
    listed = review_disagreements(both, items(PAIRS, CAPTIONS))
    assert listed.select("item", "verdict", "other_verdict", "text").rows() == [
        ("c02", "not spatial", "spatial", "Caption 2."),
        ("p02", "correct", "wrong object", "Where is cup 2? → left of the plate"),
        ("p10", "unclear", "wrong relation", "Where is cup 10? → left of the plate"),
    ]


def test_labels_of_captions(both: pl.DataFrame) -> None:
    assert caption_labels(both, CAPTIONS).rows() == [
        ("c01", "Ann", True, "docci", True, 4.0),
        ("c01", "Ben", True, "docci", True, 4.0),
        ("c02", "Ann", False, "docci", False, 4.0),
        ("c02", "Ben", True, "docci", False, 4.0),
    ]


def test_without_verdicts_all_is_empty_and_typed(tmp_path: Path) -> None:
    none = read_verdicts(tmp_path / "absent", items(PAIRS, CAPTIONS))
    for table in (
        none,
        review_results(none, PAIRS),
        review_agreement(none),
        review_disagreements(none, items(PAIRS, CAPTIONS)),
        caption_labels(none, CAPTIONS),
    ):
        assert table.is_empty() and table.width
