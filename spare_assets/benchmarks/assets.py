"""Assets of the benchmarks room: ten scores for each model, the leaderboard, and answers side by side."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import polars as pl

from spare_assets.benchmarks.catalog import CATALOG
from spare_assets.benchmarks.comparison import Selection, comparison_rows
from spare_assets.benchmarks.comparison_page import comparison_markdown, comparison_page
from spare_assets.benchmarks.dialects import load_dialect
from spare_assets.benchmarks.examinees import resolution, system_prompt
from spare_assets.benchmarks.image_files import checkable
from spare_assets.benchmarks.leaderboard import caption_comparison, leaderboard, leaderboard_table
from spare_assets.benchmarks.leaderboard_picture import leaderboard_picture
from spare_assets.benchmarks.leaderboard_text import comparison_latex, latex, markdown
from spare_assets.benchmarks.leaderboard_text import comparison_markdown as caption_comparison_markdown
from spare_assets.benchmarks.origins import ORIGINS, missing_file_message, missing_images_message
from spare_assets.benchmarks.pictures import Pictures
from spare_assets.benchmarks.prediction_sample import prediction_sample
from spare_assets.benchmarks.questions import Benchmark
from spare_assets.benchmarks.scoring import (
    VERSION,
    asked_items,
    check_readable,
    not_asked,
    predictions,
    question_rows,
    request,
    score_table,
)
from spare_assets.benchmarks.standings import (
    Scored,
    base_of,
    model_scores,
    of_one_version,
    resolution_in_words,
    unclean_items,
)
from spare_assets.orchestration.launchpad import BatchConfig
from spare_assets.orchestration.resources import ScoredModels
from spare_assets.orchestration.stage import PARTIAL_INPUTS, Stage, count_table, embedded, failure, tally_metadata
from spare_assets.orchestration.tables import table_outs
from spare_assets.sandbox.benchmark_files import ensure_rendered
from spare_assets.settings import BENCHMARKS, EndpointModel, Home, fingerprint
from spare_assets.storage.conservation import check_failed, conserve
from spare_assets.storage.durability import write_whole
from spare_assets.storage.schemas import TABLES
from spare_assets.storage.tables import content_hash, read_batches, sorted_by_key
from spare_assets.training.contamination import coverage

GROUP = "benchmarks"
REPLY_TOKENS = 128
"""Longest reply: an answer and a few words about it."""
_PARTS = ("score", "predictions")
_PAGE = "model_comparison.html"


def build(home: Home, models: dg.PartitionsDefinition[str]) -> list[dg.AssetsDefinition]:
    """The assets of this room, for one profile."""
    settings = home.settings
    scoring = settings.scoring
    named = {model.dialect for model in settings.models.values()}
    loaded = {name: load_dialect(name, scoring.prompts) for name in sorted(named)}
    dialects = {key: loaded[model.dialect] for key, model in settings.models.items()}
    every_model = dg.AllPartitionMapping()

    def score(key: str) -> dg.AssetsDefinition:
        benchmark = CATALOG[key]
        declared = settings.benchmarks.get(key)
        asked_by = {
            "benchmark": None if declared is None else declared.model_dump(mode="json"),
            "scoring": scoring.model_dump(mode="json", exclude={"device", "batch_size", "prompts", "ray"}),
            # By dialect, not by model: adding a seed makes no other one stale.
            "dialects": sorted(dialect.fingerprint for dialect in loaded.values()),
        }

        @dg.multi_asset(
            name=f"{key}_score",
            outs=table_outs(
                f"{key}_score",
                f"{key}_predictions",
                group=GROUP,
                uses=("pytorch", "huggingface"),
                cost="model",
                code_version=fingerprint(VERSION, asked_by),
                story=f"{benchmark.title}, {benchmark.origin}. Paper 4.2, 4.3 and Table 3. Answers are read out of "
                "the replies by rules, without a judge model.",
            ),
            partitions_def=models,
            backfill_policy=dg.BackfillPolicy.multi_run(1),
            pool="gpu",
        )
        def score_asset(
            context: dg.AssetExecutionContext,
            config: BatchConfig,
            scored_models: dg.ResourceParam[ScoredModels],
            checkpoint: pl.LazyFrame,
        ) -> Iterator[dg.MaterializeResult[None]]:
            with Stage(context, home, config) as stage:
                record = checkpoint.collect().row(0, named=True)
                yield from scored(stage, benchmark, scored_models, record, config.batch_size)

        return score_asset

    def scored(
        stage: Stage,
        benchmark: Benchmark,
        scored_models: ScoredModels,
        record: Mapping[str, Any],
        batch_size: int | None,
    ) -> Iterator[dg.MaterializeResult[None]]:
        key, model = benchmark.key, stage.model_key
        declared = settings.benchmarks.get(key)
        if declared is None:
            raise failure(
                f"{benchmark.title}: the profile does not say where its records lie; set `benchmarks.{key}.file`"
            )
        ensure_rendered(key, declared, home)
        files = checkable(key, declared, home)
        if files is None:
            raise failure(missing_file_message(key, home.resolve(declared.file)))
        if files.images is not None and declared.scenes is None and not ORIGINS[key].has_pictures(files.images):
            raise failure(missing_images_message(key, files.images))
        dialect = dialects[model]
        pictures = Pictures(files, home.benchmark_images / key, settings.download.max_pixels)
        found = stage.scratch / "questions.parquet"
        with found.open("wb") as file:
            pl.concat(question_rows(benchmark.read(files, pictures, declared), benchmark)).write_parquet(file)
        every = pl.scan_parquet(found)
        chosen_model = settings.models[model]
        sample = chosen_model.sample if isinstance(chosen_model, EndpointModel) else None
        chosen = asked_items(every, benchmark, sample)
        asked, aside = chosen.filter(pl.col("problem") == ""), chosen.filter(pl.col("problem") != "")
        unreadable = every.filter(~pl.col("readable")).collect()
        check_readable(benchmark.title, every, settings.limits)
        put, passed_by = stage.scratch / "asked.parquet", aside.collect()
        asked.sink_parquet(put)
        total = pl.scan_parquet(put).select(pl.len()).collect().item()
        prompt, (low, high) = system_prompt(record, settings), resolution(record, settings)
        asked_how = {
            "questions": content_hash(found),
            "resolution": resolution_in_words(record["kind"], low, high),
            "system_prompt": prompt or "",
            "dialect": dialect.name,
            "sample": "" if sample is None else str(sample),
        }
        with scored_models.inquiry(
            record, f"score_{key}", stage, stage.progress(total), batch_size=batch_size
        ) as inquiry:
            tally = inquiry.ask(read_batches(put), lambda row: request(row, dialect, prompt, REPLY_TOKENS))
            rows = itertools.chain(
                predictions(inquiry.answers(), model, benchmark, dialect, declared),
                [not_asked(passed_by, model, benchmark, dialect), not_asked(unreadable, model, benchmark, dialect)],
            )
            ordered = sorted_by_key(rows, TABLES[f"{key}_predictions"], stage.scratch)
            said = stage.stage(f"{key}_predictions", ordered, **asked_how)
        outcomes = said.scan().group_by("outcome").agg(questions=pl.len()).sort("questions", descending=True).collect()
        by_outcome = dict(outcomes.iter_rows())
        conserve(f"{key}_score", read=total + passed_by.height + unreadable.height, parts=by_outcome)
        check_failed(f"{key}_score", total, by_outcome.get("failed", 0), settings.limits.failed_request_share)
        scores = score_table(said.scan(), model, benchmark, scoring.bootstrap_draws)
        stage.stage(f"{key}_score", scores)
        for outcome in ("unparsed", "truncated", "failed", "not asked", "unreadable record"):
            if by_outcome.get(outcome):
                stage.context.log.warning(f"{key}: {by_outcome[outcome]:,} of {said.rows:,} questions: {outcome}")
        stage.note(
            **tally_metadata(tally),
            **headlines(scores),
            scores=count_table(scores.filter(pl.col("category") == "").drop("model", "category", "headline")),
            outcomes=count_table(outcomes),
            records_in_file=every.select(pl.len()).collect().item(),
            **{name: value for name, value in asked_how.items() if value},
        )
        with_pictures = dg.MetadataValue.md(prediction_sample(said.scan()))
        by_category = scores.filter(pl.col("category") != "").select("metric", "category", "value", "units")
        about: dict[str, Mapping[str, Any]] = {
            f"{key}_score": {"by_category": count_table(by_category)},
            f"{key}_predictions": {"predictions": with_pictures},
        }
        yield from stage.publish(**about)

    @dg.multi_asset(
        name="leaderboard",
        outs=table_outs(
            "leaderboard",
            group=GROUP,
            uses=("polars", "report"),
            code_version=fingerprint(VERSION, scoring.bootstrap_draws),
            story="From the predictions of every model that has any; also as `exports/leaderboard.md`, `.tex`, `.png`.",
        ),
        deps=[
            "benchmark_images",
            "contaminated_images",
            dg.AssetDep("checkpoint", partition_mapping=every_model),
            *(dg.AssetDep(f"{key}_{part}", partition_mapping=every_model) for key in BENCHMARKS for part in _PARTS),
        ],
        op_tags={PARTIAL_INPUTS: "true"},
    )
    def leaderboard_asset(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        with Stage(context, home) as stage:
            store = stage.store
            unclean: dict[str, pl.Series] = {}
            if store.exists("contaminated_images") and store.exists("benchmark_images"):
                images = store.scan("benchmark_images")
                known = coverage(settings.benchmarks, images.collect())
                unclean = unclean_items(store.scan("contaminated_images"), images, known)
            said = comparable_scores(stage)
            standings = []
            for model in settings.models:
                of_model = {key: scored[model] for key, scored in said.items() if model in scored}
                if of_model:
                    record = store.scan("checkpoint", model).collect().row(0, named=True)
                    standings.append(model_scores(record, of_model, unclean, settings))
            if not standings:
                context.log.warning("no model has a score yet, so these are the printed figures alone")
            rows = leaderboard(standings, scoring.bootstrap_draws)
            stage.stage("leaderboard", leaderboard_table(rows))
            captions = caption_comparison(rows)
            picture = leaderboard_picture(rows)
            text = f"{markdown(rows)}\n{caption_comparison_markdown(captions)}"
            write_whole(home.exports / "leaderboard.md", text.encode())
            write_whole(home.exports / "leaderboard.tex", f"{latex(rows)}\n{comparison_latex(captions)}".encode())
            write_whole(home.exports / "leaderboard.png", picture)
            stage.note(
                picture=embedded(picture, "leaderboard"),
                leaderboard=dg.MetadataValue.md(text),
                models=[standing.model for standing in standings],
                exports=dg.MetadataValue.path(str(home.exports)),
            )
            yield from stage.publish()

    @dg.multi_asset(
        name="model_comparison",
        outs=table_outs(
            "model_comparison",
            group=GROUP,
            uses=("polars", "report"),
            code_version=fingerprint(VERSION),
            story=f"As a page too, `exports/{_PAGE}`: what training gained, what it lost, by benchmark and category.",
        ),
        deps=[dg.AssetDep(f"{key}_predictions", partition_mapping=every_model) for key in BENCHMARKS],
        op_tags={PARTIAL_INPUTS: "true"},
    )
    def model_comparison(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        with Stage(context, home) as stage:
            said = {
                key: {model: one.predictions for model, one in scored.items()}
                for key, scored in comparable_scores(stage).items()
            }
            bases = {model: base for model in settings.models if (base := base_of(model, settings)) is not None}
            compared = stage.stage("model_comparison", comparison_rows(said, bases))
            page = home.exports / _PAGE
            write_whole(page, comparison_page(compared.scan(), bases, Selection()).encode())
            stage.note(
                page=dg.MetadataValue.path(str(page)),
                side_by_side=dg.MetadataValue.md(comparison_markdown(compared.scan(), bases)),
            )
            yield from stage.publish()

    return [*(score(key) for key in BENCHMARKS), leaderboard_asset, model_comparison]


def comparable_scores(stage: Stage) -> dict[str, dict[str, Scored]]:
    """What models said, by benchmark and model. A model scored on other questions than the last one is left out."""
    store = stage.store
    found: dict[str, dict[str, Scored]] = {}
    for key in BENCHMARKS:
        table = f"{key}_predictions"
        present = [model for model in stage.home.settings.models if store.exists(table, model)]
        scored = {}
        for model in present:
            how = store.metadata(table, model)
            scored[model] = Scored(
                store.scan(table, model), how["questions"], how["resolution"], how["system_prompt"] or None
            )
        if not scored:
            continue
        latest = max(present, key=lambda model: store.path(table, model).stat().st_mtime)
        found[key] = of_one_version(scored, latest)
        if left_out := [model for model in scored if model not in found[key]]:
            stage.context.log.warning(
                f"{key}: {', '.join(left_out)} left out: scored on other questions than {latest}; score them again"
            )
    return found


def headlines(scores: pl.DataFrame) -> dict[str, float]:
    """The headline scores as numbers that Dagster plots over time."""
    return {
        row["metric"].replace(" ", "_"): row["value"]
        for row in scores.filter("headline").iter_rows(named=True)
        if row["value"] is not None
    }
