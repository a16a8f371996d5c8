"""Scores as assets of a real run: joined with the truth, asked once, gone on with after a kill, refused in words."""

from __future__ import annotations

import base64
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
import yaml

from spare_assets.benchmarks.catalog import CATALOG
from spare_assets.benchmarks.origins import ORIGINS
from spare_assets.cli.materialize import Materialization
from spare_assets.definitions import build_defs
from spare_assets.engines import transformers_engine
from spare_assets.orchestration.instance import open_instance
from spare_assets.settings import BENCHMARKS, PROFILES, Home, open_home
from spare_assets.storage.ledger import CompletionLedger
from spare_assets.storage.schemas import TABLES
from spare_assets.storage.tables import TableStore, content_hash
from spare_assets_tests.engines.chat_server import Answer, Call, ChatServer, error
from spare_assets_tests.profiles import sandbox_profile

COUNT = 16
SCENES = {"kind": "base", "model": "sandbox", "dialect": "scenes"}
MODELS = {"base": SCENES, "plain": {"kind": "base", "model": "sandbox"}}
EXPORTS = {"leaderboard.md", "leaderboard.tex", "leaderboard.png", "model_comparison.html"}


def profile(folder: Path, models: dict[str, Any] = MODELS, engines: dict[str, Any] | None = None, **files: Any) -> Path:
    """A sandbox profile with a few questions of each benchmark; `files` replace a benchmark's settings."""
    shipped = yaml.safe_load((PROFILES / "sandbox.yaml").read_text(encoding="utf-8"))
    benchmarks = {key: settings | {"scenes": {"count": COUNT}} for key, settings in shipped["benchmarks"].items()}
    return sandbox_profile(
        folder,
        scenes=1,
        models=models,
        engines=shipped["engines"] | (engines or {}),
        benchmarks=benchmarks | files,
        scoring={"bootstrap_draws": 100},
    )


@contextmanager
def counted_loads() -> Iterator[list[Path]]:
    """The folders that models are loaded from while this lasts."""
    loads: list[Path] = []
    load = transformers_engine._loaded

    def counting(folder: Path, *arguments: Any) -> Any:
        loads.append(folder)
        return load(folder, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transformers_engine, "_loaded", counting)
        yield loads


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, int]:
    """A home with all scores of two models, and how often a model was loaded for them."""
    folder = tmp_path_factory.mktemp("scored")
    home = open_home(str(profile(folder)), folder / "home").claim()
    with counted_loads() as loads:
        assert Materialization(home, "checkpoint+").execute()
    return home, len(loads)


@pytest.fixture
def finished(scored: tuple[Home, int]) -> Home:
    return scored[0]


@pytest.fixture
def copied(finished: Home, tmp_path: Path) -> Path:
    """A copy of that home to change at will."""
    shutil.copytree(finished.path, tmp_path / "home", ignore=shutil.ignore_patterns("dagster.yaml"))
    return tmp_path / "home"


def rows(home: Home, table: str, model: str | None = "base") -> pl.DataFrame:
    return TableStore(home.tables).scan(table, model).collect()


def stored_replies(home: Home) -> dict[str, int]:
    """How many answers the ledgers of scores hold, by task and model."""
    folders = sorted(home.completions.glob("score_*/*"))
    return {
        f"{folder.parent.name}/{folder.name}": len(
            CompletionLedger(home.completions, folder.parent.name, folder.name).answered()
        )
        for folder in folders
    }


def tables(home: Home, model: str) -> dict[str, tuple[str, int]]:
    """Content and time of every table of a model."""
    paths = sorted(home.tables.glob(f"*/model={model}.parquet"))
    return {path.parent.name: (content_hash(path), path.stat().st_mtime_ns) for path in paths}


def told(capsys: pytest.CaptureFixture[str]) -> str:
    """What was printed, without the spaces and line ends that fit it to a terminal."""
    return "".join(capsys.readouterr().out.split())


def squeezed(text: str) -> str:
    return "".join(text.split())


def test_all_scores_and_what_is_made_of_them_are_there(finished: Home) -> None:
    store = TableStore(finished.tables)
    for key in BENCHMARKS:
        for name in (f"{key}_score", f"{key}_predictions"):
            for model in MODELS:
                keys = store.scan(name, model).select(TABLES[name].key).collect()
                assert keys.height and keys.equals(keys.sort(TABLES[name].key)) and keys.is_unique().all()
    board = rows(finished, "leaderboard", None)
    measured = board.filter(pl.col("row").is_in(list(MODELS)) & pl.col("value").is_not_null())
    assert {f"{key}" for key in BENCHMARKS if key != "mme"} <= set(measured["column"])
    for model in MODELS:
        value = measured.filter(row=model, column="vsr")["value"].item()
        assert value == rows(finished, "vsr_score", model).filter("headline")["value"].item()
    compared = rows(finished, "model_comparison", None)
    assert set(compared["model"]) == set(MODELS) and set(compared["benchmark"]) == set(BENCHMARKS)
    assert {path.name for path in finished.exports.iterdir()} >= EXPORTS
    assert "base" in (finished.exports / "leaderboard.md").read_text()


def test_the_pages_of_a_score_show_it(finished: Home) -> None:
    with open_instance(finished) as instance:
        for table in ("mmbench_score", "mmbench_predictions"):
            event = instance.get_latest_materialization_event(dg.AssetKey(table))
            assert event is not None and event.asset_materialization is not None
            metadata = event.asset_materialization.metadata
            assert metadata["dialect"].value == "default"
            assert (
                metadata["circular_accuracy"].value
                == rows(finished, "mmbench_score", "plain").filter("headline")["value"].item()
            )
        assert "data:image/" in str(metadata["predictions"].value)


def records(home: Home, key: str) -> dict[str, dict[str, Any]]:
    """A benchmark's records as they lie in its file, by item."""
    path = home.resolve(home.settings.benchmarks[key].file)
    if path.suffix == ".tsv":
        with path.open(newline="", encoding="utf-8") as file:
            csv.field_size_limit(10**7)
            return {row["index"]: row for row in csv.DictReader(file, delimiter="\t")}
    text = path.read_text(encoding="utf-8")
    listed = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]
    return {str(place): record for place, record in enumerate(listed, start=1)}


@pytest.mark.parametrize("key", BENCHMARKS)
def test_predictions_stand_next_to_the_truth(finished: Home, key: str) -> None:
    truth = records(finished, key)
    for model in MODELS:
        found = rows(finished, f"{key}_predictions", model)
        assert set(found["item"]) == set(truth) and found.height == len(truth)
        assert set(found["outcome"]) <= {"answered", "unparsed", "truncated"}
        for row in found.iter_rows(named=True):
            record = truth[row["item"]]
            assert Path(row["images"][0]).is_file()
            assert row["question"] == record.get(
                "question", record.get("caption", "Which caption describes the image?")
            )
            assert right(key, row) == right_answer(key, record)
            assert row["score"] == float(row["prediction"] in row["answers"])
            assert (row["prediction"] is None) == (row["outcome"] != "answered")


def right(key: str, row: dict[str, Any]) -> Any:
    """What a prediction's row says is right, in the words of the record."""
    if key.startswith("whats_up"):
        return {option["letter"]: option["text"] for option in row["options"]}[row["answers"][0]]
    return str(row["answers"]) if key == "textvqa" else row["answers"][0]


def right_answer(key: str, record: dict[str, Any]) -> Any:
    if key == "vsr":
        return ("false", "true")[record["label"]]
    if key.startswith("whats_up"):
        return record["caption_options"][0]
    return record["answer"].lower() if key in {"mme", "hallusion_bench"} else record["answer"]


@pytest.mark.parametrize("key", BENCHMARKS)
def test_scores_are_those_of_the_predictions(finished: Home, key: str) -> None:
    for model in MODELS:
        found = rows(finished, f"{key}_predictions", model)
        scores = rows(finished, f"{key}_score", model).filter(category="")
        values = dict(scores.select("metric", "value").iter_rows())
        for metric, value in recomputed(key, found).items():
            assert values[metric] == pytest.approx(value), (model, metric)
        assert set(scores.filter("headline")["metric"]) == set(CATALOG[key].headlines)
        for row in scores.filter(pl.col("low").is_not_null()).iter_rows(named=True):
            assert row["low"] - 1e-9 <= row["value"] <= row["high"] + 1e-9


def recomputed(key: str, found: pl.DataFrame) -> dict[str, float]:
    """Scores of predictions by the benchmarks' protocols, in other words than the benchmarks' own modules use."""
    native = found["native"].str.json_decode(infer_schema_length=None).struct.unnest()
    right = pl.concat(
        [found.select("category", "score", "item"), native.drop("category", strict=False)], how="horizontal"
    )

    def together(*names: pl.Expr | str) -> float:
        return percent(right.group_by(*names).agg(pl.col("score").min())["score"])

    mean = percent(right["score"])
    match key:
        case "whats_up_a" | "whats_up_b":
            pairs = together("first", "second", "pair")
            return {"accuracy": mean, "pair_accuracy": pairs, "set_accuracy": together("first", "second")}
        case "threedsr_bench":
            question = pl.col("qid").str.head(8)
            return {
                "vanilla accuracy": mean,
                "flip accuracy": together(pl.col("qid").str.replace("-flip", "")),
                "circular accuracy": together(question, pl.col("qid").str.contains("flip").alias("flipped")),
                "flip circular accuracy": together(question),
            }
        case "mmbench":
            first = right.filter(pl.col("item").cast(pl.Int64) < 1_000_000)
            return {"circular accuracy": together("g_index"), "vanilla accuracy": percent(first["score"])}
        case "hallusion_bench":
            figures, questions = together("set_id", "figure_id"), together("set_id", "question_id")
            return {"aAcc": mean, "fAcc": figures, "qAcc": questions}
        case "mme":
            points: dict[str, float] = {}
            for (subtask,), among in right.group_by("category"):
                both = among.group_by("image").agg(pl.col("score").min())
                points[str(subtask)] = percent(among["score"]) + percent(both["score"])
            cognition = ("code_reasoning", "commonsense_reasoning", "numerical_calculation")
            return {
                "perception": sum(value for name, value in points.items() if name not in cognition),
                "reasoning": sum(value for name, value in points.items() if name in cognition),
                **{name.partition("_")[0]: points[name] for name in cognition},
            }
        case _:
            return {"accuracy": mean}


def percent(credits: pl.Series) -> float:
    return 100 * float(credits.sum()) / len(credits)


def test_a_model_is_loaded_once_for_all_its_scores(scored: tuple[Home, int]) -> None:
    assert scored[1] == len(MODELS)


def test_another_model_leaves_the_others_as_they_are(copied: Path, tmp_path: Path) -> None:
    home = open_home(str(profile(tmp_path, MODELS | {"later": SCENES})), copied).claim()
    before, replies = {model: tables(home, model) for model in MODELS}, stored_replies(home)
    with counted_loads() as loads:
        assert Materialization(home, "checkpoint or vsr_score or leaderboard", models=("later",)).execute()
    assert len(loads) == 1
    assert {model: tables(home, model) for model in MODELS} == before, "not even written again"
    asked = stored_replies(home)
    assert {name: count for name, count in asked.items() if not name.endswith("/later")} == replies
    assert asked["score_vsr/later"] == replies["score_vsr/base"]
    assert {"base", "plain", "later"} <= set(rows(home, "leaderboard", None)["row"])
    with counted_loads() as loads:
        assert Materialization(home, "vsr_score or mme_score", models=tuple(MODELS)).execute()
    assert not loads, "where nothing is asked no model is loaded"
    assert stored_replies(home) == asked
    for model in MODELS:
        assert scores(tables(home, model)) == scores(before[model])


def scores(held: dict[str, tuple[str, int]]) -> dict[str, str]:
    """Contents of tables of scores; those of predictions name pictures, which lie elsewhere in a copied home."""
    return {name: content for name, (content, _) in held.items() if name.endswith("_score")}


def test_a_benchmark_without_its_file_fails_alone(
    copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = {"file": "benchmarks/nowhere/test.jsonl", "images": "benchmarks/nowhere/images"}
    home = open_home(str(profile(tmp_path, vsr=absent)), copied).claim()
    for name in (*BENCHMARKS, "leaderboard"):
        for path in home.tables.glob(f"{name}*/*.parquet"):
            path.unlink()
    shutil.rmtree(home.exports)
    assert not Materialization(home, "checkpoint+", models=("base",)).execute()
    message = told(capsys)
    for words in (
        f"base: vsr_score: VSR: no file {home.resolve(absent['file'])} (setting `benchmarks.vsr.file`).",
        f"Fetch {ORIGINS['vsr'].file_name} from {ORIGINS['vsr'].url} and save it there",
    ):
        assert squeezed(words) in message
    assert "Traceback" not in message
    store = TableStore(home.tables)
    assert [key for key in BENCHMARKS if not store.exists(f"{key}_score", "base")] == ["vsr"]
    board = rows(home, "leaderboard", None).filter(row="base")
    assert board.filter(pl.col("value").is_not_null() & (pl.col("column") == "mmbench")).height == 1
    assert board.filter(pl.col("value").is_not_null() & (pl.col("column") == "vsr")).is_empty()
    assert (home.exports / "leaderboard.md").is_file()


def damaged(like: Home, path: Path, strangers: int) -> list[str]:
    """RealWorldQA's file with a cell too many in one row, a picture in one that does not decode, and `strangers` whose
    answer is none of the options; the items of all these, in order."""
    source = like.resolve(like.settings.benchmarks["realworldqa"].file)
    header, *lines = (line.split("\t") for line in source.read_text(encoding="utf-8").splitlines())
    lines[0].insert(3, "a cell too many")
    lines[1][header.index("image")] = base64.b64encode(b"no picture" * 20).decode()
    for line in lines[2 : 2 + strangers]:
        line[header.index("answer")] = "E"
    path.write_text("\n".join("\t".join(line) for line in (header, *lines)) + "\n", encoding="utf-8")
    return ["line 2", *(line[0] for line in lines[1 : 2 + strangers])]


def test_what_cannot_be_read_is_counted_and_the_rest_scored(finished: Home, copied: Path, tmp_path: Path) -> None:
    file = tmp_path / "RealWorldQA.tsv"
    home = open_home(str(profile(tmp_path, realworldqa={"file": str(file)})), copied).claim()
    torn, blind, *strangers = damaged(finished, file, 2)
    assert Materialization(home, "realworldqa_score", models=("base",)).execute()
    found = {row["item"]: row for row in rows(home, "realworldqa_predictions").iter_rows(named=True)}
    assert len(found) == COUNT
    for item in (torn, *strangers):
        assert (found[item]["outcome"], found[item]["score"]) == ("unreadable record", None)
    assert found[strangers[0]]["reason"] == "its answer 'E' is none of its options A, B, C, D"
    assert (found[blind]["outcome"], found[blind]["score"]) == ("not asked", 0.0)
    assert found[blind]["reason"].startswith("image: ")
    scores = rows(home, "realworldqa_score").filter("headline")
    assert scores["units"].item() == COUNT - 3
    others = [row["score"] for item, row in found.items() if item not in (torn, *strangers)]
    assert scores["value"].item() == pytest.approx(100 * sum(others) / len(others))


def test_too_many_unreadable_records_fail_in_words(
    finished: Home, copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "RealWorldQA.tsv"
    home = open_home(str(profile(tmp_path, realworldqa={"file": str(file)})), copied).claim()
    damaged(finished, file, 11)
    before = tables(home, "base")
    assert not Materialization(home, "realworldqa_score", models=("base",)).execute()
    message = told(capsys)
    for words in (
        f" of {COUNT} records can't be asked, more than `limits.unreadable_share` (5%) allows",
        "line 2: has 9 fields where the header has 8",
        "2: its answer 'E' is none of its options A, B, C, D",
    ):
        assert squeezed(words) in message
    assert "Traceback" not in message
    assert tables(home, "base") == before


def endpoint(server: ChatServer, sample: int | None = None, concurrency: int = 8) -> dict[str, Any]:
    """What a profile says of a model behind a server."""
    engine = {"kind": "openai", "model": "far", "base_url": server.base_url, "api_key_variable": None}
    return {
        "models": {"far": {"kind": "endpoint", "engine": "served", "sample": sample}},
        "engines": {"served": engine | {"concurrency": concurrency, "backoff_seconds": 0.01}},
    }


def pictures_sent(call: Call) -> list[bytes]:
    return [
        base64.b64decode(part["image_url"]["url"].partition(",")[2])
        for part in call.body["messages"][-1]["content"]
        if part["type"] == "image_url"
    ]


def test_an_endpoint_is_asked_a_sample_with_its_pictures(tmp_path: Path) -> None:
    with ChatServer(lambda call: Answer("A. True, yes.")) as server:
        home = open_home(str(profile(tmp_path, **endpoint(server, 10))), tmp_path / "home").claim()
        assert Materialization(home, "checkpoint or vsr_score or mmbench_score", models=("far",)).execute()
        asked = {
            key: {row["item"]: row for row in rows(home, f"{key}_predictions", "far").iter_rows(named=True)}
            for key in ("vsr", "mmbench")
        }
        assert len(asked["vsr"]) == 10
        assert 10 <= len(asked["mmbench"]) < 10 + 4
        passes = Counter(int(item) % 1_000_000 for item in asked["mmbench"])
        whole = Counter(int(item) % 1_000_000 for item in records(home, "mmbench"))
        assert all(count == whole[group] for group, count in passes.items()), "no pass of a question is left out"
        expected = [
            (row["prompt"], [Path(path).read_bytes() for path in row["images"]])
            for found in asked.values()
            for row in found.values()
        ]
        assert sorted((call.text, pictures_sent(call)) for call in server.calls) == sorted(expected)
        assert {row["prediction"] for row in asked["vsr"].values()} == {"true"}
        assert {row["prediction"] for row in asked["mmbench"].values()} == {"A"}
        calls = len(server.calls)
        more = open_home(str(profile(tmp_path, **endpoint(server, 12))), tmp_path / "home")
        assert Materialization(more, "vsr_score", models=("far",)).execute()
        larger = set(rows(home, "vsr_predictions", "far")["item"])
        assert set(asked["vsr"]) < larger and len(server.calls) == calls + len(larger) - len(asked["vsr"])


def test_failed_requests_beyond_the_limit_fail_and_the_answered_stay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ChatServer(lambda call: error(400, "no") if call.number % 4 == 0 else Answer("true")) as server:
        home = open_home(str(profile(tmp_path, **endpoint(server))), tmp_path / "home").claim()
        assert not Materialization(home, "checkpoint or vsr_score", models=("far",)).execute()
        assert "limits.failed_request_share" in told(capsys)
        assert not TableStore(home.tables).exists("vsr_score", "far")
        server.behave = lambda call: Answer("true")
        assert Materialization(home, "vsr_score", models=("far",)).execute()
        assert len(server.calls) == COUNT + COUNT // 4


def test_a_killed_run_is_gone_on_with_and_asks_nothing_again(tmp_path: Path) -> None:
    answered = 9
    with ChatServer(lambda call: Answer("true", seconds=60 if call.number > answered else 0)) as server:
        path = profile(tmp_path, **endpoint(server, concurrency=1))
        home = open_home(str(path), tmp_path / "home").claim()
        assert Materialization(home, "checkpoint", models=("far",)).execute()
        command = [sys.executable, "-m", "spare_assets.cli.main", "materialize", "--select", "vsr_score"]
        command += ["--model", "far", "--profile", str(path), "--home", str(home.path)]
        with (tmp_path / "output.log").open("wb") as output:
            run = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            until = time.monotonic() + 120
            while time.monotonic() < until and run.poll() is None:
                if lines_stored(home) == answered and server.in_flight:
                    break
                time.sleep(0.05)
        finally:
            os.kill(run.pid, signal.SIGKILL)
            run.wait(30)
        assert lines_stored(home) == answered, (tmp_path / "output.log").read_text()
        assert not TableStore(home.tables).exists("vsr_score", "far")
        server.behave = lambda call: Answer("true")
        assert Materialization(home, "vsr_score", models=("far",)).execute()
        times = Counter(json.dumps(call.body["messages"]) for call in server.calls)
    assert len(times) == COUNT
    assert sorted(times.values()) == [1] * (COUNT - 1) + [2], "only the one without an answer is asked again"
    assert set(rows(home, "vsr_predictions", "far")["outcome"]) == {"answered"}


def lines_stored(home: Home) -> int:
    return sum(path.read_bytes().count(b"\n") for path in home.completions.glob("score_vsr/far/*.jsonl"))


def test_one_score_is_made_from_the_launchpad(copied: Path, tmp_path: Path) -> None:
    home = open_home(str(profile(tmp_path)), copied).claim()
    (home.tables / "vsr_score" / "model=base.parquet").unlink()
    definitions = build_defs(home=home)
    with open_instance(home) as instance:
        result = dg.materialize(
            [made for made in definitions.assets or () if isinstance(made, dg.AssetsDefinition)],
            selection=dg.AssetSelection.assets("vsr_score", "vsr_predictions"),
            resources=definitions.resources,
            partition_key="base",
            instance=instance,
        )
    assert result.success
    assert rows(home, "vsr_score").filter("headline").height == 1
