"""The ten benchmarks of the sandbox: questions about scenes that no corpus shows, in the files users have.

Belongs here: what is asked about which scene, and how each benchmark writes it down. Reading and scoring do not.
Wordings are of two kinds: what the base model was taught (objects, colours, numbers), for the general benchmarks; and
where things are, in words it learns from the dataset alone, for the spatial ones. No wording is one of the dataset's.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spare_assets.engines.rule_based.wording import with_article
from spare_assets.sandbox.lessons import number_in_words, objects_in_words, options_for
from spare_assets.sandbox.rendered_folder import CorpusError, record_of, write_folder
from spare_assets.sandbox.scenes import (
    COLOURS,
    OPPOSITES,
    SHAPES,
    Direction,
    Scene,
    SceneObject,
    direction,
    four_ways,
    make_scene,
    mirrored,
    region,
    render,
    scene_seed,
)
from spare_assets.settings import BENCHMARKS, BenchmarkSettings, Home

VERSION = 1
"""Raise it when equal seeds give other files than before: files of an older version are written anew."""
_DIRECTIONS = tuple(OPPOSITES)
_WORDS: dict[Direction, str] = {
    "left": "to the left of",
    "right": "to the right of",
    "above": "above",
    "below": "below",
}
_NUMBERS = ("two", "three", "four")
_LETTERS = "ABCD"
_CORNERS = ("top left corner", "top right corner", "bottom left corner", "bottom right corner")
_PASS = 1_000_000
_SUMS = {"two": "one plus one", "three": "one plus two", "four": "two plus two"}


@dataclass(frozen=True, slots=True)
class _Draw:
    """Scenes of one benchmark, told apart from every other pool of scenes and from other benchmarks'."""

    key: str
    seed: int

    def random(self, index: int) -> random.Random:
        return random.Random(f"{self.key}:{self.seed}:{index}")

    def number(self, index: int) -> int:
        # Far from the scenes that the effect of training is measured on, which have small seeds.
        return scene_seed("benchmark", 1_000 * (1 + BENCHMARKS.index(self.key)) + self.seed, index)

    def scene(self, index: int) -> Scene:
        return make_scene(self.number(index))


def ensure_rendered(key: str, benchmark: BenchmarkSettings, home: Home) -> None:
    """Write a benchmark of scenes where the profile asks for one and it isn't there yet.

    Raises CorpusError where its folder holds something else.
    """
    if benchmark.scenes is not None:
        path = home.resolve(benchmark.file)
        write_benchmark(key, path, benchmark.scenes.count, benchmark.scenes.seed)


def write_benchmark(key: str, path: Path, count: int, seed: int) -> None:
    """Write `count` questions of a benchmark, or a few more where they come in groups, to `path` and beside it.

    Equal arguments give equal files; where they lie already nothing is written. Raises CorpusError where the folder
    holds something else.
    """
    if key not in _WRITERS:
        raise CorpusError(f"no benchmark of scenes is called {key!r}: use {', '.join(_WRITERS)}")
    record = {"benchmark": key, "count": count, "seed": seed, "version": VERSION, "file": path.name}
    found = record_of(path.parent)
    if found is not None and found.get("benchmark") != key:
        raise CorpusError(
            f"{path.parent} holds other scenes, of {found.get('benchmark') or found.get('format')}: give {key} a "
            f"folder of its own (setting `benchmarks.{key}.file`)"
        )
    if found != record or not path.is_file():
        write_folder(
            path.parent, record, lambda folder: _WRITERS[key](folder / path.name, count, _Draw(key, seed % 1_000))
        )


def _vsr(path: Path, count: int, draw: _Draw) -> None:
    images = path.parent / "images"
    images.mkdir()
    with path.open("w", encoding="utf-8") as lines:
        for index in range(count):
            rng, scene = draw.random(index), draw.scene(index)
            item, other, where = _clear(rng, scene)
            said = where if index % 2 else rng.choice([word for word in _DIRECTIONS if word != where])
            name = f"scene_{index:04d}.jpg"
            _save(scene, images / name)
            record = {
                "image": name,
                "image_link": f"https://images.sandbox.invalid/vsr/{name}",
                "caption": f"The {item.name} is {_WORDS[said]} the {other.name}.",
                "label": index % 2,
                "relation": _WORDS[said].removeprefix("to the "),
                "subj": item.name,
                "obj": other.name,
            }
            lines.write(json.dumps(record) + "\n")


def _whats_up(folder: str, others: int) -> Callable[[Path, int, _Draw], None]:
    def write(path: Path, count: int, draw: _Draw) -> None:
        records = []
        (path.parent / folder).mkdir()
        for index in range(-(-count // len(_DIRECTIONS))):
            for where, scene in four_ways(draw.number(len(_DIRECTIONS) * index), others).items():
                item, other = scene.objects[:2]
                relation = _WORDS[where].removeprefix("to the ").replace(" ", "_")
                name = f"{item.name.replace(' ', '-')}_{relation}_{other.name.replace(' ', '-')}_{index:03d}.jpeg"
                _save(scene, path.parent / folder / name)
                options = [where, *(word for word in _DIRECTIONS if word != where)]
                captions = [
                    f"{with_article(item.name).capitalize()} {_WORDS[word]} {with_article(other.name)}"
                    for word in options
                ]
                records.append({"image_path": f"data/{folder}/{name}", "caption_options": captions})
        path.write_text(json.dumps(records, indent=1), encoding="utf-8")

    return write


def _threedsr_bench(path: Path, count: int, draw: _Draw) -> None:
    # A question comes four times: as it is and mirrored, each with its options in both orders.
    kinds: tuple[tuple[str, tuple[Direction, ...]], ...] = (
        ("height_higher", ("above", "below")),
        ("location_above", ("above", "below")),
        ("orientation_on_the_left", ("left", "right")),
        ("multi_object_viewpoint_towards_object", _DIRECTIONS),
    )
    rows: list[dict[str, str]] = []
    for number in range(-(-count // 4)):
        category, options = kinds[number % len(kinds)]
        rng = draw.random(number)
        scene, (item, other, _) = _with_direction(draw, rng, 100 * number, options)
        words = " or ".join(options)
        question = (
            f"Where is the {item.name} found in relation to the {other.name}?"
            if len(options) == 4
            else f"Is the {item.name} placed {words} in relation to the {other.name}?"
        )
        for flipped in (False, True):
            shown = mirrored(scene) if flipped else scene
            names = {thing.name: thing for thing in shown.objects}
            right = direction(names[item.name], names[other.name])
            assert right is not None
            for turn in (0, 1):
                order = [*options[turn:], *options[:turn]]
                rows.append(
                    {
                        "index": str(len(rows)),
                        "image": _encoded(shown),
                        "question": question,
                        **_lettered(order, right),
                        "category": category,
                        "qid": f"{number:08X}{'-flip' if flipped else ''}{f'-{turn}' if turn else ''}",
                    }
                )
    _write_tsv(path, rows)


def _realworldqa(path: Path, count: int, draw: _Draw) -> None:
    rows = []
    for index in range(count):
        rng = draw.random(index)
        if index % 2:
            scene, (item, other, right) = _with_direction(draw, rng, 100 * index, _DIRECTIONS)
            question = f"In the image, where is the {item.name} in relation to the {other.name}?"
            options, answer = [*map(str, _DIRECTIONS)], str(right)
        else:
            scene, item = _in_corner(draw, rng, 100 * index)
            question = f"Where in the picture is the {item.name}?"
            options, answer = list(_CORNERS), region(item)
        rng.shuffle(options)
        rows.append({"index": str(index), "image": _encoded(scene), "question": question, **_lettered(options, answer)})
    _write_tsv(path, rows)


def _mmmu(path: Path, count: int, draw: _Draw) -> None:
    rows = []
    for index in range(count):
        rng, scene = draw.random(index), draw.scene(index)
        kind = ("list", "colour", "count")[index % 3]
        item = rng.choice(scene.objects)
        row = {"index": str(index), "id": f"validation_Scenes_{index}", "image": _encoded(scene), "split": "validation"}
        if kind == "count":
            row |= {"question": "How many objects are in the picture?", "answer": number_in_words(scene)}
            row |= {"category": "Numbers", "question_type": "open"}
        else:
            right = objects_in_words(scene) if kind == "list" else item.colour
            options = options_for(rng, "list" if kind == "list" else "colour", right, scene)
            asked = (
                "Which objects does the image show?" if kind == "list" else f"Which colour does the {item.shape} have?"
            )
            row |= {"question": asked, **_lettered(options, right), "question_type": "multiple-choice"}
            row |= {"category": "Objects" if kind == "list" else "Colours"}
        rows.append(row)
    _write_tsv(path, rows)


def _mmbench(path: Path, count: int, draw: _Draw) -> None:
    rows: list[dict[str, str]] = []
    number = 0
    while len(rows) < count:
        rng, scene = draw.random(number), draw.scene(number)
        item = rng.choice(scene.objects)
        if number % 2:
            question, right, options = "How many objects are in the picture?", number_in_words(scene), list(_NUMBERS)
        else:
            question, right = f"Which colour does the {item.shape} have?", item.colour
            options = options_for(rng, "colour", right, scene)
        for turn in range(len(options)):
            rows.append(
                {
                    "index": str(number + turn * _PASS),
                    "image": str(number) if turn else _encoded(scene),
                    "question": question,
                    **_lettered([*options[turn:], *options[:turn]], right),
                    "category": "object_counting" if number % 2 else "attribute_recognition",
                    "l2-category": "finegrained_perception (instance-level)",
                    "split": "dev",
                }
            )
        number += 1
    _write_tsv(path, rows)


def _hallusion_bench(path: Path, count: int, draw: _Draw) -> None:
    rows = []
    for index in range(count):
        place, asked = divmod(index, 4)
        figures, figure = divmod(place, 2)
        scene = draw.scene(place)
        name, there = _perhaps_there(draw.random(index), scene)
        rows.append(
            {
                "index": str(index),
                "image": _encoded(scene),
                "question": f"Is there {with_article(name)} in the image?",
                "answer": "Yes" if there else "No",
                "category": "VD",
                "l2-category": "figure",
                "set_id": str(figures),
                "figure_id": str(figure),
                "question_id": str(asked),
            }
        )
    _write_tsv(path, rows)


def _textvqa(path: Path, count: int, draw: _Draw) -> None:
    rows = []
    for index in range(count):
        scene = draw.scene(index)
        item = draw.random(index).choice(scene.objects)
        question = (
            f"What is the colour of the {item.shape}?" if index % 2 else f"Which colour does the {item.shape} have?"
        )
        rows.append(
            {"index": str(index), "image": _encoded(scene), "question": question, "answer": str([item.colour] * 10)}
        )
    _write_tsv(path, rows)


def _mme(path: Path, count: int, draw: _Draw) -> None:
    rows: list[dict[str, str]] = []
    for number in range(-(-count // 2)):
        rng, scene = draw.random(number), draw.scene(number)
        subtask = list(_MME)[number % len(_MME)]
        for turn, (question, holds) in enumerate(zip(_MME[subtask](rng, scene), (True, False), strict=True)):
            rows.append(
                {
                    "index": str(len(rows)),
                    "image": str(len(rows) - 1) if turn else _encoded(scene),
                    "question": f"{question} Please answer yes or no.",
                    "answer": "Yes" if holds else "No",
                    "category": subtask,
                    "image_path": f"{subtask}/scene_{number:04d}.jpg",
                }
            )
    _write_tsv(path, rows)


def _existence(rng: random.Random, scene: Scene) -> list[str]:
    names = (rng.choice(scene.objects).name, _absent(rng, scene))
    return [f"Is there {with_article(name)} in the image?" for name in names]


def _number(rng: random.Random, scene: Scene) -> list[str]:
    return [f"Are there {number} objects in the image?" for number in _number_and_other(rng, scene)]


def _colour(rng: random.Random, scene: Scene) -> list[str]:
    item = rng.choice(scene.objects)
    other = rng.choice([colour for colour in COLOURS if colour != item.colour])
    return [f"Is the colour of the {item.shape} {colour}?" for colour in (item.colour, other)]


def _collected(rng: random.Random, scene: Scene) -> list[str]:
    there = [item.colour for item in scene.objects]
    colours = (rng.choice(there), rng.choice([colour for colour in COLOURS if colour not in there]))
    return [f"Would somebody who collects {colour} things take anything from this image?" for colour in colours]


def _sum(rng: random.Random, scene: Scene) -> list[str]:
    return [f"Is {_SUMS[number]} the number of objects in the image?" for number in _number_and_other(rng, scene)]


def _length(rng: random.Random, scene: Scene) -> list[str]:
    sizes = [_NUMBERS.index(number) + 2 for number in _number_and_other(rng, scene)]
    return [f"With objects as the list of what the image shows, does len(objects) == {size} hold?" for size in sizes]


_MME: Mapping[str, Callable[[random.Random, Scene], Sequence[str]]] = {
    "existence": _existence,
    "count": _number,
    "color": _colour,
    "commonsense_reasoning": _collected,
    "numerical_calculation": _sum,
    "code_reasoning": _length,
}
"""Two questions on a picture by subtask: the first is answered yes, the second no."""


def _clear(
    rng: random.Random, scene: Scene, among: Sequence[Direction] = _DIRECTIONS
) -> tuple[SceneObject, SceneObject, Direction]:
    """Two objects of a scene and where the first is as seen from the second. Raises IndexError where none fit."""
    found = [
        (item, other, where)
        for item in scene.objects
        for other in scene.objects
        if item is not other and (where := direction(item, other)) in among and where is not None
    ]
    return rng.choice(found)


def _with_direction(
    draw: _Draw, rng: random.Random, start: int, among: Sequence[Direction]
) -> tuple[Scene, tuple[SceneObject, SceneObject, Direction]]:
    """The first scene from `start` on in which two objects stand so, and these objects."""
    wanted = (rng.choice(among),)
    for index in range(start, start + 100):
        scene = draw.scene(index)
        if any(
            direction(item, other) in wanted for item in scene.objects for other in scene.objects if item is not other
        ):
            return scene, _clear(rng, scene, wanted)
    raise AssertionError("a hundred scenes without two objects side by side")


def _in_corner(draw: _Draw, rng: random.Random, start: int) -> tuple[Scene, SceneObject]:
    """The first scene from `start` on with an object in a corner, and that object."""
    for index in range(start, start + 100):
        scene = draw.scene(index)
        if found := [item for item in scene.objects if region(item) in _CORNERS]:
            return scene, rng.choice(found)
    raise AssertionError("a hundred scenes without an object in a corner")


def _perhaps_there(rng: random.Random, scene: Scene) -> tuple[str, bool]:
    there = rng.random() < 0.5
    return (rng.choice(scene.objects).name, True) if there else (_absent(rng, scene), False)


def _absent(rng: random.Random, scene: Scene) -> str:
    """An object that a scene doesn't show, though it may show its colour or its shape."""
    there = {item.name for item in scene.objects}
    item = rng.choice(scene.objects)
    near = [f"{colour} {item.shape}" for colour in COLOURS] + [f"{item.colour} {shape}" for shape in SHAPES]
    return rng.choice([name for name in near if name not in there])


def _number_and_other(rng: random.Random, scene: Scene) -> tuple[str, str]:
    right = number_in_words(scene)
    return right, rng.choice([number for number in _NUMBERS if number != right])


def _lettered(options: Sequence[str], right: str) -> dict[str, str]:
    """The columns of a multiple-choice question."""
    lettered = dict(zip(_LETTERS, options, strict=False))
    return {**lettered, "answer": _LETTERS[options.index(right)]}


def _save(scene: Scene, path: Path) -> None:
    render(scene).save(path, "JPEG", quality=90, subsampling=0)


def _encoded(scene: Scene) -> str:
    """A scene's picture as base64."""
    content = io.BytesIO()
    render(scene).save(content, "JPEG", quality=90, subsampling=0)
    return base64.b64encode(content.getvalue()).decode()


def _write_tsv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    columns = list(dict.fromkeys(_columns(rows)))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="", delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _columns(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Columns in the order of the releases: index, what is asked, options, answer, the rest, the picture last."""
    yield "index"
    for name in ("question", *_LETTERS, "answer"):
        if any(name in row for row in rows):
            yield name
    for row in rows:
        yield from (name for name in row if name != "image")
    yield "image"


_WRITERS: Mapping[str, Callable[[Path, int, _Draw], None]] = {
    "vsr": _vsr,
    "whats_up_a": _whats_up("controlled_images", others=0),
    "whats_up_b": _whats_up("controlled_clevr", others=1),
    "threedsr_bench": _threedsr_bench,
    "realworldqa": _realworldqa,
    "mmmu": _mmmu,
    "mmbench": _mmbench,
    "hallusion_bench": _hallusion_bench,
    "textvqa": _textvqa,
    "mme": _mme,
}
