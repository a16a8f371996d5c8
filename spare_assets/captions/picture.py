"""What a picture file is, told by decoding all of it: hashes, size in pixels, or why it can't be used.

Where a picture lies and where it comes from is not known here. Benchmarks hash their pictures with it as
well, so that hashes compare.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
# A progressive JPEG has some ten. Each is decoded over the whole picture, whatever it takes in the file: 100 bytes
# can cost a second.
MAX_JPEG_SCANS = 100
MAX_DETAIL = 500
_SCAN = b"\xff\xda"

Failure = Literal["missing", "unreadable", "refused", "http"]


class PictureError(Exception):
    """A picture can't be had: the status its row gets, why, and the HTTP status where one came."""

    def __init__(self, status: Failure, detail: str, http_status: int | None = None) -> None:
        # Names and headers from outside may be endless, and hold what no table can: half of a surrogate pair.
        detail = detail[:MAX_DETAIL].encode("utf-8", "replace").decode()
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.http_status = http_status


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that decodes: sha256 of its bytes, 64-bit perceptual hash, pixels as seen, bytes."""

    sha256: str
    perceptual_hash: str
    width: int
    height: int
    bytes: int


def examine_picture(path: Path, max_pixels: int) -> Picture:
    """Decode a picture to its last row; of an animation the first frame. Width, height and hash are after
    EXIF rotation.

    Raises PictureError: `refused` above `max_pixels` or `MAX_JPEG_SCANS`, `unreadable` where it is cut,
    damaged or no JPEG, PNG, WebP, GIF, BMP or TIFF, or holds measurements instead of colours.
    """
    import imagehash
    from PIL import Image

    with _refusals(), path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
        file.seek(0)
        with Image.open(file, formats=FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise PictureError("refused", f"{image.width} x {image.height} pixels, more than `download.max_pixels`")
            if image.format in {"JPEG", "MPO"} and _scans(file) > MAX_JPEG_SCANS:
                raise PictureError("refused", f"a JPEG of more than {MAX_JPEG_SCANS} scans, which takes hours")
            seen = _upright(image)
            return Picture(digest, str(imagehash.phash(seen)), seen.width, seen.height, size)


def open_upright(path: Path) -> Image:
    """A picture as models are shown it: turned as its EXIF orientation says (left and right matter here), RGB.

    Raises PictureError.
    """
    from PIL import Image

    with _refusals(), Image.open(path, formats=FORMATS) as image:
        return _upright(image).convert("RGB")


def _upright(image: Image) -> Image:
    """The decoded picture, turned, with eight bits a channel."""
    from PIL import ImageOps
    from PIL.Image import fromarray

    image.load()
    # Damaged EXIF is common on the web and says nothing about the picture.
    with contextlib.suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I;16"):
        # Pillow's own conversion cuts at 255 and leaves white.
        return fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in {"I", "F"}:
        raise PictureError("unreadable", f"measurements of 32 bits a pixel (mode {image.mode}), no colours")
    return image


def _scans(file: BinaryIO) -> int:
    """How many scans a JPEG holds; one more than allowed stands for all that are more."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        found, at = 0, content.find(_SCAN)
        while at >= 0 and found <= MAX_JPEG_SCANS:
            found, at = found + 1, content.find(_SCAN, at + 2)
        return found


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """Turns whatever opening and decoding raises into a PictureError."""
    from PIL import Image, UnidentifiedImageError

    try:
        yield
    except PictureError:
        raise
    except Image.DecompressionBombError:
        raise PictureError("refused", "claims more pixels than Pillow opens") from None
    except UnidentifiedImageError:
        raise PictureError("unreadable", f"not a picture of a kind that is read ({', '.join(FORMATS)})") from None
    except Exception as error:  # Pillow's decoders raise whatever a damaged file leads them to
        raise PictureError("unreadable", f"does not decode: {error or type(error).__name__}") from None
