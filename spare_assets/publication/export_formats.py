"""What a sample looks like in the formats that training tools read: rows, column types, and what lies beside them.

How a sample becomes rows belongs here, for each format. Files, shards and folders do not.

A sample is a row of `spare_dataset`. Every pair of it stands in exactly one row, with its pair_id.

**Outside text.** LLaVA, LLaMA-Factory and ms-swift find the place of a picture by a mark in the text, `<image>`. Where
a caption's own words bring such a mark along, it gets a space (`< image>`), so that it is text and no picture. Nothing
else is changed, in no format. Control tokens of a model (`<|im_end|>`) are no business of a format that knows no model:
such pairs are counted, and tokenizing them as plain text is up to the trainer.

Field names and marks are those of LLaVA's `train.py`, llamafactory 0.9.5, ms-swift 4.6.0, trl 1.16.0, datasets 5.2.0
and webdataset 1.0.2.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl
import pyarrow as pa

from spare_assets.storage.schemas import PAIR

Sample = Mapping[str, Any]
Row = dict[str, Any]
Part = Literal["train", "held_out"]

DATASET_NAME = "spare"
IMAGE_MARK = "<image>"
CONTROL_TEXT = re.compile(r"<\|[^<>|\s]{1,40}\|>")
"""What chat templates of today's models take for a control token."""
_SAMPLE_FIELDS = ("caption_id", "source", "split", "image_id", "image_sha256")
_PAIR_FIELDS = {field.name: field.dtype for field in PAIR.fields}


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A sample's image as its row holds it: a path or a name, and the bytes where they go into the row."""

    path: str
    content: bytes | None = None


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """One format.

    `rows` makes a sample's rows. `marks` finds what the format would take for a picture's place; None where it has no
    such marks. `columns` are the types of Parquet's columns. `beside` makes the files that go along, by name, from the
    data file of each part. `loading` says how the folder is read, with {folder} for its path.
    """

    name: str
    container: Literal["parquet", "json", "jsonl", "tar"]
    rows: Callable[[Sample, ImageFile | None], list[Row]]
    loading: str
    marks: re.Pattern[str] | None = None
    columns: pa.Schema | None = None
    beside: Callable[[Mapping[Part, str]], dict[str, Any]] | None = None

    def holds_marks(self, text: str) -> bool:
        """Whether text would be taken for a picture's place, and is changed for that."""
        return self.marks is not None and self.marks.search(text) is not None


def _marks(*names: str) -> re.Pattern[str]:
    """The `<` of each of these marks."""
    return re.compile(f"<(?=(?:{'|'.join(names)})>)")


def plain(text: str, marks: re.Pattern[str]) -> str:
    """Text in which no mark of a format is left."""
    return marks.sub("< ", text)


LLAVA_MARKS = _marks("image")
LLAMA_FACTORY_MARKS = _marks("image", "video", "audio")
MS_SWIFT_MARKS = _marks(
    *("image", "video", "audio", "bbox", "ref-object", "cot-process", "start-image", "img", "/img"),
)


def json_text(row: Row) -> str:
    """A row as one line of JSON, for readers that take any Unicode line break for the end of a line as well."""
    text = json.dumps(row, ensure_ascii=False, separators=(",", ":"))
    return text.replace("\u0085", "\\u0085").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _pairs(sample: Sample) -> list[Row]:
    return [{name: pair.get(name) for name in _PAIR_FIELDS} for pair in sample["pairs"]]


def _pair_ids(sample: Sample) -> list[str]:
    return [pair["pair_id"] for pair in sample["pairs"]]


def _parquet_rows(sample: Sample, image: ImageFile | None) -> list[Row]:
    """One row per sample, with an image that `datasets` decodes when it is looked at."""
    return [
        {
            **{name: sample[name] for name in _SAMPLE_FIELDS},
            "image": _image_value(image),
            "caption": sample["caption"],
            "pairs": _pairs(sample),
        }
    ]


def _trl_rows(sample: Sample, image: ImageFile | None) -> list[Row]:
    """One row per pair: of prompt and completion, the loss is on the completion alone."""
    images = [] if image is None else [_image_value(image)]
    return [
        {
            "images": images,
            "prompt": [{"role": "user", "content": pair["question"]}],
            "completion": [{"role": "assistant", "content": pair["answer"]}],
            "pair_id": pair["pair_id"],
            "caption_id": sample["caption_id"],
        }
        for pair in sample["pairs"]
    ]


def _llava_rows(sample: Sample, image: ImageFile | None) -> list[Row]:
    """One row per sample. Without an image the key is absent, which is how LLaVA tells text."""
    turns = []
    for place, pair in enumerate(sample["pairs"]):
        mark = f"{IMAGE_MARK}\n" if image is not None and place == 0 else ""
        turns += [
            {"from": "human", "value": mark + plain(pair["question"], LLAVA_MARKS)},
            {"from": "gpt", "value": plain(pair["answer"], LLAVA_MARKS)},
        ]
    picture = {} if image is None else {"image": image.path}
    return [{"id": sample["caption_id"], **picture, "conversations": turns, "pair_ids": _pair_ids(sample)}]


def _messages_row(sample: Sample, image: ImageFile | None, marks: re.Pattern[str]) -> Row:
    """One row per sample; there are as many marks in it as images."""
    messages = []
    for place, pair in enumerate(sample["pairs"]):
        mark = IMAGE_MARK if image is not None and place == 0 else ""
        messages += [
            {"role": "user", "content": mark + plain(pair["question"], marks)},
            {"role": "assistant", "content": plain(pair["answer"], marks)},
        ]
    return {
        "messages": messages,
        "images": [] if image is None else [image.path],
        "caption_id": sample["caption_id"],
        "pair_ids": _pair_ids(sample),
    }


def _llama_factory_rows(sample: Sample, image: ImageFile | None) -> list[Row]:
    return [_messages_row(sample, image, LLAMA_FACTORY_MARKS)]


def _ms_swift_rows(sample: Sample, image: ImageFile | None) -> list[Row]:
    return [_messages_row(sample, image, MS_SWIFT_MARKS)]


def _webdataset_rows(sample: Sample, image: ImageFile | None) -> list[Row]:
    """One JSON member per sample, beside the picture where the shard holds it."""
    return [
        {
            **{name: sample[name] for name in _SAMPLE_FIELDS},
            "image_path": None if image is None or image.content is not None else image.path,
            "caption": sample["caption"],
            "pairs": _pairs(sample),
        }
    ]


def _image_value(image: ImageFile | None) -> Row | None:
    return None if image is None else {"bytes": image.content, "path": image.path}


def _dataset_name(part: Part) -> str:
    return DATASET_NAME if part == "train" else f"{DATASET_NAME}_{part}"


def _llama_factory_info(files: Mapping[Part, str]) -> dict[str, Any]:
    """`dataset_info.json`: a dataset for each part."""
    return {
        "dataset_info.json": {
            _dataset_name(part): {
                "file_name": file,
                "formatting": "sharegpt",
                "columns": {"messages": "messages", "images": "images"},
                "tags": {
                    "role_tag": "role",
                    "content_tag": "content",
                    "user_tag": "user",
                    "assistant_tag": "assistant",
                    "system_tag": "system",
                },
            }
            for part, file in files.items()
        }
    }


def _ms_swift_info(files: Mapping[Part, str]) -> dict[str, Any]:
    """`dataset_info.json`, which ms-swift takes as `--custom_dataset_info`; its paths start from the file's folder."""
    return {
        "dataset_info.json": [
            {"dataset_name": _dataset_name(part), "dataset_path": file} for part, file in files.items()
        ]
    }


_STRING = pa.string()
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", _STRING)])
_TURNS = pa.list_(pa.struct([("role", _STRING), ("content", _STRING)]))


def _features(columns: Sequence[tuple[str, pa.DataType]]) -> pa.Schema:
    """Columns with the types that `datasets` is to see, as it writes them itself."""
    features = {name: _feature(kind) for name, kind in columns}
    return pa.schema(columns, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def _feature(kind: pa.DataType) -> Any:
    if kind == _IMAGE:
        return {"_type": "Image"}
    if pa.types.is_list(kind):
        return [_feature(kind.value_type)]
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind}
    return {"dtype": "float32" if kind == pa.float32() else "string", "_type": "Value"}


PARQUET = ExportFormat(
    "parquet",
    "parquet",
    _parquet_rows,
    "from datasets import load_dataset\ndataset = load_dataset({folder!r})",
    columns=_features(
        [
            *((name, _STRING) for name in _SAMPLE_FIELDS),
            ("image", _IMAGE),
            ("caption", _STRING),
            (
                "pairs",
                pa.list_(
                    pa.struct(
                        [(name, pa.float32() if kind == pl.Float32 else _STRING) for name, kind in _PAIR_FIELDS.items()]
                    )
                ),
            ),
        ]
    ),
)
LLAVA = ExportFormat(
    "llava",
    "json",
    _llava_rows,
    "# LLaVA's train.py, and all that read its format\n--data_path {folder}/train.json --image_folder {folder}",
    marks=LLAVA_MARKS,
)
LLAMA_FACTORY = ExportFormat(
    "llama_factory",
    "jsonl",
    _llama_factory_rows,
    f"# in LLaMA-Factory's YAML\ndataset_dir: {{folder}}\ndataset: {DATASET_NAME}",
    marks=LLAMA_FACTORY_MARKS,
    beside=_llama_factory_info,
)
MS_SWIFT = ExportFormat(
    "ms_swift",
    "jsonl",
    _ms_swift_rows,
    "ROOT_IMAGE_DIR={folder} swift sft \\\n"
    f"  --custom_dataset_info {{folder}}/dataset_info.json --dataset {DATASET_NAME}",
    marks=MS_SWIFT_MARKS,
    beside=_ms_swift_info,
)
TRL = ExportFormat(
    "trl",
    "parquet",
    _trl_rows,
    "from datasets import load_dataset\n"
    "dataset = load_dataset({folder!r})\n"
    'SFTTrainer(model, train_dataset=dataset["train"])',
    columns=_features(
        [
            ("images", pa.list_(_IMAGE)),
            ("prompt", _TURNS),
            ("completion", _TURNS),
            ("pair_id", _STRING),
            ("caption_id", _STRING),
        ]
    ),
)
WEBDATASET = ExportFormat(
    "webdataset",
    "tar",
    _webdataset_rows,
    "import glob, webdataset\n"
    'shards = sorted(glob.glob({folder!r} + "/train-*.tar"))\n'
    'dataset = webdataset.WebDataset(shards, shardshuffle=False).decode("pil")',
)
