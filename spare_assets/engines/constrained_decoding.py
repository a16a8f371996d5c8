"""What happens between two decoding steps of a batch: masks that hold a reply to its schema, limits, a stop flag.

Called by transformers' `generate`; each row of a batch has its own schema, or none, and its own limit.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any

# Written as models write JSON by themselves: one space after commas and colons, no line breaks to run away on.
_JSON_STYLE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


class UnusableSchemaError(ValueError):
    """A JSON schema that replies cannot be constrained to; the message says why."""


class Grammars:
    """Compiled JSON schemas for one tokenizer, each compiled once."""

    def __init__(self, tokenizer: Any, vocabulary: int, end_tokens: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._vocabulary = max(vocabulary, len(tokenizer))
        self._end_tokens = list(end_tokens)
        self._base: Any = None
        self._compiled: dict[str, Any] = {}

    def matcher(self, schema: Mapping[str, Any]) -> Any:
        """A fresh matcher at the start of a reply. Raises UnusableSchemaError."""
        import llguidance
        import llguidance.hf

        # Properties are decoded in the order the schema gives them.
        text = json.dumps(schema)
        if text not in self._compiled:
            if self._base is None:
                self._base = llguidance.hf.from_tokenizer(
                    self._tokenizer, n_vocab=self._vocabulary, eos_token=self._end_tokens
                )
            grammar = llguidance.LLMatcher.grammar_from_json_schema(text, _JSON_STYLE)
            self._compiled[text] = llguidance.LLMatcher(self._base, grammar, log_level=0)
        compiled = self._compiled[text]
        if compiled.is_error():
            raise UnusableSchemaError(f"replies cannot be held to this schema: {compiled.get_error()}")
        return compiled.deep_copy()


class SchemaMask:
    """Lets each row only continue as its schema allows; a logits processor.

    `matchers` has one entry per row, None where a row is free. Rows past their limit are left alone.
    """

    def __init__(self, matchers: Sequence[Any], limits: Sequence[int], prompt_length: int) -> None:
        self._matchers = matchers
        self._limits = limits
        self._prompt_length = prompt_length

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Scores with -inf where a row may not go; tensors of shape (rows, length) and (rows, vocabulary)."""
        import torch

        generated = input_ids.shape[1] - self._prompt_length
        rows, masks = [], []
        last = input_ids[:, -1].tolist()
        for row, matcher in enumerate(self._matchers):
            if matcher is None or generated >= self._limits[row]:
                continue
            if generated and not matcher.is_stopped():
                matcher.consume_token(last[row])
            rows.append(row)
            masks.append(torch.frombuffer(bytearray(matcher.compute_bitmask()), dtype=torch.uint8))
        if not rows:
            return scores
        bits = torch.stack(masks).to(scores.device)
        shifts = torch.arange(8, dtype=torch.uint8, device=scores.device)
        allowed = ((bits.unsqueeze(-1) >> shifts) & 1).bool().flatten(1)[:, : scores.shape[1]]
        width = allowed.shape[1]
        held = scores if len(rows) == len(scores) else scores[rows]
        held[:, :width].masked_fill_(~allowed, float("-inf"))
        held[:, width:] = float("-inf")
        if held is not scores:
            scores[rows] = held
        return scores


class RowLimits:
    """Ends each row at its own limit, and all rows when told to stop; a stopping criterion."""

    def __init__(self, limits: Sequence[int], prompt_length: int, stop: threading.Event) -> None:
        self._limits = limits
        self._prompt_length = prompt_length
        self._stop = stop

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        """Which rows are done: booleans of shape (rows,)."""
        import torch

        generated = input_ids.shape[1] - self._prompt_length
        done = [self._stop.is_set() or generated >= limit for limit in self._limits]
        return torch.tensor(done, dtype=torch.bool, device=input_ids.device)
