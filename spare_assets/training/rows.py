"""The training rows of one part, read from a table without holding it in memory.

The part is copied once into a memory-mapped file in a scratch folder, with the number of tokens of every row beside
it; both are found again by content, so a resumed run counts nothing. Which rows a table holds was decided before;
what a row becomes in a batch is the collator's business.
"""

from __future__ import annotations

import hashlib
import logging
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from spare_assets import settings as profile
from spare_assets.engines.prompt_encoding import UnencodableTextError
from spare_assets.progress import Progress
from spare_assets.settings import RecipeSettings
from spare_assets.storage.temporaries import temporary_beside
from spare_assets.training.order import TrainingError
from spare_assets.training.row_encoding import OddShapeError, RowEncoder

COLUMNS = ("row_id", "part", "image_path", "image_sha256", "width", "height", "turns")
_ROWS_READ_TOGETHER = 1024
_COUNTING = 1
"""Raised when what counts as a row's length changes, so that counts of before are not found."""
_REFUSED = -1

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One row: a picture, and the questions about it with their answers."""

    row_id: str
    image_path: Path
    image_sha256: str
    turns: tuple[tuple[str, str], ...]


class TrainingRows:
    """Rows of one part of a table in the shape of `training_samples`; a map-style dataset for a DataLoader.

    `lengths` are tokens per row (int32), image and chat template included: exactly what the collator makes of it.
    `too_long` rows exceed the recipe's `max_length` and `refused` ones have a picture whose shape the image
    processor does not take; both are set aside, not cut. The object pickles, and processes may share a scratch
    folder; several that find it empty each do the counting.

    Raises TrainingError for a table that can't be read, has no turns in a row, or has texts that can't be encoded.
    """

    lengths: NDArray[np.int32]
    too_long: int
    refused: int

    def __init__(self, path: Path, part: str, processor: Any, recipe: RecipeSettings, scratch: Path) -> None:
        key = _content_key(path, part, processor, recipe)
        self._file = scratch / f"rows-{key}.arrow"
        counts = scratch / f"rows-{key}.lengths.npy"
        if not (self._file.is_file() and counts.is_file()):
            _copy(path, part, RowEncoder(processor, recipe), self._file, counts)
        lengths = np.load(counts, allow_pickle=False)
        fits = lengths <= recipe.max_length
        self.refused = int(np.count_nonzero(lengths == _REFUSED))
        self.too_long = int(np.count_nonzero(~fits))
        self._places = np.flatnonzero(fits & (lengths != _REFUSED))
        self.lengths = lengths[self._places]
        self._columns: dict[str, Any] | None = None
        if self.too_long or self.refused:
            log.warning(
                "%s, part %s: %d rows are longer than %d tokens and %d have pictures of a shape the image processor "
                "refuses; they are set aside",
                path.name,
                part,
                self.too_long,
                recipe.max_length,
                self.refused,
            )

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: SupportsIndex) -> TrainingRow:
        columns = self._open()
        place = int(self._places[operator.index(index)])
        row_id, image_path, image_sha256, questions, answers = (column[place].as_py() for column in columns.values())
        return TrainingRow(row_id, Path(image_path), image_sha256, tuple(zip(questions, answers, strict=True)))

    def row_ids(self, indices: Sequence[int] | NDArray[np.integer]) -> list[str]:
        """Identities of rows by index."""
        import pyarrow as pa

        places = self._places[np.asarray(indices, dtype=np.int64)]
        return list(self._open()["row_id"].take(pa.array(places)).to_pylist())

    def __getstate__(self) -> dict[str, Any]:
        # A memory map is opened by every process for itself.
        return {**self.__dict__, "_columns": None}

    def _open(self) -> dict[str, Any]:
        if self._columns is None:
            import pyarrow as pa

            table = pa.ipc.open_file(pa.memory_map(str(self._file))).read_all()
            self._columns = {name: table.column(name) for name in table.column_names}
        return self._columns


def _content_key(path: Path, part: str, processor: Any, recipe: RecipeSettings) -> str:
    """Hash of all that decides rows and lengths: the table, tokenizer, chat template and image resolution."""
    import transformers

    try:
        with path.open("rb") as file:
            table = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise TrainingError(f"training rows {path}: {error.strerror}; materialize {path.stem} first") from error
    images = processor.image_processor
    return profile.fingerprint(
        _COUNTING,
        transformers.__version__,
        table,
        part,
        hashlib.sha256(processor.tokenizer.backend_tokenizer.to_str().encode()).hexdigest(),
        processor.chat_template or processor.tokenizer.chat_template or "",
        [type(images).__name__, images.patch_size, images.merge_size],
        [recipe.min_pixels, recipe.max_pixels, recipe.system_prompt],
        length=32,
    )


def _copy(path: Path, part: str, encoder: RowEncoder, file: Path, counts: Path) -> None:
    """Write the part's rows and their lengths; each file appears whole or not at all."""
    import pyarrow as pa

    schema = pa.schema(
        {
            "row_id": pa.string(),
            "image_path": pa.string(),
            "image_sha256": pa.string(),
            "questions": pa.list_(pa.string()),
            "answers": pa.list_(pa.string()),
        }
    )
    lengths: list[NDArray[np.int32]] = [np.empty(0, dtype=np.int32)]
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished, unfinished_counts = temporary_beside(file), temporary_beside(counts)
    try:
        with pa.OSFile(str(unfinished), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            for rows in _batches(path, part):
                turns = [[(turn["question"], turn["answer"]) for turn in row] for row in rows["turns"]]
                columns = {name: rows[name] for name in ("row_id", "image_path", "image_sha256")}
                columns["questions"] = [[question for question, _ in row] for row in turns]
                columns["answers"] = [[answer for _, answer in row] for row in turns]
                writer.write_batch(pa.record_batch(columns, schema=schema))
                lengths.append(_lengths(path, rows, turns, encoder))
        with unfinished_counts.open("wb") as sink:
            np.save(sink, np.concatenate(lengths), allow_pickle=False)
        unfinished.replace(file)
        unfinished_counts.replace(counts)
    finally:
        unfinished.unlink(missing_ok=True)
        unfinished_counts.unlink(missing_ok=True)


def _batches(path: Path, part: str) -> Iterator[dict[str, list[Any]]]:
    """The part's rows by columns, a thousand at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path)
        if missing := sorted(set(COLUMNS) - set(table.schema_arrow.names)):
            raise TrainingError(f"training rows {path}: no column {', '.join(missing)}; materialize {path.stem} again")
        # Of a million rows this takes minutes, the once.
        progress = Progress(
            f"counting tokens of {part} rows", table.metadata.num_rows, lambda beat: log.info("%s", beat)
        )
        for batch in table.iter_batches(batch_size=_ROWS_READ_TOGETHER, columns=list(COLUMNS)):
            # Not batch.filter: it does not take every string type that writers use.
            chosen = [index for index, value in enumerate(batch.column("part").to_pylist()) if value == part]
            if chosen:
                yield batch.take(pa.array(chosen)).to_pydict()
            progress.advance(batch.num_rows)
    except pa.ArrowInvalid as error:
        raise TrainingError(f"training rows {path}: not readable as Parquet ({error})") from error


def _lengths(
    path: Path, rows: dict[str, list[Any]], turns: list[list[tuple[str, str]]], encoder: RowEncoder
) -> NDArray[np.int32]:
    lengths = np.empty(len(turns), dtype=np.int32)
    texts = [text for row in turns for turn in row for text in turn]
    try:
        tokens = iter([len(ids) for ids in encoder.text_tokens(texts)])
    except UnencodableTextError as error:
        raise TrainingError(f"training rows {path}: {error}; leave such pairs out") from error
    for place, row in enumerate(turns):
        if not row:
            raise TrainingError(f"training rows {path}: row {rows['row_id'][place]!r} has no turns to learn from")
        text_tokens = sum(next(tokens) for _ in range(2 * len(row)))
        try:
            image_tokens = encoder.image_tokens(rows["width"][place], rows["height"][place])
        except OddShapeError:
            lengths[place] = _REFUSED
            continue
        lengths[place] = encoder.length(len(row), text_tokens, image_tokens)
    return lengths
