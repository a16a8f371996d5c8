"""The leaderboard as Markdown and as LaTeX: the same tables and notes, in two markups.

Names and prompts come from outside and are escaped; what the rows hold is decided elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Protocol

import polars as pl

from spare_assets.benchmarks.leaderboard import COLUMNS, Cell, LeaderboardRow
from spare_assets.benchmarks.reference_figures import AVERAGE, GENERAL_COLUMNS, PAPER, PRINTED_AVERAGE, SPATIAL_COLUMNS
from spare_assets.pages.markdown_text import markdown_line

_KINDS = {
    "base": "released",
    "endpoint": "endpoint",
    "trained": "trained",
    "random": "guessing",
    "reference": "printed",
}
_PROMPT_CHARACTERS = 80
_SUPERSCRIPTS = str.maketrans("0123456789,", "⁰¹²³⁴⁵⁶⁷⁸⁹˒")
_LATEX_SPECIAL = {
    **{character: f"\\{character}" for character in "{}$&#%_"},
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    # Two in a row would be drawn as one longer dash; after a line's end, a bracket or star would be its option.
    "-": "-{}",
    **{character: f"{{{character}}}" for character in "[]*"},
}
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


class _Markup(Protocol):
    """How one markup writes what both documents hold: `own` and any outside text become markup, the others take it."""

    dash: str

    def text(self, outside: str) -> str: ...
    def own(self, words: str) -> str: ...
    def strong(self, content: str) -> str: ...
    def part(self, content: str) -> str: ...
    def score(self, cell: Cell, marks: Sequence[int]) -> str: ...
    def table(self, title: str, header: Sequence[str], groups: Sequence[Sequence[Sequence[str]]]) -> str: ...
    def paragraph(self, content: str) -> str: ...
    def notes(self, notes: Sequence[str]) -> str: ...


def markdown(rows: Sequence[LeaderboardRow]) -> str:
    """The leaderboard in Markdown: scores, the clean subset, conditions, footnotes."""
    return "\n\n".join(_document(rows, _Markdown())) + "\n"


def latex(rows: Sequence[LeaderboardRow]) -> str:
    """The leaderboard in LaTeX; it needs the packages booktabs and adjustbox."""
    return "\n\n".join([r"% \usepackage{booktabs,adjustbox}", *_document(rows, _Latex())]) + "\n"


def comparison_markdown(comparison: pl.DataFrame) -> str:
    """Table 4 in Markdown: spatial averages of SpaRE, base and caption-trained models, those printed below."""
    return "\n\n".join(_comparison(comparison, _Markdown())) + "\n"


def comparison_latex(comparison: pl.DataFrame) -> str:
    """Table 4 in LaTeX; it needs the packages booktabs and adjustbox."""
    return "\n\n".join([r"% \usepackage{booktabs,adjustbox}", *_comparison(comparison, _Latex())]) + "\n"


class _Notes:
    """Footnotes in the order of their first use, each once."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def mark(self, text: str) -> int:
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text) + 1


def _document(rows: Sequence[LeaderboardRow], markup: _Markup) -> list[str]:
    measured = [row for row in rows if row.kind in ("base", "endpoint", "trained")]
    present = [column for column in COLUMNS if any(column in row.cells for row in rows)]
    most = _units(measured)
    notes = _Notes()
    blocks = []
    for title, columns in (
        ("Spatial benchmarks", (*SPATIAL_COLUMNS, AVERAGE)),
        ("General benchmarks", GENERAL_COLUMNS),
    ):
        shown = [column for column in columns if column in present]
        # The paper's rows without a general score would be rows of dashes.
        those = [row for row in rows if any(column in row.cells for column in shown)]
        if those:
            blocks.append(_scores(title, shown, those, most, notes, markup))
    if not blocks:
        return [markup.paragraph("No model is scored yet.")]
    if measured:
        blocks += [*_clean(measured, markup), _conditions(measured, markup)]
    blocks += [markup.paragraph(markup.own(text)) for text in _explanations(rows, most)]
    return [*blocks, markup.notes([markup.text(text) for text in notes.texts])] if notes.texts else blocks


def _scores(
    title: str,
    columns: Sequence[str],
    rows: Sequence[LeaderboardRow],
    most: Mapping[str, int],
    notes: _Notes,
    markup: _Markup,
) -> str:
    def shown(row: LeaderboardRow, column: str) -> str:
        cell = row.cells.get(column)
        if cell is None or cell.value is None:
            return markup.dash
        return markup.score(cell, [notes.mark(text) for text in _remarks(row, column, cell, most)])

    header = ["Model", "Kind", *(COLUMNS[column] for column in columns)]
    groups = [
        [[_name(row, markup), markup.own(_kind(row)), *(shown(row, column) for column in columns)] for row in group]
        for group in _by_kind(rows)
    ]
    return markup.table(markup.own(title), [markup.own(name) for name in header], groups)


def _remarks(row: LeaderboardRow, column: str, cell: Cell, most: Mapping[str, int]) -> list[str]:
    """What a reader has to know of this score that is not true of all."""
    remarks = []
    if cell.source not in (None, PAPER, PRINTED_AVERAGE):
        remarks.append(str(cell.source))
    if cell.units is not None and row.kind != "random" and cell.units < most.get(column, 0):
        what = "spatial columns" if column == AVERAGE else "units"
        remarks.append(f"over {cell.units:,} of {most[column]:,} {what}")
    if cell.seeds is not None and row.seeds is not None and cell.seeds < row.seeds:
        remarks.append(f"{cell.seeds} of {row.seeds} seeds are scored on all of this")
    return remarks


def _clean(rows: Sequence[LeaderboardRow], markup: _Markup) -> list[str]:
    """Scores without the questions whose images stand in the dataset, and what could not be checked."""
    scored = [column for column in COLUMNS if any(column in row.cells for row in rows)]
    checked = [column for column in scored if any(column in row.cells and _checked(row.cells[column]) for row in rows)]
    blocks = []
    if checked:

        def shown(row: LeaderboardRow, column: str) -> str:
            cell = row.cells.get(column)
            if cell is None or cell.clean_value is None:
                return markup.dash
            units = "" if column == AVERAGE else f" ({cell.clean_units:,})"
            return markup.own(f"{cell.clean_value:.1f}{units}")

        groups = [
            [[_name(row, markup), *(shown(row, column) for column in checked)] for row in group]
            for group in _by_kind(rows)
        ]
        title = "Without questions whose images stand in the dataset (units left)"
        header = ["Model", *(COLUMNS[column] for column in checked)]
        blocks.append(markup.table(markup.own(title), [markup.own(name) for name in header], groups))
    if unchecked := [COLUMNS[column] for column in scored if column not in checked and column != AVERAGE]:
        blocks.append(markup.paragraph(markup.own(f"Not checked for images of the dataset: {', '.join(unchecked)}.")))
    return blocks


def _conditions(rows: Sequence[LeaderboardRow], markup: _Markup) -> str:
    def shares_of(row: LeaderboardRow, what: Literal["unparsed", "unanswered"]) -> str:
        every = {column: getattr(cell, what) for column, cell in row.cells.items()}
        shares = {column: share for column, share in every.items() if share is not None}
        found = [f"{COLUMNS[column]} {share:.1%}" for column, share in shares.items() if share > 0]
        return markup.own(", ".join(found) or "none") if shares else markup.dash

    def prompt(row: LeaderboardRow) -> str:
        text = row.system_prompt or "the template's own"
        return markup.text(text if len(text) <= _PROMPT_CHARACTERS else text[: _PROMPT_CHARACTERS - 1] + "…")

    header = ["Model", "Resolution", "System prompt", "Replies without a readable answer", "Questions without a reply"]
    groups = [
        [
            [
                _name(row, markup),
                markup.text(row.resolution) if row.resolution else markup.dash,
                prompt(row),
                shares_of(row, "unparsed"),
                shares_of(row, "unanswered"),
            ]
            for row in group
        ]
        for group in _by_kind(rows)
    ]
    return markup.table(markup.own("How models were asked"), [markup.own(name) for name in header], groups)


def _explanations(rows: Sequence[LeaderboardRow], most: Mapping[str, int]) -> list[str]:
    cells = [cell for row in rows for cell in row.cells.values()]
    texts = []
    if most:
        counts = ", ".join(f"{COLUMNS[column]} {units:,}" for column, units in most.items() if column != AVERAGE)
        texts.append(f"Units (questions, pairs or groups) behind the scores: {counts}.")
    if any(cell.deviation is not None for cell in cells):
        texts.append("Behind ± stands the standard deviation over seeds.")
    if any(cell.delta is not None for cell in cells):
        texts.append(
            "In parentheses: the difference to the base model; * p < 0.05, ** p < 0.01 by a paired bootstrap of the "
            "units and of the seeds, two-sided, not corrected for the number of comparisons."
        )
    if any(row.kind == "random" for row in rows):
        texts.append("Guessing is computed from the benchmarks' files: every option is as likely.")
    if any(row.kind == "reference" for row in rows):
        texts.append("Printed rows quote Table 3 of the SpaRE paper, averages too; figures without a note are its own.")
    return texts


def _comparison(comparison: pl.DataFrame, markup: _Markup) -> list[str]:
    names = {"pairs": "question-answer pairs", "captions": "captions", "nothing": "nothing (base)"}
    groups: list[list[list[str]]] = [[], []]
    for record in comparison.iter_rows(named=True):
        cell = Cell(record["value"], record["deviation"], delta=record["delta"], p_value=record["p_value"])
        seeds = f" (mean of {record['seeds']} seeds)" if (record["seeds"] or 0) > 1 else ""
        groups[record["source"] is not None].append(
            [
                markup.text(f"{record['row']}{seeds}"),
                markup.own(names[record["trained_on"]]),
                markup.dash if cell.value is None else markup.score(cell, []),
                markup.dash if record["columns"] is None else str(record["columns"]),
                markup.text(record["source"] or "measured here"),
            ]
        )
    header = ["Model", "Further trained on", "Spatial average", "Columns", "Source"]
    title = markup.own("Training on pairs or on captions")
    return [markup.table(title, [markup.own(name) for name in header], [group for group in groups if group])]


def _units(rows: Iterable[LeaderboardRow]) -> dict[str, int]:
    """The most units that any of the rows is over, by column."""
    most: dict[str, int] = {}
    for row in rows:
        for column, cell in row.cells.items():
            most[column] = max(most.get(column, 0), cell.units or 0)
    return {column: most[column] for column in COLUMNS if column in most}


def _checked(cell: Cell) -> bool:
    return cell.clean_units is not None


def _by_kind(rows: Iterable[LeaderboardRow]) -> list[list[LeaderboardRow]]:
    groups: list[list[LeaderboardRow]] = []
    for row in rows:
        if not groups or groups[-1][-1].kind != row.kind:
            groups.append([])
        groups[-1].append(row)
    return groups


def _kind(row: LeaderboardRow) -> str:
    return "trained on captions" if row.caption_trained else _KINDS[row.kind]


def _name(row: LeaderboardRow, markup: _Markup) -> str:
    name = markup.text(row.name)
    if (row.seeds or 0) > 1:
        return markup.strong(name) + markup.own(f" (mean of {row.seeds} seeds)")
    return markup.part(name) if row.mean_in else name


def _stars(cell: Cell) -> str:
    if cell.p_value is None or cell.p_value >= 0.05:
        return ""
    return "**" if cell.p_value < 0.01 else "*"


class _Markdown:
    dash = "–"

    def text(self, outside: str) -> str:
        return markdown_line(outside)

    def own(self, words: str) -> str:
        return words.replace("*", r"\*").replace("<", "&lt;")

    def strong(self, content: str) -> str:
        return f"**{content}**"

    def part(self, content: str) -> str:
        return f"↳ {content}"

    def score(self, cell: Cell, marks: Sequence[int]) -> str:
        shown = f"{cell.value:.1f}"
        if cell.deviation is not None:
            shown += f" ± {cell.deviation:.1f}"
        if cell.delta is not None:
            shown += f" ({_signed(cell.delta)}{markdown_line(_stars(cell))})"
        return shown + ",".join(str(mark) for mark in marks).translate(_SUPERSCRIPTS)

    def table(self, title: str, header: Sequence[str], groups: Sequence[Sequence[Sequence[str]]]) -> str:
        rows = [header, ["---"] * len(header), *(row for group in groups for row in group)]
        return f"**{title}**\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows)

    def paragraph(self, content: str) -> str:
        return content

    def notes(self, notes: Sequence[str]) -> str:
        return "\n".join(f"{number}. {note}" for number, note in enumerate(notes, 1))


class _Latex:
    dash = "--"

    def text(self, outside: str) -> str:
        return "".join(_LATEX_SPECIAL.get(character, character) for character in _UNSEEN.sub(" ", outside))

    def own(self, words: str) -> str:
        return self.text(words).replace("-{}", "-")

    def strong(self, content: str) -> str:
        return rf"\textbf{{{content}}}"

    def part(self, content: str) -> str:
        return rf"\quad {content}"

    def score(self, cell: Cell, marks: Sequence[int]) -> str:
        shown = f"{cell.value:.1f}"
        if cell.deviation is not None:
            shown += rf"\,{{\scriptsize$\pm${cell.deviation:.1f}}}"
        if cell.delta is not None:
            stars = f"^{{{_stars(cell)}}}" if _stars(cell) else ""
            shown += rf" {{\scriptsize$({_signed(cell.delta, '-')}{stars})$}}"
        return shown + (rf"\textsuperscript{{{','.join(str(mark) for mark in marks)}}}" if marks else "")

    def table(self, title: str, header: Sequence[str], groups: Sequence[Sequence[Sequence[str]]]) -> str:
        bodies = [" \\\\\n".join(" & ".join(row) for row in group) + r" \\" for group in groups]
        return "\n".join(
            [
                r"\begin{table*}",
                r"\centering\small",
                rf"\caption{{{title}}}",
                r"\begin{adjustbox}{max width=\textwidth}",
                rf"\begin{{tabular}}{{{'l' * len(header)}}}",
                r"\toprule",
                " & ".join(header) + r" \\",
                r"\midrule",
                "\n\\midrule\n".join(bodies),
                r"\bottomrule",
                r"\end{tabular}",
                r"\end{adjustbox}",
                r"\end{table*}",
            ]
        )

    def paragraph(self, content: str) -> str:
        return rf"\noindent{{\footnotesize {content}\par}}"

    def notes(self, notes: Sequence[str]) -> str:
        items = "\n".join(rf"\item {note}" for note in notes)
        return f"\\begin{{footnotesize}}\n\\begin{{enumerate}}\n{items}\n\\end{{enumerate}}\n\\end{{footnotesize}}"


def _signed(difference: float, minus: str = "−") -> str:
    shown = f"{difference:+.1f}".replace("-", minus)
    return "0.0" if shown[1:] == "0.0" else shown
