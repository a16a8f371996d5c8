from __future__ import annotations

import json
import random
from functools import partial
from pathlib import Path

import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from spare_assets.quality import grounding
from spare_assets.quality.grounding import STOP_WORDS, grounding_verdicts, same_word
from spare_assets.quality.samples import MisalignedTablesError, sample_chunks
from spare_assets.storage.schemas import TABLES
from spare_assets_tests.quality.toy_tables import toy_pairs

CAPTION = (
    "The Café's two old-fashioned tables stand to the left of a red door. Ben’s dog, a ﬁne boxer, lies beneath "
    "them (near 3 boxes); its leaves and the shelves are grey. On the right there is one woman and the children's bus."
)


def verdicts(*rows: tuple[str, str], caption: str = CAPTION, minimum: float = 0.5) -> pl.DataFrame:
    pairs = toy_pairs([("a", question, answer) for question, answer in rows])
    captions = pl.LazyFrame({"caption_id": ["a"], "caption": [caption]})
    return pl.concat(grounding_verdicts(pairs.lazy(), captions, minimum))


def score(answer: str, question: str = "", caption: str = CAPTION) -> float:
    found: float = verdicts((question, answer), caption=caption).item(0, "score")
    return found


@pytest.mark.parametrize(
    "answer",
    [
        "To the LEFT of a red door",
        "two old fashioned tables",
        "2 old-fashioned table",
        "a fine boxer",
        "Bens' dogs",
        "Ben's dog",
        "beneath them",
        "near the three box",
        "the leaf, and the shelf",
        "gray shelves!!",
        "1 women, on the right",
        "A child’s buses",
        "CAFE\u0301",
        "ｃａｆé",
    ],
)
def test_words_are_found_in_any_form(answer: str) -> None:
    assert score(answer) == 1.0


@pytest.mark.parametrize("answer", ["a doorway", "the able", "Benny", "cafeteria", "to the north", "redder", "busy"])
def test_parts_of_words_are_not_found(answer: str) -> None:
    assert score(answer) == 0.0


def test_the_score_is_the_share_of_distinct_content_words() -> None:
    found = verdicts(("", "the red door, the red red elephant"), ("", "a blue elephant by the door"))
    assert found["score"].to_list() == pytest.approx([2 / 3, 1 / 3])
    assert found["kept"].to_list() == [True, False]
    assert found["reason"].to_list() == ["", "1 of 3 answer words in the caption"]
    assert found.schema == TABLES["grounding_verdicts"].polars()
    assert verdicts(("", "red door elephant"), minimum=2 / 3).item(0, "kept")


def test_an_answer_without_content_words_is_judged_by_its_question() -> None:
    found = verdicts(
        ("Is the dog left of the door?", "Yes, it is."),
        ("Is the elephant to the north of the door?", "No"),
        ("Is it?", "It is not."),
        ("Is it?", ""),
    )
    assert found["score"].to_list() == pytest.approx([1.0, 1 / 3, 0, 0])
    assert found["reason"].to_list()[1:] == [
        "1 of 3 question words in the caption",
        *["neither answer nor question has content words"] * 2,
    ]


def test_pairs_are_held_against_their_own_caption_wherever_chunks_fall(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    numbers = range(0, 60, 2)
    pairs = toy_pairs(
        [(f"c{number:03d}", f"Where is {number}?", f"word{number + step}") for number in numbers for step in range(3)]
    )
    captions = pl.LazyFrame(
        [(f"c{number:03d}", f"word{number}") for number in range(70)], ["caption_id", "caption"], orient="row"
    )
    whole = pl.concat(grounding_verdicts(pairs.lazy(), captions, 0.5))
    assert whole["pair_id"].equals(pairs["pair_id"])
    assert whole["kept"].to_list() == [True, False, False] * len(numbers)
    for rows in (1, 4, 50):
        monkeypatch.setattr(grounding, "sample_chunks", partial(sample_chunks, rows=rows))
        assert pl.concat(grounding_verdicts(pairs.lazy(), captions, 0.5)).equals(whole)
    with pytest.raises(MisalignedTablesError, match=r"caption 'c004' has pairs but no text.*spatial_captions"):
        list(grounding_verdicts(pairs.lazy(), captions.filter(pl.col("caption_id") != "c004"), 0.5))


NOUNS = {
    "box": "boxes",
    "dog": "dogs",
    "berry": "berries",
    "movie": "movies",
    "glass": "glasses",
    "vase": "vases",
    "house": "houses",
    "bush": "bushes",
    "bench": "benches",
    "shoe": "shoes",
    "potato": "potatoes",
    "leaf": "leaves",
    "woman": "women",
    "child": "children",
    "lens": "lenses",
    "bus": "buses",
    "tie": "ties",
    "key": "keys",
    "horse": "horses",
    "prize": "prizes",
    "tv": "tvs",
    "iris": "irises",
    "wall": "walls",
    "roof": "roofs",
    "tree": "trees",
}
OTHERS = ["left", "red", "behind", "étage", "naïve", "ﬁr", "7", "łódź", "über", "top"]


@pytest.mark.parametrize(("one", "many"), NOUNS.items())
def test_singular_and_plural_are_the_same_word(one: str, many: str) -> None:
    assert score(one, caption=many) == score(many, caption=one) == score(f"{one}'s", caption=f"{many}'") == 1.0


content_words = st.sampled_from([*NOUNS, *OTHERS])
small_words = st.sampled_from(["the", "a", "of", "is", "an", "on"])
phrases = st.lists(content_words | small_words, min_size=1, max_size=12)


@settings(deadline=None)
@given(phrases, st.data())
def test_a_phrase_of_the_caption_scores_one(words: list[str], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(words) - 1))
    end = data.draw(st.integers(start + 1, len(words)))
    assume(not set(words[start:end]) <= STOP_WORDS)
    separators = st.sampled_from([" ", ", ", " - ", "\n", "... ", " (", "/", "—"])
    caption = "".join(word + data.draw(separators) for word in words)
    assert score(" ".join(words[start:end]), caption=caption) == 1.0


@settings(deadline=None)
@given(phrases, st.randoms(use_true_random=False))
def test_form_changes_nothing(words: list[str], chance: random.Random) -> None:
    assume(not set(words) <= STOP_WORDS)

    def reshaped(word: str) -> str:
        word = chance.choice([word, NOUNS.get(word, word), word + "'s", word + "’s"])
        word = chance.choice([str.upper, str.lower, str.title])(word)
        word = chance.choice(["", "the ", "An "]) + word + chance.choice(["", ",", " !", "; of the", '"'])
        return word

    content = [word for word in words if word not in STOP_WORDS]
    chance.shuffle(content)
    caption = " ".join(words)
    other = " ".join(reshaped(word) for word in content)
    assert score(other, caption=caption) == 1.0
    assert score(caption, caption=other) == 1.0


@settings(deadline=None)
@given(st.sets(content_words, min_size=2, max_size=12), st.data())
def test_an_answer_that_shares_no_word_scores_zero(words: set[str], data: st.DataObject) -> None:
    ordered = sorted(words)
    cut = data.draw(st.integers(1, len(ordered) - 1))
    shared = " the of is "
    assert score(shared.join(ordered[:cut]), caption=shared.join(ordered[cut:]) + shared) == 0.0


@settings(deadline=None)
@given(st.text(), st.text(), st.text())
def test_any_text_gets_a_score(caption: str, question: str, answer: str) -> None:
    found = verdicts((question, answer), caption=caption)
    assert 0 <= found.item(0, "score") <= 1


def test_words_that_differ_stay_apart() -> None:
    words = [
        "left",
        "right",
        "leaf",
        "grass",
        "glass",
        "vase",
        "van",
        "bus",
        "bush",
        "boat",
        "boot",
        "rose",
        "row",
    ]
    words += [
        "table",
        "tablet",
        "plant",
        "plane",
        "bench",
        "beach",
        "shoe",
        "show",
        "axis",
        "axe",
        "men",
        "menu",
    ]
    assert pl.DataFrame({"word": words}).select(same_word()).to_series().n_unique() == len(words)


def test_phrases_of_real_captions_are_grounded_and_those_of_others_are_not(real_data: Path) -> None:
    lines = (real_data / "docci" / "docci_descriptions.jsonlines").read_text(encoding="utf-8").splitlines()
    texts = [json.loads(line)["description"] for line in lines]
    chance = random.Random(5)
    rows: list[tuple[str, str, str]] = []
    for place, text in enumerate(texts):
        for step in range(10):
            words = (text if step % 2 == 0 else texts[place - 1]).split()
            start = chance.randrange(len(words) - 6)
            rows.append((f"{place:03d}", "", " ".join(words[start : start + 6])))
    captions = pl.LazyFrame(
        [(f"{place:03d}", text) for place, text in enumerate(texts)], ["caption_id", "caption"], orient="row"
    )
    found = pl.concat(grounding_verdicts(toy_pairs(rows).lazy(), captions, 0.5))
    own = found.filter(pl.col("position") % 2 == 0)
    foreign = found.filter(pl.col("position") % 2 == 1)
    assert (own["score"] == 1).mean() > 0.99
    assert foreign["kept"].mean() < 0.5
