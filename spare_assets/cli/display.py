"""What a person sees while the graph runs: bars on a terminal, steady plain lines elsewhere.

What runs, and what comes of it, is not decided here.
"""

from __future__ import annotations

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from spare_assets.progress import Beat

_BAR_SECONDS = 0.5
_LINE_SECONDS = 10.0


class Display:
    """Shows runs, their stages and their tables. A context manager: the bars go when it ends, the lines stay.

    On a terminal two bars stand below the lines: all stages of all runs, and the one stage that works.
    """

    def __init__(self, console: Console, stages: int) -> None:
        self.console = console
        self._bars: _Bars | None = _Bars(console, stages) if console.is_interactive else None

    @property
    def interval(self) -> float:
        """Seconds between beats: a bar moves steadily, a log stays short."""
        return _BAR_SECONDS if self._bars else _LINE_SECONDS

    def __enter__(self) -> Display:
        if self._bars:
            self._bars.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars:
            self._bars.live.stop()

    def run(self, title: str, stages: int) -> None:
        """A run of so many stages begins."""
        self.console.print(title, style="bold", highlight=False, markup=False)
        if self._bars:
            self._bars.run(title, stages)

    def stage_started(self, name: str) -> None:
        """A stage of the run begins."""
        if self._bars:
            self._bars.started(name)

    def stage_failed(self, name: str) -> None:
        """A stage failed; why is said at the end."""
        self.line(f"  {name} failed", style="red")

    def run_ended(self) -> None:
        """The run is over, with all its stages or before."""
        if self._bars:
            self._bars.run_ended()

    def beat(self, asset: str, source: str, beat: Beat) -> None:
        """Work of a stage went on."""
        if self._bars:
            self._bars.beat(beat)
        else:
            self.line(f"  {beat}")

    def published(self, table: str, source: str, rows: int) -> None:
        """A table is in place."""
        self.line(f"  {table:<24} {rows:>12,} rows")

    def line(self, text: str, style: str | None = None) -> None:
        """A line that stays."""
        self.console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)


class _Bars:
    """The two bars: finished stages of all runs above, the stage at work below."""

    def __init__(self, console: Console, stages: int) -> None:
        self._all = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeElapsedColumn(),
            console=console,
            expand=True,
        )
        self._stage = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[counts]}"),
            TextColumn("{task.fields[pace]}"),
            console=console,
            expand=True,
        )
        self._overall = self._all.add_task("", total=stages)
        self._at_work: TaskID | None = None
        self._title, self._stages, self._begun, self._before = "", 0, 0, 0
        # Twice a second is smooth enough, and leaves the processor to the work.
        self.live = Live(Group(self._all, self._stage), console=console, refresh_per_second=2, transient=True)

    def run(self, title: str, stages: int) -> None:
        self._title, self._stages, self._begun = title, stages, 0
        self._all.update(self._overall, description=escape(title))

    def started(self, name: str) -> None:
        self._rest()
        self._begun += 1
        self._all.update(
            self._overall,
            completed=self._before + self._begun - 1,
            description=escape(f"{self._title} / asset {self._begun} of {self._stages}"),
        )
        self._at_work = self._stage.add_task(escape(name), total=None, counts="", pace="")

    def beat(self, beat: Beat) -> None:
        if self._at_work is not None:
            self._stage.update(
                self._at_work,
                description=escape(beat.label),
                total=beat.total,
                completed=beat.done,
                counts=beat.counts,
                pace=escape(beat.pace),
            )

    def run_ended(self) -> None:
        self._rest()
        self._before += self._stages
        self._all.update(self._overall, completed=self._before)

    def _rest(self) -> None:
        if self._at_work is not None:
            self._stage.remove_task(self._at_work)
            self._at_work = None
