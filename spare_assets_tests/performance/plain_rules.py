"""The rules of checks 1 to 3 in plain Python, one pair at a time, as one would write them for a row-wise framework.

Standard library only. Written to be fast: normal forms of words and the words of a caption are remembered, terms stand
in one expression. The project's checks are what they are held against.
"""

from __future__ import annotations

import json
import re
import unicodedata
from functools import lru_cache
from pathlib import Path

_BLANKS = re.compile(r"\s+")
_TOKEN = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_POSSESSIVE = re.compile(r"['’]s$")
_PLURAL = re.compile(r"^(.+[^sui])s$")
_IE = re.compile(r"ie$")
_SILENT = re.compile(r"(ch|sh|[xszo])e$")
_MEN = re.compile(r"men$")


class PlainRules:
    """The three rules, with the lists of words that the file holds. Remembers what was asked of a caption before."""

    def __init__(self, file: Path) -> None:
        words = json.loads(file.read_text(encoding="utf-8"))
        self._stop_words = frozenset(words["stop_words"])
        self._same_words: dict[str, str] = words["same_words"]
        self._minimum: float = words["minimum_grounding"]
        terms = (r"\s+".join(map(re.escape, term.split())) for term in words["reference_terms"])
        self._reference = re.compile(rf"\b(?:{'|'.join(terms)})\b", re.IGNORECASE)
        self._asked: set[tuple[str, str]] = set()
        self._normal = lru_cache(None)(self._normal_form)
        self._stated = lru_cache(64)(self._content_words)

    def new(self, caption_id: str, question: str) -> bool:
        """Check 1 without its cosine: nobody asked that of this caption before."""
        asked = (caption_id, self.folded(question))
        if asked in self._asked:
            return False
        self._asked.add(asked)
        return True

    def folded(self, question: str) -> str:
        """The question by which two pairs count as asking the same."""
        text = _BLANKS.sub(" ", unicodedata.normalize("NFC", question).upper().lower()).lstrip(" ")
        end = len(text)
        while end and (text[end - 1].isspace() or unicodedata.category(text[end - 1])[0] == "P"):
            end -= 1
        return text[:end]

    def speaks_of_image(self, question: str, answer: str) -> bool:
        """Check 2."""
        return not (self._reference.search(question) or self._reference.search(answer))

    def grounded(self, question: str, answer: str, caption: str) -> bool:
        """Check 3."""
        words = self._content_words(answer) or self._content_words(question)
        return bool(words) and len(words & self._stated(caption)) / len(words) >= self._minimum

    def _content_words(self, text: str) -> frozenset[str]:
        return frozenset(filter(None, map(self._normal, _TOKEN.findall(text))))

    def _normal_form(self, token: str) -> str:
        """The form under which words count as the same; empty for stop words."""
        word = unicodedata.normalize("NFKC", token).upper().lower()
        word = _POSSESSIVE.sub("", word).replace("'", "").replace("’", "")
        if word in self._stop_words:
            return ""
        word = _PLURAL.sub(r"\1", self._same_words.get(word, word))
        return _MEN.sub("man", _SILENT.sub(r"\1", _IE.sub("y", word)))
