"""Files of verdicts come from outside: what fits is read, all else is refused by file and entry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spare_assets.review.items import items
from spare_assets.review.verdict_files import VerdictFileError, read_verdicts
from spare_assets.storage.schemas import TABLES
from spare_assets.storage.tables import TableStore
from spare_assets_tests.review.drawn import caption_rows, pair_rows, put, verdict_file

PAIRS, CAPTIONS = pair_rows(3), caption_rows(2)
ITEMS = items(PAIRS, CAPTIONS)


def file(given: Any = None, reviewer: str = "Ann", **changed: Any) -> dict[str, Any]:
    return verdict_file(PAIRS, CAPTIONS, reviewer, given or {"p01": "correct"}, **changed)


def entry(**changed: Any) -> dict[str, Any]:
    document = file()
    document["verdicts"][0] |= changed
    return document


def test_verdicts_are_rows(tmp_path: Path) -> None:
    document = file({"p02": "wrong object", "c01": "spatial"}, " Ann ")
    document["verdicts"][0]["comment"] = " it is a bowl \ud83d "
    put(tmp_path, "one.json", document)
    put(tmp_path, "read-me.txt", "not a file of verdicts")
    assert read_verdicts(tmp_path, ITEMS).rows() == [
        ("caption", "c01", "Ann", "docci", "spatial", "", "one.json"),
        ("pair", "p02", "Ann", "docci", "wrong object", "it is a bowl �", "one.json"),
    ]


def test_an_editors_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    path = put(tmp_path, "one.json", file())
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_verdicts(tmp_path, ITEMS).height == 1


REFUSED: dict[str, tuple[Any, str]] = {
    "no json": ("{cut", "one.json: not readable as JSON"),
    "deep json": ("[" * 100_000, "one.json: not readable as JSON"),
    "another file": ({"a": 1}, "one.json: not a file of verdicts from the review page"),
    "a list": ([1], "one.json: not a file of verdicts"),
    "version": (file(version=2), "one.json: version 2, but this program reads version 1"),
    "no version": (file(version=None), "one.json: version None"),
    "sample": (file(sample="0123"), "one.json: made on sample '0123', but the sample now is"),
    "no reviewer": (file(reviewer="  "), "one.json: reviewer: String should have at least 1 character"),
    "unknown field": (file(more=1), "one.json: more: Extra inputs are not permitted"),
    "no entries": (file(verdicts={}), "one.json: verdicts: Input should be a valid list"),
    "unknown id": (entry(item="p99"), "one.json, entry 1 (pair 'p99'): not in the sample"),
    "id of another kind": (entry(kind="caption"), "one.json, entry 1 (caption 'p01'): not in the sample"),
    "unknown kind": (entry(kind="image"), "one.json, entry 1: kind: Input should be 'pair' or 'caption'"),
    "unknown verdict": (
        entry(verdict="fine"),
        "one.json, entry 1 (pair 'p01'): verdict 'fine' is none of correct, wrong relation",
    ),
    "verdict of another kind": (entry(verdict="spatial"), "verdict 'spatial' is none of correct"),
    "another text": (entry(seen="00"), "one.json, entry 1 (pair 'p01'): marked on another text"),
    "long comment": (entry(comment="x" * 2001), "one.json, entry 1: comment: String should have at most 2000"),
    "number as id": (entry(item=1), "one.json, entry 1: item: Input should be a valid string"),
    "no entry": (file(verdicts=[None]), "one.json, entry 1: Input should be a valid dictionary"),
    "twice": (
        file([("p01", "correct"), ("p02", "correct"), ("p01", "unclear")]),
        "one.json, entry 3 (pair 'p01'): 'Ann' marked it already in ",
    ),
    "surrogates": (entry(item="\ud800"), "entry 1 (pair '�'): not in the sample"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_and_in_which_words(tmp_path: Path, case: str) -> None:
    document, told = REFUSED[case]
    put(tmp_path, "one.json", document)
    with pytest.raises(VerdictFileError) as refused:
        read_verdicts(tmp_path, ITEMS)
    assert told in str(refused.value)
    assert str(tmp_path) in str(refused.value)
    str(refused.value).encode()


def test_two_downloads_of_one_reviewer_are_told_apart(tmp_path: Path) -> None:
    put(tmp_path, "a.json", file())
    put(tmp_path, "b.json", file({"p01": "unclear", "p02": "correct"}))
    with pytest.raises(
        VerdictFileError, match=r"b\.json, entry 1 .*already in .*a\.json, entry 1; keep one of the two"
    ):
        read_verdicts(tmp_path, ITEMS)
    put(tmp_path, "b.json", file({"p01": "unclear"}, "Ben"))
    assert read_verdicts(tmp_path, ITEMS).height == 2, "two reviewers may mark the same"


def test_all_that_is_wrong_is_told_at_once_but_not_without_end(tmp_path: Path) -> None:
    many = file([("p01", "no such verdict")] * 50)
    put(tmp_path, "a.json", "{")
    put(tmp_path, "b.json", many)
    with pytest.raises(VerdictFileError) as refused:
        read_verdicts(tmp_path, ITEMS)
    lines = str(refused.value).splitlines()
    assert "a.json" in lines[1] and "b.json" in lines[2]
    assert len(lines) == 22 and lines[-1] == "and 31 more"


def test_a_sample_with_other_text_is_another_sample(tmp_path: Path) -> None:
    put(tmp_path, "one.json", file())
    changed = items(pair_rows(3, answer="right of the plate"), CAPTIONS)
    with pytest.raises(VerdictFileError, match="which takes over what still stands"):
        read_verdicts(tmp_path, changed)
    moved = items(pair_rows(3, weight=9.0, image_path="/elsewhere.png"), CAPTIONS)
    assert read_verdicts(tmp_path, moved).height == 1, "what a reviewer reads is the same"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["format", "version", "sample", "reviewer", "downloaded", "verdicts", "entry", "*"]),
    st.sampled_from(["kind", "item", "verdict", "comment", "seen"]),
    JSON,
)
def test_any_json_is_read_or_refused_in_words(tmp_path: Path, place: str, field: str, value: Any) -> None:
    document: Any = file()
    if place == "*":
        document = value
    elif place == "entry":
        document["verdicts"][0][field] = value
    else:
        document[place] = value
    put(tmp_path, "one.json", document)
    try:
        rows = read_verdicts(tmp_path, ITEMS)
    except VerdictFileError as error:
        str(error).encode()
    else:
        TableStore(tmp_path / "tables").stage("review_verdicts", None, rows).discard()
        assert rows.schema == TABLES["review_verdicts"].polars()
