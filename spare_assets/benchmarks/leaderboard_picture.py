"""The leaderboard as a picture: a panel for every column, a line for every model, each with its way from the base.

What the rows hold is decided elsewhere.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from spare_assets.benchmarks.leaderboard import COLUMNS, LeaderboardRow
from spare_assets.benchmarks.reference_figures import AVERAGE, GENERAL_COLUMNS, SPATIAL_COLUMNS
from spare_assets.pages.card import FAINT, GRID, INK, MOST_BYTES, PAPER, SERIES, STRIPE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MEASURED = ("base", "endpoint", "trained")
# Of nine columns side by side a page would show six.
_STRIPS = {
    "Spatial benchmarks": (*SPATIAL_COLUMNS, AVERAGE),
    "General benchmarks": tuple(column for column in GENERAL_COLUMNS if not column.startswith("mme_")),
    "MME": tuple(column for column in GENERAL_COLUMNS if column.startswith("mme_")),
}
_COLOURS = dict(zip(("trained on pairs", "trained on captions", "released", "endpoint"), SERIES, strict=False))
_DOTTED = (0, (1, 2))
_MOST_LINES = 40
_NAME_CHARACTERS = 28
# Inches: names at the left, the least of a panel, its numbers, a line, a title above, an axis below, the legend.
_NAMES, _PANEL, _NUMBER, _LINE, _TITLE, _AXIS, _LEGEND = 2.1, 0.95, 0.5, 0.25, 0.3, 0.32, 0.4


def leaderboard_picture(rows: Sequence[LeaderboardRow]) -> bytes:
    """PNG of what was measured here, of at most 200 kB; the paper's rows are left to the tables.

    A line is a released model, an endpoint, or a recipe: the mean over its seeds with their standard deviation, and
    each seed as a faint dot. A bar leads to it from its base; a dotted line is guessing. Of more than
    40 lines some endpoints are left out.
    """
    lines = [row for row in rows if row.kind in _MEASURED and row.mean_in is None]
    # Models of others give way first.
    places = sorted(range(len(lines)), key=lambda place: lines[place].kind == "endpoint")[:_MOST_LINES]
    drawn = [lines[place] for place in sorted(places)]
    means = {row.name for row in drawn if (row.seeds or 0) > 1}
    board = _Board(
        drawn,
        [row for row in rows if row.mean_in in means],
        {row.name: row for row in lines if row.kind == "base"},
        next((row for row in rows if row.kind == "random"), None),
        len(lines) - len(drawn),
    )
    for dots_per_inch in (110, 80, 60, 40):
        picture = board.png(dots_per_inch)
        if len(picture) <= MOST_BYTES:
            break
    return picture


class _Board:
    def __init__(
        self,
        lines: Sequence[LeaderboardRow],
        seeds: Sequence[LeaderboardRow],
        bases: dict[str, LeaderboardRow],
        guessing: LeaderboardRow | None,
        left_out: int,
    ) -> None:
        self.lines, self.seeds, self.bases, self.guessing, self.left_out = lines, seeds, bases, guessing, left_out
        strips = {title: [c for c in columns if self._values(c)] for title, columns in _STRIPS.items()}
        self.strips = {title: columns for title, columns in strips.items() if columns}

    def png(self, dots_per_inch: int) -> bytes:
        # The Agg canvas alone: pyplot would look for a display and keep every figure.
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from PIL import Image

        inner = _LINE * max(1, len(self.lines))
        strip = _TITLE + inner + _AXIS
        across = (_PANEL + _NUMBER) * max([4, *map(len, self.strips.values())])
        width = _NAMES + across
        height = strip * max(1, len(self.strips)) + _LEGEND
        figure = Figure(figsize=(width, height), dpi=dots_per_inch, facecolor=PAPER)
        FigureCanvasAgg(figure)
        for above, (title, columns) in enumerate(self.strips.items()):
            bottom = height - strip * above - _TITLE - inner
            figure.text(
                0.1 / width, (bottom + inner + 0.06) / height, title, fontsize=8.5, color=INK, fontweight="bold"
            )
            panel = across / len(columns) - _NUMBER
            for place, column in enumerate(columns):
                left = _NAMES + place * (panel + _NUMBER)
                axes = figure.add_axes((left / width, bottom / height, panel / width, inner / height))
                self._panel(axes, column, panel, named=place == 0)
        self._legend(figure)
        stored = io.BytesIO()
        figure.savefig(stored, format="png")
        # Few colours are drawn: a palette holds them in a third of the bytes, the rarest too.
        drawn = Image.open(stored).convert("RGB")
        palette = drawn.quantize(96, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        stored = io.BytesIO()
        palette.save(stored, format="PNG", optimize=True)
        return stored.getvalue()

    def _panel(self, axes: Axes, column: str, width: float, named: bool) -> None:
        average = column == AVERAGE
        axes.set_title(
            COLUMNS[column], fontsize=8.5, loc="left", color=INK, fontweight="bold" if average else "normal", pad=4
        )
        axes.set_ylim(len(self.lines) - 0.5, -0.5)
        axes.set_xlim(*self._limits(column))
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(GRID)
        axes.grid(axis="x", color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.locator_params(axis="x", nbins=3)
        axes.tick_params(axis="x", labelsize=6.5, colors=FAINT, length=0, pad=2)
        axes.tick_params(axis="y", length=0, pad=6)
        axes.set_yticks(range(len(self.lines)), [_label(row) if named else "" for row in self.lines], fontsize=8)
        for text, row in zip(axes.get_yticklabels(), self.lines, strict=True):
            text.set_color(_COLOURS[_group(row)])
        if self.guessing and (chance := _value(self.guessing, column)) is not None:
            axes.axvline(chance, color=INK, linewidth=0.8, linestyle=_DOTTED)
        for place, row in enumerate(self.lines):
            if place % 2 == 0:
                start = -_NAMES / width if named else 0
                axes.axhspan(
                    place - 0.5, place + 0.5, start, 1 + _NUMBER / width, color=STRIPE, zorder=0, clip_on=False, lw=0
                )
            self._line(axes, column, place, row, 1 + 0.82 * _NUMBER / width)

    def _line(self, axes: Axes, column: str, place: int, row: LeaderboardRow, right: float) -> None:
        cell = row.cells.get(column)
        if cell is None or cell.value is None:
            _number(axes, (right, place), "–", column)
            return
        colour = _COLOURS[_group(row)]
        base = _value(self.bases[row.base], column) if row.base in self.bases else None
        if base is not None:
            axes.plot([base, cell.value], [place, place], color=colour, linewidth=3, alpha=0.3, solid_capstyle="butt")
            axes.plot([base], [place], "|", color=_COLOURS["released"], markersize=7)
        seeds = [_value(seed, column) for seed in self.seeds if seed.mean_in == row.name]
        dots = [value for value in seeds if value is not None] if (row.seeds or 0) > 1 else []
        axes.plot(dots, [place] * len(dots), "o", color=colour, markersize=3.5, alpha=0.35, markeredgewidth=0)
        axes.errorbar([cell.value], [place], xerr=cell.deviation, fmt="o", color=colour, markersize=5, elinewidth=1)
        star = cell.p_value is not None and cell.p_value < 0.05
        _number(axes, (right, place), f"{cell.value:.1f}", column, star)

    def _legend(self, figure: Figure) -> None:
        from matplotlib.lines import Line2D

        present = dict.fromkeys(_group(row) for row in self.lines)
        handles = [Line2D([], [], color=_COLOURS[group], marker="o", linestyle="", label=group) for group in present]
        if any(row.base in self.bases for row in self.lines):
            grey = _COLOURS["released"]
            handles.append(Line2D([], [], color=grey, marker="|", linewidth=3, alpha=0.5, label="way from the base"))
        if self.seeds:
            handles.append(
                Line2D([], [], color=INK, marker="o", markersize=3.5, alpha=0.4, linestyle="", label="one seed")
            )
        if self.guessing:
            handles.append(Line2D([], [], color=INK, linewidth=0.8, linestyle=_DOTTED, label="guessing"))
        if any(cell.p_value is not None for row in self.lines for cell in row.cells.values()):
            handles.append(Line2D([], [], linestyle="", label="* p < 0.05 against the base"))
        if self.left_out:
            handles.append(Line2D([], [], linestyle="", label=f"{self.left_out} more models are in the table"))
        if not self.strips:
            handles = [Line2D([], [], linestyle="", label="No model is scored yet.")]
        figure.legend(
            handles=handles, loc="lower left", ncols=len(handles), frameon=False, fontsize=7.5, handletextpad=0.7,
            columnspacing=1.4, labelcolor=INK,
        )  # fmt: skip

    def _limits(self, column: str) -> tuple[float, float]:
        values = self._values(column)
        if self.guessing and (chance := _value(self.guessing, column)) is not None:
            values.append(chance)
        low, high = min(values), max(values)
        margin = 0.1 * (high - low) or 1.0
        return low - margin, high + margin

    def _values(self, column: str) -> list[float]:
        """Everything that is drawn of a column but guessing."""
        found = []
        for row in (*self.lines, *self.seeds):
            cell = row.cells.get(column)
            if cell is not None and cell.value is not None:
                deviation = cell.deviation or 0.0
                found += [cell.value - deviation, cell.value + deviation]
        return found


def _number(axes: Axes, place: tuple[float, float], shown: str, column: str, star: bool = False) -> None:
    """A number right of its panel; `place` is in widths of the panel and in lines."""
    weight = "bold" if column == AVERAGE else "normal"
    across = axes.get_yaxis_transform()
    axes.text(*place, shown, transform=across, ha="right", va="center", fontsize=7.5, color=INK, fontweight=weight)
    if star:
        axes.text(*place, "*", transform=across, va="center", fontsize=7.5, color=INK)


def _value(row: LeaderboardRow, column: str) -> float | None:
    cell = row.cells.get(column)
    return None if cell is None else cell.value


def _group(row: LeaderboardRow) -> str:
    if row.kind == "trained":
        return "trained on captions" if row.caption_trained else "trained on pairs"
    return "released" if row.kind == "base" else "endpoint"


def _label(row: LeaderboardRow) -> str:
    seeds = f" ({row.seeds} seeds)" if (row.seeds or 0) > 1 else ""
    room = _NAME_CHARACTERS - len(seeds)
    name = "".join(character if character.isprintable() else " " for character in row.name)
    # A name may hold what matplotlib takes for mathematics.
    return (name if len(name) <= room else name[: room - 1] + "…").replace("$", r"\$") + seeds
