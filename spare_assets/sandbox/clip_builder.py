"""Builds the small CLIP that ships for sandbox scenes; run `python -m spare_assets.sandbox.clip_builder --help`.

Belongs here: its vocabulary, its shape, its training and how it is measured. Scenes, captions and questions
come from the modules beside this one; using the model is the clip room's.

The image tower learns the facts of scenes first: against one learned direction for each predicate, with help
from what each patch shows. The text tower then learns to ask for them, with the image tower at rest, which
is several times faster than learning both from questions alone.

The cosine of image and question is trained against one fixed boundary, 0.25, so that check 4's cut-off means
here what it means for a large CLIP. Questions are also pushed apart, or together where they mean the same,
around the 0.95 of check 1.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import math
import os
import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from spare_assets.clip import torchvision_shim
from spare_assets.clip.encoder import CONFIG_FILE, WEIGHTS_FILE, ClipEncoder
from spare_assets.sandbox import SANDBOX_CLIP
from spare_assets.sandbox.corpora import CorpusFormat, describe
from spare_assets.sandbox.questions import (
    BLOCKS,
    NAMES,
    PREDICATES,
    SINGLE,
    Meaning,
    Question,
    Wordings,
    analyst_questions,
    named_things,
    predicates,
    read_wording,
    required,
)
from spare_assets.sandbox.scenes import GRID, Scene, make_scene, render, scene_seed, small_picture

BOUNDARY = 0.25
"""Cosine from which a question fits a picture: the default cut-off of check 4."""
DUPLICATE = 0.95
"""Cosine above which two questions are one: the default cut-off of check 1."""
VOCABULARY_FILE = "vocabulary.txt.gz"
CONTEXT = 32
MERGES = 1100
# Things and relations that no sandbox scene has: questions about them fit no scene, and each is another
# question. They keep the text tower from taking all words it does not know for the same.
_ADJECTIVES = str.split(
    "wooden old small large tall young dark striped metal plastic glass leather paper shiny dusty curved open closed "
    "empty broken gray pink silver golden left front second long short round square flat thin thick"
)
_NOUNS = str.split(
    "man woman boy girl child person dog cat horse bird cow sheep chair table sofa bed desk lamp window door wall "
    "floor ceiling shelf box basket bag bottle cup plate bowl fork knife spoon book phone laptop screen keyboard mouse "
    "car truck bus bicycle train boat plane road street sidewalk building house roof tower bridge fence tree bush "
    "flower grass field hill mountain river lake sea beach sky cloud sun shadow sign pole bench clock mirror picture "
    "hat shirt jacket shoe glove ball kite racket pizza cake apple banana carrot sandwich vase pillow blanket curtain "
    "rug stairs railing umbrella statue fountain rock leaf branch leg arm hand head face tail wing wheel handle letter"
)
_OTHER_RELATIONS = (
    "behind",
    "in front of",
    "on top of",
    "inside",
    "on",
    "around",
    "across from",
    "along",
    "over",
    "at the end of",
)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the model; equal recipes give equal files on one kind of machine."""

    seed: int = 0
    scenes: int = 12_000
    wording_scenes: int = 1_000
    image_steps: int = 2_000
    image_batch: int = 192
    question_steps: int = 2_000
    question_batch: int = 384
    other_batch: int = 64
    learning_rate: float = 1.5e-3
    scale: float = 18.0
    embed_dim: int = 192
    image_width: int = 128
    image_layers: int = 3
    text_width: int = 96
    text_layers: int = 2
    threads: int = 2
    calibration_scenes: int = 400


def learn_merges(words: Counter[str], limit: int) -> list[tuple[str, str]]:
    """Byte-pair merges, most frequent first, until `limit` or until every word is one token."""
    parts = {word: (*word[:-1], word[-1] + "</w>") for word in sorted(words)}
    merges: list[tuple[str, str]] = []
    while len(merges) < limit:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, tokens in parts.items():
            for pair in itertools.pairwise(tokens):
                pairs[pair] += words[word]
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        for word, tokens in parts.items():
            parts[word] = _merged(tokens, best)
    return merges


def _merged(tokens: Sequence[str], pair: tuple[str, str]) -> tuple[str, ...]:
    merged: list[str] = []
    for token in tokens:
        # A token just merged cannot be the first half of the same pair again.
        if merged and (merged[-1], token) == pair:
            merged[-1] += token
        else:
            merged.append(token)
    return tuple(merged)


def write_vocabulary(path: Path, texts: Iterable[str], limit: int) -> int:
    """Write a vocabulary that open_clip's own tokenizer reads; returns its number of tokens."""
    words = Counter(word for text in texts for word in re.findall(r"[a-z]+", text.lower()))
    merges = learn_merges(words, limit)
    lines = "\n".join(["#version: sandbox", *(" ".join(pair) for pair in merges)])
    with path.open("wb") as raw, gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as file:
        file.write(lines.encode("utf-8"))
    # 256 bytes within and 256 at the end of a word, and the two marks of start and end.
    return 2 * 256 + len(merges) + 2


def model_config(recipe: Recipe, tokens: int) -> dict[str, Any]:
    """Content of open_clip_config.json."""
    return {
        "model_cfg": {
            "embed_dim": recipe.embed_dim,
            "vision_cfg": {
                "image_size": 56,
                "patch_size": 14,
                "width": recipe.image_width,
                "layers": recipe.image_layers,
                "head_width": 32,
                "mlp_ratio": 2.0,
            },
            "text_cfg": {
                "context_length": CONTEXT,
                "vocab_size": tokens,
                "width": recipe.text_width,
                "heads": recipe.text_width // 32,
                "layers": recipe.text_layers,
                "mlp_ratio": 2.0,
                "tokenizer_kwargs": {"bpe_path": VOCABULARY_FILE},
            },
        },
        "preprocess_cfg": {
            "mean": [0.5, 0.5, 0.5],
            "std": [0.25, 0.25, 0.25],
            "interpolation": "bicubic",
            "resize_mode": "squash",
        },
    }


class _Lessons:
    """Training scenes with their pictures and truths, and questions about them."""

    def __init__(self, recipe: Recipe, say: Callable[[str], None]) -> None:
        self._rng = random.Random(recipe.seed)
        scenes = [make_scene(scene_seed("clip_training", recipe.seed, i)) for i in range(recipe.scenes)]
        styles = get_args(CorpusFormat)
        captions = [describe(style, scene) for scene in scenes[: recipe.wording_scenes] for style in styles]
        self.wordings = Wordings(
            question
            for extras in (0.0, 1.0)
            for _, found in analyst_questions(captions, extras, extras)
            for question in found
        )
        self._by_slots: dict[int, list[Meaning]] = defaultdict(list)
        for meaning in self.wordings.counts:
            if meaning.form != "colour":
                self._by_slots[meaning.slots].append(meaning)
        self._askable = [self.wordings.askable(scene) for scene in scenes]
        self._showing: dict[str, list[int]] = defaultdict(list)
        for number, scene in enumerate(scenes):
            for item in scene.objects:
                self._showing[item.name].append(number)
        truths = [predicates(scene) for scene in scenes]
        self.clear, self.possible = (np.stack(rows) for rows in zip(*truths, strict=True))
        self.patches = np.stack([_patch_names(scene) for scene in scenes])
        say(f"{len(scenes):,} scenes, {len(self.wordings.texts)} wordings")
        self.pictures = np.stack([small_picture(scene) for scene in scenes])
        say(f"{len(scenes):,} pictures")

    @property
    def words(self) -> list[str]:
        """Texts whose words the vocabulary should hold whole."""
        common = [*self.wordings.texts, *NAMES, *_ADJECTIVES, *_NOUNS, *_OTHER_RELATIONS]
        return [text.replace("{}", " ") for text in common]

    def questions(self, count: int, others: int) -> tuple[list[int], list[Question]]:
        """Half as many scenes as questions, and questions about them and, `others`, about things that none shows.

        Scenes come in fours that share an object: what is asked of one must not fit the rest. Half of the
        questions rephrase another one, or ask something else about the same things.
        """
        rng = self._rng
        scenes: list[int] = []
        asked: list[Question] = []
        while len(scenes) < count // 2:
            name = rng.choice(NAMES)
            family = rng.sample(self._showing[name], 4)
            scenes += family
            asked += [self._question(number, name) for number in family]
        asked += [self._relative(rng.choice(asked)) for _ in range(count - len(asked))]
        strange = [self._strange() for _ in range(others // 2)]
        strange += [self._relative(rng.choice(strange)) for _ in range(others - len(strange))]
        return scenes, asked + strange

    def _question(self, number: int, name: str) -> Question:
        """A question that fits a scene; every other one names the given object."""
        askable = self._askable[number]
        if self._rng.random() < 0.5:
            askable = [entry for entry in askable if name in entry[1]] or askable
        ((meaning, things, _),) = self._rng.choices(askable, [count**0.7 for _, _, count in askable])
        return self.wordings.ask(self._rng, meaning, things)

    def _relative(self, question: Question) -> Question:
        """The question in other words, or another question about the same things."""
        rng, meaning, things = self._rng, question.meaning, question.things
        if meaning.form == "colour" or rng.random() < 0.5:
            if meaning in self.wordings.counts:
                return self.wordings.ask(rng, meaning, things)
            return Question(question.text.replace("is", "can be seen", 1), meaning, things)
        if len(things) > 1 and rng.random() < 0.3:
            return self.wordings.ask(rng, Meaning("where", slots=len(things)), things[::-1])
        return self.wordings.ask(rng, rng.choice(self._by_slots[len(things)]), things)

    def _strange(self) -> Question:
        """A question about things that no sandbox scene shows."""
        rng = self._rng
        things = tuple(self._strange_thing() for _ in range(rng.choice((1, 1, 2))))
        if len(things) == 1 and rng.random() < 0.5:
            relation = rng.choice(_OTHER_RELATIONS)
            return Question(f"What is {relation} the {things[0]}?", Meaning("what", relation, slots=1), things)
        return self.wordings.ask(rng, rng.choice(self._by_slots[len(things)]), things)

    def _strange_thing(self) -> str:
        rng = self._rng
        noun = rng.choice(_NOUNS)
        if rng.random() < 0.3:
            syllables = (rng.choice("bcdfghklmnprstvw") + rng.choice("aeiou") for _ in range(rng.randint(2, 4)))
            noun = "".join(syllables)
        return f"{rng.choice(_ADJECTIVES)} {noun}" if rng.random() < 0.6 else noun


def _patch_names(scene: Scene) -> NDArray[np.int64]:
    """Which object each of the 16 patches shows: its place in NAMES, or their number for none."""
    patches = np.full(GRID * GRID, len(NAMES))
    for item in scene.objects:
        patches[item.row * GRID + item.column] = NAMES.index(item.name)
    return patches


def build(folder: Path, recipe: Recipe, say: Callable[[str], None] = print, *, keep_images: bool = False) -> None:
    """Train the model on the CPU and write its folder, whole or not at all: 17 minutes on two busy cores.

    The same recipe on the same kind of machine gives the same files. With `keep_images` the image tower is the one that
    lies in the folder, and only the text tower is trained: for other wordings of the same facts.
    """
    torchvision_shim.install()
    import open_clip
    import torch
    from safetensors.torch import load_file, save_file

    started = time.monotonic()
    torch.set_num_threads(recipe.threads)
    torch.manual_seed(recipe.seed)
    lessons = _Lessons(recipe, say)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        tokens = write_vocabulary(temporary / VOCABULARY_FILE, lessons.words, MERGES)
        config = model_config(recipe, tokens)
        (temporary / CONFIG_FILE).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        model = open_clip.CLIP(**config["model_cfg"])
        say(f"{sum(weights.numel() for weights in model.parameters()):,} weights, {tokens} tokens")
        if keep_images:
            kept = load_file(folder / WEIGHTS_FILE)
            tower = {name.removeprefix("visual."): w.float() for name, w in kept.items() if name.startswith("visual.")}
            model.visual.load_state_dict(tower)
        else:
            _train_images(model.visual, lessons, recipe, say)
        tokenizer = open_clip.SimpleTokenizer(str(temporary / VOCABULARY_FILE), context_length=CONTEXT)
        _train_questions(model, tokenizer, lessons, recipe, say)
        halves = {name: tensor.half().contiguous() for name, tensor in model.state_dict().items()}
        save_file(halves, temporary / WEIGHTS_FILE)
        calibrate(temporary, recipe, say)
        for path in (temporary, temporary / WEIGHTS_FILE):
            path.chmod(0o755 if path.is_dir() else 0o644)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    say(f"written to {folder} after {time.monotonic() - started:.0f} s")


def calibrate(folder: Path, recipe: Recipe, say: Callable[[str], None]) -> None:
    """Move all questions towards or away from the mean picture, until the boundary errs as often either way.

    How many matching pairs it drops against how many swapped ones it keeps depends on how many questions of each kind
    there were, which is nobody's wish. Measured on scenes that nothing was trained on and nothing else is measured on.
    """
    import torch
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / WEIGHTS_FILE)
    bias, projection = weights["ln_final.bias"].float(), weights["text_projection"].float()
    with tempfile.TemporaryDirectory() as pictures:
        paths = [Path(pictures) / f"{index}.png" for index in range(recipe.calibration_scenes)]
        for index, path in enumerate(paths):
            render(make_scene(scene_seed("clip_training", recipe.seed + 1, index))).save(path)
        mean = ClipEncoder(str(folder), device="cpu").encode_images(paths).astype(np.float32).mean(axis=0)
    towards = torch.from_numpy(mean / np.linalg.norm(mean))[:, None]
    direction = torch.linalg.lstsq(projection.T, towards).solution[:, 0]
    low, high = -4.0, 4.0
    for _ in range(7):
        step = (low + high) / 2
        save_file(weights | {"ln_final.bias": (bias + step * direction).half()}, folder / WEIGHTS_FILE)
        found = measure(
            ClipEncoder(str(folder), device="cpu"), recipe.calibration_scenes, recipe.seed + 1, "clip_training"
        )
        say(f"moved by {step:.3f}: {found.kept:.3f} kept, {found.dropped:.3f} dropped")
        low, high = (step, high) if found.kept < found.dropped else (low, step)


def _train_images(visual: Any, lessons: _Lessons, recipe: Recipe, say: Callable[[str], None]) -> None:
    """Teach the image tower which predicates hold in a picture.

    Each predicate has a direction, as a question will have later; two things together have the sum of theirs.
    Along the way each patch is asked what it shows and how that lies to the rest. Only the tower is kept.
    """
    import torch
    from torch.nn.functional import cross_entropy, normalize, softplus

    directions = torch.nn.Parameter(torch.randn(PREDICATES, recipe.embed_dim) * 0.1)
    halves = torch.nn.Parameter(torch.randn(len(NAMES), recipe.embed_dim) * 0.1)
    middle = torch.nn.Parameter(torch.zeros(recipe.embed_dim))
    patch_head = torch.nn.Linear(recipe.image_width, len(NAMES) + 1 + len(SINGLE))
    visual.output_tokens = True
    clear, possible, patches = map(torch.from_numpy, (lessons.clear, lessons.possible, lessons.patches))
    present = clear[:, BLOCKS["present"]]
    related = torch.arange(PREDICATES)[BLOCKS["related"]].view(len(SINGLE), len(NAMES))
    trained = [*visual.parameters(), directions, halves, middle, *patch_head.parameters()]
    rng = np.random.default_rng(recipe.seed)

    def loss_of_step() -> dict[str, Any]:
        chosen = rng.integers(0, len(lessons.pictures), recipe.image_batch)
        pooled, tokens = visual(_pixels(lessons.pictures[chosen]))
        images = normalize(pooled, dim=-1)
        true, open_ = clear[chosen], possible[chosen]
        logits = recipe.scale * (images @ normalize(directions, dim=-1).T - BOUNDARY)
        facts = torch.zeros(())
        for name, weight in (("present", 0.3), ("related", 0.4), ("shapes", 0.1), ("places", 0.2)):
            block = BLOCKS[name]
            fitting, wrong = logits[:, block][true[:, block]], logits[:, block][~open_[:, block]]
            facts += weight * (softplus(-fitting).mean() + 0.4 * softplus(wrong).mean())
        # A thing that is there but not in that relation to anything: the hardest of what does not hold.
        missed = present[chosen].repeat(1, len(SINGLE)) & ~open_[:, BLOCKS["related"]]
        facts += 0.15 * softplus(logits[:, BLOCKS["related"]][missed]).mean()
        wrong = softplus(logits[~open_])
        facts += 0.2 * wrong.topk(len(wrong) // 100).values.mean()

        shown = present[chosen]
        two = torch.multinomial(shown.float(), 2)
        one = torch.stack([two[:, 0], torch.from_numpy(rng.integers(0, len(NAMES), len(two)))], dim=1)
        pairs = torch.cat([two, one])
        both = normalize(halves[pairs].sum(dim=1) + middle, dim=-1)
        logits = recipe.scale * (images @ both.T - BOUNDARY)
        there = shown[:, pairs].sum(dim=2)
        together = softplus(-logits[there == 2]).mean() + softplus(logits[there == 1]).mean()
        together += 0.3 * softplus(logits[there == 0]).mean()

        answers = patch_head(tokens)
        names = patches[chosen]
        seen = cross_entropy(answers[..., : len(NAMES) + 1].flatten(0, 1), names.flatten())
        rows, cells = (names < len(NAMES)).nonzero(as_tuple=True)
        flags = related[:, names[rows, cells]].T
        answers = answers[rows, cells, len(NAMES) + 1 :]
        seen += softplus(-answers[true[rows[:, None], flags]]).mean()
        seen += softplus(answers[~open_[rows[:, None], flags]]).mean()
        return {"facts": facts, "together": together, "patches": seen}

    _optimize(trained, loss_of_step, recipe.image_steps, recipe.learning_rate, "images", say)
    visual.output_tokens = False


def _train_questions(model: Any, tokenizer: Any, lessons: _Lessons, recipe: Recipe, say: Callable[[str], None]) -> None:
    """Teach the text tower to ask for what the image tower, now at rest, has learned to show."""
    import torch

    model.eval()
    with torch.inference_mode():
        parts = np.array_split(lessons.pictures, max(1, len(lessons.pictures) // 256))
        pictures = torch.cat([model.encode_image(_pixels(part), normalize=True) for part in parts]).clone()
    clear, possible = lessons.clear, lessons.possible
    trained = [
        *model.transformer.parameters(),
        *model.token_embedding.parameters(),
        *model.ln_final.parameters(),
        model.positional_embedding,
        model.text_projection,
    ]

    def loss_of_step() -> dict[str, Any]:
        scenes, questions = lessons.questions(recipe.question_batch, recipe.other_batch)
        needs = np.array([required(question) for question in questions])
        fits = torch.from_numpy(clear[scenes][:, needs].all(axis=2))
        may_fit = torch.from_numpy(possible[scenes][:, needs].all(axis=2))
        texts = _text_vectors(model, tokenizer([question.text for question in questions]))
        logits = recipe.scale * (pictures[scenes] @ texts.T - BOUNDARY)
        # What fits every picture is soon learned, and must not drown what fits few.
        always = fits.all(dim=0)
        fitting = torch.nn.functional.softplus(-logits[fits & ~always])
        general = torch.nn.functional.softplus(-logits[:, always])
        wrong = torch.nn.functional.softplus(logits[~may_fit])
        hardest = wrong.topk(len(wrong) // 100).values
        together, apart = _wording_loss(texts, questions)
        return {
            "fitting": fitting.mean(),
            "general": 0.2 * general.sum() / max(1, general.numel()),
            "wrong": 0.5 * wrong.mean() + 0.5 * hardest.mean(),
            "together": together,
            "apart": apart,
        }

    _optimize(trained, loss_of_step, recipe.question_steps, recipe.learning_rate, "questions", say)


def _optimize(
    weights: Sequence[Any],
    loss_of_step: Callable[[], dict[str, Any]],
    steps: int,
    learning_rate: float,
    name: str,
    say: Callable[[str], None],
) -> None:
    """AdamW on the sum of the losses, with warm-up and a cosine to near zero; says where it stands."""
    import torch

    matrices, vectors = ([w for w in weights if (w.ndim > 1) == matrix] for matrix in (True, False))
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.02}, {"params": vectors, "weight_decay": 0.0}],
        lr=learning_rate,
        betas=(0.9, 0.98),
    )
    started, beat = time.monotonic(), max(1, steps // 10)
    sums: Counter[str] = Counter()
    for step in range(1, steps + 1):
        cosine = 0.51 + 0.49 * math.cos(math.pi * step / steps)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * min(1.0, step / 100) * cosine
        losses = loss_of_step()
        optimizer.zero_grad()
        sum(losses.values()).backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        sums.update({part: value.item() for part, value in losses.items()})
        if step % beat == 0:
            left = (time.monotonic() - started) / step * (steps - step)
            parts = ", ".join(f"{part} {value / beat:.3f}" for part, value in sums.items())
            say(f"{name} {step}/{steps}: {parts}; {left:.0f} s left")
            sums.clear()


def _pixels(pictures: NDArray[np.uint8]) -> Any:
    """Pictures as the image tower takes them, normalised as `model_config` says."""
    import torch

    return (torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.25


def _text_vectors(model: Any, tokens: Any) -> Any:
    """What `encode_text` gives, without the padding behind the longest text."""
    import torch

    length = int(tokens.argmax(dim=1).max()) + 1
    tokens = tokens[:, :length]
    hidden = model.token_embedding(tokens) + model.positional_embedding[:length]
    hidden = model.ln_final(model.transformer(hidden, attn_mask=model.attn_mask[:length, :length]))
    last = hidden[torch.arange(len(tokens)), tokens.argmax(dim=1)]
    return torch.nn.functional.normalize(last @ model.text_projection, dim=-1)


def _wording_loss(texts: Any, questions: Sequence[Question]) -> tuple[Any, Any]:
    """Pulls paraphrases together (0.98), pushes different questions apart (0.8)."""
    import torch

    numbers: dict[Any, int] = {}
    meanings = torch.tensor([numbers.setdefault((q.meaning, q.things), len(numbers)) for q in questions])
    same = meanings[:, None] == meanings[None, :]
    cosines = texts @ texts.T
    together = torch.relu(0.98 - cosines[same]).square().sum() / len(questions)
    apart = torch.relu(cosines[~same] - 0.8).square().sum() / len(questions)
    return 20 * together, 20 * apart


@dataclass(frozen=True, slots=True)
class MatchingReport:
    """How well a model tells matching from swapped pairs; shares at the boundary of 0.25.

    A swapped pair asks a scene's question of another scene's picture; in at least half of them the two
    scenes share an object. `dropped_absent` counts only swaps whose question names something that the
    picture lacks, `dropped_sharing` only those between scenes that share an object.
    """

    pairs: int
    auc: float
    kept: float
    dropped: float
    sharing: float
    dropped_sharing: float
    dropped_absent: float


def measure(encoder: ClipEncoder, scenes: int = 150, seed: int = 0, pool: str = "clip_held_out") -> MatchingReport:
    """Matching against swapped pairs on held-out scenes, with the analyst's questions in all three styles."""
    rng = random.Random(seed)
    held_out = [make_scene(scene_seed(pool, seed, index)) for index in range(scenes)]
    names = [{item.name for item in scene.objects} for scene in held_out]
    asked: list[tuple[str, int]] = []
    for number, scene in enumerate(held_out):
        captions = [describe(style, scene) for style in get_args(CorpusFormat)]
        asked += [(question, number) for _, found in analyst_questions(captions) for question in found]
    swaps = []
    for order, (_, number) in enumerate(asked):
        others = [other for other in range(scenes) if other != number]
        sharing = [other for other in others if names[other] & names[number]]
        swaps.append(rng.choice(sharing if order % 2 == 0 and sharing else others))
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.jpg" for number in range(scenes)]
        for scene, path in zip(held_out, paths, strict=True):
            render(scene).save(path, quality=90, subsampling=0)
        images = encoder.encode_images(paths).astype(np.float32)
    texts = encoder.encode_texts([question for question, _ in asked]).astype(np.float32)
    matching = (texts * images[[number for _, number in asked]]).sum(axis=1)
    swapped = (texts * images[swaps]).sum(axis=1)
    shares = np.array([bool(names[a] & names[b]) for (_, a), b in zip(asked, swaps, strict=True)])
    absent = np.array([not set(named_things(q)) <= names[b] for (q, _), b in zip(asked, swaps, strict=True)])
    dropped = swapped < BOUNDARY
    return MatchingReport(
        pairs=len(asked),
        auc=_auc(matching, swapped),
        kept=float((matching >= BOUNDARY).mean()),
        dropped=float(dropped.mean()),
        sharing=float(shares.mean()),
        dropped_sharing=float(dropped[shares].mean()),
        dropped_absent=float(dropped[absent].mean()),
    )


@dataclass(frozen=True, slots=True)
class WordingReport:
    """How well questions about one scene are told apart by text alone, at check 1's 0.95.

    `together` is the share of paraphrases above it, `apart` the share of different questions at or below it.
    """

    paraphrases: int
    together: float
    different: int
    apart: float


def measure_wordings(encoder: ClipEncoder, scenes: int = 150, seed: int = 0) -> WordingReport:
    """All pairs of the analyst's questions about each held-out scene, in three styles, slips included."""
    similar: dict[bool, list[float]] = {True: [], False: []}
    for index in range(scenes):
        scene = make_scene(scene_seed("clip_held_out", seed, index))
        captions = [describe(style, scene) for style in get_args(CorpusFormat)]
        found = [analyst_questions(captions, slips) for slips in (0.0, 1.0)]
        texts = sorted({question for part in found for _, questions in part for question in questions})
        meanings = [
            (wording[1], tuple(named_things(text))) if (wording := read_wording(text)) else text for text in texts
        ]
        vectors = encoder.encode_texts(texts).astype(np.float32)
        cosines = vectors @ vectors.T
        for one, other in itertools.combinations(range(len(texts)), 2):
            similar[meanings[one] == meanings[other]].append(float(cosines[one, other]))
    same, different = np.array(similar[True]), np.array(similar[False])
    return WordingReport(
        paraphrases=len(same),
        together=float((same > DUPLICATE).mean()),
        different=len(different),
        apart=float((different <= DUPLICATE).mean()),
    )


def _auc(positive: NDArray[np.float32], negative: NDArray[np.float32]) -> float:
    """Chance that a positive scores above a negative, ties counting half."""
    below = np.searchsorted(np.sort(negative), positive, side="left")
    upto = np.searchsorted(np.sort(negative), positive, side="right")
    return float((below + upto).sum() / 2 / len(positive) / len(negative))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command: build the model, then measure it."""
    parser = argparse.ArgumentParser(prog="python -m spare_assets.sandbox.clip_builder", description=build.__doc__)
    parser.add_argument("--out", type=Path, default=SANDBOX_CLIP, help="folder to write (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--keep-images", action="store_true", help="train the text tower alone, for new wordings")
    parser.add_argument("--measure", action="store_true", help="only measure the model in --out")
    options = parser.parse_args(arguments)
    if not options.measure:
        recipe = Recipe(seed=options.seed)
        build(options.out, recipe, lambda line: print(line, flush=True), keep_images=options.keep_images)
    encoder = ClipEncoder(str(options.out), device="cpu")
    print(measure(encoder), measure_wordings(encoder), sep="\n")


if __name__ == "__main__":
    # Two OpenMP threads that spin while they wait take ten times as long beside any other busy process.
    if os.environ.get("OMP_WAIT_POLICY") != "passive":
        os.environ["OMP_WAIT_POLICY"] = "passive"
        os.execv(sys.executable, [sys.executable, "-m", "spare_assets.sandbox.clip_builder", *sys.argv[1:]])
    main()
