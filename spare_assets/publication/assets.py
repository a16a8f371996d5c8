"""Assets of the publication room: the dataset's card, the exports for other tools, and publication on a hub."""

import shutil
from collections.abc import Iterator
from typing import Any

import dagster as dg
import polars as pl

from spare_assets.orchestration.stage import PARTIAL_INPUTS, Stage, count_table, failure
from spare_assets.orchestration.tables import table_outs
from spare_assets.publication.dataset_card import card_text
from spare_assets.publication.dataset_folder import CARD, CROISSANT, embeddable, write_dataset_folder
from spare_assets.publication.export_formats import (
    LLAMA_FACTORY,
    LLAVA,
    MS_SWIFT,
    PARQUET,
    TRL,
    WEBDATASET,
    ExportFormat,
)
from spare_assets.publication.export_writing import (
    ExportError,
    ReferencedImages,
    images_for,
    publish_folder,
    write_export,
)
from spare_assets.publication.facts import CardError, CardFacts, card_facts
from spare_assets.publication.hub import PublicationError, hub_token, push, refusal
from spare_assets.settings import Home, fingerprint
from spare_assets.storage.conservation import conserve
from spare_assets.storage.schemas import TABLES
from spare_assets.storage.tables import read_batches
from spare_assets.storage.temporaries import temporary_beside
from spare_assets.training.samples import part_of

GROUP = "publication"
CARD_VERSION = "1"
EXPORTS_VERSION = "1"
_EXPORT_BATCH = 1_000
_FILES_SHOWN = 50


def build(home: Home) -> list[dg.AssetsDefinition]:
    """The assets of this room, for one profile."""

    publication = home.settings.publication
    worded = {"pretty_name", "languages", "repo_id"}
    terms = {"licence", "image_licence", "homepage", "citation"}
    # What the tables are made by is no part of these: the assets that make them are stale with it, and so is the card.
    card_version = fingerprint(
        CARD_VERSION,
        publication.model_dump(include=worded, mode="json"),
        {key: source.model_dump(include=terms, mode="json") for key, source in home.settings.sources.items()},
    )

    @dg.multi_asset(
        name="dataset_card",
        outs=table_outs(
            "dataset_card",
            group=GROUP,
            uses=("huggingface", "report"),
            code_version=card_version,
            story="In `exports/card/`: a folder that a hub takes as it is. The card says what the dataset was made of "
            "and how, what was dropped, under what terms it is, and its known limits.",
        ),
        deps=[
            "spare_dataset",
            "dataset_statistics",
            "review_results",
            dg.AssetDep("rejected_pairs", partition_mapping=dg.AllPartitionMapping()),
        ],
        op_tags={PARTIAL_INPUTS: "true"},
    )
    def dataset_card(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        with Stage(context, home) as stage:
            facts = facts_of(stage)
            target = home.exports / "card"
            folder = temporary_beside(target)
            folder.mkdir(parents=True)
            try:
                files = write_dataset_folder(folder, facts, stage.store)
                stage.stage("dataset_card", files)
                publish_folder(folder, target)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            stage.note(
                card=dg.MetadataValue.md(card_text(facts)),
                folder=dg.MetadataValue.path(str(target)),
                card_file=dg.MetadataValue.path(str(target / CARD)),
                croissant_file=dg.MetadataValue.path(str(target / CROISSANT)),
                dataset_version=facts.version,
                licences=dg.MetadataValue.json({source.key: source.settings.licence for source in facts.sources}),
                not_publishable=refusal(facts, publication) or "nothing in its way",
                files=count_table(files.select("file", "rows", "bytes").head(_FILES_SHOWN)),
            )
            yield from stage.publish()

    @dg.multi_asset(
        name="published_dataset",
        outs=table_outs(
            "published_dataset",
            group=GROUP,
            uses=("huggingface", "dataset"),
            cost="network",
            code_version=fingerprint(card_version, publication.model_dump(exclude={"token_variable"}, mode="json")),
            story="Set `publication.enabled` and `publication.repo_id` to push; the token comes from the environment. "
            "Trials, and captions whose licence nobody declared, are refused.",
        ),
        deps=["spare_dataset", "dataset_card"],
    )
    def published_dataset(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        with Stage(context, home) as stage:
            if not publication.enabled:
                stage.stage("published_dataset", TABLES["published_dataset"].empty())
                stage.note(pushed="off: `publication.enabled` would push the dataset to `publication.repo_id`")
                yield from stage.publish()
                return
            facts = facts_of(stage)
            if reason := refusal(facts, publication):
                raise failure(reason)
            embed = embeddable(facts) if publication.embed_images == "by_licence" else None
            folder = stage.scratch / "dataset"
            folder.mkdir()
            try:
                hub_token(publication)
                files = write_dataset_folder(folder, facts, stage.store, embed)
                revision = push(folder, facts, publication)
            except (ExportError, PublicationError) as error:
                raise failure(str(error)) from error
            pushed = files.with_columns(repository=pl.lit(publication.repo_id), revision=pl.lit(revision))
            stage.stage("published_dataset", pushed)
            stage.note(
                repository=publication.repo_id,
                revision=revision,
                dataset_version=facts.version,
                samples=facts.totals["samples"],
                pairs=facts.totals["pairs"],
                embedded_images=int(files["embedded_images"].sum()),
                images_embedded_from=dg.MetadataValue.json(embed or []),
                bytes=int(files["bytes"].sum()),
                files=count_table(files.select("file", "rows", "bytes").head(_FILES_SHOWN)),
            )
            yield from stage.publish()

    def facts_of(stage: Stage) -> CardFacts:
        """What there is to say about the stored dataset. Raises Failure where it is not of one state."""
        try:
            return card_facts(stage.store, home.settings)
        except CardError as error:
            raise failure(str(error)) from error

    def export_outs(name: str, story: str, *uses: str) -> dict[str, dg.AssetOut]:
        exports = home.settings.exports
        decided = fingerprint(
            EXPORTS_VERSION,
            exports.model_dump(mode="json"),
            home.settings.training.held_out_share if exports.held_out else None,
        )
        return table_outs(name, group=GROUP, code_version=decided, story=story, uses=uses)

    @dg.multi_asset(
        name="parquet_export",
        outs=export_outs(
            "parquet_export",
            "In `exports/parquet/`, a row per sample with all its pairs; `load_dataset` on the folder gives a split "
            "per part, with pictures decoded.",
            "huggingface",
            "dataset",
        ),
        deps=["spare_dataset"],
    )
    def parquet_export(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        yield from exported(context, home, "parquet_export", PARQUET)

    @dg.multi_asset(
        name="llava_export",
        outs=export_outs("llava_export", "In `exports/llava/`, one JSON array per part, an entry per sample.", "json"),
        deps=["spare_dataset"],
    )
    def llava_export(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        yield from exported(context, home, "llava_export", LLAVA)

    @dg.multi_asset(
        name="llama_factory_export",
        outs=export_outs(
            "llama_factory_export",
            "In `exports/llama_factory/`, JSON lines, a conversation per sample; the folder is a `dataset_dir`.",
            "json",
            "llama",
        ),
        deps=["spare_dataset"],
    )
    def llama_factory_export(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        yield from exported(context, home, "llama_factory_export", LLAMA_FACTORY)

    @dg.multi_asset(
        name="ms_swift_export",
        outs=export_outs(
            "ms_swift_export",
            "In `exports/ms_swift/`, JSON lines, a conversation per sample; `dataset_info.json` registers each part.",
            "json",
        ),
        deps=["spare_dataset"],
    )
    def ms_swift_export(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        yield from exported(context, home, "ms_swift_export", MS_SWIFT)

    @dg.multi_asset(
        name="trl_export",
        outs=export_outs(
            "trl_export",
            "In `exports/trl/`, Parquet that `SFTTrainer` takes as it is: the loss is on the completion alone.",
            "huggingface",
        ),
        deps=["spare_dataset"],
    )
    def trl_export(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        yield from exported(context, home, "trl_export", TRL)

    @dg.multi_asset(
        name="webdataset_export",
        outs=export_outs(
            "webdataset_export",
            "In `exports/webdataset/`, tar shards for sets too large for random access: of every sample a JSON member, "
            "and its picture beside it where `exports.with_images` is on.",
            "file",
        ),
        deps=["spare_dataset"],
    )
    def webdataset_export(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        yield from exported(context, home, "webdataset_export", WEBDATASET)

    return [
        dataset_card,
        published_dataset,
        parquet_export,
        llava_export,
        llama_factory_export,
        ms_swift_export,
        trl_export,
        webdataset_export,
    ]


def exported(
    context: dg.AssetExecutionContext, home: Home, table: str, form: ExportFormat
) -> Iterator[dg.MaterializeResult[None]]:
    """Write the dataset in one format, put the folder in place, and report it."""
    settings = home.settings.exports
    share = home.settings.training.held_out_share if settings.held_out else 0.0
    with Stage(context, home) as stage:
        dataset = stage.store.scan("spare_dataset")
        offered, images = (
            dataset.select(pl.col("pairs").list.len().sum(), pl.col("image_sha256").drop_nulls().n_unique())
            .collect(engine="streaming")
            .row(0)
        )
        target = home.exports / form.name
        folder = temporary_beside(target)
        folder.mkdir(parents=True)
        progress = stage.progress(stage.store.rows("spare_dataset"))
        try:
            export = write_export(
                form,
                read_batches(stage.store.path("spare_dataset"), _EXPORT_BATCH),
                folder,
                images=images_for(form, folder, with_images=settings.with_images),
                part_of=lambda image_id: part_of(image_id, share),
                shard_rows=settings.shard_rows,
                shard_bytes=int(settings.shard_megabytes * 1_000_000),
                advance=progress.advance,
            )
            conserve(table, read=offered, parts={"written": int(export.files["pairs"].sum())})
            stage.stage(table, export.files)
            publish_folder(folder, target)
        except ExportError as error:
            raise failure(str(error)) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        progress.finish()
        stage.note(
            folder=dg.MetadataValue.path(str(target)),
            how_to_load=dg.MetadataValue.text(form.loading.format(folder=str(target))),
            samples=export.samples,
            rows=export.rows,
            pairs=export.pairs,
            images=images,
            bytes=export.bytes,
            pictures="inside" if settings.with_images else "named by absolute path",
            picture_files=export.image_files,
            pairs_without_image=export.without_image,
            pairs_with_marks_made_plain=export.changed,
            pairs_with_control_text=export.control_text,
            files=count_table(export.files.drop("sha256").head(_FILES_SHOWN)),
            **first_rows(dataset, form),
        )
        yield from stage.publish()


def first_rows(dataset: pl.LazyFrame, form: ExportFormat) -> dict[str, Any]:
    """The first row of an export, to see what it looks like."""
    for sample in dataset.head(1).collect().iter_rows(named=True):
        return {"first_row": dg.MetadataValue.json(form.rows(sample, ReferencedImages().of(sample))[0])}
    return {}
