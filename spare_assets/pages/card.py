"""How every picture on a page looks: dark ink on a light card of its own, readable on light and dark pages alike.

Colours, typefaces, text that fits its place, and the PNG in the end belong here. What a picture shows does not.
"""

from __future__ import annotations

import functools
import importlib.util
import io
import math
from collections.abc import Sequence
from operator import sub
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from spare_assets.pages.markdown_text import visible_line

if TYPE_CHECKING:
    from PIL import Image, ImageFont

PAPER, INK, FAINT, GRID, STRIPE = "#ffffff", "#1f2937", "#64748b", "#e2e8f0", "#f8fafc"
KEPT, DROPPED, UNSCORED, MARKED = "#1d4ed8", "#c2410c", "#94a3b8", "#fde68a"
SERIES = ("#1d4ed8", "#c2410c", "#64748b", "#0f766e", "#7c3aed")
"""Colours of things side by side: blue, orange, grey, green and violet."""

_OWN = (PAPER, INK, FAINT, GRID, KEPT, MARKED)
_NEAR = 8

MOST_BYTES = 200_000
"""Of a picture in metadata, which lies in the instance's database."""

WIDTH = 760
MARGIN = 16
SMALL, NORMAL, LARGE = 11, 12, 14
_READ_CHARACTERS = 4_000

Font: TypeAlias = "ImageFont.FreeTypeFont | ImageFont.ImageFont"
Anchor: TypeAlias = Literal["left", "middle", "right"]
_ANCHORS: dict[Anchor, str] = {"left": "la", "middle": "ma", "right": "ra"}


@functools.cache
def font(size: int = NORMAL, *, bold: bool = False) -> Font:
    """The typeface of all pictures: the one that comes with matplotlib, which knows many scripts."""
    from PIL import ImageFont

    # Found, not imported: matplotlib takes most of a second to load.
    found = importlib.util.find_spec("matplotlib")
    folder = Path(next(iter(found.submodule_search_locations or ()), "")) if found else Path()
    file = folder / "mpl-data" / "fonts" / "ttf" / f"DejaVuSans{'-Bold' if bold else ''}.ttf"
    return ImageFont.truetype(str(file), size) if file.is_file() else ImageFont.load_default(size)


def readable(text: str) -> str:
    """The beginning of a text from outside as one line of characters that can be drawn."""
    return visible_line(text[:_READ_CHARACTERS])


def shortened(text: str, width: float, typeface: Font) -> str:
    """A line, cut to what fits in so many pixels."""
    if typeface.getlength(text) <= width:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if typeface.getlength(f"{text[:middle].rstrip()}…") <= width:
            low = middle
        else:
            high = middle - 1
    return f"{text[:low].rstrip()}…"


class Card:
    """A light card to draw on, in pixels from its upper left corner."""

    def __init__(self, height: int, width: int = WIDTH) -> None:
        from PIL import Image, ImageDraw

        self.image = Image.new("RGB", (width, height), PAPER)
        self.width, self.height = width, height
        self._draw = ImageDraw.Draw(self.image)
        self._photographs = False

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: int = NORMAL,
        colour: str = INK,
        bold: bool = False,
        anchor: Anchor = "left",
        most: float | None = None,
    ) -> float:
        """Draw a line of text, cut to `most` pixels; its top is at y. Returns its width."""
        typeface = font(size, bold=bold)
        line = readable(text)
        line = line if most is None else shortened(line, most, typeface)
        return self.piece(x, y, line, size=size, colour=colour, bold=bold, anchor=anchor)

    def piece(
        self, x: float, y: float, text: str, *, size: int, colour: str, bold: bool = False, anchor: Anchor = "left"
    ) -> float:
        """Draw a piece of a `readable` line as it stands, blanks at its ends included. Returns its width."""
        typeface = font(size, bold=bold)
        self._draw.text((x, y), text, fill=colour, font=typeface, anchor=_ANCHORS[anchor])
        return typeface.getlength(text)

    def box(self, left: float, top: float, right: float, bottom: float, colour: str) -> None:
        """Fill a rectangle; right and bottom are outside it."""
        # Halves go up alike, so that a line of one pixel is one wherever it lies.
        x, y, beyond, below = (math.floor(place + 0.5) for place in (left, top, right, bottom))
        if beyond > x and below > y:
            self._draw.rectangle((x, y, beyond - 1, below - 1), fill=colour)

    def photograph(self, x: int, y: int, picture: Image.Image) -> None:
        """Put a reduced picture in its place."""
        self.image.paste(picture, (x, y))
        self._photographs = True

    def dashes(self, x: float, top: float, bottom: float, colour: str = INK) -> None:
        """A dashed upright line."""
        for start in range(round(top), round(bottom), 7):
            self.box(x - 1, start, x + 1, min(start + 4, bottom), colour)

    def legend(self, x: float, y: float, entries: Sequence[tuple[str, str]]) -> None:
        """Squares of a colour with what it stands for, in a row."""
        for colour, words in entries:
            self.box(x, y + 2, x + 10, y + 12, colour)
            x += 15 + self.text(x + 15, y, words, size=SMALL, most=self.width - x - 15) + 16

    def png(self) -> bytes:
        """The card as PNG of at most `MOST_BYTES`, in 256 colours; smaller where it would pass them."""
        from PIL import Image

        image = self.image
        while len(picture := _encoded(image, self._photographs)) > MOST_BYTES:
            size = (round(image.width * 0.8), round(image.height * 0.8))
            image = image.resize(size, Image.Resampling.LANCZOS)
        return picture


def _encoded(image: Image.Image, photographs: bool) -> bytes:
    """A PNG of 256 colours: the card's own as they are, those of photographs as close as can be."""
    from PIL import Image, ImageColor

    if not photographs:
        reduced = image.quantize(256, dither=Image.Dither.NONE)
    else:
        # Of a few pixels the palette is found ten times faster, and looks the same.
        few = image.resize((image.width // 4 + 1, image.height // 4 + 1), Image.Resampling.NEAREST)
        found = few.quantize(256 - len(_OWN)).getpalette() or []
        own = [ImageColor.getrgb(colour)[:3] for colour in _OWN]
        others = [tuple(found[place : place + 3]) for place in range(0, len(found), 3)]
        # A colour beside one of the card's own would be taken for it.
        apart = [other for other in others if all(max(map(abs, map(sub, other, mine))) > _NEAR for mine in own)]
        palette = Image.new("P", (1, 1))
        palette.putpalette([value for colour in [*own, *apart] for value in colour])
        reduced = image.quantize(palette=palette)
    stored = io.BytesIO()
    reduced.save(stored, format="PNG")
    return stored.getvalue()
