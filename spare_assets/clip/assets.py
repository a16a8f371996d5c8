"""Assets of the clip room: embeddings of questions and images, computed once and used by checks 1 and 4."""

from collections.abc import Iterator

import dagster as dg
import polars as pl

from spare_assets.clip.embeddings import Encoder, image_embeddings, question_embeddings
from spare_assets.orchestration.stage import Stage
from spare_assets.orchestration.tables import table_outs
from spare_assets.settings import Home, fingerprint
from spare_assets.storage.conservation import conserve

GROUP = "clip"


def build(home: Home, sources: dg.PartitionsDefinition[str]) -> list[dg.AssetsDefinition]:
    """The assets of this room, for one profile."""
    settings = home.settings
    prefix = settings.quality.alignment_prefix
    questions_version = fingerprint(1, settings.clip.model, settings.clip.pretrained, prefix)
    images_version = fingerprint(1, settings.clip.model, settings.clip.pretrained)

    @dg.multi_asset(
        name="question_embeddings",
        outs=table_outs(
            "question_embeddings",
            group=GROUP,
            uses=("pytorch", "openclip"),
            cost="model",
            code_version=questions_version,
            story="Paper 3.3, checks 1 and 4. Questions embedded before are taken over.",
        ),
        partitions_def=sources,
        backfill_policy=dg.BackfillPolicy.multi_run(1),
        pool="gpu",
    )
    def question_embeddings_asset(
        context: dg.AssetExecutionContext, encoder: dg.ResourceParam[Encoder], qa_pairs: pl.LazyFrame
    ) -> Iterator[dg.MaterializeResult[None]]:
        with Stage(context, home) as stage:
            recorded = {"clip": encoder.fingerprint, "prefix": prefix}
            total = stage.store.rows("qa_pairs", stage.source_key)
            progress = stage.progress(total)
            rows = question_embeddings(
                qa_pairs, stage.earlier("question_embeddings", **recorded), encoder, prefix, progress
            )
            embedded = stage.stage("question_embeddings", rows, **recorded)
            progress.finish()
            conserve("question_embeddings", read=total, parts={"embedded": embedded.rows})
            stage.note(clip=encoder.fingerprint)
            yield from stage.publish()

    @dg.multi_asset(
        name="image_embeddings",
        outs=table_outs(
            "image_embeddings",
            group=GROUP,
            uses=("pytorch", "openclip"),
            cost="model",
            code_version=images_version,
            story="Paper 3.3, check 4. One row per usable image; files embedded before are taken over by hash.",
        ),
        partitions_def=sources,
        backfill_policy=dg.BackfillPolicy.multi_run(1),
        pool="gpu",
    )
    def image_embeddings_asset(
        context: dg.AssetExecutionContext, encoder: dg.ResourceParam[Encoder], images: pl.LazyFrame
    ) -> Iterator[dg.MaterializeResult[None]]:
        with Stage(context, home) as stage:
            recorded = {"clip": encoder.fingerprint}
            total = images.filter(pl.col("status") == "ok").select(pl.len()).collect().item()
            progress = stage.progress(total)
            rows = image_embeddings(images, stage.earlier("image_embeddings", **recorded), encoder, progress)
            embedded = stage.stage("image_embeddings", rows, **recorded)
            progress.finish()
            conserve("image_embeddings", read=total, parts={"embedded": embedded.rows})
            stage.note(clip=encoder.fingerprint)
            yield from stage.publish()

    return [question_embeddings_asset, image_embeddings_asset]
