"""Assets of the captions room: captions with their quarantine, and the images the surviving pairs need."""

import itertools
from collections.abc import Iterator

import dagster as dg
import polars as pl
from pydantic import Field

from spare_assets.captions.images import needed_images, resolve_images
from spare_assets.captions.readers import check_unreadable, read_captions, smallest_by_hash
from spare_assets.captions.records import SourceError
from spare_assets.orchestration.stage import Stage, count_table
from spare_assets.orchestration.tables import table_outs
from spare_assets.pages.bars import Bar, bar_picture
from spare_assets.pages.card import DROPPED, KEPT
from spare_assets.pages.score_histogram import amount_bins, score_histogram
from spare_assets.sandbox.corpora import write_corpus
from spare_assets.settings import Home, fingerprint
from spare_assets.storage.conservation import conserve
from spare_assets.storage.schemas import TABLES
from spare_assets.storage.tables import StagedTable, sorted_by_key

GROUP = "captions"


class CaptionsConfig(dg.Config):
    """What a person may change for one run of `captions`."""

    limit: int | None = Field(
        default=None, description="Read only this many captions, those with the smallest hash: a trial."
    )
    replace_full: bool = Field(default=False, description="Let a trial replace a table of all captions.")


def build(home: Home, sources: dg.PartitionsDefinition[str]) -> list[dg.AssetsDefinition]:
    """The assets of this room, for one profile."""
    settings = home.settings
    sources_read = [
        (key, source.model_dump(mode="json", include={"format", "files", "splits", "columns", "skip_empty", "scenes"}))
        for key, source in settings.sources.items()
    ]
    images_read = [(key, source.image_folders, source.download_images) for key, source in settings.sources.items()]
    captions_version = fingerprint(1, sources_read, settings.limits.max_caption_characters)
    images_version = fingerprint(
        1,
        images_read,
        settings.download.max_bytes,
        settings.download.max_pixels,
        settings.quality.images_of_all_captions,
    )

    @dg.multi_asset(
        name="captions",
        outs=table_outs(
            "captions",
            "quarantined_captions",
            group=GROUP,
            uses=("polars", "source"),
            code_version=captions_version,
            story="Paper 3.1.1. Read from the source's native release files; nothing is dropped in silence: rows "
            "that cannot be read go to `quarantined_captions`.",
        ),
        partitions_def=sources,
        backfill_policy=dg.BackfillPolicy.multi_run(1),
    )
    def captions(context: dg.AssetExecutionContext, config: CaptionsConfig) -> Iterator[dg.MaterializeResult[None]]:
        with Stage(context, home, config) as stage:
            stage.limit_to(config.limit, replace_full=config.replace_full)
            source = settings.sources[stage.source_key]
            if source.scenes is not None and source.format != "table":
                folder = home.resolve(source.files[0]).parent
                write_corpus(source.format, folder, source.scenes.count, source.scenes.seed)
            progress = stage.progress(None)
            read = quarantined = 0
            with stage.writer("quarantined_captions") as quarantine:

                def readable() -> Iterator[pl.DataFrame]:
                    nonlocal read, quarantined
                    for batch in read_captions(stage.source_key, source, home, limits=settings.limits):
                        quarantine.append(batch.quarantined)
                        read += batch.captions.height
                        quarantined += batch.quarantined.height
                        progress.advance(batch.captions.height + batch.quarantined.height)
                        yield batch.captions

                batches = readable() if config.limit is None else [smallest_by_hash(readable(), config.limit)]
                ordered = sorted_by_key(batches, TABLES["captions"], stage.scratch)
                failure, first = None, None
                try:
                    first = next(ordered, None)  # by now the whole source is read
                except SourceError as error:
                    failure = error
            progress.finish()
            set_aside = quarantine.staged
            stage.add(set_aside)
            failure = failure or unreadable(stage, set_aside, read)
            if failure is not None:
                if set_aside.rows:
                    stage.store.publish(set_aside)
                    stage.refresh_catalog()
                raise failure
            found = (read if config.limit is None else min(read, config.limit)) + quarantined
            rows = ordered if first is None else itertools.chain([first], ordered)
            kept = stage.stage("captions", rows, rows_in_source=str(found))
            conserve("captions", read=found, parts={"read": kept.rows, "quarantined": set_aside.rows})
            by_reason = set_aside.scan().group_by("reason").agg(rows=pl.len()).sort("rows", descending=True)
            reasons = count_table(by_reason.head(12).collect())
            picture = stage.drawn(
                "words of each caption",
                lambda: score_histogram(amount_bins(kept.scan(), "words"), "How long the captions are", "words"),
            )
            stage.note(captions_in_source=read, quarantined=quarantined)
            yield from stage.publish(
                quarantined_captions={"reasons": reasons},
                captions={
                    "mean_words": kept.scan().select(pl.col("words").mean()).collect().item() or 0.0,
                    "quarantined_because": reasons,
                    **picture,
                },
            )

    @dg.multi_asset(
        name="images",
        outs=table_outs(
            "images",
            group=GROUP,
            cost="network",
            code_version=images_version,
            story="Paper 3.3: pairs of images that cannot be had are dropped. Looked for in the source's folder, "
            "then fetched by URL where the source allows it; verified by decoding. Only images of captions that "
            "still hold pairs after check 3, unless `quality.images_of_all_captions`.",
        ),
        partitions_def=sources,
        backfill_policy=dg.BackfillPolicy.multi_run(1),
    )
    def images(
        context: dg.AssetExecutionContext, captions: pl.LazyFrame, grounded_pairs: pl.LazyFrame
    ) -> Iterator[dg.MaterializeResult[None]]:
        with Stage(context, home) as stage:
            wanted = (
                captions
                if settings.quality.images_of_all_captions
                else captions.join(grounded_pairs, on="caption_id", how="semi", maintain_order="left")
            )
            needed = needed_images(wanted)
            total = needed.select(pl.len()).collect().item()
            progress = stage.progress(total)
            resolved = stage.stage(
                "images",
                resolve_images(
                    needed,
                    settings.sources[stage.source_key],
                    home,
                    settings.download,
                    previous=stage.earlier("images"),
                    advance=progress.advance,
                ),
            )
            progress.finish()
            conserve("images", read=total, parts={"resolved": resolved.rows})
            by_status = resolved.scan().group_by("status").agg(images=pl.len())
            statuses = by_status.sort("images", "status", descending=[True, False]).collect()
            bars = [Bar(name, count, KEPT if name == "ok" else DROPPED) for name, count in statuses.iter_rows()]
            picture = stage.drawn("statuses", lambda: bar_picture(bars, "What became of the images needed"))
            yield from stage.publish(images={"statuses": count_table(statuses), **picture})

    return [captions, images]


def unreadable(stage: Stage, set_aside: StagedTable, read: int) -> SourceError | None:
    """The error to end with where too much of a source could not be read (design, law 4)."""
    bad_rows = set_aside.scan().head(5).collect().iter_rows(named=True)
    try:
        check_unreadable(
            read + set_aside.rows,
            set_aside.rows,
            stage.home.settings.limits,
            source=stage.source_key,
            examples=[f"{row['file']}, line {row['line']}: {row['reason']}" for row in bad_rows],
        )
    except SourceError as error:
        return error
    return None
