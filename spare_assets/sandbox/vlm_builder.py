"""Builds the small base model that ships for sandbox scenes; `python -m spare_assets.sandbox.vlm_builder --help`.

A real Qwen2-VL of 1.3 million parameters with a tokenizer of its own, that knows the objects of scenes and where they
are in coordinates, and no word for a spatial relation. Belongs here: its vocabulary, its shape, its training and how
it is measured. What it is taught is in `lessons`; using it is the engines' and the training room's.

The vision tower learns first, against the embeddings of the words for colour, shape and cell. Then all learn from
questions. Two more losses help the language layers: the first must know, at each word for an object, which one is
meant and where it is; the second, at each word of an answer, which objects the question is about. Without the two,
looking things up took five times as many steps, and comparing two places did not come at all.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from spare_assets.clip import torchvision_shim
from spare_assets.sandbox import SANDBOX_VLM
from spare_assets.sandbox.corpora import CorpusFormat, describe
from spare_assets.sandbox.lessons import COLUMNS, lesson
from spare_assets.sandbox.questions import analyst_questions
from spare_assets.sandbox.scenes import COLOURS, GRID, SHAPES, Scene, SceneObject, make_scene, scene_seed, small_picture

PATCH = 14
SIDE = GRID * PATCH
"""Side of a picture as the model sees it, in pixels: an object lies within one patch."""
PIXELS = SIDE * SIDE
PATCHES = GRID * GRID
MERGES = 900
SPECIALS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
# Qwen2-VL's own form, without the system message it adds: the model is small, and every token costs.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif 'text' in part %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Words that questions of benchmarks and recipes use, beyond those of captions, pairs and lessons.
_MORE_TEXT = (
    "user assistant system",
    "Describe this image in detail.",
    "Where is it with respect to the other? left right above below",
    "Is the caption true of the image? True or False. true false Yes No yes no",
    "Please answer yes or no. Answer the question using a single word or phrase.",
    "Select the letter of the right answer: A B C D E F",
    "0 1 2 3 4 5 6 7 8 9 + - x y",
)
_IMAGE_MEAN = (0.48145466, 0.4578275, 0.40821073)
_IMAGE_STD = (0.26862954, 0.26130258, 0.27577711)
_COLOURS = tuple(COLOURS)


@dataclass(frozen=True, slots=True)
class Shape:
    """The model's size."""

    width: int = 128
    heads: int = 4
    vision_layers: int = 2
    language_layers: int = 3


@dataclass(frozen=True, slots=True)
class Recipe:
    """How it is trained. Steps are optimizer steps."""

    seed: int = 0
    scenes: int = 10_000
    vision_steps: int = 200
    vision_batch: int = 64
    steps: int = 1200
    batch: int = 48
    turns: int = 3
    learning_rate: float = 2e-3
    guidance: float = 0.5


def build(folder: Path, recipe: Recipe, shape: Shape, say: Callable[[str], None] = print) -> None:
    """Train the model and write it to a folder, whole or not at all. Some 20 minutes on two cores."""
    torchvision_shim.install()
    import torch

    torch.manual_seed(recipe.seed)
    scenes = [make_scene(scene_seed("vlm_training", recipe.seed, index)) for index in range(recipe.scenes)]
    pictures = np.stack([small_picture(scene) for scene in scenes])
    say(f"{len(scenes):,} scenes drawn")
    processor = make_processor(recipe.seed)
    model = make_model(processor.tokenizer, shape, recipe.seed)
    say(f"{sum(value.numel() for value in model.parameters()):,} parameters, {len(processor.tokenizer):,} tokens")
    student = _Student(processor, model, scenes, pictures, recipe)
    student.learn_to_see(say)
    student.learn_to_answer(say)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        model.save_pretrained(temporary)
        processor.save_pretrained(temporary)
        temporary.chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def make_processor(seed: int) -> Any:
    """The real Qwen2-VL processor classes around a small vocabulary."""
    from transformers import Qwen2Tokenizer, Qwen2VLImageProcessor, Qwen2VLProcessor, Qwen2VLVideoProcessor

    tokenizer = Qwen2Tokenizer().train_new_from_iterator(
        _texts(seed), vocab_size=256 + MERGES, new_special_tokens=None, show_progress=False
    )
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIALS)})
    tokenizer.pad_token, tokenizer.eos_token = "<|endoftext|>", "<|im_end|>"
    tokenizer.chat_template = CHAT_TEMPLATE
    images = Qwen2VLImageProcessor(
        min_pixels=PIXELS, max_pixels=PIXELS, patch_size=PATCH, merge_size=1, temporal_patch_size=2
    )
    videos = Qwen2VLVideoProcessor(patch_size=PATCH, merge_size=1, temporal_patch_size=2)
    return Qwen2VLProcessor(
        image_processor=images, tokenizer=tokenizer, video_processor=videos, chat_template=CHAT_TEMPLATE
    )


def make_model(tokenizer: Any, shape: Shape, seed: int) -> Any:
    """A Qwen2-VL with random weights."""
    import torch
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    token = tokenizer.convert_tokens_to_ids
    half = shape.width // shape.heads // 2
    across = half * 3 // 8
    config = Qwen2VLConfig(
        text_config={
            "vocab_size": (len(tokenizer) + 63) // 64 * 64,
            "hidden_size": shape.width,
            "intermediate_size": 3 * shape.width,
            "num_hidden_layers": shape.language_layers,
            "num_attention_heads": shape.heads,
            "num_key_value_heads": 2,
            "initializer_range": 0.06,
            "max_position_embeddings": 2048,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e6,
                "mrope_section": [half - 2 * across, across, across],
            },
            "tie_word_embeddings": True,
            "bos_token_id": token("<|endoftext|>"),
            "eos_token_id": token("<|im_end|>"),
            "pad_token_id": token("<|endoftext|>"),
        },
        vision_config={
            "depth": shape.vision_layers,
            "embed_dim": shape.width,
            "hidden_size": shape.width,
            "num_heads": shape.heads,
            "mlp_ratio": 3,
            "initializer_range": 0.06,
            "patch_size": PATCH,
            "spatial_merge_size": 1,
            "temporal_patch_size": 2,
        },
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    return Qwen2VLForConditionalGeneration(config).to(torch.float32)


def _texts(seed: int) -> Iterator[str]:
    """What the vocabulary is made for: captions and pairs as the corpora and the analyst word them, and lessons."""
    rng = random.Random(seed)
    captions = [
        describe(style, make_scene(scene_seed("vlm_training", seed, index)))
        for index in range(400)
        for style in get_args(CorpusFormat)
    ]
    yield from captions
    for slips in (0.0, 1.0):
        for _, questions in analyst_questions(captions, slips):
            yield from questions
    for index in range(2000):
        made = lesson(rng, make_scene(scene_seed("vlm_training", seed, index)))
        yield made.question
        yield made.answer
    yield from _MORE_TEXT * 100


class _Student:
    """The model while it learns."""

    def __init__(
        self,
        processor: Any,
        model: Any,
        scenes: Sequence[Scene],
        pictures: NDArray[np.uint8],
        recipe: Recipe,
    ) -> None:
        self._model, self._scenes, self._pictures, self._recipe = model, scenes, pictures, recipe
        self._rng = random.Random(recipe.seed)
        tokenizer = processor.tokenizer
        self._encode = _Encoder(tokenizer)
        self._pad = tokenizer.convert_tokens_to_ids("<|endoftext|>")
        self._image = tokenizer.convert_tokens_to_ids("<|image_pad|>")
        # A word is another token at the start of an answer than behind a space.
        self._words = {
            name: [[self._encode(f"{space}{word}")[0] for word in words] for space in (" ", "")]
            for name, words in (("colour", _COLOURS), ("shape", SHAPES), ("column", tuple(COLUMNS)))
        }
        self._words["row"] = [[self._encode(str(row))[0] for row in range(1, GRID + 1)]]
        self._meant = {
            token: (name, place)
            for name in ("colour", "shape")
            for tokens in self._words[name]
            for place, token in enumerate(tokens)
        }

    def learn_to_see(self, say: Callable[[str], None]) -> None:
        """Teach the vision tower what each patch shows, in terms of the words for it."""
        import torch
        from torch.nn.functional import cross_entropy, normalize

        embeddings = self._model.get_input_embeddings().weight
        weights = [*self._model.model.visual.parameters(), embeddings]

        def loss() -> dict[str, Any]:
            chosen = self._draw(self._recipe.vision_batch)
            labels = torch.tensor(np.concatenate([_patch_labels(self._scenes[index]) for index in chosen]))
            seen = self._see(chosen)
            cosines = 24 * normalize(seen, dim=-1) @ normalize(embeddings, dim=-1).T
            filled = labels[:, 0] >= 0
            losses: dict[str, Any] = {
                name: sum(
                    cross_entropy(cosines[filled][:, words], labels[filled, column]) for words in self._words[name]
                )
                for column, name in enumerate(("colour", "shape", "column", "row"))
            }
            things = [token for name in ("colour", "shape") for tokens in self._words[name] for token in tokens]
            losses["empty"] = 20 * (cosines[~filled][:, things] / 24).relu().square().mean()
            return losses

        self._train("seeing", weights, self._recipe.vision_steps, loss, say)

    def learn_to_answer(self, say: Callable[[str], None]) -> None:
        """Teach the whole model to answer questions, with guidance for its first two language layers."""
        import torch
        from torch.nn.functional import cross_entropy

        width = self._model.config.text_config.hidden_size
        known = (len(_COLOURS), len(SHAPES), GRID, GRID)
        mention_head, answer_head = torch.nn.Linear(width, sum(known)), torch.nn.Linear(width, sum(known) + 2 * GRID)
        weights = [*self._model.parameters(), *mention_head.parameters(), *answer_head.parameters()]

        def guidance(head: Any, hidden: Any, places: list[tuple[int, int]], labels: list[tuple[int, ...]]) -> Any:
            logits = head(hidden[[row for row, _ in places], [column for _, column in places]])
            wanted = torch.tensor(labels)
            sizes = (*known, GRID, GRID)[: wanted.shape[1]]
            total = torch.zeros(())
            for part, column in zip(logits.split(list(sizes), dim=1), wanted.T, strict=True):
                if (column >= 0).any():
                    total = total + cross_entropy(part, column, ignore_index=-1)
            return total

        def loss() -> dict[str, Any]:
            chosen = self._draw(self._recipe.batch)
            rows = [self._row(self._scenes[index]) for index in chosen]
            batch = self._batch(rows, chosen)
            output = self._model(**batch, output_hidden_states=True)
            mentions = [((k, place), label) for k, row in enumerate(rows) for place, label in row.mentions]
            answers = [((k, place), label) for k, row in enumerate(rows) for place, label in row.answers]
            helped = guidance(mention_head, output.hidden_states[1], *_unzipped(mentions))
            helped_answers = guidance(answer_head, output.hidden_states[2], *_unzipped(answers))
            return {
                "answers": output.loss,
                "mentions": self._recipe.guidance * helped,
                "asked about": self._recipe.guidance * helped_answers,
            }

        self._train("answering", weights, self._recipe.steps, loss, say)

    def _train(
        self,
        name: str,
        weights: list[Any],
        steps: int,
        losses: Callable[[], dict[str, Any]],
        say: Callable[[str], None],
    ) -> None:
        import torch

        optimizer = torch.optim.AdamW(weights, lr=0, weight_decay=0.01, betas=(0.9, 0.98))
        started = time.monotonic()
        for step in range(1, steps + 1):
            cosine = 0.52 + 0.48 * math.cos(math.pi * step / steps)
            for group in optimizer.param_groups:
                group["lr"] = self._recipe.learning_rate * min(1.0, step / 80) * cosine
            parts = losses()
            self._model.zero_grad(set_to_none=True)
            optimizer.zero_grad(set_to_none=True)
            sum(parts.values()).backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            if step % max(1, steps // 20) == 0:
                told = ", ".join(f"{part} {value.item():.3f}" for part, value in parts.items())
                left = (time.monotonic() - started) / step * (steps - step)
                say(f"{name} {step}/{steps}: {told}; {left:.0f} s left")

    def _draw(self, count: int) -> list[int]:
        return self._rng.choices(range(len(self._scenes)), k=count)

    def _see(self, chosen: Sequence[int]) -> Any:
        import torch

        seen = self._model.model.visual(self._pixels(chosen), torch.tensor([[1, GRID, GRID]] * len(chosen)))
        return seen.pooler_output if hasattr(seen, "pooler_output") else seen

    def _pixels(self, chosen: Sequence[int]) -> Any:
        import torch

        pixels = self._pictures[list(chosen)].astype(np.float32) / 255
        pixels = (pixels - np.array(_IMAGE_MEAN, np.float32)) / np.array(_IMAGE_STD, np.float32)
        # Patches row by row; within one: channel, then two equal moments of time, then height and width.
        patches = pixels.reshape(len(chosen), GRID, PATCH, GRID, PATCH, 3).transpose(0, 1, 3, 5, 2, 4)
        return torch.from_numpy(np.repeat(patches[:, :, :, :, None], 2, axis=4).reshape(len(chosen) * PATCHES, -1))

    def _row(self, scene: Scene) -> _Row:
        """A conversation about a scene."""
        encode = self._encode
        row = _Row([], [], [], [])
        by_colour = {_COLOURS.index(item.colour): item for item in scene.objects}
        by_shape = {SHAPES.index(item.shape): item for item in scene.objects}
        for number in range(self._recipe.turns):
            made = lesson(self._rng, scene)
            prompt = encode.turn(made.question, with_image=number == 0)
            answer = [*encode(made.answer), encode.end]
            start = len(row.ids)
            row.ids += [*prompt, *answer, *encode.new_line]
            row.labels += [-100] * len(prompt) + answer + [-100] * len(encode.new_line)
            for place in range(start, start + len(prompt)):
                name, number_of = self._meant.get(row.ids[place], ("", -1))
                meant = by_colour.get(number_of) if name == "colour" else by_shape.get(number_of) if name else None
                if meant is not None:
                    row.mentions.append((place, _known(meant)))
            if made.item is not None:
                asked = (*_known(made.item), *((made.start.column, made.start.row) if made.start else (-1, -1)))
                # From the last word of the prompt to the last but one of the answer: where the next word is decided.
                first = start + len(prompt) - 1
                row.answers += [(place, asked) for place in range(first, first + len(answer))]
        return row

    def _batch(self, rows: Sequence[_Row], chosen: Sequence[int]) -> dict[str, Any]:
        import torch

        length = max(len(row.ids) for row in rows)
        ids = torch.tensor([row.ids + [self._pad] * (length - len(row.ids)) for row in rows])
        labels = torch.tensor([row.labels + [-100] * (length - len(row.labels)) for row in rows])
        mask = torch.tensor([[1] * len(row.ids) + [0] * (length - len(row.ids)) for row in rows])
        return {
            "input_ids": ids,
            "labels": labels,
            "attention_mask": mask,
            "pixel_values": self._pixels(chosen),
            "image_grid_thw": torch.tensor([[1, GRID, GRID]] * len(rows)),
            "mm_token_type_ids": (ids == self._image).int(),
        }


@dataclass(slots=True)
class _Row:
    """A conversation in tokens, with what the guidance wants known at which place."""

    ids: list[int]
    labels: list[int]
    mentions: list[tuple[int, tuple[int, ...]]]
    answers: list[tuple[int, tuple[int, ...]]]


class _Encoder:
    """Conversations in tokens, as the chat template words them; texts are remembered."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._remembered: dict[str, list[int]] = {}
        token = tokenizer.convert_tokens_to_ids
        self._start = [token("<|im_start|>"), *self("user\n")]
        self._picture = [token("<|vision_start|>"), *[token("<|image_pad|>")] * PATCHES, token("<|vision_end|>")]
        self.end, self.new_line = token("<|im_end|>"), self("\n")
        self._reply = [self.end, *self.new_line, token("<|im_start|>"), *self("assistant\n")]

    def __call__(self, text: str) -> list[int]:
        if text not in self._remembered:
            self._remembered[text] = self._tokenizer.encode(text, add_special_tokens=False)
        return self._remembered[text]

    def turn(self, question: str, *, with_image: bool) -> list[int]:
        """A question up to where the answer begins."""
        return [*self._start, *(self._picture if with_image else ()), *self(question), *self._reply]


def _known(item: SceneObject) -> tuple[int, ...]:
    return _COLOURS.index(item.colour), SHAPES.index(item.shape), item.column, item.row


def _patch_labels(scene: Scene) -> NDArray[np.int64]:
    """Colour, shape, column and row of each patch's object; -1 where there is none. [PATCHES, 4]."""
    labels = np.full((PATCHES, 4), -1, dtype=np.int64)
    for item in scene.objects:
        labels[item.row * GRID + item.column] = _known(item)
    return labels


def _unzipped(pairs: list[tuple[tuple[int, int], tuple[int, ...]]]) -> tuple[list[Any], list[Any]]:
    return [place for place, _ in pairs], [label for _, label in pairs]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command: build the model."""
    parser = argparse.ArgumentParser(prog="python -m spare_assets.sandbox.vlm_builder", description=build.__doc__)
    parser.add_argument("--out", type=Path, default=SANDBOX_VLM, help="folder to write (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=Recipe().seed)
    parser.add_argument("--steps", type=int, default=Recipe().steps)
    options = parser.parse_args(arguments)
    recipe = Recipe(seed=options.seed, steps=options.steps)
    build(options.out, recipe, Shape(), lambda line: print(line, flush=True))


if __name__ == "__main__":
    # Two OpenMP threads that spin while they wait take ten times as long beside any other busy process.
    if os.environ.get("OMP_WAIT_POLICY") != "passive":
        os.environ["OMP_WAIT_POLICY"] = "passive"
        os.execv(sys.executable, [sys.executable, "-m", "spare_assets.sandbox.vlm_builder", *sys.argv[1:]])
    main()
