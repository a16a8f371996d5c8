"""Our scores beside those of ms-vlmeval 0.0.20 (exact matching) on the same made-up files and replies of all shapes.

Asked for by `SPARE_VLMEVAL`, which names the Python of an environment of its own; a second or two a run, no GPU:

    python3.11 -m venv vlmeval
    vlmeval/bin/pip install --no-deps ms-vlmeval==0.0.20
    vlmeval/bin/pip install "pandas<3" numpy openpyxl xlsxwriter tabulate validators portalocker python-dotenv \
        termcolor pillow requests tqdm
    SPARE_VLMEVAL=vlmeval/bin/python python -m pytest spare_assets_tests/benchmarks/test_vlmevalkit_peer.py

Where the two differ, `test_differences_have_a_reason` asserts both scores and quotes the rule.
"""

from __future__ import annotations

import json
import os
import random
import string
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from spare_assets.benchmarks import hallusion_bench, mmbench, mme, mmmu, realworldqa, textvqa, threedsr_bench
from spare_assets.benchmarks.questions import Benchmark
from spare_assets_tests.benchmarks.asked import questions, read, scored
from spare_assets_tests.benchmarks.lettered import PICTURE, lmu_file

VARIABLE = "SPARE_VLMEVAL"
RUNNER = Path(__file__).with_name("vlmevalkit_runner.py")
TOLERANCE = 5e-5
"""Four decimals."""

Rows = list[dict[str, Any]]
Replies = dict[str, str]
Scores = list[dict[str, Any]]
Metrics = Mapping[tuple[str, str], float | None]
Both = Mapping[str, tuple[Metrics, Scores]]

pytestmark = pytest.mark.skipif(
    VARIABLE not in os.environ, reason=f"{VARIABLE} names no Python that has ms-vlmeval 0.0.20; the docstring says how"
)


def peer(folder: Path) -> dict[str, Scores]:
    """What ms-vlmeval makes of the files and replies in a folder, by dataset."""
    # As a link: what it leads to would not know its environment.
    python = Path(os.environ[VARIABLE]).absolute()
    ran = subprocess.run([python, RUNNER, folder], capture_output=True, text=True, cwd=folder, timeout=250)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return {
        path.name.removesuffix(".scores.json"): json.loads(path.read_text()) for path in folder.glob("*.scores.json")
    }


def ours(benchmark: Benchmark, folder: Path, name: str, replies: Replies) -> Metrics:
    """Our metrics of the same, by name and category."""
    asked = questions(read(benchmark, folder / f"{name}.tsv"))
    predictions = scored(benchmark, asked, lambda question: "" if question.problem else replies[question.item])
    return {(metric.name, metric.category): metric.value for metric in benchmark.measure(predictions)}


def written(folder: Path, name: str, rows: Sequence[Mapping[str, Any]], replies: Replies) -> None:
    lmu_file(folder / f"{name}.tsv", rows)
    (folder / f"{name}.replies.json").write_text(json.dumps(replies))


# Replies of all shapes

PLACES = (
    "left of the dog", "the dog", "right of the dog", "behind it", "in front", "under the table", "on top",
    "inside the box", "next to B street", "North", "3", "two metres", "Vitamin A", "rot", "weiß", "左边",
)  # fmt: skip


def lettered_reply(draw: random.Random, options: Mapping[str, str], answer: str) -> str:
    """A reply to a question with options; right about every other time."""
    letter = answer if draw.random() < 0.6 else draw.choice(sorted(options))
    other = draw.choice(string.ascii_uppercase[:5])
    text = options.get(letter, answer)
    return draw.choice(
        [
            letter, letter, f"{letter}.", f"({letter})", f"{letter}. {text}", f"**{letter}**", f"{letter}:\n{text}",
            f"Answer: {letter}", f"The answer is {letter}.", f"The answer is {letter} because it is {text}",
            f"It could be {letter} or {other}", f"{letter} {other}", letter.lower(), f"'{letter}'", f"{letter}?",
            f"<answer>{letter}</answer>", f"[{letter}]#{{{letter}}}", f"\n {letter} \n", f"{letter};",
            text, text.upper(), f"{text}.", f"I think it is {text}", f"{text}, not {options.get(other, 'that')}",
            f"A cat is {text}", f"Let me see what is {text} in this picture, as far as I can tell: {letter}",
            f"{letter}, as the thing that you ask about stands {text} and nothing else does", "Z", f"Z {text}",
            f"Z {letter}", "None of them", f"Cannot determine the answer: {letter}",
            f"I can't process this file. {letter}",
            f"Sorry, I can't help with images of people yet. {text}", "", " ", "42", "left", "yes",
            text + " so to say" * draw.randrange(12), "x" * 10_000, f"{letter} " * 4_000, f"{text} " * 200,
            f"答案是 {letter}", f"{letter}\u3000{text}", f"{letter}\xa0", f"-{letter}-",
            f"Option {letter} is right, I am sure",
        ]
    )  # fmt: skip


def options_of(row: Mapping[str, Any]) -> dict[str, str]:
    return {letter: str(row[letter]) for letter in string.ascii_uppercase if row.get(letter)}


def options(draw: random.Random, count: int) -> dict[str, str]:
    return dict(zip(string.ascii_uppercase, draw.sample(PLACES, count), strict=False))


def threedsr_files(draw: random.Random) -> tuple[Rows, Replies]:
    rows: Rows = []
    categories = ["height_higher", "location_above", "location_next_to", "orientation_viewpoint", "multi_object_facing"]
    for number in range(60):
        qid, category = f"Q{number:07}", draw.choice(categories)
        marks = ["", *draw.sample(["-1", "-flip", "-flip-1"], draw.randrange(4))]
        for mark in sorted(marks):
            # A pass in another order is scored together with the one it repeats, which has to be there.
            if mark == "-flip-1" and not {"-1", "-flip"} <= set(marks):
                continue
            given = options(draw, draw.choice([2, 4]))
            rows.append(
                {
                    "index": len(rows), "question": f"Where is thing {number}?", **given,
                    "answer": draw.choice(sorted(given)), "category": category,
                    "l2-category": next(group for group in threedsr_bench.GROUPS if category.startswith(group)),
                    "qid": qid + mark,
                }
            )  # fmt: skip
    return rows, {str(row["index"]): lettered_reply(draw, options_of(row), row["answer"]) for row in rows}


def mmbench_files(draw: random.Random) -> tuple[Rows, Replies]:
    rows: Rows = []
    replies: Replies = {}
    # From 1: of a question 0, ms-vlmeval's `data['index'] <= offset` takes the second pass for a first one too.
    for number in range(1, 91):
        given = options(draw, draw.choice([2, 3, 4]))
        answer = draw.choice(sorted(given))
        ability = draw.choice(["logic_reasoning", "attribute_reasoning", "a kind of its own"])
        texts = list(given.values())
        sure = draw.random() < 0.5
        for turn in range(draw.choice([1, len(texts), len(texts)])):
            turned = dict(zip(given, texts[turn:] + texts[:turn], strict=True))
            index = number + 1_000_000 * turn
            right = next(letter for letter, text in turned.items() if text == given[answer])
            rows.append(
                {
                    "index": index, "question": f"Where is thing {number}?", "hint": draw.choice(["", "Look left."]),
                    **turned, "answer": right, "category": f"{ability} {number % 2}", "l2-category": ability,
                    "split": "dev", "image": PICTURE if turn == 0 else str(number),
                }
            )  # fmt: skip
            replies[str(index)] = right if sure else lettered_reply(draw, turned, right)
    draw.shuffle(rows)
    return rows, replies


def mmmu_files(draw: random.Random) -> tuple[Rows, Replies]:
    rows: Rows = []
    replies: Replies = {}
    for number in range(300):
        subject = draw.choice(["Accounting", "Art", "Physics"])
        row: dict[str, Any] = {
            "index": number, "question": f"What is in <image 1>, number {number}?", "category": subject,
            "l2-category": "Science" if subject == "Physics" else "Other",
            "split": draw.choice(["dev", *["validation"] * 4]),
        }  # fmt: skip
        if number % 4:
            row |= options(draw, draw.choice([2, 4, 5]))
            row["answer"] = draw.choice(sorted(options_of(row)))
            replies[str(number)] = lettered_reply(draw, options_of(row), row["answer"])
        else:
            row["answer"] = draw.choice(["7.5 cm", "Hepatitis B", "['0.33', '1/3']", "Vitamin A", "ten", "B"])
            replies[str(number)] = lettered_reply(draw, {"A": row["answer"], "B": "Other Answers"}, "A")
        rows.append(row)
    return rows, replies


def realworldqa_files(draw: random.Random) -> tuple[Rows, Replies]:
    rows: Rows = []
    for number in range(300):
        given = options(draw, draw.choice([2, 3, 4]))
        rows.append(
            {"index": number, "question": f"Where is car {number}?", **given, "answer": draw.choice(sorted(given))}
        )
    return rows, {str(row["index"]): lettered_reply(draw, options_of(row), row["answer"]) for row in rows}


def yes_no_reply(draw: random.Random, answer: str) -> str:
    said = answer if draw.random() < 0.6 else draw.choice(["Yes", "No"])
    return draw.choice(
        [
            said, said.lower(), said.upper(), f"{said}.", f"{said}, it is.", f"**{said}**", f"The answer is {said}",
            f"{said}!", f"({said})", f"{said}:", f"{said}-no", "yes and no", "Yes or No?", "It is not.", "", " ",
            "true", f"\n{said}\n", f"{said}\n\nBecause I say so.", f"'{said}'", f"{said}; sure", f"I know: {said}",
            "nothing", "eyes", "是", f"{said}/maybe", f"[{said}]", f"{said}@home", "x" * 10_000, f"{said} " * 2_500,
            f"1,000 {said}", f"{said},{said}", f"no.{said}", f"<{said}>",
        ]
    )  # fmt: skip


def hallusion_files(draw: random.Random) -> tuple[Rows, Replies]:
    rows: Rows = []
    for category, finer in (("VD", "illusion"), ("VD", "math"), ("VS", "chart"), ("VS", "map")):
        for set_id in range(6):
            for figure in range(draw.randrange(1, 4)):
                for question in range(draw.randrange(1, 5)):
                    rows.append(
                        {
                            "index": f"{category}_{finer}_{1 + (figure > 0)}_{set_id}_{figure}_{question}",
                            "question": f"Is line {question} longer?", "category": category,
                            "l2-category": f"{category}_{finer}", "answer": draw.choice(["Yes", "No"]),
                        }
                    )  # fmt: skip
    return rows, {str(row["index"]): yes_no_reply(draw, row["answer"]) for row in rows}


def mme_files(draw: random.Random) -> tuple[Rows, Replies]:
    rows: Rows = []
    for subtask in ("OCR", "artwork", "count", "scene", "code_reasoning", "numerical_calculation", "text_translation"):
        for picture in range(20):
            for answer in ("Yes", "No"):
                rows.append(
                    {
                        "index": len(rows), "question": "Is it? Please answer yes or no.", "answer": answer,
                        "category": subtask, "image_path": f"images/{subtask}/{picture:04}.png",
                    }
                )  # fmt: skip
    return rows, {str(row["index"]): yes_no_reply(draw, row["answer"]) for row in rows}


def textvqa_files(draw: random.Random) -> tuple[Rows, Replies]:
    words = [
        "stop",
        "Stop",
        "the stop",
        "STOP!",
        "2",
        "two",
        "don't",
        "dont",
        "a red, bus",
        "red bus",
        "1,000",
        "3.5",
        "no. 7",
    ]
    rows: Rows = []
    replies: Replies = {}
    for number in range(300):
        few = draw.sample(words, draw.randrange(1, 4))
        answers = [draw.choice(few) for _ in range(10)]
        rows.append({"index": number, "question": "What does it say?", "answer": str(answers)})
        word = draw.choice([*few, *words])
        replies[str(number)] = draw.choice(
            [
                word, word, word, word.upper(), f"{word}.", f" {word}\n", f"The {word}", f"It says {word}", f'"{word}"',
                f"{word}!", word.replace(" ", "\n"), word.replace(" ", "\t"), f"an {word}", "", " ", "x" * 10_000,
                f"{word} " * 500, "." * 50 + word, f"{word};{word}", f"({word})", f"{word}?", f"{word}'s", "zero",
                "None of it",
            ]
        )  # fmt: skip
    return rows, replies


MADE: Mapping[str, tuple[Benchmark, Callable[[random.Random], tuple[Rows, Replies]]]] = {
    "3DSRBench": (threedsr_bench.BENCHMARK, threedsr_files),
    "MMBench_DEV_EN": (mmbench.BENCHMARK, mmbench_files),
    "MMMU_DEV_VAL": (mmmu.BENCHMARK, mmmu_files),
    "RealWorldQA": (realworldqa.BENCHMARK, realworldqa_files),
    "HallusionBench": (hallusion_bench.BENCHMARK, hallusion_files),
    "MME": (mme.BENCHMARK, mme_files),
    "TextVQA_VAL": (textvqa.BENCHMARK, textvqa_files),
}


@pytest.fixture(scope="module", params=range(2))
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Both:
    """Our metrics and ms-vlmeval's rows, by dataset."""
    folder = tmp_path_factory.mktemp("lmu")
    mine = {}
    for name, (benchmark, make) in MADE.items():
        rows, replies = make(random.Random(f"{name} {request.param}"))
        written(folder, name, rows, replies)
        mine[name] = ours(benchmark, folder, name, replies)
    theirs = peer(folder)
    return {name: (mine[name], theirs[name]) for name in MADE}


def agree(mine: Metrics, theirs: Mapping[tuple[str, str], float]) -> None:
    """Every score of theirs is one of ours, to four decimals of a share."""
    assert {key: round((mine[key] or 0.0) / 100, 9) for key in theirs} == pytest.approx(theirs, abs=TOLERANCE)
    assert len(set(theirs.values())) > 1, "scores that are all alike show nothing"


def test_threedsr_bench(both: Both) -> None:
    mine, theirs = both["3DSRBench"]
    names = {"vanilla": "vanilla", "flip_eval": "flip", "circ_eval": "circular", "flip_circ_eval": "flip circular"}
    found = {
        (f"{names[row['setting']]} accuracy", _category(name, threedsr_bench.GROUPS)): share
        for row in theirs
        for name, share in row.items()
        if name != "setting"
    }
    assert len(found) == 4 * (1 + 4 + 5)
    agree(mine, found)


def _category(name: str, groups: Sequence[str]) -> str:
    return "" if name == "Overall" else f"group: {name}" if name in groups else name


def test_mmbench(both: Both) -> None:
    mine, theirs = both["MMBench_DEV_EN"]
    names = {"circular_dev": "circular accuracy", "vanilla_0_dev": "vanilla accuracy"}
    groups = {"LR": "logic_reasoning", "AR": "attribute_reasoning", "a kind of its own": "a kind of its own"}
    found = {
        (names[row["split"]], _category(groups.get(name, name), list(groups.values()))): share
        for row in theirs
        if row["split"] in names
        for name, share in row.items()
        if name != "split"
    }
    assert len(found) == 2 * (1 + 3 + 6)
    agree(mine, found)


def test_mmmu(both: Both) -> None:
    mine, theirs = both["MMMU_DEV_VAL"]
    (row,) = (row for row in theirs if row.pop("split") == "validation")
    found = {("accuracy", _category(name, ["Science", "Other"])): share for name, share in row.items()}
    assert len(found) == 1 + 2 + 3
    agree(mine, found)


def test_realworldqa(both: Both) -> None:
    mine, (row,) = both["RealWorldQA"]
    assert mine["accuracy", ""] == pytest.approx(100 * row["Overall"], abs=TOLERANCE)


def test_hallusion_bench(both: Both) -> None:
    mine, theirs = both["HallusionBench"]
    found = {
        (name, "" if row["split"] == "Overall" else row["split"]): row[name] / 100
        for row in theirs
        for name in ("aAcc", "fAcc", "qAcc")
    }
    assert len(found) == 3 * (1 + 2 + 4)
    agree(mine, found)


def test_mme(both: Both) -> None:
    mine, (row,) = both["MME"]
    found = {
        (name, "") if name in {"perception", "reasoning"} else ("score", name): value / 100
        for name, value in row.items()
    }
    assert len(found) == 2 + 7
    agree(mine, found)


def test_textvqa(both: Both) -> None:
    mine, (row,) = both["TextVQA_VAL"]
    assert mine["accuracy", ""] == pytest.approx(row["Overall"], abs=TOLERANCE)


def test_differences_have_a_reason(tmp_path: Path) -> None:
    """Each record alone decides its score: ours, then theirs, with the rule that makes the difference."""
    two = {"A": "left of it", "B": "right of it"}
    cases: dict[str, list[tuple[str, dict[str, Any], str, float | None, float | None]]] = {
        "RealWorldQA": [
            # `pd.read_csv` takes None, NA, null, nan and the like for empty cells: such an option is gone.
            ("an option None", {"A": "None", "B": "Two", "answer": "A"}, "A", 1.0, 0.0),
            # `data['prediction'] = [str(x) for x in data['prediction']]`: an empty cell has become the word nan.
            ("an empty reply", {"A": "an", "B": "the", "answer": "A"}, "", 0.0, 1.0),
            # `if 'Failed to obtain answer via API' in answer: return False`: its own mark of a failed request.
            ("its mark of failure", two | {"answer": "B"}, "Failed to obtain answer via API: B", 1.0, 0.0),
            # `build_choices` finds no columns, so that nothing can be inferred; here the whole reply counts.
            ("no options", {"question": "How many?", "answer": "2"}, "2.", 1.0, 0.0),
            # `if opt == item['GT']`: no reply can be right; here the record is unreadable and part of no score.
            ("an answer outside", two | {"answer": "E"}, "E", None, 0.0),
            # `data = data[~pd.isna(data['image'])]`: the row is gone; here it can't be asked and counts as wrong.
            ("no picture", two | {"answer": "A", "image": ""}, "A", 0.0, None),
        ],
        "MMMU_DEV_VAL": [
            # `v if v in list(string.ascii_uppercase) else 'A'`: the right option is C, of A and B.
            ("an open answer C", {"answer": "C", "split": "validation"}, "C", 1.0, 0.0),
        ],
    }
    for name, differing in cases.items():
        benchmark = MADE[name][0]
        for number, (what, row, reply, mine, theirs) in enumerate(differing):
            folder = tmp_path / f"{name} {number}"
            folder.mkdir()
            # One row beside it, on which both agree, so that there is something to score.
            beside = {"index": 1, "question": "Where?", **two, "answer": "A", "split": "validation"}
            rows = [beside, {"index": 0, "question": "Where?", "split": "validation", **row}]
            replies = {"0": reply, "1": "A"}
            written(folder, name, rows, replies)
            (scores,) = peer(folder)[name]
            found = ours(benchmark, folder, name, replies)["accuracy", ""]
            assert found == 100 * (1.0 if mine is None else (1 + mine) / 2), what
            assert scores["Overall"] == (1.0 if theirs is None else (1 + theirs) / 2), what


def test_a_circle_without_its_first_pass(tmp_path: Path) -> None:
    """`data_main = data[data['tmp_flag']]`, where index is g_index, leaves such a circle out; here it is one."""
    row = {"question": "Where?", "A": "left of it", "B": "right of it", "answer": "A", "split": "dev"}
    replies = {"1": "A", "1000001": "A", "1000002": "B"}
    written(tmp_path, "MMBench_DEV_EN", [{"index": index, **row} for index in replies], replies)
    circular = next(row for row in peer(tmp_path)["MMBench_DEV_EN"] if row["split"] == "circular_dev")
    assert circular["Overall"] == 1.0
    assert ours(mmbench.BENCHMARK, tmp_path, "MMBench_DEV_EN", replies)["circular accuracy", ""] == 50.0
