"""What all commands of `spare` have in common: the home they open, grouped help with examples, exit codes.

What a command does is not known here.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from spare_assets.settings import Settings, SettingsError, available_profiles, load_settings, open_home, profile_in_use

FAILED, USAGE, INTERRUPTED = 1, 2, 130
EXIT_CODES = (
    ("0", "all went well"),
    (str(FAILED), "something failed: an asset, a check, a file that is missing; what was done is kept"),
    (str(USAGE), "wrong usage: an option, a profile, a setting, or the home of another profile; nothing was done"),
    (str(INTERRUPTED), "interrupted by Ctrl-C or a signal; what was done is kept, the same command goes on from there"),
)
_DISK = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


class SectionedOption(click.Option):
    """An option under a heading of its own in the help."""

    def __init__(self, *args: Any, section: str = "Options", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.section = section


class SpareCommand(click.Command):
    """A command whose help ends in examples, and whose errors end in one message and an exit code."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options by section, in the order in which the sections come up."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if record := parameter.get_help_record(ctx):
                sections.setdefault(getattr(parameter, "section", "Other options"), []).append(record)
        for section, records in sections.items():
            with formatter.section(section):
                formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples, unwrapped, so that they can be copied."""
        write_examples(formatter, self.examples)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. What a person can mend is said in one message, without a traceback."""
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            self.fail(ctx, str(error), USAGE)
        except KeyboardInterrupt:
            self.fail(ctx, "interrupted", INTERRUPTED)
        except OSError as error:
            if error.errno not in _DISK:
                raise
            self.fail(ctx, f"{error.filename or 'disk'}: {error.strerror}", FAILED)
        except Exception as error:
            # Not at the top: tables bring Polars along, and help and completion must answer at once.
            from spare_assets.storage.tables import TableError

            if not isinstance(error, TableError):
                raise
            self.fail(ctx, str(error), FAILED)

    def fail(self, ctx: click.Context, message: str, code: int) -> None:
        """Say what is wrong, on stderr, and end."""
        click.echo(f"spare: {message}", err=True)
        ctx.exit(code)


class HomeCommand(SpareCommand):
    """A command with --profile and --home, handing the opened home to its function."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += [profile_option(), home_option()]

    def invoke(self, ctx: click.Context) -> Any:
        """Open the home, then run the command."""
        try:
            ctx.obj = open_home(ctx.params.pop("profile"), ctx.params.pop("home"))
        except SettingsError as error:
            self.fail(ctx, str(error), USAGE)
        return super().invoke(ctx)


class SpareGroup(click.Group):
    """The commands in the order of their use; help with examples, variables and exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """As declared."""
        return list(self.commands)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What holds for all commands."""
        with formatter.section("Environment"):
            formatter.write_dl(
                [
                    ("SPARE_PROFILE", "the profile, where --profile is not given"),
                    ("SPARE_HOME", "the folder all runs write to, where --home is not given"),
                    ("SPARE_DATA", "the folder that relative corpus paths start from"),
                    ("NO_COLOR", "no colours on a terminal, when set; elsewhere there are none"),
                ]
            )
        with formatter.section("Exit codes"):
            formatter.write_dl(EXIT_CODES)
        write_examples(
            formatter,
            (
                "spare materialize                  # the sandbox: the whole graph, no GPU, no network",
                "spare ui                           # the same graph in the browser",
                "spare doctor --profile paper       # what the paper's run needs on this machine",
                'eval "$(spare completion bash)"    # complete commands, profiles, sources and assets',
            ),
        )


def write_examples(formatter: click.HelpFormatter, examples: Sequence[str]) -> None:
    """Lines as they are, under a heading."""
    if examples:
        with formatter.section("Examples"):
            for example in examples:
                formatter.write(f"{'':>{formatter.current_indent}}{example}\n")


def profile_option() -> click.Option:
    """--profile, completed with the shipped ones and then with files."""
    return SectionedOption(
        ["--profile"],
        section="Profile and home",
        metavar="NAME|FILE",
        shell_complete=_profiles,
        help=f"Profile: {', '.join(available_profiles())}, or a YAML file. Default: SPARE_PROFILE, or sandbox.",
    )


def home_option() -> click.Option:
    """--home."""
    return SectionedOption(
        ["--home"],
        section="Profile and home",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="FOLDER",
        help="Folder all runs write to. Default: SPARE_HOME, or .spare/<profile>.",
    )


def complete_sources(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Sources of the profile on the line, or of the environment's."""
    settings = _settings(ctx)
    return _starting(incomplete, settings.sources if settings else ())


def complete_models(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Model keys of the profile on the line, or of the environment's."""
    settings = _settings(ctx)
    return _starting(incomplete, settings.models if settings else ())


def complete_assets(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Assets by name, each of which holds a table of that name; what stands before the name is kept."""
    from spare_assets.storage.schemas import TABLES

    name = incomplete.lstrip("+*")
    before = incomplete.removesuffix(name)
    return [CompletionItem(before + item.value) for item in _starting(name, TABLES)]


def _profiles(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    # A profile of one's own is a file: the shell completes those where no shipped name fits.
    return [CompletionItem(incomplete, type="file"), *_starting(incomplete, available_profiles())]


def _starting(incomplete: str, names: Any) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _settings(ctx: click.Context) -> Settings | None:
    try:
        return load_settings(profile_in_use(ctx.params.get("profile")))
    except SettingsError:
        return None
