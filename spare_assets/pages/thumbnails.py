"""Reduced pictures, also as data addresses, for pages and metadata that must stand alone.

Which pictures are shown, and around what, is not known here.
"""

from __future__ import annotations

import base64
import contextlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from spare_assets.captions.picture import FORMATS

if TYPE_CHECKING:
    from PIL import Image

SIDE = 320
_MAX_PIXELS = 100_000_000
_FEW_COLOURS = 256


class Thumbnail(NamedTuple):
    """A reduced picture: `data:` address, and its size in pixels."""

    address: str
    width: int
    height: int


def thumbnail(path: Path, side: int = SIDE, max_pixels: int = _MAX_PIXELS) -> Thumbnail | None:
    """A picture reduced to `side` pixels at most, as PNG where it has few colours, else as JPEG; None where
    `reduced` gives none."""
    if (picture := reduced(path, side, max_pixels)) is None:
        return None
    # Drawings and diagrams have few colours, and JPEG frays their lines.
    drawn = picture.getcolors(_FEW_COLOURS) is not None
    buffer = io.BytesIO()
    picture.save(buffer, "png" if drawn else "jpeg", quality=82, optimize=True)
    content = base64.b64encode(buffer.getvalue()).decode()
    return Thumbnail(f"data:image/{'png' if drawn else 'jpeg'};base64,{content}", *picture.size)


def reduced(path: Path, side: int = SIDE, max_pixels: int = _MAX_PIXELS) -> Image.Image | None:
    """A picture as it is seen, reduced to `side` pixels at most; transparency becomes white.

    None where the file is absent, does not decode, or has more than `max_pixels`: a picture that can't be shown is no
    reason to show nothing.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path, formats=FORMATS) as opened:
            if opened.width * opened.height > max_pixels:
                return None
            opened.draft("RGB", (2 * side, 2 * side))
            with contextlib.suppress(Exception):  # damaged EXIF says nothing about the picture
                ImageOps.exif_transpose(opened, in_place=True)
            opened.thumbnail((side, side), Image.Resampling.LANCZOS)
            layers = opened.convert("RGBA")
    except Exception:  # Pillow's decoders raise whatever a damaged file leads them to
        return None
    picture = Image.new("RGB", layers.size, "white")
    picture.paste(layers, mask=layers.getchannel("A"))
    return picture
