"""Lets the torchvision wheel of the package index import beside a CPU-only torch.

The compiled operators of that wheel are linked against CUDA and cannot be loaded there; `import torchvision`
then fails because two of them have no declaration, although nothing here calls them: transforms and Pillow
decoding are plain Python. Declaring the two is enough. Where the operators load, nothing is changed. Nothing
else belongs here.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

_libraries: list[Any] = []


def install() -> None:
    """Have the missing operators declared when torchvision is first imported; call it before that.

    Imports nothing itself. Safe to call again.
    """
    if "torchvision" not in sys.modules and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(importlib.abc.MetaPathFinder):
    """Sees the first import of torchvision come by, prepares it, and leaves finding it to the others."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            _declare_missing_operators()
        return None


def _declare_missing_operators() -> None:
    if _libraries:
        # Somebody asked where torchvision is before anybody imported it: operators are declared once.
        return
    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return
    torch: Any = importlib.import_module("torch")
    try:
        torch.ops.load_library(str(Path(spec.submodule_search_locations[0]) / "_C.so"))
    except OSError:
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        # The declarations last as long as this object.
        _libraries.append(library)
