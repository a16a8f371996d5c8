"""Chat requests as token ids of a Hugging Face model, with text that stays text.

The chat template is rendered with a hole in place of every message's text; each hole is then filled with the
text's own tokens. So whatever a caption contains, no control token of it reaches the model: special strings in it
are taken apart into ordinary tokens, which is checked. Running the model is not known here.
"""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from spare_assets.engines.chat import ChatRequest, EngineError
from spare_assets.engines.openai_format import open_upright

HOLE = "<|spare-assets-text|>"
# Added tokens that are not declared special but steer chat models all the same: <tool_call>, [INST], <think>.
_MARKUP = re.compile(r"[<\[].*[>\]]", re.DOTALL)


class UnencodableTextError(ValueError):
    """A text that cannot be made free of control tokens."""


@dataclass(slots=True)
class EncodedPrompt:
    """Token ids of one prompt; inputs with one value per token; and image inputs, stacked along axis 0."""

    ids: list[int]
    per_token: dict[str, list[int]] = field(default_factory=dict)
    images: dict[str, Any] = field(default_factory=dict)

    @property
    def signature(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """What prompts must have in common to be run as one batch."""
        return tuple((name, tuple(tensor.shape[1:])) for name, tensor in sorted(self.images.items()))


class PromptEncoder:
    """Turns requests into token ids with a tokenizer, or with a processor where the model sees images.

    With `expand_images` off an image is one placeholder token, and who runs the model is handed the pictures.
    """

    def __init__(self, tokenizer: Any, processor: Any = None, expand_images: bool = True) -> None:
        from tokenizers import AddedToken

        self.tokenizer = tokenizer
        self._template = copy.deepcopy(tokenizer if processor is None else processor)
        self._sees_images = processor is not None
        self._expand_images = expand_images
        holed = self._template.tokenizer if self._sees_images else self._template
        holed.add_tokens([AddedToken(HOLE, special=True, normalized=False)])
        self._template_tokenizer = holed
        self._hole = int(holed.convert_tokens_to_ids(HOLE))
        added = tokenizer.added_tokens_decoder
        controls = {
            index: token.content for index, token in added.items() if token.special or _MARKUP.fullmatch(token.content)
        }
        self._control_ids = frozenset(controls)
        strings = sorted((re.escape(text) for text in controls.values() if len(text) > 1), key=len, reverse=True)
        # A lookahead finds overlapping occurrences too.
        self._control_start = re.compile(f"(?={'|'.join(strings)})", re.DOTALL) if strings else None

    def encode(self, request: ChatRequest) -> EncodedPrompt:
        """The prompt of a request, ending where the reply begins.

        Raises UnencodableTextError or UnreadableImageError for this request alone, EngineError where the model's
        chat template fits no request of this form.
        """
        rendered = self._rendered(request)
        images = [image for message in request.messages for image in message.images]
        if images and not self._sees_images:
            raise EngineError("this model sees no images, and a request holds some: choose a vision-language model")
        if images and self._expand_images:
            pictures = [open_upright(image) for image in images]
            inputs = dict(self._template(text=[rendered], images=pictures, return_tensors="pt"))
        else:
            inputs = dict(self._template_tokenizer(rendered, add_special_tokens=False, return_tensors="pt"))
        ids = inputs.pop("input_ids")
        inputs.pop("attention_mask", None)
        per_token = {name: values[0].tolist() for name, values in inputs.items() if values.shape == ids.shape}
        filled = self._filled(ids[0].tolist(), per_token, [message.text for message in request.messages])
        filled.images = {name: values for name, values in inputs.items() if name not in per_token}
        return filled

    def plain(self, text: str) -> list[int]:
        """Tokens of a text in which no control token is interpreted. Raises UnencodableTextError."""
        pieces = [text]
        if self._control_start is not None:
            cuts = [match.start() + 1 for match in self._control_start.finditer(text)]
            edges = [0, *cuts, len(text)]
            pieces = [text[start:end] for start, end in itertools.pairwise(edges)]
        ids = [index for piece in pieces if piece for index in self._tokens(piece)]
        if not self._control_ids.isdisjoint(ids):
            raise UnencodableTextError("the text holds control tokens of this model that cannot be made plain")
        return ids

    def _tokens(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _rendered(self, request: ChatRequest) -> str:
        conversation: list[Mapping[str, Any]] = []
        for message in request.messages:
            content: Any = HOLE
            if self._sees_images:
                content = [*({"type": "image"} for _ in message.images), {"type": "text", "text": HOLE}]
            conversation.append({"role": message.role, "content": content})
        try:
            rendered = self._template.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
        except Exception as error:  # templates are programs of their own and raise anything
            raise EngineError(
                f"the model's chat template does not take these messages ({error}): choose an instruct model"
            ) from error
        if not isinstance(rendered, str) or rendered.count(HOLE) != len(request.messages):
            raise EngineError("the model's chat template drops or repeats messages: choose another model")
        return rendered

    def _filled(self, ids: list[int], per_token: dict[str, list[int]], texts: list[str]) -> EncodedPrompt:
        remaining = iter(texts)
        filled = EncodedPrompt([], {name: [] for name in per_token})
        for place, index in enumerate(ids):
            inserted = self.plain(next(remaining)) if index == self._hole else [index]
            filled.ids += inserted
            for name, values in per_token.items():
                filled.per_token[name] += [values[place]] * len(inserted)
        return filled
