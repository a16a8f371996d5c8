"""Questions of visual question answering datasets, read from the annotation files they are released as.

Belongs here: which files a dataset has, and where question and answer stand in them. What is counted does not.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import polars as pl

from spare_assets.analyses.json_stream import document_members
from spare_assets.captions.files import SourceFile, json_lines, opened, source_files
from spare_assets.captions.records import RowError, SourceError, caption_text, plain_text
from spare_assets.sandbox.vqa_files import ensure_rendered
from spare_assets.settings import Home, VqaDataset

SECTION = "analyses.vqa"
BATCH = 10_000
QUESTIONS = pl.Schema({"dataset": pl.String, "question": pl.String, "answer": pl.String})
STATEMENTS = frozenset(("vsr", "hateful_memes"))
"""Formats whose `question` is a statement to be judged, not a question."""
_EXAMPLES = 20
_PICTURE_SIGNS = re.compile(r"<(?:image|video|img)>")
_ASKERS, _ANSWERERS = ("human", "user"), ("gpt", "assistant", "bot")

Turn: TypeAlias = tuple[str, str | None]
"""A question and its answer, where the file gives one."""


@dataclass(slots=True)
class VqaQuestions:
    """The questions of one dataset. Iterate `batches`; the counts grow on the way and are whole at its end."""

    key: str
    dataset: VqaDataset
    files: Sequence[SourceFile]
    read: int = 0
    unreadable: int = 0
    examples: list[str] = field(default_factory=list)
    """File, line (or place in a JSON document) and reason of the first unreadable ones."""

    def batches(self, size: int = BATCH) -> Iterator[pl.DataFrame]:
        """All questions in the files' order, `size` at a time: columns dataset, question, and answer or null.

        Memory is flat: files are read a record at a time. Raises SourceError where a file can't be read to its end.
        """
        self.read = self.unreadable = 0
        self.examples.clear()
        turns = itertools.chain.from_iterable(map(self._turns, self.files))
        while batch := list(itertools.islice(turns, size)):
            self.read += len(batch)
            questions, answers = zip(*batch, strict=True)
            columns = {"dataset": [self.key] * len(batch), "question": questions, "answer": answers}
            yield pl.DataFrame(columns, schema=QUESTIONS)

    def _turns(self, file: SourceFile) -> Iterator[Turn]:
        reader = _FORMATS[self.dataset.format]
        for line, record in reader.records(file):
            if isinstance(record, RowError):
                self._note(file, line, record)
                continue
            for item in reader.items(record):
                try:
                    yield reader.turn(item)
                except RowError as error:
                    self._note(file, line, error)

    def _note(self, file: SourceFile, line: int, error: RowError) -> None:
        self.unreadable += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append(f"{file.name}:{line}: {error}")


def vqa_questions(home: Home) -> tuple[list[VqaQuestions], dict[str, str]]:
    """The declared datasets whose files are there, in the settings' order, and of the others what to say of them.

    Renders those the profile asks to be rendered. Raises SourceError where some files of a dataset are there and
    others are not, or one is empty.
    """
    present: list[VqaQuestions] = []
    absent: dict[str, str] = {}
    for key, dataset in home.settings.analyses.vqa.items():
        ensure_rendered(key, dataset, home)
        try:
            present.append(VqaQuestions(key, dataset, source_files(key, dataset, home, SECTION)))
        except SourceError as error:
            if _any_there(dataset, home):
                raise
            absent[key] = str(error)
    return present, absent


def _any_there(dataset: VqaDataset, home: Home) -> bool:
    for pattern in dataset.files:
        path = home.resolve(pattern)
        # The pattern is absolute: it is taken apart at its root.
        if path.exists() or any(path.__class__(path.anchor).glob(str(path.relative_to(path.anchor)))):
            return True
    return False


@dataclass(frozen=True, slots=True)
class _Format:
    """How a release holds its questions: records of a file, items of a record, the turn an item is."""

    records: Callable[[SourceFile], Iterator[tuple[int, Any]]]
    items: Callable[[Any], Iterator[Any]]
    turn: Callable[[Any], Turn]


def _one(record: Any) -> Iterator[Any]:
    yield record


def _lines(file: SourceFile) -> Iterator[tuple[int, Any]]:
    for row in json_lines(file):
        yield row.line, RowError(row.reason) if row.fields is None else row.fields


def _members(*names: str) -> Callable[[SourceFile], Iterator[tuple[int, Any]]]:
    return lambda file: enumerate(document_members(file, *names), start=1)


def _list_or_lines(file: SourceFile) -> Iterator[tuple[int, Any]]:
    """Records of a JSON list, or of JSON lines, told by the first sign."""
    with opened(file) as stream:
        start = stream.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    yield from _members("conversations")(file) if start == b"[" else _lines(file)


def _fields(item: Any) -> Mapping[str, Any]:
    if not isinstance(item, dict):
        raise RowError("not a JSON object")
    return item


def _question_and_answer(item: Any) -> Turn:
    fields = _fields(item)
    return caption_text(fields, "question"), _optional(fields, "answer")


def _optional(fields: Mapping[str, Any], name: str) -> str | None:
    return None if fields.get(name) is None else plain_text(fields[name], name)


def _of_image(record: Any) -> Iterator[Any]:
    pairs = record.get("qa_pairs") if isinstance(record, dict) else None
    # What is no list becomes an item that is refused, so that it is counted.
    yield from pairs if isinstance(pairs, list) else [pairs]


def _telling_or_pointing(item: Any) -> Turn:
    fields = _fields(item)
    answer = fields.get("answer")
    # The answer to a pointing question is a box, by its number.
    return caption_text(fields, "question"), None if isinstance(answer, int) else _optional(fields, "answer")


def _statement(item: Any) -> Turn:
    fields = _fields(item)
    return caption_text(fields, "caption"), _label(fields, ("False", "True"))


def _meme(item: Any) -> Turn:
    fields = _fields(item)
    return caption_text(fields, "text"), _label(fields, ("not hateful", "hateful"))


def _label(fields: Mapping[str, Any], words: tuple[str, str]) -> str | None:
    label = fields.get("label")
    if label is None:
        return None
    if label not in (0, 1):
        raise RowError(f"`label` is {label!r}, not 0 or 1")
    return words[int(label)]


def _rounds(record: Any) -> Iterator[Any]:
    """Each question of a conversation with the answer that follows it; of system turns nothing is made."""
    turns = record.get("conversations") if isinstance(record, dict) else None
    if not isinstance(turns, list) or not turns:
        yield RowError("`conversations` is missing or no list of turns")
        return
    for place, turn in enumerate(turns):
        who = turn.get("from") if isinstance(turn, dict) else None
        if who in _ASKERS:
            following = turns[place + 1] if place + 1 < len(turns) else None
            answered = isinstance(following, dict) and following.get("from") in _ANSWERERS
            yield turn, following if answered else None
        elif who not in (*_ANSWERERS, "system"):
            yield RowError(f"turn {place + 1} is from {who!r}, not human or gpt")


def _round(item: Any) -> Turn:
    if isinstance(item, RowError):
        raise item
    asked, answer = item
    return _said(asked), None if answer is None else _said(answer)


def _said(turn: Mapping[str, Any]) -> str:
    """What a turn says; InternVL's documents call it `value` or `text`."""
    name = "value" if "value" in turn else "text"
    return _PICTURE_SIGNS.sub(" ", plain_text(turn.get(name), name)).strip()


_FORMATS: Mapping[str, _Format] = {
    "vqav2": _Format(_members("questions"), _one, _question_and_answer),
    "gqa": _Format(_members(), _one, _question_and_answer),
    "visual7w": _Format(_members("images"), _of_image, _telling_or_pointing),
    "vsr": _Format(_lines, _one, _statement),
    "hateful_memes": _Format(_lines, _one, _meme),
    "conversations": _Format(_list_or_lines, _rounds, _round),
}
