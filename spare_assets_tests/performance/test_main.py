"""One command runs all benchmarks, and puts what they print on the page."""

from __future__ import annotations

from pathlib import Path

import pytest

from spare_assets_tests.performance import __main__ as command
from spare_assets_tests.performance.measuring import Line, report


def test_every_benchmark_is_among_them() -> None:
    modules = Path(command.__file__).parent.glob("*.py")
    reporting = {path.stem for path in modules if "return report(" in path.read_text() and path.stem != "measuring"}
    assert reporting - {Path(__file__).stem} == set(command.BENCHMARKS)


def test_figures_printed_become_rows_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [Line("counting", "wc -l", 2.345, 2), Line("pairs", "-", 1_622_513, 1_000_000, "least", "pairs")]
    assert report(lines) == 1
    printed = capsys.readouterr().out
    (tmp_path / "benchmarks").mkdir()
    program = f"print('before | not a figure')\nprint({printed!r}, end='')\n"
    (tmp_path / "benchmarks" / "counting.py").write_text(program)
    monkeypatch.setattr(command, "PACKAGE", "benchmarks")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(command, "BENCHMARKS", ("counting",))
    monkeypatch.setattr(command, "RESULTS", tmp_path / "results")
    page = tmp_path / "page.md"
    page.write_text(f"Before.\n{command.BEGIN}an old table\n{command.END}After.\n")
    monkeypatch.setattr(command, "PAGE", page)
    monkeypatch.setattr("sys.argv", ["performance", "--page"])
    assert command.main() == 1
    text = page.read_text()
    assert "| counting | wc -l | 2.35 x | <= 2 x  MISSED |" in text
    assert "| pairs | - | 1,622,513 pairs | >= 1,000,000 pairs |" in text
    assert text.startswith("Before.\n") and text.endswith("After.\n") and "an old table" not in text
    assert "missed: counting" in capsys.readouterr().out
