"""Captions, and pairs about them, of the paper's size as the tables that checks and counts read.

A caption is halves of varied real ones put together anew; a pair asks about one of its sentences. What is done with
them belongs to the benchmarks.
"""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import get_args

import polars as pl

from spare_assets.sandbox.corpora import CorpusFormat, describe
from spare_assets.sandbox.scenes import make_scene, scene_seed
from spare_assets.storage.schemas import TABLES
from spare_assets.storage.tables import TableStore
from spare_assets.synthesis.pair_ids import with_pair_ids
from spare_assets_tests.performance.paper_corpora import CAPTIONS, DATA, real_captions

SOURCE = "paper"
"""The one partition that holds all: memory that stays flat in it does so in three smaller ones."""
HALVES = {"docci": 2, "localized_narratives": 2, "pixmo_cap": 3}
"""Halves that make a caption about as long as the paper's are."""
PAIRS = {"docci": 108_000, "localized_narratives": 1_226_000, "pixmo_cap": 2_038_000}
"""Generated pairs by source (paper, Table 1)."""
_TEXTS = 10_000
"""Most varied texts of a source; their halves make a hundred million captions."""
_BATCH = 1_000
"""Captions at a time, as the stage that writes pairs takes them: it decides how the tables are laid out."""
_END = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True, slots=True)
class Half:
    """Some sentences of a caption, and pairs of question and answer about them."""

    text: str
    pairs: list[tuple[str, str]]


def caption_lines(captions: int) -> Iterator[str]:
    """So many captions in the paper's proportions, none with a line break."""
    for source, number in _shares(captions, CAPTIONS).items():
        for halves in islice(_captions(source, captions), number):
            yield " ".join(half.text for half in halves)


def write_tables(root: Path, pairs: int) -> TableStore:
    """Write `spatial_captions`, `qa_pairs` and `question_embeddings` of so many pairs below `root`, once.

    The embeddings are zeros, one number wide: nothing is similar by them, only what is asked in the same words.
    """
    store, done = TableStore(root), root / "done.json"
    if done.exists() and json.loads(done.read_text()) == pairs:
        return store
    shutil.rmtree(root, ignore_errors=True)
    tables = [store.writer(name, SOURCE) for name in ("spatial_captions", "qa_pairs", "question_embeddings")]
    captions, asked, embedded = tables
    with captions, asked, embedded:
        for rows, texts in _batches(pairs):
            captions.append(texts)
            named = with_pair_ids(rows.drop("pair_id"))
            asked.append(named)
            zeros = pl.Series("embedding", [[0.0]], dtype=pl.Array(pl.Float16, 1)).new_from_index(0, named.height)
            embedded.append(named.with_columns(zeros))
    store.publish(*(table.staged for table in tables))
    done.write_text(json.dumps(pairs))
    return store


def _batches(pairs: int) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Pairs, and the captions they are about, a batch of captions at a time."""
    for source, left in _shares(pairs, PAIRS).items():
        numbered = enumerate(_captions(source, pairs))
        while left:
            rows: list[tuple[str, int, str, str]] = []
            texts: list[tuple[str, str]] = []
            for number, halves in islice(numbered, _BATCH):
                caption = f"{SOURCE}:{source}/{number:09d}"
                own = [pair for half in halves for pair in half.pairs][: left - len(rows)]
                rows += [(caption, place, *pair) for place, pair in enumerate(own)]
                texts.append((caption, " ".join(half.text for half in halves)))
                if len(rows) == left:
                    break
            left -= len(rows)
            yield (
                _frame("qa_pairs", ("caption_id", "position", "question", "answer"), rows),
                _frame("spatial_captions", ("caption_id", "caption"), texts),
            )


def _shares(total: int, paper: dict[str, int]) -> dict[str, int]:
    """The total in the paper's proportions."""
    shares = {source: total * number // sum(paper.values()) for source, number in paper.items()}
    shares["pixmo_cap"] += total - sum(shares.values())
    return shares


def _frame(table: str, names: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> pl.DataFrame:
    """Rows of a table, of which only some columns are told."""
    schema = TABLES[table].polars()
    told = pl.DataFrame(rows, {name: schema[name] for name in names}, orient="row").with_columns(source=pl.lit(SOURCE))
    return told.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in schema.items() if name not in told)


def _captions(source: str, wanted: int) -> Iterator[list[Half]]:
    """Captions of a source without end, the same ones every time that as many are wanted."""
    chance = random.Random(source)
    texts = real_captions(DATA)[source] if DATA.is_dir() else _scene_captions(source)
    vocabulary = sorted({word for text in texts for word in text.split()})
    sentences = [_END.split(_varied(chance.choice(texts), vocabulary, chance)) for _ in range(min(wanted, _TEXTS))]
    others = [sentence for text in sentences for sentence in text]

    halves = [
        Half(" ".join(part), [pair for sentence in part for pair in _pairs(sentence, others, chance)])
        for text in sentences
        for part in (text[: (len(text) + 1) // 2], text[(len(text) + 1) // 2 :])
        if part
    ]
    while True:
        yield chance.choices(halves, k=HALVES[source])


def _varied(text: str, vocabulary: list[str], chance: random.Random) -> str:
    """The text with one word in twenty drawn anew, and single blanks between its words."""
    return " ".join(chance.choice(vocabulary) if chance.random() < 0.05 else word for word in text.split())


def _scene_captions(source: str) -> list[str]:
    """Captions of rendered scenes, where no real ones are."""
    corpus_format = next(known for known in get_args(CorpusFormat) if known == source)
    return [describe(corpus_format, make_scene(scene_seed(source, 0, number))) for number in range(1000)]


def _pairs(sentence: str, others: list[str], chance: random.Random) -> Iterator[tuple[str, str]]:
    """A pair about a sentence, or the same question twice: most are good, some are for one of the checks to drop."""
    words = sentence.split()
    start = chance.randrange(max(1, len(words) - 4))
    question = f"Where is the {' '.join(words[start : start + 3]).strip('.,')} in the image?"
    answer = f"It is {' '.join(words[-chance.randint(5, 12) :])}"
    match chance.randrange(20):
        case 0:
            answer = f"As mentioned in the description, it is {' '.join(words[-5:])}"
        case 1 | 2 | 3:
            answer = f"It is {' '.join(chance.choice(others).split()[-8:])}"
        case 4 | 5:
            question, answer = f"Is the {' '.join(words[:9]).strip('.')}?", chance.choice(("Yes.", "No, it is not."))
        case 6:
            yield question.upper(), answer
            question = question.replace(" ", "  ").replace("?", " ?!")
    yield question, answer
