"""Where the ten benchmarks come from: title, file, official address, published checksum, homepage.

What to tell a person whose file or pictures are absent belongs here. Nothing is fetched here, and how a file is read
is not known.

The TSVs are those of VLMEvalKit, with the addresses and md5 sums of ms-vlmeval 0.0.20 (`DATASET_URL`, `DATASET_MD5`);
VSR and What's Up come from their authors, who publish no sums.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from spare_assets.settings import BENCHMARKS

_VLMEVALKIT = "https://opencompass.openxlab.space/utils"
_VSR = "https://github.com/cambridgeltl/visual-spatial-reasoning"
_WHATS_UP = "https://github.com/amitakamath/whatsup_vlms"
_DRIVE = "https://drive.google.com/uc?export=download&id="


@dataclass(frozen=True, slots=True)
class Origin:
    """Where one benchmark is published.

    `file_name` is its name there and `url` its address. `md5` is the published sum, None where there is none.
    `pictures` says where they come from, empty where the file holds them itself, and `picture_folder` which folder
    within that of the setting `images` they are unpacked to.
    """

    title: str
    file_name: str
    url: str
    md5: str | None
    homepage: str
    pictures: str = ""
    picture_folder: str = ""

    def has_pictures(self, images: Path) -> bool:
        """Whether the folder of the setting `images` holds the one the records name."""
        return any((images / above / self.picture_folder).is_dir() for above in ("", "data"))


def _tsv(title: str, name: str, md5: str, homepage: str, folder: str = "VLMEval") -> Origin:
    return Origin(title, f"{name}.tsv", f"{_VLMEVALKIT}/{folder}/{name}.tsv", md5, homepage)


ORIGINS: Mapping[str, Origin] = {
    "vsr": Origin(
        "VSR",
        "test.jsonl",
        "https://raw.githubusercontent.com/cambridgeltl/visual-spatial-reasoning/master/data/splits/zeroshot/test.jsonl",
        None,
        _VSR,
        f"COCO's train2017 and val2017 in one folder, or the link in {_VSR}/tree/master/data",
    ),
    "whats_up_a": Origin(
        "What's Up A",
        "controlled_images_dataset.json",
        f"{_DRIVE}1ap8mmmpQjLIjPGuplkpBgc1hoEHCj4hm",
        None,
        _WHATS_UP,
        f"controlled_images.tar.gz, unpacked as controlled_images/; with a browser or gdown from "
        f"{_DRIVE}19KGYVQjrV3syb00GgcavB2nZTW5NXX0H",
        "controlled_images",
    ),
    "whats_up_b": Origin(
        "What's Up B",
        "controlled_clevr_dataset.json",
        f"{_DRIVE}1unNNosLbdy9NDjgj4l8fsQP3WiAAGA6z",
        None,
        _WHATS_UP,
        f"controlled_clevr.tar.gz, unpacked as controlled_clevr/; with a browser or gdown from "
        f"{_DRIVE}13jdBpg8t3NqW3jrL6FK8HO93vwsUjDxG",
        "controlled_clevr",
    ),
    "threedsr_bench": _tsv("3DSRBench", "3DSRBench", "610516a0b4710595545b7613c60524e8", "https://3dsrbench.github.io"),
    "realworldqa": _tsv(
        "RealWorldQA",
        "RealWorldQA",
        "4de008f55dc4fd008ca9e15321dc44b7",
        "https://huggingface.co/datasets/xai-org/RealworldQA",
    ),
    "mmmu": _tsv("MMMU", "MMMU_DEV_VAL", "585e8ad75e73f75dcad265dfd0417d64", "https://mmmu-benchmark.github.io"),
    "mmbench": _tsv(
        "MMBench",
        "MMBench_DEV_EN",
        "b6caf1133a01c6bb705cf753bb527ed8",
        "https://github.com/open-compass/MMBench",
        "benchmarks/MMBench",
    ),
    "hallusion_bench": _tsv(
        "HallusionBench",
        "HallusionBench",
        "0c23ac0dc9ef46832d7a24504f2a0c7c",
        "https://github.com/tianyi-lab/HallusionBench",
    ),
    "textvqa": _tsv("TextVQA", "TextVQA_VAL", "b233b31f551bbf4056f2f955da3a92cd", "https://textvqa.org"),
    "mme": _tsv(
        "MME",
        "MME",
        "b36b43c3f09801f5d368627fb92187c3",
        "https://github.com/BradyFU/Awesome-Multimodal-Large-Language-Models/tree/Evaluation",
    ),
}
"""By benchmark key, in the order of the paper's Table 3."""

assert tuple(ORIGINS) == BENCHMARKS


def missing_file_message(key: str, path: Path) -> str:
    """What to say where a benchmark's records are absent: which file, where from, where to put it."""
    origin = ORIGINS[key]
    lines = [
        f"{origin.title}: no file {path} (setting `benchmarks.{key}.file`).",
        f"Fetch {origin.file_name} from {origin.url} and save it there; about it: {origin.homepage}.",
    ]
    if origin.md5:
        lines.append(f"Its md5 is {origin.md5}: `spare benchmarks --verify` compares.")
    if origin.pictures:
        lines.append(f"Its pictures come apart, into the folder of `benchmarks.{key}.images`: {origin.pictures}.")
    return "\n".join(lines)


def missing_images_message(key: str, folder: Path) -> str:
    """What to say where the folder a benchmark's pictures are named in is absent."""
    origin = ORIGINS[key]
    wanted = origin.pictures or f"the pictures its records name; about it: {origin.homepage}"
    missing = folder / origin.picture_folder
    return f"{origin.title}: no folder {missing} (setting `benchmarks.{key}.images`).\nPut into {folder}: {wanted}."


def md5_of(path: Path) -> str:
    """The md5 of a file, read in pieces, for comparison with a published sum."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
