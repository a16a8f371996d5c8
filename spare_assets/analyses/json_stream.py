"""Members of one large JSON document, one at a time and in flat memory.

Belongs here: walking a document without holding it. What its members mean does not.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from spare_assets.captions.files import SourceFile, opened

CHUNK_BYTES = 1_000_000
MAX_MEMBER_CHARACTERS = 64_000_000
_AFTER_VALUE = frozenset(" \t\r\n,:]}")


def document_members(file: SourceFile, *names: str) -> Iterator[Any]:
    """Members of the list that stands in a document under one of `names`, or of the document where it is a list.

    Without names the document is an object, and its values are the members. Raises SourceError where it is no such
    document, is cut, or holds a member above 64 million characters.
    """
    with opened(file) as stream:
        document = _Document(file, stream)
        opening = document.next_sign()
        if opening == "[" and names:
            yield from document.members("[")
        elif opening == "{" and not names:
            yield from document.members("{")
        elif opening == "{":
            yield from document.named_members(names)
        else:
            raise file.error(f"is no JSON {'list' if names else 'object'}: it begins with {opening or 'nothing'!r}")
        if rest := document.next_sign():
            raise file.error(f"goes on after the end of its JSON document, with {rest!r}")


class _Document:
    """A JSON text read in chunks; `next_sign` and `value` go forward and never back."""

    def __init__(self, file: SourceFile, stream: BinaryIO) -> None:
        self._file, self._stream = file, stream
        self._decode = codecs.getincrementaldecoder("utf-8-sig")()
        self._decoder = json.JSONDecoder(parse_constant=lambda name: None)
        self._text, self._place, self._ended = "", 0, False

    def named_members(self, names: tuple[str, ...]) -> Iterator[Any]:
        """Members of the list under one of these names, in an object whose brace was read; the rest is passed over."""
        found = False
        for name in self._names():
            sign = self._peek()
            if name in names and sign == "[":
                found = True
                self.next_sign()
                yield from self.members("[")
            elif sign in ("[", "{"):
                # Walked through rather than decoded whole: it may be far larger than what is looked for.
                for _ in self.members(self.next_sign()):
                    pass
            else:
                self._value()
        if not found:
            raise self._file.error(f"is a JSON object without a list named {' or '.join(map(repr, names))}")

    def members(self, opening: str) -> Iterator[Any]:
        """Members of a list, or values of an object, whose opening sign was read."""
        if opening == "[":
            if self._peek() == "]":
                self.next_sign()
                return
            while True:
                yield self._value()
                if self._follow("]"):
                    return
        for _ in self._names():
            yield self._value()

    def next_sign(self) -> str:
        """The next character that is no blank, read; "" at the end."""
        sign = self._peek()
        self._place += len(sign)
        return sign

    def _names(self) -> Iterator[str]:
        """Names of an object whose brace was read; the value of each must be read before the next is asked for."""
        if self._peek() == "}":
            self.next_sign()
            return
        while True:
            name = self._value()
            if not isinstance(name, str) or self.next_sign() != ":":
                raise self._broken("a name and a colon")
            yield name
            if self._follow("}"):
                return

    def _follow(self, closing: str) -> bool:
        """Whether the closing sign comes next, and not a comma."""
        sign = self.next_sign()
        if sign not in (",", closing):
            raise self._broken(f"a comma or {closing!r}")
        return sign == closing

    def _value(self) -> Any:
        self._peek()
        wanted = 0
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._place)
            except json.JSONDecodeError as error:
                if self._ended:
                    raise self._broken(f"a value ({error.msg})") from None
            except RecursionError:
                raise self._file.error("is nested too deeply to be read") from None
            except ValueError as error:
                raise self._file.error(f"holds a number that can't be read: {error}") from None
            else:
                # A number cut by the end of what was read ("1", "1.", "1e-") goes on behind it.
                if self._ended or self._text[end : end + 1] in _AFTER_VALUE:
                    self._place = end
                    return value
            held = len(self._text) - self._place
            if held > MAX_MEMBER_CHARACTERS:
                raise self._broken(f"a value of at most {MAX_MEMBER_CHARACTERS:,} characters")
            # Twice as much each time, so that a long member is not decoded once per chunk.
            wanted = max(2 * held, wanted)
            while len(self._text) - self._place <= wanted and not self._ended:
                self._read()

    def _peek(self) -> str:
        while True:
            while self._place < len(self._text):
                sign = self._text[self._place]
                if sign not in " \t\r\n":
                    return sign
                self._place += 1
            if self._ended:
                return ""
            self._read()

    def _read(self) -> None:
        chunk = self._stream.read(CHUNK_BYTES)
        self._ended = not chunk
        try:
            more = self._decode.decode(chunk, self._ended)
        except UnicodeDecodeError as error:
            raise self._file.error(f"is not UTF-8 ({error.reason})") from None
        self._text = self._text[self._place :] + more
        self._place = 0

    def _broken(self, expected: str) -> Exception:
        near = self._text[self._place : self._place + 40]
        where = f"near {near!r}" if near else "at its end"
        return self._file.error(f"is cut or not JSON: expected {expected} {where}")
