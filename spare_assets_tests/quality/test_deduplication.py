from __future__ import annotations

from functools import partial

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spare_assets.quality import deduplication
from spare_assets.quality.deduplication import deduplication_verdicts
from spare_assets.quality.samples import MisalignedTablesError, sample_chunks
from spare_assets.storage.schemas import TABLES
from spare_assets_tests.quality.toy_tables import embedding_column, toy_pairs


def embedded(pairs: pl.DataFrame, vectors: object) -> pl.LazyFrame:
    return pairs.select("pair_id", "caption_id", "position").lazy().with_columns(embedding_column(vectors))


def verdicts(pairs: pl.DataFrame, vectors: object, cosine: float = 0.95) -> pl.DataFrame:
    return pl.concat(deduplication_verdicts(pairs.lazy(), embedded(pairs, vectors), cosine))


def angles(*degrees: float) -> list[tuple[float, float]]:
    return [(np.cos(np.radians(angle)), np.sin(np.radians(angle))) for angle in degrees]


def test_the_same_question_in_other_letters_is_dropped() -> None:
    questions = [
        "Where is the Café straße?",
        "where  is\tthe CAFE\u0301 STRASSE ?!",
        "Where is the cafe strasse?",
        " Where is the Café straße",
        "Where's the Café straße?",
    ]
    found = verdicts(toy_pairs([("a", question, "x") for question in questions]), np.eye(5))
    assert found["kept"].to_list() == [True, False, True, False, True]
    assert found["score"].to_list() == [None, 1, 0, 1, 0]
    assert found["reason"].to_list() == ["", "same question as pair 0", "", "same question as pair 0", ""]


def test_near_duplicates_are_compared_with_kept_pairs_only() -> None:
    # Ten degrees have a cosine of 0.985, twenty of 0.940: the second goes, and so cannot take the third with it.
    pairs = toy_pairs([("a", f"q{row}", "x") for row in range(4)])
    found = verdicts(pairs, angles(0, 10, 20, 29))
    assert found["kept"].to_list() == [True, False, True, False]
    assert found["reason"].to_list() == ["", "near-duplicate of pair 0", "", "near-duplicate of pair 2"]
    assert found["score"].to_list()[1:] == pytest.approx([0.985, 0.940, 0.988], abs=1e-3)
    assert found.schema == TABLES["deduplication_verdicts"].polars()


def test_samples_do_not_see_each_other() -> None:
    found = verdicts(toy_pairs([("a", "q", "x"), ("b", "q", "x"), ("c", "q", "x")]), np.ones((3, 2)))
    assert found["kept"].all()
    assert found["score"].is_null().all()


def test_nothing_is_above_a_cosine_of_one() -> None:
    pairs = toy_pairs([("a", f"q{row}", "x") for row in range(40)])
    vector = np.random.default_rng(3).standard_normal(512)
    assert verdicts(pairs, np.tile(vector, (40, 1)), cosine=1.0)["kept"].all()
    assert verdicts(pairs, np.zeros((40, 4)), cosine=0.0)["kept"].all()


def plain_verdict(questions: list[str], vectors: np.ndarray, cosine: float) -> tuple[list[bool], list[float | None]]:
    """The rule once more, one pair at a time."""
    kept: list[int] = []
    scores: list[float | None] = []
    for place, question in enumerate(questions):
        cosines = [float(vectors[place] @ vectors[other]) for other in kept]
        if question in questions[:place]:
            scores.append(1.0)
            continue
        scores.append(max(cosines, default=None))
        if not cosines or max(cosines) <= cosine:
            kept.append(place)
    return [place in kept for place in range(len(questions))], scores


samples = st.lists(
    st.lists(st.tuples(st.integers(0, 6), st.floats(0, 90, allow_nan=False)), min_size=1, max_size=7),
    max_size=8,
)


@settings(deadline=None)
@given(samples, st.sampled_from([0.5, 0.95]), st.integers(1, 9))
def test_verdicts_follow_the_rule_wherever_chunks_fall(
    samples: list[list[tuple[int, float]]], cosine: float, rows: int
) -> None:
    pairs = toy_pairs([(f"c{c}", f"q{q}?", "x") for c, sample in enumerate(samples) for q, _ in sample])
    if not pairs.height:
        assert list(deduplication_verdicts(pairs.lazy(), embedded(pairs, np.ones((0, 2))), cosine)) == []
        return
    vectors = np.array(angles(*(angle for sample in samples for _, angle in sample)))
    whole = verdicts(pairs, vectors, cosine)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deduplication, "sample_chunks", partial(sample_chunks, rows=rows))
        assert verdicts(pairs, vectors, cosine).equals(whole)
    half = embedding_column(vectors).to_numpy().astype(np.float64)
    half /= np.linalg.norm(half, axis=1, keepdims=True)
    start = 0
    for sample in samples:
        here = slice(start, start := start + len(sample))
        kept, scores = plain_verdict([f"q{q}" for q, _ in sample], half[here], cosine)
        # Angles drawn exactly onto the cut may fall to either side of it.
        if all(score is None or abs(score - cosine) > 1e-5 for score in scores):
            assert whole["kept"][here].to_list() == kept
            assert whole["score"][here].to_list() == pytest.approx(scores, abs=1e-5)


def test_scores_are_the_same_bits_in_any_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = np.random.default_rng(0).integers(1, 30, 60)
    pairs = toy_pairs([(f"c{c:03d}", f"q{row}", "x") for c, size in enumerate(sizes) for row in range(size)])
    vectors = np.random.default_rng(1).standard_normal((pairs.height, 512))
    whole = verdicts(pairs, vectors, 0.02)
    assert 0 < whole["kept"].sum() < pairs.height
    for rows in (1, 50, 333):
        monkeypatch.setattr(deduplication, "sample_chunks", partial(sample_chunks, rows=rows))
        assert verdicts(pairs, vectors, 0.02).equals(whole)


def test_pairs_without_embeddings_are_an_error() -> None:
    pairs = toy_pairs([("a", "q1", "x"), ("a", "q2", "x"), ("b", "q", "x")])
    vectors = embedded(pairs, np.eye(3))
    with pytest.raises(MisalignedTablesError, match="pair a#1"):
        list(deduplication_verdicts(pairs.lazy(), vectors.filter(pl.col("pair_id") != "a#1"), 0.95))
    with pytest.raises(MisalignedTablesError, match="have no question embedding"):
        list(deduplication_verdicts(pairs.lazy(), vectors.head(0), 0.95))
