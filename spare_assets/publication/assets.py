"""Assets of the publication room: the dataset's card, the exports for other tools, and publication on a hub."""

import shutil
from collections.abc import Iterator
from typing import Any

import dagster as dg
import polars as pl

from spare_assets.orchestration.stage import Stage, count_table
from spare_assets.orchestration.tables import table_outs
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
from spare_assets.settings import Home, fingerprint
from spare_assets.storage.conservation import conserve
from spare_assets.storage.tables import read_batches
from spare_assets.storage.temporaries import temporary_beside
from spare_assets.training.samples import part_of

GROUP = "publication"
EXPORTS_VERSION = "1"
_EXPORT_BATCH = 1_000
_FILES_SHOWN = 50


def build(home: Home) -> list[dg.AssetsDefinition]:
    """The assets of this room, for one profile."""

    def export_outs(name: str, story: str) -> dict[str, dg.AssetOut]:
        exports = home.settings.exports
        decided = fingerprint(
            EXPORTS_VERSION,
            exports.model_dump(mode="json"),
            home.settings.training.held_out_share if exports.held_out else None,
        )
        return table_outs(name, group=GROUP, code_version=decided, story=story)

    @dg.multi_asset(
        name="parquet_export",
        outs=export_outs(
            "parquet_export",
            "In `exports/parquet/`, a row per sample with all its pairs; `load_dataset` on the folder gives a split "
            "per part, with pictures decoded.",
        ),
        deps=["spare_dataset"],
    )
    def parquet_export(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        yield from exported(context, home, "parquet_export", PARQUET)

    @dg.multi_asset(
        name="llava_export",
        outs=export_outs("llava_export", "In `exports/llava/`, one JSON array per part, an entry per sample."),
        deps=["spare_dataset"],
    )
    def llava_export(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        yield from exported(context, home, "llava_export", LLAVA)

    @dg.multi_asset(
        name="llama_factory_export",
        outs=export_outs(
            "llama_factory_export",
            "In `exports/llama_factory/`, JSON lines, a conversation per sample; the folder is a `dataset_dir`.",
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
        ),
        deps=["spare_dataset"],
    )
    def webdataset_export(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        yield from exported(context, home, "webdataset_export", WEBDATASET)

    return [parquet_export, llava_export, llama_factory_export, ms_swift_export, trl_export, webdataset_export]


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
            raise dg.Failure(str(error), allow_retries=False) from error
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
