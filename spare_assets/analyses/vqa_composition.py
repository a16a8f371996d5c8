"""Table 2 of the paper: how many questions other datasets hold, and how many of them are about space.

Belongs here: the table from counts, beside the paper's own figures. Reading and judging questions does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from spare_assets.review.agreement import wilson_interval
from spare_assets.settings import RESERVED_SOURCE, LimitSettings
from spare_assets.storage.schemas import TABLES

PRINTED: Mapping[str, tuple[int, float]] = {
    "vqav2": (443_800, 1.44),
    "gqa": (943_000, 3.07),
    "okvqa": (9_000, 0.03),
    "visual7w": (327_900, 1.07),
    "vsr": (7_700, 0.03),
    "fsc147": (6_100, 0.02),
    "objects365_yorn": (29_000_000, 94.35),
    "hateful_memes": (10_000, 0.03),
    RESERVED_SOURCE: (30_747_500, 100.0),
}
"""Table 2 as printed, to the hundred questions, by dataset key: questions, and share of all in percent."""


@dataclass(frozen=True, slots=True)
class Composition:
    """What was counted of one dataset. Absent ones have `questions` None.

    `judged` questions were judged: all of them, or a sample; `spatial` of these have spatial content.
    """

    key: str
    title: str
    questions: int | None = None
    unreadable: int | None = None
    judged: int = 0
    spatial: int = 0
    judge: str | None = None

    @property
    def spatial_share(self) -> float | None:
        """From 0 to 1; None where nothing was judged."""
        return self.spatial / self.judged if self.judged else None


def composition_table(datasets: Sequence[Composition]) -> pl.DataFrame:
    """Rows of `vqa_composition`: the datasets in their order, and the total over those that are there.

    Shares are percentages. The total's spatial share weighs each dataset's by its questions.
    """
    total = sum(dataset.questions or 0 for dataset in datasets)
    rows = [_row(dataset, total) for dataset in datasets]
    judged = [(dataset, dataset.questions) for dataset in datasets if dataset.questions and dataset.judged]
    covered = sum(questions for _, questions in judged)
    weighed = sum((dataset.spatial_share or 0.0) * questions for dataset, questions in judged)
    printed, printed_share = PRINTED[RESERVED_SOURCE]
    rows.append(
        {
            "dataset": RESERVED_SOURCE,
            "title": "Total",
            "status": "total",
            "questions": total,
            "share": 100.0 if total else None,
            "spatial_questions": sum(dataset.spatial for dataset in datasets),
            "judged_questions": sum(dataset.judged for dataset in datasets),
            "spatial_share": 100 * weighed / covered if covered else None,
            "unreadable": sum(dataset.unreadable or 0 for dataset in datasets),
            "paper_questions": printed,
            "paper_share": printed_share,
        }
    )
    schema = TABLES["vqa_composition"].polars()
    return pl.DataFrame([{"place": place, **row} for place, row in enumerate(rows, start=1)], schema=schema)


def _row(dataset: Composition, total: int) -> dict[str, Any]:
    printed, printed_share = PRINTED.get(dataset.key, (None, None))
    share = dataset.spatial_share
    row: dict[str, Any] = {
        "dataset": dataset.key,
        "title": dataset.title,
        "status": "absent" if dataset.questions is None else "read",
        "questions": dataset.questions,
        "paper_questions": printed,
        "paper_share": printed_share,
    }
    if dataset.questions is None:
        return row
    sampled = dataset.judged < dataset.questions
    low, high = (wilson_interval(dataset.spatial, dataset.judged) if sampled else None) or (None, None)
    return row | {
        "share": 100 * dataset.questions / total if total else None,
        "spatial_questions": dataset.spatial,
        "judged_questions": dataset.judged,
        "spatial_share": None if share is None else 100 * share,
        "low": None if low is None else 100 * low,
        "high": None if high is None else 100 * high,
        "judge": dataset.judge,
        "unreadable": dataset.unreadable,
    }


def shown_table(table: pl.DataFrame) -> pl.DataFrame:
    """The table as the paper prints it: thousands and percent, its own figures beside them."""
    return table.select(
        Dataset="title",
        Total=_thousands("questions"),
        Share=_percent("share"),
        Spatial=_percent("spatial_share"),
        Judged="judged_questions",
        Paper_total=_thousands("paper_questions"),
        Paper_share=_percent("paper_share"),
        Status="status",
    )


def _thousands(name: str) -> pl.Expr:
    return pl.when(pl.col(name).is_not_null()).then(pl.format("{}k", (pl.col(name) / 1000).round(1)))


def _percent(name: str) -> pl.Expr:
    return pl.when(pl.col(name).is_not_null()).then(pl.format("{} %", pl.col(name).round(2)))


def too_many_unreadable(key: str, read: int, unreadable: int, examples: Sequence[str], limits: LimitSettings) -> str:
    """What to say where more of a dataset can't be read than the limits allow; "" where it is within them."""
    if unreadable <= limits.unreadable_rows or unreadable <= limits.unreadable_share * (read + unreadable):
        return ""
    listed = "\n".join(f"  {example}" for example in examples)
    return (
        f"{key}: {unreadable:,} of {read + unreadable:,} questions can't be read, more than limits.unreadable_share "
        f"allows ({limits.unreadable_share:.0%}). The first of them:\n{listed}\n"
        f"Mend the files, correct `analyses.vqa.{key}.format`, or raise the limit"
    )
