"""The sample's size, its shares by source, and that it is drawn the same again, a larger one holding a smaller."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spare_assets.review.items import items, sample_hash
from spare_assets.review.sampling import apportion, draw_captions, draw_pairs, halves, rounded_size, sample_size
from spare_assets.settings import ReviewSettings
from spare_assets.storage.schemas import TABLES

POPULATIONS = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 300), max_size=6)


def test_the_papers_numbers() -> None:
    assert sample_size(455_494) == 384
    assert rounded_size(455_494, ReviewSettings()) == 400
    assert rounded_size(455_494, ReviewSettings(round_up_to=1)) == 384


def test_the_finite_population_correction_by_hand() -> None:
    # 384.16 without correction; 1000 * 0.9604 / (0.0025 * 999 + 0.9604) = 277.7
    assert sample_size(10**12) == 385
    assert sample_size(1000) == 278
    assert sample_size(1000, margin=0.1) == 88
    # 15 * 0.9604 / (0.01 * 14 + 0.9604) = 13.09; with 15 in the place of 14 it would be 12.98
    assert sample_size(15, margin=0.1) == 14
    assert sample_size(1000, proportion=0.04) == 56
    assert (sample_size(1), sample_size(0)) == (1, 0)


@given(st.integers(0, 10**7), st.integers(1, 1000))
def test_never_more_than_there_is_and_never_less_than_asked(population: int, multiple: int) -> None:
    size = rounded_size(population, ReviewSettings(round_up_to=multiple))
    assert sample_size(population) <= size <= population
    assert size == population or size % multiple == 0


def test_shares_follow_the_sources() -> None:
    # The samples of the paper's Table 1 come close to these proportions.
    seats = apportion(400, {"docci": 14_000, "localized_narratives": 210_000, "pixmo_cap": 231_494})
    assert seats == {"docci": 12, "localized_narratives": 185, "pixmo_cap": 203}


def test_a_source_that_is_there_has_one_at_least() -> None:
    assert apportion(10, {"large": 100_000, "small": 1, "none": 0}) == {"large": 9, "small": 1, "none": 0}
    assert apportion(1, {"large": 9, "small": 1}) == {"large": 1, "small": 0}


@given(POPULATIONS, st.integers(0, 400))
def test_seats_add_up_and_a_larger_size_takes_nothing_away(populations: dict[str, int], size: int) -> None:
    seats, more = apportion(size, populations), apportion(size + 1, populations)
    total = sum(populations.values())
    assert sum(seats.values()) == min(size, total)
    for name, population in populations.items():
        assert seats[name] <= more[name] <= population
        assert seats[name] >= 1 or not population or size < len(populations)
        if total and size >= len(populations):
            assert abs(seats[name] - min(size, total) * population / total) <= len(populations)


def test_largest_remainders_would_take_a_seat_away() -> None:
    """Why seats are not counted by largest remainders: the third source would have 2 of 10, but 1 of 11."""
    populations = {"a": 6, "b": 6, "c": 2}

    def by_remainders(size: int) -> dict[str, int]:
        shares = {name: size * count / 14 for name, count in populations.items()}
        seats = {name: int(share) for name, share in shares.items()}
        rest = sorted(shares, key=lambda name: seats[name] - shares[name])[: size - sum(seats.values())]
        return {name: seats[name] + (name in rest) for name in populations}

    assert (by_remainders(10)["c"], by_remainders(11)["c"]) == (2, 1)
    assert apportion(10, populations)["c"] <= apportion(11, populations)["c"]


@given(st.integers(0, 60), st.integers(0, 40), st.integers(0, 40))
def test_halves(size: int, spatial: int, others: int) -> None:
    chosen = halves(size, spatial, others)
    assert sum(chosen) == min(size, spatial + others)
    assert abs(chosen[0] - chosen[1]) <= 1 or chosen[0] == spatial or chosen[1] == others
    more = halves(size + 1, spatial, others)
    assert chosen[0] <= more[0] and chosen[1] <= more[1]


def dataset(folder: Path, samples: dict[str, int], pairs: int = 3) -> Path:
    """A `spare_dataset` file with so many samples of each source; caption number n holds 1 to `pairs` pairs."""
    rows = [
        {
            "caption_id": f"{source}:{number:04}",
            "source": source,
            "split": None,
            "image_id": f"{source}-{number}",
            "image_path": f"/images/{source}-{number}.jpg" if number % 2 else None,
            "image_sha256": "",
            "caption": f"Caption {number} of {source}.",
            "pairs": [
                {
                    "pair_id": f"{source}-{number:04}-{place}",
                    "question": f"Where is cup {place}?",
                    "answer": "To the left of the plate, between two forks",
                    "alignment_score": 0.3,
                }
                for place in range(1 + number % pairs)
            ],
        }
        for source, count in samples.items()
        for number in range(count)
    ]
    path = folder / "all.parquet"
    pl.DataFrame(rows, schema=TABLES["spare_dataset"].polars()).sort("caption_id").write_parquet(path)
    return path


def test_a_drawn_pair_with_all_that_is_shown_of_it(tmp_path: Path) -> None:
    drawn = draw_pairs(dataset(tmp_path, {"docci": 5, "iiw": 2}), ReviewSettings(), tmp_path)
    assert drawn.height == 7 and sorted(drawn["place"]) == list(range(1, 8))
    assert drawn["pair_id"].is_sorted()
    for row in drawn.iter_rows(named=True):
        source, number, place = row["pair_id"].split("-")
        assert row["caption_id"] == f"{source}:{number}" and row["source"] == source
        assert row["caption"] == f"Caption {int(number)} of {source}."
        assert row["image_path"] == (f"/images/{source}-{int(number)}.jpg" if int(number) % 2 else None)
        assert row["question"] == f"Where is cup {place}?"
        assert row["relations"] == ["left", "between"], "in the order of Table 11"
        assert row["weight"] == 1.0


def test_sources_have_their_share_and_no_caption_comes_twice(tmp_path: Path) -> None:
    path = dataset(tmp_path, {"large": 900, "small": 100, "one": 1})
    review = ReviewSettings(round_up_to=1, margin=0.1)
    drawn = draw_pairs(path, review, tmp_path)
    assert drawn.height == sample_size(1001, margin=0.1) == 88
    assert Counter(drawn["source"]) == {"large": 78, "small": 9, "one": 1}
    assert drawn["caption_id"].is_unique().all()
    assert dict(drawn.select("source", "weight").unique().iter_rows()) == {
        "large": pytest.approx(900 / 78),
        "small": pytest.approx(100 / 9),
        "one": 1.0,
    }
    assert draw_pairs(path, review, tmp_path).equals(drawn), "drawn the same again"
    other = draw_pairs(path, ReviewSettings(round_up_to=1, margin=0.1, seed=1), tmp_path)
    assert set(other["pair_id"]) != set(drawn["pair_id"])


def test_captions_with_many_pairs_are_drawn_no_sooner(tmp_path: Path) -> None:
    path = dataset(tmp_path, {"a": 3000}, pairs=3)
    by_caption = draw_pairs(path, ReviewSettings(margin=0.03, round_up_to=1), tmp_path)
    by_pair = draw_pairs(path, ReviewSettings(margin=0.03, round_up_to=1, unit="pair"), tmp_path)

    def mean_pairs(drawn: pl.DataFrame) -> float:
        return sum(1 + int(caption.split(":")[1]) % 3 for caption in drawn["caption_id"]) / drawn.height

    # Captions hold 2 pairs on average; one that a random pair belongs to (1 + 4 + 9) / 6 = 2.33.
    assert mean_pairs(by_caption) == pytest.approx(2, abs=0.1)
    assert mean_pairs(by_pair) == pytest.approx(14 / 6, abs=0.1)
    assert by_pair.height == sample_size(6000, margin=0.03)
    assert {place for _, _, place in (pair.split("-") for pair in by_caption["pair_id"])} == {"0", "1", "2"}


@settings(max_examples=15, deadline=None)
@given(
    st.dictionaries(st.sampled_from("abc"), st.integers(1, 40), min_size=1),
    st.sampled_from(["sample", "pair"]),
    st.floats(0.05, 0.9),
    st.floats(0.05, 0.9),
)
def test_a_larger_sample_holds_every_smaller_one(
    tmp_path_factory: pytest.TempPathFactory, samples: dict[str, int], unit: str, one: float, other: float
) -> None:
    folder = tmp_path_factory.mktemp("nested")
    path = dataset(folder, samples)
    large, small = (
        draw_pairs(path, ReviewSettings.model_validate({"unit": unit, "margin": margin, "round_up_to": 1}), folder)
        for margin in sorted((one, other))
    )
    assert set(small["pair_id"]) <= set(large["pair_id"])
    order = large.sort("place")["pair_id"].to_list()
    assert [pair for pair in order if pair in set(small["pair_id"])] == small.sort("place")["pair_id"].to_list()


def captions_and_verdicts(folder: Path, source: str, kept: int, others: int, failed: int) -> tuple[pl.LazyFrame, Path]:
    outcomes = [(True, "ok")] * kept + [(False, "ok")] * others + [(False, "failed")] * failed
    captions = [{"caption_id": f"{source}:{n:03}", "source": source, "caption": f"T{n}"} for n in range(len(outcomes))]
    verdicts = [
        caption | {"kept": keep, "score": None, "threshold": None, "outcome": outcome, "reason": ""}
        for caption, (keep, outcome) in zip(captions, outcomes, strict=True)
    ]
    path = folder / f"source={source}.parquet"
    schema = TABLES["caption_verdicts"]
    pl.DataFrame(
        [{name: row[name] for name in schema.names} for row in verdicts], schema=schema.polars()
    ).write_parquet(path)
    return pl.DataFrame(captions).lazy(), path


def test_captions_come_half_from_each_verdict(tmp_path: Path) -> None:
    tables = [captions_and_verdicts(tmp_path, "a", 60, 10, 5), captions_and_verdicts(tmp_path, "b", 20, 30, 5)]
    frames, paths = [frame for frame, _ in tables], [path for _, path in tables]
    drawn = draw_captions(frames, paths, ReviewSettings(captions=30), tmp_path)
    by_verdict = dict(
        drawn.group_by("judged_spatial").agg(pl.len(), pl.col("weight").first()).rows_by_key("judged_spatial")
    )
    assert by_verdict == {True: [(15, pytest.approx(80 / 15))], False: [(15, pytest.approx(40 / 15))]}
    assert drawn["weight"].sum() == pytest.approx(120), "all captions that were judged, and none that failed"
    assert drawn["caption_id"].is_sorted() and sorted(drawn["place"]) == list(range(1, 31))
    assert set(drawn["source"]) == {"a", "b"}
    smaller = draw_captions(frames, paths, ReviewSettings(captions=11), tmp_path)
    assert set(smaller["caption_id"]) < set(drawn["caption_id"])
    all_ = draw_captions(frames, paths, ReviewSettings(captions=500), tmp_path)
    assert all_.height == 120 and set(all_["weight"]) == {1.0}
    mixed = drawn.sort("place")["judged_spatial"].to_list()
    assert mixed not in (sorted(mixed), sorted(mixed, reverse=True)), "a reviewer can't tell by the place"


def test_nothing_to_draw_from(tmp_path: Path) -> None:
    pairs = draw_pairs(dataset(tmp_path, {}), ReviewSettings(), tmp_path)
    captions = draw_captions([], [], ReviewSettings(), tmp_path)
    none, verdicts = captions_and_verdicts(tmp_path, "a", 3, 3, 0)
    assert draw_captions([none], [verdicts], ReviewSettings(captions=0), tmp_path).is_empty()
    assert pairs.is_empty() and captions.is_empty()
    assert pairs.schema == TABLES["review_sample"].polars()
    assert items(pairs, captions).is_empty() and sample_hash(items(pairs, captions))
