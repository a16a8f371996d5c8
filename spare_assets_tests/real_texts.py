"""The real captions and statements beside the project, by corpus."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def real_texts(data: Path) -> dict[str, list[str]]:
    """Every caption and every VSR statement, in the files' order."""
    coco = _document(data / "coco_captions_val2017" / "captions_val2017.json")
    return {
        "DOCCI": _fields(data, "docci/docci_descriptions.jsonlines", "description"),
        "IIW": _fields(data, "imageinwords/iiw_400.jsonl", "IIW"),
        "Localized Narratives": _fields(data, "localized_narratives/*.jsonl", "caption"),
        "CompreCap": list(_document(data / "comprecap_longcaps" / "GPT-4o.json").values()),
        "COCO": [row["caption"] for row in coco["annotations"]],
        "VSR": _fields(data, "vsr/splits/zeroshot/*.jsonl", "caption"),
    }


def _document(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _fields(data: Path, pattern: str, name: str) -> list[str]:
    lines = (line for path in sorted(data.glob(pattern)) for line in path.read_text(encoding="utf-8").splitlines())
    return [json.loads(line)[name] for line in lines]
