"""A finished source gets 1 % new captions: the run that takes them in, beside the full run over all of them.

    python -m spare_assets_tests.performance.new_captions [--captions 4000] [--milliseconds 50]

Every run is `spare materialize --select +spare_dataset` in a fresh process, from the caption file to the dataset, with
the sandbox's CLIP and a server on loopback as the engine: eight requests at once, each answered after 50 ms with what
the rule-based analyst says. (So 6 ms a request: the share of a busy GPU with a small model, and a tenth of what a
hosted one takes; the slower the server, the better for ours.) A home is finished over 99 % of the captions, with a
server that answers at once; then the file grows by the rest, spread all over it, and the run that takes them in is
measured. The full run starts from an empty home. Both homes must hold the same tables. Times are of the whole process,
from its start to its end.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from functools import lru_cache
from pathlib import Path

from spare_assets_tests.engines.chat_server import Answer, Call, ChatServer
from spare_assets_tests.performance.measuring import FOLDER, Line, Usage, report, run

SOURCE = "docci"
CONCURRENCY = 8
NEW_EACH = 100
"""Of so many captions one is new."""
COMPARED = ("captions", "qa_pairs", "question_embeddings", "alignment_verdicts", "spatial_pairs")


class Counted:
    """What the server was asked for, and how long it takes to answer."""

    def __init__(self, seconds: float) -> None:
        self.requests, self.seconds = 0, seconds
        self._said = lru_cache(maxsize=None)(_said)

    def __call__(self, call: Call) -> Answer:
        self.requests += 1
        return Answer(self._said(call.text), seconds=self.seconds)


def _said(text: str) -> str:
    from spare_assets_tests.orchestration.test_server_runs import reply_of_rules

    return reply_of_rules(Call(0, 1, {"messages": [{"role": "user", "content": text}]}, {}))


def render(folder: Path, captions: int) -> list[str]:
    """The scenes and their captions, in the folder; the lines of the caption file."""
    from spare_assets.sandbox.corpora import write_corpus

    write_corpus("docci", folder, captions, 1)
    lines = (folder / "docci_descriptions.jsonlines").read_text(encoding="utf-8").splitlines(keepends=True)
    assert len(lines) == captions
    return lines


def profile(folder: Path, data: Path, url: str) -> Path:
    """The sandbox with one source, read as if its owner had put it there, and the server as its engine."""
    from spare_assets_tests.profiles import sandbox_profile

    engine = {
        "kind": "openai",
        "model": "rules",
        "base_url": url,
        "api_key_variable": None,
        "concurrency": CONCURRENCY,
    }
    source = {"format": "docci", "files": ["docci_descriptions.jsonlines"], "image_folders": {"default": "images"}}
    return sandbox_profile(
        folder, scenes=1, name="growing", data=str(data), sources={SOURCE: source}, engines={"analyst": engine}
    )


def materialize(settings: Path, home: Path) -> Usage:
    """One run of the graph up to the dataset."""
    command = [sys.executable, "-c", "from spare_assets.cli.main import main; main()"]
    environment = {"SPARE_PROFILE": str(settings), "SPARE_HOME": str(home), "SPARE_DATA": "", "DAGSTER_HOME": ""}
    return run([*command, "materialize", "--select", "+spare_dataset"], environment)


def compare(first: Path, second: Path) -> int:
    """Rows of the dataset, which two homes must agree on as on the tables before it."""
    from spare_assets.storage.tables import TableStore, content_hash

    stores = [TableStore(home / "tables") for home in (first, second)]
    for table, source in [*((name, SOURCE) for name in COMPARED), ("spare_dataset", None)]:
        one, other = (content_hash(store.path(table, source)) for store in stores)
        assert one == other, f"{table} differs"
    return stores[0].rows("spare_dataset")


def measure(folder: Path, captions: int, seconds: float) -> list[Line]:
    """Finish a source, let it grow, and make it anew; the lines to print."""
    data = folder / "data"
    lines = render(data, captions)
    file = data / "docci_descriptions.jsonlines"
    counted = Counted(0.0)
    with ChatServer(counted) as server:
        settings = profile(folder, data, server.base_url)
        asked, taken = {}, {}
        for name, home, present, pace in (
            ("finished", "grown", [line for at, line in enumerate(lines) if at % NEW_EACH != NEW_EACH // 2], 0.0),
            ("grown", "grown", lines, seconds),
            ("full", "full", lines, seconds),
        ):
            file.write_text("".join(present), encoding="utf-8")
            counted.requests, counted.seconds = 0, pace
            taken[name] = materialize(settings, folder / home)
            server.calls.clear()
            asked[name] = counted.requests
            print(f"  {name}: {len(present):,} captions, {asked[name]:,} requests, {taken[name]}", file=sys.stderr)
    samples = compare(folder / "grown", folder / "full")
    share = f"{1 / NEW_EACH:.0%} new of {captions:,} captions ({samples:,} samples)"
    grown, full = taken["grown"], taken["full"]
    return [
        Line(f"{share}: requests", "full run", 100 * asked["grown"] / asked["full"], 3, unit="%"),
        Line(f"{share}: wall time", "full run", 100 * grown.wall / full.wall, 10, unit="%"),
        Line(f"{share}: CPU time", "full run", 100 * grown.cpu / full.cpu, unit="%"),
    ]


def main() -> int:
    """Measure and print; 1 where a figure is not reached."""
    parser = argparse.ArgumentParser(description="New captions in a finished source beside the full run.")
    parser.add_argument("--captions", type=int, default=4_000)
    parser.add_argument("--milliseconds", type=float, default=50, help="What the server takes for a request.")
    parser.add_argument("--keep", action="store_true", help="Leave both homes where they are.")
    arguments = parser.parse_args()
    folder = (FOLDER / "new_captions").resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        return report(measure(folder, arguments.captions, arguments.milliseconds / 1000))
    finally:
        if not arguments.keep:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
