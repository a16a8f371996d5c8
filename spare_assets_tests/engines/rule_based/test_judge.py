"""A pair counts as spatial by what its question asks."""

from __future__ import annotations

import pytest

from spare_assets.engines.rule_based.judge import asks_about_space
from spare_assets.engines.rule_based.questions import write_pairs
from spare_assets_tests.engines.rule_based.test_grammar import READ

SPATIAL = [
    "Where is the lamp?",
    "What is on the table?",
    "Who is standing next to the fence?",
    "Is the cat under the bed?",
    "Which is taller, the tree or the house?",
    "How far is the boat from the shore?",
    "Which direction is the horse facing?",
    "What surrounds the pond?",
    "What is the position of the cup relative to the plate?",
    "What can be seen in the background?",
    "What is the shelf attached to?",
    "Which of the two is closest to the camera?",
]
OTHER = [
    "What color is the car on the left?",
    "What is the colour of the door?",
    "How many people are behind the fence?",
    "What is the dog doing on the grass?",
    "What is in the image?",
    "Who is in the picture?",
    "What time of day is it?",
    "What is the man wearing on his head?",
    "What is the weather like in the image?",
    "Why is the child smiling?",
    "What is the table made of?",
    "What kind of tree stands behind the house?",
    "",
]


@pytest.mark.parametrize("question", SPATIAL)
def test_spatial(question: str) -> None:
    assert asks_about_space(question)


@pytest.mark.parametrize("question", OTHER)
def test_not_spatial(question: str) -> None:
    assert not asks_about_space(question)


def test_own_pairs_are_spatial() -> None:
    for sentence, _ in READ:
        for pair in write_pairs(sentence):
            assert asks_about_space(pair.question), pair
