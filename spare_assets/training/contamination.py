"""Images of the dataset that a benchmark uses as well: the same canonical id, or the same picture by its hash.

Comparing ids and perceptual hashes, and telling how much of a benchmark could be compared, belong here. Reading
a benchmark's images does not, nor what is done about a match.

**The distance.** Hashes are those of `captions.picture`: 64 bits, of which a picture with any texture sets 32, so
two of them differ in an even number of bits. Over 111 COCO photographs (6,105 pairs of different ones), and over
the sixteen tiles of each as stand-ins for more pictures (1,562,880 pairs of tiles of different photographs):

| at most | different photographs | different tiles | re-encoded at quality 60, or halved | 2 % cropped |
|---|---|---|---|---|
| 0 bits | 0 | 0 | 92 %, 96 % | 26 % |
| 2 bits | 0 | 0 | 100 % | 75 % |
| 4 bits | 0 | 2 | 100 % | 94 % |
| 6 bits | 0 | 3 | 100 % | 99 % |
| 8 bits | 0 | 4 | 100 % | 100 % |
| 10 bits | 0 | 10 | 100 % | 100 % |
| 12 bits | 0 | 31 | 100 % | 100 % |

The nearest two different photographs are 14 bits apart. What decides is the size of the real comparison, some 3e10
pairs, in which each step of two bits lets through tens of times more chance matches: hence 4, not 8.

**Flat pictures.** Where all coefficients behind a hash are alike (one colour, a plain gradient), hardly a bit is set
and every such picture has the same few hashes. A hash with fewer than 16 or more than 48 bits set says nothing
about which picture it is of, and is not compared; those pictures are told by id alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spare_assets.storage.schemas import TABLES

FEWEST_BITS, MOST_BITS = 16, 48
"""Bits that are set in the hash of a picture that is not flat."""

_BLOCK = 65_536
_KEY = TABLES["contaminated_images"].key
_COVERAGE = {"benchmark": pl.String, "hashed": pl.UInt32, "id_only": pl.UInt32, "unreadable": pl.UInt32}


def close_hashes(
    these: NDArray[np.uint64],
    those: NDArray[np.uint64],
    distance: int,
    advance: Callable[[int], object] = lambda compared: None,
) -> Iterator[tuple[int, int, int]]:
    """Pairs of 64-bit hashes that differ in at most `distance` bits: place in `these`, in `those`, bits.

    Every pair is looked at, in blocks that stay in the processor's cache: exact at any distance, and 1.6 million by
    20,000 take about half a minute on one free core. `advance` hears how many of `these` were compared since.
    """
    for start in range(0, len(these), _BLOCK):
        block = these[start : start + _BLOCK]
        differing, bits = np.empty_like(block), np.empty(len(block), dtype=np.uint8)
        for place, other in enumerate(those):
            np.bitwise_xor(block, other, out=differing)
            np.bitwise_count(differing, out=bits)
            if bits.min() <= distance:
                for found in np.flatnonzero(bits <= distance):
                    yield start + int(found), place, int(bits[found])
        advance(len(block))


def contaminated_images(
    images: pl.LazyFrame,
    benchmark_images: pl.LazyFrame,
    distance: int,
    advance: Callable[[int], object] = lambda compared: None,
) -> pl.DataFrame:
    """Rows of `contaminated_images`, sorted by its key: images that share an id or a picture with a benchmark.

    `images` are the `images` tables of all sources, concatenated: an image with several files is compared by each,
    and the smallest distance counts. `match` says hash where the hashes differ in at most `distance` bits and
    neither picture is flat. Some 250 bytes of memory per image of the dataset; `advance` hears how many distinct
    hashes of it were compared since (`distinct_hashes` tells of how many).
    """
    ours = images.select("image_id", ours=_bits()).unique().collect()
    theirs = benchmark_images.select("benchmark", "item", "image_id", theirs=_bits()).collect()
    by_id = theirs.drop_nulls("image_id").join(ours, on="image_id").with_columns(by_id=pl.lit(True))
    by_id = by_id.with_columns(by_hash=pl.lit(False), distance=(pl.col("ours") ^ pl.col("theirs")).bitwise_count_ones())
    these, those = _telling(ours["ours"]), _telling(theirs["theirs"])
    found = list(close_hashes(these.to_numpy(), those.to_numpy(), distance, advance))
    close = pl.DataFrame(found, schema={"here": pl.UInt32, "there": pl.UInt32, "distance": pl.UInt32}, orient="row")
    by_hash = (
        close.select(ours=these.gather(close["here"]), theirs=those.gather(close["there"]), distance="distance")
        .join(ours, on="ours")
        .join(theirs.drop("image_id"), on="theirs")
        .with_columns(by_id=pl.lit(False), by_hash=pl.lit(True))
    )
    columns: list[str | pl.Expr] = [*_KEY, "by_id", "by_hash", pl.col("distance").cast(pl.UInt8)]
    both = pl.col("by_id") & pl.col("by_hash")
    return (
        pl.concat([by_id.select(columns), by_hash.select(columns)])
        .group_by(_KEY)
        .agg(pl.col("by_id", "by_hash").any(), pl.col("distance").min())
        .with_columns(
            match=pl.when(both).then(pl.lit("id and hash")).when("by_id").then(pl.lit("id")).otherwise(pl.lit("hash"))
        )
        .select(TABLES["contaminated_images"].names)
        .sort(_KEY)
    )


def distinct_hashes(images: pl.LazyFrame) -> int:
    """Hashes of the dataset that `contaminated_images` compares, for a progress's total."""
    return len(_telling(images.select(ours=_bits()).collect().to_series()))


def coverage(declared: Iterable[str], benchmark_images: pl.DataFrame) -> pl.DataFrame:
    """How much of each declared benchmark could be compared: counts by status, and `checked`.

    `checked` is yes when every image was hashed or is named as a corpus names it, in part when some were, and no when
    none was: such a benchmark is not checked, and never clean. Names of a benchmark's own compare with nothing.
    """
    status = pl.col("status")
    counted = benchmark_images.group_by("benchmark").agg(
        hashed=(status == "hashed").sum(),
        id_only=(status == "id only").sum(),
        unreadable=(status == "unreadable").sum(),
        comparable=comparable_images().sum(),
        images=pl.len(),
    )
    return (
        pl.DataFrame({"benchmark": list(declared)}, schema={"benchmark": pl.String})
        .join(counted, on="benchmark", how="left", maintain_order="left")
        .with_columns(
            checked=pl.when(pl.col("comparable").fill_null(0) == 0)
            .then(pl.lit("no"))
            .when(pl.col("comparable") < pl.col("images"))
            .then(pl.lit("in part"))
            .otherwise(pl.lit("yes"))
        )
        .with_columns(pl.col("hashed", "id_only", "unreadable").fill_null(0))
        .select(*(pl.col(name).cast(dtype) for name, dtype in _COVERAGE.items()), "checked")
    )


def comparable_images() -> pl.Expr:
    """Whether a row of `benchmark_images` can be compared with the dataset: hashed, or named as a corpus names it."""
    own = pl.col("image_id").str.starts_with(pl.format("{}:", "benchmark")).fill_null(True)
    return (pl.col("status") == "hashed") | ~own


def _bits() -> pl.Expr:
    return pl.col("perceptual_hash").str.to_integer(base=16, dtype=pl.UInt64)


def _telling(hashes: pl.Series) -> pl.Series:
    """The distinct hashes of pictures that are not flat, in order."""
    distinct = hashes.drop_nulls().unique().sort()
    return distinct.filter(distinct.bitwise_count_ones().is_between(FEWEST_BITS, MOST_BITS))
