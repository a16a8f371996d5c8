"""Corpora of the paper's size in their native files: real captions again and again, with fresh ids and varied words.

What is done with them belongs to the benchmarks.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import polars as pl

from spare_assets.engines.rule_based.questions import write_pairs

DATA = Path(__file__).parents[2] / "../shared/data"
"""Real captions: `docci`, `imageinwords`, `localized_narratives`, `coco_captions_val2017`, `comprecap_longcaps`."""
CAPTIONS = {"docci": 14_847, "localized_narratives": 849_000, "pixmo_cap": 717_000}
"""Captions by source (paper, Table 1)."""
SPATIAL = {"docci": 10_000, "localized_narratives": 232_000, "pixmo_cap": 214_000}
"""Those of them that the pre-filter keeps (same table)."""
_PART_ROWS = 50_000
_CLASSES = """
    red blue green yellow white black brown grey orange pink purple beige golden silver
    large small big tiny huge tall short long wide narrow
    wooden metal plastic stone glass leather concrete brick paper ceramic
    man woman boy girl person child
    dog cat horse cow sheep bird
    car truck bus van bicycle motorcycle
    table chair desk bench couch shelf bed
    cup bowl plate bottle glass vase box basket bag
    tree bush flower plant
    wall fence door window roof
    one two three four five six seven eight
"""
_CLASS_OF = {word: words for line in _CLASSES.split("\n") for words in [line.split()] for word in words}
_LONG = re.compile(r"\b[a-z]{5,}\b")
_WORD = re.compile(r"\b(?:" + "|".join(_CLASS_OF) + r")\b")


def write_corpora(folder: Path, captions: int, data: Path = DATA) -> dict[str, int]:
    """Write so many captions in the paper's proportions below `folder`, once; the captions by source.

    Raises SystemExit where the real captions are absent.
    """
    share = captions / sum(CAPTIONS.values())
    counts = {source: max(1, round(count * share)) for source, count in CAPTIONS.items()}
    done = folder / "done.json"
    if done.exists() and json.loads(done.read_text()) == counts:
        return counts
    if not data.is_dir():
        raise SystemExit(f"{data}: no real captions here; --data names the folder that holds them")
    texts = {}
    for source, real in real_captions(data).items():
        (folder / source).mkdir(parents=True, exist_ok=True)
        texts[source] = varied(real, counts[source], SPATIAL[source] / CAPTIONS[source])
    with (folder / "docci/docci_descriptions.jsonlines").open("w") as file:
        for number, text in enumerate(texts["docci"]):
            name = f"train_{number:05d}"
            row = {"example_id": name, "split": "train", "image_file": f"{name}.jpg", "description": text}
            file.write(json.dumps(row) + "\n")
    with (folder / "localized_narratives/coco_train_captions.jsonl").open("w") as file:
        for number, text in enumerate(texts["localized_narratives"]):
            row = {"dataset_id": "mscoco_train2017", "image_id": str(number), "annotator_id": 0, "caption": text}
            file.write(json.dumps(row) + "\n")
    for part in range(0, counts["pixmo_cap"], _PART_ROWS):
        chunk = list(islice(texts["pixmo_cap"], _PART_ROWS))
        urls = [f"https://images.example/{part + row}.jpg" for row in range(len(chunk))]
        frame = pl.DataFrame({"image_url": urls, "caption": chunk, "transcripts": [[""]] * len(chunk)})
        frame.write_parquet(folder / f"pixmo_cap/part-{part // _PART_ROWS:03d}.parquet")
    done.write_text(json.dumps(counts))
    return counts


def real_captions(data: Path) -> dict[str, list[str]]:
    """Real captions of the length each corpus has; five short ones of a photograph make one narrative."""
    narratives = [row["caption"] for row in _rows(next((data / "localized_narratives").glob("*.jsonl")))]
    short: dict[int, list[str]] = {}
    for row in json.loads((data / "coco_captions_val2017/captions_val2017.json").read_text())["annotations"]:
        short.setdefault(row["image_id"], []).append(row["caption"].strip().rstrip(".") + ".")
    long = [row["IIW"] for row in _rows(data / "imageinwords/iiw_400.jsonl")]
    return {
        "docci": [row["description"] for row in _rows(data / "docci/docci_descriptions.jsonlines")] + long,
        "localized_narratives": [*narratives, *(" ".join(group) for group in short.values())],
        "pixmo_cap": [*json.loads((data / "comprecap_longcaps/GPT-4o.json").read_text()).values(), *long],
    }


def varied(texts: list[str], count: int, spatial: float) -> Iterator[str]:
    """So many texts, a share of them spatial: each again and again, with colours, sizes, animals ... and one other
    long word drawn anew."""
    chance = random.Random(0)
    vocabulary = sorted({word for text in texts for word in _LONG.findall(text)})
    halves: dict[bool, list[str]] = {True: [], False: []}
    for text in texts:
        halves[bool(write_pairs(text))].append(text)
    for _ in range(count):
        text = chance.choice(halves[chance.random() < spatial])
        text = _WORD.sub(lambda found: chance.choice(_CLASS_OF[found[0]]), text)
        if places := list(_LONG.finditer(text)):
            place = chance.choice(places)
            text = f"{text[: place.start()]}{chance.choice(vocabulary)}{text[place.end() :]}"
        yield text


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open() as file:
        yield from map(json.loads, file)
