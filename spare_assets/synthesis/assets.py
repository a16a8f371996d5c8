"""Assets of the synthesis room: the spatial pre-filter and the generated pairs."""

from collections.abc import Iterator

import dagster as dg
import polars as pl
from pydantic import Field

from spare_assets.orchestration.launchpad import BatchConfig
from spare_assets.orchestration.resources import Engines, engine_kind
from spare_assets.orchestration.stage import Stage, count_table, tally_metadata
from spare_assets.orchestration.tables import table_outs
from spare_assets.pages.bars import Bar, bar_picture
from spare_assets.pages.card import DROPPED, KEPT
from spare_assets.pages.pair_gallery import pair_gallery, pair_samples
from spare_assets.pages.score_histogram import score_bins, score_histogram
from spare_assets.quality.verdicts import drop_reasons
from spare_assets.settings import Home, engine_identity, fingerprint
from spare_assets.storage.conservation import check_failed, conserve
from spare_assets.synthesis.generation import generated_pairs, generation_parts, pairs_question
from spare_assets.synthesis.prompts import load_prompts
from spare_assets.synthesis.spatial_filter import caption_question, caption_verdicts, filter_parts

GROUP = "synthesis"
CAPTION_BATCH = 1_000


class FilterConfig(BatchConfig):
    """What a person may change for one run of `spatial_captions`."""

    minimum_probability: float | None = Field(
        default=None, description="p(yes) from which a caption counts as spatial, instead of the profile's."
    )


def build(home: Home, sources: dg.PartitionsDefinition[str]) -> list[dg.AssetsDefinition]:
    """The assets of this room, for one profile."""
    settings = home.settings
    synthesis = settings.synthesis
    prompts = load_prompts(synthesis.prompts).fingerprints
    filter_version = fingerprint(
        1,
        prompts["judge_caption"],
        engine_identity(settings.engines[synthesis.filter_engine]),
        synthesis.minimum_probability,
    )
    generation_version = fingerprint(
        1,
        prompts["write_pairs"],
        engine_identity(settings.engines[synthesis.generation_engine]),
        synthesis.max_new_tokens,
        synthesis.max_pairs,
    )

    @dg.multi_asset(
        name="spatial_captions",
        outs=table_outs(
            "spatial_captions",
            "caption_verdicts",
            group=GROUP,
            uses=("polars", engine_kind(settings.engines[synthesis.filter_engine])),
            cost="model",
            code_version=filter_version,
            story="Paper 3.2.1, step 1, and B.2. An engine reads every caption and says yes or no. A false positive "
            "makes the generator invent relations, so precision goes before recall.",
        ),
        partitions_def=sources,
        backfill_policy=dg.BackfillPolicy.multi_run(1),
        pool="gpu",
    )
    def spatial_captions(
        context: dg.AssetExecutionContext,
        config: FilterConfig,
        engines: dg.ResourceParam[Engines],
        captions: pl.LazyFrame,
    ) -> Iterator[dg.MaterializeResult[None]]:
        minimum = synthesis.minimum_probability if config.minimum_probability is None else config.minimum_probability
        with Stage(context, home, config) as stage:
            rows = stage.store.rows("captions", stage.source_key)
            analyst = engines.analyst(synthesis.filter_engine)
            with engines.inquiry(
                synthesis.filter_engine,
                "judge_caption",
                stage,
                stage.progress(rows),
                batch_size=config.batch_size,
            ) as inquiry:
                questions = captions.select("caption_id", "source", "caption")
                tally = inquiry.ask(
                    questions.collect_batches(chunk_size=CAPTION_BATCH, maintain_order=True),
                    lambda row: caption_question(analyst, row),
                )
                verdicts = stage.stage("caption_verdicts", caption_verdicts(inquiry.answers(), minimum))
            spatial = verdicts.scan().filter("kept")
            kept = stage.stage(
                "spatial_captions", captions.join(spatial, on="caption_id", how="semi", maintain_order="left")
            )
            outcomes = verdicts.scan().group_by("outcome", "kept").agg(captions=pl.len()).collect()
            parts = filter_parts(verdicts.scan(), kept.rows)
            conserve("spatial_captions", read=rows, parts=parts)
            check_failed("spatial_captions", rows, parts["failed"], settings.limits.failed_request_share)
            warn_of_unreadable(context, outcomes)
            stage.note(**tally_metadata(tally), read=rows, kept=kept.rows, dropped=rows - kept.rows)
            story = {
                "outcomes": count_table(outcomes.sort("captions", descending=True)),
                "dropped_because": count_table(drop_reasons(verdicts.scan())),
                **stage.drawn(
                    "p(yes)",
                    lambda: score_histogram(score_bins(verdicts.scan()), "Is the caption about space?", "p(yes)"),
                ),
            }
            yield from stage.publish(spatial_captions=story, caption_verdicts=story)

    @dg.multi_asset(
        name="qa_pairs",
        outs=table_outs(
            "qa_pairs",
            "generation_outcomes",
            group=GROUP,
            uses=("polars", engine_kind(settings.engines[synthesis.generation_engine])),
            cost="model",
            code_version=generation_version,
            story="Paper 3.2.1, step 2, and Table 10. Greedy decoding into a JSON list; a reply cut by the limit "
            "keeps its complete pairs.",
        ),
        partitions_def=sources,
        backfill_policy=dg.BackfillPolicy.multi_run(1),
        pool="gpu",
    )
    def qa_pairs(
        context: dg.AssetExecutionContext,
        config: BatchConfig,
        engines: dg.ResourceParam[Engines],
        spatial_captions: pl.LazyFrame,
    ) -> Iterator[dg.MaterializeResult[None]]:
        with Stage(context, home, config) as stage:
            rows = stage.store.rows("spatial_captions", stage.source_key)
            engine = synthesis.generation_engine
            analyst = engines.analyst(engine)
            with (
                engines.inquiry(
                    engine, "write_pairs", stage, stage.progress(rows), batch_size=config.batch_size
                ) as inquiry,
                stage.writer("qa_pairs") as pairs,
                stage.writer("generation_outcomes") as outcomes,
            ):
                questions = spatial_captions.select("caption_id", "source", "caption")
                tally = inquiry.ask(
                    questions.collect_batches(chunk_size=CAPTION_BATCH, maintain_order=True),
                    lambda row: pairs_question(analyst, row),
                )
                for batch in generated_pairs(inquiry.answers(), synthesis.max_pairs):
                    pairs.append(batch.pairs)
                    outcomes.append(batch.outcomes)
            stage.add(pairs.staged, outcomes.staged)
            counts = outcomes.staged.scan().group_by("outcome").agg(captions=pl.len(), pairs=pl.col("pairs").sum())
            by_outcome = counts.sort("captions", descending=True).collect()
            parts = generation_parts(outcomes.staged.scan(), pairs.staged.scan())
            conserve("qa_pairs", read=rows, parts=parts)
            conserve("qa_pairs", read=int(by_outcome["pairs"].sum()), parts={"pairs": pairs.staged.rows})
            check_failed("qa_pairs", rows, parts["failed"], settings.limits.failed_request_share)
            warn_of_unreadable(context, by_outcome)
            stage.note(**tally_metadata(tally), read=rows, kept=parts["with pairs"])
            said = count_table(by_outcome)
            gallery = stage.drawn(
                "pairs as generated",
                lambda: pair_gallery(pair_samples(pairs.staged.scan(), spatial_captions), "Pairs as generated"),
            )
            bars = [
                Bar(name, count, KEPT if name == "ok" else DROPPED)
                for name, count in by_outcome.select("outcome", "captions").iter_rows()
            ]
            replies = stage.drawn("outcomes", lambda: bar_picture(bars, "What came of asking for pairs, by caption"))
            yield from stage.publish(
                qa_pairs={"outcomes": said, **gallery}, generation_outcomes={"outcomes": said, **replies}
            )

    return [spatial_captions, qa_pairs]


def warn_of_unreadable(context: dg.AssetExecutionContext, outcomes: pl.DataFrame) -> None:
    """Say in the run log how many replies were cut or could not be read; they fail nothing (design, law 4)."""
    for outcome in ("truncated", "malformed"):
        if replies := int(outcomes.filter(pl.col("outcome") == outcome)["captions"].sum()):
            context.log.warning(f"{replies:,} of {int(outcomes['captions'].sum()):,} replies are {outcome}")
