"""Batches of training rows as tensors, with loss on answers alone (paper 3.7).

Pictures are opened and prepared here, and rows padded to one length; nothing is ever cut. How a row's ids and labels
come about stands in `row_encoding`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from spare_assets.captions.picture import PictureError, open_upright
from spare_assets.engines.prompt_encoding import UnencodableTextError
from spare_assets.settings import RecipeSettings
from spare_assets.training.order import TrainingError
from spare_assets.training.row_encoding import IGNORED, EncodedRow, RowEncoder
from spare_assets.training.rows import TrainingRow


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A picture as the model takes it: patches (patches, values per patch), and the grid they form (t, h, w)."""

    patches: Any
    grid: Any
    tokens: int


class _Memory:
    """What was prepared before, kept as long as there is room; what no longer fits is prepared again each time."""

    def __init__(self, megabytes: int) -> None:
        self._room = megabytes * 1_000_000
        self._kept: dict[Any, Any] = {}

    def get(self, key: Any) -> Any:
        return self._kept.get(key)

    def put(self, key: Any, value: Any, size: int) -> None:
        if size <= self._room:
            self._room -= size
            self._kept[key] = value


class AnswerOnlyCollator:
    """Makes a batch of rows: a dict of tensors for the model's forward pass.

    input_ids, attention_mask, labels: (rows, longest) int64; labels are -100 on all but the answers' tokens and the
    control token that ends each. pixel_values: (patches of all pictures, values per patch) float32; image_grid_thw:
    (rows, 3); mm_token_type_ids: (rows, longest), 1 on image tokens, where the processor has it.

    With `image_cache_megabytes` prepared pictures and encoded rows are kept in memory, that much in every process
    that loads. Raises TrainingError for a picture that does not decode, a text that can't be encoded, and a row
    longer than the recipe allows, naming the row.
    """

    def __init__(
        self, processor: Any, recipe: RecipeSettings, padding_side: Literal["right", "left"] = "right"
    ) -> None:
        self._recipe = recipe
        self._images = processor.image_processor
        self._encoder = RowEncoder(processor, recipe)
        self._padding_side = padding_side
        tokenizer = processor.tokenizer
        self._padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        self._marks_images = "mm_token_type_ids" in processor.model_input_names
        self._memory = _Memory(recipe.image_cache_megabytes)

    def __call__(self, rows: Sequence[TrainingRow]) -> dict[str, Any]:
        """The batch of rows as tensors."""
        import torch

        pictures = [self._prepared(row) for row in rows]
        encoded = [self._encoded(row, picture.tokens) for row, picture in zip(rows, pictures, strict=True)]
        shape = (len(rows), max(len(row.ids) for row in encoded))
        ids = np.full(shape, self._padding, dtype=np.int64)
        labels = np.full(shape, IGNORED, dtype=np.int64)
        attention = np.zeros(shape, dtype=np.int64)
        for place, row in enumerate(encoded):
            length = len(row.ids)
            where = slice(None, length) if self._padding_side == "right" else slice(shape[1] - length, None)
            ids[place, where] = row.ids
            labels[place, where] = row.labels
            attention[place, where] = 1
        batch = {"input_ids": ids, "attention_mask": attention, "labels": labels}
        if self._marks_images:
            batch["mm_token_type_ids"] = (ids == self._encoder.image_token).astype(np.int64)
        tensors = {name: torch.from_numpy(values) for name, values in batch.items()}
        tensors["pixel_values"] = torch.cat([picture.patches for picture in pictures])
        tensors["image_grid_thw"] = torch.cat([picture.grid for picture in pictures])
        return tensors

    def _encoded(self, row: TrainingRow, image_tokens: int) -> EncodedRow:
        # The whole row is the key: equal ids of two tables are not the same row.
        key = (row, image_tokens)
        if (known := self._memory.get(key)) is not None:
            return known  # type: ignore[no-any-return]
        try:
            encoded = self._encoder.encode(row.turns, image_tokens)
        except UnencodableTextError as error:
            raise TrainingError(f"row {row.row_id!r}: {error}; leave its pair out") from error
        if len(encoded.ids) > self._recipe.max_length:
            raise TrainingError(
                f"row {row.row_id!r} has {len(encoded.ids):,} tokens, {image_tokens:,} of them image, more than "
                f"max_length {self._recipe.max_length:,}, and rows are never cut: lower max_pixels, raise max_length, "
                f"or, if {row.image_path} has changed, materialize images again"
            )
        self._memory.put(key, encoded, 2 * encoded.ids.nbytes + sum(len(q) + len(a) for q, a in row.turns))
        return encoded

    def _prepared(self, row: TrainingRow) -> _Prepared:
        if (known := self._memory.get(row.image_sha256)) is not None:
            return known  # type: ignore[no-any-return]
        size = {"shortest_edge": self._recipe.min_pixels, "longest_edge": self._recipe.max_pixels}
        try:
            made = self._images(images=[_upright(row)], size=size, return_tensors="pt")
        except TrainingError:
            raise
        except ValueError as error:
            raise TrainingError(
                f"row {row.row_id!r}: the image processor refuses image {row.image_path} ({error}); replace the file"
            ) from error
        grid = made["image_grid_thw"]
        prepared = _Prepared(made["pixel_values"], grid, int(grid.prod()) // int(self._images.merge_size) ** 2)
        self._memory.put(row.image_sha256, prepared, prepared.patches.nbytes)
        return prepared


def _upright(row: TrainingRow) -> Any:
    """The picture as every model is shown it."""
    try:
        return open_upright(Path(row.image_path))
    except PictureError as error:
        raise TrainingError(
            f"row {row.row_id!r}: image {row.image_path}: {error}; "
            "replace or remove the file and materialize images again"
        ) from error
