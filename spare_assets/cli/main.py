"""The `spare` command: its subcommands, their options and their help. What they do stands beside."""

from __future__ import annotations

import os
import signal
import sys
from functools import partial

import click

from spare_assets.cli.commands import (
    FAILED,
    INTERRUPTED,
    HomeCommand,
    SectionedOption,
    SpareCommand,
    SpareGroup,
    complete_assets,
    complete_models,
    complete_sources,
    profile_option,
)
from spare_assets.settings import Home

_option = partial(click.option, cls=SectionedOption)
_json_option = partial(_option, "--json", "as_json", is_flag=True, section="Output")


@click.group(cls=SpareGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="spare-assets", prog_name="spare")
def main() -> None:
    """Captions in, a verified spatial question-answer dataset out: one Dagster asset graph."""


@main.command(
    cls=HomeCommand,
    examples=(
        "spare materialize                                          # everything; goes on from where it stopped",
        "spare materialize --select spare_dataset+ --limit 100 --home .spare/trial",
        "spare materialize --select aligned_pairs+ --source docci --set aligned_pairs.minimum_alignment=0.3",
        "spare materialize --select group:benchmarks --model base",
        "spare materialize --json 2> progress.log | jq .problems",
    ),
)
@_option(
    "--select",
    "selection",
    default="*",
    metavar="ASSETS",
    section="What to run",
    shell_complete=complete_assets,
    help="Assets, in Dagster's selection syntax: aligned_pairs, +aligned_pairs with all before it, aligned_pairs+ "
    "with all after it, group:quality; joined by and, or, not. Default: all.",
)
@_option(
    "--source",
    "sources",
    multiple=True,
    metavar="KEY",
    section="What to run",
    shell_complete=complete_sources,
    help="Only this source; may be repeated. Default: all.",
)
@_option(
    "--model",
    "models",
    multiple=True,
    metavar="KEY",
    section="What to run",
    shell_complete=complete_models,
    help="Only this model; may be repeated. Default: all.",
)
@_option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="CAPTIONS",
    section="How to run it",
    help="A trial of this many captions per source.",
)
@_option(
    "--replace-full", is_flag=True, section="How to run it", help="Let a trial replace tables made of all captions."
)
@_option(
    "--set",
    "overrides",
    multiple=True,
    metavar="ASSET.SETTING=VALUE",
    section="How to run it",
    help="Override a Launchpad setting for this run, e.g. aligned_pairs.minimum_alignment=0.3; may be repeated.",
)
@_option("--verbose", is_flag=True, section="Output", help="Show Dagster's own log.")
@_json_option(help="At the end, print what came of each asset as JSON; progress goes to stderr.")
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
    as_json: bool,
) -> None:
    """Run the graph, or a part of it, in this process.

    Each source first, then what spans them, then each model. What is done stays done: run again after an interruption
    or a failure, it goes on from where it stopped, and a model is not asked twice.
    """
    from rich.console import Console

    from spare_assets.cli.materialize import Materialization, print_outcome

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
        code = 0 if run.execute(Console(stderr=as_json)) else FAILED
    except KeyboardInterrupt:
        click.echo("spare: interrupted; what was done is kept, the same command goes on from there", err=True)
        code = INTERRUPTED
    if as_json:
        print_outcome(run, interrupted=code == INTERRUPTED)
    sys.exit(code)


@main.command(
    cls=HomeCommand,
    examples=(
        "spare ui                               # on http://127.0.0.1:3000",
        "spare ui --profile mine.yaml --port 3001",
    ),
)
@_option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Address to listen on.")
@_option(
    "--port",
    type=click.IntRange(1, 65535),
    default=3000,
    show_default=True,
    metavar="NUMBER",
    help="Port to listen on.",
)
@click.pass_context
def ui(ctx: click.Context, host: str, port: int) -> None:
    """Start the Dagster UI and daemon on this home, until Ctrl-C."""
    from spare_assets.cli.ports import unusable

    if (why := unusable(host, port)) is not None:
        click.echo(f"spare: {why}", err=True)
        ctx.exit(FAILED)
    from spare_assets.orchestration.instance import open_instance
    from spare_assets.package_files import package_file

    home: Home = ctx.obj
    open_instance(home).dispose()
    workspace = str(package_file("workspace.yaml"))
    shown = f"[{host}]" if ":" in host else host
    click.echo(f"Dagster UI of {home.path}, profile {home.settings.name}: http://{shown}:{port}")
    click.echo("It answers in some seconds; Ctrl-C ends it.")
    sys.stdout.flush()
    # Dagster looks for a dagster.yaml in the working directory and warns of the one in a checkout.
    os.chdir(home.dagster)
    # A shell that starts it in the background of a script has SIGINT ignored, and all of Dagster's processes with it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    command = [sys.executable, "-W", "ignore", "-m", "dagster", "dev", "-w", workspace, "-h", host, "-p", str(port)]
    os.execv(sys.executable, command)


@main.command(
    cls=HomeCommand,
    examples=(
        "spare status",
        "spare status --json | jq '.docci[-1].parts'",
    ),
)
@_json_option(help="Print the funnels as JSON.")
@click.pass_obj
def status(home: Home, as_json: bool) -> None:
    """Print what each stage kept, counted from the tables."""
    from spare_assets.cli.status import print_status

    print_status(home, as_json=as_json)


@main.command(
    cls=HomeCommand,
    examples=(
        "spare doctor --profile paper",
        """spare doctor --json | jq '.[] | select(.verdict == "missing")'""",
    ),
)
@_json_option(help="Print the findings as JSON.")
@click.pass_obj
def doctor(home: Home, as_json: bool) -> None:
    """Say what the profile lacks here, and how to get it.

    Files, images, models, disk, GPU and keys; nothing is loaded or fetched. Exit code 1 when something is missing.
    """
    from spare_assets.cli.doctor import print_findings

    sys.exit(0 if print_findings(home, as_json=as_json) else FAILED)


@main.command(
    cls=HomeCommand,
    examples=(
        "spare plan --profile paper",
        "spare plan --json | jq '.totals.gpu_seconds.value / 3600'",
    ),
)
@_json_option(help="Print all figures as JSON, each with its origin.")
@click.pass_obj
def plan(home: Home, as_json: bool) -> None:
    """Say what each stage will read, write, ask and need.

    Rows, requests, tokens, bytes, hours and memory, before anything runs: from what this home holds and its forecasts,
    else from the paper, else from assumptions, which are stated. Nothing is asked, loaded or fetched.
    """
    from spare_assets.cli.plan import print_plan

    print_plan(home, as_json=as_json)


@main.command(
    cls=HomeCommand,
    examples=(
        "spare benchmarks --profile paper",
        "spare benchmarks --profile paper --verify",
    ),
)
@_option("--verify", is_flag=True, help="Compare each file with the md5 published for it; gigabytes take minutes.")
@_json_option(help="Print the listing as JSON.")
@click.pass_obj
def benchmarks(home: Home, verify: bool, as_json: bool) -> None:
    """List the ten benchmarks: at hand, or where to get them.

    Exit code 1 when a file is not the published one.
    """
    from spare_assets.cli.benchmarks import print_benchmarks

    sys.exit(0 if print_benchmarks(home, verify=verify, as_json=as_json) else FAILED)


@main.command(
    cls=SpareCommand,
    params=[profile_option()],
    examples=(
        "spare settings --profile docci                     # a profile with all its defaults filled in",
        "spare settings --markdown | less                   # what each setting means",
        "spare settings --json-schema > profile.schema.json # for editors; see docs/settings.md",
    ),
)
@_option("--json", "form", flag_value="json", section="Output", help="Print the values as JSON.")
@_option("--markdown", "form", flag_value="markdown", section="Output", help="Print what every setting means.")
@_option(
    "--json-schema", "form", flag_value="json-schema", section="Output", help="Print the JSON schema of a profile."
)
def settings(profile: str | None, form: str | None) -> None:
    """Print a profile with its defaults, or all settings.

    A profile's values, all defaults filled in, are themselves a profile. What each setting means: docs/settings.md.
    """
    from spare_assets.cli.settings import settings_text

    click.echo(settings_text(profile, form or "yaml"), nl=False)


@main.command(
    cls=SpareCommand,
    examples=(
        """echo 'eval "$(spare completion bash)"' >> ~/.bashrc""",
        """echo 'eval "$(spare completion zsh)"' >> ~/.zshrc""",
        "spare completion fish > ~/.config/fish/completions/spare.fish",
    ),
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script by which a shell completes commands.

    Options, profiles, sources, models and assets are completed too.
    """
    from click.shell_completion import get_completion_class

    script = get_completion_class(shell)
    assert script is not None
    click.echo(script(main, {}, "spare", "_SPARE_COMPLETE").source())


if __name__ == "__main__":
    main(prog_name="spare")
