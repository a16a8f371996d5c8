"""The rival of `local_generation`: the loop over batches that one writes around a model of transformers.

    python transformers_loop.py MODEL_FOLDER GGUF_FILE DTYPE BATCH TOKENS sorted|unsorted TASK

The task is a JSON file with the schema and the prompts. Of this project nothing is imported but what lets
transformers be imported beside any build of torchvision. The last line of output tells the seconds spent on all
batches, the model being loaded and warm, and the replies.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import llguidance
import llguidance.hf
import torch

from spare_assets.clip.torchvision_shim import install

install()

from transformers import (  # noqa: E402
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    GgufConfig,
    LogitsProcessor,
    LogitsProcessorList,
)


class SchemaProcessor(LogitsProcessor):  # type: ignore[misc]
    """Holds every row of a batch to one schema."""

    def __init__(self, tokenizer: Any, grammar: Any, rows: int) -> None:
        self.matchers = [llguidance.LLMatcher(tokenizer, grammar) for _ in range(rows)]
        self.started = False

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Scores with -inf where a row may not go."""
        for matcher, token in zip(self.matchers, input_ids[:, -1].tolist(), strict=True):
            if self.started and not matcher.is_stopped():
                matcher.consume_token(token)
        self.started = True
        masks = [torch.frombuffer(bytearray(matcher.compute_bitmask()), dtype=torch.uint8) for matcher in self.matchers]
        bits = (torch.stack(masks).unsqueeze(-1) >> torch.arange(8, dtype=torch.uint8)) & 1
        return scores.masked_fill(~bits.bool().flatten(1)[:, : scores.shape[1]], float("-inf"))


def main() -> None:
    """Answer every prompt of the task."""
    folder, gguf, dtype, size, tokens, order, file = sys.argv[1:]
    task = json.loads(Path(file).read_text())
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=gguf, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=gguf, dtype=getattr(torch, dtype), quantization_config=GgufConfig(dequantize=True)
    ).eval()
    ends = [tokenizer.convert_tokens_to_ids(token) for token in ("<|im_end|>", "<|endoftext|>")]
    pad = ends[0] if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    model.generation_config = GenerationConfig()
    vocabulary = llguidance.hf.from_tokenizer(tokenizer, n_vocab=model.config.vocab_size, eos_token=ends)
    style = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
    grammar = llguidance.LLMatcher.grammar_from_json_schema(json.dumps(task["schema"]), style)

    def answered(prompts: list[str], limit: int) -> list[str]:
        chats = [
            tokenizer.apply_chat_template(
                [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
            )
            for prompt in prompts
        ]
        encoded = [tokenizer(chat, add_special_tokens=False)["input_ids"] for chat in chats]
        places = list(range(len(prompts)))
        if order == "sorted":
            places.sort(key=lambda place: len(encoded[place]))
        replies = [""] * len(prompts)
        for start in range(0, len(places), int(size)):
            batch = places[start : start + int(size)]
            length = max(len(encoded[place]) for place in batch)
            short = [length - len(encoded[place]) for place in batch]
            with torch.inference_mode():
                output = model.generate(
                    input_ids=torch.tensor(
                        [[pad] * by + encoded[place] for by, place in zip(short, batch, strict=True)]
                    ),
                    attention_mask=torch.tensor([[0] * by + [1] * (length - by) for by in short]),
                    generation_config=GenerationConfig(
                        do_sample=False, max_new_tokens=limit, eos_token_id=ends, pad_token_id=pad
                    ),
                    logits_processor=LogitsProcessorList([SchemaProcessor(vocabulary, grammar, len(batch))]),
                )
            for place, text in zip(
                batch, tokenizer.batch_decode(output[:, length:], skip_special_tokens=True), strict=True
            ):
                replies[place] = text
        return replies

    answered(task["prompts"][:1], 4)
    begun, busy = time.perf_counter(), time.process_time()
    replies = answered(task["prompts"], int(tokens))
    seconds, cpu = time.perf_counter() - begun, time.process_time() - busy
    print(json.dumps({"seconds": seconds, "cpu": cpu, "replies": replies}))


if __name__ == "__main__":
    main()
