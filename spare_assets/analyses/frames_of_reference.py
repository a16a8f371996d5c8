"""By whose left and right a pair speaks: the viewer's, a thing's own, or it isn't said (paper, section 6, Figure 3).

Belongs here: marking a pair by its wording. What is done with the marks does not.

- `viewer`: a place in the picture or a distance from the camera ("in the background", "at the top left"), or a side of
  a thing that has none of its own ("left of the tree", "behind the post"): only the viewer can lend it one.
- `object`: a side of a thing that is said to be its own ("to the woman's left", "her right hand", "the front of the
  car", "from the driver's point of view"), or what a thing faces.
- `ambiguous`: left, right, front or behind of a thing that has a front of its own, without saying whose sides are
  meant ("left of the bench", "behind the car"). Both readings are common English, and for left and right of what faces
  the viewer they are opposites.
- `none`: nothing in the pair depends on a frame: on, under, above, between, inside, near. Most pairs are so; to call
  them any of the three would hide how many speak of frames at all.

Where cues differ, what the pair says of perspective goes first, then relations, then "where in the image", then names
of things ("the left door"). Among relations, an ambiguous one makes the pair so; a thing's own frame goes before the
viewer's, which is the one a model falls back on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Literal, get_args

import polars as pl

from spare_assets.analyses.fronts import (
    BODY_PARTS,
    PICTURES,
    VEHICLE_PARTS,
    VIEWERS,
    WORN,
    Kind,
    kind_at,
    kind_of_phrase,
    phrase_at,
    word_set,
    words_of,
)
from spare_assets.settings import RESERVED_SOURCE

Frame = Literal["viewer", "object", "ambiguous", "none"]
FRAMES: tuple[Frame, ...] = get_args(Frame)
VERSION = 1
"""Raise it when equal pairs get other marks than before."""


class _Level(IntEnum):
    PERSPECTIVE = 1
    RELATION = 2
    PICTURE = 3
    NAME = 4


_LONGEST = 1000
"""Characters of a question or answer that are read."""
_MAY_SPEAK = re.compile(
    r"left|right|front|behind|back|rear|fac(?:e|ing)|ground|distance|perspective|view|camera|observer|side\b|image|picture"
    r"|photo|frame|shot|scene|starboard|ahead|hind",
    re.IGNORECASE,
)
_VIEW = "(?:perspective|point of view|viewpoint|vantage point)"
_SEER = "(?:viewer|observer|camera|photographer)"
_OF_VIEWER = re.compile(
    rf"\b(?:from|in) (?:(?:the )?{_SEER}'s|our|your|my) (?:{_VIEW}|view)\b"
    rf"|\bfrom the {_VIEW} of the {_SEER}\b"
    rf"|\bas (?:seen|viewed) (?:by|from) (?:the )?(?:{_SEER}|us)\b"
)
_OF_OBJECT = re.compile(
    rf"\bfrom (?:his|her|its|their|[^?.,;]{{1,40}}?(?:'s|s')) (?:own )?{_VIEW}\b|\bfrom the {_VIEW} of\b"
    r"|\b(?:his|her|its|their|'s|s') own (?:left|right|front)\b|\bstage (?:left|right)\b|\bstarboard\b"
    r"|\b(?:driver|passenger)'?s?'?[ -]+side\b"
)
_ANCHOR = re.compile(r"\b(?:in relation to|in relationship to|relative to|compared to|with respect to)\s+")
_PICTURE = f"(?:{'|'.join(sorted(PICTURES))})"
_OF_PICTURE = re.compile(
    r"\b(?:in|into|from|to|towards?|at|fills?|of) the (?:\w+ )?(?:foreground|background|middle ground|backdrop)\b"
    r"|\bin the (?:far )?distance\b|\b(?:far|near|nearer|farther|further) side\b|\b(?:foreground|midground)\b"
    r"|\b(?:top|bottom|upper|lower|cent(?:er|re)|middle|sides?|edges?|corners?|half|quadrant|third|part|portion)"
    rf" (?:\w+ )?of (?:the|this) {_PICTURE}\b"
    rf"|\b(?:to|towards?|at|from|facing|faces?|than|relative to|away from) the {_SEER}\b"
)
_WHERE_IN_PICTURE = re.compile(rf"\bwhere (?:\w+ )?(?:in|within|on) (?:the|this) {_PICTURE}\b")
_FACES = re.compile(
    r"\bfacing\b|\b(?:do|does|did) .*\bface(?=\?|$| (?:the|a|an|away|towards?|left|right)\b)"
    r"|\bfaces (?:the|a|an|away|towards?|left|right|forwards?)\b|\bface (?:the|away)\b"
)
_SEEN_TO_FACE = re.compile(
    rf"\b(?:left|right|us|you|up|down|upwards?|downwards?|skywards?|{'|'.join(sorted(VIEWERS))}|{_PICTURE})\b"
)
"""What a picture shows a thing to face, or what needs no frame: not a direction that the thing itself gives."""
_AWAY = re.compile(r"\bfac(?:ing|es?) away(?! from)|^(?:directly |straight )?away[.]?$")
_VERTICAL = word_set("upper lower top bottom uppermost")
_BEFORE_SIDE = _VERTICAL | word_set("far center centre middle front back rear hind immediate")
_PLACES = word_set("side sides edge edges corner corners half end part portion third quadrant section most hand area")
_ONLY_JUST = word_set(
    """
    next behind in above below under beside at on by now here there after before inside outside up down angle angles
    over against along where across through underneath beneath near between around alongside into onto atop away
    """
)
"""Before them `right` is no side but "just": "right next to"."""
_BEFORE_A_SIDE = word_set(
    """
    the to a his her its their my our your upper lower top bottom far center centre middle front back rear hind facing
    and or towards toward immediate own from slightly just left right directly
    """
)
_BEFORE_A_VERB = word_set("is are was were been be has have had being gets got someone they he she")
"""Before them `left` is a verb: "is left open"."""
_POSSESSIVES: dict[str, Kind] = {
    "his": "being",
    "her": "being",
    "their": "being",
    "its": "pronoun",
    "my": "viewer",
    "our": "viewer",
    "your": "viewer",
}
_FRONT_PARTS = BODY_PARTS | word_set("wheel wheels tire tires door doors seat seats limb limbs flipper")
"""What of a thing comes in a front and a back one."""
_RELATING = word_set("behind of from to toward towards at facing face")
_PLACING = word_set("in on at to toward towards near from against along")
_FRONTS = word_set("front back rear")


def mark_frames(pairs: pl.Expr) -> pl.Expr:
    """The frame of each pair: `pairs` is a struct with fields question and answer. One of FRAMES; never null."""
    return pairs.map_batches(_mark_batch, return_dtype=pl.String, is_elementwise=True).alias("frame")


def _mark_batch(pairs: pl.Series) -> pl.Series:
    rows = pairs.struct.unnest().select("question", "answer").iter_rows()
    return pl.Series(pairs.name, [frame_of(question or "", answer or "") for question, answer in rows], pl.String)


def frame_of(question: str, answer: str) -> Frame:
    """The frame of reference that a pair speaks in."""
    asked, said = question[:_LONGEST], answer[:_LONGEST]
    if not _MAY_SPEAK.search(asked) and not _MAY_SPEAK.search(said):
        return "none"
    cues: dict[_Level, set[Frame]] = {}
    for level, frame in _cues(_plain(asked), _plain(said)):
        cues.setdefault(level, set()).add(frame)
    if not cues:
        return "none"
    found = cues[min(cues)]
    return next(frame for frame in ("ambiguous", "object", "viewer") if frame in found)


def _plain(text: str) -> str:
    return " ".join(text.lower().replace("’", "'").split())


def _cues(asked: str, said: str) -> Iterator[tuple[_Level, Frame]]:
    both = f"{asked} | {said}"
    if _OF_VIEWER.search(both):
        yield _Level.PERSPECTIVE, "viewer"
    elif _OF_OBJECT.search(both):
        yield _Level.PERSPECTIVE, "object"
    if _OF_PICTURE.search(asked) or _OF_PICTURE.search(said):
        yield _Level.RELATION, "viewer"
    if _WHERE_IN_PICTURE.search(asked):
        yield _Level.PICTURE, "viewer"
    yield from _facing(asked, said)
    question, answer = words_of(asked), words_of(said)
    anchor = _anchor(asked)
    # "What is the cat behind?" is answered with what it is behind.
    named = kind_at(answer, 0) if _open_ended(question) else None
    if named == "viewer":
        yield _Level.RELATION, "viewer"
    yield from _sides(question, anchor or named)
    yield from _sides(answer, anchor)


def _anchor(asked: str) -> Kind | None:
    """What a question asks for a place in relation to."""
    found = _ANCHOR.search(asked)
    return kind_at(words_of(asked[found.end() :]), 0) if found else None


def _open_ended(question: Sequence[str]) -> bool:
    """Whether a question breaks off after a relation, whose thing the answer names."""
    rest = [word for word in question[-4:] if word.isalnum()]
    return bool(rest) and rest[-1] in _RELATING


def _facing(asked: str, said: str) -> Iterator[tuple[_Level, Frame]]:
    found = _FACES.search(asked)
    if found is None:
        found = _FACES.search(said)
        faced = said[found.start() :] if found else ""
    else:
        faced = f"{asked[found.start() :]} | {said}"
    if found is None:
        return
    if _AWAY.search(faced) or _AWAY.search(said):
        yield _Level.RELATION, "viewer"
    elif not _SEEN_TO_FACE.search(faced):
        yield _Level.RELATION, "object"


def _sides(words: Sequence[str], anchor: Kind | None) -> Iterator[tuple[_Level, Frame]]:
    for place, word in enumerate(words):
        if word in ("left", "right"):
            yield from _side(words, place, anchor)
        elif word == "behind" or (word == "front" and words[place - 1 : place] == ["in"]):
            yield from _before_or_behind(words, place, anchor)
        elif word in _FRONTS or word == "hind":
            yield from _end(words, place, anchor)
        elif word == "ahead" and words[place + 1 : place + 2] == ["of"]:
            yield from _related(kind_at(words, place + 2))


def _related(kind: Kind | None) -> Iterator[tuple[_Level, Frame]]:
    """A side of a thing, not said whose."""
    if kind is not None:
        unsaid = kind in ("being", "fronted", "pronoun")
        yield _Level.RELATION, "ambiguous" if unsaid else "viewer"


def _side(words: Sequence[str], place: int, anchor: Kind | None) -> Iterator[tuple[_Level, Frame]]:
    before = words[place - 1] if place else ""
    after = words[place + 1] if place + 1 < len(words) else ""
    owned = before.endswith(("'s", "s'"))
    if before in _BEFORE_A_VERB and after != "of" and words[place] == "left":
        return
    if words[place] == "right" and after in _ONLY_JUST and not (before in _BEFORE_A_SIDE or owned):
        return
    if words[place] == "right" and after == "angle":
        return
    end = place + 1
    # "left or right side of", "left hand side of"
    while end < len(words) and words[end] in ("or", "and") and words[end + 1 : end + 2] in (["left"], ["right"]):
        end += 2
    named = end
    while end < len(words) and words[end] in _PLACES and not (words[end] == "hand" and not _side_follows(words, end)):
        end += 1
    owner = _owner(words, place)
    if owner is not None:
        follows = words[named] if named < len(words) and end == named and words[named].isalpha() else ""
        yield from _owned(owner, follows, words[place - 1] in _VERTICAL)
    elif words[end : end + 1] == ["of"]:
        yield from _related(kind_at(words, end + 1) or anchor)
    elif end > named or not (thing := phrase_at(words, end)) or (thing[0] in _BEFORE_SIDE and len(thing) == 1):
        yield from _related(anchor or "picture")
    else:
        yield _Level.NAME, _frame_of_name(thing[-1])


def _side_follows(words: Sequence[str], place: int) -> bool:
    return words[place + 1 : place + 2] in (["side"], ["corner"], ["edge"])


def _owner(words: Sequence[str], place: int) -> Kind | None:
    """Whose left or right it is, where a possessive stands before it."""
    start = place - 1
    while start >= 0 and (words[start] in _BEFORE_SIDE or words[start] in ("own", "left", "right", "or")):
        start -= 1
    if start < 0:
        return None
    word = words[start]
    if word in _POSSESSIVES:
        return _POSSESSIVES[word]
    return kind_of_phrase([word]) if word.endswith(("'s", "s'")) else None


def _owned(owner: Kind, thing: str, vertical: bool) -> Iterator[tuple[_Level, Frame]]:
    """A side that belongs to someone, or a thing of theirs on that side."""
    if thing and (thing in BODY_PARTS or thing in WORN):
        yield _Level.NAME, "object"
    elif owner in ("viewer", "picture", "sideless"):
        yield _Level.NAME if thing else _Level.RELATION, "viewer"
    elif owner == "being" and not vertical:
        yield _Level.NAME if thing else _Level.RELATION, "object"
    else:
        yield _Level.NAME if thing else _Level.RELATION, "ambiguous"


def _frame_of_name(thing: str) -> Frame:
    """Of "the left hand", "the left wheel", "the left tree"."""
    if thing in BODY_PARTS or thing in WORN:
        return "object"
    return "ambiguous" if thing in VEHICLE_PARTS else "viewer"


def _before_or_behind(words: Sequence[str], place: int, anchor: Kind | None) -> Iterator[tuple[_Level, Frame]]:
    if words[place] == "front" and words[place + 1 : place + 2] != ["of"]:
        # "in front", of what the question names
        yield from _related(anchor or "picture")
        return
    start = place + 1 if words[place] == "behind" else place + 2
    if words[start : start + 2] == ["the", "wheel"] or words[place - 1 : place] == ["left"]:
        return
    yield from _related(kind_at(words, start) or anchor or "picture")


def _end(words: Sequence[str], place: int, anchor: Kind | None) -> Iterator[tuple[_Level, Frame]]:
    """The front or the back of something, which is its own where it has one."""
    before = words[place - 1] if place else ""
    end = place + 1
    while end < len(words) and words[end] in _PLACES | {"left", "right", "center"}:
        end += 1
    if words[end : end + 1] == ["of"]:
        kind = kind_at(words, end + 1) or anchor or "picture"
    elif before == "the" and not (thing := phrase_at(words, end)):
        kind = anchor or "picture"
    else:
        thing = phrase_at(words, end)
        if thing and thing[0] in _FRONT_PARTS and end == place + 1:
            yield _Level.NAME, "object"
        return
    # "at the front of the bus" is where something is; "the front of the bus" alone is a thing like others.
    if place >= 2 and words[place - 2] in _PLACING:
        yield _Level.RELATION, "object" if kind in ("being", "fronted", "pronoun") else "viewer"


def frame_shares(samples: pl.LazyFrame) -> pl.DataFrame:
    """Pairs of each source and in total, and the percentage of each frame among them; `samples` is `spare_dataset`."""
    frame = pl.col("pairs").struct.field("frame")
    shares = [(100 * (frame == name).mean()).round(2).alias(name) for name in FRAMES]
    pairs = samples.select("source", "pairs").explode("pairs").filter(pl.col("pairs").is_not_null())
    by_source = pairs.group_by("source").agg(pl.len().alias("pairs_marked"), *shares).sort("source")
    total = pairs.select(pl.lit(RESERVED_SOURCE).alias("source"), pl.len().alias("pairs_marked"), *shares)
    return pl.concat([by_source, total]).rename({"pairs_marked": "pairs"}).collect()
