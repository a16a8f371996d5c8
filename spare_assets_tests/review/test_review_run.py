"""Review as assets of a real run: drawn, marked in a browser, materialized, and refused in words."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from spare_assets.cli.materialize import Materialization
from spare_assets.review.agreement import wilson_interval
from spare_assets.review.items import items
from spare_assets.settings import Home, open_home
from spare_assets.storage.tables import TableStore, content_hash
from spare_assets_tests.profiles import sandbox_profile
from spare_assets_tests.review.drawn import put, verdict_file
from spare_assets_tests.review.reviewer import Reviewer, chromium

ROOM = ("review_sample", "caption_review_sample", "review_page")
RESULTS = ("review_results", "review_verdicts", "review_agreement", "review_disagreements", "caption_labels")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with a sample, its page, and no verdicts."""
    folder = tmp_path_factory.mktemp("review")
    profile = sandbox_profile(folder, scenes=20, review={"captions": 12})
    home = open_home(str(profile), folder / "home").claim()
    assert Materialization(home, "+review_page or +review_results").execute()
    return home


@pytest.fixture
def home(finished: Home) -> Home:
    for path in finished.reviews.glob("*"):
        path.unlink()
    return finished


def rows(home: Home, name: str) -> pl.DataFrame:
    return TableStore(home.tables).scan(name).collect()


def samples(home: Home) -> tuple[pl.DataFrame, pl.DataFrame]:
    return rows(home, "review_sample"), rows(home, "caption_review_sample")


def test_the_sample_is_of_the_dataset(home: Home) -> None:
    pairs, captions = samples(home)
    dataset = rows(home, "spare_dataset")
    assert pairs.height == dataset.height, "so small a dataset is looked at whole"
    assert set(pairs["caption_id"]) == set(dataset["caption_id"])
    assert Counter(pairs["source"]) == Counter(dataset["source"]) and len(set(pairs["source"])) == 3
    verdicts = pl.concat([TableStore(home.tables).scan("caption_verdicts", key) for key in home.settings.sources])
    known = verdicts.select("caption_id", "kept").collect()
    both = captions.join(known, on="caption_id")
    assert both.height == 12 and (both["judged_spatial"] == both["kept"]).all() and 0 < both["kept"].sum() < 12
    shown = rows(home, "review_page")
    assert shown.height == pairs.height + 12
    assert set(shown.filter(kind="pair")["picture"]) == {"embedded"}
    assert (home.exports / "review.html").stat().st_size < 2_000_000


def test_without_files_the_results_are_empty_and_the_same_again(home: Home) -> None:
    store = TableStore(home.tables)
    before = {name: content_hash(store.path(name)) for name in (*ROOM, *RESULTS)}
    assert Materialization(home, "review_sample or review_page or review_results").execute()
    assert before == {name: content_hash(store.path(name)) for name in before}
    assert all(rows(home, name).is_empty() for name in RESULTS)


@pytest.mark.browser
def test_marks_made_by_keyboard_become_rates(home: Home) -> None:
    with chromium() as browser:
        reviewer = Reviewer(browser, home.exports / "review.html")
        reviewer.press(*"1111r", *"1111o")
        reviewer.tab.reload()
        reviewer.press(*"1111n", *"1111u")
        assert reviewer.step.startswith("Pair 21 of ")
        reviewer.press("p", *"ssn")
        reviewer.tab.fill("#reviewer", "Ann")
        reviewer.press("Enter")
        reviewer.download(home.reviews)
        assert reviewer.told == [], "nothing left the page, and nothing went wrong on it"

    assert Materialization(home, "review_results").execute()
    overall = rows(home, "review_results").filter(scope="all", reviewer="Ann").rows_by_key("metric", named=True)
    found = {metric: (row["found"], row["judged"]) for metric, (row,) in overall.items()}
    assert found == {
        "error": (3, 19),
        "wrong relation": (1, 19),
        "wrong object": (1, 19),
        "not spatial": (1, 19),
        "unclear": (1, 20),
    }
    error = overall["error"][0]
    assert (error["low"], error["high"]) == pytest.approx(wilson_interval(3, 19))
    labels = rows(home, "caption_labels").join(rows(home, "caption_review_sample"), on="caption_id").sort("place")
    assert labels["spatial"].to_list() == [True, True, False]
    with duckdb.connect(home.catalog, read_only=True) as catalog:
        told = catalog.execute("SELECT metric, rate FROM review_results WHERE scope = 'source'").fetchall()
        assert len(told) > 0


def test_two_reviewers_and_where_they_differ(home: Home) -> None:
    pairs, captions = samples(home)
    ids = pairs["pair_id"].to_list()
    put(home.reviews, "ann.json", verdict_file(pairs, captions, "Ann", dict.fromkeys(ids[:10], "correct")))
    given = dict.fromkeys(ids[:9], "correct") | {ids[9]: "wrong object"}
    put(home.reviews, "ben.json", verdict_file(pairs, captions, "Ben", given))
    assert Materialization(home, "review_results").execute()
    (agreement,) = rows(home, "review_agreement").rows(named=True)
    assert (agreement["items"], agreement["agreement"], agreement["kappa"]) == (10, 0.9, 0.0)
    assert rows(home, "review_disagreements")["item"].to_list() == [ids[9]]


def test_a_bad_file_is_refused_and_the_tables_stay(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    pairs, captions = samples(home)
    good = verdict_file(pairs, captions, "Ann", {pairs["pair_id"][0]: "correct"})
    put(home.reviews, "ann.json", good)
    assert Materialization(home, "review_results").execute()
    store = TableStore(home.tables)
    before = {name: content_hash(store.path(name)) for name in RESULTS}
    stranger = json.loads(json.dumps(good))
    stranger["verdicts"][0]["item"] = "nobody"
    bad: list[tuple[str, dict[str, Any], str]] = [
        ("ben.json", stranger, "ben.json, entry 1 (pair 'nobody'): not in the sample"),
        ("again.json", good, "'Ann' marked it already in"),
        ("old.json", good | {"version": 0}, "version 0, but this program reads version 1"),
        ("other.json", good | {"sample": "f00"}, "made on sample 'f00'"),
    ]
    for name, document, told in bad:
        path = put(home.reviews, name, document)
        capsys.readouterr()
        assert not Materialization(home, "review_results").execute()
        said = " ".join(capsys.readouterr().out.replace("\n", "").split())
        assert told.replace(" ", "") in said.replace(" ", "") and "Traceback" not in said
        assert before == {name: content_hash(store.path(name)) for name in before}
        path.unlink()


def test_captions_can_be_labelled_before_there_is_a_dataset(tmp_path: Path) -> None:
    home = open_home(str(sandbox_profile(tmp_path, scenes=8)), tmp_path / "home").claim()
    assert not Materialization(home, "review_sample").execute(), "there is nothing to draw from"
    assert Materialization(home, "+spatial_captions").execute()
    assert Materialization(home, "review_sample or review_page or review_results").execute()
    pairs, captions = samples(home)
    assert pairs.is_empty() and captions.height
    assert len(items(pairs, captions)) == rows(home, "review_page").height
