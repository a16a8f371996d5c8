from __future__ import annotations

import numpy as np
import pytest

from spare_assets.quality.embeddings import Workspace, embeddings_of
from spare_assets.quality.samples import MisalignedTablesError
from spare_assets_tests.quality.toy_tables import embedding_column, toy_pairs


def test_every_finite_half_is_widened_exactly() -> None:
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    finite = every[np.isfinite(every)]
    assert len(finite) > 63_000
    single = Workspace().widened(finite.reshape(-1, 2)).ravel()
    assert np.array_equal(single, finite.astype(np.float32))
    assert np.array_equal(np.signbit(single), np.signbit(finite))


def test_a_workspace_serves_blocks_of_any_size() -> None:
    vectors = np.random.default_rng(1).standard_normal((9, 4)).astype(np.float16)
    workspace = Workspace()
    for rows in (np.array([3, 1]), np.array([[8, 0, 2], [5, 5, 7]]), np.array([4])):
        assert np.array_equal(workspace.rows(vectors, rows), vectors[rows].astype(np.float32))


def test_embeddings_are_found_among_others_in_the_order_of_the_pairs() -> None:
    pairs = toy_pairs([("a", f"q{row}", "") for row in range(6)])
    embedded = pairs.select("pair_id").with_columns(embedding_column(np.eye(6)))
    some = pairs[[1, 2, 5]]
    assert np.array_equal(embeddings_of(some, embedded), np.eye(6, dtype=np.float16)[[1, 2, 5]])
    assert np.array_equal(embeddings_of(pairs, embedded), np.eye(6, dtype=np.float16))
    with pytest.raises(MisalignedTablesError, match=r"2 of 6 pairs.*'a'.*pair a#3.*materialize question_embeddings"):
        embeddings_of(pairs, embedded[[0, 1, 2, 4]])
