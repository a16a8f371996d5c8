"""The builder of the small CLIP: its vocabulary, its lessons, and that a short course helps and can be repeated."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from spare_assets.clip.encoder import CONFIG_FILE, ClipEncoder
from spare_assets.sandbox.clip_builder import (
    CONTEXT,
    VOCABULARY_FILE,
    Recipe,
    _auc,
    _Lessons,
    build,
    learn_merges,
    measure,
    write_vocabulary,
)
from spare_assets.sandbox.questions import required

SHORT = Recipe(
    scenes=1500,
    wording_scenes=150,
    image_steps=40,
    question_steps=40,
    image_batch=64,
    question_batch=64,
    threads=1,
    calibration_scenes=12,
)


def test_merges_are_learned_by_frequency_until_words_are_whole() -> None:
    merges = learn_merges(Counter({"red": 5, "ring": 3, "bed": 2}), 100)
    assert merges[0] == ("e", "d</w>")
    assert merges[1] == ("r", "ed</w>")
    assert {"".join(pair) for pair in merges} >= {"red</w>", "ring</w>", "bed</w>"}
    assert learn_merges(Counter({"aaaa": 1}), 100) == [("a", "a"), ("a", "a</w>"), ("aa", "aa</w>")]
    assert learn_merges(Counter({"red": 5, "ring": 3}), 1) == [("e", "d</w>")]


def test_open_clip_reads_the_vocabulary(tmp_path: Path) -> None:
    from spare_assets.clip import torchvision_shim

    torchvision_shim.install()
    import open_clip

    path = tmp_path / VOCABULARY_FILE
    tokens = write_vocabulary(path, ["What is left of the red ring?", "the red star"], 200)
    tokenizer = open_clip.SimpleTokenizer(str(path), context_length=CONTEXT)
    assert tokenizer.vocab_size == tokens
    assert len(tokenizer.encode("What is left of the red ring?")) == 8
    assert tokenizer.decode(tokenizer.encode("a zebra, é")) == "a zebra , é "
    before = path.read_bytes()
    write_vocabulary(path, ["What is left of the red ring?", "the red star"], 200)
    assert path.read_bytes() == before


@pytest.fixture(scope="module")
def lessons() -> _Lessons:
    return _Lessons(SHORT, lambda line: None)


def test_lessons_hold_fitting_and_unfitting_questions(lessons: _Lessons) -> None:
    scenes, questions = lessons.questions(64, 16)
    assert (len(scenes), len(questions)) == (32, 80)
    needs = np.array([required(question) for question in questions])
    fits = lessons.clear[scenes][:, needs].all(axis=2)
    assert fits[range(32), range(32)].all(), "the first question about each scene fits it"
    may_fit = lessons.possible[scenes][:, needs].all(axis=2)
    assert not may_fit[:, 64:].any(), "nothing fits what is asked about strange things"
    assert 0.5 < (~may_fit).mean() < 0.99
    assert lessons.pictures.shape == (1500, 56, 56, 3)


def test_chance_of_a_positive_above_a_negative() -> None:
    one, two = np.array([0.1, 0.5], np.float32), np.array([0.3, 0.5], np.float32)
    assert _auc(two, one) == (1 + 0 + 1 + 0.5) / 4
    assert _auc(one + 1, two) == 1


@pytest.mark.slow
def test_a_short_course_helps_and_can_be_repeated(tmp_path: Path) -> None:
    said: list[str] = []
    build(tmp_path / "one", SHORT, said.append)
    losses = [float(line.split("facts ")[1].split(",")[0]) for line in said if line.startswith("images")]
    assert losses[-1] < 0.9 * losses[0]
    fitting = [float(line.split("fitting ")[1].split(",")[0]) for line in said if line.startswith("questions")]
    assert fitting[-1] < 0.9 * fitting[0]
    build(tmp_path / "other", SHORT, said.append)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "other" / path.name).read_bytes(), path.name
    build(tmp_path / "other", dataclasses.replace(SHORT, seed=1, image_steps=2, question_steps=2), said.append)
    encoder = ClipEncoder(str(tmp_path / "other"), device="cpu")
    assert measure(encoder, scenes=20).pairs > 100
    assert json.loads((tmp_path / "other" / CONFIG_FILE).read_text())["model_cfg"]["embed_dim"] == encoder.width
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "other"]
