"""Every export is loaded again, with the library it is for or by that library's documented rules, and compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from spare_assets.publication.export_formats import (
    LLAMA_FACTORY,
    LLAMA_FACTORY_MARKS,
    LLAVA,
    LLAVA_MARKS,
    MS_SWIFT,
    MS_SWIFT_MARKS,
    PARQUET,
    TRL,
    WEBDATASET,
    ExportFormat,
    plain,
)
from spare_assets_tests.publication.export_samples import Pair, by_number, export, pairs_of, pictures_of, samples

datasets = pytest.importorskip("datasets")


@pytest.fixture
def dataset(tmp_path: Path) -> pl.DataFrame:
    return samples(tmp_path / "pictures", 40)


def loaded(folder: Path, cache: Path, **arguments: Any) -> dict[str, Any]:
    return dict(datasets.load_dataset(str(folder), cache_dir=str(cache), **arguments))


def parts(dataset: pl.DataFrame) -> dict[str, dict[str, Pair]]:
    marked = dataset.with_columns(part=pl.col("image_id").map_elements(by_number, return_dtype=pl.String))
    return {part: pairs_of(marked.filter(part=part)) for part in ("train", "held_out")}


def content_hash(image: Path) -> str:
    return hashlib.sha256(image.read_bytes()).hexdigest()


def each_once(pairs: Iterable[tuple[str, Pair]]) -> dict[str, Pair]:
    found = list(pairs)
    assert len(found) == len(dict(found)), "a pair stands in one row"
    return dict(found)


@pytest.mark.parametrize("with_images", [False, True])
def test_parquet_loads_with_datasets(dataset: pl.DataFrame, tmp_path: Path, with_images: bool) -> None:
    export(PARQUET, dataset, tmp_path / "out", with_images=with_images, shard_rows=7)
    splits = loaded(tmp_path / "out", tmp_path / "cache")
    assert set(splits) == {"train", "held_out"}
    for part, expected in parts(dataset).items():
        assert isinstance(splits[part].features["image"], datasets.Image)
        rows = list(splits[part])
        assert expected == each_once(
            (pair["pair_id"], (pair["question"], pair["answer"])) for row in rows for pair in row["pairs"]
        )
        for row in rows:
            original = dataset.row(by_predicate=pl.col("caption_id") == row["caption_id"], named=True)
            assert (row["image"] is None) == (original["image_path"] is None)
            assert row["image"] is None or row["image"].size == (8, 8)
            for name in ("source", "split", "image_id", "image_sha256", "caption", "pairs"):
                assert row[name] == original[name]
    raw = splits["train"].cast_column("image", datasets.Image(decode=False))
    for row in raw:
        if row["image"] is None:
            continue
        if with_images:
            assert hashlib.sha256(row["image"]["bytes"]).hexdigest() == row["image_sha256"]
            assert row["image"]["path"] == f"{row['image_sha256']}.png"
        else:
            assert row["image"]["bytes"] is None
            assert content_hash(Path(row["image"]["path"])) == row["image_sha256"]


@pytest.mark.parametrize("with_images", [False, True])
def test_trl_rows_are_conversational_prompts_and_completions(
    dataset: pl.DataFrame, tmp_path: Path, with_images: bool
) -> None:
    export(TRL, dataset, tmp_path / "out", with_images=with_images)
    splits = loaded(tmp_path / "out", tmp_path / "cache")
    pictures = pictures_of(dataset)
    for part, expected in parts(dataset).items():
        found = []
        for row in splits[part]:
            (prompt,), (completion,) = row["prompt"], row["completion"]
            assert (prompt["role"], completion["role"]) == ("user", "assistant")
            found.append((row["pair_id"], (prompt["content"], completion["content"])))
            assert len(row["images"]) == (pictures[row["caption_id"]] is not None)
            assert all(image.size == (8, 8) for image in row["images"])
        assert each_once(found) == expected


def test_a_picture_that_trl_rows_repeat_is_stored_once_per_group(tmp_path: Path) -> None:
    dataset = samples(tmp_path / "pictures", 40)
    noise = tmp_path / "noise.bin"
    noise.write_bytes(b"".join(hashlib.sha256(bytes([i % 256, i // 256])).digest() for i in range(3_000)))
    one = dataset.filter(pl.col("image_path").is_not_null() & (pl.col("pairs").list.len() == 4)).head(1)
    one = one.with_columns(image_path=pl.lit(str(noise)), image_sha256=pl.lit(content_hash(noise)))
    written = export(TRL, one, tmp_path / "out", with_images=True)
    assert written.rows == 4
    assert written.bytes < 2 * noise.stat().st_size


@pytest.mark.slow
def test_trl_collates_the_rows(dataset: pl.DataFrame, tmp_path: Path) -> None:
    pytest.importorskip("trl")
    from spare_assets.clip.torchvision_shim import install

    install()
    from transformers import AutoProcessor
    from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

    export(TRL, dataset, tmp_path / "out")
    rows = loaded(tmp_path / "out", tmp_path / "cache")["train"]
    pictured = next(row for row in rows if row["images"] and row["pair_id"])
    unpictured = next(row for row in rows if not row["images"])
    model = Path(__file__).parents[2] / "spare_assets" / "sandbox" / "models" / "vlm"
    processor = AutoProcessor.from_pretrained(model)
    collate = DataCollatorForVisionLanguageModeling(processor, completion_only_loss=True)
    batch = collate([dict(pictured), dict(unpictured)])
    assert len(batch["image_grid_thw"]) == 1
    for row, labels in zip((pictured, unpictured), batch["labels"], strict=True):
        learned = processor.tokenizer.decode(labels[labels != -100])
        assert learned.startswith(
            processor.tokenizer.decode(processor.tokenizer(row["completion"][0]["content"]).input_ids)
        )
        assert row["prompt"][0]["content"] not in learned


@pytest.mark.parametrize("with_images", [False, True])
def test_llava_json_keeps_to_its_schema(dataset: pl.DataFrame, tmp_path: Path, with_images: bool) -> None:
    folder = tmp_path / "out"
    written = export(LLAVA, dataset, folder, with_images=with_images)
    pictures = pictures_of(dataset)
    for part, expected in parts(dataset).items():
        found = []
        for entry in json.loads((folder / f"{part}.json").read_text(encoding="utf-8")):
            speakers = [turn["from"] for turn in entry["conversations"]]
            assert speakers == ["human", "gpt"] * (len(speakers) // 2)
            texts = [turn["value"] for turn in entry["conversations"]]
            assert sum(text.count("<image>") for text in texts) == ("image" in entry)
            if "image" in entry:
                assert texts[0].startswith("<image>\n")
                texts[0] = texts[0].removeprefix("<image>\n")
                assert content_hash(folder / entry["image"]) == pictures[entry["id"]]
                assert Path(entry["image"]).is_absolute() is not with_images
            else:
                assert pictures[entry["id"]] is None
            found += zip(entry["pair_ids"], zip(texts[::2], texts[1::2], strict=True), strict=True)
        assert each_once(found) == {key: made_plain(pair, LLAVA_MARKS) for key, pair in expected.items()}
    assert written.changed == sum(made_plain(pair, LLAVA_MARKS) != pair for pair in pairs_of(dataset).values())
    assert written.changed > 0


@pytest.mark.parametrize("with_images", [False, True])
@pytest.mark.parametrize(("form", "marks"), [(LLAMA_FACTORY, LLAMA_FACTORY_MARKS), (MS_SWIFT, MS_SWIFT_MARKS)])
def test_messages_load_as_the_stacks_load_them(
    dataset: pl.DataFrame, tmp_path: Path, form: ExportFormat, marks: Any, with_images: bool
) -> None:
    """Both hand the file that their `dataset_info.json` names to `datasets`, then look for marks in the texts."""
    folder = tmp_path / "out"
    export(form, dataset, folder, with_images=with_images)
    files = {
        "train" if name == "spare" else name.removeprefix("spare_"): str(folder / file)
        for name, file in registered(form, json.loads((folder / "dataset_info.json").read_text(encoding="ascii")))
    }
    splits = loaded(Path("json"), tmp_path / "cache", data_files=files)
    pictures = pictures_of(dataset)
    for part, expected in parts(dataset).items():
        found = []
        for row in splits[part]:
            texts = [message["content"] for message in row["messages"]]
            assert [message["role"] for message in row["messages"]] == ["user", "assistant"] * (len(texts) // 2)
            assert [marks.search(text) is not None for text in texts] == [bool(row["images"])] + [False] * (
                len(texts) - 1
            )
            assert texts[0].count("<image>") == len(row["images"])
            texts[0] = texts[0].removeprefix("<image>") if row["images"] else texts[0]
            found += zip(row["pair_ids"], zip(texts[::2], texts[1::2], strict=True), strict=True)
            hashes = [content_hash(folder / image) for image in row["images"]]
            assert hashes == [pictures[row["caption_id"]]] * len(row["images"])
            assert len(hashes) == (pictures[row["caption_id"]] is not None)
        assert each_once(found) == {key: made_plain(pair, marks) for key, pair in expected.items()}


def registered(form: ExportFormat, info: Any) -> Iterator[tuple[str, str]]:
    if form is MS_SWIFT:
        for entry in info:
            assert set(entry) == {"dataset_name", "dataset_path"}
            yield entry["dataset_name"], entry["dataset_path"]
        return
    for name, entry in info.items():
        assert entry["formatting"] == "sharegpt"
        assert entry["columns"] == {"messages": "messages", "images": "images"}
        assert entry["tags"]["role_tag"] == "role"
        assert entry["tags"]["content_tag"] == "content"
        yield name, entry["file_name"]


def made_plain(pair: Pair, marks: Any) -> Pair:
    return plain(pair[0], marks), plain(pair[1], marks)


@pytest.mark.parametrize("with_images", [False, True])
def test_shards_load_with_webdataset(dataset: pl.DataFrame, tmp_path: Path, with_images: bool) -> None:
    webdataset = pytest.importorskip("webdataset")
    folder = tmp_path / "out"
    export(WEBDATASET, dataset, folder, with_images=with_images, shard_rows=5)
    for part, expected in parts(dataset).items():
        shards = sorted(str(path) for path in folder.glob(f"{part}-*.tar"))
        assert len(shards) > 1
        found, keys = [], []
        for raw in webdataset.WebDataset(shards, shardshuffle=False):
            row = json.loads(raw["json"])
            keys.append(raw["__key__"])
            assert raw["__key__"] == hashlib.sha256(row["caption_id"].encode()).hexdigest()[:32]
            original = dataset.row(by_predicate=pl.col("caption_id") == row["caption_id"], named=True)
            assert row["pairs"] == original["pairs"]
            assert {name: row[name] for name in ("caption", "split", "source", "image_id", "image_sha256")} == {
                name: original[name] for name in ("caption", "split", "source", "image_id", "image_sha256")
            }
            found += [(pair["pair_id"], (pair["question"], pair["answer"])) for pair in row["pairs"]]
            embedded = {extension for extension in raw if not extension.startswith("__")} - {"json"}
            assert embedded == ({"png"} if with_images and original["image_path"] else set())
            if embedded:
                assert hashlib.sha256(raw["png"]).hexdigest() == row["image_sha256"]
                assert row["image_path"] is None
            else:
                assert row["image_path"] == original["image_path"]
        assert each_once(found) == expected
        assert len(keys) == len(set(keys))
        decoded = next(iter(webdataset.WebDataset(shards, shardshuffle=False).decode("pil")))
        assert isinstance(decoded["json"], dict)
