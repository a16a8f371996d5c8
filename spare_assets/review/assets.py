"""Assets of the review room: what people look at, the page they mark it on, and what their verdicts say."""

from collections.abc import Iterator

import dagster as dg
import polars as pl

from spare_assets.orchestration.stage import PARTIAL_INPUTS, Stage, count_table, failure
from spare_assets.orchestration.tables import table_outs
from spare_assets.review.items import FORMAT, items
from spare_assets.review.page import review_page
from spare_assets.review.results import caption_labels, review_agreement, review_disagreements, review_results
from spare_assets.review.sampling import draw_captions, draw_pairs, sample_size
from spare_assets.review.verdict_files import VerdictFileError, read_verdicts, verdict_files
from spare_assets.settings import Home, fingerprint
from spare_assets.storage.durability import write_whole
from spare_assets.storage.schemas import TABLES

GROUP = "review"
VERSION = "1"
PAGE = "review.html"
_FROM_CAPTIONS = ("captions", "caption_verdicts")
_SAMPLES = ("review_sample", "caption_review_sample")
_DISAGREEMENTS_SHOWN = 20


def build(home: Home) -> list[dg.AssetsDefinition]:
    """The assets of this room, for one profile."""
    review = home.settings.review

    @dg.multi_asset(
        name="review_sample",
        outs=table_outs(
            *_SAMPLES,
            group=GROUP,
            code_version=fingerprint(
                VERSION, review.model_dump(exclude={"picture_side", "page_megabytes", "folder"}, mode="json")
            ),
            story="Sized by the finite-population formula; a larger sample holds every smaller one.",
        ),
        deps=[
            "spare_dataset",
            *(dg.AssetDep(name, partition_mapping=dg.AllPartitionMapping()) for name in _FROM_CAPTIONS),
        ],
        op_tags={PARTIAL_INPUTS: "true"},
    )
    def review_sample(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        with Stage(context, home) as stage:
            store = stage.store
            judged = [key for key in home.settings.sources if all(store.exists(name, key) for name in _FROM_CAPTIONS)]
            assembled = store.exists("spare_dataset")
            if not assembled and not judged:
                raise failure(
                    "nothing to draw from: materialize spare_dataset, or captions and caption_verdicts, first"
                )
            pairs = TABLES["review_sample"].empty()
            if assembled:
                pairs = draw_pairs(store.path("spare_dataset"), review, stage.scratch)
            captions = draw_captions(
                [store.scan("captions", key) for key in judged],
                [store.path("caption_verdicts", key) for key in judged],
                review,
                stage.scratch,
            )
            stage.stage("review_sample", pairs)
            stage.stage("caption_review_sample", captions)
            samples = store.rows("spare_dataset") if assembled else 0
            drawn = pairs.group_by("source").agg(drawn=pl.len(), each_stands_for=pl.col("weight").first())
            strata = captions.group_by("judged_spatial").agg(drawn=pl.len(), each_stands_for=pl.col("weight").first())
            yield from stage.publish(
                review_sample={
                    "samples_in_dataset": samples,
                    "unit": review.unit,
                    "by_source": count_table(drawn.sort("source")),
                    "size_of_formula": sample_size(
                        round(pairs["weight"].sum()), review.confidence, review.proportion, review.margin
                    ),
                },
                caption_review_sample={"by_verdict": count_table(strata.sort("judged_spatial"))},
            )

    @dg.multi_asset(
        name="review_page",
        outs=table_outs(
            "review_page",
            group=GROUP,
            uses=("polars", "report"),
            code_version=fingerprint(VERSION, FORMAT, review.picture_side, review.page_megabytes),
            story=f"The page is `exports/{PAGE}`: it works from a file, offline, and downloads what was marked.",
        ),
        deps=list(_SAMPLES),
    )
    def review_page_asset(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        with Stage(context, home) as stage:
            pairs, captions = (stage.store.scan(name).collect() for name in _SAMPLES)
            page = review_page(
                pairs, captions, max_bytes=int(review.page_megabytes * 1_000_000), side=review.picture_side
            )
            content = page.html.encode()
            stage.stage("review_page", page.shown)
            path = home.exports / PAGE
            write_whole(path, content)
            stage.note(
                page=dg.MetadataValue.path(str(path)),
                page_bytes=len(content),
                pairs=pairs.height,
                captions=captions.height,
                sample_hash=page.sample,
                pictures=count_table(page.shown.group_by("kind", "picture").len("items").sort("kind", "picture")),
                how_to=dg.MetadataValue.md(
                    "Open the page in a browser, mark, download, put the file into the folder below and materialize "
                    "`review_results`."
                ),
                put_verdict_files_in=dg.MetadataValue.path(str(home.reviews)),
            )
            yield from stage.publish()

    @dg.multi_asset(
        name="review_results",
        outs=table_outs(
            "review_results",
            "review_verdicts",
            "review_agreement",
            "review_disagreements",
            "caption_labels",
            group=GROUP,
            code_version=fingerprint(VERSION, FORMAT, review.confidence, review.folder),
            story="From the verdict files in the home's `reviews/`; materialize it again when one is added.",
        ),
        deps=list(_SAMPLES),
    )
    def review_results_asset(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        with Stage(context, home) as stage:
            pairs, captions = (stage.store.scan(name).collect() for name in _SAMPLES)
            everything = items(pairs, captions)
            try:
                verdicts = read_verdicts(home.reviews, everything)
            except VerdictFileError as error:
                raise failure(str(error)) from error
            results = review_results(verdicts, pairs, review.confidence)
            agreement = review_agreement(verdicts)
            disagreements = review_disagreements(verdicts, everything)
            labels = caption_labels(verdicts, captions)
            for name, rows in {
                "review_verdicts": verdicts,
                "review_agreement": agreement,
                "review_disagreements": disagreements,
                "caption_labels": labels,
                "review_results": results,
            }.items():
                stage.stage(name, rows)
            if verdicts.is_empty():
                stage.context.log.info(
                    f"no verdicts in {home.reviews} yet: mark on {home.exports / PAGE} and put its downloads there"
                )
            everyone = results.filter(pl.col("reviewer") == "")
            shown = ["rate", "low", "high", "found", "judged"]
            stage.note(
                verdict_files=dg.MetadataValue.json(list(verdict_files(home.reviews))),
                put_verdict_files_in=dg.MetadataValue.path(str(home.reviews)),
                marked_pairs=verdicts.filter(pl.col("kind") == "pair")["item"].n_unique(),
                of_pairs=pairs.height,
                labelled_captions=labels["caption_id"].n_unique(),
                of_captions=captions.height,
                **{
                    f"{metric.replace(' ', '_')}_rate": rate
                    for metric, rate in everyone.filter(scope="all").select("metric", "rate").iter_rows()
                    if rate is not None
                },
            )
            yield from stage.publish(
                review_results={
                    "rates": count_table(everyone.filter(scope="all").select("metric", *shown)),
                    "by_source": count_table(everyone.filter(scope="source").select("group", "metric", *shown)),
                    "errors_by_relation": count_table(
                        everyone.filter(scope="relation", metric="error")
                        .sort("judged", descending=True)
                        .select("group", *shown)
                    ),
                    "by_reviewer": count_table(
                        results.filter((pl.col("reviewer") != "") & (pl.col("scope") == "all")).select(
                            "reviewer", "metric", *shown
                        )
                    ),
                },
                review_agreement={"agreement": count_table(agreement)},
                review_disagreements={"disagreements": count_table(disagreements.head(_DISAGREEMENTS_SHOWN))},
            )

    return [review_sample, review_page_asset, review_results_asset]
