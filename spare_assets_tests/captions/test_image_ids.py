"""Canonical image ids: one picture, one id; two pictures, two ids."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spare_assets.captions.image_ids import canonical_image_id, is_url


@pytest.mark.parametrize(
    ("reference", "image_set"),
    [
        ("COCO_val2014_000000000042.jpg", "default"),
        ("COCO_train2014_000000000042.JPG", "default"),
        ("000000000042.jpg", "default"),
        ("val2017/000000000042.jpg", "default"),
        ("http://images.cocodataset.org/val2017/000000000042.jpg", "default"),
        ("https://images.cocodataset.org/train2014/COCO_train2014_000000000042.jpg?x=1#y", "default"),
        ("http://s3.us-east-1.amazonaws.com/images.cocodataset.org/train2017/000000000042.jpg", "default"),
        ("42", "coco"),
        ("000000000042", "coco"),
        ("COCO_val2014_000000000042", "coco"),
    ],
)
def test_coco_names_meet(reference: str, image_set: str) -> None:
    assert canonical_image_id("mine", reference, image_set) == "coco:42"


@pytest.mark.parametrize(
    ("reference", "image_set", "expected"),
    [
        ("42", "default", "mine:42"),
        ("000000000042", "default", "mine:000000000042"),
        ("000000000042.png", "default", "mine:000000000042.png"),
        ("0000000000042.jpg", "default", "mine:0000000000042.jpg"),
        ("36979.jpg", "flickr30k", "flickr30k:36979"),
        ("36979.jpg", "default", "mine:36979.jpg"),
        ("training/street/ADE_train_00000001.jpg", "default", "ade20k:ADE_train_00000001"),
        ("ADE_val_00000001", "ade20k", "ade20k:ADE_val_00000001"),
        ("000595FE6FEE6369.jpg", "open_images", "open_images:000595fe6fee6369"),
        ("000595fe6fee6369.jpg", "default", "mine:000595fe6fee6369.jpg"),
        (
            "https://s3.amazonaws.com/open-images-dataset/train/000595fe6fee6369.jpg",
            "default",
            "open_images:000595fe6fee6369",
        ),
        (
            "https://open-images-dataset.s3.amazonaws.com/train/000595fe6fee6369.jpg",
            "default",
            "open_images:000595fe6fee6369",
        ),
        ("test_04551.jpg", "docci", "docci:test_04551"),
        ("qual_dev_00012.jpg", "docci", "docci:qual_dev_00012"),
        ("scene_1.png", "docci", "mine:scene_1.png"),
        ("test_04551.jpg", "default", "mine:test_04551.jpg"),
        ("./cats/1.jpg", "default", "mine:cats/1.jpg"),
        ("dogs/1.jpg", "default", "mine:dogs/1.jpg"),
    ],
)
def test_names_keep_apart_what_may_differ(reference: str, image_set: str, expected: str) -> None:
    assert canonical_image_id("mine", reference, image_set) == expected


def test_addresses_of_one_picture_meet() -> None:
    same = ["http://Example.org/a.jpg", "https://example.org:443/a.jpg", "https://EXAMPLE.org/a.jpg#top"]
    other = [
        "https://example.org/A.jpg",
        "https://example.org/a.jpg?size=2",
        "https://example.org:8080/a.jpg",
    ]
    ids = [canonical_image_id("mine", url) for url in same + other]
    assert len(set(ids[:3])) == 1
    assert len(set(ids)) == 4
    assert canonical_image_id("theirs", same[0]) == ids[0]


@given(st.text(), st.sampled_from(["default", "coco", "flickr30k", "ade20k", "open_images", "docci"]))
def test_any_reference_has_an_id(reference: str, image_set: str) -> None:
    assert ":" in canonical_image_id("mine", reference, image_set)
    assert ":" in canonical_image_id("mine", f"https://{reference}", image_set)
    assert is_url(f"HTTPS://{reference}")
