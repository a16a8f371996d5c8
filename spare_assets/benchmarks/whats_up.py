"""What's Up, sets A and B: which of four captions says where one thing is to another? (paper 4.2)

One JSON list as released: `image_path` and `caption_options`, whose first is right. Both sets are read alike; in A the
other relations are on and under, in B in front and behind. Every pair of objects is photographed in four relations.
"""

from __future__ import annotations

import hashlib
import string
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from spare_assets.benchmarks.image_files import BenchmarkFiles
from spare_assets.benchmarks.metrics import Metric, all_right, by_category, mean_score
from spare_assets.benchmarks.option_answers import chosen_option
from spare_assets.benchmarks.origins import ORIGINS
from spare_assets.benchmarks.pictures import Pictures
from spare_assets.benchmarks.questions import Benchmark, Grade, Question, UnreadableRecord
from spare_assets.benchmarks.records import native, read_questions, text_of
from spare_assets.captions.records import RowError
from spare_assets.settings import BenchmarkSettings

_QUESTION = "Which caption describes the image?"
_SEED = "1"
_OPPOSITES = (("left", "right"), ("front", "behind"), ("above", "below"), ("on", "under"))
_ARTICLES = frozenset({"a", "an", "the"})


def read(
    files: BenchmarkFiles, pictures: Pictures, settings: BenchmarkSettings
) -> Iterator[Question | UnreadableRecord]:
    """A question for each record; its category is the relation that is right.

    Letters are dealt by a hash of image and caption, so that they depend neither on the order of the captions, whose
    first is right, nor on other records.
    """

    def question(item: str, fields: Mapping[str, Any]) -> Question:
        captions = _captions(fields.get("caption_options"))
        first, second, relation = _scene(captions)
        image = text_of(fields, "image_path")
        images, problem = pictures.asked_about(fields)
        dealt = sorted(captions, key=lambda caption: _lot(image, caption))
        options = dict(zip(string.ascii_uppercase, dealt, strict=False))
        return Question(
            item,
            "captions",
            _QUESTION,
            tuple(letter for letter, caption in options.items() if caption == captions[0]),
            options,
            category=relation,
            native={"first": first, "second": second, "relation": relation, "pair": _pair(relation), "image": image},
            images=images,
            problem=problem,
        )

    return read_questions(files, question)


def _captions(value: Any) -> list[str]:
    """The captions to choose from. Raises RowError where the right one would not be the only one of its words."""
    if not isinstance(value, list) or not all(isinstance(caption, str) and caption.strip() for caption in value):
        raise RowError("its field 'caption_options' is no list of captions")
    captions = [caption.strip() for caption in value]
    if not 2 <= len(captions) <= len(string.ascii_uppercase):
        raise RowError(f"its field 'caption_options' holds {len(captions)} captions where it should hold 4")
    if len(set(captions)) < len(captions):
        raise RowError("its field 'caption_options' holds a caption twice")
    return captions


def _lot(image: str, caption: str) -> bytes:
    # Half of a surrogate pair, which JSON can say, is no error here: the question can't be stored, and is then told.
    return hashlib.sha256(f"{_SEED}\n{image}\n{caption}".encode("utf-8", "surrogatepass")).digest()


def _scene(captions: Sequence[str]) -> tuple[str, str, str]:
    """The two things and the relation: what captions begin and end with alike, and what stands between in the first."""
    words = [caption.rstrip(".").split() for caption in captions]
    shortest = min(map(len, words))
    before = next((n for n in range(shortest) if len({tuple(text[: n + 1]) for text in words}) > 1), shortest)
    rest = shortest - before
    after = next((n for n in range(rest) if len({tuple(text[len(text) - n - 1 :]) for text in words}) > 1), rest)
    right = words[0]
    return _thing(right[:before]), _thing(right[len(right) - after :]), " ".join(right[before : len(right) - after])


def _thing(words: Sequence[str]) -> str:
    return " ".join(word for word in words if word.lower() not in _ARTICLES and word != "is")


def _pair(relation: str) -> str:
    """The pair of opposites a relation is of, such as left/right; "" where it is of none."""
    words = relation.lower().split()
    return next(("/".join(pair) for pair in _OPPOSITES if any(one in words for one in pair)), "")


def grade(question: Question, reply: str, settings: BenchmarkSettings) -> Grade:
    """The caption chosen, by its letter or its words."""
    prediction = chosen_option(reply, question.options, settings)
    return Grade(prediction, float(prediction in question.answers))


def measure(predictions: pl.DataFrame) -> Iterator[Metric]:
    """Accuracy over single images and by relation; over pairs of opposite relations and over sets of all relations
    of the same two things, all right. A pair or set of which a relation is missing is left out: nothing tells whether
    it would be right. Images of the same things go together."""
    things = (native("first"), native("second"))
    unit = pl.concat_str(*things, separator="\x1f")
    yield mean_score(predictions, "accuracy", unit=unit)
    relations = native("relation").n_unique()
    pairs = predictions.filter(native("pair") != "").filter(relations.over(*things, native("pair")) == 2)
    yield all_right(pairs, "pair_accuracy", (*things, native("pair")), unit=unit)
    sets = predictions.filter(relations.over(*things) == pl.col("options").list.len())
    yield all_right(sets, "set_accuracy", things, unit=unit)
    for relation, rows in by_category(predictions):
        yield mean_score(rows, "accuracy", relation, unit=unit)


def _things(question: Question) -> str:
    return f"{question.native['first']}\x1f{question.native['second']}"


def _benchmark(key: str) -> Benchmark:
    return Benchmark(
        key,
        ORIGINS[key].title,
        ORIGINS[key].homepage,
        read,
        grade,
        measure,
        headlines=("accuracy",),
        spatial=True,
        group=_things,
    )


BENCHMARK_A, BENCHMARK_B = _benchmark("whats_up_a"), _benchmark("whats_up_b")
