"""The ablations: figures worked out by hand, labels of several people, what the paper printed."""

from __future__ import annotations

import polars as pl
import pytest

from spare_assets.analyses.ablations import (
    PEOPLE,
    SCENES,
    TABLE_7,
    TABLE_8,
    Truth,
    agreed_labels,
    by_source,
    caption_sample,
    filter_row,
    filter_table,
    generation_row,
    generation_table,
    scene_labels,
)
from spare_assets.captions.readers import smallest_by_hash
from spare_assets.quality.spatial_verification import JUDGEMENT
from spare_assets.sandbox.corpora import describe, places_stated
from spare_assets.sandbox.scenes import make_scene, scene_seed
from spare_assets.settings import load_settings
from spare_assets.storage.conservation import ConservationError
from spare_assets.storage.schemas import TABLES

USE = {"prompt_tokens": 10.0, "completion_tokens": 20.0, "seconds": 3.0}
CAPTIONS = pl.DataFrame(
    {
        "caption_id": ["s:0", "s:1", "t:0"],
        "source": ["s", "s", "t"],
        "caption": ["A cup is left of a plate.", "Two dogs play.", "A cat sits under a chair."],
    }
)


def pairs_of(*rows: tuple[str, int, str, str]) -> pl.DataFrame:
    schema = TABLES["qa_pairs"].polars()
    full = [(f"p{number}", caption, caption[0], *rest) for number, (caption, *rest) in enumerate(rows)]
    return pl.DataFrame(full, schema=schema, orient="row")


def outcomes_of(*outcomes: str) -> pl.DataFrame:
    return CAPTIONS.head(len(outcomes)).select("caption_id", outcome=pl.Series(outcomes))


def judged(pairs: pl.DataFrame, *said: bool | None) -> pl.DataFrame:
    rows = pairs.select("pair_id", "caption_id", "source", "position").with_columns(
        spatial=pl.Series(said, dtype=pl.Boolean),
        probability=pl.lit(None, dtype=pl.Float32),
        outcome=pl.lit("ok"),
        reason=pl.lit(""),
    )
    return rows.cast(JUDGEMENT)


def verdicts(*kept: bool, outcome: str = "ok") -> pl.DataFrame:
    ids = [f"c{number}" for number in range(len(kept))]
    return pl.DataFrame({"caption_id": ids, "kept": kept, "outcome": [outcome] * len(kept)})


def truth_of(*spatial: bool, weights: list[float] | None = None) -> Truth:
    ids = [f"c{number}" for number in range(len(spatial))]
    return Truth(
        pl.DataFrame({"caption_id": ids, "spatial": spatial, "weight": weights or [1.0] * len(spatial)}), PEOPLE
    )


def test_what_an_engine_wrote_is_counted() -> None:
    pairs = pairs_of(
        ("t:0", 0, "Where is the cat?", "under a chair"),
        ("s:0", 1, "What colour is the cup?", "purple"),
        ("s:0", 0, "What is left of the plate?", "a cup"),
        ("s:0", 2, "Where?", "left"),
    )
    row = generation_row(
        "e", CAPTIONS, outcomes_of("ok", "malformed", "ok"), pairs, judged(pairs, True, False, True, None), USE, 0.5
    )
    assert (row["captions"], row["unusable"], row["pairs"], row["unjudged"]) == (3, 1, 4, 1)
    assert row["pairs_per_caption"] == pytest.approx(4 / 3)
    assert row["spatial_relevance"] == pytest.approx(2 / 3), "of those judged"
    assert row["grounded_share"] == pytest.approx(3 / 4), "nothing purple is in a caption"
    assert row["seconds"] == 3.0


def test_a_lost_caption_or_pair_is_told() -> None:
    pairs = pairs_of(("s:0", 0, "Where?", "left"))
    with pytest.raises(ConservationError, match="e: read 3"):
        generation_row("e", CAPTIONS, outcomes_of("ok", "ok"), pairs, judged(pairs, True), USE, 0.5)
    with pytest.raises(ConservationError, match="1 lost"):
        generation_row("e", CAPTIONS, outcomes_of("ok", "ok", "ok"), pairs, judged(pairs, True).clear(), USE, 0.5)
    with pytest.raises(ConservationError, match="f: read 2"):
        filter_row("f", truth_of(True, False), verdicts(True), 1.0)


def test_an_engine_that_wrote_nothing_has_no_shares() -> None:
    none = pairs_of()
    row = generation_row("e", CAPTIONS, outcomes_of("none", "none", "failed"), none, judged(none), USE, 0.5)
    assert (row["pairs"], row["pairs_per_caption"], row["unusable"]) == (0, 0.0, 1)
    assert row["spatial_relevance"] is None and row["grounded_share"] is None


def test_verdicts_are_held_against_labels() -> None:
    row = filter_row("f", truth_of(True, True, True, False, False), verdicts(True, True, False, True, False), 2.0)
    cells = [row[name] for name in ("true_positives", "false_positives", "false_negatives", "true_negatives")]
    assert cells == [2, 1, 1, 1]
    assert row["accuracy"] == pytest.approx(3 / 5)
    assert row["precision"] == row["recall"] == row["f1"] == pytest.approx(2 / 3)
    assert (row["captions"], row["unreadable"], row["labels"]) == (5, 0, PEOPLE)


def test_a_stratified_sample_counts_by_its_weights() -> None:
    weighted = truth_of(True, True, False, False, weights=[1.0, 9.0, 1.0, 9.0])
    row = filter_row("f", weighted, verdicts(True, False, True, False), 1.0)
    assert (row["true_positives"], row["false_negatives"]) == (1, 1), "counts stay counts"
    assert row["precision"] == pytest.approx(1 / 2)
    assert row["recall"] == pytest.approx(1 / 10)
    assert row["accuracy"] == pytest.approx(10 / 20)
    assert row["f1"] == pytest.approx(2 / (2 + 1 + 9))


def test_shares_of_nothing_are_absent_and_unreadable_replies_are_no() -> None:
    row = filter_row("f", truth_of(False, False), verdicts(False, False, outcome="malformed"), 1.0)
    assert row["precision"] is None and row["recall"] is None and row["f1"] is None
    assert (row["accuracy"], row["unreadable"]) == (1.0, 2)


def test_labels_of_several_people_become_one() -> None:
    labels = pl.DataFrame(
        [
            *(("a", reviewer, vote, 3.0) for reviewer, vote in (("x", True), ("y", True), ("z", False))),
            *(("b", reviewer, vote, 1.0) for reviewer, vote in (("x", True), ("y", False))),
            ("c", "x", False, None),
        ],
        schema={"caption_id": pl.String, "reviewer": pl.String, "spatial": pl.Boolean, "weight": pl.Float64},
        orient="row",
    )
    truth = agreed_labels(labels)
    assert truth.rows.rows() == [("a", True, 3.0), ("c", False, 1.0)]
    assert (truth.labels, truth.divided) == (PEOPLE, 1), "b is left out: they are divided"


def test_the_papers_figures_stand_beside_with_their_origin() -> None:
    measured = generation_row("e", CAPTIONS, outcomes_of("ok", "ok", "ok"), pairs_of(), judged(pairs_of()), USE, 0.5)
    generation = generation_table([measured])
    assert generation.schema == TABLES["generation_ablation"].polars()
    assert generation["kind"].to_list() == ["measured"] + ["reference"] * 4
    assert [row.pairs_per_caption for row in TABLE_7] == [4.8, 13.6, 17, 14]
    assert generation["spatial_relevance"][1:].to_list() == [0.17, 0.93, 0.89, 0.86]
    rows = [filter_row(name, truth_of(True), verdicts(True), seconds) for name, seconds in (("f", 2.0), ("g", 5.0))]
    filters = filter_table(rows)
    assert filters.schema == TABLES["filter_ablation"].polars()
    assert filters["relative_time"].to_list() == [1.0, 2.5, 1.0, 1.26, 1.42, 1.49]
    assert filters["f1"][2:].to_list() == [row.f1 for row in TABLE_8] == [0.33, 0.71, 0.70, 0.73]
    assert filters["origin"][2:].str.contains("Table 8").all() and filters["origin"][:2].null_count() == 2
    assert filter_table([]).height == generation_table([]).height == 4


def test_a_sample_is_a_trial_over_all_sources() -> None:
    small, large = (caption_sample([CAPTIONS.lazy()], count)["caption_id"].to_list() for count in (1, 2))
    assert set(small) < set(large)
    assert large == sorted(smallest_by_hash([CAPTIONS], 2)["caption_id"])
    split = [CAPTIONS.filter(source=source).lazy() for source in ("s", "t")]
    assert caption_sample(split, 2).equals(caption_sample([CAPTIONS.lazy()], 2))
    assert [(source, part.height) for source, part in by_source(CAPTIONS)] == [("s", 2), ("t", 1)]
    assert caption_sample([], 5).is_empty()


def test_the_sandbox_knows_which_of_its_captions_state_a_place() -> None:
    settings = load_settings("sandbox")
    scenes = settings.sources["docci"].scenes
    assert scenes is not None
    stated = places_stated("docci", 40, scenes.seed)
    assert len(stated) == 40 and {True, False} == set(stated.values())
    assert describe("docci", make_scene(scene_seed("docci", scenes.seed, 39))) in stated
    frame = pl.DataFrame({"caption_id": [f"docci:{n}" for n in range(40)], "caption": [*stated]})
    truth = scene_labels({"docci": frame.with_columns(source=pl.lit("docci")).lazy()}, settings)
    assert truth.labels == SCENES, "never taken for people's"
    joined = truth.rows.join(frame, on="caption_id")
    assert joined.height == 40
    assert [stated[caption] for caption in joined["caption"]] == joined["spatial"].to_list()


def test_other_sources_have_no_labels_but_peoples() -> None:
    settings = load_settings("docci")
    truth = scene_labels({"docci": CAPTIONS.with_columns(source=pl.lit("docci")).lazy()}, settings)
    assert truth.rows.is_empty()
