"""The demo with its tables in a bucket and its runs in PostgreSQL, beside the demo in a plain home: the same tables?

    python -m spare_assets_tests.performance.remote_stores [--without-training] [--plain HOME] [--scenes 1000]

Starts both servers on loopback, empty, and runs the sandbox profile with `tables: s3://...` and
`instance: {postgres: env:...}` in a temporary home. Then a third home, as another machine's, reads all tables from the
bucket and compares them with those of a plain home: given by --plain (of as many scenes), or made first in the same
way. With training it takes twice what `make demo` takes; --without-training goes as far as the dataset. What this
Python lacks of the extras `s3` and `postgres`, and the server that speaks S3's protocol, are installed beside, as
rivals are. Exits 1 where anything differs.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from spare_assets_tests.performance.measuring import Line, Usage, report, run_module
from spare_assets_tests.performance.rivals import rival
from spare_assets_tests.servers import no_postgres, postgres_server, s3_server

DATASET = "group:captions or group:synthesis or group:clip or group:quality or group:dataset"
TABLES = "s3://laboratory/demo/tables"
VARIABLE = "SPARE_DEMO_POSTGRES"
_EXTRAS = (
    *("boto3==1.44.5", "botocore==1.44.5", "s3transfer==0.19.3", "jmespath==1.1.0"),
    *("dagster-postgres==0.29.27", "psycopg2-binary==2.9.13"),
)
_SERVER = ("moto[server]==5.2.5",)


def materialize(profile: Path, home: Path, selection: str, environment: Mapping[str, str]) -> Usage:
    """Run the graph in a process of its own, its progress on stderr. Raises CalledProcessError when it fails."""
    print(f"  {profile.parent.name}: {home}", file=sys.stderr, flush=True)
    arguments = ["materialize", "--profile", profile, "--home", home, "--select", selection, "--json"]
    return run_module("spare_assets.cli.main", *map(str, arguments), environment=environment)


def write_profile(folder: Path, scenes: int | None, **sections: Any) -> Path:
    """The sandbox's profile with sections added, under its own name, which its tables record."""
    from spare_assets.settings import PROFILES

    document = yaml.safe_load((PROFILES / "sandbox.yaml").read_text(encoding="utf-8")) | sections
    if scenes is not None:
        for source in document["sources"].values():
            source["scenes"]["count"] = scenes
    folder.mkdir()
    path = folder / "sandbox.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return path


@contextmanager
def stores() -> Iterator[dict[str, str]]:
    """Both servers, and the variables by which a run finds them."""
    environment = {}
    if not all(importlib.util.find_spec(name) for name in ("boto3", "dagster_postgres", "psycopg2")):
        # Without what these need in turn: that is installed here, in the versions in use.
        python = rival("stores", "--no-deps", *_EXTRAS)
        packages = str(next((python.parents[1] / "lib").glob("python*/site-packages")))
        sys.path.append(packages)
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), packages]))
    server = Path(sys.executable) if importlib.util.find_spec("moto") else rival("moto", *_SERVER)
    with s3_server("laboratory", server) as found, postgres_server() as address:
        yield environment | found | {VARIABLE: address}


def differences(plain: Path, remote: Path, seen: Path) -> Iterator[str]:
    """What another machine reads from the bucket and finds other than in the plain home."""
    from spare_assets.storage.objects import ObjectTables

    store = ObjectTables(seen, TABLES)
    here = {path.relative_to(plain / "tables") for path in (plain / "tables").glob("*/[!.]*.parquet")}
    there = {path.relative_to(remote / "tables") for path in (remote / "tables").glob("*/[!.]*.parquet")}
    for place in sorted(here | there):
        table, partition = place.parent.name, None if place.stem == "all" else place.stem.partition("=")[2]
        if place not in here:
            yield f"{place}: not in the plain home"
        elif not store.exists(table, partition):
            yield f"{place}: not in the bucket"
        elif differing := _differing_rows(table, plain, store.path(table, partition), remote):
            yield f"{place}: {len(differing)} rows differ, among them\n    {differing[0]}\n    {differing[-1]}"
    for path in sorted((plain / "exports").rglob("leaderboard*")):
        other = remote / path.relative_to(plain)
        if path.is_file() and (not other.is_file() or other.read_bytes() != path.read_bytes()):
            yield f"{path.relative_to(plain)}: differs"


def _differing_rows(table: str, plain: Path, found: Path, remote: Path) -> list[str]:
    """Rows that one has and the other has not, first the plain home's, apart from what a clock measured and from the
    homes' own names."""
    from collections import Counter

    import polars as pl

    from spare_assets.storage.tables import content_hash
    from spare_assets_tests.faults.aftermath import CLOCK_ROWS, CLOCKS

    expected = plain / "tables" / table / found.name
    if content_hash(found) == content_hash(expected):
        return []

    def lines(path: Path) -> Counter[str]:
        rows = pl.read_parquet(path).drop(CLOCKS.get(table, ()), strict=False)
        if table in CLOCK_ROWS:
            rows = rows.filter(~CLOCK_ROWS[table])
        # Either may name the plain home: pictures of the corpora lie there for both.
        told = (str(row).replace(str(plain), "<home>").replace(str(remote), "<home>") for row in rows.iter_rows())
        return Counter(told)

    one, other = lines(expected), lines(found)
    return [*(one - other).elements(), *(other - one).elements()]


def kept_in_the_home(home: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Files of a home that hold a secret of the servers, or runs that belong into the database."""
    secrets = [environment["AWS_SECRET_ACCESS_KEY"], environment[VARIABLE].split(":")[2].split("@")[0]]
    for path in home.rglob("*"):
        if path.is_file() and any(secret.encode() in path.read_bytes() for secret in secrets):
            yield f"{path}: holds a secret"
    yield from (f"{path}: a database in the home" for path in (home / "dagster").rglob("*.db"))


def main() -> int:
    """Run both ways, compare, print a line for each figure; 1 where anything differs."""
    parser = argparse.ArgumentParser(description="The demo on S3 and PostgreSQL beside the demo in a plain home.")
    parser.add_argument("--without-training", action="store_true", help="As far as the dataset.")
    parser.add_argument("--plain", type=Path, metavar="HOME", help="A plain home of the same profile that is done.")
    parser.add_argument("--scenes", type=int, help="Scenes of each source; the sandbox's own number when absent.")
    arguments = parser.parse_args()
    if (reason := no_postgres()) is not None:
        parser.error(reason)
    selection = DATASET if arguments.without_training else "*"
    lines = []
    with tempfile.TemporaryDirectory(prefix="spare-stores-") as folder, stores() as environment:
        root = Path(folder).resolve()
        plain, remote = (arguments.plain or root / "plain-home").resolve(), root / "remote-home"
        took: dict[str, Usage] = {}
        if arguments.plain is None:
            took["plain"] = materialize(write_profile(root / "plain", arguments.scenes), plain, selection, {})
        chosen = {"tables": TABLES, "instance": {"postgres": f"env:{VARIABLE}"}}
        profile = write_profile(root / "remote", arguments.scenes, **chosen)
        # The same pictures at the same place.
        shared = environment | {"SPARE_DATA": str(plain / "data")}
        took["remote"] = materialize(profile, remote, selection, shared)
        os.environ |= environment
        compared = sum(1 for _ in (remote / "tables").glob("*/[!.]*.parquet"))
        wrong = [*differences(plain, remote, root / "another-home" / "tables"), *kept_in_the_home(remote, environment)]
        for name, usage in took.items():
            print(f"  {name}: {usage}", file=sys.stderr)
        print(*wrong, sep="\n", end="\n" if wrong else "")
        work = "dataset" if arguments.without_training else "leaderboard, and all before it"
        lines.append(Line(f"{work}, on S3 and PostgreSQL: tables compared", "plain home", compared, 1, "least", ""))
        lines.append(Line(f"{work}: what differs", "plain home", len(wrong), 0, unit=""))
        if "plain" in took:
            lines.append(Line(f"{work}: CPU time", "plain home", took["remote"].cpu / took["plain"].cpu))
    return report(lines)


if __name__ == "__main__":
    sys.exit(main())
