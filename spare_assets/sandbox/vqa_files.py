"""Question files of the sandbox: what other datasets ask, in the annotation formats they are released in.

Belongs here: how often which relation is asked about, and how each format writes it down. No picture is drawn: these
files are counted, not asked. Most questions are not about space, and of those that are most are about few relations.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from spare_assets.engines.rule_based.wording import with_article
from spare_assets.sandbox.rendered_folder import CorpusError, record_of, write_folder
from spare_assets.sandbox.scenes import COLOURS, SHAPES
from spare_assets.settings import Home, VqaDataset

VERSION = 1
"""Raise it when equal seeds give other files than before: files of an older version are written anew."""
RELATIONS: Mapping[str, int] = {
    "to the right of": 215,
    "to the left of": 195,
    "on": 130,
    "under": 80,
    "in front of": 35,
    "behind": 25,
    "above": 22,
    "next to": 12,
    "near": 8,
    "between": 3,
    "inside": 3,
    "facing": 2,
    "beneath": 1,
    "across from": 1,
    "opposite": 1,
    "surrounding": 1,
}
"""Relations and how often they are asked about, to each other."""
_SPATIAL_SHARE = 0.15
_COLOURS = tuple(COLOURS)
_IMAGES = "images.sandbox.invalid"


def ensure_rendered(key: str, dataset: VqaDataset, home: Home) -> None:
    """Write a dataset of questions where the profile asks for one and it isn't there yet.

    Raises CorpusError where its folder holds something else.
    """
    if dataset.scenes is not None:
        path = home.resolve(dataset.files[0])
        write_questions(key, dataset.format, path, dataset.scenes.count, dataset.scenes.seed)


def write_questions(key: str, form: str, path: Path, count: int, seed: int) -> None:
    """Write `count` questions in a dataset's format to `path`, in a folder of its own.

    Equal arguments give equal files; where they lie already nothing is written. Raises CorpusError where the folder
    holds something else.
    """
    record = {"dataset": key, "format": form, "count": count, "seed": seed, "version": VERSION, "file": path.name}
    found = record_of(path.parent)
    if found is not None and found.get("dataset") != key:
        raise CorpusError(
            f"{path.parent} holds other files, of {found.get('dataset') or found.get('format')}: give {key} a folder "
            f"of its own (setting `analyses.vqa.{key}.files`)"
        )
    if found != record or not path.is_file():
        rng = random.Random(f"{key}:{seed}")
        write_folder(path.parent, record, lambda folder: _WRITERS[form](folder / path.name, count, rng))


def _vqav2(path: Path, count: int, rng: random.Random) -> None:
    questions = [
        {"image_id": 1 + number // 3, "question": _question(rng)[0], "question_id": 1000 * (1 + number // 3) + number}
        for number in range(count)
    ]
    _write_document(path, {"info": {"version": "2.0"}, "task_type": "Open-Ended", "questions": questions})


def _gqa(path: Path, count: int, rng: random.Random) -> None:
    document = {}
    for number in range(count):
        question, answer = _question(rng)
        document[f"{number:08d}"] = {"imageId": str(number // 5), "question": question, "answer": answer}
    _write_document(path, document)


def _visual7w(path: Path, count: int, rng: random.Random) -> None:
    images = []
    for start in range(0, count, 4):
        pairs = []
        for number in range(start, min(start + 4, count)):
            question, answer = _question(rng)
            others = rng.sample([colour for colour in _COLOURS if colour != answer], 3)
            pairs.append(
                {"qa_id": number, "question": question, "answer": answer, "multiple_choices": others, "type": "telling"}
            )
        images.append({"image_id": start, "filename": f"v7w_{start}.jpg", "split": "train", "qa_pairs": pairs})
    _write_document(path, {"dataset": "visual7w-telling", "boxes": [], "images": images})


def _vsr(path: Path, count: int, rng: random.Random) -> None:
    def records() -> Iterator[dict[str, Any]]:
        for number in range(count):
            relation, name = _relation(rng), f"{number:06d}.jpg"
            statement = f"The {_thing(rng)} is {relation} the {_thing(rng)}."
            yield {
                "image": name,
                "image_link": f"https://{_IMAGES}/{name}",
                "caption": statement,
                "label": rng.randrange(2),
                "relation": relation.removeprefix("to the "),
            }

    _write_lines(path, records())


def _hateful_memes(path: Path, count: int, rng: random.Random) -> None:
    # Our own memes are harmless: what is counted is that they say nothing of space.
    sayings = (
        "{} on a monday morning",
        "nobody: ... {}:",
        "when {} says hello",
        "{} be like: one more cup",
        "i see {}",
    )
    _write_lines(
        path,
        (
            {
                "id": 10_000 + number,
                "img": f"img/{10_000 + number}.png",
                "label": 0,
                "text": rng.choice(sayings).format(with_article(_thing(rng))),
            }
            for number in range(count)
        ),
    )


def _conversations(path: Path, count: int, rng: random.Random) -> None:
    def records() -> Iterator[dict[str, Any]]:
        for number in range(count):
            there = rng.random() < 0.5
            turns = [
                {"from": "human", "value": f"<image>\nIs there {with_article(_thing(rng))} in the image?"},
                {"from": "gpt", "value": "Yes" if there else "No"},
            ]
            yield {"id": number, "image": f"{number:06d}.jpg", "conversations": turns}

    _write_lines(path, records())


def _question(rng: random.Random) -> tuple[str, str]:
    if rng.random() < _SPATIAL_SHARE:
        relation = _relation(rng)
        if relation == "between":
            return f"What is between the {_thing(rng)} and the {_thing(rng)}?", _thing(rng)
        if relation == "facing":
            return f"What is the {_thing(rng)} facing?", _thing(rng)
        return f"What is {relation} the {_thing(rng)}?", _thing(rng)
    shape = rng.choice(SHAPES)
    return rng.choice(
        (
            (f"What color is the {shape}?", rng.choice(_COLOURS)),
            (f"How many {shape}s are there?", str(rng.randint(1, 4))),
            (f"What shape does the {rng.choice(_COLOURS)} object have?", shape),
            (f"Is there {with_article(_thing(rng))}?", rng.choice(("yes", "no"))),
            (f"What material is the {shape} made of?", rng.choice(("wood", "rubber", "metal"))),
        )
    )


def _relation(rng: random.Random) -> str:
    return rng.choices(list(RELATIONS), list(RELATIONS.values()))[0]


def _thing(rng: random.Random) -> str:
    return f"{rng.choice(_COLOURS)} {rng.choice(SHAPES)}"


def _write_document(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(document), encoding="utf-8")


def _write_lines(path: Path, records: Iterator[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as lines:
        lines.writelines(json.dumps(record) + "\n" for record in records)


_WRITERS: Mapping[str, Callable[[Path, int, random.Random], None]] = {
    "vqav2": _vqav2,
    "gqa": _gqa,
    "visual7w": _visual7w,
    "vsr": _vsr,
    "hateful_memes": _hateful_memes,
    "conversations": _conversations,
}
