"""By whose left and right a pair speaks, on pairs marked by hand; those of real captions are among them."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spare_assets.analyses.frames_of_reference import FRAMES, Frame, frame_of, frame_shares, mark_frames
from spare_assets.analyses.fronts import kind_at, phrase_at, words_of
from spare_assets.cli.materialize import Materialization
from spare_assets.engines.rule_based.questions import write_pairs
from spare_assets.orchestration.instance import open_instance
from spare_assets.settings import load_settings, open_home
from spare_assets.storage.tables import TableStore
from spare_assets_tests.profiles import sandbox_profile

REAL = Path(__file__).parents[3] / "shared" / "data"

MARKED: dict[Frame, list[tuple[str, str]]] = {
    "viewer": [
        ("Where in the image is the notepad?", "on the left side of the frame"),
        ("Where in the image is the vent?", "on the lower right of the frame"),
        ("What is in the background?", "a tall hotel building"),
        ("Where is the suburban house?", "in the backdrop"),
        ("Where in the picture is the plane?", "at the top"),
        ("Where is the mountain?", "in the far distance"),
        ("What is to the left of the tree?", "a bin"),
        ("Where is the fence in relation to the train tracks?", "behind the train tracks"),
        ("Where is the house in relation to the flower bed?", "behind the flower bed"),
        ("Where is the cup in relation to the plate?", "to the left"),
        ("Is the vase on the left or right side of the table?", "Left."),
        ("What is in front of the camera?", "a horizontal black rope"),
        ("Which direction is the bird facing?", "away from the viewer"),
        ("Which way is the pig facing?", "to the left"),
        ("What does the lioness face?", "the camera"),
        ("What is the yellow cartoon race car driving away from?", "the camera"),
        ("What is closest to the viewer?", "the building"),
        ("Where are the tall trees in relation to the lake?", "on the near side of the lake"),
        ("What is on the left door?", "a brass doorknob"),
        ("From the viewer's perspective, is the plant left or right of the bench?", "left"),
        ("As seen from the camera, what is behind the car?", "a wall"),
        ("What is on our right?", "a lamp"),
        ("What is at the image's left edge?", "a pole"),
    ],
    "object": [
        ("What is to the woman's left?", "a plant"),
        ("What is the man holding?", "a cup in his right hand"),
        ("What does she hold in her left hand?", "a phone"),
        ("Which paw is raised?", "the dog's right paw"),
        ("Which hand holds the staff?", "the left hand"),
        ("Where is the logo?", "at the front of the car"),
        ("Who is on the back of the truck?", "a person"),
        ("What is the boat facing?", "the shore"),
        ("What does the rectangular white sign face?", "the path"),
        ("Which direction is the bus facing?", "forward"),
        ("Where is the emblem?", "on the driver's-side door"),
        ("From the woman's perspective, is the plant to the left or right of the bench?", "right"),
        ("From the perspective of the man, what is on the left?", "the table"),
        ("What is at the truck's left side?", "a ladder"),
        ("Where is the lamp in relation to the man?", "on his left"),
    ],
    "ambiguous": [
        ("Is the plant to the right or left of the bench?", "right"),
        ("What is behind the cats?", "elegant white walls"),
        ("What is in front of the car?", "a cone"),
        ("Where is the short yellow post in relation to the truck?", "directly behind the truck"),
        ("Where is the dog in relation to the man?", "on the left"),
        ("What is on the right side of the building?", "a fence"),
        ("What is the cat hiding behind?", "the couch"),
        ("What is behind the dog’s head?", "a telephone pole"),
        ("What stands in front of a group of people?", "a table"),
        ("Where is the ball?", "to the left of it"),
        ("What is left of the children in the background?", "a swing"),
        ("Which part is damaged?", "the left headlight"),
    ],
    "none": [
        ("What is on the table?", "a vase"),
        ("What is right next to the door?", "a lamp"),
        ("What is right above the mirror?", "a light"),
        ("How much of the pizza has been left?", "a slice"),
        ("What is between the lamp and the notebook?", "the cat"),
        ("Where are the large windows in relation to the mural?", "on either side of the mural"),
        ("Where is the statue?", "in an alcove"),
        ("What is on the table in the image?", "a cup"),
        ("What is in the puddle of water?", "the back end of the truck"),
        ("Where is the cat?", "on its back"),
        ("Who sits behind the wheel?", "a man"),
        ("What does the clock face show?", "ten past ten"),
    ],
}


@pytest.mark.parametrize(
    ("question", "answer", "frame"),
    [(question, answer, frame) for frame, pairs in MARKED.items() for question, answer in pairs],
)
def test_pairs_marked_by_hand(question: str, answer: str, frame: Frame) -> None:
    assert frame_of(question, answer) == frame


@pytest.mark.parametrize(
    ("text", "phrase", "kind"),
    [
        ("the small red cup on", ["small", "red", "cup"], "sideless"),
        ("a group of people in", ["people"], "being"),
        ("the car parked near", ["car"], "being"),
        ("the building.", ["building"], "fronted"),
        ("the security camera", ["security", "camera"], "sideless"),
        ("the dog's head", ["dog's", "head"], "being"),
        ("that", [], "pronoun"),
        ("of", [], None),
    ],
)
def test_the_thing_a_phrase_is_about(text: str, phrase: list[str], kind: str | None) -> None:
    words = words_of(text)
    assert phrase_at(words, 0) == phrase
    assert kind_at(words, 0) == kind


WORDS = (
    *("left", "right", "of", "the", "front", "behind", "in", "facing", "face", "woman's", "its", "car", "image", "or"),
    *("where", "back", "ahead", "relation", "to", "?", ",", "hand", "side", "upper", "other", "each", "’", "viewer"),
)


@given(st.lists(st.sampled_from(WORDS)).map(" ".join) | st.text(max_size=60), st.text(max_size=30))
def test_any_text_gets_a_mark(question: str, answer: str) -> None:
    assert frame_of(question, answer) in FRAMES


def test_a_column_is_marked_row_by_row() -> None:
    rows = [(question, answer, frame) for frame, pairs in MARKED.items() for question, answer in pairs]
    frame = pl.DataFrame(rows, schema=["question", "answer", "expected"], orient="row").lazy()
    marked = frame.with_columns(mark_frames(pl.struct("question", "answer"))).collect()
    assert marked["frame"].to_list() == marked["expected"].to_list()
    empty = frame.head(0).with_columns(mark_frames(pl.struct("question", "answer"))).collect()
    assert empty.schema["frame"] == pl.String


def test_shares_are_counted_by_source_and_in_total() -> None:
    rows = [
        {"source": "a", "pairs": [{"frame": "viewer"}, {"frame": "none"}]},
        {"source": "a", "pairs": [{"frame": "none"}, {"frame": "none"}]},
        {"source": "b", "pairs": [{"frame": "object"}]},
    ]
    shares = frame_shares(pl.LazyFrame(rows))
    assert shares.columns == ["source", "pairs", *FRAMES]
    assert shares.rows() == [("a", 4, 25.0, 0.0, 0.0, 75.0), ("b", 1, 0, 100, 0, 0), ("total", 5, 20, 20, 0, 60)]


@pytest.mark.skipif(not (REAL / "comprecap_longcaps").is_dir(), reason="the real captions are not beside the project")
def test_real_captions_speak_by_the_viewer_most_of_all() -> None:
    captions = json.loads((REAL / "comprecap_longcaps" / "GPT-4o.json").read_text(encoding="utf-8")).values()
    marks = [frame_of(pair.question, pair.answer) for caption in captions for pair in write_pairs(caption)]
    shares = {frame: marks.count(frame) / len(marks) for frame in FRAMES}
    assert shares["none"] > shares["viewer"] > shares["ambiguous"] > shares["object"] > 0


def test_the_dataset_says_its_frames_and_a_training_mix_asks_for_some(tmp_path: Path) -> None:
    benchmarks = load_settings("sandbox").model_dump(mode="json")["benchmarks"]
    for benchmark in benchmarks.values():
        benchmark["scenes"]["count"] = 4
    profile = sandbox_profile(tmp_path, scenes=12, training={"frames": ["viewer"]}, benchmarks=benchmarks)
    home = open_home(str(profile), tmp_path / "home").claim()
    assert Materialization(home, "+training_samples", ()).execute()
    store = TableStore(home.tables)
    pairs = store.scan("spare_dataset").select(pl.col("pairs").explode().struct.unnest()).collect()
    assert set(pairs["frame"]) <= set(FRAMES)
    assert pairs["frame"].null_count() == 0
    viewer = set(pairs.filter(pl.col("frame") == "viewer")["pair_id"])
    assert 0 < len(viewer) < pairs.height
    turns = store.scan("training_samples").select(pl.col("turns").explode().struct.unnest()).collect()
    assert set(turns.filter(~pl.col("benign"))["pair_id"]) <= viewer
    with open_instance(home) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey("training_samples"))
        assembled = instance.get_latest_materialization_event(dg.AssetKey("spare_dataset"))
    assert event is not None and event.asset_materialization is not None
    assert event.asset_materialization.metadata["pairs_other_frame"].value == pairs.height - len(viewer)
    assert assembled is not None and assembled.asset_materialization is not None
    shares = assembled.asset_materialization.metadata["frames_of_reference_percent"]
    assert isinstance(shares, dg.TableMetadataValue)
    assert [record.data["source"] for record in shares.records] == [*sorted(home.settings.sources), "total"]
