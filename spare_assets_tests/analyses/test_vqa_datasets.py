"""Questions of other datasets are read from their native files, in flat memory, with what is wrong counted by line."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spare_assets.analyses import json_stream
from spare_assets.analyses.json_stream import document_members
from spare_assets.analyses.vqa_datasets import QUESTIONS, vqa_questions
from spare_assets.captions.files import SourceFile
from spare_assets.captions.records import SourceError
from spare_assets.settings import Home, VqaDataset, load_settings

REAL = Path(__file__).parents[3] / "shared" / "data"


def home_with(folder: Path, **datasets: VqaDataset) -> Home:
    shipped = load_settings("sandbox")
    analyses = shipped.analyses.model_copy(update={"vqa": datasets})
    return Home(folder, shipped.model_copy(update={"analyses": analyses, "data": str(folder)}))


def declared(form: Any, *files: str, homepage: str | None = None) -> VqaDataset:
    return VqaDataset(title="A set", format=form, files=files, homepage=homepage)


def read(folder: Path, dataset: VqaDataset) -> tuple[list[tuple[str, str | None]], list[str]]:
    (questions,), absent = vqa_questions(home_with(folder, some=dataset))
    assert not absent
    batches = list(questions.batches(2))
    assert all(batch.schema == QUESTIONS and batch.height <= 2 for batch in batches)
    rows = pl.concat([pl.DataFrame(schema=QUESTIONS), *batches])
    assert set(rows["dataset"]) <= {"some"}
    assert questions.read == rows.height
    assert questions.unreadable == len(questions.examples)
    return list(rows.select("question", "answer").iter_rows()), questions.examples


def write(folder: Path, name: str, document: Any) -> None:
    (folder / name).write_text(json.dumps(document), encoding="utf-8")


def write_lines(folder: Path, name: str, *records: Any) -> None:
    texts = [record if isinstance(record, str) else json.dumps(record) for record in records]
    (folder / name).write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")


def test_vqav2_questions_are_read_without_answers(tmp_path: Path) -> None:
    asked = [{"image_id": 1, "question": "What is left?", "question_id": 1}, {"question": 3}, "no", {"question": "ö"}]
    write(tmp_path, "q.json", {"info": {"deep": [1, {"questions": []}]}, "questions": asked, "license": {}})
    rows, wrong = read(tmp_path, declared("vqav2", "q.json"))
    assert rows == [("What is left?", None), ("ö", None)]
    assert wrong == ["q.json:2: `question` is a number, not text", "q.json:3: not a JSON object"]


def test_gqa_questions_stand_by_their_id(tmp_path: Path) -> None:
    asked = {"01": {"question": "Where?", "answer": "left", "semantic": [{"a": "}"}]}, "02": {"answer": "x"}}
    write(tmp_path, "q.json", asked)
    rows, wrong = read(tmp_path, declared("gqa", "*.json"))
    assert rows == [("Where?", "left")]
    assert wrong == ["q.json:2: `question` is missing"]


def test_visual7w_pairs_stand_by_image(tmp_path: Path) -> None:
    pairs = [{"question": "What?", "answer": "a dog"}, {"question": "Which?", "answer": 1023}]
    write(tmp_path, "v7w.json", {"boxes": [[{}]], "images": [{"qa_pairs": pairs}, {"qa_pairs": []}, {"id": 3}]})
    rows, wrong = read(tmp_path, declared("visual7w", "v7w.json"))
    assert rows == [("What?", "a dog"), ("Which?", None)]
    assert wrong == ["v7w.json:3: not a JSON object"]


def test_statements_and_memes_are_read_with_their_label(tmp_path: Path) -> None:
    write_lines(
        tmp_path, "vsr.jsonl", {"caption": "The cat is on the mat.", "label": 1}, "{", {"caption": "b", "label": 7}
    )
    rows, wrong = read(tmp_path, declared("vsr", "vsr.jsonl"))
    assert rows == [("The cat is on the mat.", "True")]
    assert [example.split(": ")[0] for example in wrong] == ["vsr.jsonl:2", "vsr.jsonl:3"]
    write_lines(tmp_path, "memes.jsonl", {"text": "hi", "label": 0}, {"text": "ho"})
    assert read(tmp_path, declared("hateful_memes", "memes.jsonl"))[0] == [("hi", "not hateful"), ("ho", None)]


def conversation(*turns: tuple[str, str]) -> dict[str, Any]:
    return {"id": 1, "conversations": [{"from": who, "value": said} for who, said in turns]}


@pytest.mark.parametrize("as_list", [True, False])
def test_conversations_give_a_question_for_each_human_turn(tmp_path: Path, as_list: bool) -> None:
    records = [
        conversation(("system", "Be good."), ("human", "<image>\nWhat is it?"), ("gpt", "A dog."), ("human", "Why?")),
        {"conversations": []},
        conversation(("human", "Describe.\n<image>"), ("gpt", "A cat on a mat."), ("narrator", "so")),
        {"conversations": [{"from": "human", "value": "Say"}, {"from": "gpt", "text": "Said"}]},
    ]
    if as_list:
        write(tmp_path, "c.json", records)
    else:
        write_lines(tmp_path, "c.json", *records)
    rows, wrong = read(tmp_path, declared("conversations", "c.json"))
    assert rows == [("What is it?", "A dog."), ("Why?", None), ("Describe.", "A cat on a mat."), ("Say", "Said")]
    assert wrong == [
        "c.json:2: `conversations` is missing or no list of turns",
        "c.json:3: turn 3 is from 'narrator', not human or gpt",
    ]


def test_an_absent_dataset_is_named_with_where_it_comes_from_and_goes(tmp_path: Path) -> None:
    dataset = declared("gqa", "gqa/train.json", homepage="https://gqa.example/")
    present, absent = vqa_questions(home_with(tmp_path, gqa=dataset))
    assert not present
    assert str(tmp_path / "gqa/train.json") in absent["gqa"]
    assert "`analyses.vqa.gqa.files`" in absent["gqa"]
    assert "https://gqa.example/" in absent["gqa"]


def test_half_a_dataset_is_an_error_not_an_absence(tmp_path: Path) -> None:
    write_lines(tmp_path, "a.jsonl", {"text": "hi"})
    with pytest.raises(SourceError, match=r"b\.jsonl: no such file"):
        vqa_questions(home_with(tmp_path, memes=declared("hateful_memes", "a.jsonl", "b.jsonl")))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"questions": [{"question": "a"}', "expected a comma or ']'"),
        ('{"questions": [{"question": "a"},', "expected a value"),
        ('{"answers": []}', "without a list named 'questions'"),
        ('"questions"', "is no JSON list"),
        ("", "is empty"),
        ('{"questions": []} []', "goes on after the end"),
        ('{"questions": [%s]}' % ("9" * 5000), "a number that can't be read"),
    ],
)
def test_a_broken_document_is_an_error_that_says_where(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "q.json").write_text(text, encoding="utf-8")
    with pytest.raises(SourceError, match=r"q\.json") as error:
        read(tmp_path, declared("vqav2", "q.json"))
    assert said in str(error.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None, max_examples=150)
@example(wanted=[0.0, 1e-300, -12], before={"a": 1.5}, chunk=1, indent=2, escaped=False)
@example(wanted=[0.0], before={}, chunk=2, indent=2, escaped=False)
@given(
    wanted=st.lists(JSON, max_size=6),
    before=st.dictionaries(st.text(max_size=3).filter(lambda name: name != "wanted"), JSON, max_size=3),
    chunk=st.integers(1, 40),
    indent=st.sampled_from([None, 2]),
    escaped=st.booleans(),
)
def test_streaming_gives_what_reading_whole_gives(
    tmp_path_factory: pytest.TempPathFactory,
    wanted: list[Any],
    before: dict[str, Any],
    chunk: int,
    indent: Any,
    escaped: bool,
) -> None:
    folder = tmp_path_factory.mktemp("stream")
    document = before | {"wanted": wanted}
    for name, content, names in (("a", document, ("wanted",)), ("b", wanted, ("wanted",)), ("c", document, ())):
        path = folder / name
        path.write_text(
            json.dumps(content, indent=indent, ensure_ascii=escaped), encoding="utf-8", errors="surrogatepass"
        )
        expected = wanted if names else list(document.values())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(json_stream, "CHUNK_BYTES", chunk)
            assert list(document_members(SourceFile(path, name, "some", None), *names)) == expected


def test_a_large_document_takes_little_memory(tmp_path: Path) -> None:
    with (tmp_path / "q.json").open("w", encoding="utf-8") as file:
        file.write('{"annotations": [' + ",".join(['{"padding": "' + "x" * 200 + '"}'] * 50_000) + '], "questions": [')
        file.write(",".join(f'{{"question": "What is number {number}?"}}' for number in range(200_000)) + "]}")
    size = (tmp_path / "q.json").stat().st_size
    (questions,), _ = vqa_questions(home_with(tmp_path, some=declared("vqav2", "q.json")))
    tracemalloc.start()
    total = sum(batch.height for batch in questions.batches())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 200_000
    assert peak < size / 2


def test_the_sandbox_renders_all_its_formats(tmp_path: Path) -> None:
    home = Home(tmp_path, load_settings("sandbox"))
    present, absent = vqa_questions(home)
    assert not absent
    assert {questions.dataset.format for questions in present} >= {"vqav2", "gqa", "visual7w", "vsr", "conversations"}
    for questions in present:
        rows = pl.concat(questions.batches())
        assert rows.height == questions.dataset.scenes.count  # type: ignore[union-attr]
        assert not questions.unreadable


@pytest.mark.skipif(not (REAL / "vsr").is_dir(), reason="the real VSR statements are not beside the project")
def test_real_vsr_statements_are_read(tmp_path: Path) -> None:
    rows, wrong = read(tmp_path, declared("vsr", str(REAL / "vsr/splits/zeroshot/train.jsonl")))
    assert len(rows) == 3_489
    assert not wrong
