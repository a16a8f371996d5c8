from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spare_assets.settings import TrainingSettings, load_settings
from spare_assets.storage.conservation import conserve
from spare_assets.storage.schemas import TABLES
from spare_assets.storage.tables import TableError, read_batches
from spare_assets.training import samples as samples_module
from spare_assets.training.samples import ChosenTurns, choose_turns, part_of

SETTINGS = load_settings("sandbox").training


def training(**changed: Any) -> TrainingSettings:
    return SETTINGS.model_copy(update={"benign_share": 0.5, "held_out_share": 0.0} | changed)


class Corpus:
    """A few captions with pairs, in the tables the training rows are made of."""

    def __init__(self) -> None:
        self.captions: list[dict[str, Any]] = []
        self.dataset: list[dict[str, Any]] = []
        self.rejected: list[dict[str, Any]] = []
        self.images: list[dict[str, Any]] = []
        self.contaminated: list[dict[str, Any]] = []

    def caption(
        self,
        caption_id: str,
        image_id: str,
        questions: Sequence[str] = (),
        benign: Sequence[str] = (),
        unanswered: Sequence[str] = (),
    ) -> Corpus:
        row = {"caption_id": caption_id, "image_id": image_id, "caption": f"caption {caption_id}"}
        self.captions.append(row)
        if questions:
            pairs = [
                {"pair_id": f"{caption_id}/s{n}", "question": question, "answer": f"answer {n}"}
                for n, question in enumerate(questions)
            ]
            self.dataset.append({**row, "pairs": pairs})
        for kind, reason, texts in (("b", "not about space", benign), ("f", "failed: HTTP 500", unanswered)):
            for n, question in enumerate(texts):
                pair = {"pair_id": f"{caption_id}/{kind}{n}", "question": question, "answer": "benign answer"}
                score = 0.1 if kind == "b" else None
                where = {"caption_id": caption_id, "position": n, "check": "spatial", "score": score}
                self.rejected.append({**pair, **where, "reason": reason})
        return self

    def image(self, image_id: str, source: str = "s", status: str = "ok") -> Corpus:
        row = {"image_id": image_id, "source": source, "status": status, "sha256": f"{source} {image_id}"}
        path = f"/{source}/{image_id}.jpg" if status == "ok" else None
        self.images.append({**row, "path": path, "width": 4, "height": 3})
        return self

    def choose(self, scratch: Path, **changed: Any) -> ChosenTurns:
        return choose_turns(
            table("spare_dataset", self.dataset),
            [table("rejected_pairs", self.rejected)],
            [table("spatial_captions", self.captions)],
            [table("images", self.images[:1]), table("images", self.images[1:])],
            table("contaminated_images", self.contaminated),
            training(**changed),
            scratch,
        )


def table(name: str, rows: list[dict[str, Any]]) -> pl.LazyFrame:
    return pl.LazyFrame(rows, schema=TABLES[name].polars())


def collected(chosen: ChosenTurns) -> tuple[pl.DataFrame, pl.DataFrame]:
    empty = [TABLES[name].empty() for name in ("training_samples", "caption_training_samples")]
    return pl.concat([empty[0], *chosen.samples()]), pl.concat([empty[1], *chosen.caption_samples()])


def turns(rows: pl.DataFrame) -> dict[str, list[str]]:
    return {row["row_id"]: [turn["pair_id"] for turn in row["turns"]] for row in rows.iter_rows(named=True)}


def by_hash(*pair_ids: str) -> list[str]:
    """Turns in the order that their hashes draw."""
    return sorted(pair_ids, key=lambda pair_id: hashlib.sha256(f"turn {pair_id}".encode()).hexdigest())


def test_a_row_holds_all_turns_of_an_image_over_its_captions(tmp_path: Path) -> None:
    corpus = Corpus().image("i2").image("i1")
    corpus.caption("b:1", "i1", ["Where is the cup?", "What is left of it?"])
    corpus.caption("a:1", "i1", ["Is it above?"], benign=["What colour is it?"])
    corpus.caption("a:2", "i2", ["Where is the dog?"])
    chosen = corpus.choose(tmp_path)
    rows, captions = collected(chosen)
    assert turns(rows) == {"i1": by_hash("a:1/s0", "a:1/b0", "b:1/s0", "b:1/s1"), "i2": ["a:2/s0"]}
    assert rows.schema == captions.schema == TABLES["training_samples"].polars()
    first = rows.row(0, named=True)
    assert (first["image_path"], first["image_sha256"], first["width"], first["height"]) == ("/s/i1.jpg", "s i1", 4, 3)
    assert [turn["benign"] for turn in first["turns"]] == [False, True, False, False]
    asked = {"pair_id": "a:1/s0", "question": "Is it above?", "answer": "answer 0", "benign": False}
    assert first["turns"][0] == asked
    assert turns(captions) == {"i1": ["a:1", "b:1"], "i2": ["a:2"]}
    assert captions["turns"][0][0] == {
        "pair_id": "a:1",
        "question": SETTINGS.caption_instruction,
        "answer": "caption a:1",
        "benign": False,
    }
    assert (chosen.counts.images, chosen.counts.captions) == (2, 3)


def test_a_question_is_asked_once_of_an_image(tmp_path: Path) -> None:
    corpus = Corpus().image("i1").image("i2")
    corpus.caption("a:1", "i1", [], benign=["What is it?"])
    corpus.caption("a:2", "i1", ["Where is  the CUP?", "What is it?"])
    corpus.caption("a:3", "i1", [" where is the cup?"])
    corpus.caption("a:4", "i2", ["Where is the cup?"])
    chosen = corpus.choose(tmp_path)
    rows, captions = collected(chosen)
    assert turns(rows) == {"i1": ["a:2/s0", "a:2/s1"], "i2": ["a:4/s0"]}, "spatial pairs go before benign ones"
    assert chosen.counts.repeated == 2
    assert turns(captions) == {"i1": ["a:2"], "i2": ["a:4"]}


def test_one_pair_a_row_keeps_the_part_of_its_image(tmp_path: Path) -> None:
    corpus = Corpus()
    for number in range(40):
        corpus.image(f"i{number}").caption(f"a:{number}", f"i{number}", ["Where?", "Why there?"])
    rows, captions = collected(corpus.choose(tmp_path, unit="pair", held_out_share=0.5))
    assert rows.height == 80 and captions.height == 40
    assert rows.row(0, named=True)["row_id"] == "i0#a:0/s0" and captions["row_id"][0] == "i0#a:0"
    assert rows["row_id"].is_sorted() and captions["row_id"].is_sorted()
    for row in [*rows.iter_rows(named=True), *captions.iter_rows(named=True)]:
        assert row["part"] == part_of(row["image_id"], 0.5)
        assert len(row["turns"]) == 1
    assert set(rows["part"]) == {"train", "held_out"}


def test_pairs_that_can_not_be_used_are_counted(tmp_path: Path) -> None:
    corpus = Corpus().image("gone", status="missing").image("here").image("known")
    corpus.caption("a:1", "gone", ["Where?"], benign=["Who?"])
    corpus.caption("a:2", "unlisted", ["Where?"])
    corpus.caption("a:3", "here", ["Where?"], unanswered=["Failed?"])
    corpus.caption("a:4", "known", ["Where?", "What is below?"])
    corpus.rejected.append({"caption_id": "a:9", "pair_id": "stale", "check": "spatial", "score": 0.0, "question": "?"})
    corpus.rejected.append({"caption_id": "a:3", "pair_id": "x", "check": "grounding", "score": 0.0, "question": "?"})
    corpus.contaminated = [
        {"image_id": "known", "benchmark": "vsr", "item": str(item), "match": "id", "distance": None}
        for item in range(3)
    ]
    kept = corpus.choose(tmp_path)
    assert (kept.counts.turns, kept.counts.without_image, kept.counts.contaminated) == (3, 4, 0)
    excluded = corpus.choose(tmp_path, contamination="exclude")
    assert (excluded.counts.turns, excluded.counts.without_image, excluded.counts.contaminated) == (1, 4, 2)
    assert (excluded.counts.spatial, excluded.counts.benign) == (5, 2)
    rows, captions = collected(excluded)
    assert turns(rows) == {"here": ["a:3/s0"]}
    assert captions["image_id"].to_list() == ["here"]


def test_of_several_files_the_first_by_source_counts(tmp_path: Path) -> None:
    corpus = Corpus().image("i", "z").image("i", "b").image("i", "a", status="unreadable")
    rows, _ = collected(corpus.caption("z:1", "i", ["Where?"]).choose(tmp_path))
    assert rows["image_path"].to_list() == ["/b/i.jpg"]


@pytest.mark.parametrize(("share", "benign"), [(0.0, 0), (0.1, 1), (0.25, 3), (0.5, 9), (0.9, 20)])
def test_benign_pairs_join_up_to_their_share_of_all_turns(tmp_path: Path, share: float, benign: int) -> None:
    corpus = Corpus().image("i").image("benign only")
    corpus.caption("a:1", "i", [f"Where is {n}?" for n in range(9)])
    corpus.caption("a:2", "benign only", [], benign=[f"Who is {n}?" for n in range(20)])
    chosen = corpus.choose(tmp_path, benign_share=share)
    assert chosen.counts.benign_turns == benign
    assert chosen.counts.over_share == 20 - benign
    rows, captions = collected(chosen)
    assert set(rows["image_id"]) == set(captions["image_id"]) == ({"i", "benign only"} if benign else {"i"})


def test_a_smaller_share_is_part_of_a_larger(tmp_path: Path) -> None:
    corpus = Corpus().image("i").caption("a:1", "i", [f"{n}?" for n in range(30)], benign=[f"b{n}" for n in range(30)])
    taken = [set(turns(collected(corpus.choose(tmp_path, benign_share=share))[0])["i"]) for share in (0.1, 0.2, 0.4)]
    assert taken[0] < taken[1] < taken[2]


def test_nothing_offered_is_no_row(tmp_path: Path) -> None:
    chosen = Corpus().choose(tmp_path)
    assert [frame.height for frame in collected(chosen)] == [0, 0]
    assert chosen.counts.offered == 0


def test_rows_do_not_depend_on_how_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = Corpus()
    for number in range(7):
        corpus.image(f"i{number}")
        for caption in range(3):
            corpus.caption(f"{caption}:{number}", f"i{number}", [f"{caption} {n}?" for n in range(number)])
    chosen = corpus.choose(tmp_path)
    whole = collected(chosen)
    for size in (1, 2, 5):
        monkeypatch.setattr(samples_module, "read_batches", partial(read_batches, size=size))
        assert all(left.equals(right) for left, right in zip(collected(chosen), whole, strict=True))


def test_the_part_of_an_image_is_its_own_business() -> None:
    held_out = [part_of(f"coco:{number}", 0.02) for number in range(20_000)].count("held_out")
    assert 300 < held_out < 500
    assert part_of("coco:1", 0.0) == "train"
    assert [part_of("coco:7", share) for share in (0.1, 0.9)] in (
        ["train", "train"],
        ["train", "held_out"],
        ["held_out", "held_out"],
    )


_questions = st.lists(st.sampled_from(["Where?", "where?", " WHERE ", "Who?", "Why?", "How far?"]), max_size=4)
_captions = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["i1", "i2", "i3", "gone"]), _questions, _questions, _questions),
    max_size=8,
)


@settings(max_examples=25, deadline=None)
@given(captions=_captions, more=_captions, share=st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.9]), exclude=st.booleans())
def test_whatever_comes_in_is_accounted_for(captions: Any, more: Any, share: float, exclude: bool) -> None:
    changed: dict[str, Any] = {"benign_share": share, "held_out_share": 0.5}
    changed["contamination"] = "exclude" if exclude else "report"
    seen: list[pl.DataFrame] = []
    for entries in (captions, captions + more):
        corpus = Corpus().image("i1").image("i2").image("i3").image("gone", status="missing")
        for number, (source, image, *texts) in enumerate(entries):
            corpus.caption(f"{source}:{number}", image, *texts)
        corpus.contaminated = [{"image_id": "i3", "benchmark": "vsr", "item": "1", "match": "id", "distance": None}]
        with tempfile.TemporaryDirectory() as scratch:
            chosen = corpus.choose(Path(scratch), **changed)
            rows, captioned = collected(chosen)
        counts = chosen.counts
        conserve("training_samples", read=counts.offered, parts=counts.parts)
        assert counts.spatial == sum(len(questions) for _, _, questions, _, _ in entries)
        assert counts.benign == sum(len(benign) for *_, benign, _ in entries)
        stored = rows.explode("turns").unnest("turns")
        assert stored.height == counts.turns and stored["benign"].sum() == counts.benign_turns
        assert counts.benign_turns <= share * counts.turns + 1e-9
        folded = stored["question"].str.to_lowercase().str.strip_chars(" ?")
        assert not stored.select("image_id", folded).is_duplicated().any()
        assert set(stored["pair_id"]) <= {pair["pair_id"] for row in corpus.dataset for pair in row["pairs"]} | {
            row["pair_id"] for row in corpus.rejected if row["reason"] == "not about space"
        }
        assert rows["row_id"].is_sorted() and rows["row_id"].is_unique().all()
        assert rows.select("row_id", "part", "image_path").equals(captioned.select("row_id", "part", "image_path"))
        assert captioned.explode("turns").height == counts.captions
        assert "gone" not in rows["image_id"] and not (exclude and "i3" in rows["image_id"])
        seen.append(rows.select("image_id", "part"))
    before, after = (dict(frame.iter_rows()) for frame in seen)
    assert all(after[image] == part for image, part in before.items() if image in after)


def in_frames(frames: Sequence[str]) -> Corpus:
    """One image, asked about in these frames by as many questions."""
    corpus = Corpus().image("i1").caption("a:1", "i1", [f"Question {n}?" for n in range(len(frames))], benign=["Red?"])
    for pair, frame in zip(corpus.dataset[0]["pairs"], frames, strict=True):
        pair["frame"] = frame
    return corpus


def test_pairs_in_other_frames_than_asked_for_are_left_out_and_counted(tmp_path: Path) -> None:
    corpus = in_frames(["viewer", "object", "ambiguous", "none", "viewer"])
    chosen = corpus.choose(tmp_path, frames=("viewer", "none"))
    rows, _ = collected(chosen)
    assert turns(rows) == {"i1": by_hash("a:1/s0", "a:1/s3", "a:1/s4", "a:1/b0")}
    assert (chosen.counts.other_frame, chosen.counts.turns) == (2, 4)
    conserve("training_samples", read=chosen.counts.offered, parts=chosen.counts.parts)


def test_all_frames_are_trained_on_unless_some_are_named(tmp_path: Path) -> None:
    chosen = in_frames(["viewer", "object"]).choose(tmp_path)
    assert (chosen.counts.other_frame, chosen.counts.turns) == (0, 3)


def test_a_question_left_out_for_its_frame_does_not_hide_the_same_one_in_another(tmp_path: Path) -> None:
    corpus = in_frames(["viewer", "object"])
    for pair in corpus.dataset[0]["pairs"]:
        pair["question"] = "What is to the left?"
    chosen = corpus.choose(tmp_path, frames=("object",))
    rows, _ = collected(chosen)
    assert turns(rows) == {"i1": by_hash("a:1/s1", "a:1/b0")}
    assert (chosen.counts.other_frame, chosen.counts.repeated) == (1, 0)


def test_a_dataset_from_before_the_marks_is_trained_on_whole_or_refused_in_words(tmp_path: Path) -> None:
    unmarked = pl.Struct({"pair_id": pl.String, "question": pl.String, "answer": pl.String})
    schema = TABLES["spare_dataset"].polars() | {"pairs": pl.List(unmarked)}
    corpus = Corpus().image("i1").caption("a:1", "i1", ["Where?"])
    choose = partial(
        choose_turns,
        pl.LazyFrame(corpus.dataset, schema=schema),
        [table("rejected_pairs", [])],
        [table("spatial_captions", corpus.captions)],
        [table("images", corpus.images)],
        table("contaminated_images", []),
    )
    assert choose(training(), tmp_path).counts.turns == 1
    with pytest.raises(TableError, match="materialize spare_dataset again"):
        choose(training(frames=("object",)), tmp_path)
