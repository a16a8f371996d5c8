from __future__ import annotations

from functools import partial

import numpy as np
import polars as pl
import pytest

from spare_assets.quality import alignment
from spare_assets.quality.alignment import Mode, alignment_verdicts
from spare_assets.quality.samples import MisalignedTablesError, sample_chunks
from spare_assets.storage.schemas import TABLES
from spare_assets_tests.quality.toy_tables import embedding_column, toy_pairs

# One pair each, all with the same question vector; b and c show the same image, h one that is no longer usable.
PAIRS = toy_pairs([(caption, f"Where is {caption}?", "x") for caption in "abcdefgh"])
QUESTIONS = PAIRS.select("pair_id", "caption_id", "position").with_columns(embedding_column([[1.0, 0.0]] * 8))
IMAGES = pl.DataFrame({"image_id": ["i1", "i0", "i2", "i5"]}).with_columns(
    embedding_column([[0.2, 0.98], [0.6, 0.8], [-0.6, 0.8], [1.0, 0.0]])
)
LISTED = pl.DataFrame(
    [
        ("a", "i0", "ok"),
        ("b", "i1", "ok"),
        ("c", "i1", "ok"),
        ("d", "i2", "ok"),
        ("e", "i3", "missing"),
        ("f", "i4", "ok"),
        ("g", None, None),
        ("h", "i5", "refused"),
    ],
    ["caption_id", "image_id", "status"],
    orient="row",
)


def verdicts(
    mode: Mode = "required", minimum: float = 0.25, weight: float = 1.0, pairs: pl.DataFrame = PAIRS
) -> pl.DataFrame:
    found = pl.concat(
        alignment_verdicts(
            pairs.lazy(),
            QUESTIONS.lazy(),
            IMAGES.lazy(),
            LISTED.lazy(),
            mode=mode,
            minimum=minimum,
            weight=weight,
        )
    )
    assert found.schema == TABLES["alignment_verdicts"].polars()
    return found


def test_pairs_are_kept_from_the_cut_off_on() -> None:
    found = verdicts()
    assert found["score"].to_list() == pytest.approx([0.6, 0.2, 0.2, -0.6, None, None, None, None], abs=1e-3)
    assert found["kept"].to_list() == [True, *[False] * 7]
    assert found["threshold"].unique().to_list() == [0.25]
    assert found["reason"].to_list() == [
        "",
        *["question does not fit the image"] * 3,
        "no image: missing",
        "no image: not embedded",
        "no image: unknown",
        "no image: refused",
    ]
    assert verdicts(minimum=found.item(1, "score"))["kept"].to_list() == [True, True, True, *[False] * 5]


def test_pairs_without_an_image_may_pass_unscored() -> None:
    found = verdicts("when_image_present")
    assert found["score"].equals(verdicts()["score"])
    assert found["kept"].to_list() == [True, False, False, False, True, True, True, True]
    assert found["reason"].to_list()[4:] == [
        "passed unscored: missing",
        "passed unscored: not embedded",
        "passed unscored: unknown",
        "passed unscored: refused",
    ]


def test_off_passes_everything_unscored() -> None:
    found = verdicts("off")
    assert found["kept"].all()
    assert found.select("score", "threshold").unique().rows() == [(None, None)]
    assert found["reason"].unique().to_list() == ["passed unscored: alignment off"]


def test_a_weight_stretches_the_cosine_and_cuts_it_at_zero() -> None:
    found = verdicts(weight=2.5)
    assert found["score"].to_list()[:4] == pytest.approx([1.5, 0.5, 0.5, 0.0], abs=5e-3)
    assert found["kept"].to_list()[:4] == [True, True, True, False]


def test_question_embeddings_may_hold_more_pairs() -> None:
    some = PAIRS[[0, 3, 4]]
    assert verdicts(pairs=some).equals(verdicts()[[0, 3, 4]])
    assert (
        list(
            alignment_verdicts(
                PAIRS.head(0).lazy(),
                QUESTIONS.lazy(),
                IMAGES.lazy(),
                LISTED.lazy(),
                mode="required",
                minimum=0.2,
            )
        )
        == []
    )


def test_scores_are_cosines_and_the_same_bits_in_any_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = np.random.default_rng(2)
    sizes = chance.integers(1, 20, 200)
    pairs = toy_pairs([(f"c{c:03d}", f"q{row}", "x") for c, size in enumerate(sizes) for row in range(size)])
    questions = pairs.select("pair_id", "caption_id").with_columns(
        embedding_column(chance.standard_normal((pairs.height, 512)))
    )
    image_ids = [f"i{c}" for c in chance.permutation(200)]
    images = pl.DataFrame({"image_id": image_ids}).with_columns(embedding_column(chance.standard_normal((200, 512))))
    listed = pl.DataFrame(
        {"caption_id": [f"c{c:03d}" for c in range(200)], "image_id": [f"i{c}" for c in range(200)]}
    ).with_columns(status=pl.lit("ok"))

    def scored() -> pl.DataFrame:
        tables = (table.lazy() for table in (pairs, questions, images, listed))
        return pl.concat(alignment_verdicts(*tables, mode="required", minimum=0.0))

    whole = scored()
    of_pair = pairs.join(listed, on="caption_id", maintain_order="left").join(
        images, on="image_id", maintain_order="left"
    )
    seen, asked = (table["embedding"].to_numpy().astype(np.float64) for table in (of_pair, questions))
    cosines = (seen * asked).sum(1) / np.linalg.norm(seen, axis=1) / np.linalg.norm(asked, axis=1)
    assert np.allclose(whole["score"].to_numpy(), cosines, atol=1e-6)
    for rows in (1, 100, 999):
        monkeypatch.setattr(alignment, "sample_chunks", partial(sample_chunks, rows=rows))
        assert scored().equals(whole)


def test_tables_that_do_not_fit_are_an_error() -> None:
    def judge(questions: pl.DataFrame, images: pl.DataFrame) -> None:
        tables = (table.lazy() for table in (PAIRS, questions, images, LISTED))
        list(alignment_verdicts(*tables, mode="required", minimum=0.25))

    with pytest.raises(MisalignedTablesError, match=r"pair b#0.*materialize question_embeddings"):
        judge(QUESTIONS.filter(pl.col("caption_id") != "b"), IMAGES)
    wide = IMAGES.select("image_id").with_columns(embedding_column(np.eye(4, 3)))
    with pytest.raises(MisalignedTablesError, match="2 numbers wide and image embeddings 3"):
        judge(QUESTIONS, wide)


def test_no_image_at_all_needs_no_embeddings() -> None:
    nothing = TABLES["image_embeddings"].empty()
    found = pl.concat(
        alignment_verdicts(
            PAIRS.lazy(),
            QUESTIONS.lazy(),
            nothing.lazy(),
            LISTED.lazy(),
            mode="when_image_present",
            minimum=0.25,
        )
    )
    assert found["kept"].all()
    assert found["score"].is_null().all()
