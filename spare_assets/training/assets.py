"""Assets of the training room: contamination, training rows, the hyperparameter search, and a checkpoint per model."""

import json
from collections.abc import Iterator
from typing import Any

import dagster as dg
import polars as pl

from spare_assets.benchmarks.image_files import benchmark_images, checkable, image_table
from spare_assets.captions.records import SourceError
from spare_assets.orchestration.stage import Stage, count_table, embedded
from spare_assets.orchestration.tables import table_outs
from spare_assets.orchestration.training_process import run_training
from spare_assets.sandbox.benchmark_files import ensure_rendered
from spare_assets.settings import (
    EndpointModel,
    Home,
    OpenAIEngine,
    RecipeSettings,
    TrainedModel,
    engine_identity,
    fingerprint,
)
from spare_assets.storage.conservation import conserve
from spare_assets.storage.tables import StagedTable, content_hash
from spare_assets.training.checkpoints import (
    PROGRAM_VERSION,
    alone,
    endpoint_record,
    is_trained,
    recipe_identity,
    released_record,
    remove_superseded,
    trained_record,
    training_order,
)
from spare_assets.training.contamination import contaminated_images, coverage, distinct_hashes
from spare_assets.training.loss_curve import loss_curve
from spare_assets.training.order import TrainingError, TrainingOrder, TrainingOutcome
from spare_assets.training.reports import LOG_FILE, read_log
from spare_assets.training.samples import choose_turns, offered_pairs
from spare_assets.training.search import ranked, trials

GROUP = "training"
ROWS = ("training_samples", "caption_training_samples")
PARTS = ("rejected_pairs", "spatial_captions", "images")


def build(home: Home, models: dg.PartitionsDefinition[str]) -> list[dg.AssetsDefinition]:
    """The assets of this room, for one profile."""
    settings = home.settings
    training = settings.training
    every_source = dg.AllPartitionMapping()
    recipes = {name: recipe_identity(recipe) for name, recipe in training.recipes.items()}
    # Seeds and names stand in the partitions: adding a model makes no other one stale.
    declared = sorted(
        {
            fingerprint(engine_identity(settings.engines[model.engine]))
            if isinstance(model, EndpointModel)
            else fingerprint(model.model_dump(mode="json", include={"kind", "model", "revision", "adapter", "recipe"}))
            for model in settings.models.values()
        }
    )

    @dg.multi_asset(
        name="benchmark_images",
        outs=table_outs(
            "benchmark_images",
            group=GROUP,
            code_version=fingerprint(1, {key: value.model_dump() for key, value in settings.benchmarks.items()}),
            story="From the benchmarks' own files. One whose file is absent is not checked, which is not to say clean.",
        ),
    )
    def benchmark_images_asset(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        with Stage(context, home) as stage:
            progress = stage.progress(None)
            rows = []
            damaged: dict[str, str] = {}
            for key, benchmark in settings.benchmarks.items():
                ensure_rendered(key, benchmark, home)
                if (files := checkable(key, benchmark, home)) is None:
                    context.log.warning(f"{key}: {home.resolve(benchmark.file)} is absent: not checked")
                    continue
                try:
                    for image in benchmark_images(files, stage.scratch, settings.download.max_pixels):
                        rows.append(image)
                        progress.advance()
                except SourceError as error:
                    context.log.error(f"{key}: {error}; what could not be read is not checked")
                    damaged[key] = str(error)
            progress.finish()
            found = image_table(rows)
            stage.stage("benchmark_images", found)
            stage.note(
                coverage=count_table(coverage(settings.benchmarks, found)), damaged=dg.MetadataValue.json(damaged)
            )
            yield from stage.publish()

    @dg.multi_asset(
        name="contaminated_images",
        outs=table_outs(
            "contaminated_images",
            group=GROUP,
            code_version=fingerprint(1, training.hash_distance),
            story="Found by canonical id, or by perceptual hashes that differ in few bits. `training.contamination` "
            "says whether they are trained on.",
        ),
        deps=["benchmark_images", dg.AssetDep("images", partition_mapping=every_source)],
    )
    def contaminated_images_asset(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        with Stage(context, home) as stage:
            images = pl.concat([stage.store.scan("images", source) for source in stage.sources_with("images")])
            known = stage.store.scan("benchmark_images")
            progress = stage.progress(distinct_hashes(images))
            found = contaminated_images(images, known, training.hash_distance, progress.advance)
            progress.finish()
            stage.stage("contaminated_images", found)
            by_benchmark = found.group_by("benchmark", "match").agg(images=pl.col("image_id").n_unique())
            stage.note(
                images=found["image_id"].n_unique(),
                by_benchmark=count_table(by_benchmark.sort("benchmark", "match")),
                coverage=count_table(coverage(settings.benchmarks, known.collect())),
            )
            yield from stage.publish()

    @dg.multi_asset(
        name="training_samples",
        outs=table_outs(
            *ROWS,
            group=GROUP,
            uses=("duckdb",),
            code_version=fingerprint(1, training.model_dump(mode="json", exclude={"recipes", "search"})),
            story="Paper 3.7. Loss is on answers only; an image's pairs stand in one row, so that it is encoded once.",
        ),
        deps=[
            "spare_dataset",
            "contaminated_images",
            *(dg.AssetDep(name, partition_mapping=every_source) for name in PARTS),
        ],
    )
    def training_samples(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        with Stage(context, home) as stage:
            present = stage.sources_with(*PARTS)
            rejected, captions, images = ([stage.store.scan(name, source) for source in present] for name in PARTS)
            chosen = choose_turns(
                stage.store.scan("spare_dataset"),
                rejected,
                captions,
                images,
                stage.store.scan("contaminated_images"),
                training,
                stage.scratch,
            )
            counts = chosen.counts
            version = {"spare_dataset": content_hash(stage.store.path("spare_dataset"))}
            rows = stage.stage("training_samples", chosen.samples(), **version)
            caption_rows = stage.stage("caption_training_samples", chosen.caption_samples(), **version)
            turns, caption_turns = (staged_turns(staged) for staged in (rows, caption_rows))
            offered = offered_pairs(stage.store.scan("spare_dataset"), rejected)
            conserve("training_samples", read=offered, parts=counts.parts | {"turns": turns})
            conserve("caption_training_samples", read=counts.captions, parts={"turns": caption_turns})
            if not turns:
                context.log.warning(f"of {offered:,} pairs none can be trained on: {json.dumps(counts.parts)}")
            stage.note(
                pairs_offered=offered,
                **{f"pairs_{name}": count for name, count in counts.parts.items()},
                benign_turns=counts.benign_turns,
                images=counts.images,
                held_out_images=counts.held_out_images,
                captions=counts.captions,
                contamination=training.contamination,
            )
            yield from stage.publish(caption_training_samples={"rows": caption_rows.rows})

    search = training.search
    searched = [search.model_dump(mode="json"), recipes[search.recipe]] if search else []

    @dg.multi_asset(
        name="hyperparameter_trials",
        outs=table_outs(
            "hyperparameter_trials",
            group=GROUP,
            uses=("pytorch", "huggingface"),
            cost="model",
            code_version=fingerprint(PROGRAM_VERSION, searched),
            story="Paper A.1. Set `training.search.enabled` to train them; each is a run of the recipe's full length.",
        ),
        deps=ROWS,
        pool="gpu",
    )
    def hyperparameter_trials(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        with Stage(context, home) as stage:
            tried = trials(search, training.recipes[search.recipe]) if search else []
            done: list[dict[str, Any]] = []
            for number, trial in enumerate(tried if search and search.enabled else ()):
                assert search is not None
                context.log.info(f"trial {number + 1} of {len(tried)}: {json.dumps(trial.changed) or 'unchanged'}")
                row = {"recipe": search.recipe, "changed": json.dumps(trial.changed, sort_keys=True)}
                try:
                    order, outcome = trained(stage, f"trial-{search.recipe}", trial.recipe, search.seed)
                except TrainingError as error:
                    context.log.error(str(error))
                    done.append(row)
                    continue
                done.append(
                    {
                        **row,
                        "held_out_loss": outcome.held_out_loss,
                        "training_loss": outcome.training_loss,
                        "steps": outcome.steps,
                        "fingerprint": order.record["fingerprint"],
                    }
                )
            rows = ranked(done)
            stage.stage("hyperparameter_trials", rows)
            off = f"off: `training.search.enabled` would train the {len(tried)} trials that `training.search` declares"
            stage.note(trials=count_table(rows) if done else dg.MetadataValue.md(off))
            yield from stage.publish()

    @dg.multi_asset(
        name="checkpoint",
        outs=table_outs(
            "checkpoint",
            group=GROUP,
            uses=("pytorch", "huggingface"),
            cost="model",
            code_version=fingerprint(PROGRAM_VERSION, recipes, declared),
            story="Materializing it trains those that are trained here, by their recipe (paper 3.7, 4.1.2), unless "
            "this very model is there already; for the others it writes down where they are.",
        ),
        deps=ROWS,
        partitions_def=models,
        backfill_policy=dg.BackfillPolicy.multi_run(1),
        pool="gpu",
    )
    def checkpoint(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        with Stage(context, home) as stage:
            key = stage.model_key
            model = settings.models[key]
            if isinstance(model, TrainedModel):
                order, outcome = trained(stage, key, training.recipes[model.recipe], model.seed)
                record = trained_record(order, model, outcome)
                stage.note(**training_metadata(order, outcome))
            elif isinstance(model, EndpointModel):
                engine = settings.engines[model.engine]
                assert isinstance(engine, OpenAIEngine)
                record = endpoint_record(key, model, engine)
            else:
                record = released_record(key, model, home)
            stage.stage("checkpoint", record)
            stage.note(**{name: value for name, value in record.row(0, named=True).items() if value is not None})
            yield from stage.publish()

    def trained(stage: Stage, key: str, recipe: RecipeSettings, seed: int) -> tuple[TrainingOrder, TrainingOutcome]:
        """Train by a recipe, or find this very model trained before."""
        made_of = stage.store.metadata(recipe.rows).get("spare_dataset", "not recorded")
        order = training_order(home, key, recipe, seed, stage.store.path(recipe.rows), made_of)
        if is_trained(order):
            stage.context.log.info(f"{key}: nothing changed, {order.output} stands")
            stage.note(trained_now=False)
            return order, TrainingOutcome.load(order.output)
        for folder in remove_superseded(order):
            stage.context.log.info(f"{key}: removed {folder}, unfinished work of settings that no longer hold")
        stage.note(trained_now=True)
        with alone(order):
            return order, run_training(stage, order)

    return [benchmark_images_asset, contaminated_images_asset, training_samples, hyperparameter_trials, checkpoint]


def staged_turns(rows: StagedTable) -> int:
    """Turns in training rows."""
    return int(rows.scan().select(pl.col("turns").list.len().sum()).collect().item() or 0)


def training_metadata(order: TrainingOrder, outcome: TrainingOutcome) -> dict[str, Any]:
    """What a training took and how its loss went, for the asset page."""
    records = list(read_log(order.output / LOG_FILE))
    picture = loss_curve(records, order.model, outcome.held_out_loss)
    return {
        "loss_curve": embedded(picture, "loss by step"),
        "training_loss": outcome.training_loss,
        "rows": outcome.rows,
        "tokens": outcome.tokens,
        "answer_tokens": outcome.answer_tokens,
        "training_seconds": outcome.seconds,
        "tokens_per_second": outcome.tokens / max(outcome.seconds, 1e-9),
        "peak_memory_bytes": outcome.peak_memory_bytes,
        "rows_too_long": outcome.too_long,
        "rows_unreadable": outcome.unreadable,
        "resumed_at_step": outcome.resumed_at,
        "settings": dg.MetadataValue.json(order.record),
    }
