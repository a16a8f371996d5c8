"""What a picture file is, told by decoding all of it: hashes, size in pixels, or why it can't be used.

Where a picture lies and where it comes from is not known here. Benchmarks hash their pictures with it as
well, so that hashes compare.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")

Failure = Literal["missing", "unreadable", "refused", "http"]


class PictureError(Exception):
    """A picture can't be had: the status its row gets, why, and the HTTP status where one came."""

    def __init__(self, status: Failure, detail: str, http_status: int | None = None) -> None:
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

    Raises PictureError: `refused` above `max_pixels`, `unreadable` where it is cut, damaged or no JPEG,
    PNG, WebP, GIF, BMP or TIFF.
    """
    import imagehash
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
            file.seek(0)
            with Image.open(file, formats=FORMATS) as image:
                pixels = image.width * image.height
                if pixels > max_pixels:
                    raise PictureError(
                        "refused", f"{image.width} x {image.height} pixels, more than `download.max_pixels`"
                    )
                image.load()
                # Damaged EXIF is common on the web and says nothing about the picture.
                with contextlib.suppress(Exception):
                    ImageOps.exif_transpose(image, in_place=True)
                return Picture(digest, str(imagehash.phash(image)), image.width, image.height, size)
    except PictureError:
        raise
    except Image.DecompressionBombError:
        raise PictureError("refused", "claims more pixels than Pillow opens") from None
    except UnidentifiedImageError:
        raise PictureError("unreadable", f"not a picture of a kind that is read ({', '.join(FORMATS)})") from None
    except Exception as error:  # Pillow's decoders raise whatever a damaged file leads them to
        raise PictureError("unreadable", f"does not decode: {error or type(error).__name__}") from None
