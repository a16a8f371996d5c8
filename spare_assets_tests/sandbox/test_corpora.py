"""Sandbox corpora: native shapes, planted defects in their numbers, and one whole corpus or none."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from spare_assets.sandbox import corpora, rendered_folder
from spare_assets.sandbox.corpora import CorpusError, CorpusFormat, describe, write_corpus
from spare_assets.sandbox.scenes import COLOURS, SHAPES, make_scene, render, scene_seed

FORMATS = get_args(CorpusFormat)
COUNT = 250


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _pictures(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in (folder / "images").rglob("*.jpg")}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("corpora")
    for corpus_format in FORMATS:
        write_corpus(corpus_format, home / corpus_format, COUNT, 3)
    return {corpus_format: home / corpus_format for corpus_format in FORMATS}


@pytest.mark.parametrize("corpus_format", FORMATS)
def test_defects_are_planted_in_their_shares(written: dict[str, Path], corpus_format: CorpusFormat) -> None:
    folder = written[corpus_format]
    record = write_corpus(corpus_format, folder, COUNT, 3)
    pictures = _pictures(folder)
    counts = {defect: len(names) for defect, names in record.defects.items()}
    assert counts == {"mismatched": 10, "missing": 5, "broken": 5, "unreadable": 2}
    assert len(pictures) == COUNT - 5
    assert not set(record.defects["missing"]) & set(pictures)
    for name, path in pictures.items():
        try:
            Image.open(path).load()
        except OSError:
            assert name in record.defects["broken"]
        else:
            assert name not in record.defects["broken"]


@pytest.mark.parametrize("corpus_format", FORMATS)
def test_a_mismatched_picture_shows_another_scene(
    written: dict[str, Path], corpus_format: CorpusFormat, tmp_path: Path
) -> None:
    record = write_corpus(corpus_format, written[corpus_format], COUNT, 3)
    pictures = _pictures(written[corpus_format])
    names = [corpora._name(corpus_format, 3, index) for index in range(COUNT)]
    for index in [names.index(name) for name in record.defects["mismatched"]] + [0, 1, 2, 3]:
        if names[index] not in pictures or names[index] in record.defects["broken"]:
            continue
        fresh = tmp_path / "fresh.jpg"
        render(make_scene(scene_seed(corpus_format, 3, index))).save(fresh, quality=90, subsampling=0)
        same = fresh.read_bytes() == pictures[names[index]].read_bytes()
        assert same == (names[index] not in record.defects["mismatched"])


def test_docci_has_its_native_shape(written: dict[str, Path]) -> None:
    rows, broken = [], 0
    for line in (written["docci"] / "docci_descriptions.jsonlines").read_text("utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            broken += 1
    assert len(rows) + broken == COUNT
    assert broken + sum("description" not in row for row in rows) == 2
    row = rows[0]
    assert set(row) == {"example_id", "split", "image_file", "description"}
    assert {row["split"] for row in rows} == {"train", "test"}
    assert all(row["image_file"].startswith(row["split"]) for row in rows)


def test_narratives_have_their_native_shape_in_two_shards(written: dict[str, Path]) -> None:
    folder = written["localized_narratives"]
    (plain,) = folder.glob("*.jsonl")
    (packed,) = folder.glob("*.jsonl.gz")
    lines = {plain: plain.read_text("utf-8"), packed: gzip.decompress(packed.read_bytes()).decode("utf-8")}
    assert sum(text.count("\n") for text in lines.values()) == COUNT
    for path, images in ((plain, "flickr30k"), (packed, "ade20k")):
        row = json.loads(lines[path].splitlines()[0])
        assert {"dataset_id", "image_id", "annotator_id", "caption", "timed_caption", "traces"} <= set(row)
        assert row["caption"] == " ".join(part["caption"] for part in row["timed_caption"])
        assert len(row["traces"]) == len(row["timed_caption"])
        assert all(set(point) == {"x", "y", "t"} for trace in row["traces"] for point in trace)
        assert any((folder / "images" / images).iterdir())


def test_pixmo_cap_has_its_native_shape(written: dict[str, Path]) -> None:
    frame = pl.read_parquet(written["pixmo_cap"] / "*.parquet")
    assert frame.schema == {"image_url": pl.String, "caption": pl.String, "transcripts": pl.List(pl.String)}
    assert frame.height == COUNT
    assert frame.select(pl.any_horizontal(pl.col("image_url", "caption").is_null()).sum()).item() == 2
    names = frame["image_url"].drop_nulls().str.split("/").list.last().str.strip_suffix(".jpg")
    assert set(_pictures(written["pixmo_cap"])) <= set(names) | {
        corpora._name("pixmo_cap", 3, index) for index in range(COUNT)
    }


@pytest.mark.parametrize("corpus_format", FORMATS)
def test_equal_arguments_give_equal_files_and_a_second_call_writes_nothing(
    tmp_path: Path, corpus_format: CorpusFormat
) -> None:
    write_corpus(corpus_format, tmp_path / "one", 30, 1)
    write_corpus(corpus_format, tmp_path / "other", 30, 1)
    before = _files(tmp_path / "one")
    assert before == _files(tmp_path / "other")
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "one").rglob("*")}
    write_corpus(corpus_format, tmp_path / "one", 30, 1)
    assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "one").rglob("*")}
    write_corpus(corpus_format, tmp_path / "one", 31, 1)
    assert len(_files(tmp_path / "one")) > len(before)
    write_corpus(corpus_format, tmp_path / "one", 30, 2)
    assert _files(tmp_path / "one") != before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "other"]


def test_a_failed_write_leaves_the_old_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_corpus("docci", tmp_path / "corpus", 10, 0)
    before = _files(tmp_path / "corpus")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(corpora, "_write_image", fail)
    with pytest.raises(OSError, match="disk full"):
        write_corpus("docci", tmp_path / "corpus", 20, 0)
    assert _files(tmp_path / "corpus") == before
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]


def test_what_a_killed_writer_leaves_goes_with_the_next(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from spare_assets.sandbox import corpora; "
        "write = corpora._write_image; "
        "corpora._write_image = lambda *given: (write(*given), os.kill(os.getpid(), 9)); "
        "corpora.write_corpus('docci', Path(sys.argv[1]), 10, 0)"
    )
    folder = tmp_path / "corpus"
    assert subprocess.run([sys.executable, "-c", code, str(folder)], check=False).returncode == -9
    assert len(list(tmp_path.iterdir())) == 1 and not folder.exists()
    write_corpus("docci", folder, 10, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]


def test_two_writers_at_once_end_in_one_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def publish_second(temporary: Path, folder: Path) -> None:
        monkeypatch.undo()
        write_corpus("docci", folder, 10, 0)
        temporary.rename(folder)

    monkeypatch.setattr(rendered_folder, "_publish", publish_second)
    write_corpus("docci", tmp_path / "corpus", 10, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]


def test_a_folder_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "mine.jpg").write_bytes(b"x")
    with pytest.raises(CorpusError, match="was not rendered here"):
        write_corpus("docci", tmp_path / "photos", 5, 0)
    assert (tmp_path / "photos" / "mine.jpg").read_bytes() == b"x"
    with pytest.raises(CorpusError, match="format 'coco'"):
        write_corpus("coco", tmp_path / "other", 5, 0)  # type: ignore[arg-type]


@given(st.sampled_from(FORMATS), st.integers(0, 10**6))
def test_captions_name_only_what_is_there(corpus_format: CorpusFormat, seed: int) -> None:
    scene = make_scene(seed)
    caption = describe(corpus_format, scene)
    names = {item.name for item in scene.objects}
    assert all(name in caption for name in names)
    every = {f"{colour} {shape}" for colour in COLOURS for shape in SHAPES}
    assert {name for name in every if name in caption} == names
    assert "{" not in caption and "  " not in caption and caption.endswith(".")


_PLACES = re.compile(
    r"\b(left|right|above|below|under|(be|under)neath|between|beside|next|adjacent|near|close|far)\b",
    re.IGNORECASE,
)


def test_styles_differ_in_length_and_some_captions_state_no_place() -> None:
    scenes = [make_scene(scene_seed("docci", 0, index)) for index in range(600)]
    words, placed = {}, {}
    for corpus_format in FORMATS:
        captions = [describe(corpus_format, scene) for scene in scenes]
        words[corpus_format] = sum(len(caption.split()) for caption in captions) / len(captions)
        placed[corpus_format] = sum(bool(_PLACES.search(caption)) for caption in captions) / len(captions)
    assert words["docci"] > 1.3 * words["pixmo_cap"] > 1.6 * words["localized_narratives"]
    for share in placed.values():
        assert 0.78 < share < 0.87
