"""Checks that something looks wrong although every count adds up: cut replies, odd shares, double ids, emptiness.

They never stop a run. What a warning means and what to do is said in its words; thresholds stand in `sanity`.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import dagster as dg
import polars as pl

from spare_assets.orchestration.table_checks import Finding, Occasion, TableCheck
from spare_assets.quality.verdicts import CHECKS
from spare_assets.settings import RESERVED_SOURCE, Home
from spare_assets.storage.schemas import TABLES
from spare_assets.storage.tables import TableStore, open_tables

PAPER_DROPPED = {"docci": 1 - 10 / 15, "localized_narratives": 1 - 232 / 849, "pixmo_cap": 1 - 214 / 717}
"""Share of captions that Table 1 loses between Size and Filtered, by corpus."""
PAPER_DROPPED_IN_ALL = {"text": 0.65, "Table 1": 1 - 455 / 1581}
"""What the pre-filter drops of the three corpora together: the text of 3.2.1 says ~65 %, Table 1 comes to 71 %."""
_UNIQUE = {
    "captions": ("captions",),
    "qa_pairs": ("caption_verdicts", "spatial_captions", "generation_outcomes", "qa_pairs"),
    "rejected_pairs": (*itertools.chain(*CHECKS.values()), "rejected_pairs"),
    "images": ("images",),
    "spare_dataset": ("spare_dataset",),
    "training_samples": ("training_samples",),
    "caption_training_samples": ("caption_training_samples",),
}
"""Tables whose ids are compared behind each stage. Reporting a result costs more than the comparison: one for many."""
_SHOWN_IDS = 5
_TRUNCATED = {
    "caption_verdicts": pl.col("outcome") == "truncated",
    "generation_outcomes": pl.col("outcome") == "truncated",
    "spatial_verdicts": pl.col("reason").str.starts_with("truncated"),
}
_EMPTY = {
    "captions": "no caption was read: look at `quarantined_captions`, and at the source's `files` and `splits`",
    "qa_pairs": "no pair was generated: look at the reasons in `caption_verdicts` and `generation_outcomes`",
    "spatial_pairs": "no pair passed all checks: `rejected_pairs` says which check dropped them, and why",
}


def checks(home: Home) -> Iterator[TableCheck]:
    """All sanity checks of a profile."""
    sanity = _Sanity(home)
    settings = home.settings.sanity
    for table in _EMPTY:
        yield TableCheck(table, "not_empty", "The source holds something.", sanity.not_empty)
    for stage, tables in _UNIQUE.items():
        words = f"No two rows of a table have the same key, or the same pair_id: {', '.join(tables)}."
        yield TableCheck(stage, "unique_ids", words, sanity.unique_ids)
    for table in _TRUNCATED:
        yield TableCheck(
            table,
            "truncated_replies",
            f"Warns when more than {settings.truncated_share:.1%} of the replies were cut by the reply limit: pairs "
            "are lost, or a judgement is missing. Remedies: a higher limit, or prompts that ask for less.",
            sanity.truncated,
        )
    yield TableCheck(
        "spatial_captions",
        "prefilter_drop",
        "Share of captions that the pre-filter drops, against the paper's corpus of this format. Table 1, from Size to "
        f"Filtered: DOCCI {PAPER_DROPPED['docci']:.0%}, Localized Narratives "
        f"{PAPER_DROPPED['localized_narratives']:.0%}, PixMo-Cap {PAPER_DROPPED['pixmo_cap']:.0%}; it also holds what "
        f"later steps lost. Warns beyond {_points(settings.prefilter_tolerance)} either way. Other formats, trials "
        "and rendered sources are shown, not judged.",
        sanity.prefilter_drop,
    )
    yield TableCheck(
        "dataset_statistics",
        "prefilter_drop",
        "Share of all captions that the pre-filter drops. The paper's corpora together: ~65 % in its text (3.2.1), "
        f"71 % by its Table 1. Warns when it lies more than {_points(settings.prefilter_tolerance)} outside. "
        "Judged only when the dataset is those three corpora in full.",
        sanity.prefilter_drop_in_all,
    )
    for check, (table, _) in CHECKS.items():
        yield TableCheck(
            table,
            "drop_share_steady",
            f"Warns when the share of pairs that check `{check}` drops moved by more than "
            f"{_points(settings.drop_share_change)} since the last run of this source. After a change of cut-off, "
            "engine or corpus that may be what you wanted.",
            sanity.drop_share_steady,
        )


@dataclass(frozen=True)
class _Sanity:
    """The checks over one home."""

    home: Home

    @property
    def store(self) -> TableStore:
        return open_tables(self.home)

    def not_empty(self, occasion: Occasion) -> Finding:
        """An error where a source has no captions, a warning where nothing came of them."""
        rows = self.store.rows(occasion.table, occasion.partition)
        severity = dg.AssetCheckSeverity.ERROR if occasion.table == "captions" else dg.AssetCheckSeverity.WARN
        words = None if rows else f"{occasion.partition}: {_EMPTY[occasion.table]}"
        return Finding(rows > 0, words, {"rows": rows}, severity)

    def unique_ids(self, occasion: Occasion) -> Finding:
        """An error where rows of a table share an id, with some of them."""
        for table in _UNIQUE[occasion.table]:
            rows = self.store.scan(table, occasion.partition)
            for columns in _unique_in(table):
                double = _double(rows, columns.split(" + "))
                if double.height:
                    shown = [" ".join(map(str, row[:-1])) for row in double.head(_SHOWN_IDS).iter_rows()]
                    words = (
                        f"{double.height:,} ids stand more than once in `{table}` ({', '.join(shown)}): counts and "
                        "joins downstream are wrong; materialize it again, and report it if they stay"
                    )
                    metadata = {"table": table, "double_ids": double.height, "examples": dg.MetadataValue.json(shown)}
                    return Finding(False, words, metadata)
        return Finding(True, None)

    def truncated(self, occasion: Occasion) -> Finding:
        """A warning above the share of the settings."""
        table = self.store.scan(occasion.table, occasion.partition)
        replies, cut = table.select(pl.len(), _TRUNCATED[occasion.table].sum().alias("cut")).collect().row(0)
        share = cut / replies if replies else 0.0
        allowed = self.home.settings.sanity.truncated_share
        metadata = {"replies": replies, "truncated": cut, "share": share, "allowed_share": allowed}
        return self._warned(
            share > allowed,
            replies,
            f"{cut:,} of {replies:,} replies ({share:.1%}) were cut by the reply limit, more than {allowed:.1%}: raise "
            "`synthesis.max_new_tokens`, or the model's context",
            metadata,
        )

    def prefilter_drop(self, occasion: Occasion) -> Finding:
        """A warning far from what Table 1 loses of the same corpus."""
        assert occasion.partition is not None
        key = occasion.partition
        captions, kept = (self.store.rows(table, key) for table in ("captions", "spatial_captions"))
        share, metadata = _dropped_captions(captions, kept)
        if unlike := self._unlike_the_paper(key):
            return Finding(True, f"{share:.0%} dropped; not judged: {unlike}", metadata, dg.AssetCheckSeverity.WARN)
        expected = PAPER_DROPPED[self.home.settings.sources[key].format]
        tolerance = self.home.settings.sanity.prefilter_tolerance
        return self._warned(
            abs(share - expected) > tolerance,
            captions,
            f"the pre-filter dropped {share:.0%} of {captions:,} captions; the paper's Table 1 loses {expected:.0%} of "
            "this corpus. Read some of `caption_verdicts`: prompt, engine or `synthesis.minimum_probability` differ",
            metadata | {"paper_this_corpus": expected, "tolerance": tolerance},
        )

    def prefilter_drop_in_all(self, occasion: Occasion) -> Finding:
        """A warning far from the paper's figures for its three corpora together."""
        statistics = self.store.scan(occasion.table).select("source", "captions", "spatial_captions").collect()
        rows = {row["source"]: row for row in statistics.iter_rows(named=True)}
        total = rows.pop(RESERVED_SOURCE)
        captions, kept = total["captions"], total["spatial_captions"]
        share, metadata = _dropped_captions(captions, kept)
        sources = self.home.settings.sources
        unlike = next((f"{key} is {why}" for key in rows if (why := self._unlike_the_paper(key))), None)
        formats = {sources[key].format for key in rows if key in sources}
        if not unlike and (absent := sorted(set(PAPER_DROPPED) - formats)):
            unlike = f"without {', '.join(absent)}"
        if unlike:
            return Finding(True, f"{share:.0%} dropped; not judged: {unlike}", metadata, dg.AssetCheckSeverity.WARN)
        tolerance = self.home.settings.sanity.prefilter_tolerance
        low, high = min(PAPER_DROPPED_IN_ALL.values()), max(PAPER_DROPPED_IN_ALL.values())
        return self._warned(
            not low - tolerance <= share <= high + tolerance,
            captions,
            f"the pre-filter dropped {share:.0%} of {captions:,} captions; the paper says ~65 % in its text and 71 % "
            "by Table 1. The same check of `spatial_captions` says which source it is",
            metadata | {"tolerance": tolerance},
        )

    def drop_share_steady(self, occasion: Occasion) -> Finding:
        """A warning when the share dropped moved since the last run of the same partition."""
        partitions = [occasion.partition] if occasion.partition else None
        runs = occasion.instance.fetch_materializations(
            dg.AssetRecordsFilter(dg.AssetKey(occasion.table), asset_partitions=partitions), limit=2
        ).records
        reports = [record.asset_materialization.metadata for record in runs if record.asset_materialization]
        counts = [_dropped(report) for report in reports]
        if not counts or counts[0] is None:
            return Finding(True, "nothing was reported yet", severity=dg.AssetCheckSeverity.WARN)
        read, dropped = counts[0]
        metadata: dict[str, Any] = {"read": read, "dropped": dropped, "dropped_share": dropped / max(read, 1)}
        if len(counts) < 2 or counts[1] is None:
            return Finding(True, "the first run of this source", metadata, dg.AssetCheckSeverity.WARN)
        read_before, dropped_before = counts[1]
        share, before = dropped / max(read, 1), dropped_before / max(read_before, 1)
        metadata |= {"read_before": read_before, "dropped_before": dropped_before, "dropped_share_before": before}
        if len({str(report.get("trial_limits")) for report in reports}) > 1:
            words = "not judged: one of the two runs is a trial of fewer captions"
            return Finding(True, words, metadata, dg.AssetCheckSeverity.WARN)
        allowed = self.home.settings.sanity.drop_share_change
        return self._warned(
            abs(share - before) > allowed,
            min(read, read_before),
            f"{share:.1%} of {read:,} pairs were dropped, {before:.1%} of {read_before:,} in the run before: more than "
            f"{_points(allowed)} apart. Compare settings, engine and corpus; `dropped_because` has the reasons",
            metadata,
        )

    def _unlike_the_paper(self, key: str) -> str | None:
        """Why this source can't be compared with the paper's corpora."""
        source = self.home.settings.sources.get(key)
        if source is None or source.format not in PAPER_DROPPED:
            return "none of the paper's corpora"
        if source.scenes is not None:
            return "rendered"
        if key in json.loads(self.store.metadata("captions", key).get("limits", "{}")):
            return "a trial"
        return None

    def _warned(self, wrong: bool, rows: int, words: str, metadata: dict[str, Any]) -> Finding:
        """A warning where something is wrong and there are rows enough to say so."""
        enough = self.home.settings.sanity.minimum_rows
        if wrong and rows < enough:
            return Finding(True, f"not judged below {enough:,} rows: {words}", metadata, dg.AssetCheckSeverity.WARN)
        return Finding(not wrong, words if wrong else None, metadata, dg.AssetCheckSeverity.WARN)


def _dropped_captions(captions: int, kept: int) -> tuple[float, dict[str, Any]]:
    """The share that the pre-filter dropped, and what a page shows of it beside the paper's figures."""
    share = 1 - kept / captions if captions else 0.0
    paper = {f"paper_{name.replace(' ', '_').lower()}": value for name, value in PAPER_DROPPED_IN_ALL.items()}
    return share, {"captions": captions, "spatial": kept, "dropped_share": share, **paper}


def _points(share: float) -> str:
    """A distance between two shares, in words."""
    return f"{100 * share:g} percentage points"


def _unique_in(table: str) -> list[str]:
    """What no two rows of a table share: its key, and the pair's id where that is not the key."""
    schema = TABLES[table]
    key = " + ".join(schema.key)
    return [key, "pair_id"] if "pair_id" in schema.names and "pair_id" not in schema.key else [key]


def _double(rows: pl.LazyFrame, columns: list[str]) -> pl.DataFrame:
    """Values of these columns that stand in several rows, and in how many."""
    hashed = pl.struct(columns).hash()
    total, different = rows.select(pl.len(), hashed.n_unique().alias("different")).collect().row(0)
    # Eight bytes a row tell that all differ; only rows of equal hashes are compared in full.
    suspects = rows.filter(hashed.is_duplicated()) if total != different else rows.head(0)
    return suspects.group_by(columns, maintain_order=True).len().filter(pl.col("len") > 1).collect()


def _dropped(report: Any) -> tuple[int, int] | None:
    """Pairs read and dropped, as a materialization reported them."""
    if "read" not in report or "dropped" not in report:
        return None
    return int(report["read"].value), int(report["dropped"].value)
