"""Training rows as token ids and labels, built piece by piece from the model's own chat template.

The template is rendered with a hole in place of every text; each hole is then filled with the text's own tokens,
free of control tokens, as prompts are at inference. So it is known from the build, not searched for in the ids, which
tokens are answers, and nothing a question or an answer contains can pose as the end of one. Pictures are only
counted here, in tokens; batches and pixels are the collator's.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spare_assets.engines.prompt_encoding import HOLE, PromptEncoder, UnencodableTextError
from spare_assets.settings import RecipeSettings
from spare_assets.training.order import TrainingError

IGNORED = -100
"""The label of tokens that bear no loss."""

Turns = Sequence[tuple[str, str]]
"""Questions with their answers, in order."""


class OddShapeError(ValueError):
    """A picture whose shape the image processor refuses."""


@dataclass(frozen=True, slots=True)
class EncodedRow:
    """One row, the image's placeholder repeated once per image token: ids, and labels of the same length."""

    ids: NDArray[np.int64]
    labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Frame:
    """The chat template around texts: the pieces before, between and behind them. `length` counts their tokens and the
    system prompt's, without the image."""

    pieces: tuple[tuple[int, ...], ...]
    length: int


class RowEncoder:
    """Encodes question-answer turns about one picture.

    The picture goes with the first question. Loss is on answers and on the control token that ends each; a recipe
    without a system prompt leaves it to the template. Raises TrainingError where the chat template fits no such
    conversation.
    """

    def __init__(self, processor: Any, recipe: RecipeSettings) -> None:
        from tokenizers import AddedToken

        self._processor = processor
        self._tokenizer = processor.tokenizer
        self._pixels = {"min_pixels": recipe.min_pixels, "max_pixels": recipe.max_pixels}
        self.image_token = int(processor.image_token_id)
        self._added = frozenset(self._tokenizer.added_tokens_decoder)
        self._plain = PromptEncoder(self._tokenizer).plain
        self._holed = copy.deepcopy(self._tokenizer)
        self._holed.add_tokens([AddedToken(HOLE, special=True, normalized=False)])
        self._hole = int(self._holed.convert_tokens_to_ids(HOLE))
        try:
            self._system = self.text_tokens([] if recipe.system_prompt is None else [recipe.system_prompt])
        except UnencodableTextError as error:
            raise TrainingError(f"system_prompt: {error}") from error
        self._frames: dict[int, _Frame] = {}
        self._sizes: dict[tuple[int, int], int] = {}

    def encode(self, turns: Turns, image_tokens: int) -> EncodedRow:
        """Ids and labels of a row, whole. Raises UnencodableTextError for a text with control tokens only."""
        frame = self._frame(len(turns))
        texts = [*self._system, *self.text_tokens([text for turn in turns for text in turn])]
        ids = list(frame.pieces[0])
        labels = [IGNORED] * len(ids)
        for place, (text, piece) in enumerate(zip(texts, frame.pieces[1:], strict=True), start=-len(self._system)):
            ids += text
            ids += piece
            if place >= 0 and place % 2:
                labels += text
                labels.append(piece[0])
            labels += [IGNORED] * (len(ids) - len(labels))
        # The first placeholder is the template's, and the only one: texts are free of control tokens.
        image = ids.index(self.image_token)
        ids[image : image + 1] = [self.image_token] * image_tokens
        labels[image : image + 1] = [IGNORED] * image_tokens
        return EncodedRow(np.array(ids, dtype=np.int64), np.array(labels, dtype=np.int64))

    def length(self, turns: int, text_tokens: int, image_tokens: int) -> int:
        """Tokens of a row of so many turns, whose questions and answers have `text_tokens` in all."""
        return self._frame(turns).length + text_tokens + image_tokens

    def text_tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Tokens of texts in which no control token is interpreted. Raises UnencodableTextError."""
        if not texts:
            return []
        batch = self._tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False)["input_ids"]
        return [
            list(ids) if self._added.isdisjoint(ids) else self._plain(text)
            for text, ids in zip(texts, batch, strict=True)
        ]

    def image_tokens(self, width: int, height: int) -> int:
        """Tokens of a picture of this size in pixels, at the recipe's resolution. Raises OddShapeError."""
        size = (width, height)
        if size not in self._sizes:
            images = self._processor.image_processor
            try:
                patches = images.get_number_of_image_patches(height, width, self._pixels)
            except (ValueError, ZeroDivisionError) as error:
                raise OddShapeError(f"{width} x {height} pixels: {error}") from error
            self._sizes[size] = int(patches) // int(images.merge_size) ** 2
        return self._sizes[size]

    def _frame(self, turns: int) -> _Frame:
        if turns not in self._frames:
            self._frames[turns] = self._rendered(turns)
        return self._frames[turns]

    def _rendered(self, turns: int) -> _Frame:
        text = {"type": "text", "text": HOLE}
        conversation: list[dict[str, Any]] = [{"role": "system", "content": [text]} for _ in self._system]
        for turn in range(turns):
            image = [] if turn else [{"type": "image"}]
            conversation += [{"role": "user", "content": [*image, text]}, {"role": "assistant", "content": [text]}]
        try:
            rendered = self._processor.apply_chat_template(conversation, tokenize=False)
        except Exception as error:  # templates are programs of their own and raise anything
            raise TrainingError(
                f"the base model's chat template does not take a conversation of {turns} turns ({error}): choose an "
                "instruct model"
            ) from error
        pieces: list[list[int]] = [[]]
        for index in self._holed(rendered, add_special_tokens=False)["input_ids"]:
            if index == self._hole:
                pieces.append([])
            else:
                pieces[-1].append(int(index))
        self._check(pieces, turns)
        length = sum(map(len, pieces)) + sum(map(len, self._system)) - 1
        return _Frame(tuple(map(tuple, pieces)), length)

    def _check(self, pieces: list[list[int]], turns: int) -> None:
        """The template says every text once, shows the picture once, and ends every answer with a control token."""
        if len(pieces) != len(self._system) + 2 * turns + 1:
            raise TrainingError("the base model's chat template drops or repeats messages: choose another base")
        if sum(piece.count(self.image_token) for piece in pieces) != 1:
            raise TrainingError(
                "the base model's chat template does not show the picture once, in the first question: choose a "
                "vision-language base"
            )
        ends = pieces[len(self._system) + 2 :: 2]
        if any(not piece or piece[0] not in self._added for piece in ends):
            raise TrainingError(
                "the base model's chat template does not end an answer with a control token, so the model could "
                "not learn where to stop: choose another base"
            )
