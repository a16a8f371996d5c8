"""What each stage of a profile will read, write, ask and need, told before it runs.

Every figure says where it is from (`plan_figures.ORIGINS`). What is stored counts as done where it was made of all that
now goes in; of the rest the amounts follow stage by stage from what is known best: this home's own tables, ledger and
finished trainings, the forecast, the paper's Table 1 for its three sources, this home's other sources, and last the
stated assumptions. Putting that together belongs here; how it is shown, and how runs' seconds are looked up, does not.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import polars as pl

from spare_assets.analyses import plan_figures as known
from spare_assets.analyses.forecast import FILTER, GENERATION
from spare_assets.analyses.plan_figures import Figure, known_total, product, remaining, total
from spare_assets.analyses.plan_ledger import LedgerReading, Replies, engine_here
from spare_assets.benchmarks.image_files import checkable, record_rows
from spare_assets.captions.records import SourceError
from spare_assets.captions.source_size import SourceSize, source_size
from spare_assets.quality.verdicts import CHECKS
from spare_assets.sandbox import SANDBOX_CLIP, SANDBOX_VLM
from spare_assets.settings import (
    SHIPPED_CLIP,
    SHIPPED_VLM,
    EndpointModel,
    EngineSettings,
    Home,
    OpenAIEngine,
    RecipeSettings,
    ReleasedModel,
    RuleBasedEngine,
    SourceSettings,
    TrainedModel,
    TransformersEngine,
    VllmEngine,
)
from spare_assets.storage.schemas import TABLES
from spare_assets.storage.tables import TableError, open_tables
from spare_assets.synthesis.analyst import Analyst, analyst
from spare_assets.synthesis.prompts import load_prompts
from spare_assets.training.order import OUTCOME_FILE, TrainingOutcome

SPANNING = "all sources"
BENCHMARK_FILE_BYTES = 64_000_000
"""Records of larger benchmark files are not counted: their published number is taken."""
_LEAST_REPLIES = 20
_VERDICTS = dict(CHECKS.values())
_TABLES: dict[str, tuple[str, ...]] = {
    "captions": ("captions", "quarantined_captions"),
    "spatial_captions": ("spatial_captions", "caption_verdicts"),
    "qa_pairs": ("qa_pairs", "generation_outcomes"),
    **{kept: (kept, verdicts) for kept, verdicts in CHECKS.values()},
    "training_samples": ("training_samples", "caption_training_samples"),
}
"""What a stage writes, where that is more than the table of its name."""
_CLIP_PARAMETERS = 0.151


@dataclass(frozen=True, slots=True)
class StagePlan:
    """One stage for one source, model or all: rows in and out, requests, and what remains to be done.

    `bytes` is all that it holds when it is done; what comes after, from `to_ask` on, is what is still to be asked,
    written and waited for. `gpu_memory` tells whether `memory` is a GPU's.
    """

    stage: str
    owner: str
    done: bool
    rows_in: Figure | None = None
    rows_out: Figure | None = None
    bytes: Figure | None = None
    requests: Figure | None = None
    answered: Figure | None = None
    to_ask: Figure | None = None
    prompt_tokens: Figure | None = None
    completion_tokens: Figure | None = None
    bytes_to_write: Figure | None = None
    seconds: Figure | None = None
    on: str = "cpu"
    memory: Figure | None = None
    gpu_memory: bool = False

    def figures(self) -> dict[str, Figure]:
        """Its figures that are known, by name."""
        values = {name: getattr(self, name) for name in StagePlan.__dataclass_fields__}
        return {name: value for name, value in values.items() if isinstance(value, Figure)}


SUMS = ("to_ask", "prompt_tokens", "completion_tokens", "bytes_to_write")


@dataclass(frozen=True, slots=True)
class Machine:
    """What this machine has: free bytes where the home lies, memory, and whether there is a GPU."""

    free_bytes: int
    memory_bytes: int
    gpu: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """The stages in the order of the graph, and what a person should know before starting."""

    stages: tuple[StagePlan, ...]
    warnings: tuple[str, ...]

    def of(self, owner: str) -> list[StagePlan]:
        """The stages of one source or model."""
        return [stage for stage in self.stages if stage.owner == owner]

    @property
    def owners(self) -> list[str]:
        """Sources, then what spans them, then models."""
        return list(dict.fromkeys(stage.owner for stage in self.stages))

    def totals(self) -> dict[str, Figure | None]:
        """Sums of what remains: `SUMS`, and seconds by where they pass (`cpu_seconds`, `gpu_seconds`, ...)."""
        sums = {name: known_total(getattr(stage, name) for stage in self.stages) for name in SUMS}
        for place in ("cpu", "gpu", "server"):
            sums[f"{place}_seconds"] = known_total(stage.seconds for stage in self.stages if stage.on == place)
        return sums

    def statements(self) -> list[str]:
        """What was assumed, and what was taken from the paper, each once."""
        notes: dict[str, None] = {}
        for figure in (figure for stage in self.stages if not stage.done for figure in stage.figures().values()):
            if figure.origin in ("paper", "assumption"):
                notes |= dict.fromkeys(figure.note.split("; "))
        return [note for note in notes if note]


def plan(home: Home, machine: Machine, rates: Mapping[tuple[str, str], float] | None = None) -> Plan:
    """The plan of a home, from what it holds. Nothing is asked, loaded or fetched.

    `rates` are rows a second that runs of this home recorded, by stage and source or model.
    """
    planner = _Planner(home, machine, rates or {})
    stages = tuple(planner.stages())
    return Plan(stages, tuple(planner.closing_warnings(stages)))


@dataclass(frozen=True, slots=True)
class _Observed:
    """A stage as stored for a source: what went in, what came out, how many bytes; whether it is a trial's."""

    rows_in: int
    rows_out: int
    bytes: int
    trial: bool


@dataclass(frozen=True, slots=True)
class _PerRequest:
    """What a request uses: tokens, seconds, bytes in the ledger."""

    prompt_tokens: Figure | None
    completion_tokens: Figure | None
    seconds: Figure | None
    bytes: Figure | None


class _Planner:
    def __init__(self, home: Home, machine: Machine, rates: Mapping[tuple[str, str], float]) -> None:
        self.home, self.settings, self.machine, self.rates = home, home.settings, machine, rates
        self.store = open_tables(home)
        self.prompts = load_prompts(self.settings.synthesis.prompts)
        self.ledger = LedgerReading(home.completions)
        self.warnings: list[str] = []
        self._observed: dict[tuple[str, str], _Observed | None] = {}
        self._has_checkpoint: dict[str, bool] = {}

    def stages(self) -> Iterator[StagePlan]:
        by_source = {key: list(self._source(key, source)) for key, source in self.settings.sources.items()}
        for stages in by_source.values():
            yield from stages
        spanning = list(self._spanning(by_source))
        yield from spanning
        trained_on = {stage.stage: stage for stage in spanning}
        for key, model in self.settings.models.items():
            if isinstance(model, TrainedModel):
                yield self._training(key, self.settings.training.recipes[model.recipe], trained_on)
        yield from self._scores()

    # --- sources ---------------------------------------------------------------------------------------------------

    def _source(self, key: str, source: SourceSettings) -> Iterator[StagePlan]:
        captions, words = self._captions(key, source)
        yield captions
        spatial = self._asking("spatial_captions", "judge_caption", key, captions, words)
        yield spatial
        pairs = self._asking("qa_pairs", "write_pairs", key, spatial, words)
        yield pairs
        yield self._embedding("question_embeddings", key, pairs.rows_out, pairs.done)
        before = pairs
        checked: dict[str, StagePlan] = {}
        for table, _ in list(CHECKS.values())[:3]:
            before = checked[table] = self._table(table, key, before)
            yield before
        images = self._images(key, source, spatial, before)
        yield images
        usable = self._ratio("image_embeddings", key) or Figure(1.0, "assumption", "pictures: all can be had")
        yield self._embedding("image_embeddings", key, product(images.rows_out, usable), images.done)
        aligned = self._table("aligned_pairs", key, before)
        yield aligned
        final = self._asking("spatial_pairs", self._check_task, key, aligned, words)
        yield final
        rejected = None
        if pairs.rows_out is not None and final.rows_out is not None:
            rejected = replace(remaining(pairs.rows_out, final.rows_out.value) or pairs.rows_out)
        yield self._written("rejected_pairs", key, pairs.rows_out, rejected, pairs.done and final.done)

    @property
    def _check_task(self) -> str:
        return "judge_pairs" if self.settings.quality.verification == "per_sample" else "judge_pair"

    def _captions(self, key: str, source: SourceSettings) -> tuple[StagePlan, Figure | None]:
        """The stage `captions`, and the mean words of a caption."""
        observed = self._stored("captions", key)
        words: Figure | None = None
        if observed is not None:
            mean = self.store.scan("captions", key).select(pl.col("words").mean()).collect().item()
            words = Figure(mean or 0.0, "measured")
        if observed is not None and not observed.trial:
            rows, kept = Figure(observed.rows_in, "measured"), Figure(observed.rows_out, "measured")
            return self._written("captions", key, rows, kept, done=True), words
        size: SourceSize | None = None
        try:
            size = source_size(key, source, self.home, self.settings.limits)
        except SourceError as error:
            if source.scenes is None:
                self.warnings.append(f"{key}: {str(error).splitlines()[0]}")
        found, expected, counted = self._expected_captions(key, source, size)
        stage = self._written("captions", key, found, expected, done=False)
        seen = known.SEEN_BYTES.get(source.format, known.SEEN_BYTES_OF_OTHERS)
        memory = total([known.STAGE_MEMORY, known.SORT_MEMORY, product(expected, seen)])
        return replace(stage, memory=memory), words or counted

    def _expected_captions(
        self, key: str, source: SourceSettings, size: SourceSize | None
    ) -> tuple[Figure | None, Figure | None, Figure | None]:
        """Rows in a source's files, captions of them, and their mean words."""
        if size is not None:
            note = "" if size.exact else "rows counted, captions and words as in the first 20,000"
            rows = Figure(size.rows, "counted", note)
            return rows, replace(rows, value=size.captions), replace(rows, value=size.mean_words)
        if source.scenes is not None:
            scenes = Figure(source.scenes.count, "settings", "scenes to be rendered")
            return scenes, product(scenes, self._ratio("captions", key)), self._pooled_words() or known.SCENE_WORDS
        if row := known.PAPER.get(source.format):
            captions = Figure(row.captions, "paper", "Table 1: captions and words of its three sources")
            return captions, captions, replace(captions, value=row.words)
        self.warnings.append(f"{key}: how many captions it has is not known, so nothing that follows from it either")
        return None, None, None

    def _asking(self, stage: str, task: str, key: str, before: StagePlan, words: Figure | None) -> StagePlan:
        """A stage that asks an engine about every row, or sample, that goes in."""
        engine = self._engine_of(stage)
        settings = self.settings.engines[engine]
        ratio = self._ratio(stage, key)
        table = self._table(stage, key, before)
        rows_in, requests = before.rows_out, before.rows_out
        if task == "judge_pairs":
            per_sample = self._ratio("qa_pairs", key)
            requests = None if per_sample is None else product(rows_in, 1 / max(per_sample.value, 1.0))
        if table.done:
            nothing = Figure(0, "measured")
            return replace(table, requests=requests, answered=requests, to_ask=nothing, **_nothing_left())
        stored = self._replies(task, key, engine)
        answered: Figure | None = None
        whole = before.done and self.store.exists(before.stage, key)
        if whole:
            model = self.ledger.model(engine, settings)
            rows = self.store.scan(before.stage, key)
            asked = self.ledger.questions(task, key, self._analyst(engine), model, rows)
            requests = Figure(asked.requests, "measured", asked.note)
            answered = Figure(asked.answered, "measured", asked.note)
        elif requests is not None:
            answered = Figure(min(stored.requests, requests.value), "measured")
        to_ask = None if answered is None else remaining(requests, answered.value)
        each = self._per_request(stage, task, key, engine, words, ratio)
        ledger = product(to_ask, each.bytes)
        place, memory, on_gpu = self._engine_needs(settings, each, to_ask)
        return replace(
            table,
            requests=requests,
            answered=answered,
            to_ask=to_ask,
            prompt_tokens=product(to_ask, each.prompt_tokens),
            completion_tokens=product(to_ask, each.completion_tokens),
            bytes_to_write=known_total([table.bytes_to_write, ledger]),
            seconds=product(to_ask, each.seconds),
            on=place,
            memory=memory,
            gpu_memory=on_gpu,
        )

    def _table(self, stage: str, key: str, before: StagePlan) -> StagePlan:
        """A stage by what goes in and the share that comes out."""
        observed = self._stored(stage, key)
        rows_in = before.rows_out
        made_of_all = observed is not None and rows_in is not None and observed.rows_in == rows_in.value
        if before.done and observed is not None and made_of_all and not observed.trial:
            return self._written(stage, key, rows_in, Figure(observed.rows_out, "measured"), done=True)
        return self._written(stage, key, rows_in, product(rows_in, self._ratio(stage, key)), done=False)

    def _written(self, stage: str, key: str, rows_in: Figure | None, rows_out: Figure | None, done: bool) -> StagePlan:
        """A stage that writes tables, by the rows it reads and keeps."""
        observed = self._stored(stage, key)
        if done and observed is not None:
            size = Figure(observed.bytes, "measured")
            return StagePlan(stage, key, True, rows_in, Figure(observed.rows_out, "measured"), size, **_nothing_left())
        counted = rows_in if stage in (*_VERDICTS, "captions") else rows_out
        size_or_none = product(counted, self._bytes_per_row(stage, key))
        seconds = product(rows_in, self._seconds_per_row(stage, key))
        return StagePlan(
            stage, key, False, rows_in, rows_out, size_or_none,
            bytes_to_write=size_or_none, seconds=seconds, memory=self._memory(stage),
        )  # fmt: skip

    def _embedding(self, stage: str, key: str, rows: Figure | None, complete: bool) -> StagePlan:
        """CLIP over all rows, as one table of vectors."""
        observed = self._stored(stage, key)
        expected = None if rows is None else rows.value
        done = complete and observed is not None and not observed.trial
        if done and observed is not None and (stage == "image_embeddings" or observed.rows_out == expected):
            return self._written(stage, key, rows, rows, done=True)
        held = 0 if observed is None else observed.rows_out
        planned = self._written(stage, key, rows, rows, done=False)
        left = remaining(rows, min(held, expected or 0)) if not complete or held else rows
        return replace(
            planned,
            seconds=product(left, self._seconds_per_row(stage, key)),
            on="cpu" if self._clip_on_cpu else "gpu",
            memory=known.CLIP_MEMORY,
            gpu_memory=not self._clip_on_cpu,
        )

    @cached_property
    def _clip_on_cpu(self) -> bool:
        clip = self.settings.clip
        return clip.model == SHIPPED_CLIP or clip.device == "cpu"

    def _images(self, key: str, source: SourceSettings, spatial: StagePlan, grounded: StagePlan) -> StagePlan:
        """The pictures of captions that still hold pairs, and what fetching them writes."""
        observed = self._stored("images", key)
        if grounded.done and observed is not None and not observed.trial:
            stage = self._written("images", key, spatial.rows_out, Figure(observed.rows_out, "measured"), done=True)
        else:
            of = "captions" if self.settings.quality.images_of_all_captions else "spatial_captions"
            ratio = self._image_ratio(key, of) or known.IMAGES_PER_CAPTION
            stage = self._written("images", key, spatial.rows_out, product(spatial.rows_out, ratio), done=False)
        fetches = source.download_images and not any(
            self.home.resolve(folder).is_dir() for folder in source.image_folders.values()
        )
        if not fetches or stage.done:
            return stage
        each = self._image_bytes(key) or known.IMAGE_BYTES.get(source.format, known.IMAGE_BYTES_OF_OTHERS)
        downloads = product(remaining(stage.rows_out, self._fetched(key)), each)
        return replace(stage, bytes_to_write=known_total([stage.bytes_to_write, downloads]))

    def _image_ratio(self, key: str, of: str) -> Figure | None:
        """Pictures for each caption past the pre-filter, of this source or of the others."""
        found = {
            name: (images.rows_out, spatial.rows_out)
            for name in self.settings.sources
            if (images := self._stored("images", name)) and (spatial := self._stored(of, name)) and spatial.rows_out
        }
        return _share(found, key, with_others=not self._is_paper(key))

    def _image_bytes(self, key: str) -> Figure | None:
        found: dict[str, tuple[float, float]] = {}
        for name in self.settings.sources:
            if self._stored("images", name):
                pictures = self.store.scan("images", name).filter(pl.col("status") == "ok")
                size, count = pictures.select(pl.col("bytes").sum(), pl.len()).collect().row(0)
                if count:
                    found[name] = (float(size), float(count))
        return _share(found, key, with_others=not self._is_paper(key))

    def _fetched(self, key: str) -> int:
        """Pictures of this source that were fetched before."""
        if not self._stored("images", key):
            return 0
        rows = self.store.scan("images", key).filter(pl.col("path").str.starts_with(str(self.home.images)))
        return int(rows.select(pl.len()).collect().item())

    # --- rates -----------------------------------------------------------------------------------------------------

    def _stored(self, stage: str, key: str) -> _Observed | None:
        """A stage as it is stored; None where it is not, or damaged."""
        if (stage, key) not in self._observed:
            try:
                self._observed[stage, key] = self._read(stage, key)
            except TableError as error:
                self.warnings.append(str(error))
                self._observed[stage, key] = None
        return self._observed[stage, key]

    def _read(self, stage: str, key: str) -> _Observed | None:
        partition = None if TABLES[stage].partition is None else key
        tables = _TABLES.get(stage, (stage,))
        if not all(self.store.exists(table, partition) for table in tables):
            return None
        size = sum(self.store.path(table, partition).stat().st_size for table in tables)
        metadata = self.store.metadata(stage, partition)
        rows_out = rows_in = self.store.rows(stage, partition)
        if stage == "captions":
            rows_in = int(metadata.get("rows_in_source", rows_out))
        elif stage in _VERDICTS or stage in ("spatial_captions", "qa_pairs"):
            rows_in = self.store.rows(tables[1], partition)
        elif stage == "image_embeddings" and self.store.exists("images", partition):
            rows_in = self.store.rows("images", partition)
        return _Observed(rows_in, rows_out, size, trial=bool(json.loads(metadata.get("limits", "{}"))))

    def _is_paper(self, key: str) -> bool:
        """Whether a source is one of the paper's own, of which the paper tells more than other sources do."""
        source = self.settings.sources[key]
        return source.scenes is None and source.format in known.PAPER

    def _ratio(self, stage: str, key: str) -> Figure | None:
        """Rows that come out of a stage for a row that goes in."""
        observed = self._stored(stage, key)
        if observed is not None and observed.rows_in and not observed.trial:
            return Figure(observed.rows_out / observed.rows_in, "measured")
        if (forecast := self._forecast_ratio(stage, key)) is not None:
            return forecast
        if observed is not None and observed.rows_in:
            return Figure(observed.rows_out / observed.rows_in, "measured", "as in the trial run")
        source = self.settings.sources[key]
        prior = (known.SCENES if source.scenes is not None else known.paper_figures(source.format)).get(stage)
        return prior if self._is_paper(key) else self._pooled_ratio(stage) or prior

    def _pooled_ratio(self, stage: str) -> Figure | None:
        found = {
            name: (observed.rows_out, observed.rows_in)
            for name in self.settings.sources
            if (observed := self._stored(stage, name)) and observed.rows_in
        }
        return _share(found, "")

    def _pooled_words(self) -> Figure | None:
        found: dict[str, tuple[float, float]] = {}
        for name in self.settings.sources:
            if (observed := self._stored("captions", name)) and observed.rows_out:
                words = self.store.scan("captions", name).select(pl.col("words").sum()).collect().item()
                found[name] = (float(words), float(observed.rows_out))
        return _share(found, "")

    def _bytes_per_row(self, stage: str, key: str) -> Figure | None:
        def rows(observed: _Observed) -> int:
            return observed.rows_in if stage in (*_VERDICTS, "captions") else observed.rows_out

        found = {
            name: (observed.bytes, rows(observed))
            for name in (*self.settings.sources, SPANNING)
            if (TABLES[stage].partition is None) == (name == SPANNING)
            and (observed := self._stored(stage, name))
            and rows(observed)
        }
        if (measured := _share(found, key)) is not None:
            return measured
        if stage.endswith("embeddings"):
            width = self._embedding_width
            return replace(width, value=2 * width.value + known.EMBEDDING_OVERHEAD)
        return known.BYTES_PER_ROW[stage]

    @cached_property
    def _embedding_width(self) -> Figure:
        if self.settings.clip.model == SHIPPED_CLIP:
            document = json.loads((SANDBOX_CLIP / "open_clip_config.json").read_text(encoding="utf-8"))
            return Figure(_embed_dim(document), "measured")
        return known.EMBEDDING_WIDTH

    def _seconds_per_row(self, stage: str, key: str) -> Figure | None:
        for owners, note in (([key], ""), (list(self.settings.sources), "by the runs of other sources")):
            found = [rate for owner in owners if (rate := self.rates.get((stage, owner), 0)) > 0]
            if found:
                return Figure(len(found) / sum(found), "measured", note)
        assumed = known.ROWS_PER_SECOND.get(stage, known.ROWS_PER_SECOND["checks"])
        return replace(assumed, value=1 / assumed.value)

    def _memory(self, stage: str) -> Figure | None:
        sorts = stage in ("captions", "spare_dataset", "training_samples", "spatial_captions", "qa_pairs")
        return total([known.STAGE_MEMORY, known.SORT_MEMORY]) if sorts else known.STAGE_MEMORY

    @cached_property
    def _forecasts(self) -> dict[tuple[str, str, str], Figure]:
        """What was forecast, by source, stage and quantity."""
        found = {}
        for key in self.settings.sources:
            if not self.store.exists("generation_forecast", key):
                continue
            for row in self.store.scan("generation_forecast", key).collect().iter_rows(named=True):
                if row["estimate"] is not None:
                    figure = Figure(row["estimate"], "forecast", low=row["low"], high=row["high"])
                    found[key, row["stage"], row["quantity"]] = figure
        return found

    def _forecast_ratio(self, stage: str, key: str) -> Figure | None:
        """The forecast's share of spatial captions, or pairs of a spatial caption."""
        spatial = self._forecasts.get((key, FILTER, "captions"))
        observed = self._stored("captions", key)
        if spatial is None or observed is None or not observed.rows_out:
            return None
        if stage == FILTER:
            return product(spatial, 1 / observed.rows_out)
        pairs = self._forecasts.get((key, GENERATION, "pairs"))
        if stage != GENERATION or pairs is None or not spatial.value:
            return None
        # Of the pairs alone: the bounds of captions and pairs are not independent.
        return product(pairs, 1 / spatial.value)

    # --- engines ---------------------------------------------------------------------------------------------------

    def _engine_of(self, stage: str) -> str:
        synthesis = self.settings.synthesis
        return {
            "spatial_captions": synthesis.filter_engine,
            "qa_pairs": synthesis.generation_engine,
            "spatial_pairs": self.settings.quality.verification_engine,
        }[stage]

    def _analyst(self, engine: str) -> Analyst:
        made = engine_here(engine, self.settings.engines[engine])
        return analyst(engine, made, self.settings, self.prompts)

    def _replies(self, task: str, owner: str, engine: str) -> Replies:
        return self.ledger.replies(task, owner, self.ledger.model(engine, self.settings.engines[engine]))

    def _per_request(
        self, stage: str, task: str, key: str, engine: str, words: Figure | None, ratio: Figure | None
    ) -> _PerRequest:
        """What a request uses: by the forecast, this source's replies, other sources' replies, or assumptions."""
        settings = self.settings.engines[engine]
        own = self._replies(task, key, engine)
        others = [self._replies(task, name, engine) for name in self.settings.sources]
        pooled = sum(others, Replies())
        asked = self._forecasts.get((key, FILTER, "captions")) if stage == GENERATION else None
        captions = self._stored("captions", key)
        units = asked.value if asked else (captions.rows_out if captions else 0)

        def forecast(quantity: str, factor: float = 1.0) -> Figure | None:
            found = self._forecasts.get((key, stage, quantity))
            return product(found, factor / units) if found is not None and units else None

        measured = next((found for found in (own, pooled) if found.requests >= _LEAST_REPLIES), None)
        note = "" if measured is own else "by the replies of other sources"

        def of_replies(amount: float) -> Figure | None:
            return None if measured is None else Figure(amount / measured.requests, "measured", note)

        assumed = self._assumed_request(task, settings, words, ratio)
        in_flight = settings.concurrency if isinstance(settings, OpenAIEngine) else 1
        use = measured or Replies()
        prompt = forecast("prompt_tokens") or of_replies(use.prompt_tokens) or assumed.prompt_tokens
        completion = forecast("completion_tokens") or of_replies(use.completion_tokens) or assumed.completion_tokens
        seconds = of_replies(use.elapsed(in_flight)) or forecast("hours", 3600) or assumed.seconds
        size = of_replies(use.bytes) or total([known.REPLY_BYTES, product(completion, known.BYTES_PER_TOKEN)])
        return _PerRequest(prompt, completion, seconds, size)

    def _assumed_request(
        self, task: str, engine: EngineSettings, words: Figure | None, pairs: Figure | None
    ) -> _PerRequest:
        caption = product(words, known.TOKENS_PER_WORD)
        text = {"judge_pair": known.PAIR_PROMPT_TOKENS}.get(task, caption)
        completion: Figure | None = known.YES_NO_TOKENS
        if task == "write_pairs":
            completion = product(pairs, known.TOKENS_PER_PAIR)
        if task == "judge_pairs":
            text, completion = product(known.PAIR_PROMPT_TOKENS, 8), product(known.FLAG_TOKENS, 8)
        if isinstance(engine, RuleBasedEngine):
            return _PerRequest(text, completion, known.RULE_BASED_SECONDS[task], None)
        instruction = Figure(
            len(self.prompts[task].text) / known.CHARACTERS_PER_TOKEN, "assumption", known.PROMPT_TOKENS
        )
        prompt = total([instruction, text])
        return _PerRequest(prompt, completion, self._model_seconds(engine, prompt, completion), None)

    def _model_seconds(self, engine: EngineSettings, prompt: Figure | None, completion: Figure | None) -> Figure | None:
        """Seconds of a request on the GPU of the assumptions; None for a server, of which nothing is known."""
        if not isinstance(engine, TransformersEngine | VllmEngine):
            return None
        parameters = _parameters(engine.model)
        if parameters is None:
            return None
        reading = known.MODEL_BYTES * parameters.value * 1e9 / known.BANDWIDTH
        notes = [known.COMPUTE, known.DECODING]
        if isinstance(engine, VllmEngine):
            step, batch = reading, known.VLLM_SEQUENCES
            notes.append(known.VLLM_BATCH)
        else:
            step, batch = max(reading, known.TRANSFORMERS_STEP_SECONDS), engine.batch_size
        prefill = product(prompt, parameters, 2e9 / known.FLOPS)
        decoding = product(completion, Figure(step / batch, "assumption", "; ".join(notes)))
        return total([prefill, decoding])

    def _engine_needs(
        self, engine: EngineSettings, each: _PerRequest, to_ask: Figure | None
    ) -> tuple[str, Figure | None, bool]:
        """Where an engine works, the memory it takes there, and whether that is a GPU's."""
        process = total([known.STAGE_MEMORY, known.SORT_MEMORY, product(to_ask, known.ASKED_BYTES)])
        if isinstance(engine, RuleBasedEngine):
            return "cpu", process, False
        if isinstance(engine, OpenAIEngine):
            return "server", process, False
        if isinstance(engine, VllmEngine):
            share = f"vLLM takes {engine.gpu_memory_utilization:.0%} of each GPU"
            return "gpu", Figure(engine.gpu_memory_utilization * 80e9, "settings", f"{share}, here of 80 GB"), True
        parameters = _parameters(engine.model)
        tokens = total([each.prompt_tokens, each.completion_tokens])
        kept = product(parameters, tokens, engine.batch_size * known.CACHE_BYTES_PER_TOKEN)
        weights = product(parameters, known.MODEL_BYTES * 1e9)
        memory = total([weights, kept, Figure(0, "assumption", known.MODEL_MEMORY)])
        return ("cpu", memory, False) if engine.device == "cpu" else ("gpu", memory, True)

    # --- what spans sources ----------------------------------------------------------------------------------------

    def _spanning(self, by_source: Mapping[str, Sequence[StagePlan]]) -> Iterator[StagePlan]:
        final = [stage for stages in by_source.values() for stage in stages if stage.stage == "spatial_pairs"]
        pairs = known_total(stage.rows_out for stage in final)
        complete = bool(final) and all(stage.done for stage in final)
        samples = self._samples(by_source)
        yield self._whole("spare_dataset", pairs, samples, complete)
        rows = pairs if self.settings.training.unit == "pair" else product(samples, self._images_per_sample)
        yield self._whole("training_samples", pairs, rows, complete)
        yield from self._ablations(by_source)

    def _whole(self, stage: str, rows_in: Figure | None, rows_out: Figure | None, complete: bool) -> StagePlan:
        observed = self._stored(stage, SPANNING)
        done = complete and observed is not None and not observed.trial
        return self._written(stage, SPANNING, rows_in, rows_out, done)

    def _samples(self, by_source: Mapping[str, Sequence[StagePlan]]) -> Figure | None:
        """Captions that keep a pair: as many as pairs over the pairs of a sample, by source."""
        parts = []
        for key, stages in by_source.items():
            final = next(stage for stage in stages if stage.stage == "spatial_pairs")
            if final.rows_out is None:
                continue
            if self._stored("spatial_pairs", key):
                kept = self.store.scan("spatial_pairs", key).select(pl.col("caption_id").n_unique(), pl.len())
                samples, pairs = kept.collect().row(0)
                parts.append(product(final.rows_out, samples / pairs) if pairs else Figure(0, "measured"))
            else:
                per_caption = self._ratio("qa_pairs", key)
                parts.append(None if per_caption is None else product(final.rows_out, 1 / max(per_caption.value, 1)))
        return known_total(parts)

    @cached_property
    def _images_per_sample(self) -> Figure | float:
        if not (self._stored("training_samples", SPANNING) and self._stored("spare_dataset", SPANNING)):
            return known.IMAGES_PER_CAPTION
        samples, rows = self.store.rows("spare_dataset"), self.store.rows("training_samples")
        return Figure(rows / samples, "measured") if samples else 1.0

    def _ablations(self, by_source: Mapping[str, Sequence[StagePlan]]) -> Iterator[StagePlan]:
        ablations = self.settings.analyses.ablations
        for name, engines in (("generation_ablation", ablations.generation), ("filter_ablation", ablations.filter)):
            if not engines:
                continue
            captions = Figure(ablations.captions, "settings")
            done = self.store.exists(name)
            requests = product(captions, len(engines))
            note = Figure(0, "measured") if done else requests
            rows = Figure(len(engines), "settings")
            yield StagePlan(name, SPANNING, done, captions, rows, requests=requests, to_ask=note)

    # --- models ----------------------------------------------------------------------------------------------------

    def _training(self, key: str, recipe: RecipeSettings, trained_on: Mapping[str, StagePlan]) -> StagePlan:
        samples = trained_on["training_samples"].rows_out
        held_out = self.settings.training.held_out_share
        rows = product(samples, 1 - held_out)
        stored = self.store.exists("training_samples")
        if stored and trained_on["training_samples"].done:
            train = self.store.scan(recipe.rows).filter(pl.col("part") == "train").select(pl.len()).collect().item()
            rows = Figure(train, "measured")
        done = trained_on["training_samples"].done and self.store.exists("checkpoint", key)
        self._has_checkpoint[key] = done
        batch = Figure(recipe.batch_size, "settings")
        steps = None if rows is None else replace(rows, value=math.ceil(rows.value / batch.value) * recipe.epochs)
        if recipe.max_steps is not None:
            steps = Figure(recipe.max_steps, "settings")
        base = _parameters(recipe.base)
        made = self._trained(key, recipe)
        size: Figure | None
        if made:
            size = Figure(max(_folder_bytes(folder) for folder, _ in made), "measured")
        elif recipe.stores_adapter:
            size = product(base, 4e9, known.ADAPTER_SHARE, recipe.lora.rank / 64)
        else:
            size = product(base, 1e9 * (4 if recipe.dtype == "float32" else known.MODEL_BYTES))
        if done:
            stage = StagePlan("checkpoint", key, True, rows, steps, size, **_nothing_left())
            return replace(stage, to_ask=None)
        if outcomes := [outcome for _, outcome in made]:
            taken = sum(outcome.steps for outcome in outcomes)
            tokens = product(steps, Figure(sum(outcome.tokens for outcome in outcomes) / taken, "measured"))
            seconds = product(steps, Figure(sum(outcome.seconds for outcome in outcomes) / taken, "measured"))
            memory: Figure | None = Figure(max(outcome.peak_memory_bytes for outcome in outcomes), "measured")
        else:
            tokens = product(steps, batch, self._row_tokens(recipe, trained_on))
            passes = (6 if recipe.method == "full" else 4) + (2 if recipe.gradient_checkpointing else 0)
            compute = Figure(passes * 1e9 / known.FLOPS, "assumption", known.COMPUTE)
            seconds = None if recipe.base == SHIPPED_VLM else product(tokens, base, compute)
            memory = product(base, 1.5e9 * _training_bytes(recipe), Figure(1.0, "assumption", known.TRAINING_MEMORY))
        gpu = recipe.base != SHIPPED_VLM
        return StagePlan(
            "checkpoint", key, False, rows, steps, size,
            prompt_tokens=tokens, bytes_to_write=size, seconds=seconds,
            on="gpu" if gpu else "cpu", memory=memory, gpu_memory=gpu,
        )  # fmt: skip

    def _trained(self, key: str, recipe: RecipeSettings) -> list[tuple[Path, TrainingOutcome]]:
        """Finished trainings of this home by the same recipe, whatever the seed."""
        models = [
            name
            for name, model in self.settings.models.items()
            if isinstance(model, TrainedModel) and self.settings.training.recipes[model.recipe] == recipe
        ]
        found = []
        for name in models:
            for path in sorted((self.home.checkpoints / name).glob(f"*/{OUTCOME_FILE}")):
                if not path.parent.suffix and (outcome := TrainingOutcome.load(path.parent)).steps:
                    found.append((path.parent, outcome))
        return found

    def _row_tokens(self, recipe: RecipeSettings, trained_on: Mapping[str, StagePlan]) -> Figure | None:
        """Tokens of a training row: its picture and its turns."""
        picture = _image_tokens(recipe.max_pixels)
        if recipe.rows == "caption_training_samples":
            words = known_total(self._caption_words)
            return total([picture, product(words, known.TOKENS_PER_WORD)])
        rows, pairs = trained_on["training_samples"].rows_out, trained_on["spare_dataset"].rows_in
        if rows is None or pairs is None or not rows.value:
            return None
        turns = replace(pairs, value=pairs.value / rows.value / (1 - self.settings.training.benign_share))
        return total([picture, product(turns, known.TURN_TOKENS)])

    @property
    def _caption_words(self) -> list[Figure]:
        return [Figure(known.PAPER_TOTAL.words, "paper", "Table 1: words of a caption")]

    def _scores(self) -> Iterator[StagePlan]:
        models = self.settings.models
        for key in self.settings.benchmarks:
            questions = self._questions(key)
            if not models or questions is None:
                continue
            parts = [self._score(key, name, questions) for name in models]
            yield StagePlan(
                f"{key}_score",
                "benchmarks",
                all(part.done for part in parts),
                questions,
                total(part.rows_out for part in parts),
                total(part.bytes for part in parts),
                **{name: total(getattr(part, name) for part in parts) for name in ("requests", "answered")},
                **{name: known_total(getattr(part, name) for part in parts) for name in (*SUMS, "seconds")},
                on="gpu" if any(part.on == "gpu" for part in parts) else parts[0].on,
                memory=max((part.memory for part in parts if part.memory), key=lambda m: m.value, default=None),
                gpu_memory=any(part.gpu_memory for part in parts),
            )

    def _score(self, key: str, name: str, questions: Figure) -> StagePlan:
        """One model on one benchmark."""
        model = self.settings.models[name]
        task, table = f"score_{key}", f"{key}_predictions"
        if isinstance(model, EndpointModel) and model.sample is not None:
            questions = Figure(min(model.sample, questions.value), "settings")
        trained = isinstance(model, TrainedModel)
        stored = Replies() if trained and not self._has_checkpoint[name] else self.ledger.latest(task, name)
        done = self.store.exists(table, name) and not (trained and not self._has_checkpoint[name])
        size = Figure(self.store.path(table, name).stat().st_size, "measured") if done else product(
            questions, Figure(150, "assumption", "tables: 150 bytes a prediction")
        )  # fmt: skip
        answered = questions if done else Figure(min(stored.requests, questions.value), "measured")
        to_ask = Figure(0, "measured") if done else remaining(questions, answered.value)
        others = [self.ledger.latest(task, other) for other in self.settings.models]
        use = next((found for found in (stored, sum(others, Replies())) if found.requests >= _LEAST_REPLIES), None)
        pixels = self._score_pixels(model)
        prompt = total([_image_tokens(pixels), known.SCORE_PROMPT_TOKENS])
        completion: Figure | None = known.SCORE_REPLY_TOKENS
        engine = self._score_engine(model)
        shipped = isinstance(engine, TransformersEngine) and engine.model == str(SANDBOX_VLM)
        seconds = None if shipped else self._model_seconds(engine, prompt, completion)
        if use is not None:
            prompt = Figure(use.prompt_tokens / use.requests, "measured")
            completion = Figure(use.completion_tokens / use.requests, "measured")
            seconds = Figure(use.elapsed() / use.requests, "measured")
        place, memory, on_gpu = self._engine_needs(engine, _PerRequest(prompt, completion, seconds, None), to_ask)
        if shipped:
            place, on_gpu = "cpu", False
        return StagePlan(
            table, name, done, questions, questions, size,
            requests=questions, answered=answered, to_ask=to_ask,
            prompt_tokens=product(to_ask, prompt), completion_tokens=product(to_ask, completion),
            bytes_to_write=Figure(0, "measured") if done else size,
            seconds=product(to_ask, seconds), on=place, memory=memory, gpu_memory=on_gpu,
        )  # fmt: skip

    def _score_engine(self, model: TrainedModel | ReleasedModel | EndpointModel) -> EngineSettings:
        if isinstance(model, EndpointModel):
            return self.settings.engines[model.engine]
        base = model.model if isinstance(model, ReleasedModel) else self.settings.training.recipes[model.recipe].base
        folder = str(SANDBOX_VLM) if base == SHIPPED_VLM else base
        scoring = self.settings.scoring
        return TransformersEngine(model=folder, batch_size=scoring.batch_size, device=scoring.device)

    def _score_pixels(self, model: TrainedModel | ReleasedModel | EndpointModel) -> int:
        if isinstance(model, TrainedModel):
            return self.settings.training.recipes[model.recipe].max_pixels
        own = model.max_pixels if isinstance(model, ReleasedModel) else None
        return own or self.settings.scoring.max_pixels or known.DEFAULT_MAX_PIXELS

    def _questions(self, key: str) -> Figure | None:
        """Questions of a benchmark: as asked before, as its file holds, or as published."""
        table, declared = f"{key}_predictions", self.settings.benchmarks[key]
        for name, model in self.settings.models.items():
            if self.store.exists(table, name) and not isinstance(model, EndpointModel):
                return Figure(self.store.rows(table, name), "measured")
        files = checkable(key, declared, self.home)
        if files is not None and files.records.path.stat().st_size <= BENCHMARK_FILE_BYTES:
            try:
                return Figure(sum(1 for _ in record_rows(files)), "counted")
            except SourceError as error:
                self.warnings.append(str(error).splitlines()[0])
                return None
        if declared.scenes is not None:
            return Figure(declared.scenes.count, "settings")
        return Figure(known.QUESTIONS[key], "assumption", known.PUBLISHED)

    # --- warnings --------------------------------------------------------------------------------------------------

    def closing_warnings(self, stages: Sequence[StagePlan]) -> list[str]:
        """What stands in the way here: disk, memory, GPU."""
        found = list(dict.fromkeys(self.warnings))
        needed = known_total(stage.bytes_to_write for stage in stages)
        if needed is not None and needed.value > self.machine.free_bytes:
            found.append(
                f"disk: {needed.value / 1e9:,.1f} GB are to be written under {self.home.path}, and "
                f"{self.machine.free_bytes / 1e9:,.1f} GB are free"
            )
        waiting = [stage for stage in stages if stage.on == "gpu" and not stage.done]
        if waiting and not self.machine.gpu:
            names = list(dict.fromkeys(stage.stage for stage in waiting))
            shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
            found.append(f"GPU: none here, and {shown} are planned for one; on a CPU they take many times as long")
        largest = max((s for s in stages if s.memory and not s.gpu_memory and not s.done), default=None,
                      key=lambda stage: stage.memory.value if stage.memory else 0)  # fmt: skip
        if largest is not None and largest.memory and largest.memory.value > self.machine.memory_bytes:
            found.append(
                f"memory: {largest.stage} of {largest.owner} may take {largest.memory.value / 1e9:,.1f} GB, and this "
                f"machine has {self.machine.memory_bytes / 1e9:,.1f} GB"
            )
        return found


def _nothing_left() -> dict[str, Any]:
    """What remains of a stage that is done."""
    nothing = Figure(0, "measured")
    return {"bytes_to_write": nothing, "seconds": nothing}


def _share(found: Mapping[str, tuple[float, float]], key: str, *, with_others: bool = True) -> Figure | None:
    """One amount for each of another: of this source, else of the other sources together."""
    if key in found:
        return Figure(found[key][0] / found[key][1], "measured")
    whole = sum(amount for _, amount in found.values())
    if not with_others or not whole:
        return None
    return Figure(sum(part for part, _ in found.values()) / whole, "measured", "as in other sources of this home")


def _image_tokens(max_pixels: int) -> Figure:
    return Figure(max_pixels / known.PIXELS_PER_IMAGE_TOKEN, "assumption", known.IMAGE_PIXELS)


def _training_bytes(recipe: RecipeSettings) -> float:
    """Bytes of GPU memory a parameter takes in training."""
    if recipe.method == "lora":
        return known.MODEL_BYTES + 16 * known.ADAPTER_SHARE.value * recipe.lora.rank / 64
    return 4 + 4 + (2 if recipe.optimizer == "adamw_8bit" else 8)


@cache
def _parameters(model: str) -> Figure | None:
    """Billions of parameters: by the weights where the model is a folder, else by its name."""
    path = SANDBOX_VLM if model == SHIPPED_VLM else Path(model)
    if path.is_dir():
        size = sum(file.stat().st_size for file in path.glob("*.safetensors"))
        return Figure(size / known.MODEL_BYTES / 1e9, "measured") if size else None
    found = re.search(r"(\d+(?:\.\d+)?)\s?([BM])(?![a-z])", model.rpartition("/")[2], re.IGNORECASE)
    if found is None:
        return None
    return Figure(float(found[1]) / (1 if found[2].upper() == "B" else 1000), "assumption", known.PARAMETERS)


def _folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _embed_dim(document: Mapping[str, Any]) -> int:
    return int(document.get("model_cfg", document)["embed_dim"])
