"""What a person sees of a run: bars on a terminal, plain lines elsewhere, and text that is never markup."""

from __future__ import annotations

import io
import re

import dagster as dg
from rich.console import Console

from spare_assets.cli.display import Display
from spare_assets.cli.materialize import _show
from spare_assets.progress import Beat

_COLOUR = re.compile(r"\x1b\[[0-9;]*(?:3[0-7]|9[0-7]|38;[25])[0-9;]*m")
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def beat(label: str = "qa_pairs", done: int = 250) -> Beat:
    return Beat(label, done=done, total=1000, seconds=10, tokens=5000, failed=3, finished=False)


def terminal(*, no_color: bool = False) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, no_color=no_color, width=100, color_system="standard")


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def drawn(display: Display) -> str:
    """The text of the bars as they now stand."""
    assert display._bars is not None
    before = len(shown(display.console))
    display._bars.live.refresh()
    return _ESCAPE.sub("", shown(display.console)[before:])


def test_a_terminal_shows_where_the_run_is_and_how_far_the_stage() -> None:
    with Display(terminal(), stages=5) as display:
        assert display.interval < 1, "a bar that moves every ten seconds looks stuck"
        display.run("source 1 of 2: docci", stages=2)
        display.stage_started("captions")
        display.stage_started("qa_pairs")
        display.beat("qa_pairs", "docci", beat())
        frame = drawn(display)
        for part in ("source 1 of 2: docci / asset 2 of 2", "1/5", "qa_pairs", "250/1,000"):
            assert part in frame, frame
        assert "25.0/s, 500 tokens/s, 3 failed, 0:00:30 left" in frame
        assert "captions" not in frame, "only the stage at work has a bar"
        display.run_ended()
        assert "2/5" in drawn(display)
        display.run("over all", stages=3)
        display.run_ended()
        assert "5/5" in drawn(display), "a run cut short counts whole: nothing of it is left to do"


def test_tables_stay_above_the_bars() -> None:
    console = terminal()
    with Display(console, stages=1) as display:
        display.run("over all", stages=1)
        display.stage_started("captions")
        display.published("captions", "docci", 1234)
    assert re.search(r"captions +1,234 rows", shown(console))
    assert shown(console).endswith("\x1b[2K") or "\x1b[?25h" in shown(console), "the cursor is back"


def test_no_color_leaves_the_bars_and_takes_the_colours() -> None:
    for no_color in (False, True):
        console = terminal(no_color=no_color)
        with Display(console, stages=1) as display:
            display.run("over all", stages=1)
            display.stage_started("captions")
            display.stage_failed("captions")
            display.beat("captions", "", beat())
            assert "━" in drawn(display)
        assert bool(_COLOUR.search(shown(console))) is not no_color


def test_elsewhere_lines_are_plain_and_few() -> None:
    console = Console(file=io.StringIO(), width=40)
    with Display(console, stages=2) as display:
        assert display.interval >= 10
        display.run("source 1 of 1: docci", stages=2)
        display.stage_started("qa_pairs")
        display.beat("qa_pairs", "docci", beat())
        display.published("qa_pairs", "docci", 1234)
        display.stage_failed("images")
        display.run_ended()
    assert shown(console).splitlines() == [
        "source 1 of 1: docci",
        "  qa_pairs: 250/1,000, 25.0/s, 500 tokens/s, 3 failed, 0:00:30 left",
        "  qa_pairs                        1,234 rows",
        "  images failed",
    ], "one line each, however narrow; no escapes"


def test_names_are_not_markup() -> None:
    for console in (terminal(), Console(file=io.StringIO(), width=120)):
        with Display(console, stages=1) as display:
            display.run("model 1 of 1: [red]a[/red]", stages=1)
            display.stage_started("[bold]b[/bold]")
            display.beat("x", "y", beat("[blink]c[/blink]"))
            if display._bars:
                drawn(display)
        assert "[red]a[/red]" in shown(console)
        assert "[blink]c[/blink]" in shown(console)


def test_steps_that_check_tables_are_no_stages() -> None:
    with Display(terminal(), stages=1) as display:
        display.run("over all", 1)
        for step in ("captions", "captions_checks"):
            _show(display, {"captions"}, dg.DagsterEvent("STEP_START", "job", step_key=step))
        assert "asset 1 of 1" in drawn(display)
