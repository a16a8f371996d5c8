"""`spare benchmarks`: which of the ten are at hand for a profile, and where to get the others. Nothing is fetched."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from spare_assets.benchmarks.origins import ORIGINS, md5_of, missing_images_message
from spare_assets.settings import Home

State = Literal["present", "rendered", "absent", "not in the profile"]
Check = Literal["as published", "differs", "none published", "not compared"]
_STYLES = {"present": "green", "rendered": "green", "absent": "yellow", "not in the profile": "dim"}
_CHECK_STYLES = {"as published": "green", "differs": "red", "none published": "dim"}


@dataclass(frozen=True, slots=True)
class BenchmarkListing:
    """One benchmark as a profile sees it. `rendered`: its file is made by the profile when first read (sandbox).

    `bytes` is None where there is no file yet, `images_present` where no folder is named. `url`, `md5` and `homepage`
    are of the release.
    """

    key: str
    title: str
    state: State
    file: str | None
    bytes: int | None
    images: str | None
    images_present: bool | None
    url: str
    md5: str | None
    check: Check
    homepage: str


def listings(home: Home, *, verify: bool = False) -> Iterator[BenchmarkListing]:
    """All ten in the order of the paper's Table 3; with `verify` each released file is read for its md5."""
    for key, origin in ORIGINS.items():
        settings = home.settings.benchmarks.get(key)
        path = None if settings is None else home.resolve(settings.file)
        there = path is not None and path.is_file()
        rendered = settings is not None and settings.scenes is not None
        state: State = "not in the profile"
        if settings is not None:
            state = "rendered" if rendered else "present" if there else "absent"
        check: Check = "not compared" if origin.md5 or rendered else "none published"
        if verify and state == "present" and path is not None and origin.md5:
            check = "as published" if md5_of(path) == origin.md5 else "differs"
        images = None if settings is None or settings.images is None else home.resolve(settings.images)
        yield BenchmarkListing(
            key=key,
            title=origin.title,
            state=state,
            file=None if path is None else str(path),
            bytes=path.stat().st_size if there and path is not None else None,
            images=None if images is None else str(images),
            images_present=None if images is None or state == "rendered" else origin.has_pictures(images),
            url=origin.url,
            md5=origin.md5,
            check=check,
            homepage=origin.homepage,
        )


def print_benchmarks(home: Home, *, verify: bool, as_json: bool) -> bool:
    """Print the listing; False where a file is not the published one."""
    found = list(listings(home, verify=verify))
    if as_json:
        click.echo(json.dumps([asdict(listing) for listing in found]))
    else:
        console = Console()
        console.print(_table(home, found))
        for line in _fetching(home, found):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    return all(listing.check != "differs" for listing in found)


def _table(home: Home, found: list[BenchmarkListing]) -> Table:
    table = Table(title=f"benchmarks of profile {escape(home.settings.name)}, data folder {escape(str(home.data))}")
    for column in ("benchmark", "state", "file", "images", "published md5"):
        table.add_column(column, overflow="fold")
    for listing in found:
        state = f"[{_STYLES[listing.state]}]{listing.state}[/]"
        if listing.bytes is not None:
            state += f", {listing.bytes / 1e6:,.1f} MB"
        images = "" if listing.images is None else _beside(home, listing.images)
        if listing.images_present is not None:
            images += " [green]present[/]" if listing.images_present else " [yellow]absent[/]"
        checked = "" if listing.check == "not compared" else f"[{_CHECK_STYLES[listing.check]}]{listing.check}[/]"
        md5 = f"[dim]{listing.md5}[/] {checked}" if listing.md5 and listing.state != "rendered" else checked
        file = "" if listing.file is None else _beside(home, listing.file)
        table.add_row(f"{escape(listing.title)}\n[dim]{listing.key}[/]", state, file, images, md5)
    return table


def _beside(home: Home, path: str) -> str:
    """A path as the settings give it, short where it lies in the data folder."""
    absolute = Path(path)
    return escape(str(absolute.relative_to(home.data) if absolute.is_relative_to(home.data) else absolute))


def _fetching(home: Home, found: list[BenchmarkListing]) -> Iterator[str]:
    """Commands and words that bring what is absent to its place, whole, so that they can be copied."""
    for listing in found:
        pictures = ORIGINS[listing.key].pictures
        if listing.state == "absent" and listing.file is not None:
            yield f"\n{listing.title}: {listing.homepage}"
            yield f"  curl --fail --location --create-dirs -o {shlex.quote(listing.file)} {shlex.quote(listing.url)}"
        if listing.images_present is False and listing.images is not None:
            yield from ("", *missing_images_message(listing.key, Path(listing.images)).splitlines())
        if listing.state == "present" and listing.images is None and pictures:
            yield f"\n{listing.title}: set `benchmarks.{listing.key}.images`; its pictures: {pictures}"
        if listing.check == "differs":
            yield (
                f"\n{listing.title}: {listing.file} is not the file of md5 {listing.md5}: another version, a download "
                "cut short, or a file changed since. Fetch it again to compare with published scores:"
            )
            yield f"  curl --fail --location -o {shlex.quote(listing.file or '')} {shlex.quote(listing.url)}"
    if missing := [listing.key for listing in found if listing.state == "not in the profile"]:
        yield f"\nnot in profile {home.settings.name}: {', '.join(missing)}; declare them in its section `benchmarks`"
