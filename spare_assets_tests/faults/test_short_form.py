"""The short form of the fault matrix: one case of every row, each in a process of its own."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from spare_assets_tests.faults.cases import Case, Outcome, all_cases
from spare_assets_tests.faults.matrix import Result, matrix_table, read_results, run_case

SHORT = [case for case in all_cases() if case.short]


@pytest.mark.parametrize("case", SHORT, ids=[case.key for case in SHORT])
def test_the_promise_holds(case: Case) -> None:
    result = run_case(case)
    assert result.held, result.note


def test_every_fault_has_a_case_in_the_short_form() -> None:
    assert {case.fault for case in all_cases()} == {case.fault for case in SHORT}


def test_a_line_cut_in_half_is_a_case_not_run(tmp_path: Path) -> None:
    whole = Result("a / b / c", "a", "b", 1, 0, True, 1.0, "")
    results = tmp_path / "results.jsonl"
    results.write_text(json.dumps(asdict(whole)) + "\n" + json.dumps(asdict(whole)).replace("a /", "x /")[:40])
    assert read_results(results) == [whole]


def test_one_failure_marks_the_whole_row() -> None:
    results = [Result(str(n), "kill -9", "captions", 1, 0, n > 0, 1.0, "") for n in range(3)]
    assert "| kill -9 | captions | 3 | 0 | **not held** in 1 |" in matrix_table(results, {"kill -9": 0})


def test_a_case_that_crashes_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(folder: Path) -> Outcome:
        return Outcome()

    assert not run_case(Case("no such fault", "nowhere", "unlisted", check)).held
