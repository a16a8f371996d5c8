"""Profiles for tests: the sandbox with few scenes, and whatever a test changes about it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import yaml

from spare_assets.settings import PROFILES


def sandbox_profile(folder: Path, *, scenes: int, name: str = "small", **sections: Any) -> Path:
    """A profile file in `folder`; `sections` replace or extend whole sections of the sandbox's.

    It declares no models: a test that trains names its own.
    """
    document = yaml.safe_load((PROFILES / "sandbox.yaml").read_text(encoding="utf-8"))
    document["models"] = {}
    for source in document["sources"].values():
        source["scenes"]["count"] = scenes
    for section, values in sections.items():
        merge = isinstance(values, dict) and section not in {"sources", "engines", "models"}
        document[section] = document.get(section, {}) | values if merge else values
    _without_undeclared_engines(document)
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


def real_captions_profile(folder: Path, data: Path, **sections: Any) -> Path:
    """A profile over the real captions and photographs beside the project, through all readers.

    The shipped CLIP knows only sandbox scenes: photographs are embedded and scored, but the cut-off lets all pass.
    """
    document = yaml.safe_load((PROFILES / "sandbox.yaml").read_text(encoding="utf-8"))
    document["data"] = str(data)
    document["sources"] = {
        "docci": {"format": "docci", "files": ["docci/docci_descriptions.jsonlines"]},
        "localized_narratives": {"format": "localized_narratives", "files": ["localized_narratives/*.jsonl"]},
        "imageinwords": {
            "format": "table",
            "files": ["imageinwords/iiw_400.jsonl"],
            "columns": {"caption": "IIW", "id": "image/key"},
        },
        "coco_photos": {
            "format": "table",
            "files": ["comprecap_longcaps/GPT-4o.json"],
            "columns": {"caption": "value", "image": "key", "id": "key"},
            "image_folders": {"default": "coco_photos"},
        },
        "photos": {
            "format": "table",
            "files": [str(photo_captions(folder, data))],
            "columns": {"caption": "text", "image": "photo"},
            "image_folders": {"default": "coco_photos"},
        },
    }
    document["engines"] = {"analyst": {"kind": "rule_based"}}
    document["models"] = {}
    document["quality"] |= {"alignment": "when_image_present", "minimum_alignment": -1.0}
    document |= sections
    _without_undeclared_engines(document)
    path = folder / "real.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


def _without_undeclared_engines(document: dict[str, Any]) -> None:
    """Leave out of the analyses what the sandbox says of its own engines, where a test declares others."""
    analyses, engines = document.get("analyses", {}), document["engines"]
    for ablation, names in analyses.get("ablations", {}).items():
        if ablation != "captions":
            analyses["ablations"][ablation] = [name for name in names if name in engines]
    prices = analyses.get("prices", {})
    prices["engines"] = {name: price for name, price in prices.get("engines", {}).items() if name in engines}


def photo_captions(folder: Path, data: Path) -> Path:
    """A CSV of the real photographs, each with its five short captions as one text."""
    path = folder / "photos.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["photo", "text"])
        for line in (data / "coco_photos" / "manifest.jsonl").read_text(encoding="utf-8").splitlines():
            photo = json.loads(line)
            writer.writerow([photo["file"], " ".join(caption.strip(" .") + "." for caption in photo["captions"])])
    return path
