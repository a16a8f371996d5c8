from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spare_assets.publication import export_writing
from spare_assets.publication.export_formats import (
    LLAMA_FACTORY,
    LLAVA,
    MS_SWIFT,
    MS_SWIFT_MARKS,
    PARQUET,
    TRL,
    WEBDATASET,
    ExportFormat,
    json_text,
    plain,
)
from spare_assets.publication.export_writing import ExportError, image_name, publish_folder
from spare_assets.storage.schemas import TABLES
from spare_assets.storage.temporaries import temporary_beside
from spare_assets_tests.publication.export_samples import export, pairs_of, png, samples

FORMATS = [PARQUET, LLAVA, LLAMA_FACTORY, MS_SWIFT, TRL, WEBDATASET]
named = pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@named
@pytest.mark.parametrize("with_images", [False, True])
def test_equal_inputs_give_equal_bytes(form: ExportFormat, with_images: bool, tmp_path: Path) -> None:
    dataset = samples(tmp_path / "pictures", 20)
    once, again = (
        export(form, dataset, tmp_path / name, with_images=with_images, shard_rows=9) for name in ("once", "again")
    )
    assert contents(tmp_path / "once") == contents(tmp_path / "again")
    assert once.files.equals(again.files)
    assert once.bytes == sum(map(len, contents(tmp_path / "once").values()))


@named
@pytest.mark.parametrize("with_images", [False, True])
def test_what_is_written_is_counted(form: ExportFormat, with_images: bool, tmp_path: Path) -> None:
    dataset = samples(tmp_path / "pictures", 20)
    written = export(form, dataset, tmp_path / "out", with_images=with_images, shard_rows=9)
    pairs = dataset.select(pl.col("pairs").list.len())["pairs"]
    assert written.samples == dataset.height
    assert written.pairs == written.files["pairs"].sum() == pairs.sum()
    assert written.rows == written.files["rows"].sum() == (pairs.sum() if form is TRL else dataset.height)
    assert written.without_image == pairs.filter(dataset["image_path"].is_null()).sum()
    assert written.control_text == sum(
        any("<|im_end|>" in text for text in pair) for pair in pairs_of(dataset).values()
    )
    assert written.control_text > 0
    assert (written.changed > 0) == (form.marks is not None)
    copied = with_images and form.container in ("json", "jsonl")
    assert written.image_files == (dataset["image_sha256"].drop_nulls().n_unique() if copied else 0)
    schema = TABLES[f"{form.name}_export"]
    assert written.files.columns == schema.names
    for row in written.files.iter_rows(named=True):
        content = (tmp_path / "out" / row["file"]).read_bytes()
        assert (row["bytes"], row["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())


@named
def test_names_derive_from_parts_numbers_and_hashes(form: ExportFormat, tmp_path: Path) -> None:
    export(form, samples(tmp_path / "pictures", 20), tmp_path / "out", with_images=True)
    for name in contents(tmp_path / "out"):
        if name.endswith(".tar"):
            with tarfile.open(tmp_path / "out" / name) as tar:
                members = tar.getmembers()
            assert all(member.name.replace(".", "").isalnum() and member.isreg() for member in members)
            assert {(member.mtime, member.uid, member.uname) for member in members} == {(0, 0, "")}
        assert name.replace("/", "").replace("-", "").replace("_", "").replace(".", "").isalnum()


def test_shards_end_at_rows_and_at_bytes(tmp_path: Path) -> None:
    dataset = samples(tmp_path / "pictures", 40)
    rows = export(PARQUET, dataset, tmp_path / "rows", shard_rows=7).files
    assert rows["rows"].max() == 7 and rows.filter(part="train").height > 3
    assert rows.filter(part="train")["file"][0] == f"data/train-00000-of-{rows.filter(part='train').height:05}.parquet"
    bytes_ = export(WEBDATASET, dataset, tmp_path / "bytes", shard_bytes=400).files
    assert bytes_.filter(part="train").height > 3
    # The pairs of a sample stay together, even where they are more rows than a shard may have.
    assert export(TRL, dataset, tmp_path / "pairs", shard_rows=1).files["rows"].max() == 4
    assert export(LLAVA, dataset, tmp_path / "json", shard_rows=1, shard_bytes=1).files.height == 2


@named
def test_a_dataset_without_samples_is_a_file_without_rows(form: ExportFormat, tmp_path: Path) -> None:
    written = export(form, TABLES["spare_dataset"].empty(), tmp_path / "out")
    assert written.files.select("part", "rows", "pairs").rows() == [("train", 0, 0)]
    path = tmp_path / "out" / written.files["file"][0]
    if form.container == "parquet":
        assert pq.read_table(path).schema.names == form.columns.names
    elif form.container == "json":
        assert json.loads(path.read_text()) == []
    elif form.container == "tar":
        with tarfile.open(path) as tar:
            assert tar.getmembers() == []
    else:
        assert path.read_bytes() == b""


@named
def test_pictures_that_changed_or_went_are_not_brought_along(form: ExportFormat, tmp_path: Path) -> None:
    dataset = samples(tmp_path / "pictures", 9)
    picture = Path(dataset["image_path"].drop_nulls()[0])
    picture.write_bytes(png((1, 2, 3)))
    with pytest.raises(ExportError, match="changed since the dataset was made"):
        export(form, dataset, tmp_path / "changed", with_images=True)
    picture.unlink()
    with pytest.raises(ExportError, match="materialize `images`"):
        export(form, dataset, tmp_path / "gone", with_images=True)
    assert export(form, dataset, tmp_path / "named").samples == 9


@pytest.mark.parametrize("exchange", [True, False])
def test_a_folder_is_put_in_place_whole(exchange: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not exchange:
        monkeypatch.setattr(export_writing, "_exchanged", lambda one, other: False)
    target = tmp_path / "parquet"
    for content in ("first", "second"):
        folder = temporary_beside(target)
        (folder / "data").mkdir(parents=True)
        (folder / "data" / content).write_text(content)
        publish_folder(folder, target)
        assert [path.name for path in target.rglob("*") if path.is_file()] == [content]
        assert list(tmp_path.iterdir()) == [target]


def test_a_picture_is_named_by_what_it_is() -> None:
    assert image_name(png((0, 0, 0)), "ab") == "ab.png"
    assert image_name(b"\xff\xd8\xff\xe0", "ab") == "ab.jpg"
    assert image_name(b"RIFF\x00\x00\x00\x00WEBPVP8 ", "ab") == "ab.webp"
    assert image_name(b"<svg>", "ab") == "ab.img"


@given(st.text())
@example("\x85 \u2028 \u2029 \x0b \x0c \x1c \r")
def test_json_is_one_line_and_loses_nothing(text: str) -> None:
    line = json_text({"text": text})
    assert json.loads(line) == {"text": text}
    assert len(line.splitlines()) == 1


@given(
    st.lists(st.sampled_from(["<", ">", "< ", "image", "video", "/img", "img", "ref-object", "é", "<image>"])).map(
        "".join
    )
)
def test_marks_become_text_and_nothing_else_changes(text: str) -> None:
    made = plain(text, MS_SWIFT_MARKS)
    assert not MS_SWIFT_MARKS.search(made)
    assert made.replace(" ", "") == text.replace(" ", "")
    assert made == text or MS_SWIFT_MARKS.search(text)
    assert plain(made, MS_SWIFT_MARKS) == made
