from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spare_assets.benchmarks import pictures as module
from spare_assets.benchmarks.image_files import BenchmarkFiles, record_rows
from spare_assets.benchmarks.pictures import Pictures, UnusablePictureError
from spare_assets.captions.files import Row
from spare_assets_tests.benchmarks.test_image_files import MAX_PIXELS, encoded, files, picture, tsv


def of_all(pictures: Pictures) -> list[tuple[str, ...] | str]:
    """Of each row the hashes of its pictures, or the problem."""
    found: list[tuple[str, ...] | str] = []
    for row in record_rows(pictures.files):
        assert row.fields is not None
        try:
            images = pictures.of_record(row.fields)
        except UnusablePictureError as error:
            found.append(str(error))
            continue
        for image in images:
            assert hashlib.sha256(image.path.read_bytes()).hexdigest() == image.sha256
        found.append(tuple(image.sha256 for image in images))
    return found


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_embedded_pictures_references_and_names(tmp_path: Path) -> None:
    one, two, three = picture(1), picture(2, "JPEG"), picture(3)
    (tmp_path / "images/sub").mkdir(parents=True)
    (tmp_path / "images/sub/x.png").write_bytes(three)
    path = tsv(
        tmp_path / "mme.tsv",
        ["index", "image", "image_path"],
        [
            ["7", "12", ""],
            ["10", encoded(one), ""],
            ["11", "10", ""],
            ["12", "data:image/jpeg;base64," + encoded(two), ""],
            ["13", "7", ""],
            ["14", "99", ""],
            ["15", "15", ""],
            ["16", "17", ""],
            ["17", "16", ""],
            ["18", "", ""],
            ["19", "18", ""],
            ["20", "", "sub/x.png"],
            ["21", "20", ""],
            ["22", "", "sub/absent.png"],
            ["23", json.dumps([encoded(one), encoded(two)]), ""],
            ["24", repr([encoded(one), encoded(b"no picture" * 20)]), ""],
            ["25", "24", ""],
            ["10", encoded(three), ""],
            ["26", "10", ""],
            ["27", "?" * 100, ""],
        ],
    )
    h1, h2, h3 = map(sha, (one, two, three))
    found = of_all(Pictures(files("mme", path, tmp_path / "images"), tmp_path / "pictures", MAX_PIXELS))
    assert [row if isinstance(row, tuple) else row.replace(str(tmp_path), "") for row in found] == [
        (h2,),
        (h1,),
        (h1,),
        (h2,),
        (h2,),
        "image: '99' is neither a picture in base64 nor the index of a row",
        "image: row '15' in place of a picture leads back to itself",
        "image: row '17' in place of a picture leads back to itself",
        "image: row '16' in place of a picture leads back to itself",
        (),
        "image: row '18', whose picture it refers to, has none",
        (h3,),
        (h3,),
        "image: no file 'sub/absent.png' in /images (`benchmarks.mme.images`)",
        (h1, h2),
        "image 2 of 2: not a picture of a kind that is read (JPEG, PNG, WEBP, GIF, BMP, TIFF)",
        "row '24', whose picture it refers to: image 2 of 2: not a picture of a kind that is read "
        "(JPEG, PNG, WEBP, GIF, BMP, TIFF)",
        (h3,),
        (h1,),
        "image: is not base64",
    ]
    written = {path.name for path in (tmp_path / "pictures").iterdir()}
    assert written == {f"{h1}.png", f"{h2}.jpeg", f"{h3}.png"}


def test_a_picture_is_written_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tsv(tmp_path / "mme.tsv", ["index", "image"], [["1", encoded(picture())], ["2", encoded(picture())]])
    folder = tmp_path / "pictures"
    of_all(Pictures(files("mme", path), folder, MAX_PIXELS))
    written = {place: place.stat().st_mtime_ns for place in folder.iterdir()}
    assert len(written) == 1

    def refuse(*_: Any) -> None:
        raise AssertionError("examined again")

    monkeypatch.setattr(module, "examine_picture", refuse)
    of_all(Pictures(files("mme", path), folder, MAX_PIXELS))
    assert {place: place.stat().st_mtime_ns for place in folder.iterdir()} == written


def test_the_file_is_read_through_once_and_only_for_a_later_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings: list[BenchmarkFiles] = []

    def read(here: BenchmarkFiles) -> Iterator[Row]:
        readings.append(here)
        yield from record_rows(here)

    monkeypatch.setattr(module, "record_rows", read)
    good = encoded(picture())
    earlier = tsv(tmp_path / "a.tsv", ["index", "image"], [["1", good], ["2", "1"], ["3", "2"]])
    assert len(of_all(Pictures(files("mme", earlier), tmp_path / "p", MAX_PIXELS))) == 3
    assert not readings
    later = tsv(tmp_path / "b.tsv", ["index", "image"], [["1", "3"], ["2", "3"], ["3", good], ["4", "9"], ["5", "9"]])
    assert len(of_all(Pictures(files("mme", later), tmp_path / "p", MAX_PIXELS))) == 5
    assert len(readings) == 1


def test_names_in_json_lines(tmp_path: Path) -> None:
    (tmp_path / "coco/train2017").mkdir(parents=True)
    (tmp_path / "coco/train2017/000000000042.jpg").write_bytes(picture(kind="JPEG"))
    (tmp_path / "coco/broken.jpg").write_bytes(picture(kind="JPEG")[:200])
    link = "http://images.cocodataset.org/train2017/000000000042.jpg"
    lines: list[dict[str, Any]] = [
        {"image": "000000000042.jpg", "image_link": link},
        {"image": "broken.jpg"},
        {"image": "../coco/broken.jpg"},
        {"image": None},
        {},
    ]
    (tmp_path / "vsr.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    here = files("vsr", tmp_path / "vsr.jsonl", tmp_path / "coco")
    good, broken, outside, *without = of_all(Pictures(here, tmp_path / "pictures", MAX_PIXELS))
    assert good == (sha(picture(kind="JPEG")),)
    assert "broken.jpg: does not decode" in broken and "no file" in outside
    assert without == [(), ()]
    assert not (tmp_path / "pictures").exists()
    unset = of_all(Pictures(files("vsr", tmp_path / "vsr.jsonl"), tmp_path / "pictures", MAX_PIXELS))
    assert unset[0] == "image: '000000000042.jpg' is a file name; name the folder it is in with `benchmarks.vsr.images`"


def test_a_picture_above_the_limit_is_refused(tmp_path: Path) -> None:
    path = tsv(tmp_path / "mme.tsv", ["index", "image"], [["1", encoded(picture())]])
    (problem,) = of_all(Pictures(files("mme", path), tmp_path / "pictures", 100))
    assert "30 pixels" in problem
    assert not list((tmp_path / "pictures").iterdir())


@settings(max_examples=60, deadline=None)
@given(targets=st.lists(st.integers(0, 6), min_size=1, max_size=6))
def test_references_of_any_shape_end(targets: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("any")
    # Row 0 holds a picture, wherever it stands; the others refer to some row, there or not.
    rows = [[str(place), str(target)] for place, target in enumerate(targets, start=1)]
    rows.insert(len(rows) // 2, ["0", encoded(picture())])
    found = of_all(Pictures(files("mme", tsv(folder / "any.tsv", ["index", "image"], rows)), folder / "p", MAX_PIXELS))

    def leads_to_the_picture(place: int) -> bool:
        passed = set()
        while place and place not in passed:
            passed.add(place)
            place = targets[place - 1] if place <= len(targets) else -1
            if place == -1:
                return False
        return place == 0

    for (index, _), images in zip(rows, found, strict=True):
        assert (images == (sha(picture()),)) is leads_to_the_picture(int(index))
