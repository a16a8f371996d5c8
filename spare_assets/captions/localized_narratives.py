"""Rows of the Localized Narratives release: JSON lines, captions only or full, over four image sets.

| dataset_id, in any case and with any separators | image set | file | public address |
|---|---|---|---|
| mscoco_train2017, mscoco_val2017 | coco | 12 digits, .jpg | images.cocodataset.org |
| Flick30k_train, flickr30k_val, ... | flickr30k | <image_id>.jpg | none |
| ADE20k_train, ade20k_validation, ... | ade20k | <image_id>.jpg | none |
| open_images_train, openimages_validation, ... | open_images | <image_id>.jpg | the Open Images bucket |

Any other dataset_id is an image set of its own, of which neither file nor address is known. Traces, timed
captions and the voice recording are dropped: they are nearly all of a full file's bytes, and nothing here
reads them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from spare_assets.captions.files import json_object
from spare_assets.captions.image_ids import canonical_image_id
from spare_assets.captions.records import (
    Caption,
    RowError,
    caption_text,
    name_text,
    native_json,
    text_hash,
    word_count,
)

_NEEDED = ("dataset_id", "image_id", "annotator_id", "caption")
_DROPPED = ("timed_caption", "traces", "voice_recording")
_TRACES = re.compile(rb',\s*"timed_caption"\s*:\s*\[')
_WHOLE_TAIL = re.compile(rb'"voice_recording"\s*:\s*"[^"\\]*"\s*\}\s*\Z')
_TAIL_BYTES = 400
_OPEN_IMAGES_ID = re.compile(r"[0-9a-f]{16}", re.ASCII)


class _ImageSet(NamedTuple):
    name: str
    split: str | None
    year: str | None


def narrative_fields(line: bytes) -> dict[str, Any]:
    """The fields of a line; of a full one the traces, and what follows them, are cut out unparsed.

    The cut is made only where the line ends as a full one does, so that a torn line is still found out, and
    only where all that makes a caption stands before it; any other line is parsed whole. Raises RowError
    where it is no object.
    """
    if _WHOLE_TAIL.search(line[-_TAIL_BYTES:]) and (cut := _TRACES.search(line)):
        try:
            fields = json_object(line[: cut.start()] + b"}")
        except RowError:
            fields = {}
        if fields.keys() >= set(_NEEDED):
            return fields
    return json_object(line)


def narrative_reader(source: str, is_new: Callable[[str], bool]) -> Callable[[Mapping[str, Any]], Caption]:
    """A reader of rows that numbers the narratives of one annotator on one image from 0, in file order.

    `is_new` remembers texts and says whether it meets one for the first time. The reader raises RowError
    naming the field that is missing or unfit, or that the very same narrative stood earlier (a
    captions-only file read beside the full one).
    """

    def read(fields: Mapping[str, Any]) -> Caption:
        text = caption_text(fields, "caption")
        dataset, image, annotator = (name_text(fields, name) for name in ("dataset_id", "image_id", "annotator_id"))
        image_set = _image_set(dataset)
        image_file, image_url = _location(image_set, image)
        narrative = f"{source}:{dataset}/{image}/{annotator}"
        if not is_new(f"{narrative}/{text_hash(text)}"):
            raise RowError(f"duplicate of an earlier narrative by annotator {annotator} on image {image}")
        ordinal = 0
        while not is_new(f"{narrative}/{ordinal}"):
            ordinal += 1
        known = image_file is not None
        return Caption(
            caption_id=f"{narrative}/{ordinal}",
            source=source,
            split=image_set.split,
            image_id=canonical_image_id(source, image if known else f"{dataset}/{image}", image_set.name),
            image_set=image_set.name,
            image_file=image_file,
            image_url=image_url,
            caption=text,
            words=word_count(text),
            native=native_json(fields, _NEEDED + _DROPPED),
        )

    return read


def _image_set(dataset: str) -> _ImageSet:
    plain = re.sub(r"[^a-z0-9]", "", dataset.lower())
    split = re.search(r"train|validation|val|test", plain)
    year = re.search(r"(?:train|val|test)(20\d\d)", plain)
    for name, spelling in (
        ("coco", r"(ms)?coco"),
        ("flickr30k", r"flickr?30k"),
        ("ade20k", r"ade20k"),
        ("open_images", r"openimages?"),
    ):
        if re.match(spelling, plain):
            kind = split[0] if split else None
            return _ImageSet(name, "val" if kind == "validation" else kind, year[1] if year else None)
    return _ImageSet(dataset, None, None)


def _location(image_set: _ImageSet, image: str) -> tuple[str | None, str | None]:
    """File name within the image set's folder, and public address, as far as they are known."""
    match image_set.name:
        case "coco":
            if not (image.isascii() and image.isdigit() and len(image) <= 12):
                raise RowError(f"`image_id` {image!r} is no COCO number")
            file = f"{int(image):012d}.jpg"
            # The release names the 2017 splits; those of 2014 name their files otherwise.
            if image_set.split is None or image_set.year != "2017":
                return file, None
            return file, f"http://images.cocodataset.org/{image_set.split}2017/{file}"
        case "flickr30k" | "ade20k":
            return f"{image}.jpg", None
        case "open_images":
            folder = {"train": "train", "val": "validation", "test": "test"}.get(image_set.split or "")
            if folder is None or not _OPEN_IMAGES_ID.fullmatch(image):
                return f"{image}.jpg", None
            return f"{image}.jpg", f"https://s3.amazonaws.com/open-images-dataset/{folder}/{image}.jpg"
    return None, None
