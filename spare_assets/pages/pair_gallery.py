"""A few photographs with their pairs, the relation words marked.

Which samples are shown, and drawing them, belong here. Finding relation words is the matcher's, reducing photographs
the thumbnails'.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from spare_assets.pages.card import (
    FAINT,
    GRID,
    INK,
    LARGE,
    MARGIN,
    MARKED,
    NORMAL,
    SMALL,
    WIDTH,
    Card,
    font,
    readable,
    shortened,
)
from spare_assets.pages.thumbnails import reduced
from spare_assets.relations.matcher import keyword_spans

if TYPE_CHECKING:
    from PIL import Image

SHOWN = 3
_CANDIDATES = 9
_PAIRS_OF_EACH = 3
_SIDE = 180
_TOP, _LINE, _GAP = 44, 17, 14
_MOST_LINES, _CAPTION_LINES = 2, 3
_MOST_CHARACTERS = 400
_ANSWER = "#1d4ed8"


@dataclass(frozen=True, slots=True)
class GallerySample:
    """A caption with the path of its photograph, if it has one, and pairs of question and answer."""

    image_path: str | None
    caption: str
    pairs: tuple[tuple[str, str], ...]


class Run(NamedTuple):
    """A piece of a line, marked or not."""

    text: str
    marked: bool


def dataset_samples(dataset: pl.LazyFrame) -> list[GallerySample]:
    """Candidates from all over `spare_dataset`, in its order."""
    rows = pl.concat([dataset.slice(place, 1) for place in _places(dataset)])
    return [
        GallerySample(row["image_path"], row["caption"], tuple((p["question"], p["answer"]) for p in row["pairs"]))
        for row in rows.select("image_path", "caption", "pairs").collect().iter_rows(named=True)
    ]


def pair_samples(
    pairs: pl.LazyFrame, captions: pl.LazyFrame, images: pl.LazyFrame | None = None
) -> list[GallerySample]:
    """Candidates from all over a table of pairs, in its order, with their captions and usable `images`."""
    scattered = pl.concat([pairs.slice(place, 1) for place in _places(pairs)]).select("caption_id").collect()
    chosen = scattered["caption_id"].unique(maintain_order=True)
    # Of a large table only the rows asked for are decoded.
    texts = captions.filter(pl.col("caption_id").is_in(chosen.implode()))
    shown = texts.select("caption_id", "image_id", "caption").collect()
    paths: dict[str, str] = {}
    if images is not None:
        wanted = images.filter(pl.col("image_id").is_in(shown["image_id"].implode()) & (pl.col("status") == "ok"))
        paths = dict(wanted.select("image_id", "path").collect().iter_rows())
    theirs = pairs.filter(pl.col("caption_id").is_in(chosen.implode())).sort("caption_id", "position").collect()
    return [
        GallerySample(
            paths.get(image_id),
            caption,
            tuple(theirs.filter(pl.col("caption_id") == caption_id).select("question", "answer").iter_rows()),
        )
        for caption_id, image_id, caption in shown.sort("caption_id").iter_rows()
    ]


def marked_runs(text: str) -> list[Run]:
    """A line in pieces: the relation words, and what stands between them."""
    runs: list[Run] = []
    done = 0
    for start, end in _merged(keyword_spans(text)):
        runs += [Run(text[done:start], False), Run(text[start:end], True)]
        done = end
    return [run for run in (*runs, Run(text[done:], False)) if run.text]


def pair_gallery(samples: Sequence[GallerySample], title: str) -> bytes:
    """PNG of up to three samples, of at most 200 kB: those first whose photograph can be shown.

    Texts are drawn as they stand: nothing in them is markup. Long ones are cut.
    """
    shown = _with_photographs(samples)
    blocks = []
    for photograph, sample in shown:
        indent = MARGIN + (_SIDE + 16 if photograph else 0)
        lines = list(_lines(sample, WIDTH - MARGIN - indent))
        height = max(_LINE * len(lines), photograph.height if photograph else 0)
        blocks.append((photograph, indent, lines, height))
    card = Card(_TOP + sum(height + _GAP * 2 for *_, height in blocks) + (_LINE if not blocks else 0))
    card.text(MARGIN, 12, title, size=LARGE, bold=True, most=card.width - 2 * MARGIN)
    y = _TOP
    for place, (photograph, indent, lines, height) in enumerate(blocks):
        if place:
            card.box(MARGIN, y - _GAP, card.width - MARGIN, y - _GAP + 1, GRID)
        if photograph:
            card.photograph(MARGIN + (_SIDE - photograph.width) // 2, y, photograph)
        for number, (runs, colour, size) in enumerate(lines):
            _draw(card, indent, y + number * _LINE, runs, colour, size)
        y += height + 2 * _GAP
    if not blocks:
        card.text(MARGIN, _TOP, "no pairs", colour=FAINT)
    return card.png()


def wrapped(text: str, width: float, size: int, most_lines: int, before: str = "") -> list[list[Run]]:
    """A text from outside as lines of marked runs that fit the width; what does not fit ends in an ellipsis."""
    line = readable(text)
    if len(line) > _MOST_CHARACTERS:
        line = f"{line[:_MOST_CHARACTERS].rpartition(' ')[0] or line[:_MOST_CHARACTERS]}…"
    lines: list[list[Run]] = [[Run(before, False)] if before else []]
    blank, cut = font(size).getlength(" "), font(size).getlength(" …")
    used = _length(lines[0], size)
    for word in _words(marked_runs(line)):
        length = _length(word, size)
        last = len(lines) == most_lines
        if used and used + blank + length > width - cut * last:
            if last:
                lines[-1].append(Run(" …", False))
                return lines
            lines.append([])
            used, last = 0.0, len(lines) == most_lines
        room = width - cut * last - (used + blank if used else 0)
        if length > room:
            # A word that fits nowhere: an address, a text without blanks.
            word = [Run(shortened("".join(run.text for run in word), room, font(size)), False)]
            length = _length(word, size)
        if lines[-1]:
            lines[-1].append(Run(" ", lines[-1][-1].marked and word[0].marked))
        lines[-1] += word
        used += length + (blank if used else 0.0)
    return lines


def _with_photographs(samples: Sequence[GallerySample]) -> list[tuple[Image.Image | None, GallerySample]]:
    """Up to three samples in their order, from all over them; those without a photograph only where others lack."""
    scattered = sorted(range(len(samples)), key=lambda place: (place - 1) % SHOWN)
    found: dict[int, Image.Image] = {}
    paths: set[str] = set()
    for place in scattered:
        path = samples[place].image_path
        if len(found) == SHOWN or not path or path in paths:
            continue
        paths.add(path)
        if (photograph := reduced(Path(path), _SIDE)) is not None:
            found[place] = photograph
    without = [place for place in scattered if samples[place].image_path is None]
    chosen = [*found, *without][:SHOWN]
    return [(found.get(place), samples[place]) for place in sorted(chosen)]


def _lines(sample: GallerySample, width: float) -> Iterator[tuple[list[Run], str, int]]:
    """Pairs and then the caption, as lines with their colour and size."""
    for question, answer in sample.pairs[:_PAIRS_OF_EACH]:
        yield from ((line, INK, NORMAL) for line in wrapped(question, width, NORMAL, _MOST_LINES))
        yield from ((line, _ANSWER, NORMAL) for line in wrapped(answer, width, NORMAL, _MOST_LINES, "→"))
    if (further := len(sample.pairs) - _PAIRS_OF_EACH) > 0:
        yield [Run(f"and {further:,} more", False)], FAINT, SMALL
    yield from ((line, FAINT, SMALL) for line in wrapped(sample.caption, width, SMALL, _CAPTION_LINES, "Caption:"))


def _draw(card: Card, x: float, y: float, runs: Iterable[Run], colour: str, size: int) -> None:
    """A line of runs; neighbours that are not marked are drawn as one, so that scripts from right to left join."""
    pieces: list[Run] = []
    for run in runs:
        if pieces and pieces[-1].marked == run.marked:
            pieces[-1] = Run(pieces[-1].text + run.text, run.marked)
        else:
            pieces.append(run)
    for text, marked in pieces:
        length = font(size, bold=marked).getlength(text)
        if marked:
            card.box(x - 1, y - 1, x + length + 1, y + size + 3, MARKED)
        card.piece(x, y, text, size=size, colour=INK if marked else colour, bold=marked)
        x += length


def _words(runs: Iterable[Run]) -> Iterator[list[Run]]:
    """The words of a line, each in its marked and other pieces."""
    word: list[Run] = []
    for text, marked in runs:
        first, *others = text.split(" ")
        if first:
            word.append(Run(first, marked))
        for other in others:
            if word:
                yield word
            word = [Run(other, marked)] if other else []
    if word:
        yield word


def _length(runs: Iterable[Run], size: int) -> float:
    return sum(font(size, bold=run.marked).getlength(run.text) for run in runs)


def _merged(spans: Iterable[tuple[int, int, str]]) -> list[tuple[int, int]]:
    """Spans that overlap as one."""
    merged: list[tuple[int, int]] = []
    for start, end, _ in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def _places(rows: pl.LazyFrame) -> list[int]:
    total = rows.select(pl.len()).collect().item()
    return sorted({place * total // _CANDIDATES for place in range(_CANDIDATES)})
