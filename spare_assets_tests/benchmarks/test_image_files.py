from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from spare_assets.benchmarks.image_files import (
    BenchmarkFiles,
    BenchmarkImage,
    RecordFile,
    benchmark_images,
    checkable,
    image_table,
    record_rows,
)
from spare_assets.captions.picture import examine_picture
from spare_assets.captions.records import SourceError
from spare_assets.settings import DATA_VARIABLE, BenchmarkSettings, Home, load_settings
from spare_assets.storage.schemas import TABLES

MAX_PIXELS = 10_000_000


def picture(seed: int = 0, kind: str = "PNG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def hash_of(content: bytes, folder: Path) -> str:
    (folder / "expected").write_bytes(content)
    return examine_picture(folder / "expected", MAX_PIXELS).perceptual_hash


def tsv(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerows([header, *rows])
    return path


def files(key: str, path: Path, images: Path | None = None) -> BenchmarkFiles:
    return BenchmarkFiles(key, RecordFile(path, path.name, key, None), images)


def found(key: str, path: Path, images: Path | None = None) -> list[BenchmarkImage]:
    scratch = path.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    rows = list(benchmark_images(files(key, path, images), scratch, MAX_PIXELS))
    assert not list(scratch.iterdir())
    assert all(row.benchmark == key for row in rows)
    return rows


def by_item(rows: Sequence[BenchmarkImage]) -> dict[str, tuple[str, str | None, str | None]]:
    assert len({row.item for row in rows}) == len(rows)
    return {row.item: row[2:] for row in rows}


def test_a_tsv_holds_pictures_references_and_names(tmp_path: Path) -> None:
    one, two, three = (picture(seed) for seed in (1, 2, 3))
    (tmp_path / "images/sub").mkdir(parents=True)
    (tmp_path / "images/sub/x.png").write_bytes(three)
    path = tsv(
        tmp_path / "mme.tsv",
        ["index", "image", "image_path", "question"],
        [
            ["7", "12", "", "refers to a later row"],
            ["10", encoded(one), "", 'a "quoted"\tquestion\nof two lines'],
            ["11", "10", "", ""],
            ["12", "data:image/png;base64," + encoded(two), "coco/000000000042.jpg", ""],
            ["13", "11", "", "refers to a reference"],
            ["14", "99", "", "refers to nothing"],
            ["15", "15", "", "refers to itself"],
            ["16", "", "", "asks without an image"],
            ["17", "", "sub/x.png", ""],
            ["18", "", "sub/absent.png", ""],
            ["19", encoded(one)[:-40], "", "cut"],
            ["20", encoded(b"no picture" * 20), "", ""],
            ["21", "?" * 100, "", ""],
            ["10", encoded(three), "", "an index again"],
        ],
    )
    h1, h2, h3 = (hash_of(content, tmp_path) for content in (one, two, three))
    assert by_item(found("mme", path, tmp_path / "images")) == {
        "10": ("hashed", None, h1),
        "12": ("hashed", "coco:42", h2),
        "17": ("hashed", "mme:sub/x.png", h3),
        "18": ("id only", "mme:sub/absent.png", None),
        "19": ("unreadable", None, None),
        "20": ("unreadable", None, None),
        "21": ("unreadable", None, None),
        "10@16": ("hashed", None, h3),
        "7": ("hashed", "coco:42", h2),
        "11": ("hashed", None, h1),
        "13": ("hashed", None, h1),
        "14": ("unreadable", None, None),
        "15": ("unreadable", None, None),
    }


@pytest.mark.parametrize("write", [json.dumps, repr], ids=["JSON list", "Python list"])
def test_several_images_of_a_record_are_rows_of_their_own(tmp_path: Path, write: Any) -> None:
    contents = [picture(seed) for seed in (1, 2)]
    pictures = [encoded(content) for content in contents]
    path = tsv(
        tmp_path / "mmmu.tsv",
        ["index", "image", "image_path"],
        [
            ["a", write(pictures), write(["1.png", "it's 2.png"])],
            ["b", write([pictures[0], "broken"]), "one name for two.png"],
            ["c", write(pictures[:1]), ""],
            ["d", "a", ""],
            ["e", "[]", ""],
            ["f", "[[[[", ""],
        ],
    )
    first, second = (hash_of(content, tmp_path) for content in contents)
    assert by_item(found("mmmu", path)) == {
        "a/1": ("hashed", "mmmu:1.png", first),
        "a/2": ("hashed", "mmmu:it's 2.png", second),
        "b/1": ("hashed", None, first),
        "b/2": ("unreadable", None, None),
        "c": ("hashed", None, first),
        "d/1": ("hashed", "mmmu:1.png", first),
        "d/2": ("hashed", "mmmu:it's 2.png", second),
        "e": ("unreadable", None, None),
        "f": ("unreadable", None, None),
    }


def test_an_image_goes_by_the_name_another_corpus_knows(tmp_path: Path) -> None:
    coco = "http://images.cocodataset.org/val2017/000000000785.jpg"
    path = tsv(
        tmp_path / "a.tsv", ["index", "image", "image_path", "image_url"], [["1", encoded(picture()), "1.png", coco]]
    )
    assert found("threedsr_bench", path)[0].image_id == "coco:785"
    path = tsv(tmp_path / "b.tsv", ["index", "image", "image_id"], [["1", encoded(picture()), "000595fe6fee6369"]])
    assert found("textvqa", path)[0].image_id == "open_images:000595fe6fee6369"


@pytest.mark.parametrize("place", ["000000000042.jpg", "train2017/000000000042.jpg"])
def test_json_lines_name_coco_files_flat_or_in_the_folders_of_their_address(tmp_path: Path, place: str) -> None:
    (tmp_path / "coco" / place).parent.mkdir(parents=True)
    (tmp_path / "coco" / place).write_bytes(picture(kind="JPEG"))
    link = "http://images.cocodataset.org/train2017/000000000042.jpg"
    lines = [
        json.dumps({"image": "000000000042.jpg", "image_link": link, "caption": "On it."}),
        "{torn",
        "",
        json.dumps({"image": "000000000043.jpg", "caption": "Below it."}),
        json.dumps(["no object"]),
        json.dumps({"caption": "no image"}),
    ]
    (tmp_path / "vsr.jsonl").write_text("\n".join(lines))
    expected = hash_of(picture(kind="JPEG"), tmp_path)
    rows = found("vsr", tmp_path / "vsr.jsonl", tmp_path / "coco")
    assert rows[0].perceptual_hash == expected
    assert [row[1:4] for row in rows] == [
        ("1", "hashed", "coco:42"),
        ("line 2", "unreadable", None),
        ("4", "id only", "coco:43"),
        ("line 5", "unreadable", None),
    ]


@pytest.mark.parametrize("place", ["controlled_images/a.jpeg", "data/controlled_images/a.jpeg"])
def test_a_json_list_names_files_with_or_without_its_data_folder(tmp_path: Path, place: str) -> None:
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / place).write_bytes(picture(kind="JPEG"))
    records = [{"image_path": "data/controlled_images/a.jpeg"}, {"image_path": "data/controlled_images/b.jpeg"}, "odd"]
    (tmp_path / "a.json").write_text(json.dumps(records))
    rows = found("whats_up_a", tmp_path / "a.json", tmp_path)
    assert [(row.item, row.status) for row in rows] == [("1", "hashed"), ("2", "id only"), ("line 3", "unreadable")]


def test_a_file_of_the_same_name_elsewhere_is_another(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    (tmp_path / "r.json").write_text(json.dumps([{"image_path": "other/a.png"}]))
    assert [row.status for row in found("mme", tmp_path / "r.json", tmp_path)] == ["id only"]


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "a/../../secret.png", "x\0y", "n" * 5000, "data"])
def test_names_never_lead_out_of_the_images_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "secret.png").write_bytes(picture())
    (tmp_path / "r.json").write_text(json.dumps([{"image_path": name}]))
    assert [row.status for row in found("mme", tmp_path / "r.json", tmp_path / "images")] == ["id only"]


def test_an_absent_benchmark_can_not_be_checked(tmp_path: Path) -> None:
    home = Home(tmp_path, load_settings("sandbox"))
    assert checkable("vsr", BenchmarkSettings(file="none.jsonl"), home) is None
    assert checkable("vsr", BenchmarkSettings(file="."), home) is None
    (tmp_path / "data").mkdir()
    (tmp_path / "data/vsr.jsonl").write_text("{}\n")
    here = checkable("vsr", BenchmarkSettings(file="vsr.jsonl", images="coco"), home)
    assert here is not None and here.images == tmp_path / "data/coco"
    assert list(benchmark_images(here, tmp_path, MAX_PIXELS)) == []


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"<html>not found</html>", "has neither a column `image` nor `image_path`"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "has neither a column"),
        (b"PAR1xxxx", "Parquet"),
        (b"[{", "cut or not JSON"),
        (b"index\timage\timage\n", "names columns twice"),
    ],
)
def test_a_file_that_is_something_else_says_so(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "file.tsv").write_bytes(content)
    with pytest.raises(SourceError, match=problem) as caught:
        found("mmbench", tmp_path / "file.tsv")
    assert "setting `benchmarks.mmbench.file`" in str(caught.value) and "file.tsv" in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.text(max_size=4),
            st.sampled_from(["", "0", "1", "[", "['x', \"y\"]", encoded(picture())]) | st.text(max_size=80),
            st.text(max_size=6),
        ),
        max_size=6,
    )
)
def test_no_row_of_a_tsv_stops_the_rest(
    rows: list[tuple[str, str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    good = encoded(picture())
    plain = [[field.encode("utf-8", "replace").decode() for field in row] for row in rows]
    path = tsv(
        tmp_path_factory.mktemp("any") / "any.tsv", ["index", "image", "image_path"], [*plain, ["the last", good, ""]]
    )
    images = found("mmmu", path)
    assert [row.status for row in images if row.item == "the last"] == ["hashed"]
    table = image_table(images)
    assert table.schema == TABLES["benchmark_images"].polars()
    assert table.select("benchmark", "item").equals(
        table.select("benchmark", "item").unique().sort("benchmark", "item")
    )


@pytest.mark.parametrize(
    ("key", "file", "records", "images", "first"),
    [
        ("vsr", "vsr/splits/zeroshot/test.jsonl", 1222, 1222, "coco:17697"),
        ("vsr", "vsr/splits/zeroshot/dev.jsonl", 340, 340, "coco:372029"),
        ("vsr", "vsr/splits/zeroshot/train.jsonl", 3489, 3489, None),
        (
            "whats_up_a",
            "whatsup_a/controlled_images_dataset.first4.json",
            412,
            412,
            "whats_up_a:data/controlled_images/beer-bottle_on_armchair.jpeg",
        ),
        ("hallusion_bench", "hallusionbench/HallusionBench.json", 1129, 1129 - 178, None),
    ],
)
def test_real_releases_are_read_whole(
    real_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    key: str,
    file: str,
    records: int,
    images: int,
    first: str | None,
) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(real_data))
    here = checkable(key, BenchmarkSettings(file=file, images="coco_photos"), Home(tmp_path, load_settings("sandbox")))
    assert here is not None
    rows = list(record_rows(here))
    assert len(rows) == records and all(row.fields is not None for row in rows)
    table = image_table(benchmark_images(here, tmp_path, MAX_PIXELS))
    assert table.height == images
    assert table["image_id"].null_count() == 0 and "unreadable" not in table["status"]
    if first is not None:
        assert table.filter(item="1")["image_id"].item() == first


def test_photographs_named_by_real_records_are_hashed(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = pl.read_ndjson(real_data / "coco_photos/manifest.jsonl").select("file_name", "coco_url").to_dicts()
    records: list[Mapping[str, str]] = [{"image": row["file_name"], "image_link": row["coco_url"]} for row in manifest]
    (tmp_path / "vsr.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    rows = found("vsr", tmp_path / "vsr.jsonl", real_data / "coco_photos")
    assert [row.status for row in rows] == ["hashed"] * 111
    assert len({row.perceptual_hash for row in rows}) == 111
