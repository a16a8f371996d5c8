"""Assets of the analyses room: what captions, pairs and other datasets hold."""

from collections.abc import Iterator, Mapping

import dagster as dg
import polars as pl

from spare_assets.analyses.relation_frequencies import (
    ALL,
    PAIR_TEXT,
    PRINTED,
    SPATIAL,
    TOTAL,
    VERSION,
    asking_about_space,
    flatter_by,
    frequency_table,
    relation_table,
    spread_table,
    stored_counts,
    with_totals,
)
from spare_assets.analyses.relation_picture import relation_picture
from spare_assets.analyses.vqa_datasets import vqa_questions
from spare_assets.captions.records import SourceError
from spare_assets.orchestration.stage import PARTIAL_INPUTS, Stage, count_table, embedded
from spare_assets.orchestration.tables import table_outs
from spare_assets.relations.matcher import KeywordCounts, count_keywords
from spare_assets.settings import Home, fingerprint

GROUP = "analyses"
_PRINTED_NAME = "Table 11 as printed"


def build(home: Home, sources: dg.PartitionsDefinition[str]) -> list[dg.AssetsDefinition]:
    """The assets of this room, for one profile."""
    settings = home.settings
    one_run_per_source = dg.BackfillPolicy.multi_run(1)
    every_source = dg.AllPartitionMapping()

    @dg.multi_asset(
        name="caption_relations",
        outs=table_outs(
            "caption_relations",
            group=GROUP,
            code_version=fingerprint(VERSION),
            story="Paper 3.1.2 and Table 11, over all captions and over those past the pre-filter.",
        ),
        partitions_def=sources,
        backfill_policy=one_run_per_source,
    )
    def caption_relations(
        context: dg.AssetExecutionContext, captions: pl.LazyFrame, spatial_captions: pl.LazyFrame
    ) -> Iterator[dg.MaterializeResult[None]]:
        with Stage(context, home) as stage:
            counts = {
                (stage.source_key, ALL): count_keywords(captions, "caption"),
                (stage.source_key, SPATIAL): count_keywords(spatial_captions, "caption"),
            }
            stage.stage("caption_relations", frequency_table(counts, "source"))
            named = {
                "all captions": counts[stage.source_key, ALL],
                "spatial captions": counts[stage.source_key, SPATIAL],
            }
            describe(stage, named, f"Spatial relations in the captions of {stage.source_key}")
            yield from stage.publish()

    @dg.multi_asset(
        name="vqa_relations",
        outs=table_outs(
            "vqa_relations",
            group=GROUP,
            code_version=fingerprint(
                VERSION,
                [(key, dataset.model_dump(mode="json")) for key, dataset in settings.analyses.vqa.items()],
            ),
            story="Paper 3.1.2 and Table 11, over all questions with their answers and over those that ask "
            "about space by their wording. Datasets whose files are absent are named in the metadata.",
        ),
    )
    def vqa_relations(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        with Stage(context, home) as stage:
            counts: dict[tuple[str, str], KeywordCounts] = {}
            unreadable: dict[str, int] = {}
            progress = stage.progress(None)
            try:
                present, absent = vqa_questions(home)
                for dataset in present:
                    whole = about_space = KeywordCounts()
                    for batch in dataset.batches():
                        whole += count_keywords(batch.lazy().select(PAIR_TEXT), "text")
                        about_space += count_keywords(asking_about_space(batch).lazy().select(PAIR_TEXT), "text")
                        progress.advance(batch.height)
                    counts |= {(dataset.key, ALL): whole, (dataset.key, SPATIAL): about_space}
                    if dataset.unreadable:
                        unreadable[dataset.key] = dataset.unreadable
                        examples = "\n".join(dataset.examples[:5])
                        stage.context.log.warning(f"{dataset.key}: {dataset.unreadable:,} unreadable:\n{examples}")
            except SourceError as error:
                raise dg.Failure(str(error), allow_retries=False) from error
            progress.finish()
            totals = with_totals(counts)
            stage.stage("vqa_relations", frequency_table(totals, "dataset"))
            if not present:
                stage.context.log.warning("no declared VQA dataset has its files: nothing was counted")
            named = {"all questions": totals[TOTAL, ALL], "spatial questions": totals[TOTAL, SPATIAL]}
            each = {key: counted for (key, scope), counted in counts.items() if scope == ALL}
            describe(stage, named, "Spatial relations in VQA datasets", each)
            stage.note(absent_datasets=dg.MetadataValue.json(absent), unreadable=dg.MetadataValue.json(unreadable))
            yield from stage.publish()

    @dg.multi_asset(
        name="pair_relations",
        outs=table_outs(
            "pair_relations",
            group=GROUP,
            code_version=fingerprint(VERSION),
            story="Question and answer as one text: of all pairs that reached check 5, and of those that passed it, "
            "which make up the dataset. The metadata says how much flatter these are than VQA datasets.",
        ),
        deps=[
            dg.AssetDep("aligned_pairs", partition_mapping=every_source),
            dg.AssetDep("spatial_pairs", partition_mapping=every_source),
            "vqa_relations",
        ],
        op_tags={PARTIAL_INPUTS: "true"},
    )
    def pair_relations(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        with Stage(context, home) as stage:
            tables = {ALL: "aligned_pairs", SPATIAL: "spatial_pairs"}
            totals = with_totals(
                {
                    (source, scope): count_keywords(stage.store.scan(table, source).select(PAIR_TEXT), "text")
                    for source in stage.sources_with(*tables.values())
                    for scope, table in tables.items()
                }
            )
            stage.stage("pair_relations", frequency_table(totals, "source"))
            pairs, questions = totals[TOTAL, SPATIAL], KeywordCounts()
            if stage.store.exists("vqa_relations"):
                rows = stage.store.scan("vqa_relations")
                questions = stored_counts(rows.filter(pl.col("dataset") == TOTAL, pl.col("scope") == SPATIAL))
            each = {f"pairs of {key}": counted for (key, scope), counted in totals.items() if scope == SPATIAL}
            describe(
                stage, {"pairs": pairs, "VQA questions": questions}, "Spatial relations in the generated pairs", each
            )
            if any(pairs.matches.values()) and any(questions.matches.values()):
                stage.note(**flatter_by(pairs, questions))
            else:
                stage.note(not_compared="needs pairs, and vqa_relations with the files of some dataset in place")
            yield from stage.publish()

    return [caption_relations, vqa_relations, pair_relations]


def describe(
    stage: Stage, named: Mapping[str, KeywordCounts], title: str, more: Mapping[str, KeywordCounts] | None = None
) -> None:
    """Metadata of a table of relations: spread, relation shares and picture, beside the paper's own."""
    compared = {**named, _PRINTED_NAME: PRINTED}
    stage.note(
        picture=embedded(relation_picture(compared, title), "relations"),
        spread=count_table(spread_table({**named, **(more or {}), _PRINTED_NAME: PRINTED})),
        relations_percent=count_table(relation_table(compared)),
        texts=next(iter(named.values())).texts,
        matches=sum(next(iter(named.values())).matches.values()),
    )
