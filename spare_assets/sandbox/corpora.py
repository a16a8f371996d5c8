"""The three sandbox corpora: scenes described as people would, in three native release formats.

Belongs here: how facts of a scene become captions of three styles, which files each format has, and planted
defects (pictures of another scene, missing and broken ones, unreadable rows). Reading the files does not.
"""

from __future__ import annotations

import gzip
import json
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from spare_assets.engines.rule_based.wording import listed, with_article
from spare_assets.sandbox.rendered_folder import CorpusError, record_of, write_folder
from spare_assets.sandbox.scenes import (
    SIZE,
    Fact,
    Scene,
    SceneObject,
    make_scene,
    render,
    scene_seed,
    spatial_facts,
)

CorpusFormat = Literal["docci", "localized_narratives", "pixmo_cap"]
VERSION = 1
"""Raise it when equal seeds give other files than before: corpora of an older version are written anew."""

PLAIN_SHARE = 0.17
"""Captions that state no place at all."""
DEFECT_SHARES = {"mismatched": 0.04, "missing": 0.02, "broken": 0.02, "unreadable": 0.008}
"""Pictures of another scene, no picture, a file that is no picture, and a caption row that cannot be read."""
IMAGE_HOST = "https://images.sandbox.invalid"
"""Root of the PixMo-Cap image addresses. `.invalid` resolves nowhere: the pictures lie in a local folder."""


@dataclass(frozen=True, slots=True)
class CorpusRecord:
    """How a corpus was made, and the names of its images by the defect planted in them."""

    format: str
    count: int
    seed: int
    version: int
    defects: dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class _Entry:
    """One caption of a corpus: image name without suffix, scene, text, and the planted defect, if any."""

    name: str
    scene: Scene
    caption: str
    defect: str


def write_corpus(corpus_format: CorpusFormat, folder: Path, count: int, seed: int) -> CorpusRecord:
    """Write `count` captioned scenes in a native release format; equal arguments give equal files.

    The corpus appears whole or not at all. Where it already lies with the same format, count, seed and
    version nothing is written; a corpus made otherwise is replaced. Files by format:
    `docci`: docci_descriptions.jsonlines, images/.
    `localized_narratives`: full-file JSON lines flickr30k_train_localized_narratives.jsonl and, gzipped,
    ade20k_train_localized_narratives.jsonl.gz; images/flickr30k/ and images/ade20k/.
    `pixmo_cap`: train-00000-of-00001.parquet; images/, named by the last part of image_url.

    Raises CorpusError for an unknown format, or a folder that holds something that is not a sandbox corpus.
    """
    if corpus_format not in _WRITERS:
        raise CorpusError(f"no sandbox corpus has the format {corpus_format!r}: use {', '.join(_WRITERS)}")
    if record := _recorded(folder, corpus_format, count, seed):
        return record
    entries = _entries(corpus_format, count, seed)
    defects = {defect: [entry.name for entry in entries if entry.defect == defect] for defect in DEFECT_SHARES}
    record = CorpusRecord(corpus_format, count, seed, VERSION, defects)
    write_folder(folder, asdict(record), lambda temporary: _WRITERS[corpus_format](temporary, entries))
    return record


def describe(corpus_format: CorpusFormat, scene: Scene) -> str:
    """A caption of a scene in the style of one corpus; equal scenes give equal captions.

    About one in six says nothing about places (`PLAIN_SHARE`).
    """
    rng = random.Random(f"{corpus_format}:{scene.seed}")
    plain = rng.random() < PLAIN_SHARE
    return _STYLES[corpus_format](rng, scene, plain)


def places_stated(corpus_format: CorpusFormat, count: int, seed: int) -> dict[str, bool]:
    """Of every caption of a corpus whether it states where anything is, by how it was written. Reads no files."""
    stated: dict[str, bool] = {}
    for index in range(count):
        scene = make_scene(scene_seed(corpus_format, seed, index))
        plain = random.Random(f"{corpus_format}:{scene.seed}").random() < PLAIN_SHARE
        stated[describe(corpus_format, scene)] = not plain
    return stated


def _recorded(folder: Path, corpus_format: str, count: int, seed: int) -> CorpusRecord | None:
    """The record of the corpus in a folder, where it was made with these arguments by this version."""
    try:
        record = CorpusRecord(**(record_of(folder) or {}))
    except TypeError:
        return None
    wanted = (corpus_format, count, seed, VERSION)
    return record if (record.format, record.count, record.seed, record.version) == wanted else None


def _entries(corpus_format: CorpusFormat, count: int, seed: int) -> list[_Entry]:
    """All captions of a corpus with exact numbers of defects, spread at random."""
    rng = random.Random(f"{corpus_format}:{seed}:{count}")
    order = rng.sample(range(count), count)
    defects = [""] * count
    for defect, share in DEFECT_SHARES.items():
        for _ in range(round(share * count)):
            defects[order.pop()] = defect
    entries = []
    for index, defect in enumerate(defects):
        scene = make_scene(scene_seed(corpus_format, seed, index))
        entries.append(_Entry(_name(corpus_format, seed, index), scene, describe(corpus_format, scene), defect))
    return entries


def _name(corpus_format: CorpusFormat, seed: int, index: int) -> str:
    """Image name without suffix, in the manner of the original release."""
    match corpus_format:
        case "docci":
            split = "test" if index % 5 == 4 else "train"
            return f"{split}_{index:05d}"
        case "localized_narratives" if index % 2:
            return f"ADE_train_{index:08d}"
        case "localized_narratives":
            return str(1_000_000_000 + seed * 1_000_003 % 900_000_000 + index * 7)
        case "pixmo_cap":
            return f"scene-{seed}-{index:05d}"


def _write_image(folder: Path, corpus_format: CorpusFormat, entry: _Entry) -> None:
    """The picture of one caption, with its planted defect."""
    path = folder / f"{entry.name}.jpg"
    if entry.defect == "missing":
        return
    scene = entry.scene
    if entry.defect == "mismatched":
        scene = make_scene(scene_seed("mismatched", 0, scene.seed % 1_000_000))
    broken = random.Random(entry.scene.seed).choice(("truncated", "page")) if entry.defect == "broken" else ""
    if broken == "page":
        path.write_text("<!DOCTYPE html><title>404</title><p>This picture has moved.</p>\n", encoding="utf-8")
        return
    render(scene).save(path, quality=90, subsampling=0)
    if broken == "truncated":
        os.truncate(path, path.stat().st_size // 3)


def _write_docci(folder: Path, entries: Sequence[_Entry]) -> None:
    images = folder / "images"
    images.mkdir()
    with (folder / "docci_descriptions.jsonlines").open("w", encoding="utf-8") as lines:
        for entry in entries:
            row = {
                "example_id": entry.name,
                "split": entry.name.split("_")[0],
                "image_file": f"{entry.name}.jpg",
                "description": entry.caption,
            }
            _write_image(images, "docci", entry)
            lines.write(_line(row, entry, "description"))


def _write_localized_narratives(folder: Path, entries: Sequence[_Entry]) -> None:
    for image_set in ("flickr30k", "ade20k"):
        (folder / "images" / image_set).mkdir(parents=True)
    # No file name and no clock time inside the archive: equal captions give an equal file.
    with (
        (folder / "flickr30k_train_localized_narratives.jsonl").open("w", encoding="utf-8") as flickr,
        (folder / "ade20k_train_localized_narratives.jsonl.gz").open("wb") as packed,
        gzip.GzipFile(filename="", fileobj=packed, mode="wb", mtime=0) as ade,
    ):
        for entry in entries:
            of_ade = entry.name.startswith("ADE")
            image_set = "ade20k" if of_ade else "flickr30k"
            _write_image(folder / "images" / image_set, "localized_narratives", entry)
            row = {
                # The release itself spells the Flickr set this way.
                "dataset_id": "ADE20k_train" if of_ade else "Flick30k_train",
                "image_id": entry.name,
                "annotator_id": entry.scene.seed % 17,
                "caption": entry.caption,
                **_narration(entry),
            }
            line = _line(row, entry, "caption")
            if of_ade:
                ade.write(line.encode("utf-8"))
            else:
                flickr.write(line)


def _narration(entry: _Entry) -> dict[str, Any]:
    """Spoken sentences with their times in seconds, and the mouse's path over the shapes they name."""
    rng = random.Random(f"narration:{entry.scene.seed}")
    clock, timed, traces = 0.0, [], []
    for sentence in entry.caption.split(". "):
        start, clock = clock, clock + 0.4 * len(sentence.split())
        timed.append(
            {
                "caption": sentence.rstrip(".") + ".",
                "start_time": round(start, 2),
                "end_time": round(clock, 2),
            }
        )
        named = [item for item in entry.scene.objects if item.name in sentence] or list(entry.scene.objects)
        moments = [(item, start + (clock - start) * step / 3) for item in named[:2] for step in range(3)]
        traces.append(
            [
                {
                    "x": round((item.x + rng.randint(-item.radius, item.radius)) / SIZE, 3),
                    "y": round((item.y + rng.randint(-item.radius, item.radius)) / SIZE, 3),
                    "t": round(moment, 2),
                }
                for item, moment in moments
            ]
        )
    return {"timed_caption": timed, "traces": traces, "voice_recording": f"sandbox/{entry.name}.ogg"}


def _write_pixmo_cap(folder: Path, entries: Sequence[_Entry]) -> None:
    import polars as pl

    images = folder / "images"
    images.mkdir()
    rows: dict[str, list[Any]] = {"image_url": [], "caption": [], "transcripts": []}
    for number, entry in enumerate(entries):
        _write_image(images, "pixmo_cap", entry)
        # A Parquet row cannot be cut off as a line can: an unreadable one lacks its caption or its address.
        damaged = entry.defect == "unreadable"
        rows["image_url"].append(None if damaged and number % 2 else f"{IMAGE_HOST}/{entry.name}.jpg")
        rows["caption"].append(None if damaged and not number % 2 else entry.caption)
        rows["transcripts"].append(_transcripts(entry))
    frame = pl.DataFrame(
        {
            "image_url": pl.Series(rows["image_url"], dtype=pl.String),
            "caption": pl.Series(rows["caption"], dtype=pl.String),
            "transcripts": pl.Series(rows["transcripts"], dtype=pl.List(pl.String)),
        }
    )
    frame.write_parquet(folder / "train-00000-of-00001.parquet")


def _transcripts(entry: _Entry) -> list[str]:
    """What three speakers said before their words were joined into the caption."""
    rng = random.Random(f"transcripts:{entry.scene.seed}")
    sentences = entry.caption.split(". ")
    return [
        "um so " + " and then ".join(part.rstrip(".").lower() for part in rng.sample(sentences, len(sentences)))
        for _ in range(3)
    ]


def _line(row: dict[str, Any], entry: _Entry, caption_field: str) -> str:
    """One JSON line; an unreadable one is cut off or lacks its caption."""
    if entry.defect == "unreadable" and entry.scene.seed % 2:
        row = {key: value for key, value in row.items() if key != caption_field}
    text = json.dumps(row, ensure_ascii=False)
    if entry.defect == "unreadable" and not entry.scene.seed % 2:
        text = text[: len(text) // 2]
    return text + "\n"


_WRITERS = {
    "docci": _write_docci,
    "localized_narratives": _write_localized_narratives,
    "pixmo_cap": _write_pixmo_cap,
}

# Words for facts. What they relate to becomes a full noun phrase, never a pronoun: each sentence can be read
# alone.
_RELATION_WORDS: dict[str, tuple[str, ...]] = {
    "left": ("to the left of", "on the left side of", "left of"),
    "right": ("to the right of", "on the right side of", "right of"),
    "above": ("above",),
    "below": ("below", "under", "beneath", "underneath"),
    "next to": ("next to", "beside", "adjacent to"),
    "near": ("near", "close to"),
    "far": ("far from", "far away from"),
    "between": ("between",),
}
_NUMBERS = {2: "two", 3: "three", 4: "four"}


def _objects(rng: random.Random, scene: Scene) -> list[SceneObject]:
    return rng.sample(scene.objects, len(scene.objects))


def _chosen_facts(rng: random.Random, scene: Scene, most: int, regions: int) -> Iterator[Fact]:
    """Up to `most` facts between objects, none about the same objects twice, then up to `regions` places."""
    facts = list(spatial_facts(scene))
    rng.shuffle(facts)
    # What two references pin down, and clear directions, come before looser words of distance.
    facts.sort(key=lambda fact: {"between": 0, "next to": 2, "near": 2, "far": 2}.get(fact.relation, 1))
    seen: set[frozenset[str]] = set()
    for fact in (fact for fact in facts if fact.relation != "region"):
        members = frozenset(item.name for item in (fact.subject, *fact.references))
        if members not in seen and len(seen) < most:
            seen.add(members)
            yield fact
    places = [fact for fact in facts if fact.relation == "region"]
    # A corner says more than an edge: most pictures have something along every edge.
    places.sort(key=lambda fact: "corner" not in fact.region)
    yield from places[:regions]


def _relation_phrase(rng: random.Random, fact: Fact, directly_share: float = 0.0) -> str:
    references = listed([f"the {item.name}" for item in fact.references])
    words = rng.choice(_RELATION_WORDS[fact.relation])
    same_column = fact.references[0].column == fact.subject.column
    if words in {"above", "below"} and same_column and rng.random() < directly_share:
        words = f"directly {words}"
    return f"{words} {references}"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _docci_caption(rng: random.Random, scene: Scene, plain: bool) -> str:
    """Long and precise, American spelling: what is there, how each thing looks, then where it is."""
    objects = _objects(rng, scene)
    names = [with_article(item.name) for item in objects]
    sentences = [
        rng.choice(
            (
                f"A bright, flat digital picture of {listed(names)}",
                f"A flat digital illustration that shows {listed(names)}",
                f"A computer-drawn picture that has {_NUMBERS[len(names)]} flat shapes: {listed(names)}",
            )
        )
    ]
    for item in objects:
        sentences.append(
            rng.choice(
                (
                    f"the {item.name} has clean edges and one solid tone",
                    f"the {item.name} is a flat {item.shape} without any outline",
                    f"the {item.name} is filled evenly with {item.colour}",
                    f"the {item.name} looks crisp and is not textured",
                )
            )
        )
    if not plain:
        for fact in _chosen_facts(rng, scene, most=5, regions=rng.choice((0, 1, 1))):
            sentences.append(_docci_fact(rng, fact))
    sentences.append(
        rng.choice(
            (
                "the backdrop is a pastel gradient of slate blue, pink, mint and cream with fine grain",
                "the backdrop blends slate blue, pink, mint and cream, and the lighting is even",
                "there are no shadows and no text",
            )
        )
    )
    return " ".join(map(_sentence, sentences))


def _docci_fact(rng: random.Random, fact: Fact) -> str:
    subject = fact.subject.name
    if fact.relation == "region":
        return f"the {subject} is {_place_phrase(rng, fact.region, 'image', 'center')}"
    phrase = _relation_phrase(rng, fact, directly_share=0.4)
    if fact.relation in {"left", "right", "above", "below", "between"}:
        return rng.choice(
            (
                f"the {subject} is {phrase}",
                f"the {subject} is placed {phrase}",
                f"the {subject} is positioned {phrase}",
                f"{phrase} is the {subject}",
            )
        )
    return rng.choice((f"the {subject} is {phrase}", f"the {subject} is placed {phrase}"))


def _place_phrase(rng: random.Random, place: str, picture: str, middle: str) -> str:
    if "corner" in place:
        upper = place.replace("top", "upper").replace("bottom", "lower")
        return f"in the {rng.choice((place, place, upper))} of the {picture}"
    if "edge" in place:
        side = place.removesuffix(" edge")
        whole = f"on the {side} side of" if side in {"left", "right"} else f"at the {side} of"
        return rng.choice((f"at the {place} of the {picture}", f"{whole} the {picture}"))
    return rng.choice((f"in the {middle} of the {picture}", f"near the {middle} of the {picture}"))


def _narrative_caption(rng: random.Random, scene: Scene, plain: bool) -> str:
    """Short and spoken, in the manner of someone pointing at things: `In this image I can see ...`."""
    names = [with_article(item.name) for item in _objects(rng, scene)]
    opening = rng.choice(
        ("in this image I can see", "in this picture we can see", "in this image there is", "here I can see")
    )
    sentences = [f"{opening} {listed(names)}"]
    if not plain:
        for fact in _chosen_facts(rng, scene, most=rng.choice((1, 2, 3)), regions=rng.choice((0, 0, 1))):
            sentences.append(_narrative_fact(rng, fact))
    sentences.append(
        rng.choice(
            (
                "the background is colourful",
                "the background is a mix of soft colours",
                "it is an animated picture",
                "the shapes are plain",
            )
        )
    )
    return " ".join(map(_sentence, sentences))


def _narrative_fact(rng: random.Random, fact: Fact) -> str:
    subject = fact.subject.name
    if fact.relation == "region":
        place = _place_phrase(rng, fact.region, "image", "middle")
        return rng.choice((f"{place} there is {with_article(subject)}", f"{place} we can see {with_article(subject)}"))
    phrase = _relation_phrase(rng, fact)
    if fact.relation == "far":
        return f"the {subject} is {phrase}"
    return rng.choice(
        (
            f"there is {with_article(subject)} {phrase}",
            f"{phrase} there is {with_article(subject)}",
            f"{phrase} we can see {with_article(subject)}",
            f"the {subject} is {phrase}",
        )
    )


def _pixmo_caption(rng: random.Random, scene: Scene, plain: bool) -> str:
    """Flowing prose that likes its adjectives."""
    objects = _objects(rng, scene)
    names = [with_article(f"{rng.choice(('bold', 'bright', 'simple', 'neat'))} {item.name}") for item in objects]
    sentences = [
        rng.choice(
            (
                f"this playful digital artwork presents {listed(names)}",
                f"the image captures a minimalist arrangement of {_NUMBERS[len(names)]} geometric shapes: "
                f"{listed(names)}",
                f"this cheerful, abstract composition features {listed(names)}",
            )
        )
    ]
    if not plain:
        facts = list(_chosen_facts(rng, scene, most=4, regions=rng.choice((0, 1))))
        clauses = [_pixmo_fact(rng, fact) for fact in facts]
        while clauses:
            if len(clauses) > 1 and rng.random() < 0.3:
                sentences.append(f"{clauses.pop(0)}, and {clauses.pop(0)}")
            else:
                sentences.append(clauses.pop(0))
    sentences.append(
        rng.choice(
            (
                "a dreamy gradient of slate blue, pink, mint and cream gives the scene a calm mood",
                "soft pastel hues and a hint of film grain lend the artwork a gentle, retro feel",
                "the overall impression is clean, modern and cheerful",
            )
        )
    )
    return " ".join(map(_sentence, sentences))


def _pixmo_fact(rng: random.Random, fact: Fact) -> str:
    subject = fact.subject.name
    if fact.relation == "region":
        return f"the {subject} sits {_place_phrase(rng, fact.region, 'frame', 'center')}"
    phrase = _relation_phrase(rng, fact)
    return f"the {subject} {rng.choice(('sits', 'rests', 'is located', 'is', 'floats', 'appears'))} {phrase}"


_STYLES = {
    "docci": _docci_caption,
    "localized_narratives": _narrative_caption,
    "pixmo_cap": _pixmo_caption,
}
