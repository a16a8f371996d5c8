"""Resolving images from local folders: names that can't leave their folder, verification, and earlier rows."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from spare_assets.captions import images as images_module
from spare_assets.captions.image_folders import ImageFolders, relative_name
from spare_assets.captions.images import needed_images, resolve_images
from spare_assets.captions.picture import PictureError, examine_picture, open_upright
from spare_assets.captions.readers import read_captions
from spare_assets.settings import (
    DATA_VARIABLE,
    DownloadSettings,
    Home,
    LimitSettings,
    SourceSettings,
    load_settings,
)
from spare_assets.storage.schemas import TABLES

DATA = Path(__file__).parents[2] / "../shared/data"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    (tmp_path / "images").mkdir()
    return Home(tmp_path / "home", load_settings("sandbox"))


def picture_bytes(kind: str = "JPEG", size: tuple[int, int] = (32, 24), **saved: Any) -> bytes:
    image = Image.new("RGB", size, "white")
    image.paste("navy", (0, 0, size[0] // 2, size[1] // 3))
    buffer = io.BytesIO()
    image.save(buffer, kind, **saved)
    return buffer.getvalue()


def wanted(*references: dict[str, Any]) -> pl.LazyFrame:
    """Captions that refer to images; what a reference leaves out has its usual value."""
    usual = {"source": "mine", "image_set": "default", "image_file": None, "image_url": None}
    schema = dict.fromkeys(("image_id", *usual), pl.String)
    rows = [{**usual, **reference} for reference in references]
    return needed_images(pl.LazyFrame(rows, schema=schema))


def resolve(home: Home, needed: pl.LazyFrame, **changed: Any) -> pl.DataFrame:
    previous = changed.pop("previous", None)
    download = changed.pop("download", DownloadSettings())
    changed.setdefault("image_folders", {"default": "images"})
    source = SourceSettings(format="docci", files=("x",), **changed)
    frames = list(resolve_images(needed, source, home, download, previous=previous))
    return pl.concat(frames) if frames else TABLES["images"].empty()


# ---------------------------------------------------------------- what is needed


def test_an_image_that_many_captions_share_is_needed_once() -> None:
    captions = pl.LazyFrame(
        {
            "image_id": ["b", "a", "b", "b"],
            "source": ["mine"] * 4,
            "image_set": ["default"] * 4,
            "image_file": ["b.jpg", "a.jpg", "b.jpg", None],
            "image_url": [None, None, None, "https://example.org/b.jpg"],
            "caption": ["1", "2", "3", "4"],
        }
    )
    needed = needed_images(captions).collect()
    assert needed["image_id"].to_list() == ["a", "b"]
    assert [len(references) for references in needed["references"]] == [1, 2]


# ---------------------------------------------------------------- verification


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_picture_is_told_by_content_not_by_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "picture.dat"
    path.write_bytes(picture_bytes(kind))
    picture = examine_picture(path, max_pixels=1000)
    assert (picture.width, picture.height, picture.bytes) == (32, 24, path.stat().st_size)
    assert picture.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    with Image.open(path) as image:
        assert picture.perceptual_hash == str(imagehash.phash(image))
    assert len(picture.perceptual_hash) == 16


def test_pixels_and_hash_are_those_seen_after_rotation(tmp_path: Path) -> None:
    with Image.open(io.BytesIO(picture_bytes("PNG"))) as upright:
        turned = upright.transpose(Image.Transpose.ROTATE_90)
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned clockwise
        upright.save(tmp_path / "upright.png")
        turned.save(tmp_path / "turned.png", exif=exif)
    upright_picture, turned_picture = (
        examine_picture(tmp_path / name, 10_000) for name in ("upright.png", "turned.png")
    )
    assert (turned_picture.width, turned_picture.height) == (32, 24)
    assert turned_picture.perceptual_hash == upright_picture.perceptual_hash


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_seen_as_they_are_not_as_white(tmp_path: Path, kind: str) -> None:
    ramp = np.linspace(0, 65_535, 64 * 64).astype(np.uint16).reshape(64, 64)
    deep, plain = tmp_path / "deep", tmp_path / "plain"
    Image.fromarray(ramp).save(deep, kind)
    Image.fromarray((ramp >> 8).astype(np.uint8)).save(plain, kind)
    assert np.array_equal(np.asarray(open_upright(deep)), np.asarray(open_upright(plain)))
    deep_picture, plain_picture = examine_picture(deep, 10_000), examine_picture(plain, 10_000)
    assert deep_picture.perceptual_hash == plain_picture.perceptual_hash


def test_a_jpeg_of_endless_scans_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("L", (64, 64), 128).save(buffer, "JPEG", progressive=True)
    progressive = buffer.getvalue()
    path = tmp_path / "many.jpg"
    path.write_bytes(progressive)
    assert examine_picture(path, 10_000).width == 64
    last_scan = progressive[progressive.rfind(b"\xff\xc4") : -2]
    path.write_bytes(progressive[:-2] + last_scan * 200 + progressive[-2:])
    with pytest.raises(PictureError, match="more than 100 scans"):
        examine_picture(path, 10_000)


def test_a_reason_is_short_and_can_be_stored() -> None:
    reason = PictureError("http", "\udcff" + "x" * 5_000).detail
    assert reason == "?" + "x" * 499


def measurements() -> bytes:
    """A TIFF of 32-bit floating-point numbers."""
    buffer = io.BytesIO()
    Image.fromarray(np.ones((8, 8), np.float32)).save(buffer, "TIFF")
    return buffer.getvalue()


def bomb() -> bytes:
    """A PNG header that claims 60,000 x 60,000 pixels."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "status", "detail"),
    [
        (picture_bytes()[:-200], "unreadable", "does not decode"),
        (picture_bytes("PNG")[:60], "unreadable", "does not decode"),
        (b"<html><body>404</body></html>", "unreadable", "not a picture of a kind that is read"),
        (b"", "unreadable", "not a picture of a kind that is read"),
        (picture_bytes("ICO"), "unreadable", "not a picture of a kind that is read"),
        (picture_bytes(size=(101, 100)), "refused", r"101 x 100 pixels, more than `download\.max_pixels`"),
        (bomb(), "refused", "pixels"),
        (measurements(), "unreadable", "32 bits a pixel"),
    ],
)
def test_what_is_no_usable_picture_says_why(tmp_path: Path, content: bytes, status: str, detail: str) -> None:
    (tmp_path / "picture.jpg").write_bytes(content)
    with pytest.raises(PictureError, match=detail) as caught:
        examine_picture(tmp_path / "picture.jpg", max_pixels=10_000)
    assert caught.value.status == status


@settings(max_examples=200, deadline=None)
@given(position=st.integers(0, 600), value=st.binary(min_size=1, max_size=40), cut=st.integers(0, 700))
def test_a_damaged_picture_never_raises_anything_else(
    position: int, value: bytes, cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(picture_bytes("TIFF" if position % 2 else "GIF"))
    content[position : position + len(value)] = value
    path = tmp_path_factory.mktemp("damaged") / "picture"
    path.write_bytes(content[:-cut] if cut else content)
    with contextlib.suppress(PictureError):
        examine_picture(path, max_pixels=10_000)


# ---------------------------------------------------------------- folders


@pytest.mark.parametrize(
    "name",
    [
        "../secret.jpg",
        "a/../../secret.jpg",
        "/etc/passwd",
        "..",
        "a/..",
        "C:/x.jpg",
        "..\\secret.jpg",
        "\\\\host\\x",
        "a\0b",
    ],
)
def test_names_that_leave_their_folder_are_refused(home: Home, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.jpg").write_bytes(picture_bytes())
    rows = resolve(home, wanted({"image_id": "mine:x", "image_file": name}))
    assert rows["status"].to_list() == ["refused"]
    assert "points out of its folder" in rows["detail"][0]


path_pieces = st.sampled_from(["..", ".", "/", "\\", "a", "b.jpg", "~", " ", ":", "\0", "%2e%2e", "C:"]) | st.text(
    max_size=3
)


@given(st.lists(path_pieces, max_size=8).map("".join) | st.lists(path_pieces, max_size=8).map("/".join))
def test_no_name_leaves_its_folder(name: str) -> None:
    relative = relative_name(name)
    if relative is not None:
        assert not relative.is_absolute()
        assert Path(os.path.normpath(f"/folder/inside/{relative}")).is_relative_to("/folder/inside")
        assert os.path.normpath(f"/folder/inside/{relative}") != "/folder/inside"


@settings(max_examples=100, deadline=None)
@given(name=st.lists(path_pieces, max_size=6).map("/".join), image_set=st.text(max_size=5))
def test_any_name_is_found_inside_or_has_a_reason(
    name: str, image_set: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / "inside/a").mkdir(parents=True)
    for place in ("secret.jpg", "b.jpg", "inside/b.jpg", "inside/a/b.jpg"):
        (folder / place).write_bytes(b"x")
    source = SourceSettings(format="docci", files=("x",), image_folders={"default": str(folder / "inside")})
    folders = ImageFolders("mine", source, Home(folder, load_settings("sandbox")))
    for set_name in ("default", image_set):
        for reference in ((name, None), (None, f"https://example.org/{name}")):
            try:
                found = folders.find(set_name, *reference)
            except PictureError as error:
                assert error.status in {"missing", "refused"}
            else:
                assert found.resolve().is_relative_to((folder / "inside").resolve())


def test_images_are_found_in_folders_sub_folders_and_without_suffix(home: Home, tmp_path: Path) -> None:
    for place in ("a.jpg", "deep/er/b.jpg", "no_suffix.png", "twice/1/c.jpg", "twice/2/c.jpg", "d.jpg"):
        (tmp_path / "images" / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / place).write_bytes(picture_bytes())
    rows = resolve(
        home,
        wanted(
            {"image_id": "1", "image_file": "a.jpg"},
            {"image_id": "2", "image_file": "deep/er/b.jpg"},
            {"image_id": "3", "image_file": "b.jpg"},
            {"image_id": "4", "image_file": "no_suffix"},
            {"image_id": "5", "image_file": "c.jpg"},
            {"image_id": "6", "image_url": "https://example.org/x/d.jpg?size=2"},
            {"image_id": "7", "image_file": "none.jpg"},
            {"image_id": "8", "image_file": "n" * 400},
            {"image_id": "9", "image_set": "coco", "image_file": "a.jpg"},
        ),
    )
    assert rows.schema == TABLES["images"].polars()
    found = {
        image: Path(path).relative_to(tmp_path / "images")
        for image, path in rows.select("image_id", "path").drop_nulls().iter_rows()
    }
    assert {image: str(path) for image, path in found.items()} == {
        "1": "a.jpg",
        "2": "deep/er/b.jpg",
        "3": "deep/er/b.jpg",
        "4": "no_suffix.png",
        "6": "d.jpg",
    }
    assert rows.filter(pl.col("path").is_null())["status"].unique().to_list() == ["missing"]
    details = dict(rows.select("image_id", "detail").iter_rows())
    assert "several files below" in details["5"]
    assert "`sources.mine.image_folders.default`" in details["7"]
    assert "no folder is set in `sources.mine.image_folders.coco`" in details["9"]
    ok = rows.row(0, named=True)
    assert (ok["width"], ok["height"], ok["bytes"]) == (32, 24, len(picture_bytes()))


def test_a_name_that_several_addresses_end_in_is_nobodys_file(home: Home, tmp_path: Path) -> None:
    (tmp_path / "images/image.jpg").write_bytes(picture_bytes())
    rows = resolve(
        home,
        wanted(
            {"image_id": "1", "image_url": "https://one.example.org/image.jpg"},
            {"image_id": "2", "image_url": "https://two.example.org/image.jpg"},
        ),
    )
    assert rows["status"].to_list() == ["missing", "missing"]
    assert "no telling whose file it is" in rows["detail"][0]
    assert "`sources.mine.download_images` is off" in rows["detail"][0]


def test_a_folder_that_does_not_exist_is_told_by_its_setting(home: Home, tmp_path: Path) -> None:
    needed = wanted({"image_id": "1", "image_file": "a.jpg"})
    rows = resolve(home, needed, image_folders={"default": "nowhere"})
    assert rows["detail"][0] == (f"folder {tmp_path}/nowhere of `sources.mine.image_folders.default` does not exist")


def test_any_reference_of_an_image_may_find_it(home: Home, tmp_path: Path) -> None:
    (tmp_path / "images/b.jpg").write_bytes(b"broken")
    (tmp_path / "images/c.jpg").write_bytes(picture_bytes())
    rows = resolve(
        home,
        wanted(*({"image_id": "1", "image_file": name} for name in ("a.jpg", "b.jpg", "c.jpg"))),
    )
    assert rows["status"].to_list() == ["ok"]
    assert rows["path"][0].endswith("c.jpg")


def test_broken_pictures_never_stop_the_rest_and_rows_stay_in_order(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images_module, "WINDOW_IMAGES", 7)
    monkeypatch.setattr(images_module, "FRAME_ROWS", 10)
    good = picture_bytes()
    for number in range(45):
        (tmp_path / f"images/{number:02}.jpg").write_bytes(good if number % 3 else good[:100])
    needed = wanted(*({"image_id": f"{n:02}", "image_file": f"{n:02}.jpg"} for n in reversed(range(45))))
    source = SourceSettings(format="docci", files=("x",), image_folders={"default": "images"})
    settled: list[int] = []
    frames = list(resolve_images(needed, source, home, DownloadSettings(), advance=settled.append))
    assert [frame.height for frame in frames] == [10, 10, 10, 10, 5]
    rows = pl.concat(frames)
    assert rows["image_id"].to_list() == [f"{number:02}" for number in range(45)]
    assert rows["status"].to_list() == ["ok" if number % 3 else "unreadable" for number in range(45)]
    assert sum(settled) == 45


def test_nothing_needed_is_no_row(home: Home) -> None:
    assert resolve(home, wanted()).is_empty()


# ---------------------------------------------------------------- earlier rows


def test_earlier_rows_are_taken_over_while_their_file_stands(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["kept", "changed", "gone", "broken"]
    for name in names[:3]:
        (tmp_path / f"images/{name}.jpg").write_bytes(picture_bytes())
    (tmp_path / "images/broken.jpg").write_bytes(b"broken")
    needed = wanted(*({"image_id": name, "image_file": f"{name}.jpg"} for name in names))
    first = resolve(home, needed)
    (tmp_path / "images/changed.jpg").write_bytes(picture_bytes(size=(40, 40)))
    (tmp_path / "images/gone.jpg").unlink()
    (tmp_path / "images/broken.jpg").write_bytes(picture_bytes())
    decoded: list[str] = []

    def counting(path: Path, max_pixels: int) -> Any:
        decoded.append(path.stem)
        return examine_picture(path, max_pixels)

    monkeypatch.setattr(images_module, "examine_picture", counting)
    again = resolve(home, needed, previous=first.lazy())
    assert sorted(decoded) == ["broken", "changed"]
    assert dict(again.select("image_id", "status").iter_rows()) == {
        "kept": "ok",
        "changed": "ok",
        "gone": "missing",
        "broken": "ok",
    }
    assert again.filter(image_id="kept").equals(first.filter(image_id="kept"))
    assert again.filter(image_id="changed")["width"].item() == 40


def test_earlier_rows_outside_todays_folders_are_looked_for_anew(home: Home, tmp_path: Path) -> None:
    (tmp_path / "images/a.jpg").write_bytes(picture_bytes())
    (tmp_path / "better").mkdir()
    (tmp_path / "better/a.jpg").write_bytes(picture_bytes(size=(64, 48)))
    needed = wanted({"image_id": "a", "image_file": "a.jpg"})
    first = resolve(home, needed)
    again = resolve(home, needed, previous=first.lazy(), image_folders={"default": "better"})
    assert again["width"].to_list() == [64]


@pytest.mark.skipif(not DATA.is_dir(), reason="the real corpora are not beside the repository")
def test_real_photographs_are_found_and_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(DATA))
    home = Home(tmp_path / "home", load_settings("sandbox"))
    source = SourceSettings(
        format="table",
        files=("coco_photos/manifest.jsonl",),
        columns={"caption": "licence", "image": "coco_url", "id": "file_name"},
        image_folders={"default": "coco_photos"},
    )
    captions = pl.concat([batch.captions for batch in read_captions("coco", source, home, limits=LimitSettings())])
    needed = needed_images(captions.lazy())
    rows = pl.concat(list(resolve_images(needed, source, home, DownloadSettings())))
    assert rows["status"].to_list() == ["ok"] * 111
    assert rows["image_id"].is_sorted()
    assert rows["perceptual_hash"].n_unique() == 111
    sizes = {json_row["file_name"]: json_row["bytes"] for json_row in _manifest()}
    assert {Path(path).name: size for path, size in rows.select("path", "bytes").iter_rows()} == sizes


def _manifest() -> list[dict[str, Any]]:
    return pl.read_ndjson(DATA / "coco_photos/manifest.jsonl").select("file_name", "bytes").to_dicts()
