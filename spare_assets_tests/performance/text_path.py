"""The text path at the paper's size: captions of three sources to `spare_dataset`, the rule-based analyst asked.

    python -m spare_assets_tests.performance.text_path [--captions 1580847] [--smaller 100000,400000]

Real captions, again and again with fresh ids and varied words, as many of them spatial as the paper's pre-filter
keeps, go through the graph as a user runs it on two cores: one `spare materialize` for PixMo-Cap, beside it one for
the other two sources, then one for the dataset; each a fresh process, the home a fresh one, check 4 off. Memory is
the sum of what the two take at their peaks. The exponent of growth is the slope of the logarithm of CPU time over
that of the captions.
"""

from __future__ import annotations

import argparse
import math
import shutil
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from textwrap import dedent

import pyarrow.parquet as pq

from spare_assets_tests.performance.measuring import FOLDER, Line, Usage, peak_line, report, run_module
from spare_assets_tests.performance.paper_corpora import CAPTIONS, DATA, write_corpora

MINUTES, GIBIBYTES, PAIRS, EXPONENT = 60.0, 8.0, 1_000_000, 1.05
PROFILE = """
    sources:
      docci: {format: docci, files: [docci/docci_descriptions.jsonlines]}
      localized_narratives: {format: localized_narratives, files: ["localized_narratives/*.jsonl*"]}
      pixmo_cap: {format: pixmo_cap, files: ["pixmo_cap/*.parquet"]}
    engines:
      analyst: {kind: rule_based, slips: 0.15, asides: 0.9}
    synthesis: {filter_engine: analyst, generation_engine: analyst}
    clip: {model: sandbox}
    quality: {verification_engine: analyst, alignment: "off"}
    """
BESIDE = (("pixmo_cap",), ("docci", "localized_narratives"))
"""Sources that go through together, one after the other: about half the work each."""
BEFORE = "+spare_dataset and not spare_dataset"


def measure(captions: int, folder: Path, data: Path) -> tuple[Usage, int, int]:
    """Run the path over so many captions: what it took, the captions and the pairs of the dataset."""
    work = folder / f"text_path-{captions}"
    counts = write_corpora(work / "data", captions, data)
    profile, home = work / "profile.yaml", work / "home"
    profile.write_text(dedent(PROFILE))
    shutil.rmtree(home, ignore_errors=True)
    environment = {"SPARE_DATA": str((work / "data").resolve())}

    def materialize(selected: str, sources: Iterable[str] = ()) -> Usage:
        only = [argument for source in sources for argument in ("--source", source)]
        place = ("--profile", profile, "--home", home, "--json")
        command = ("materialize", "--select", selected, *only, *place)
        return run_module("spare_assets.cli.main", *command, environment=environment)

    begun = time.perf_counter()
    with ThreadPoolExecutor(len(BESIDE)) as beside:
        parts = list(beside.map(partial(materialize, BEFORE), BESIDE))
    last = materialize("spare_dataset")
    wall = time.perf_counter() - begun
    for sources, part in zip((*BESIDE, ("spare_dataset",)), (*parts, last), strict=True):
        print(f"  {', '.join(sources)}: {part}", file=sys.stderr, flush=True)
    peak = max(sum(part.peak for part in parts), last.peak)
    pairs = sum(pq.read_metadata(path).num_rows for path in home.glob("tables/spatial_pairs/*.parquet"))
    return Usage(wall, sum(part.cpu for part in (*parts, last)), peak), sum(counts.values()), pairs


def exponent(taken: list[tuple[int, float]]) -> float:
    """Slope of a line through the logarithms of sizes and costs."""
    points = [(math.log(size), math.log(cost)) for size, cost in taken]
    middle = [sum(axis) / len(points) for axis in zip(*points, strict=True)]
    return sum((x - middle[0]) * (y - middle[1]) for x, y in points) / sum((x - middle[0]) ** 2 for x, _ in points)


def main() -> int:
    """Run every size, smallest first; print the figures; 1 where one is not reached."""
    parser = argparse.ArgumentParser(description="Captions to spare_dataset at the paper's size.")
    parser.add_argument("--captions", type=int, default=sum(CAPTIONS.values()))
    parser.add_argument("--smaller", default="100000,400000", help="Sizes to take the growth from, besides.")
    parser.add_argument("--data", type=Path, default=DATA, help="Folder of the real captions.")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--keep", action="store_true", help="Keep corpora and homes.")
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.smaller.split(",") if size] + [arguments.captions]
    taken = []
    for size in sizes:
        usage, captions, pairs = measure(size, arguments.folder, arguments.data)
        print(f"{captions:,} captions, {pairs:,} pairs: {usage}", flush=True)
        taken.append((captions, usage.cpu))
        if not arguments.keep:
            shutil.rmtree(arguments.folder / f"text_path-{size}")
    work = f"{captions:,} captions to spare_dataset"
    share = captions / sum(CAPTIONS.values())
    lines = [
        Line(work, "-", usage.wall / 60, MINUTES * share, unit="min"),
        peak_line(work, usage, GIBIBYTES),
        Line(f"{work}: pairs", "-", pairs, PAIRS * share, "least", unit="pairs"),
    ]
    if len(taken) > 1:
        lines.append(Line(f"{work}: growth of CPU time", "linear", exponent(taken), EXPONENT, unit="exponent"))
    return report(lines)


if __name__ == "__main__":
    sys.exit(main())
