"""From a caption to sentences of tagged units: words, punctuation, quoted text, relation and region phrases.

A tag is one character, so that a sentence is a string that a compiled expression can read. What the tags build up to
is known in `phrases` and `reading`.

Tags: d the, this; a an, another; q number or quantity; p possessive; i no, each; J adjective; N noun; M plural noun;
S noun with 's; Q quoted text; x pronoun; t there; b form of be; h form of have; v position verb; V other verb;
g position verb in -ing; G other -ing form; e position participle; E other participle; k verb relating two things;
u passive relation; r relation; B between; z region of the picture; f facing; y introduction ("we can see"); R adverb; W relative
pronoun; w with; o of; P other preposition; c and, or; K clause word; punctuation stands for itself, ~ for the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from spare_assets.engines.rule_based import lexicon

MAX_UNITS = 150
"""Longer sentences are not read: they are lists or run-ons that no rule here was made for."""

_IMAGE = r"(?:image|picture|photo(?:graph)?|frame|shot|scene|view|painting|illustration|canvas)"
_POSITION_WORD = (
    r"(?:very|far|extreme|immediate|upper|lower|top|bottom|left|right|center|central|middle|back|front|near|outer|"
    r"inner|opposite|other|left-hand|right-hand|far-left|far-right|top-left|top-right|bottom-left|bottom-right|"
    r"upper-left|upper-right|lower-left|lower-right)"
)
_POSITION_NOUN = (
    r"(?:side|corner|half|part|portion|edge|section|third|area|quadrant|left|right|top|bottom|center|centre|middle|"
    r"foreground|background|distance|front|back|rear|end|hand side|"
    r"top-left|top-right|bottom-left|bottom-right|upper-left|upper-right|lower-left|lower-right)"
)
_PLACE_NOUN = (
    rf"(?:{_POSITION_NOUN}|surface|base|foot|tip|inside|outside|midst|heart|rim|border|perimeter|mouth)"
)
_DEGREE = r"(?:(?:directly|just|immediately|slightly|diagonally|partially|high|far|right(?= (?:above|below|behind|next|beside|in front|under|beneath|on top|by|outside|inside|against))) )?"
_AFTER_REGION = (
    r"(?= ?(?:[.,;:!?)]|\Z|(?:there|is|are|was|were|i|we|you|and|with|stands?|sits?|lies?|a|an|the|some|two|three|four|five|"
    r"several|many|behind|in|on|while|which|that|can)\b))"
)
_REGION = (
    rf"(?:off |further |up |down |far )?(?:in|on|at|to|towards?|near|along|across|throughout|over to) "
    rf"(?:the|this) (?:{_POSITION_WORD}[ -]){{0,3}}{_POSITION_NOUN}"
    rf"(?: of (?:the|this) {_IMAGE}\b(?!['’-])|(?! of\b){_AFTER_REGION})"
)
_RELATION = (
    rf"{_DEGREE}(?:"
    rf"(?:in|on|at|to|towards?|near|along|off to|around|from) (?:the|either|both|each|opposite) (?:{_POSITION_WORD}[ -]){{0,3}}(?:{_PLACE_NOUN}|sides) of"
    rf"|(?:in front|on top|in back|left|right|ahead|on opposite sides|north|south|east|west|north-?east|north-?west|"
    rf"south-?east|south-?west|inside|outside) of"
    rf"|next to|adjacent to|close to|near to|in between|away from|far away from|far from|across from|opposite to|opposite from|"
    rf"parallel to|perpendicular to|hanging from|hangs from|side by side with|in the midst of"
    rf"|behind|beside|alongside|above|below|underneath|under|beneath|atop|inside|within|between|amongst?|amid(?:st)?|"
    rf"around|near|by|against|along|across|opposite|outside|through|over|towards?|upon|on|in|at|into|onto|past|throughout"
    rf")\b"
)
_PASSIVE = (
    r"(?:surrounded|encircled|enclosed|flanked|bordered|framed|supported|backed|topped|covered|lined|obscured|"
    r"shaded|overlapped|edged|ringed|overlooked|blocked)(?: on (?:both|all|either) sides?| entirely| completely| partially)? (?:by|with|in)\b"
    r"|(?:connected|attached|joined|linked|affixed|fastened|tied|anchored|secured|chained|bolted|mounted|strapped|glued|taped|hooked) to\b"
    r"|(?:separated|suspended|detached) from\b"
)
_TOKEN = re.compile(
    rf"""(?P<quote>"[^"\n]{{0,200}}"|“[^”\n]{{0,200}}”|(?<!\w)['‘][^'’\n]{{1,60}}['’](?!\w))"""
    rf"|(?P<passive>\b(?:{_PASSIVE}))"
    rf"|(?P<region>\b(?:{_REGION}))"
    rf"|(?P<relation>\b(?:{_RELATION}))"
    rf"|(?P<word>[^\W_]+(?:['’&/-][^\W_]+)*)"
    rf"|(?P<end>[.!?…]+(?=[\s\"”')]|\Z)|\n)"
    rf"|(?P<mark>[^\s])"
)

_INTRODUCTION = re.compile(
    rf"\b(?:(?:as )?(?:i|we|you|one) can (?:also )?(?:see|observe|notice|find|view)"
    rf"|(?:the|this) {_IMAGE} (?:also )?(?:shows|features|depicts|captures|displays|contains|presents|showcases|includes)"
    rf"|(?:an?|the|this) (?:[a-z-]+ ){{0,6}}?(?:view|shot|photo|photograph|image|picture|close-up|closeup|painting|depiction|drawing) (?:of|shows|showing|featuring)"
    rf")\b"
)
_FRAME_TALK = re.compile(rf"\b(?:in|of|from|within) (?:the|this|a|an) (?:[a-z]+ )?{_IMAGE}\b(?!['’-])")

_PHRASE_WORDS = {"there": "t", "with": "w", "of": "o", "and": "c", "or": "c", "facing": "f"}


@dataclass(slots=True)
class Unit:
    """A word or a phrase that is read as one; `start` and `end` are characters of the caption."""

    text: str
    start: int
    end: int


@dataclass(slots=True)
class Sentence:
    """Units of one sentence and their tags, one character per unit."""

    units: list[Unit]
    tags: str


def _forms(base: str) -> dict[str, str]:
    """Finite forms and -ing form of a regular verb: form to 's' (third person), 'b' (base), 'g' (-ing)."""
    if base.endswith(("s", "x", "ch", "sh")):
        third = base + "es"
    elif base.endswith("y") and base[-2] not in "aeiou":
        third = base[:-1] + "ies"
    else:
        third = base + ("es" if base in {"go", "do"} else "s")
    forms = {third: "s", base: "b"}
    if base.endswith("ie"):
        forms[base[:-2] + "ying"] = "g"
    elif base.endswith("e") and not base.endswith(("ee", "ye")):
        forms[base[:-1] + "ing"] = "g"
    else:
        forms[base + "ing"] = "g"
        if base[-1] not in "aeiouwxy":
            forms[base + base[-1] + "ing"] = "g"
    return forms


def _fixed_tags() -> dict[str, str]:
    """Tags of known words. `1` and `2` mark finite forms (position, other) that may be nouns, `3` relating verbs."""
    tags: dict[str, str] = {}
    for base in lexicon.OTHER_VERBS:
        for form, kind in _forms(base).items():
            tags[form] = {"s": "2", "b": "5", "g": "G"}[kind]
    for base in lexicon.POSITION_VERBS:
        for form, kind in _forms(base).items():
            tags[form] = {"s": "1", "b": "4", "g": "g"}[kind]
    for words, tag in (
        (lexicon.ADJECTIVES, "J"),
        (lexicon.NOT_PARTICIPLES, "N"),
        (lexicon.ADVERBS, "R"),
        (lexicon.POSITION_PARTICIPLES, "e"),
        (lexicon.COVERING_VERBS, "3"),
        (lexicon.OTHER_PREPOSITIONS, "P"),
        (lexicon.CLAUSE_WORDS, "K"),
        (lexicon.AUXILIARIES, "V"),
        (lexicon.HAVE, "h"),
        (lexicon.BE, "b"),
        (lexicon.RELATIVES, "W"),
        (lexicon.PRONOUNS, "x"),
        (lexicon.POSSESSIVES, "p"),
        (lexicon.NEGATIVE_DETERMINERS, "i"),
        (lexicon.QUANTIFIERS, "q"),
        (lexicon.NUMBERS, "q"),
        (lexicon.INDEFINITE, "a"),
        (lexicon.DEFINITE, "d"),
        (_PHRASE_WORDS, ""),
    ):
        for word in words:
            tags[word] = tag or _PHRASE_WORDS[word]
    tags["one"] = "q"
    return tags


_TAGS = _fixed_tags()


@lru_cache(maxsize=65536)
def _guess(word: str) -> str:
    """Tag of a word outside the lists, by its form."""
    if word[0].isdigit():
        return "q"
    if word.endswith(("'s", "’s", "s'", "s’")):
        return "S"
    last = word.rsplit("-", 1)[-1]
    if last != word and last in ("shaped", "colored", "coloured", "sized", "like", "style", "styled"):
        return "J"
    if word.endswith("ly"):
        return "N" if word in lexicon.NOT_ADVERBS else "R"
    if word.endswith("ing") and len(word) > 4:
        return "G"
    if word.endswith("ed") and len(word) > 3:
        return "E"
    if word.endswith(("ish", "ful", "ous", "less", "able", "ible", "ical")) and len(word) > 5:
        return "J"
    return "M" if is_plural(word) else "N"


@lru_cache(maxsize=65536)
def is_plural(noun: str) -> bool:
    """Whether a lower-case noun is plural by its form."""
    if noun in lexicon.PLURALS:
        return True
    return (
        noun.endswith("s")
        and len(noun) > 2
        and noun not in lexicon.SINGULAR_S
        and not noun.endswith(("ss", "us", "is", "'s"))
    )


def _resolve(guesses: list[str]) -> str:
    """Settle words that are verb or noun by what stands around them."""
    tags = guesses
    last = len(tags) - 1
    for index, tag in enumerate(tags):
        if tag in "12345":
            before = tags[index - 1] if index else "."
            after = tags[index + 1] if index < last else "."
            noun = "M" if tag in "123" else "N"
            if before in "daqpiJSo":
                tags[index] = noun
            elif tag in "45":
                verb = "v" if tag == "4" else "V"
                tags[index] = (
                    verb if before in "MWR" or (before == "x") or before == "V" or before == "P" else noun
                )
            elif tag == "3":
                tags[index] = "k" if before in "NMWRQx" and after in "daqpJ" else noun
            elif before in "NMWRtxQcJz,":
                tags[index] = "v" if tag == "1" else "V"
            else:
                tags[index] = noun
        elif (
            tag in "ebg"
            and index
            and tags[index - 1] in "aJ"
            and (index == last or tags[index + 1] not in "JNMSEG")
        ):
            tags[index] = "N"
        elif tag == "M" and 0 < index < last and tags[index - 1] in "NS" and tags[index + 1] in "dap":
            tags[index] = "V"
    return "".join(tags)


def read_sentences(caption: str) -> Iterator[Sentence]:
    """Sentences of a caption, one by one; those with more than MAX_UNITS units are left out."""
    lowered = caption.lower()
    if len(lowered) != len(caption):
        lowered = "".join(low if len(low := letter.lower()) == 1 else letter for letter in caption)
    introductions = {match.start(): match.end() for match in _INTRODUCTION.finditer(lowered)}
    frames = {match.start(): match.end() for match in _FRAME_TALK.finditer(lowered)}
    units: list[Unit] = []
    guesses: list[str] = []
    skip_to = 0
    for match in _TOKEN.finditer(lowered):
        start, end = match.span()
        if start < skip_to:
            continue
        kind = match.lastgroup
        if kind == "end":
            if units and len(units) <= MAX_UNITS:
                yield Sentence(units, _resolve(guesses))
            units, guesses = [], []
            continue
        text = match.group()
        if start in introductions:
            skip_to = end = introductions[start]
            tag = "y"
        elif kind != "region" and start in frames:
            skip_to = end = frames[start]
            tag = "I"
        elif kind == "word":
            tag = _TAGS.get(text) or _guess(text)
        elif kind == "relation":
            tag = "B" if text.endswith("between") else "r"
        elif kind == "region":
            tag = "z"
        elif kind == "passive":
            tag = "u"
        elif kind == "quote":
            tag = "Q"
        else:
            tag = text if text in ",;:()" else "~"
        if len(units) <= MAX_UNITS:
            units.append(Unit(lowered[start:end], start, end))
            guesses.append(tag)
    if units and len(units) <= MAX_UNITS:
        yield Sentence(units, _resolve(guesses))
