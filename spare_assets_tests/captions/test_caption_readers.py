"""The readers: native fields to columns, every row accounted for, and messages a person can act on."""

from __future__ import annotations

import gzip
import hashlib
import json
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spare_assets.captions import readers
from spare_assets.captions.localized_narratives import narrative_fields
from spare_assets.captions.readers import CaptionBatch, check_unreadable, read_captions, smallest_by_hash
from spare_assets.captions.records import RowError, SourceError
from spare_assets.settings import DATA_VARIABLE, Home, LimitSettings, SourceSettings, load_settings
from spare_assets.storage.schemas import TABLES

DATA = Path(__file__).parents[2] / "../shared/data"
real_data = pytest.mark.skipif(not DATA.is_dir(), reason="the real corpora are not beside the repository")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home whose data folder is the test's own."""
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    return Home(tmp_path / "home", load_settings("sandbox"))


@pytest.fixture
def real_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv(DATA_VARIABLE, str(DATA))
    return Home(tmp_path / "home", load_settings("sandbox"))


def read(home: Home, limits: LimitSettings | None = None, **source: Any) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """Captions, quarantined rows and rows passed over of a source with key `mine`."""
    batches = list(read_captions("mine", SourceSettings(**source), home, limits=limits or LimitSettings()))
    return (
        pl.concat([batch.captions for batch in batches]),
        pl.concat([batch.quarantined for batch in batches]),
        sum(batch.passed_over for batch in batches),
    )


def docci_row(number: int, **changed: Any) -> dict[str, Any]:
    return {
        "example_id": f"test_{number:05d}",
        "split": "test",
        "image_file": f"test_{number:05d}.jpg",
        "description": f"A cup left of plate {number}.",
        **changed,
    }


def narrative(dataset: str, image: str, annotator: int = 7, caption: str = "A cup.") -> dict[str, Any]:
    return {"dataset_id": dataset, "image_id": image, "annotator_id": annotator, "caption": caption}


def full_narrative(**changed: Any) -> dict[str, Any]:
    return {
        **narrative("mscoco_val2017", "137576"),
        "timed_caption": [{"utterance": "A cup", "start_time": 0.0, "end_time": 0.4}],
        "traces": [[{"x": 0.2086, "y": -0.0533, "t": 0.022}, {"x": 0.3, "y": 0.1, "t": 0.04}]],
        "voice_recording": "coco_val/coco_val_137576_7.ogg",
        **changed,
    }


def write_lines(path: Path, rows: Iterable[Any]) -> Path:
    path.write_bytes(b"".join((r if isinstance(r, bytes) else json.dumps(r).encode()) + b"\n" for r in rows))
    return path


# ---------------------------------------------------------------- DOCCI


def test_docci_rows_fill_the_columns(home: Home, tmp_path: Path) -> None:
    write_lines(tmp_path / "d.jsonlines", [docci_row(4551, extra={"k": [1, "é"]})])
    captions, quarantined, _ = read(home, format="docci", files=["d.jsonlines"])
    assert captions.schema == TABLES["captions"].polars()
    assert quarantined.schema == TABLES["quarantined_captions"].polars()
    assert captions.row(0, named=True) == {
        "caption_id": "mine:test_04551",
        "source": "mine",
        "split": "test",
        "image_id": "docci:test_04551",
        "image_set": "default",
        "image_file": "test_04551.jpg",
        "image_url": None,
        "caption": "A cup left of plate 4551.",
        "words": 6,
        "native": '{"extra":{"k":[1,"é"]}}',
    }


def test_docci_splits_are_chosen_and_an_unknown_one_is_told(home: Home, tmp_path: Path) -> None:
    rows = [docci_row(1), docci_row(2, split="train"), docci_row(3, split="qual_dev")]
    write_lines(tmp_path / "d.jsonl", rows)
    captions, _, passed_over = read(home, format="docci", files=["d.jsonl"], splits=["train", "qual_dev"])
    assert captions["split"].to_list() == ["train", "qual_dev"]
    assert passed_over == 1
    with pytest.raises(SourceError, match=r"sources\.mine\.splits.*qual_dev, test, train"):
        read(home, format="docci", files=["d.jsonl"], splits=["valid"])


def test_bad_rows_are_quarantined_and_good_ones_survive(home: Home, tmp_path: Path) -> None:
    lines = [
        docci_row(1),
        b'{"example_id": "test_00002", "split": "te',
        b"[1, 2]",
        docci_row(4, description=None),
        {key: value for key, value in docci_row(5).items() if key != "description"},
        docci_row(6, description="  \n"),
        docci_row(7, description=["a"]),
        b'{"example_id": "x", "split": "test", "image_file": "x.jpg", "description": "\xff\xfe"}',
        docci_row(9, description="half \ud800 pair"),
        docci_row(10, description="nul \0 byte"),
        docci_row(11, description="long " * 200_000),
        docci_row(1, description="another text"),
        docci_row(13, example_id={"a": 1}),
        docci_row(14, image_file="n" * 5000),
        b"",
        docci_row(16),
    ]
    write_lines(tmp_path / "d.jsonl", lines)
    captions, quarantined, _ = read(home, format="docci", files=["d.jsonl"])
    assert captions["caption_id"].to_list() == ["mine:test_00001", "mine:test_00016"]
    assert quarantined["line"].to_list() == list(range(2, 15))
    assert quarantined["file"].unique().to_list() == ["d.jsonl"]
    reasons = dict(quarantined.select("line", "reason").iter_rows())
    for line, reason in {
        2: "not JSON",
        3: "not a JSON object",
        4: "`description` is empty (null)",
        5: "`description` is missing",
        6: "`description` is empty",
        7: "`description` is a list, not text",
        8: "not UTF-8: byte 0xff at position 77",
        9: "half of a surrogate pair at character 6",
        10: "NUL character",
        11: "1,000,000 characters, more than `limits.max_caption_characters` (200,000)",
        12: "duplicate of mine:test_00001",
        13: "`example_id` is an object, not text",
        14: "too long for a name",
    }.items():
        assert reason in reasons[line], line
    raw = dict(quarantined.select("line", "raw").iter_rows())
    assert raw[2] == '{"example_id": "test_00002", "split": "te'
    assert len(raw[11]) == 10_000


def test_a_line_without_end_costs_itself_only(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spare_assets.captions.files.MAX_LINE_BYTES", 1000)
    write_lines(tmp_path / "d.jsonl", [docci_row(1), b"x" * 5500, docci_row(3)])
    captions, quarantined, _ = read(home, format="docci", files=["d.jsonl"])
    assert captions.height == 2
    assert quarantined["line"].to_list() == [2]
    assert "longer than 1,000 bytes" in quarantined["reason"][0]


def test_batches_are_bounded_and_duplicates_found_across_them(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "BATCH_ROWS", 10)
    write_lines(tmp_path / "a.jsonl", map(docci_row, range(25)))
    write_lines(tmp_path / "b.jsonl", map(docci_row, range(20, 40)))
    source = SourceSettings(format="docci", files=("*.jsonl",))
    batches = list(read_captions("mine", source, home, limits=LimitSettings()))
    assert max(batch.read for batch in batches) == 10
    assert sum(batch.captions.height for batch in batches) == 40
    twice = pl.concat([batch.quarantined for batch in batches])
    assert twice["file"].unique().to_list() == ["b.jsonl"]
    assert twice["line"].to_list() == [1, 2, 3, 4, 5]


def test_long_captions_make_small_batches(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "BATCH_CHARACTERS", 1000)
    write_lines(tmp_path / "a.jsonl", [docci_row(n, description="word " * 100) for n in range(9)])
    source = SourceSettings(format="docci", files=("a.jsonl",))
    assert [batch.read for batch in read_captions("mine", source, home, limits=LimitSettings())] == [
        2,
        2,
        2,
        2,
        1,
    ]


# ---------------------------------------------------------------- Localized Narratives


COCO = "http://images.cocodataset.org"
OPEN_IMAGES = "https://s3.amazonaws.com/open-images-dataset"


@pytest.mark.parametrize(
    ("dataset", "image", "image_set", "split", "image_id", "image_file", "image_url"),
    [
        (
            *("mscoco_val2017", "137576", "coco", "val", "coco:137576"),
            *("000000137576.jpg", f"{COCO}/val2017/000000137576.jpg"),
        ),
        (
            *("MSCOCO-train2017", "9", "coco", "train", "coco:9"),
            *("000000000009.jpg", f"{COCO}/train2017/000000000009.jpg"),
        ),
        ("mscoco_train2014", "9", "coco", "train", "coco:9", "000000000009.jpg", None),
        ("Flick30k_train", "36979", "flickr30k", "train", "flickr30k:36979", "36979.jpg", None),
        ("flickr30k_test", "36979", "flickr30k", "test", "flickr30k:36979", "36979.jpg", None),
        (
            *("ADE20k_validation", "ADE_val_00000001", "ade20k", "val"),
            *("ade20k:ADE_val_00000001", "ADE_val_00000001.jpg", None),
        ),
        (
            *("open_images_train_v6", "000595fe6fee6369", "open_images", "train"),
            *(
                "open_images:000595fe6fee6369",
                "000595fe6fee6369.jpg",
                f"{OPEN_IMAGES}/train/000595fe6fee6369.jpg",
            ),
        ),
        (
            *("OpenImages validation", "0005", "open_images", "val"),
            *("mine:0005", "0005.jpg", None),
        ),
        ("open_images_test", "../etc", "open_images", "test", "mine:../etc", "../etc.jpg", None),
        ("dsg1k", "ln_43", "dsg1k", None, "mine:dsg1k/ln_43", None, None),
    ],
)
def test_narratives_find_their_image_set(
    home: Home,
    tmp_path: Path,
    dataset: str,
    image: str,
    image_set: str,
    split: str | None,
    image_id: str,
    image_file: str | None,
    image_url: str | None,
) -> None:
    write_lines(tmp_path / "n.jsonl", [narrative(dataset, image)])
    captions, _, _ = read(home, format="localized_narratives", files=["n.jsonl"])
    row = captions.row(0, named=True)
    assert (row["image_set"], row["split"], row["image_id"]) == (image_set, split, image_id)
    assert (row["image_file"], row["image_url"]) == (image_file, image_url)
    assert row["caption_id"] == f"mine:{dataset}/{image}/7/0"


def test_narratives_of_one_annotator_are_numbered_and_repeats_quarantined(home: Home, tmp_path: Path) -> None:
    texts = ["First.", "Second.", "First.", "Third."]
    write_lines(tmp_path / "n.jsonl", [narrative("mscoco_val2017", "1", 7, text) for text in texts])
    captions, quarantined, _ = read(home, format="localized_narratives", files=["n.jsonl"])
    assert captions["caption_id"].to_list() == [f"mine:mscoco_val2017/1/7/{n}" for n in range(3)]
    assert captions["caption"].to_list() == ["First.", "Second.", "Third."]
    assert quarantined["line"].to_list() == [3]
    assert "duplicate of an earlier narrative by annotator 7 on image 1" in quarantined["reason"][0]


def test_narratives_come_sharded_gzipped_and_full(home: Home, tmp_path: Path) -> None:
    write_lines(tmp_path / "train-00001-of-00002.jsonl", [full_narrative(image_id="2")])
    (tmp_path / "train-00000-of-00002.jsonl.gz").write_bytes(
        gzip.compress(json.dumps(full_narrative(image_id="1")).encode())
    )
    captions, _, _ = read(home, format="localized_narratives", files=["train-*"])
    assert captions["image_id"].to_list() == ["coco:1", "coco:2"]
    assert captions["native"].to_list() == ["{}", "{}"]


def test_a_full_narrative_torn_anywhere_is_never_a_caption() -> None:
    line = json.dumps(full_narrative(caption='A "cup", left.')).encode()
    assert narrative_fields(line)["caption"] == 'A "cup", left.'
    assert "traces" not in narrative_fields(line)
    for length in range(len(line)):
        with pytest.raises(RowError):
            narrative_fields(line[:length])


@given(
    st.fixed_dictionaries(
        {name: st.text() | st.just(', "timed_caption": [') for name in ("dataset_id", "image_id", "caption")}
        | {
            "annotator_id": st.integers(),
            "timed_caption": st.lists(st.text()),
            "nested": st.just({"caption": 1}),
        }
    ).flatmap(lambda fields: st.permutations(list(fields.items()))),
    st.sampled_from([(",", ":"), (", ", ": ")]),
    st.booleans(),
)
def test_cutting_the_traces_loses_nothing_that_makes_a_caption(
    fields: list[tuple[str, Any]], separators: tuple[str, str], ascii_only: bool
) -> None:
    whole = {**dict(fields), "voice_recording": "a.ogg"}
    line = json.dumps(whole, separators=separators, ensure_ascii=ascii_only).encode("utf-8", "replace")
    read_fields = narrative_fields(line)
    parsed = json.loads(line)
    for name in ("dataset_id", "image_id", "annotator_id", "caption"):
        assert read_fields[name] == parsed[name]


def test_a_narrative_of_a_coco_set_needs_a_number(home: Home, tmp_path: Path) -> None:
    rows = [narrative("mscoco_val2017", "../../etc/passwd"), narrative("mscoco_val2017", "1")]
    write_lines(tmp_path / "n.jsonl", rows)
    captions, quarantined, _ = read(home, format="localized_narratives", files=["n.jsonl"])
    assert captions.height == 1
    assert "is no COCO number" in quarantined["reason"][0]


# ---------------------------------------------------------------- PixMo-Cap


def test_pixmo_rows_are_named_by_address_and_text(home: Home, tmp_path: Path) -> None:
    url = "https://example.org/a.jpg"
    pl.DataFrame(
        {
            "image_url": [url, url, url, None, "https://example.org/b.jpg"],
            "caption": ["One.", "Two.", "One.", "Three.", None],
            "transcripts": [["a", "b"], [], None, [], []],
        }
    ).write_parquet(tmp_path / "p.parquet")
    captions, quarantined, _ = read(home, format="pixmo_cap", files=["p.parquet"])
    digest = hashlib.sha256(f"{url}\0One.".encode()).hexdigest()[:32]
    assert captions["caption_id"][0] == f"mine:{digest}"
    assert captions["image_url"].to_list() == [url, url]
    assert captions["image_id"].n_unique() == 1
    assert captions["image_id"][0].startswith("url:")
    assert json.loads(captions["native"][0]) == {"transcripts": ["a", "b"]}
    assert quarantined["line"].to_list() == [3, 4, 5]
    assert "duplicate of" in quarantined["reason"][0]
    assert json.loads(quarantined["raw"][1])["caption"] == "Three."


def test_parquet_text_that_is_not_utf8_costs_its_row_only(home: Home, tmp_path: Path) -> None:
    values = pa.array([b"fine", b"\xff\xfe", b"also fine"]).view(pa.string())
    urls = pa.array(["https://e.org/1", "https://e.org/2", "https://e.org/3"])
    pq.write_table(pa.table({"image_url": urls, "caption": values}), tmp_path / "p.parquet")
    captions, quarantined, _ = read(home, format="pixmo_cap", files=["p.parquet"])
    assert captions["caption"].to_list() == ["fine", "also fine"]
    assert quarantined.select("line", "reason").row(0) == (2, "not UTF-8")


def test_a_parquet_file_that_lacks_a_column_is_refused(home: Home, tmp_path: Path) -> None:
    pl.DataFrame({"url": ["a"], "caption": ["b"]}).write_parquet(tmp_path / "p.parquet")
    with pytest.raises(SourceError, match=r"no column 'image_url'.*'url', 'caption'"):
        read(home, format="pixmo_cap", files=["p.parquet"])


# ---------------------------------------------------------------- tables

TABLE = {"columns": {"caption": "text", "image": "file", "id": "n", "split": "part"}}
RECORDS = [
    {"n": 1, "file": "a/1.jpg", "text": 'A "cup", left\nof a plate.', "part": "train", "score": 0.5},
    {"n": 2, "file": "https://example.org/2.jpg", "text": "Zwei Tassen, süß.", "part": "test", "score": 1.5},
]


def write_json_lines(path: Path) -> None:
    write_lines(path, RECORDS)


def write_json_list(path: Path) -> None:
    path.write_text(json.dumps(RECORDS, indent=1))


def write_separated(path: Path) -> None:
    pl.DataFrame(RECORDS).write_csv(path, separator="\t" if path.suffix == ".tsv" else ",")


def write_parquet(path: Path) -> None:
    pl.DataFrame(RECORDS).write_parquet(path)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("t.jsonl", write_json_lines),
        ("t.ndjson", write_json_lines),
        ("t.json", write_json_lines),
        ("t.json", write_json_list),
        ("t.csv", write_separated),
        ("t.TSV", write_separated),
        ("t.tsv", write_separated),
        ("t.parquet", write_parquet),
    ],
)
def test_a_table_reads_alike_from_every_kind_of_file(
    home: Home, tmp_path: Path, name: str, write: Callable[[Path], None]
) -> None:
    if name == "t.TSV":
        write_separated(tmp_path / "t.tsv")
        (tmp_path / "t.tsv").rename(tmp_path / name)
    else:
        write(tmp_path / name)
    captions, quarantined, _ = read(home, format="table", files=[name], **TABLE)
    assert quarantined.is_empty()
    assert captions["caption"].to_list() == [record["text"] for record in RECORDS]
    assert captions["caption_id"].to_list() == ["mine:1", "mine:2"]
    assert captions["split"].to_list() == ["train", "test"]
    assert captions["image_file"].to_list() == ["a/1.jpg", None]
    assert captions["image_url"].to_list() == [None, "https://example.org/2.jpg"]
    assert captions["image_id"][0] == "mine:a/1.jpg"
    assert [float(json.loads(native)["score"]) for native in captions["native"]] == [0.5, 1.5]


def test_a_gzipped_table_is_told_by_its_content(home: Home, tmp_path: Path) -> None:
    write_separated(tmp_path / "t.csv")
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress((tmp_path / "t.csv").read_bytes(), mtime=0))
    captions, _, _ = read(home, format="table", files=["t.csv.gz"], **TABLE)
    assert captions.height == 2


def test_a_mapping_of_names_to_texts_has_key_and_value(home: Home, tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text('{"1.jpg": "One.",\n "2.jpg": "Two.", "1.jpg": "Again."}')
    columns = {"caption": "value", "image": "key", "id": "key"}
    captions, quarantined, _ = read(home, format="table", files=["m.json"], columns=columns)
    assert captions.select("image_file", "caption").rows() == [("1.jpg", "One."), ("2.jpg", "Two.")]
    assert quarantined.select("line", "reason").rows() == [
        (3, "duplicate of mine:1.jpg, which stands earlier in this source")
    ]


def test_a_json_file_of_one_row_is_that_row(home: Home, tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text('{"text": "One.", "file": "a.jpg"}\n')
    captions, _, _ = read(home, format="table", files=["m.json"], columns={"caption": "text", "image": "file"})
    assert captions.select("caption", "image_file").rows() == [("One.", "a.jpg")]


def test_without_an_id_column_image_and_text_name_the_caption(home: Home, tmp_path: Path) -> None:
    rows = [{"t": "One.", "f": "a.jpg"}, {"t": "One.", "f": "b.jpg"}, {"t": "One.", "f": None}, {"t": "One."}]
    write_lines(tmp_path / "t.jsonl", rows)
    captions, quarantined, _ = read(home, format="table", files=["t.jsonl"], columns={"caption": "t", "image": "f"})
    assert captions["caption_id"].n_unique() == 3
    assert captions["image_id"].n_unique() == 3
    assert captions["image_file"].to_list() == ["a.jpg", "b.jpg", None]
    assert quarantined["line"].to_list() == [4]


def test_rows_without_a_caption_may_be_passed_over(home: Home, tmp_path: Path) -> None:
    write_lines(tmp_path / "t.jsonl", [{"n": 1}, {"t": None}, {"t": " "}, b'{"t": NaN}', {"t": "One."}, {"t": 5}])
    source = {"format": "table", "files": ["t.jsonl"], "columns": {"caption": "t"}}
    captions, quarantined, passed_over = read(home, skip_empty=True, **source)
    assert captions["caption"].to_list() == ["One."]
    assert quarantined["reason"].to_list() == ["`t` is a number, not text"]
    assert passed_over == 4
    write_lines(tmp_path / "t.jsonl", [{"n": 1}, {"m": None}])
    with pytest.raises(SourceError, match=r"no column 't' for caption; its columns are 'n'"):
        read(home, skip_empty=True, **source)


def test_separated_values_lose_only_the_rows_that_are_wrong(home: Home, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(
        b'\xef\xbb\xbfn,text\r\n1,"two\r\nlines"\r\n2,too,many\r\n3,"stray" quote\r\n4,\xff\r\n\r\n5,\r\n6,"'
        + b"long " * 200_000
        + b'"\r\n7,fine\r\n8,"not closed\r\n'
    )
    captions, quarantined, _ = read(home, format="table", files=["t.csv"], columns={"caption": "text", "id": "n"})
    assert captions.select("caption_id", "caption").rows() == [
        ("mine:1", "two\r\nlines"),
        ("mine:7", "fine"),
    ]
    reasons = dict(quarantined.select("line", "reason").iter_rows())
    assert list(reasons) == [4, 5, 6, 8, 9, 11]
    assert reasons[4] == "has 3 fields where the header has 2"
    assert reasons[5].startswith("not a row of separated values")
    assert reasons[6] == "not UTF-8"
    assert reasons[8] == "`text` is empty (null)"
    assert "1,000,000 characters" in reasons[9]
    assert reasons[11].startswith("not a row of separated values: unexpected end of data")


@pytest.mark.parametrize("name", ["t.jsonl", "t.json", "t.csv", "t.parquet"])
@pytest.mark.parametrize("use", ["caption", "image", "id", "split"])
def test_a_column_that_is_not_there_is_named_beside_those_that_are(
    home: Home, tmp_path: Path, name: str, use: str
) -> None:
    {"t.jsonl": write_json_lines, "t.json": write_json_list, "t.csv": write_separated}.get(name, write_parquet)(
        tmp_path / name
    )
    columns = {**TABLE["columns"], use: "nowhere"}
    with pytest.raises(SourceError) as caught:
        read(home, format="table", files=[name], columns=columns)
    message = str(caught.value)
    assert f"no column 'nowhere' for {use}" in message
    assert f"sources.mine.columns.{use}" in message
    assert "'score'" in message
    assert str(tmp_path / name) in message


def test_embedded_images_are_refused_with_the_reason(home: Home, tmp_path: Path) -> None:
    pl.DataFrame({"text": ["a"], "image": [{"bytes": b"x", "path": None}]}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(SourceError, match="embedded images are not read"):
        read(home, format="table", files=["t.parquet"], columns={"caption": "text", "image": "image"})
    captions, _, _ = read(home, format="table", files=["t.parquet"], columns={"caption": "text"})
    assert captions["native"].to_list() == ["{}"]


# ---------------------------------------------------------------- files that can't be read at all


def broken_parquet(path: Path) -> None:
    pl.DataFrame({"image_url": ["a"] * 500, "caption": ["b"] * 500}).write_parquet(path)
    path.write_bytes(path.read_bytes()[:-20])


def parquet_with_a_column_name_of_no_text(path: Path) -> None:
    pl.DataFrame({"image_url": ["a"], "caption": ["b"]}).write_parquet(path)
    path.write_bytes(path.read_bytes().replace(b"caption", b"\xffaption"))


@pytest.mark.parametrize(
    ("format", "name", "content", "message"),
    [
        (
            "docci",
            "none.jsonl",
            None,
            r"no such file.*sources\.mine\.files.*come.? from https://example\.org",
        ),
        ("docci", "no/such/*.jsonl", None, r"no such file.*nearest folder that exists"),
        ("docci", "folder", "folder", r"is a folder.*folder/\*\.jsonl"),
        ("docci", "empty.jsonl", b"", r"is empty \(0 bytes\).*example\.org"),
        ("docci", "blank.jsonl", b"\n \n", "holds no row"),
        ("docci", "cut.jsonl.gz", gzip.compress(b"x" * 100_000, mtime=0)[:60], "cut or damaged inside its gzip"),
        ("docci", "actually.jsonl", "parquet", "is a Parquet file where a text file"),
        ("pixmo_cap", "text.parquet", b"image_url,caption\n", "is not a Parquet file"),
        ("pixmo_cap", "empty.parquet", b"", "is empty"),
        ("pixmo_cap", "cut.parquet", broken_parquet, "is not a Parquet file, or a damaged one"),
        ("pixmo_cap", "odd.parquet", parquet_with_a_column_name_of_no_text, "is not a Parquet file, or a damaged one"),
        ("table", "t.xml", b"<a/>", r"no kind of table known here \(\.xml\)"),
        ("table", "t.json", b'{"text": "a", ', "is cut or not JSON"),
        ("table", "t.json", b'"text"', "neither a list of objects nor"),
        ("table", "t.csv", b"text,text\na,b\n", "names columns twice"),
        ("table", "old_mac.csv", b"id,text\r1,a cup\r", "has no header that can be read"),
        ("table", "wide.csv", b"text" + b"," * 300_000 + b"\na\n", "names columns twice"),
        ("table", "header.csv", b"text\n", "holds no row"),
        ("table", "none.parquet", "no rows", "without rows"),
    ],
)
def test_a_file_that_cannot_be_read_says_what_to_do(
    home: Home, tmp_path: Path, format: str, name: str, content: Any, message: str
) -> None:
    path = tmp_path / name
    if content == "folder":
        path.mkdir()
    elif content == "parquet":
        pl.DataFrame({"a": [1]}).write_parquet(path)
    elif content == "no rows":
        pl.DataFrame({"text": []}, schema={"text": pl.String}).write_parquet(path)
    elif callable(content):
        content(path)
    elif content is not None:
        path.write_bytes(content)
    columns = {"columns": {"caption": "text"}} if format == "table" else {}
    with pytest.raises(SourceError, match=message) as caught:
        read(home, format=format, files=[name], homepage="https://example.org/corpus", **columns)
    assert str(tmp_path) in str(caught.value)
    assert "sources.mine." in str(caught.value)


def test_a_missing_file_is_told_before_the_first_row_is_read(home: Home, tmp_path: Path) -> None:
    write_lines(tmp_path / "a.jsonl", [docci_row(1)])
    source = SourceSettings(format="docci", files=("a.jsonl", "b.jsonl"))
    with pytest.raises(SourceError, match="no such file"):
        read_captions("mine", source, home, limits=LimitSettings())


def test_a_file_matched_twice_is_read_once(home: Home, tmp_path: Path) -> None:
    write_lines(tmp_path / "a[1].jsonl", [docci_row(1)])
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "a[1].jsonl")
    captions, quarantined, _ = read(home, format="docci", files=["a[1].jsonl", "*.jsonl"])
    assert (captions.height, quarantined.height) == (1, 0)


# ---------------------------------------------------------------- limits


def test_unreadable_rows_fail_a_source_above_share_and_count() -> None:
    limits = LimitSettings()
    check_unreadable(1000, 50, limits, source="mine")
    check_unreadable(20, 10, limits, source="mine")
    with pytest.raises(SourceError, match=r"51 of 1,000 rows.*5%.*\n  d\.jsonl, line 2: not JSON"):
        check_unreadable(1000, 51, limits, source="mine", examples=["d.jsonl, line 2: not JSON"])
    with pytest.raises(SourceError, match="3 of 3 rows"):
        check_unreadable(3, 3, limits, source="mine")
    with pytest.raises(SourceError, match="no caption was read"):
        check_unreadable(0, 0, limits, source="mine")


@given(
    st.lists(st.integers(0, 10**6), unique=True, max_size=60),
    st.integers(0, 40),
    st.integers(0, 20),
    st.data(),
)
def test_a_trial_is_part_of_every_larger_one(numbers: list[int], small: int, more: int, data: st.DataObject) -> None:
    ids = [f"mine:{number}" for number in numbers]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(ids)), max_size=4)))
    frames = [
        pl.DataFrame({"caption_id": ids[a:b]}, schema={"caption_id": pl.String})
        for a, b in zip([0, *cuts], [*cuts, len(ids)], strict=True)
    ]
    expected = sorted(ids, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    trial = smallest_by_hash(frames, small)["caption_id"].to_list()
    larger = smallest_by_hash(reversed(frames), small + more)["caption_id"].to_list()
    assert trial == expected[:small]
    assert larger[: len(trial)] == trial


# ---------------------------------------------------------------- anything at all

any_line = st.one_of(
    st.binary(max_size=80),
    st.builds(
        lambda fields: json.dumps(fields).encode(),
        st.dictionaries(
            st.sampled_from(
                [
                    *("example_id", "split", "image_file", "description", "dataset_id", "image_id"),
                    *("annotator_id", "caption", "image_url", "text"),
                ]
            ),
            st.none() | st.text(max_size=8) | st.integers() | st.floats() | st.lists(st.integers(), max_size=2),
        ),
    ),
    st.builds(
        lambda text, n: json.dumps(
            {**docci_row(n), **narrative("mscoco_val2017", str(n)), "description": text, "caption": text}
        ).encode(),
        st.text(max_size=20),
        st.integers(0, 3),
    ),
)


@pytest.mark.parametrize("format", ["docci", "localized_narratives", "table"])
@settings(max_examples=150, deadline=None)
@given(lines=st.lists(any_line.map(lambda line: line.replace(b"\n", b" ")), min_size=1, max_size=8))
def test_every_line_is_a_caption_or_quarantined(
    format: str, lines: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("lines")
    good = {**docci_row(99), **narrative("mscoco_val2017", "99")}
    write_lines(folder / "d.jsonl", [good, *lines])
    columns = {"columns": {"caption": "caption", "image": "image_file"}} if format == "table" else {}
    source = SourceSettings(format=format, files=(str(folder / "d.jsonl"),), **columns)
    home = Home(folder, load_settings("sandbox"))
    batches = list(read_captions("mine", source, home, limits=LimitSettings(max_caption_characters=15)))
    expected = 1 + sum(not line.isspace() and line != b"" for line in lines)
    assert sum(batch.read for batch in batches) == expected
    captions = pl.concat([batch.captions for batch in batches])
    assert captions["caption_id"].is_unique().all()
    always = ["caption_id", "source", "image_id", "image_set", "caption", "words", "native"]
    assert captions.drop_nulls(always).height == captions.height
    for native in captions["native"]:
        json.loads(native)


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=200))
def test_separated_bytes_never_raise(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("csv")
    (folder / "t.csv").write_bytes(b"text,file\nA cup.,a.jpg\n" + content)
    source = SourceSettings(
        format="table", files=(str(folder / "t.csv"),), columns={"caption": "text", "image": "file"}
    )
    batches = list(read_captions("mine", source, Home(folder, load_settings("sandbox")), limits=LimitSettings()))
    assert batches[0].captions["caption"][0] == "A cup."


def test_memory_stays_flat(home: Home, tmp_path: Path) -> None:
    traces = [[{"x": 0.25, "y": 0.5, "t": n / 100} for n in range(300)]]
    tail = json.dumps(full_narrative(traces=traces)).split('"caption"')[1]
    with (tmp_path / "n.jsonl").open("w") as file:
        for number in range(4000):
            head = json.dumps({"dataset_id": "mscoco_train2017", "image_id": str(number), "annotator_id": 1})
            file.write(head[:-1] + ', "caption"' + tail + "\n")
    assert (tmp_path / "n.jsonl").stat().st_size > 40_000_000

    def count(batches: Iterable[CaptionBatch]) -> int:
        return sum(batch.captions.height for batch in batches)

    source = SourceSettings(format="localized_narratives", files=("n.jsonl",))
    tracemalloc.start()
    try:
        assert count(read_captions("mine", source, home, limits=LimitSettings())) == 4000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12_000_000


# ---------------------------------------------------------------- the real corpora


@real_data
@pytest.mark.parametrize(
    ("source", "captions", "quarantined", "passed_over"),
    [
        ({"format": "docci", "files": ["docci/*.jsonlines"]}, 58, 0, 0),
        ({"format": "docci", "files": ["docci/*.jsonlines"], "splits": ["test"]}, 51, 0, 7),
        ({"format": "localized_narratives", "files": ["localized_narratives/*.jsonl"]}, 50, 0, 0),
        (
            {
                "format": "table",
                "files": ["coco_photos/manifest.jsonl"],
                "columns": {"caption": "gpt4o_long_caption", "image": "file_name", "split": "split"},
                "skip_empty": True,
            },
            2,
            0,
            109,
        ),
        (
            {
                "format": "table",
                "files": ["comprecap_longcaps/GPT-4o.json"],
                "columns": {"caption": "value", "image": "key", "id": "key"},
            },
            560,
            0,
            0,
        ),
        (
            {
                "format": "table",
                "files": ["imageinwords/iiw_400.jsonl"],
                "columns": {"caption": "IIW", "image": "image/key", "id": "image/key"},
            },
            200,
            0,
            0,
        ),
    ],
)
def test_real_corpora_are_read_whole(
    real_home: Home, source: dict[str, Any], captions: int, quarantined: int, passed_over: int
) -> None:
    read_in, put_aside, skipped = read(real_home, **source)
    assert (read_in.height, put_aside.height, skipped) == (captions, quarantined, passed_over)
    assert read_in["caption_id"].is_unique().all()
    assert (read_in["words"] > 2).all()


@real_data
def test_real_photographs_and_long_captions_meet_by_canonical_id(real_home: Home) -> None:
    photos, _, _ = read(
        real_home,
        format="table",
        files=["coco_photos/manifest.jsonl"],
        columns={"caption": "licence", "image": "coco_url", "id": "file_name"},
    )
    long_captions, _, _ = read(
        real_home,
        format="table",
        files=["comprecap_longcaps/GPT-4o.json"],
        columns={"caption": "value", "image": "key"},
    )
    assert photos["image_id"].str.starts_with("coco:").all()
    assert long_captions["image_id"].str.starts_with("coco:").all()
    assert photos.join(long_captions, on="image_id", how="semi").height > 0
