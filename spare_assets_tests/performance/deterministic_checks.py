"""Checks 1 to 3 over as many pairs as the paper has, beside the same rules in row-wise frameworks.

    python -m spare_assets_tests.performance.deterministic_checks [--rows 3372000] [--rival-rows 100000] [--rounds 3]

Ours is what the product runs, from stored tables to stored tables: after each of three checks verdicts with their
reasons, kept pairs, counts, content hashes and seals. Rivals read pairs that were joined with their captions before,
and write what is left, once. Each runs in a fresh process over the same pairs, in turns, and must keep the same ones.
The cosine of check 1 is measured elsewhere: embeddings are zeros here, one number wide, and ours compares them.

Seconds count from the end of the imports. Ours per pair is of the whole set, a rival's of its own pairs. CPU time (user
and system) decides, for ours works on all cores and a rival on one; the wall clock is printed beside.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from functools import partial
from pathlib import Path

from spare_assets_tests.performance.measuring import (
    FOLDER,
    Line,
    Usage,
    in_turns,
    median,
    peak_line,
    report,
    run,
    run_module,
)
from spare_assets_tests.performance.rivals import rival

PACKAGE = "spare_assets_tests.performance"
WORK = "checks 1 to 3"
RIVALS = {
    "datasets": ("datasets==5.2.0",),
    "datatrove": ("datatrove[io]==0.10.1", "regex==2026.11.15"),
    # It imports aiohttp without asking for it, and would install Ray while it runs.
    "data_juicer": ("py-data-juicer==1.6.1", "aiohttp==3.14.5", "ray==2.60.0"),
}


def ours(folder: Path) -> Usage:
    """The product's three checks over the tables in the folder."""
    return of_work(run_module(f"{PACKAGE}.checks_ours", folder))


def theirs(name: str, python: Path, folder: Path) -> Usage:
    """A rival's run over the same pairs; of an earlier one nothing is left to it."""
    output = folder / name
    shutil.rmtree(output, ignore_errors=True)
    module = f"{PACKAGE}.checks_{name}"
    environment = {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(output),
        "LOGURU_LEVEL": "ERROR",
    }
    files = (folder / "pairs.parquet", folder / "rules.json", output)
    return of_work(run([python, "-m", module, *files], environment))


def of_work(usage: Usage) -> Usage:
    """The seconds that a process said its work took, without its imports."""
    return Usage(usage.said["wall"], usage.said["cpu"], usage.peak, usage.said)


def main() -> int:
    """Compare on few pairs, then run ours over all of them; 1 where a figure is missed."""
    parser = argparse.ArgumentParser(description="Checks 1 to 3 beside datasets, datatrove and data-juicer.")
    parser.add_argument("--rows", type=int, default=3_372_000, help="Pairs of the whole set.")
    parser.add_argument("--rival-rows", type=int, default=100_000, help="Pairs of the comparison.")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    few, tenth, whole = arguments.rival_rows, arguments.rows // 10, arguments.rows
    folders = {count: FOLDER / "checks" / str(count) for count in (few, tenth, whole)}
    for count, folder in folders.items():
        run_module(f"{PACKAGE}.checks_inputs", "write", folder, str(count))
    pythons = {name: rival(name, *requirements) for name, requirements in RIVALS.items()}
    compared = in_turns(
        arguments.rounds,
        {"ours": partial(ours, folders[few])}
        | {name: partial(theirs, name, python, folders[few]) for name, python in pythons.items()},
        warm_up=False,
    )
    kept = run_module(f"{PACKAGE}.checks_inputs", "compare", folders[few], *RIVALS).said["kept"]
    print(f"{kept:,} of {few:,} pairs are kept by all, the same ones")
    sizes = {f"ours, {count:,} pairs": partial(ours, folders[count]) for count in (tenth, whole)}
    part, all_pairs = (median(usages) for usages in in_turns(1, sizes, warm_up=False).values())
    print(f"of the whole set (wall, CPU): {all_pairs.said['laps']}")
    rivals = {name: median(compared[name]) for name in RIVALS}
    for name, usage in {"ours": median(compared["ours"]), **rivals}.items():
        print(f"{name}, {few:,} pairs: CPU {usage.cpu / few * 1e6:.1f} us a pair, wall {usage.wall / few * 1e6:.1f}")
    best = min(rivals.values(), key=lambda usage: usage.cpu)
    return report(
        [
            Line(
                f"{WORK}, CPU a pair",
                name,
                (usage.cpu / few) / (all_pairs.cpu / whole),
                20 if usage is best else None,
                "least",
            )
            for name, usage in rivals.items()
        ]
        + [
            Line(f"{WORK}, wall a pair", name, (usage.wall / few) / (all_pairs.wall / whole))
            for name, usage in rivals.items()
        ]
        + [
            Line(f"{WORK}, {whole:,} pairs: wall", "-", all_pairs.wall, 90, unit="s"),
            peak_line(f"{WORK}, {whole:,} pairs", all_pairs, 6),
            Line(f"{WORK}: memory of {whole:,} pairs", f"of {tenth:,}", all_pairs.peak / part.peak, 1.5),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
