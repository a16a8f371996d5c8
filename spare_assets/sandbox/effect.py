"""What fine-tuning gained on held-out scenes: four-way questions as in What's Up, and general ones.

Belongs here: the questions, their right answers, and counting what a model gets right. The questions share no wording
with training rows, and their scenes come from a pool of their own. A four-way question is answered by whichever of the
four words the model finds likeliest. Whoever answers is given.
"""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image

from spare_assets.engines.chat import ChatEngine, ChatImage, ChatMessage, ChatRequest
from spare_assets.sandbox.lessons import number_in_words, objects_in_words
from spare_assets.sandbox.scenes import SIZE, Direction, Scene, direction, make_scene, render, scene_seed

General = Literal["objects", "colours", "number"]
Topic = Literal["four-way"] | General
FOUR_WAY = "Where is the {} placed in relation to the {}?"
GENERAL: dict[General, str] = {
    "objects": "Which objects does the image show?",
    "colours": "Which colour does the {} have?",
    "number": "How many objects are in the picture?",
}
DIRECTIONS: tuple[Direction, ...] = ("left", "right", "above", "below")
_REPLY_TOKENS = 40


@dataclass(frozen=True, slots=True)
class Asked:
    """A question about a scene, with its right answer; `choices` are the only replies allowed, where there are any."""

    topic: Topic
    scene: Scene
    question: str
    answer: str
    choices: tuple[str, ...] = ()


def four_way_questions(count: int = 400, seed: int = 0) -> Iterator[Asked]:
    """Where one object is as seen from another: every direction equally often, options in shuffled order."""
    rng = random.Random(f"four-way:{seed}")
    index = 0
    for number in range(count):
        wanted = DIRECTIONS[number % len(DIRECTIONS)]
        while True:
            scene = make_scene(scene_seed("benchmark", seed, index))
            index += 1
            found = [
                (item, other)
                for item in scene.objects
                for other in scene.objects
                if item is not other and direction(item, other) == wanted
            ]
            if found:
                break
        item, other = rng.choice(found)
        options = rng.sample(DIRECTIONS, len(DIRECTIONS))
        yield Asked("four-way", scene, FOUR_WAY.format(item.name, other.name), wanted, tuple(options))


def general_questions(count: int = 300, seed: int = 0) -> Iterator[Asked]:
    """Which objects, what colours, how many: `count` over all three."""
    rng = random.Random(f"general:{seed}")
    for number in range(count):
        topic: General = ("objects", "colours", "number")[number % 3]
        # Far from the four-way questions' scenes of the same seed.
        scene = make_scene(scene_seed("benchmark", seed, 500_000 + number))
        item = rng.choice(scene.objects)
        answers = {"objects": objects_in_words(scene), "colours": item.colour, "number": number_in_words(scene)}
        yield Asked(topic, scene, GENERAL[topic].format(item.shape), answers[topic])


def shares_right(
    engine: ChatEngine, questions: Sequence[Asked], folder: Path, *, blank: bool = False
) -> dict[Topic, float]:
    """Share of right answers by topic. Pictures are written to `folder`; `blank` shows grey ones in their place."""
    requests = []
    for number, asked in enumerate(questions):
        path = folder / f"{'blank' if blank else asked.scene.seed}.png"
        if not path.exists():
            (Image.new("RGB", (SIZE, SIZE), (128, 128, 128)) if blank else render(asked.scene)).save(path)
        image = ChatImage(path, hashlib.sha256(path.read_bytes()).hexdigest())
        message = ChatMessage("user", asked.question, (image,))
        requests.append((str(number), ChatRequest((message,), _REPLY_TOKENS, choices=asked.choices)))
    right: dict[Topic, list[bool]] = defaultdict(list)
    for reply in engine.complete(requests):
        asked = questions[int(reply.key)]
        right[asked.topic].append(reply.text.strip().casefold() == asked.answer.casefold())
    return {topic: sum(found) / len(found) for topic, found in right.items()}
