"""Scores predictions with ms-vlmeval by exact matching: `python vlmevalkit_runner.py FOLDER`, in its own environment.

FOLDER holds `<dataset>.tsv` and `<dataset>.replies.json`, replies by index, of each dataset to score; its scores are
written to `<dataset>.scores.json`, one object a row. What vlmeval imports and this needs nothing of (model code,
judges, video) is stood in for by empty modules where it is not installed.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock


class AbsentModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Stands in for modules that vlmeval asks for and that are not installed; other packages see them as absent."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        top = name.partition(".")[0]
        if top == "vlmeval" or (top not in self.names and not _asked_for_by_vlmeval()):
            return None
        self.names.add(top)
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        module = MagicMock(name=spec.name)
        module.__path__, module.__name__, module.__file__ = [], spec.name, spec.name
        return module

    def exec_module(self, module: ModuleType) -> None:
        pass


def _asked_for_by_vlmeval() -> bool:
    frame = sys._getframe(1)
    while frame and ("importlib" in frame.f_code.co_filename or frame.f_globals.get("__name__") == __name__):
        frame = frame.f_back
    return bool(frame) and str(frame.f_globals.get("__name__")).startswith("vlmeval")


def main(folder: Path) -> None:
    os.environ.update(LMUData=str(folder), PRINT_VANILLA="1")
    stand_in = AbsentModules()
    sys.meta_path.append(stand_in)
    _without_its_init("vlmeval")
    _without_its_init("vlmeval.dataset")
    from vlmeval.dataset.image_mcq import ImageMCQDataset, MMMUDataset, _3DSRBench
    from vlmeval.dataset.image_vqa import ImageVQADataset
    from vlmeval.dataset.image_yorn import ImageYORNDataset
    from vlmeval.smp import dump, load

    for kind in (_3DSRBench, MMMUDataset, ImageMCQDataset, ImageYORNDataset, ImageVQADataset):
        # The files here are made up: the published sums would have them fetched anew.
        kind.DATASET_MD5 = {}
        for replies in sorted(folder.glob("*.replies.json")):
            name = replies.name.removesuffix(".replies.json")
            if name not in kind.DATASET_URL:
                continue
            dataset = kind(name)
            said = json.loads(replies.read_text())
            table = dataset.data.drop(columns="image")
            table["prediction"] = [said[str(index)] for index in table["index"]]
            dump(table, str(folder / f"{name}.xlsx"))
            scores = dataset.evaluate(str(folder / f"{name}.xlsx"), model="exact_matching", nproc=1)
            # Where there are several passes, the score of each question's first pass stands in a file beside.
            if (every := folder / f"{name}_acc_all.csv").is_file():
                scores = load(str(every))
            (folder / f"{name}.scores.json").write_text(json.dumps(scores.to_dict("records")))
    print("stood in for:", ", ".join(sorted(stand_in.names)))


def _without_its_init(name: str) -> None:
    """A package of vlmeval without its `__init__`, which imports every model and data set there is."""
    parent, _, last = name.rpartition(".")
    where = sys.modules[parent].__path__ if parent else sys.path
    package = ModuleType(name)
    package.__path__ = [str(Path(folder) / last) for folder in where]
    sys.modules[name] = package


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
