"""Whatever is drawn on a card, its picture is small, and its own colours stay."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from spare_assets.pages.card import MOST_BYTES, NORMAL, PAPER, Card, font, shortened


def test_a_card_full_of_noise_gives_way_in_size() -> None:
    card = Card(700)
    noise = np.random.default_rng(0).integers(0, 256, (700, card.width, 3), dtype=np.uint8)
    card.photograph(0, 0, Image.fromarray(noise))
    png = card.png()
    assert len(png) <= MOST_BYTES
    with Image.open(io.BytesIO(png)) as picture:
        assert 300 < picture.width < card.width


def test_paper_beside_a_photograph_stays_white() -> None:
    card = Card(400)
    noise = np.random.default_rng(0).integers(200, 256, (200, 200, 3), dtype=np.uint8)
    card.photograph(20, 20, Image.fromarray(noise))
    with Image.open(io.BytesIO(card.png())) as picture:
        assert picture.convert("RGB").getpixel((500, 300)) == (255, 255, 255)
    assert PAPER == "#ffffff"


def test_lines_are_one_pixel_wherever_they_lie() -> None:
    for y in (10.0, 10.5, 11.5, 11.49):
        card = Card(30, 30)
        card.box(5, y, 25, y + 1, "#000000")
        assert (np.asarray(card.image)[:, 10] == 0).all(axis=1).sum() == 1


def test_shortened_lines_fit() -> None:
    for width in (20, 50, 100, 1_000):
        line = shortened("a line of some words " * 10, width, font(NORMAL))
        assert font(NORMAL).getlength(line) <= width
    assert shortened("whole", 1_000, font(NORMAL)) == "whole"
