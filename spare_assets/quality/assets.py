"""Assets of the quality room: five checks, each a verdict table and the pairs it keeps, and the drop ledger."""

from collections.abc import Callable, Iterator

import dagster as dg
import polars as pl
from pydantic import Field

from spare_assets.orchestration.launchpad import BatchConfig
from spare_assets.orchestration.resources import Engines, engine_kind
from spare_assets.orchestration.stage import Stage, count_table, tally_metadata
from spare_assets.orchestration.tables import table_outs
from spare_assets.pages.bars import Bar, bar_picture
from spare_assets.pages.card import DROPPED, KEPT
from spare_assets.pages.pair_gallery import GallerySample, pair_gallery, pair_samples
from spare_assets.pages.score_histogram import score_bins, score_histogram
from spare_assets.quality.alignment import alignment_verdicts
from spare_assets.quality.deduplication import deduplication_verdicts
from spare_assets.quality.grounding import grounding_verdicts
from spare_assets.quality.references import reference_verdicts
from spare_assets.quality.rejections import rejected_pairs
from spare_assets.quality.samples import MisalignedTablesError
from spare_assets.quality.spatial_verification import (
    judgements,
    pair_question,
    sample_question,
    spatial_verdicts,
)
from spare_assets.quality.verdicts import CHECKS, drop_reasons, judged_pairs, unscored_rows
from spare_assets.settings import Home, engine_identity, fingerprint
from spare_assets.storage.conservation import check_failed, conserve
from spare_assets.storage.tables import Rows
from spare_assets.synthesis.prompts import load_prompts

GROUP = "quality"
PAIR_BATCH = 2_000
EMBEDDED_PAIR = ("caption_id", "pair_id", "embedding")
SCORES = {
    "deduplication": "cosine with the nearest earlier question of the sample",
    "grounding": "share of the answer's words that stand in the caption",
    "alignment": "similarity of question and image",
    "spatial": "p(yes)",
}
"""What the score of a check is, in words; check 2 has none."""


class DeduplicationConfig(dg.Config):
    """What a person may change for one run of check 1."""

    duplicate_cosine: float | None = Field(
        default=None, description="Drop above this question cosine, instead of the profile's."
    )


class GroundingConfig(dg.Config):
    """What a person may change for one run of check 3."""

    minimum_grounding: float | None = Field(
        default=None, description="Keep from this share of the answer's words, instead of the profile's."
    )


class AlignmentConfig(dg.Config):
    """What a person may change for one run of check 4."""

    minimum_alignment: float | None = Field(
        default=None, description="Keep from this image-question similarity, instead of the profile's."
    )


class VerificationConfig(BatchConfig):
    """What a person may change for one run of check 5."""

    minimum_probability: float | None = Field(
        default=None, description="Keep from this p(yes), instead of the profile's."
    )


def build(home: Home, sources: dg.PartitionsDefinition[str]) -> list[dg.AssetsDefinition]:
    """The assets of this room, for one profile."""
    settings = home.settings
    quality = settings.quality
    one_run_per_source = dg.BackfillPolicy.multi_run(1)

    deduplication_version = fingerprint(1, quality.duplicate_cosine)

    @dg.multi_asset(
        name="deduplicated_pairs",
        outs=table_outs(
            "deduplicated_pairs",
            "deduplication_verdicts",
            group=GROUP,
            code_version=deduplication_version,
            story="Paper 3.3, check 1. Within a sample, in the order the pairs were written: a question goes that was "
            "asked before in the same words, or nearly so, by a CLIP cosine above the cut-off.",
        ),
        partitions_def=sources,
        backfill_policy=one_run_per_source,
    )
    def deduplicated_pairs(
        context: dg.AssetExecutionContext,
        config: DeduplicationConfig,
        qa_pairs: pl.LazyFrame,
        question_embeddings: pl.LazyFrame,
    ) -> Iterator[dg.MaterializeResult[None]]:
        cosine = quality.duplicate_cosine if config.duplicate_cosine is None else config.duplicate_cosine
        with Stage(context, home, config) as stage:
            yield from checked(
                stage,
                "deduplication",
                qa_pairs,
                deduplication_verdicts(qa_pairs, stage.vectors("question_embeddings", *EMBEDDED_PAIR), cosine),
            )

    reference_version = fingerprint(1, quality.reference_terms)

    @dg.multi_asset(
        name="reference_checked_pairs",
        outs=table_outs(
            "reference_checked_pairs",
            "reference_verdicts",
            group=GROUP,
            code_version=reference_version,
            story="Paper 3.3, check 2. Pairs that speak of the description instead of the image are dropped.",
        ),
        partitions_def=sources,
        backfill_policy=one_run_per_source,
    )
    def reference_checked_pairs(
        context: dg.AssetExecutionContext, deduplicated_pairs: pl.LazyFrame
    ) -> Iterator[dg.MaterializeResult[None]]:
        with Stage(context, home) as stage:
            verdicts = reference_verdicts(deduplicated_pairs, quality.reference_terms)
            yield from checked(stage, "reference", deduplicated_pairs, verdicts)

    grounding_version = fingerprint(1, quality.minimum_grounding)

    @dg.multi_asset(
        name="grounded_pairs",
        outs=table_outs(
            "grounded_pairs",
            "grounding_verdicts",
            group=GROUP,
            code_version=grounding_version,
            story="Paper 3.3, check 3. The answer, or key phrases of it, must stand in the caption: what the caption "
            "does not say was made up.",
        ),
        partitions_def=sources,
        backfill_policy=one_run_per_source,
    )
    def grounded_pairs(
        context: dg.AssetExecutionContext,
        config: GroundingConfig,
        reference_checked_pairs: pl.LazyFrame,
        spatial_captions: pl.LazyFrame,
    ) -> Iterator[dg.MaterializeResult[None]]:
        minimum = quality.minimum_grounding if config.minimum_grounding is None else config.minimum_grounding
        with Stage(context, home, config) as stage:
            verdicts = grounding_verdicts(reference_checked_pairs, spatial_captions, minimum)
            yield from checked(stage, "grounding", reference_checked_pairs, verdicts)

    alignment_version = fingerprint(
        1, quality.alignment, quality.minimum_alignment, quality.alignment_weight, quality.alignment_prefix
    )

    @dg.multi_asset(
        name="aligned_pairs",
        outs=table_outs(
            "aligned_pairs",
            "alignment_verdicts",
            group=GROUP,
            code_version=alignment_version,
            story="Paper 3.3, check 4. The CLIP similarity of image and question must reach the cut-off. Pairs that "
            "pass without an image carry no score and are a line of their own in the funnel.",
        ),
        partitions_def=sources,
        backfill_policy=one_run_per_source,
    )
    def aligned_pairs(
        context: dg.AssetExecutionContext,
        config: AlignmentConfig,
        grounded_pairs: pl.LazyFrame,
        question_embeddings: pl.LazyFrame,
        image_embeddings: pl.LazyFrame,
        images: pl.LazyFrame,
        spatial_captions: pl.LazyFrame,
    ) -> Iterator[dg.MaterializeResult[None]]:
        minimum = quality.minimum_alignment if config.minimum_alignment is None else config.minimum_alignment
        with Stage(context, home, config) as stage:
            caption_images = spatial_captions.select("caption_id", "image_id").join(
                images.select("image_id", "status"), on="image_id", how="left", maintain_order="left"
            )
            verdicts = alignment_verdicts(
                grounded_pairs,
                stage.vectors("question_embeddings", *EMBEDDED_PAIR),
                stage.vectors("image_embeddings", "image_id", "embedding"),
                caption_images,
                mode=quality.alignment,
                minimum=minimum,
                weight=quality.alignment_weight,
            )
            yield from checked(
                stage,
                "alignment",
                grounded_pairs,
                verdicts,
                lambda kept: pair_samples(kept, spatial_captions, images),
            )

    verification_version = fingerprint(
        1,
        load_prompts(settings.synthesis.prompts).fingerprints[
            "judge_pairs" if quality.verification == "per_sample" else "judge_pair"
        ],
        engine_identity(settings.engines[quality.verification_engine]),
        quality.verification,
        quality.minimum_probability,
    )

    @dg.multi_asset(
        name="spatial_pairs",
        outs=table_outs(
            "spatial_pairs",
            "spatial_verdicts",
            group=GROUP,
            uses=("polars", engine_kind(settings.engines[quality.verification_engine])),
            cost="model",
            code_version=verification_version,
            story="Paper 3.3, check 5. An engine judges whether the pair itself asks about space. Pairs dropped by "
            "this check alone are the benign ones of 4.5.2.",
        ),
        partitions_def=sources,
        backfill_policy=one_run_per_source,
        pool="gpu",
    )
    def spatial_pairs(
        context: dg.AssetExecutionContext,
        config: VerificationConfig,
        engines: dg.ResourceParam[Engines],
        aligned_pairs: pl.LazyFrame,
    ) -> Iterator[dg.MaterializeResult[None]]:
        minimum = quality.minimum_probability if config.minimum_probability is None else config.minimum_probability
        with Stage(context, home, config) as stage:
            engine = quality.verification_engine
            analyst = engines.analyst(engine)
            per_sample = quality.verification == "per_sample"
            questions = sample_rows(aligned_pairs) if per_sample else aligned_pairs
            total = questions.select(pl.len()).collect().item()
            task = "judge_pairs" if per_sample else "judge_pair"
            ask = sample_question if per_sample else pair_question
            with engines.inquiry(engine, task, stage, stage.progress(total), batch_size=config.batch_size) as inquiry:
                tally = inquiry.ask(
                    questions.collect_batches(chunk_size=PAIR_BATCH, maintain_order=True),
                    lambda row: ask(analyst, row),
                )
                judged = judgements(inquiry.answers())
                stage.note(**tally_metadata(tally))
                yield from checked(
                    stage,
                    "spatial",
                    aligned_pairs,
                    spatial_verdicts(judged, minimum),
                    # What the check itself does not read may have changed since; the picture shows what is there.
                    lambda kept: pair_samples(
                        kept,
                        stage.store.scan("spatial_captions", stage.source_key),
                        stage.store.scan("images", stage.source_key),
                    ),
                )

    @dg.multi_asset(
        name="rejected_pairs",
        outs=table_outs(
            "rejected_pairs",
            group=GROUP,
            code_version="1",
            story="With `spatial_pairs` it holds every generated pair. Query it by check, score, reason or caption.",
        ),
        partitions_def=sources,
        backfill_policy=one_run_per_source,
    )
    def rejected_pairs_asset(
        context: dg.AssetExecutionContext,
        qa_pairs: pl.LazyFrame,
        spatial_captions: pl.LazyFrame,
        deduplication_verdicts: pl.LazyFrame,
        reference_verdicts: pl.LazyFrame,
        grounding_verdicts: pl.LazyFrame,
        alignment_verdicts: pl.LazyFrame,
        spatial_verdicts: pl.LazyFrame,
    ) -> Iterator[dg.MaterializeResult[None]]:
        with Stage(context, home) as stage:
            verdicts = {
                "deduplication": deduplication_verdicts,
                "reference": reference_verdicts,
                "grounding": grounding_verdicts,
                "alignment": alignment_verdicts,
                "spatial": spatial_verdicts,
            }
            rejected = stage.stage("rejected_pairs", rejected_pairs(qa_pairs, spatial_captions, verdicts))
            survivors = verdicts["spatial"].filter("kept").select(pl.len()).collect().item()
            conserve(
                "rejected_pairs",
                read=stage.store.rows("qa_pairs", stage.source_key),
                parts={"rejected": rejected.rows, "survivors": survivors},
            )
            dropped = rejected.scan().group_by("check").agg(pairs=pl.len()).collect()
            by_check = dropped.sort("pairs", "check", descending=[True, False])
            counts = dict(dropped.iter_rows())
            bars = [Bar(f"{number}: {check}", counts.get(check, 0), DROPPED) for number, check in enumerate(CHECKS, 1)]
            bars.append(Bar("none: survivors", survivors, KEPT))
            yield from stage.publish(
                rejected_pairs={
                    "by_check": count_table(by_check),
                    **stage.drawn("checks", lambda: bar_picture(bars, "Which check dropped the generated pairs")),
                }
            )

    def checked(
        stage: Stage,
        check: str,
        pairs: pl.LazyFrame,
        rows: Rows,
        gallery: Callable[[pl.LazyFrame], list[GallerySample]] | None = None,
    ) -> Iterator[dg.MaterializeResult[None]]:
        """Publish a check: its verdicts and the pairs they keep, once the counts add up. `gallery` chooses of these."""
        kept_table, verdict_table = CHECKS[check]
        verdicts = stage.stage(verdict_table, rows)
        judged = judged_pairs(pairs, verdicts.scan())
        kept = stage.stage(kept_table, judged.filter("kept"))
        read, dropped, unscored, failed, astray = (
            judged.select(
                pl.col("pair_id").count().alias("read"),
                (~pl.col("kept")).sum().alias("dropped"),
                (pl.col("kept") & unscored_rows()).sum().alias("unscored"),
                pl.col("reason").str.starts_with("failed").sum().alias("failed"),
                pl.col("pair_id").ne_missing(pl.col("judged")).sum().alias("astray"),
            )
            .collect(engine="streaming")
            .row(0)
        )
        conserve(kept_table, read=read, parts={"kept": kept.rows, "dropped": dropped})
        if astray:
            raise MisalignedTablesError(
                f"{verdict_table}: {astray:,} of {read:,} verdicts are not on the pair in their place. Nothing was "
                "published: materialize what this stage reads again"
            )
        check_failed(kept_table, read, failed, settings.limits.failed_request_share)
        stage.note(read=read, kept=kept.rows, dropped=dropped)
        if unscored:
            stage.note(passed_unscored=unscored)
        reasons = drop_reasons(verdicts.scan())
        counted = {"dropped_because": count_table(reasons)}
        drawn = stage.drawn("verdicts", lambda: verdict_picture(check, verdicts.scan(), reasons))
        shown = drawn
        if gallery is not None:
            title = f"Pairs that passed check {[*CHECKS].index(check) + 1}"
            shown = stage.drawn("pairs", lambda: pair_gallery(gallery(kept.scan()), title))
        yield from stage.publish(**{kept_table: counted | shown, verdict_table: counted | drawn})

    return [
        deduplicated_pairs,
        reference_checked_pairs,
        grounded_pairs,
        aligned_pairs,
        spatial_pairs,
        rejected_pairs_asset,
    ]


def verdict_picture(check: str, verdicts: pl.LazyFrame, reasons: pl.DataFrame) -> bytes:
    """Scores with the cut-off, or of a check without scores what dropped how many."""
    title = f"Check {[*CHECKS].index(check) + 1}: {check}"
    counts = score_bins(verdicts)
    if check in SCORES:
        return score_histogram(counts, title, SCORES[check])
    bars = [Bar("kept", counts.kept, KEPT), *(Bar(reason, rows, DROPPED) for reason, rows in reasons.iter_rows())]
    if others := counts.dropped - int(reasons["rows"].sum()):
        bars.append(Bar("other reasons", others, DROPPED))
    return bar_picture(bars, title)


def sample_rows(pairs: pl.LazyFrame) -> pl.LazyFrame:
    """One row per sample with its pairs as a list, in order, for a check that asks once per sample."""
    return (
        pairs.sort("caption_id", "position")
        .group_by("caption_id", "source", maintain_order=True)
        .agg(pairs=pl.struct("pair_id", "position", "question", "answer"))
    )
