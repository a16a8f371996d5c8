"""Captions of the sandbox are read nearly whole, and nothing is read that is not true of the scene."""

from __future__ import annotations

import re

import pytest

from spare_assets.engines.rule_based.questions import Pair, write_pairs
from spare_assets.sandbox.corpora import CorpusFormat, describe
from spare_assets.sandbox.scenes import Scene, make_scene, scene_seed, spatial_facts

PHRASES = {
    "left": ("to the left of", "on the left side of", "left of"),
    "right": ("to the right of", "on the right side of", "right of"),
    "above": ("directly above", "above"),
    "below": ("directly below", "below", "under", "beneath", "underneath"),
    "next to": ("next to", "beside", "adjacent to"),
    "near": ("near", "close to"),
    "far": ("far from", "far away from"),
    "between": ("between",),
}
RELATION_OF = {phrase: relation for relation, phrases in PHRASES.items() for phrase in phrases}
LONGEST_FIRST = "|".join(sorted(RELATION_OF, key=len, reverse=True))
WHERE = re.compile(rf"^({LONGEST_FIRST}) the (.+)$")
WHAT = re.compile(rf"^What is ({LONGEST_FIRST}) the (.+)\?$")


def stated(pair: Pair) -> tuple[str, str, frozenset[str]] | None:
    """Subject, relation and references of a pair about objects; None for one about a part of the picture."""
    if pair.question.startswith("Where is the "):
        subject, landmark = pair.question.removeprefix("Where is the ").removesuffix("?").split(" in relation to the ")
        found = WHERE.match(pair.answer)
        assert found and found[2] == landmark
    elif (found := WHAT.match(pair.question)) and not re.search(r"\b(?:image|frame)$", found[2]):
        subject = re.sub("^(?:the|an?) ", "", pair.answer)
    else:
        return None
    return subject, RELATION_OF[found[1]], frozenset(found[2].replace("the ", "").split(" and "))


def truths(scene: Scene) -> set[tuple[str, str, frozenset[str]]]:
    return {
        (fact.subject.name, fact.relation, frozenset(item.name for item in fact.references))
        for fact in spatial_facts(scene)
    }


@pytest.mark.parametrize("corpus_format", ["docci", "localized_narratives", "pixmo_cap"])
def test_facts_are_read_and_true(corpus_format: CorpusFormat) -> None:
    sentences = read = 0
    for index in range(120):
        scene = make_scene(scene_seed(corpus_format, 5, index))
        caption = describe(corpus_format, scene)
        facts = [fact for pair in write_pairs(caption) if (fact := stated(pair))]
        assert set(facts) <= truths(scene), caption
        # One clause states one fact; nearly every one must come back.
        clauses = re.split(r"(?<=\.) |, and (?=the )", caption)
        sentences += sum(
            sum(item.name in clause for item in scene.objects) >= 2
            and re.search(rf"\b(?:{LONGEST_FIRST}) the ", clause, re.IGNORECASE) is not None
            for clause in clauses
        )
        read += len(set(facts))
    assert read >= 0.97 * sentences > 100
