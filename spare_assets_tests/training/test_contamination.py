from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from spare_assets.captions.picture import examine_picture
from spare_assets.settings import TrainingSettings
from spare_assets.storage.schemas import TABLES
from spare_assets.training import contamination as contamination_module
from spare_assets.training.contamination import close_hashes, contaminated_images, coverage, distinct_hashes

DISTANCE = TrainingSettings.model_fields["hash_distance"].default
SEEN = 0x0123456789ABCDEF
"""A hash of half its bits set, as those of photographs are."""


def images(*rows: tuple[str, str, int | None]) -> pl.LazyFrame:
    named = [(image, source, None if bits is None else f"{bits:016x}") for image, source, bits in rows]
    return pl.LazyFrame(
        named, schema={"image_id": pl.String, "source": pl.String, "perceptual_hash": pl.String}, orient="row"
    )


def benchmark(*rows: tuple[str, str, str | None, int | None]) -> pl.LazyFrame:
    named = [
        (key, item, "id only" if bits is None else "hashed", image, None if bits is None else f"{bits:016x}")
        for key, item, image, bits in rows
    ]
    return pl.LazyFrame(named, schema=TABLES["benchmark_images"].polars(), orient="row")


def test_images_meet_by_id_by_hash_or_by_both() -> None:
    ours = images(
        ("coco:1", "a", SEEN), ("coco:1", "b", SEEN ^ 1), ("coco:2", "a", ~SEEN & 2**64 - 1), ("coco:3", "a", None)
    )
    theirs = benchmark(
        ("vsr", "1", "coco:1", SEEN ^ 0b11),
        ("vsr", "2", "coco:2", None),
        ("vsr", "3", "coco:2", SEEN ^ 0xFF),
        ("mme", "1", None, SEEN ^ 0b111),
        ("mme", "2", "coco:3", SEEN),
        ("mme", "3", "mme:none", None),
    )
    found = contaminated_images(ours, theirs, 4)
    assert found.schema == TABLES["contaminated_images"].polars()
    assert found.rows() == [
        ("coco:1", "mme", "1", "hash", 2),
        ("coco:1", "mme", "2", "hash", 0),
        ("coco:1", "vsr", "1", "id and hash", 1),
        ("coco:2", "vsr", "2", "id", None),
        ("coco:2", "vsr", "3", "id", 56),
        ("coco:3", "mme", "2", "id", None),
    ]
    assert distinct_hashes(ours) == 3


def test_nothing_compared_is_nothing_found() -> None:
    assert contaminated_images(images(), benchmark(), 4).is_empty()
    assert contaminated_images(images(("a", "s", SEEN)), benchmark(), 4).is_empty()
    assert contaminated_images(images(), benchmark(("mme", "1", None, SEEN)), 4).is_empty()


_near = st.builds(lambda base, flip: base ^ flip, st.sampled_from([SEEN, 0, 2**64 - 1]), st.integers(0, 255))
_hashes = st.lists(st.integers(0, 2**64 - 1) | _near, max_size=20)


@given(these=_hashes, those=_hashes, distance=st.integers(0, 64), block=st.sampled_from([1, 3, 100]))
def test_close_hashes_are_those_of_brute_force(these: list[int], those: list[int], distance: int, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contamination_module, "_BLOCK", block)
        compared: list[int] = []
        found = set(close_hashes(_array(these), _array(those), distance, compared.append))
    every = ((a, b, (x ^ y).bit_count()) for a, x in enumerate(these) for b, y in enumerate(those))
    assert found == {row for row in every if row[2] <= distance}
    assert sum(compared) == len(these)


def test_flat_pictures_are_told_by_id_alone(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 255, 80).astype(np.uint8), (60, 1))
    flat = {
        "black": np.zeros((60, 80)),
        "white": np.full((60, 80), 255),
        "grey": np.full((60, 80), 128),
        "across": ramp,
        "down": ramp.T,
    }
    hashes = []
    for name, pixels in flat.items():
        path = tmp_path / f"{name}.png"
        Image.fromarray(pixels.astype(np.uint8)).save(path)
        hashes.append(int(examine_picture(path, 10_000).perceptual_hash, 16))
    ours = images(*((name, "s", bits) for name, bits in zip(flat, hashes, strict=True)))
    theirs = benchmark(*(("mme", name, None, bits) for name, bits in zip(flat, hashes, strict=True)))
    assert contaminated_images(ours, theirs, DISTANCE).is_empty()
    by_id = contaminated_images(ours, benchmark(("mme", "1", "white", hashes[1])), DISTANCE)
    assert by_id.rows() == [("white", "mme", "1", "id", 0)]


def test_a_benchmark_that_could_not_be_compared_is_not_clean() -> None:
    rows = benchmark(
        ("vsr", "1", "coco:1", None),
        ("mme", "1", None, SEEN),
        ("mmmu", "1", None, SEEN),
        ("mmmu", "2", "mmmu:a.png", None),
        ("whats_up_a", "1", "whats_up_a:data/a.jpeg", None),
    ).collect()
    unreadable = pl.DataFrame([("mmmu", "3", "unreadable", None, None)], schema=rows.schema, orient="row")
    found = coverage(["vsr", "whats_up_a", "mme", "mmmu", "textvqa"], rows.vstack(unreadable))
    assert found.rows() == [
        ("vsr", 0, 1, 0, "yes"),
        ("whats_up_a", 0, 1, 0, "no"),
        ("mme", 1, 0, 0, "yes"),
        ("mmmu", 1, 1, 1, "in part"),
        ("textvqa", 0, 0, 0, "no"),
    ]


def test_the_default_distance_tells_real_photographs_apart_and_their_copies_together(
    real_data: Path, tmp_path: Path
) -> None:
    originals, copies = [], {"quality 60": [], "half": [], "2 % cropped": []}  # type: ignore[var-annotated]
    for path in sorted((real_data / "coco_photos").glob("*.jpg")):
        originals.append(_hash(path))
        with Image.open(path) as photo:
            width, height = photo.size
            x, y = width // 100, height // 100
            copies["quality 60"].append(_copied(photo, tmp_path, quality=60))
            copies["half"].append(_copied(photo.resize((width // 2, height // 2)), tmp_path))
            copies["2 % cropped"].append(_copied(photo.crop((x, y, width - x, height - y)), tmp_path))
    photos = _array(originals)
    assert len(photos) == 111
    assert np.all(np.bitwise_count(photos) == 32)
    different = [found for found in close_hashes(photos, photos, DISTANCE + 8) if found[0] != found[1]]
    assert different == [], "no two of 6,105 pairs of photographs, at thrice the default distance"
    hits = {kind: np.mean(np.bitwise_count(photos ^ _array(made)) <= DISTANCE) for kind, made in copies.items()}
    assert hits["quality 60"] == hits["half"] == 1
    assert hits["2 % cropped"] > 0.9


def _hash(path: Path) -> int:
    return int(examine_picture(path, 10**8).perceptual_hash, 16)


def _copied(photo: Image.Image, folder: Path, quality: int = 90) -> int:
    buffer = io.BytesIO()
    photo.convert("RGB").save(buffer, "JPEG", quality=quality)
    (folder / "copy.jpg").write_bytes(buffer.getvalue())
    return _hash(folder / "copy.jpg")


def _array(hashes: list[int]) -> NDArray[np.uint64]:
    return np.array(hashes, dtype=np.uint64)
