"""One canonical id per picture, equal across captions, sources and benchmarks.

Splits, contamination and training rows go by it, so two rules pull against each other: the same picture
under two names must meet, and two pictures must never. A name is read as another corpus's only where it
can't be anything else.

| written as | id |
|---|---|
| COCO: `COCO_val2014_000000000042.jpg`, `000000000042.jpg` (in addresses too), 42 in a COCO set | `coco:42` |
| Flickr30k set: `36979.jpg`, 36979 | `flickr30k:36979` |
| ADE20K: `ADE_train_00000001.jpg` anywhere | `ade20k:ADE_train_00000001` |
| Open Images set, or its public bucket: `000595fe6fee6369` | `open_images:000595fe6fee6369` |
| a DOCCI release: `test_04551.jpg` | `docci:test_04551` |
| any other address | `url:<hash of the normalised address>` |
| any other file or name of source `mine` | `mine:<name>` |

A bare name of exactly twelve digits ending in .jpg counts as COCO in every source: the corpora built on
COCO keep its names, and nothing else is known to be named so. A bare number does not, outside a COCO set.
"""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from spare_assets.captions.records import text_hash

_COCO_FILE = re.compile(r"(?:COCO_(?:train|val|test)20\d\d_)?(\d{12})\.jpe?g", re.IGNORECASE | re.ASCII)
_COCO_NUMBER = re.compile(r"(?:COCO_(?:train|val|test)20\d\d_)?0*(\d{1,12})(?:\.jpe?g)?", re.IGNORECASE | re.ASCII)
_ADE20K = re.compile(r"(ADE_(?:train|val|test|frame)_[0-9a-z]{8,})(?:\.jpe?g)?", re.ASCII)
_OPEN_IMAGES = re.compile(r"([0-9a-f]{16})(?:\.jpe?g)?", re.IGNORECASE | re.ASCII)
_DOCCI = re.compile(r"((?:qual_)?(?:train|test|dev)_\d{5})(?:\.jpe?g)?", re.ASCII)
_SUFFIX = re.compile(r"\.(?:jpe?g|png|webp|gif|bmp|tiff?)\Z", re.IGNORECASE)
_DEFAULT_PORTS = {"http": 80, "https": 443}


def is_url(reference: str) -> bool:
    """Whether an image reference is a web address rather than a file name."""
    return reference[:8].lower().startswith(("http://", "https://"))


def canonical_image_id(source: str, reference: str, image_set: str = "default") -> str:
    """The id of the picture that a file name, address or native id stands for in an image set of a source."""
    address = _split(reference) if is_url(reference) else None
    path = address.path if address else reference.replace("\\", "/")
    name = path.rsplit("/", 1)[-1]
    if image_set == "coco" and (match := _COCO_NUMBER.fullmatch(name)):
        return f"coco:{int(match[1])}"
    if match := _COCO_FILE.fullmatch(name):
        return f"coco:{int(match[1])}"
    if match := _ADE20K.fullmatch(name):
        return f"ade20k:{match[1]}"
    if image_set in {"flickr30k", "ade20k"}:
        return f"{image_set}:{_SUFFIX.sub('', name)}"
    if image_set == "docci" and (match := _DOCCI.fullmatch(name)):
        return f"docci:{match[1]}"
    in_bucket = address is not None and "open-images-dataset" in f"{address.hostname}{address.path}"
    if (image_set == "open_images" or in_bucket) and (match := _OPEN_IMAGES.fullmatch(name)):
        return f"open_images:{match[1].lower()}"
    if address is not None:
        return f"url:{text_hash(_normalised(address))}"
    return f"{source}:{path.removeprefix('./')}"


def _split(url: str) -> SplitResult | None:
    try:
        address = urlsplit(url)
        _ = address.port  # raises where it is no number
    except ValueError:
        return None
    return address if address.hostname else None


def _normalised(address: SplitResult) -> str:
    """An address without what makes no other picture: scheme, case of the host, default port, fragment."""
    port = "" if address.port in (None, _DEFAULT_PORTS[address.scheme]) else f":{address.port}"
    query = f"?{address.query}" if address.query else ""
    return f"{(address.hostname or '').lower()}{port}{address.path or '/'}{query}"
