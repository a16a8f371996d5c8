"""Rows of a part read in flat memory, and lengths that the collator's batches hold to."""

from __future__ import annotations

import multiprocessing
import pickle
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from spare_assets.clip.torchvision_shim import install
from spare_assets.training.collator import AnswerOnlyCollator
from spare_assets.training.order import TrainingError
from spare_assets.training.row_encoding import RowEncoder
from spare_assets.training.rows import TrainingRow, TrainingRows
from spare_assets_tests.engines.small_models import save_vision_model
from spare_assets_tests.training.small_rows import TEMPLATE_WITH_SYSTEM, picture, recipe, write_table

TURNS = (("Where is the mug?", "On the desk."), ("Is it <|im_end|> red?", "<|image_pad|> yes"), ("Where?", "Under."))


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> Any:
    install()
    from transformers import AutoProcessor

    torch.set_num_threads(1)
    return AutoProcessor.from_pretrained(save_vision_model(tmp_path_factory.mktemp("base")))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Rows of many sizes and numbers of turns, every fifth held out."""
    rows = []
    for place in range(20):
        width, height = 30 + 17 * place, 400 - 19 * place
        path = picture(tmp_path / f"{place}.png", width, height, seed=place)
        part = "held_out" if place % 5 == 0 else "train"
        turns = TURNS[: 1 + place % 3] * (1 + place // 10)
        rows.append({"part": part, "image_path": str(path), "width": width, "height": height, "turns": turns})
        rows[-1]["image_sha256"] = f"hash-{place}"
    return write_table(tmp_path / "training_samples.parquet", rows)


@pytest.mark.parametrize("system", [None, "Answer <|im_end|> briefly."])
@pytest.mark.parametrize("pixels", [(28 * 28, 6 * 28 * 28), (100 * 100, 200 * 200)])
def test_lengths_are_what_the_collator_makes(
    table: Path,
    processor: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    system: str | None,
    pixels: tuple[int, int],
) -> None:
    monkeypatch.setattr(processor, "chat_template", TEMPLATE_WITH_SYSTEM)
    chosen = recipe(system_prompt=system, min_pixels=pixels[0], max_pixels=pixels[1])
    rows = TrainingRows(table, "train", processor, chosen, tmp_path / "scratch")
    batch = AnswerOnlyCollator(processor, chosen)([rows[index] for index in range(len(rows))])
    assert rows.lengths.dtype == np.int32
    assert rows.lengths.tolist() == batch["attention_mask"].sum(dim=1).tolist()


def test_lengths_hold_for_real_photographs(real_data: Path, processor: Any, tmp_path: Path) -> None:
    from PIL import Image, ImageOps

    photos = sorted((real_data / "coco_photos").glob("*.jpg"))[:8]
    sizes = [ImageOps.exif_transpose(Image.open(photo)).size for photo in photos]
    path = write_table(
        tmp_path / "training_samples.parquet",
        [
            {"image_path": str(photo), "image_sha256": photo.name, "width": width, "height": height, "turns": TURNS}
            for photo, (width, height) in zip(photos, sizes, strict=True)
        ],
    )
    chosen = recipe(max_pixels=200_000)
    rows = TrainingRows(path, "train", processor, chosen, tmp_path / "scratch")
    batch = AnswerOnlyCollator(processor, chosen)([rows[index] for index in range(len(rows))])
    assert rows.lengths.tolist() == batch["attention_mask"].sum(dim=1).tolist()


def test_parts_hold_their_own_rows(table: Path, processor: Any, tmp_path: Path) -> None:
    train, held_out = (TrainingRows(table, part, processor, recipe(), tmp_path) for part in ("train", "held_out"))
    assert (len(train), len(held_out)) == (16, 4)
    assert held_out.row_ids([0, 1, 2, 3]) == ["row-0", "row-5", "row-10", "row-15"]
    assert train.row_ids(np.array([15, 0])) == ["row-19", "row-1"]
    assert held_out[1] == TrainingRow("row-5", tmp_path / "5.png", "hash-5", TURNS)
    assert len(TrainingRows(table, "nothing", processor, recipe(), tmp_path)) == 0
    with pytest.raises(IndexError):
        train[16]


def test_rows_of_a_large_table_keep_their_places(processor: Any, tmp_path: Path) -> None:
    given = [
        {"part": "held_out" if place % 7 == 0 else "train", "turns": [(f"Q {place}", "A")]} for place in range(3000)
    ]
    path = write_table(tmp_path / "training_samples.parquet", given)
    rows = TrainingRows(path, "train", processor, recipe(), tmp_path)
    expected = [place for place in range(3000) if place % 7]
    assert len(rows) == len(expected)
    for index in (0, 1000, 1023, 1024, 2047, len(rows) - 1):
        assert rows[index].turns == ((f"Q {expected[index]}", "A"),)
        assert rows.row_ids([index]) == [rows[index].row_id] == [f"row-{expected[index]}"]


def test_longer_rows_and_odd_pictures_are_set_aside_and_counted(
    table: Path, processor: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = TrainingRows(table, "train", processor, recipe(), tmp_path)
    limit = int(np.median(whole.lengths))
    rows = TrainingRows(table, "train", processor, recipe(max_length=limit), tmp_path)
    assert rows.too_long == int((whole.lengths > limit).sum()) > 0
    assert rows.lengths.tolist() == [length for length in whole.lengths.tolist() if length <= limit]
    kept = [place for place, length in enumerate(whole.lengths.tolist()) if length <= limit]
    assert rows.row_ids(range(len(rows))) == whole.row_ids(kept)
    assert f"{rows.too_long} rows are longer than {limit} tokens" in caplog.text
    odd = write_table(tmp_path / "odd.parquet", [{"turns": TURNS}, {"width": 3000, "height": 4, "turns": TURNS}])
    shapes = TrainingRows(odd, "train", processor, recipe(), tmp_path)
    assert (len(shapes), shapes.refused, shapes.too_long) == (1, 1, 0)


def test_lengths_are_counted_once(table: Path, processor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = TrainingRows(table, "train", processor, recipe(), tmp_path / "scratch")
    counted: list[int] = []
    real = RowEncoder.text_tokens

    def counting(self: RowEncoder, texts: Sequence[str]) -> list[list[int]]:
        counted.append(len(texts))
        return real(self, texts)

    monkeypatch.setattr(RowEncoder, "text_tokens", counting)
    # Neither a limit nor what has no part in a row's length asks for a new count.
    for same in (recipe(), recipe(max_length=100), recipe(learning_rate=1.0, batch_size=8)):
        again = TrainingRows(table, "train", processor, same, tmp_path / "scratch")
    assert again.lengths.tolist() == first.lengths.tolist()
    assert not counted
    for other in (recipe(max_pixels=28 * 28), recipe(system_prompt="x")):
        counted.clear()
        assert TrainingRows(table, "train", processor, other, tmp_path / "scratch").lengths[0] != first.lengths[0]
        assert counted
    counted.clear()
    pl.read_parquet(table).with_columns(width=pl.lit(28, pl.UInt32), height=pl.lit(28, pl.UInt32)).write_parquet(table)
    assert TrainingRows(table, "train", processor, recipe(), tmp_path / "scratch").lengths[0] != first.lengths[0]
    assert counted
    assert not [path for path in (tmp_path / "scratch").iterdir() if path.name.startswith(".")]


def test_an_unfinished_copy_is_made_anew(
    table: Path, processor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    with monkeypatch.context() as broken:
        broken.setattr(RowEncoder, "length", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            TrainingRows(table, "train", processor, recipe(), scratch)
    assert not list(scratch.iterdir())
    whole = TrainingRows(table, "train", processor, recipe(), scratch)
    next(scratch.glob("*.npy")).unlink()
    assert TrainingRows(table, "train", processor, recipe(), scratch).lengths.tolist() == whole.lengths.tolist()


def test_rows_travel_to_loader_processes(table: Path, processor: Any, tmp_path: Path) -> None:
    from torch.utils.data import DataLoader

    rows = TrainingRows(table, "train", processor, recipe(), tmp_path)
    opened = rows[3]
    copied = pickle.loads(pickle.dumps(rows))
    assert copied[3] == opened
    assert len(pickle.dumps(rows)) < 5_000
    collator = AnswerOnlyCollator(processor, recipe())
    here = [collator([rows[index], rows[index + 1]]) for index in range(0, 8, 2)]
    fork = multiprocessing.get_context("fork") if sys.platform == "linux" else None
    loader: DataLoader[Any] = DataLoader(
        rows,  # type: ignore[arg-type]
        batch_size=2,
        sampler=range(8),
        collate_fn=collator,
        num_workers=2,
        multiprocessing_context=fork,
    )
    for there, batch in zip(loader, here, strict=True):
        assert all(torch.equal(there[name], batch[name]) for name in batch)


def test_caption_rows_are_read_alike(processor: Any, tmp_path: Path) -> None:
    path = tmp_path / "caption_training_samples.parquet"
    write_table(path, [{"turns": [("Describe this image in detail.", "A mug.")]}], "caption_training_samples")
    assert TrainingRows(path, "train", processor, recipe(), tmp_path)[0].turns[0][1] == "A mug."


def test_a_table_that_cannot_be_trained_on_is_refused(table: Path, processor: Any, tmp_path: Path) -> None:
    def rows_of(path: Path) -> TrainingRows:
        return TrainingRows(path, "train", processor, recipe(), tmp_path / "scratch")

    with pytest.raises(TrainingError, match=r"no_rows.*No such file.*materialize no_rows first"):
        rows_of(tmp_path / "no_rows.parquet")
    (tmp_path / "text.parquet").write_text("question,answer")
    with pytest.raises(TrainingError, match=r"text\.parquet: not readable as Parquet"):
        rows_of(tmp_path / "text.parquet")
    pl.read_parquet(table).drop("turns", "width").write_parquet(tmp_path / "narrow.parquet")
    with pytest.raises(TrainingError, match=r"narrow\.parquet: no column turns, width"):
        rows_of(tmp_path / "narrow.parquet")
    with pytest.raises(TrainingError, match="row 'row-1' has no turns"):
        rows_of(write_table(tmp_path / "silent.parquet", [{"turns": TURNS}, {"turns": []}]))
