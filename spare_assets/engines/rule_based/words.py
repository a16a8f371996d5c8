"""From a caption to sentences of tagged units: words, punctuation, quoted text, relation and region phrases.

A tag is one character, so that a sentence is a string that a compiled expression can read. What the tags build up
to is known in `phrases` and `reading`. The tags:

d the, this        a a, an, another      q number, quantity   p his, its          i no, each
J adjective        N noun                M plural noun        S noun with 's      Q quoted text
x pronoun          t there               b form of be         h form of have      A can, may
v position verb    g the same in -ing    e position participle (placed, mounted)
V other verb       G the same in -ing    E other participle
k verb relating two things               j the same in -ing   u participle and preposition (surrounded by)
r relation         B between             z region of picture  f facing            I "in this image"
y "we can see"     R adverb              W which, that        w with              o of
P to, for, from    c and                 C or                 K while, but        ~ any other sign
Commas, colons, semicolons and brackets stand for themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from spare_assets.engines.rule_based import lexicon
from spare_assets.engines.rule_based.relation_phrases import IMAGE, PASSIVE, REGION, RELATION

MAX_UNITS = 150
"""Longer sentences are not read: they are lists or run-ons that no rule here was made for."""

_TOKEN = re.compile(
    rf"""(?P<quote>"[^"\n]{{0,200}}"|“[^”\n]{{0,200}}”|(?<!\w)['‘][^'’\n]{{1,60}}['’](?!\w))"""
    rf"|(?P<passive>\b(?:{PASSIVE}))"
    rf"|(?P<region>\b(?:{REGION}))"
    r"|(?P<joint>\b(?:along with|as well as|together with)\b)"
    r"|(?P<adverb>\b(?:at (?:least|most)|in (?:part|full|general|total)|as well)\b)"
    rf"|(?P<relation>\b(?:{RELATION}))"
    r"|(?P<quantity>\b(?:an? (?:couple|few|lot|number|variety|handful|dozen|multitude) of|a few|lots of|plenty of|"
    r"dozens of|hundreds of)\b)"
    rf"|(?P<word>[^\W_]+(?:['’&/-][^\W_]+)*)"
    rf"|(?P<end>[.!?…]+|\n)"
    rf"|(?P<mark>[^\s])"
)
_INTRODUCTION = re.compile(
    rf"\b(?:(?:as )?(?:i|we|you|one) can (?:also )?(?:see|observe|notice|find|view)"
    rf"|(?:the|this) {IMAGE} (?:also )?"
    rf"(?:shows|features|depicts|captures|displays|contains|presents|showcases|includes)"
    rf"|(?:an?|the|this) (?:[a-z-]+ ){{0,6}}?"
    rf"(?:view|shot|photo|photograph|image|picture|close-up|closeup|painting|depiction|drawing) "
    rf"(?:of|shows|showing|featuring)"
    rf")\b"
)
_FRAME_TALK = re.compile(rf"\b(?:in|from|within) (?:the|this|a|an) (?:[a-z]+ )?{IMAGE}\b(?!['’-])")


_PHRASE_WORDS = {
    "there": "t",
    "with": "w",
    "of": "o",
    "and": "c",
    "or": "C",
    "facing": "f",
    "there's": "y",
    "there’s": "y",
}


@dataclass(slots=True)
class Unit:
    """A word, or a phrase read as one; `text` is lower-case, `start` and `end` are characters of the caption."""

    text: str
    start: int
    end: int


@dataclass(slots=True)
class Sentence:
    """Units of one sentence and their tags, one character per unit."""

    units: list[Unit]
    tags: str


def _third_person(base: str) -> str:
    if base.endswith(("s", "x", "ch", "sh", "go")):
        return base + "es"
    if base.endswith("y") and base[-2] not in "aeiou":
        return base[:-1] + "ies"
    return base + "s"


def _progressive(base: str) -> str:
    if base.endswith("ie"):
        return base[:-2] + "ying"
    if base.endswith("e") and not base.endswith(("ee", "ye")):
        return base[:-1] + "ing"
    if base in lexicon.DOUBLING_VERBS:
        return base + base[-1] + "ing"
    return base + "ing"


def _position_forms() -> tuple[dict[str, str], dict[str, bool]]:
    """Progressive of every form of a position verb, and whether a finite verb form asks for a plural subject."""
    progressives = {}
    plurals = {"is": False, "was": False, "are": True, "were": True}
    for base in lexicon.POSITION_VERBS:
        progressive = _progressive(base)
        for form in (base, _third_person(base), progressive):
            progressives[form] = progressive
        plurals[base], plurals[_third_person(base)] = True, False
    return progressives, plurals


PROGRESSIVES, PLURAL_VERBS = _position_forms()
RELATING_FORMS = [(base, third, _progressive(base)) for base, third in lexicon.RELATING_VERBS.items()]
"""Base, third person and progressive of the verbs that relate two things."""


def _fixed_tags() -> dict[str, str]:
    """Tags of known words. Digits mark verbs that may be nouns: 0 sits, 1 stands, 2 holds, 3 covers, 4 sit, 5 hold."""
    tags: dict[str, str] = {}
    for base in lexicon.OTHER_VERBS:
        tags |= {_third_person(base): "2", base: "5", _progressive(base): "G"}
    for base in lexicon.POSITION_VERBS:
        tags |= {_third_person(base): "0", base: "4", _progressive(base): "g"}
    tags |= dict.fromkeys(lexicon.NOUN_OR_VERB_FORMS, "1")
    for base, third in lexicon.RELATING_VERBS.items():
        tags |= {third: "3", base: "3", _progressive(base): "j"}
    for words, tag in (
        (lexicon.ADJECTIVES, "J"),
        (lexicon.NOUNS_LIKE_PARTICIPLES, "N"),
        (lexicon.ADVERBS, "R"),
        (lexicon.OTHER_PARTICIPLES, "E"),
        (lexicon.POSITION_PARTICIPLES, "e"),
        (lexicon.OTHER_PREPOSITIONS, "P"),
        (lexicon.CLAUSE_WORDS, "K"),
        (lexicon.AUXILIARIES, "A"),
        (lexicon.HAVE, "h"),
        (lexicon.BE, "b"),
        (lexicon.RELATIVES, "W"),
        (lexicon.PRONOUNS, "x"),
        (lexicon.POSSESSIVES, "p"),
        (lexicon.NEGATIVE_DETERMINERS, "i"),
        (lexicon.QUANTIFIERS | lexicon.NUMBERS, "q"),
        (lexicon.INDEFINITE, "a"),
        (lexicon.DEFINITE, "d"),
    ):
        tags |= dict.fromkeys(words, tag)
    return tags | _PHRASE_WORDS


_TAGS = _fixed_tags()


@lru_cache(maxsize=65536)
def _guess(word: str) -> str:
    """Tag of a word outside the lists, by its form."""
    if word[0].isdigit():
        return "q"
    if word.endswith(("'s", "’s", "s'", "s’")):
        return "S"
    last = word.rsplit("-", 1)[-1]
    if last != word and (last in lexicon.COMPOUND_ENDS or last.endswith("ed") or _TAGS.get(last) == "J"):
        return "J"
    if word.endswith("ly"):
        return "N" if word in lexicon.NOUNS_IN_LY else "R"
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
        and noun not in lexicon.SINGULARS_IN_S
        and not noun.endswith(("ss", "us", "is", "'s", "’s"))
    )


def _verb_or_noun(tag: str, before: str, after: str) -> str:
    """Tag of a word that may be both, by its neighbours; `~` where they leave it open."""
    if before in "daqpiSo" or (before == "J" and tag != "0"):
        return "N" if tag in "45" else "M"
    match tag:
        case "0":
            return "v"
        case "1":
            return "v" if before in "NMWRtxQcz," else "M"
        case "3":
            return "k" if before in "NMWRQx" and after in "daqpJ" else "M"
        case "4":
            return "v" if before in "MWRxVPA" else "N"
    if before in "WRxtA" or (before in "VP" and tag == "5"):
        return "V"
    if before in "NMQc,z" and after in "daqpx":
        return "V" if tag == "2" or before == "M" else "~"
    if before in "NM":
        return "~" if tag == "2" or before == "M" or after in "Gg" else "N"
    return "M" if tag == "2" else "N"


def _settle(units: list[Unit], tags: list[str]) -> str:
    """Tags of a sentence, with words that may be verb or noun, adjective or adverb decided by their neighbours."""
    last = len(tags) - 1
    for index, tag in enumerate(tags):
        if tag not in _UNSETTLED:
            continue
        before = tags[index - 1] if index else "."
        after = tags[index + 1] if index < last else "."
        if tag in "012345":
            tags[index] = _verb_or_noun(tag, before, after)
        elif tag == "M":
            if before in "NS" and after in "dap":
                tags[index] = "V"
        elif tag == "R":
            if before in "dapq" and after in "JNM":
                tags[index] = "J"
        elif tag == "A":
            if (
                units[index].text == "can"
                and before in "JNdaqp"
                and (after not in "bxhR45" or units[index + 1].text == "is")
            ):
                tags[index] = "N"
        elif tag == "J":
            alone = (before == "N" and after not in "JNMS") or (before in "daqpJS" and after not in "JNMSRc,")
            if alone and units[index].text in lexicon.NOUN_OR_ADJECTIVE:
                tags[index] = "N"
        elif units[index].text == "set" and before == "N":
            # "a TV set", "a vase set on a table": left open.
            tags[index] = "~"
        elif (before == "a" or (before == "J" and tag == "e")) and after not in "JNMSEG":
            # "a being", "a small set": no noun follows, so this is the noun.
            tags[index] = "N"
    return "".join(tags)


_UNSETTLED = frozenset("012345MRebgAJ")


def read_sentences(caption: str) -> Iterator[Sentence]:
    """Sentences of a caption, one by one; those with more than MAX_UNITS units are left out."""
    lowered = caption.lower()
    if len(lowered) != len(caption):
        lowered = "".join(low if len(low := letter.lower()) == 1 else letter for letter in caption)
    phrases = {match.start(): (match.end(), "I") for match in _FRAME_TALK.finditer(lowered)}
    phrases |= {match.start(): (match.end(), "y") for match in _INTRODUCTION.finditer(lowered)}
    units: list[Unit] = []
    tags: list[str] = []
    skip_to = 0
    for match in _TOKEN.finditer(lowered):
        start, end = match.span()
        if start < skip_to:
            continue
        kind = match.lastgroup
        if kind == "end" and (end == len(lowered) or lowered[end - 1] == "\n" or lowered[end] in _AFTER_SENTENCE):
            if 0 < len(units) <= MAX_UNITS:
                yield Sentence(units, _settle(units, tags))
            units, tags = [], []
            continue
        if len(units) > MAX_UNITS:
            continue
        text = match.group()
        if start in phrases and kind != "region":
            end, tag = phrases[start]
            skip_to = end
            text = lowered[start:end]
        elif kind == "word":
            tag = _TAGS.get(text) or (_guess(text) if end - start <= _LONGEST_WORD else "~")
        elif kind == "relation":
            tag = "B" if text.endswith("between") else "r"
        elif kind in ("mark", "end"):
            tag = text if text in ",;:()" else "~"
        else:
            tag = _KIND_TAGS[kind or ""]
        units.append(Unit(text, start, end))
        tags.append(tag)
    if 0 < len(units) <= MAX_UNITS:
        yield Sentence(units, _settle(units, tags))


_AFTER_SENTENCE = " \t\r\n\f\v\xa0\"”')"
_LONGEST_WORD = 40
_KIND_TAGS = {"region": "z", "passive": "u", "quote": "Q", "quantity": "q", "adverb": "R", "joint": "c"}
