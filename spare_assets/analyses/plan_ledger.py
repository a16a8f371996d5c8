"""What the completion ledger tells a plan: what was answered already, at what use, and what is still to be asked.

Reading the ledger and making requests' keys belong here. Nothing is asked.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from spare_assets.engines.build import build_engine
from spare_assets.engines.chat import ChatEngine, RequestKeys
from spare_assets.quality.spatial_verification import pair_question, sample_question
from spare_assets.settings import EngineSettings, OpenAIEngine, RuleBasedEngine
from spare_assets.storage.ledger import CompletionLedger, engine_names
from spare_assets.synthesis.analyst import Analyst
from spare_assets.synthesis.generation import pairs_question
from spare_assets.synthesis.spatial_filter import caption_question

EXACT_KEYS = 20_000
"""Of longer tables every so-many-th row is looked up in the ledger, and the share answered is taken for all."""
_QUESTIONS = {
    "judge_caption": caption_question,
    "write_pairs": pairs_question,
    "judge_pair": pair_question,
    "judge_pairs": sample_question,
}


@dataclass(frozen=True, slots=True)
class Replies:
    """Answered requests, each counted once, and what all replies used.

    `seconds` are those of the replies, `wall_seconds` those that passed between the first and the last of each run,
    over `intervals` from one reply to the next. `bytes` are of the ledger's files.
    """

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    wall_seconds: float = 0.0
    intervals: int = 0
    bytes: int = 0

    def __add__(self, other: Replies) -> Replies:
        """Both together."""
        return Replies(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))

    def elapsed(self, in_flight: int = 1) -> float:
        """Seconds that as many requests take: as they passed, where enough replies of a run tell, else those of the
        replies, of which so many pass at once."""
        if self.intervals >= self.requests / 2 > 0:
            return self.wall_seconds / self.intervals * self.requests
        return self.seconds / in_flight


@dataclass(frozen=True, slots=True)
class Questions:
    """Requests of a table, equal ones counted once, and how many of them the ledger answers."""

    requests: float
    answered: float
    note: str = ""


def engine_here(name: str, engine: EngineSettings) -> ChatEngine:
    """The engine of this process, also where workers elsewhere are to answer: requests and fingerprint are the same."""
    return build_engine(name, engine.model_copy(update={"ray": None}))


class LedgerReading:
    """The ledger of a home, each task and owner read once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._names = engine_names(root)
        self._read: dict[tuple[str, str], dict[str, Replies]] = {}

    def model(self, name: str, engine: EngineSettings) -> str | None:
        """The fingerprint of an engine. Of one whose weights decide it, that under which it was last asked."""
        if isinstance(engine, RuleBasedEngine | OpenAIEngine):
            return engine_here(name, engine).fingerprint
        return next((model for model, asked in reversed(self._names.items()) if asked == name), None)

    def replies(self, task: str, owner: str, model: str | None) -> Replies:
        """Answers of one model; none where it is not known."""
        return self._of(task, owner).get(model, Replies()) if model is not None else Replies()

    def latest(self, task: str, owner: str) -> Replies:
        """Answers of the model that answered last."""
        return next(reversed(self._of(task, owner).values()), Replies())

    def questions(self, task: str, owner: str, analyst: Analyst, model: str | None, rows: pl.LazyFrame) -> Questions:
        """What asking about these rows comes to, by the requests' keys."""
        if task == "judge_pairs":
            pairs = pl.struct("pair_id", "position", "question", "answer")
            rows = rows.sort("caption_id", "position").group_by("caption_id", maintain_order=True).agg(pairs=pairs)
        count = int(rows.select(pl.len()).collect().item())
        every = max(count // EXACT_KEYS, 1)
        texts = ("question", "answer") if task == "judge_pair" else ("pairs" if task == "judge_pairs" else "caption",)
        looked_up = rows.select(texts).gather_every(every).collect()
        key_of, question = RequestKeys(model or ""), _QUESTIONS[task]
        keys = [key_of(question(analyst, row)) for row in looked_up.iter_rows(named=True)]
        distinct = list(dict.fromkeys(keys))
        held = sum(self._ledger(task, owner).answered().hold(distinct)) if model is not None else 0
        if every == 1:
            return Questions(len(distinct), held)
        # Equal requests fall into different strides: those of a long table all count.
        return Questions(count, count * held / len(distinct), f"by every {every}th row")

    def _ledger(self, task: str, owner: str) -> CompletionLedger:
        ledger = CompletionLedger(self._root, task, owner)
        with suppress(OSError):  # what a killed run left can't be taken up: it does not count
            ledger.recover()
        return ledger

    def _of(self, task: str, owner: str) -> dict[str, Replies]:
        """By model, the one that answered last at the end."""
        if (task, owner) not in self._read:
            self._read[task, owner] = _by_model(self._ledger(task, owner).files())
        return self._read[task, owner]


def _by_model(files: list[Path]) -> dict[str, Replies]:
    if not files:
        return {}
    replies = pl.scan_parquet(files, glob=False, include_file_paths="path").filter(pl.col("error").is_null())
    by_run = (
        replies.group_by("model", "path")
        .agg(
            pl.col("prompt_tokens", "completion_tokens", "seconds").sum(),
            wall=pl.col("answered_at").max() - pl.col("answered_at").min(),
            last=pl.col("answered_at").max(),
            replies=pl.len(),
        )
        .sort("last")
        .collect()
    )
    distinct = dict(replies.group_by("model").agg(pl.col("key").n_unique()).collect().iter_rows())
    sizes = {str(path): path.stat().st_size for path in files}
    held = dict(by_run.group_by("path").agg(pl.col("replies").sum()).iter_rows())
    found: dict[str, Replies] = {}
    for row in by_run.iter_rows(named=True):
        earlier = found.pop(row["model"], Replies())
        size = round(sizes[row["path"]] * row["replies"] / held[row["path"]])
        found[row["model"]] = earlier + Replies(
            0, row["prompt_tokens"], row["completion_tokens"], row["seconds"], row["wall"], row["replies"] - 1, size
        )
    return {model: replies + Replies(distinct[model]) for model, replies in found.items()}
