"""The sandbox's benchmarks: read without a hitch, true of their pictures, fair, and nothing that training shows."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
import yaml

from spare_assets.benchmarks.catalog import CATALOG
from spare_assets.benchmarks.dialects import load_dialect
from spare_assets.benchmarks.image_files import checkable
from spare_assets.benchmarks.pictures import Pictures
from spare_assets.benchmarks.questions import Question
from spare_assets.sandbox import benchmark_files
from spare_assets.sandbox.benchmark_files import ensure_rendered, write_benchmark
from spare_assets.sandbox.corpora import CorpusFormat, describe
from spare_assets.sandbox.effect import four_way_questions, general_questions
from spare_assets.sandbox.questions import analyst_questions, named_things
from spare_assets.sandbox.rendered_folder import CorpusError
from spare_assets.sandbox.scenes import (
    GRID,
    POOLS,
    Direction,
    Scene,
    SceneObject,
    direction,
    make_scene,
    region,
    scene_seed,
)
from spare_assets.sandbox.scenes import four_ways as four_ways_of
from spare_assets.settings import BENCHMARKS, PROFILES, Home, load_settings
from spare_assets_tests.sandbox.looking import objects_seen
from spare_assets_tests.sandbox.templates import masked

COUNTS = dict.fromkeys(BENCHMARKS, 60) | {"vsr": 320}
Seen = dict[str, SceneObject]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with the benchmarks where the sandbox has them, fewer questions each."""
    folder = tmp_path_factory.mktemp("benchmarks")
    document = yaml.safe_load((PROFILES / "sandbox.yaml").read_text(encoding="utf-8"))
    for key, benchmark in document["benchmarks"].items():
        benchmark["scenes"]["count"] = COUNTS[key]
    profile = folder / "sandbox.yaml"
    profile.write_text(yaml.safe_dump(document), encoding="utf-8")
    return Home(folder / "home", load_settings(str(profile)))


@pytest.fixture(scope="module")
def asked(home: Home) -> dict[str, list[Question]]:
    """Every benchmark's questions, as its own reader reads them."""
    questions = {}
    for key, benchmark in CATALOG.items():
        settings = home.settings.benchmarks[key]
        ensure_rendered(key, settings, home)
        files = checkable(key, settings, home)
        assert files is not None
        read = list(benchmark.read(files, Pictures(files, home.benchmark_images / key, 10**6), settings))
        questions[key] = [one for one in read if isinstance(one, Question)]
        assert questions[key] == read, "no record is unreadable"
    return questions


@pytest.mark.parametrize("key", BENCHMARKS)
def test_every_record_is_a_question_that_can_be_asked(asked: dict[str, list[Question]], key: str) -> None:
    questions = asked[key]
    assert COUNTS[key] <= len(questions) < COUNTS[key] + 4
    assert len({question.item for question in questions}) == len(questions)
    for question in questions:
        assert not question.problem
        assert len(question.images) == 1 and question.images[0].path.is_file()


@pytest.mark.parametrize("key", BENCHMARKS)
def test_answers_are_true_of_the_pictures(asked: dict[str, list[Question]], key: str) -> None:
    for question in asked[key]:
        seen = objects_seen(question.images[0].path)
        assert 2 <= len(seen) <= 4
        assert set(question.answers) == right_answers(question, seen), (question, seen)


def right_answers(question: Question, seen: Seen) -> set[str]:
    """What is right by the picture and the question's text alone."""
    if question.form == "captions":
        return {letter for letter, caption in question.options.items() if holds(caption, seen)}
    if question.form == "statement":
        return {"true" if holds(question.text, seen) else "false"}
    if question.options:
        found = told(question.text, seen)
        return {letter for letter, option in question.options.items() if (names(option) or option) == found}
    if set(question.answers) <= {"yes", "no"}:
        return {"yes" if holds(question.text, seen) else "no"}
    found = told(question.text, seen)
    assert isinstance(found, str)
    return {found}


def names(text: str) -> frozenset[str]:
    return frozenset(named_things(text))


def told(question: str, seen: Seen) -> str | frozenset[str] | None:
    """The answer to a question about a picture; objects as a set of names."""
    things = [seen[name] for name in named_things(question)]
    if len(things) == 2:
        return direction(*things)
    if things:
        assert question.startswith("Where in the picture is")
        return region(things[0])
    if "How many" in question:
        return _NUMBERS[len(seen)]
    if question == "Which objects does the image show?":
        return frozenset(seen)
    (shape,) = re.findall(r"the (\w+)(?: have)?\?$", question)
    (colour,) = (item.colour for item in seen.values() if item.shape == shape)
    return colour


_NUMBERS = {2: "two", 3: "three", 4: "four"}
_RELATIONS: dict[str, Direction] = {
    "to the left of": "left",
    "to the right of": "right",
    "above": "above",
    "below": "below",
}
_CLAIMS: dict[str, Callable[[re.Match[str], Seen], bool]] = {
    r"(?:the|an?) (\w+ \w+) (?:is )?(to the left of|to the right of|above|below) (?:the|an?) (\w+ \w+)\.?": (
        lambda found, seen: direction(seen[found[1]], seen[found[3]]) == _RELATIONS[found[2]]
    ),
    r"is there an? (\w+ \w+) in the image\?": lambda found, seen: found[1] in seen,
    r"are there (\w+) objects in the image\?": lambda found, seen: found[1] == _NUMBERS[len(seen)],
    r"is the colour of the (\w+) (\w+)\?": lambda found, seen: f"{found[2]} {found[1]}" in seen,
    r"would somebody who collects (\w+) things take anything from this image\?": (
        lambda found, seen: found[1] in {item.colour for item in seen.values()}
    ),
    r"is (\w+) plus (\w+) the number of objects in the image\?": (
        lambda found, seen: len(seen) == sum({"one": 1, "two": 2}[word] for word in found.groups())
    ),
    r"with objects as the list of what the image shows, does len\(objects\) == (\d) hold\?": (
        lambda found, seen: int(found[1]) == len(seen)
    ),
}


def holds(claim: str, seen: Seen) -> bool:
    """Whether a claim is true of a picture; it must be of one known form."""
    text = claim.removesuffix(" Please answer yes or no.").lower()
    ((found, judge),) = [
        (match, judge) for pattern, judge in _CLAIMS.items() if (match := re.fullmatch(pattern, text)) is not None
    ]
    return judge(found, seen)


def test_the_witness_sees_what_was_drawn(tmp_path: Path) -> None:
    for seed in range(40):
        scene = make_scene(seed)
        benchmark_files._save(scene, tmp_path / f"{seed}.jpg")
        seen = objects_seen(tmp_path / f"{seed}.jpg")
        assert {name: (item.column, item.row) for name, item in seen.items()} == {
            item.name: (item.column, item.row) for item in scene.objects
        }


def test_statements_are_true_as_often_as_false_whatever_they_say(asked: dict[str, list[Question]]) -> None:
    labels = Counter(question.answers for question in asked["vsr"])
    assert labels[("true",)] == labels[("false",)]
    for relation in ("left of", "right of", "above", "below"):
        among = [question.answers == ("true",) for question in asked["vsr"] if question.category == relation]
        assert len(among) > 50
        assert 0.35 < sum(among) / len(among) < 0.65, relation


@pytest.mark.parametrize("key", ["whats_up_a", "whats_up_b"])
def test_every_pair_of_objects_stands_in_all_four_relations(asked: dict[str, list[Question]], key: str) -> None:
    sets = defaultdict(set)
    for question in asked[key]:
        things = (question.native["first"], question.native["second"])
        sets[things, question.images[0].path.parent.name].add(question.category)
        assert question.native["pair"] in {"left/right", "above/below"}
        assert len(objects_seen(question.images[0].path)) == (2 if key == "whats_up_a" else 3)
        assert {names(caption) for caption in question.options.values()} == {frozenset(things)}
    assert all(len(relations) == 4 for relations in sets.values())
    letters = Counter(question.answers[0] for question in asked[key])
    assert set(letters) == set("ABCD") and max(letters.values()) < 2 * len(asked[key]) / 4


def test_a_question_of_3dsrbench_comes_mirrored_and_turned(asked: dict[str, list[Question]]) -> None:
    passes: dict[str, dict[str, Question]] = defaultdict(dict)
    for question in asked["threedsr_bench"]:
        qid = question.native["qid"]
        passes[qid[:8]][qid[8:]] = question
    for together in passes.values():
        assert set(together) == {"", "-1", "-flip", "-flip-1"}
        assert len({question.text for question in together.values()}) == 1
        plain, flipped = (objects_seen(together[name].images[0].path) for name in ("", "-flip"))
        assert {name: (GRID - 1 - item.column, item.row) for name, item in plain.items()} == {
            name: (item.column, item.row) for name, item in flipped.items()
        }
        for one, other in (("", "-1"), ("-flip", "-flip-1")):
            assert together[one].images == together[other].images
            assert together[one].answers != together[other].answers, "the right option moves"
            assert (
                together[one].options[together[one].answers[0]] == together[other].options[together[other].answers[0]]
            )
    groups = {question.native["l2_category"] for question in asked["threedsr_bench"]}
    assert groups == {"height", "location", "orientation", "multi_object"}


def test_mmbench_has_every_circular_pass(asked: dict[str, list[Question]]) -> None:
    passes = defaultdict(list)
    for question in asked["mmbench"]:
        passes[question.native["g_index"]].append(question)
    for together in passes.values():
        letters = [*together[0].options]
        assert len(together) == len(letters)
        assert {question.answers[0] for question in together} == set(letters), "right stands once at every letter"
        assert len({question.images for question in together}) == 1
        for one, other in pairwise(together):
            assert [*other.options.values()] == [*one.options.values()][1:] + [*one.options.values()][:1]


def test_mme_asks_twice_of_a_picture_first_what_is_so(asked: dict[str, list[Question]]) -> None:
    questions = asked["mme"]
    for yes, no in zip(questions[::2], questions[1::2], strict=True):
        assert (yes.answers, no.answers) == (("yes",), ("no",))
        assert yes.images == no.images and yes.category == no.category
    assert {"code_reasoning", "commonsense_reasoning", "numerical_calculation"} < {q.category for q in questions}


def test_no_answer_is_the_usual_one(asked: dict[str, list[Question]]) -> None:
    for key in ("hallusion_bench", "realworldqa", "threedsr_bench", "mmbench"):
        answers = Counter(question.answers[0] for question in asked[key])
        most = 0.65 if len(answers) == 2 else 0.5
        assert max(answers.values()) / len(asked[key]) <= most, (key, answers)


def test_no_wording_of_a_benchmark_is_one_of_training(asked: dict[str, list[Question]]) -> None:
    settings = yaml.safe_load((PROFILES / "sandbox.yaml").read_text(encoding="utf-8"))
    analyst = settings["engines"]["analyst"]
    trained_on = set()
    for source in settings["sources"].values():
        seeds = (scene_seed(source["format"], source["scenes"]["seed"], index) for index in range(300))
        captions = [describe(source["format"], make_scene(seed)) for seed in seeds]
        for _, questions in analyst_questions(captions, analyst["slips"], analyst["asides"]):
            trained_on |= {masked(question) for question in questions}
    assert {"where is the _ _ in relation to the _ _?", "what colour is the _?"} <= trained_on
    dialect = load_dialect("scenes")
    tested = set()
    for question in (question for questions in asked.values() for question in questions):
        prompt = dialect.ask(question).text
        wordings = [
            question.text,
            question.text.removesuffix(" Please answer yes or no."),
            prompt,
            *prompt.splitlines(),
        ]
        if question.form == "captions":
            wordings += question.options.values()
        tested |= {masked(wording) for wording in wordings}
    assert len(tested) < 60, "names are masked"
    assert not tested & trained_on


def test_no_scene_of_a_benchmark_is_seen_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: dict[str, set[int]] = {}

    def one(seed: int) -> Scene:
        seeds[key].add(seed)
        return make_scene(seed)

    def four(seed: int, others: int = 0) -> dict[Direction, Scene]:
        scenes = four_ways_of(seed, others)
        seeds[key].update(scene.seed for scene in scenes.values())
        return scenes

    monkeypatch.setattr(benchmark_files, "make_scene", one)
    monkeypatch.setattr(benchmark_files, "four_ways", four)
    for key in BENCHMARKS:
        seeds[key] = set()
        write_benchmark(key, tmp_path / key / "records", 12, 0)
        assert seeds[key]
    drawn = [seed for found in seeds.values() for seed in found]
    assert len(set(drawn)) == len(drawn), "no two benchmarks share a scene"
    pool = scene_seed("benchmark", 0, 0) // 10**12
    assert {seed // 10**12 for seed in drawn} == {pool}
    assert pool not in {scene_seed(other, 0, 0) // 10**12 for other in POOLS if other != "benchmark"}
    assert set(get_args(CorpusFormat)) <= set(POOLS)
    assert not set(drawn) & {asked.scene.seed for asked in (*four_way_questions(40), *general_questions(30))}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def stamps(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (folder, *folder.rglob("*"))}


@pytest.mark.parametrize("key", BENCHMARKS)
def test_equal_seeds_give_equal_files_and_a_second_call_writes_nothing(tmp_path: Path, key: str) -> None:
    for name, seed in (("one", 3), ("same", 3), ("other", 4)):
        write_benchmark(key, tmp_path / name / "records", 8, seed)
    before, untouched = contents(tmp_path / "one"), stamps(tmp_path / "one")
    assert before == contents(tmp_path / "same")
    assert before["records"] != contents(tmp_path / "other")["records"]
    write_benchmark(key, tmp_path / "one" / "records", 8, 3)
    assert stamps(tmp_path / "one") == untouched
    write_benchmark(key, tmp_path / "one" / "records", 12, 3)
    assert len(contents(tmp_path / "one")["records"]) > len(before["records"])
    (tmp_path / "same" / "records").unlink()
    write_benchmark(key, tmp_path / "same" / "records", 8, 3)
    assert contents(tmp_path / "same") == before, "a file that was taken away comes back"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "other", "same"]


def test_a_folder_that_holds_something_else_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "test.jsonl").write_text("{}")
    with pytest.raises(CorpusError, match="was not rendered here"):
        write_benchmark("vsr", tmp_path / "mine" / "test.jsonl", 4, 0)
    assert contents(tmp_path / "mine") == {"test.jsonl": b"{}"}
    write_benchmark("mme", tmp_path / "shared" / "MME.tsv", 4, 0)
    before = contents(tmp_path / "shared")
    with pytest.raises(CorpusError, match=r"holds other scenes, of mme: give vsr a folder.*benchmarks\.vsr\.file"):
        write_benchmark("vsr", tmp_path / "shared" / "test.jsonl", 4, 0)
    assert contents(tmp_path / "shared") == before
    with pytest.raises(CorpusError, match="no benchmark of scenes is called 'gqa': use vsr, "):
        write_benchmark("gqa", tmp_path / "gqa.tsv", 4, 0)
