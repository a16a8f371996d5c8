"""The `spare` command: materialize, status, doctor, benchmarks, ui."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from spare_assets.settings import Home, SettingsError, available_profiles, open_home
from spare_assets.storage.tables import TableError

FAILED, USAGE, INTERRUPTED = 1, 2, 130


class ProfileCommand(click.Command):
    """A command with --profile and --home, handing the opened home to its function."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += [
            click.Option(
                ["--profile"],
                help=f"Profile: {', '.join(available_profiles())}, or a YAML file. Default: SPARE_PROFILE, or sandbox.",
            ),
            click.Option(
                ["--home"],
                type=click.Path(file_okay=False, path_type=Path),
                help="Folder all runs write to. Default: SPARE_HOME, or .spare/<profile>.",
            ),
        ]

    def invoke(self, ctx: click.Context) -> Any:
        """Open the home, then run the command. What a person can mend ends in one message and an exit code."""
        try:
            ctx.obj = open_home(ctx.params.pop("profile"), ctx.params.pop("home"))
            return super().invoke(ctx)
        except SettingsError as error:
            click.echo(f"spare: {error}", err=True)
            ctx.exit(USAGE)
        except TableError as error:
            click.echo(f"spare: {error}", err=True)
            ctx.exit(FAILED)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="spare-assets", prog_name="spare")
def main() -> None:
    """Captions in, a verified spatial question-answer dataset out: one Dagster asset graph."""


@main.command(cls=ProfileCommand)
@click.option(
    "--select", "selection", default="*", help="Assets, in Dagster's selection syntax, e.g. 'aligned_pairs+'."
)
@click.option("--source", "sources", multiple=True, help="Only this source; may be repeated. Default: all.")
@click.option("--model", "models", multiple=True, help="Only this model key; may be repeated. Default: all.")
@click.option("--limit", type=click.IntRange(min=1), help="A trial of this many captions per source.")
@click.option("--replace-full", is_flag=True, help="Let a trial replace tables of all captions.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="ASSET.SETTING=VALUE",
    help="Override a Launchpad setting for this run, e.g. aligned_pairs.minimum_alignment=0.3.",
)
@click.option("--verbose", is_flag=True, help="Show Dagster's own log.")
@click.pass_obj
def materialize(
    home: Home,
    selection: str,
    sources: tuple[str, ...],
    models: tuple[str, ...],
    limit: int | None,
    replace_full: bool,
    overrides: tuple[str, ...],
    verbose: bool,
) -> None:
    """Run the graph in this process: each source, what spans them, each model. Goes on from where it stopped."""
    from spare_assets.cli.materialize import Materialization

    run = Materialization(
        home,
        selection,
        sources,
        models=models,
        overrides=overrides,
        limit=limit,
        replace_full=replace_full,
        verbose=verbose,
    )
    try:
        sys.exit(0 if run.execute() else FAILED)
    except KeyboardInterrupt:
        click.echo("spare: interrupted; what was done is kept, the same command goes on from there", err=True)
        sys.exit(INTERRUPTED)


@main.command(cls=ProfileCommand)
@click.option("--json", "as_json", is_flag=True, help="Print the funnel as JSON.")
@click.pass_obj
def status(home: Home, as_json: bool) -> None:
    """Print the funnel of each source, counted from the stored tables."""
    from spare_assets.cli.status import print_status

    print_status(home, as_json=as_json)


@main.command(cls=ProfileCommand)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.pass_obj
def doctor(home: Home, as_json: bool) -> None:
    """Check what the profile needs - files, images, models, disk, GPU, keys - and say how to get what is missing."""
    from spare_assets.cli.doctor import print_findings

    sys.exit(0 if print_findings(home, as_json=as_json) else FAILED)


@main.command(cls=ProfileCommand)
@click.option("--verify", is_flag=True, help="Compare each file with the md5 published for it; gigabytes take minutes.")
@click.option("--json", "as_json", is_flag=True, help="Print the listing as JSON.")
@click.pass_obj
def benchmarks(home: Home, verify: bool, as_json: bool) -> None:
    """List the ten benchmarks: which files are at hand, and where to get the others."""
    from spare_assets.cli.benchmarks import print_benchmarks

    sys.exit(0 if print_benchmarks(home, verify=verify, as_json=as_json) else FAILED)


@main.command(cls=ProfileCommand)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=3000, show_default=True, help="Port to listen on.")
@click.pass_obj
def ui(home: Home, host: str, port: int) -> None:
    """Start the Dagster UI and daemon on this home."""
    from spare_assets.orchestration.instance import open_instance
    from spare_assets.package_files import package_file

    open_instance(home).dispose()
    workspace = str(package_file("workspace.yaml"))
    # Dagster looks for a dagster.yaml in the working directory and warns of the one in a checkout.
    os.chdir(home.dagster)
    command = [sys.executable, "-W", "ignore", "-m", "dagster", "dev", "-w", workspace, "-h", host, "-p", str(port)]
    os.execv(sys.executable, command)


if __name__ == "__main__":
    main()
