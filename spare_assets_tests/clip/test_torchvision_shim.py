"""torchvision imports beside a CPU-only torch, however often it was looked for before."""

from __future__ import annotations

import subprocess
import sys


def test_operators_are_declared_once_where_torchvision_is_looked_for_before_it_is_imported() -> None:
    code = (
        "import importlib.util; from spare_assets.clip.torchvision_shim import install; "
        "install(); importlib.util.find_spec('torchvision'); install(); import torchvision; print('imported')"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert told.stdout.strip() == "imported", told.stderr
