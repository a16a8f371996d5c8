"""Assets of the analyses room: what captions, pairs and other datasets hold."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import dagster as dg
import polars as pl

from spare_assets.analyses.ablations import (
    JUDGED_BY,
    NO_LABELS,
    agreed_labels,
    by_source,
    caption_sample,
    filter_row,
    filter_table,
    generation_row,
    generation_table,
    scene_labels,
)
from spare_assets.analyses.asked_captions import Written, failures, filtered, judged, used, written
from spare_assets.analyses.cost import cost_report, ledger_use, recover_ledger, training_use, unpriced
from spare_assets.analyses.forecast import FILTER, GENERATION, Asked, Population, forecast, sample_size, sample_use
from spare_assets.analyses.prices import in_flight
from spare_assets.analyses.relation_frequencies import (
    ALL,
    PAIR_TEXT,
    PRINTED,
    SPATIAL,
    TOTAL,
    VERSION,
    flatter_by,
    frequency_table,
    relation_table,
    spread_table,
    stored_counts,
    with_totals,
)
from spare_assets.analyses.relation_picture import relation_picture
from spare_assets.analyses.spatial_content import Draw, counted_replies, spatial_flags, spatial_question
from spare_assets.analyses.vqa_composition import Composition, composition_table, shown_table, too_many_unreadable
from spare_assets.analyses.vqa_datasets import VqaQuestions, vqa_questions
from spare_assets.captions.readers import smallest_by_hash
from spare_assets.captions.records import SourceError
from spare_assets.engines.chat import EngineError
from spare_assets.orchestration.resources import Engines, engine_kind
from spare_assets.orchestration.stage import PARTIAL_INPUTS, Stage, count_table, embedded, failure
from spare_assets.orchestration.tables import table_outs
from spare_assets.quality.assets import sample_rows
from spare_assets.relations.matcher import KeywordCounts, count_keywords
from spare_assets.settings import BENCHMARKS, Home, LimitSettings, engine_identity, fingerprint
from spare_assets.storage.conservation import TooManyFailedError, check_failed, conserve
from spare_assets.synthesis.prompts import load_prompts

GROUP = "analyses"
_CAPTION_BATCH = 5_000
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
            story="Paper 3.1.2 and Table 11, over all questions with their answers and over those that "
            "the grammar judges to be about space, as in `vqa_composition`.",
        ),
    )
    def vqa_relations(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        with Stage(context, home) as stage:
            counts: dict[tuple[str, str], KeywordCounts] = {}
            progress = stage.progress(None)
            try:
                present, absent = vqa_questions(home)
                for dataset in present:
                    whole = spatial = KeywordCounts()
                    for batch in dataset.batches():
                        about_space = batch.filter(spatial_flags(batch, dataset.dataset.format))
                        whole += count_keywords(batch.lazy().select(PAIR_TEXT), "text")
                        spatial += count_keywords(about_space.lazy().select(PAIR_TEXT), "text")
                        progress.advance(batch.height)
                    counts |= {(dataset.key, ALL): whole, (dataset.key, SPATIAL): spatial}
                    check_readable(dataset, settings.limits)
            except SourceError as error:
                raise failure(str(error)) from error
            progress.finish()
            totals = with_totals(counts)
            stage.stage("vqa_relations", frequency_table(totals, "dataset"))
            if not present:
                stage.context.log.warning("no declared VQA dataset has its files: nothing was counted")
            named = {"all questions": totals[TOTAL, ALL], "spatial questions": totals[TOTAL, SPATIAL]}
            each = {key: counted for (key, scope), counted in counts.items() if scope == ALL}
            describe(stage, named, "Spatial relations in VQA datasets", each)
            unreadable = {dataset.key: dataset.unreadable for dataset in present}
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

    return [caption_relations, vqa_relations, pair_relations, composition_of_vqa(home), *engine_assets(home, sources)]


def composition_of_vqa(home: Home) -> dg.AssetsDefinition:
    """Table 2 of the datasets that the profile declares."""
    settings = home.settings
    analyses = settings.analyses
    asked = analyses.spatial_engine
    minimum = settings.quality.minimum_probability
    judge = None
    if asked is not None:
        prompts = load_prompts(settings.synthesis.prompts).fingerprints
        identity = engine_identity(settings.engines[asked])
        judge = (prompts["judge_pair"], prompts["judge_caption"], identity, analyses.spatial_sample, minimum)

    @dg.multi_asset(
        name="vqa_composition",
        outs=table_outs(
            "vqa_composition",
            group=GROUP,
            uses=("polars", "report"),
            cost="cpu" if asked is None else "model",
            code_version=fingerprint(
                1, [(key, dataset.model_dump(mode="json")) for key, dataset in analyses.vqa.items()], judge
            ),
            story="Paper 3.1.2 and Table 2, whose printed figures stand beside. Questions are judged by their wording; "
            "statements (VSR, memes) and answers that describe a picture as captions are. The grammar judges all, "
            "the engine that `analyses.spatial_engine` names a sample. Datasets without files are listed as absent.",
        ),
        pool=None if asked is None else "gpu",
    )
    def vqa_composition(
        context: dg.AssetExecutionContext, engines: dg.ResourceParam[Engines]
    ) -> Iterator[dg.MaterializeResult[None]]:
        with Stage(context, home) as stage, nullcontext() if asked is None else engines.held(asked):
            try:
                present, absent = vqa_questions(home)
                counted = {dataset.key: composed(stage, dataset, engines) for dataset in present}
            except SourceError as error:
                raise failure(str(error)) from error
            rows = composition_table(
                [counted.get(key) or Composition(key, dataset.title) for key, dataset in analyses.vqa.items()]
            )
            stage.stage("vqa_composition", rows)
            if not present:
                stage.context.log.warning("no declared VQA dataset has its files: nothing was counted")
                stage.note(nothing_counted="no declared dataset has its files: see absent_datasets")
            stage.note(table_2=count_table(shown_table(rows)), absent_datasets=dg.MetadataValue.json(absent))
            if examples := [example for dataset in present for example in dataset.examples]:
                stage.note(unreadable=dg.MetadataValue.text("\n".join(examples)))
            yield from stage.publish()

    def composed(stage: Stage, dataset: VqaQuestions, engines: Engines) -> Composition:
        form, spatial, progress = dataset.dataset.format, 0, stage.progress(None)
        draw = Draw(analyses.spatial_sample)
        for batch in dataset.batches():
            if asked is None:
                spatial += int(spatial_flags(batch, form).sum())
            else:
                draw.add(batch)
            progress.advance(batch.height)
        progress.finish()
        check_readable(dataset, settings.limits)
        judged, name = dataset.read, "grammar"
        if asked is not None:
            sample, analyst = draw.rows().with_columns(form=pl.lit(form)), engines.analyst(asked)
            with engines.inquiry(asked, "judge_vqa", stage, stage.progress(sample.height), dataset.key) as inquiry:
                inquiry.ask([sample], lambda row: spatial_question(analyst, row))
                spatial, other, failed = counted_replies(inquiry.answers(), minimum)
            check_failed("vqa_composition", sample.height, failed, settings.limits.failed_request_share)
            judged, name = spatial + other, asked
        return Composition(dataset.key, dataset.dataset.title, dataset.read, dataset.unreadable, judged, spatial, name)

    return vqa_composition


def check_readable(dataset: VqaQuestions, limits: LimitSettings) -> None:
    """Ends the stage where too much of a dataset that was read to its end can't be read."""
    if problem := too_many_unreadable(dataset.key, dataset.read, dataset.unreadable, dataset.examples, limits):
        raise failure(problem)


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


def engine_assets(home: Home, sources: dg.PartitionsDefinition[str]) -> list[dg.AssetsDefinition]:
    """What engines will cost, what they did cost, and how they compare."""
    settings = home.settings
    synthesis, quality, analyses = settings.synthesis, settings.quality, settings.analyses
    forecasting, ablations, prices = analyses.forecast, analyses.ablations, analyses.prices
    prompts = load_prompts(synthesis.prompts)
    every_source = dg.AllPartitionMapping()

    def identities(*names: str) -> list[Any]:
        return [(name, engine_identity(settings.engines[name])) for name in names]

    @dg.multi_asset(
        name="generation_forecast",
        outs=table_outs(
            "generation_forecast",
            group=GROUP,
            uses=("polars", engine_kind(settings.engines[synthesis.generation_engine])),
            cost="model",
            code_version=fingerprint(
                1,
                identities(synthesis.filter_engine, synthesis.generation_engine),
                prompts.fingerprints,
                synthesis.minimum_probability,
                synthesis.max_new_tokens,
                forecasting.model_dump(mode="json"),
                prices.model_dump(mode="json"),
            ),
            story="The captions with the smallest hash are asked, as in a trial: the full run finds their replies in "
            "the ledger. Check 5, CLIP and training come on top. Materialize it before `spatial_captions`.",
        ),
        partitions_def=sources,
        backfill_policy=dg.BackfillPolicy.multi_run(1),
        pool="gpu",
    )
    def generation_forecast(
        context: dg.AssetExecutionContext, engines: dg.ResourceParam[Engines], captions: pl.LazyFrame
    ) -> Iterator[dg.MaterializeResult[None]]:
        with Stage(context, home) as stage:
            whole = captions.select(captions=pl.len(), words=pl.col("words").sum()).collect().row(0, named=True)
            population = Population(**whole)
            columns = captions.select("caption_id", "source", "caption", "words")
            sample = smallest_by_hash(
                columns.collect_batches(chunk_size=_CAPTION_BATCH, maintain_order=True),
                sample_size(population.captions, forecasting),
            ).select("caption_id", "source", "caption", "words")
            first, second = synthesis.filter_engine, synthesis.generation_engine
            with engines.held(first) if first == second else nullcontext():
                verdicts = filter_captions(stage, engines, first, sample, stage.source_key)
                spatial = sample.join(verdicts.filter("kept"), on="caption_id", how="semi", maintain_order="left")
                outcomes, _ = write_pairs(stage, engines, second, spatial, stage.source_key)
            failed = failures(verdicts) + failures(outcomes)
            conserve("generation_forecast", read=sample.height, parts={"judged": verdicts.height})
            conserve("generation_forecast", read=spatial.height, parts={"asked for pairs": outcomes.height})
            check_failed("generation_forecast", sample.height, failed, settings.limits.failed_request_share)
            use = sample_use(sample, verdicts, outcomes)
            conserve("generation_forecast", read=sample.height, parts={"used": use.height, "failed": failed})
            asked = {
                stage_name: Asked(settings.engines[name], prices.engines.get(name))
                for stage_name, name in ((FILTER, first), (GENERATION, second))
            }
            rows = forecast(stage.source_key, use, population, asked, prices.currency, forecasting.level)
            stage.stage("generation_forecast", rows)
            shown = rows.select("stage", "quantity", "estimate", "low", "high", "unit", "sample")
            stage.note(
                forecast=count_table(shown),
                captions=population.captions,
                captions_asked=sample.height,
                captions_failed=failed,
                interval=f"{forecasting.level:.0%}",
                engines=dg.MetadataValue.json({FILTER: first, GENERATION: second}),
            )
            if missing := sorted({name for name in (first, second) if name not in prices.engines}):
                stage.note(without_price=without_price(missing))
            yield from stage.publish()

    @dg.multi_asset(
        name="cost_report",
        outs=table_outs(
            "cost_report",
            group=GROUP,
            uses=("polars", "report"),
            code_version=fingerprint(1, prices.model_dump(mode="json")),
            story="All that was ever asked in this home, also under earlier settings. Made of what is there.",
        ),
        deps=[
            *(dg.AssetDep(name, partition_mapping=every_source) for name in ("spatial_pairs", "generation_forecast")),
            "generation_ablation",
            "filter_ablation",
            *(dg.AssetDep(f"{key}_score", partition_mapping=every_source) for key in BENCHMARKS),
            dg.AssetDep("checkpoint", partition_mapping=every_source),
        ],
        op_tags={PARTIAL_INPUTS: "true"},
    )
    def cost_report_asset(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        with Stage(context, home) as stage:
            for message in recover_ledger(home.completions):
                context.log.warning(message)
            kept = {
                key: stage.store.rows("spatial_pairs", key)
                for key in settings.sources
                if stage.store.exists("spatial_pairs", key)
            }
            use = itertools.chain(ledger_use(home.completions), training_use(home.checkpoints))
            report = cost_report(use, home.completions, settings, kept)
            stage.stage("cost_report", report)
            about = ("stage", "owner", "engine")
            sums = ("requests", "prompt_tokens", "completion_tokens", "seconds", "cost", "kept_pairs")
            each = ("tokens_per_kept_pair", "seconds_per_kept_pair", "cost_per_kept_pair")
            of_dataset = report.filter(pl.col("purpose") == "dataset")
            stage.note(
                dataset=count_table(of_dataset.select(*about, *sums, *each)),
                analyses_and_models=count_table(
                    report.filter(pl.col("purpose") != "dataset").select(*about, "failed", *sums[:-1])
                ),
                currency=prices.currency,
            )
            for row in of_dataset.filter(pl.col("owner") == "total").iter_rows(named=True):
                stage.note(**{name: row[name] for name in ("cost", *each) if row[name] is not None})
            if missing := unpriced(report):
                stage.note(without_price=without_price(missing))
            yield from stage.publish()

    @dg.multi_asset(
        name="generation_ablation",
        outs=table_outs(
            "generation_ablation",
            group=GROUP,
            uses=("polars", "report"),
            cost="model",
            code_version=fingerprint(
                1,
                identities(*ablations.generation, quality.verification_engine),
                prompts.fingerprints,
                synthesis.max_new_tokens,
                synthesis.max_pairs,
                quality.verification,
                quality.minimum_grounding,
                ablations.captions,
            ),
            story="Paper B.1. The spatial captions with the smallest hash, over all sources; whether a pair is spatial "
            "says the engine of check 5, where the paper had people look.",
        ),
        deps=[dg.AssetDep("spatial_captions", partition_mapping=every_source)],
        pool="gpu",
        op_tags={PARTIAL_INPUTS: "true"},
    )
    def generation_ablation(
        context: dg.AssetExecutionContext, engines: dg.ResourceParam[Engines]
    ) -> Iterator[dg.MaterializeResult[None]]:
        with Stage(context, home) as stage:
            scans = [stage.store.scan("spatial_captions", key) for key in stage.sources_with("spatial_captions")]
            sample = caption_sample(scans, ablations.captions)
            by_engine: dict[str, Written] = {}
            problems: dict[str, str] = {}
            for name in ablations.generation if sample.height else ():
                with reported(problems, name), engines.held(name):
                    parts = [write_pairs(stage, engines, name, part, source) for source, part in by_source(sample)]
                    outcomes = pl.concat(part.outcomes for part in parts)
                    check_failed(name, sample.height, failures(outcomes), settings.limits.failed_request_share)
                    by_engine[name] = Written(outcomes, pl.concat(part.pairs for part in parts))
            judge = quality.verification_engine
            with engines.held(judge):
                rows = [
                    generation_row(
                        name,
                        sample,
                        outcomes,
                        pairs,
                        judge_pairs(stage, engines, judge, pairs),
                        used(outcomes, in_flight(settings.engines[name])),
                        quality.minimum_grounding,
                    )
                    for name, (outcomes, pairs) in by_engine.items()
                ]
            table = generation_table(rows)
            stage.stage("generation_ablation", table)
            shown = (
                "engine",
                "kind",
                "spatial_relevance",
                "pairs_per_caption",
                "grounded_share",
                "captions",
                "seconds",
            )
            stage.note(table_7=count_table(table.select(shown)), captions=sample.height, judge=judge)
            compared(stage, "generation", ablations.generation, problems)
            yield from stage.publish()

    @dg.multi_asset(
        name="filter_ablation",
        outs=table_outs(
            "filter_ablation",
            group=GROUP,
            uses=("polars", "report"),
            cost="model",
            code_version=fingerprint(
                1,
                identities(*ablations.filter),
                prompts.fingerprints["judge_caption"],
                synthesis.minimum_probability,
                ablations.captions,
            ),
            story="Paper B.2. Against people's labels from the review page (`caption_labels`), by the weights of their "
            "sample. In the sandbox, until there are any, against how the scenes' captions were written.",
        ),
        deps=[dg.AssetDep("captions", partition_mapping=every_source), "caption_labels"],
        pool="gpu",
        op_tags={PARTIAL_INPUTS: "true"},
    )
    def filter_ablation(
        context: dg.AssetExecutionContext, engines: dg.ResourceParam[Engines]
    ) -> Iterator[dg.MaterializeResult[None]]:
        with Stage(context, home) as stage:
            scans = {key: stage.store.scan("captions", key) for key in stage.sources_with("captions")}
            truth = scene_labels(scans, settings)
            if stage.store.exists("caption_labels") and stage.store.rows("caption_labels"):
                truth = agreed_labels(stage.store.scan("caption_labels").collect())
            labelled = pl.concat(
                scan.join(truth.rows.lazy(), on="caption_id", how="semi").select("caption_id", "source", "caption")
                for scan in scans.values()
            ).collect()
            found = replace(truth, rows=truth.rows.join(labelled, on="caption_id", how="semi"))
            rows: list[dict[str, Any]] = []
            problems: dict[str, str] = {}
            for name in ablations.filter if labelled.height else ():
                with reported(problems, name), engines.held(name):
                    verdicts = pl.concat(
                        filter_captions(stage, engines, name, part, source) for source, part in by_source(labelled)
                    )
                    check_failed(name, labelled.height, failures(verdicts), settings.limits.failed_request_share)
                    seconds = used(verdicts, in_flight(settings.engines[name]))["seconds"]
                    rows.append(filter_row(name, found, verdicts, seconds))
            table = filter_table(rows)
            stage.stage("filter_ablation", table)
            shown = ("engine", "kind", "relative_time", "accuracy", "precision", "recall", "f1", "captions")
            stage.note(
                table_8=count_table(table.select(shown)),
                labels=found.labels if labelled.height else NO_LABELS,
                captions=labelled.height,
                reviewers_divided=truth.divided,
                labels_without_caption=truth.rows.height - found.rows.height,
            )
            compared(stage, "filter", ablations.filter, problems)
            yield from stage.publish()

    def filter_captions(stage: Stage, engines: Engines, name: str, captions: pl.DataFrame, source: str) -> pl.DataFrame:
        with engines.inquiry(name, "judge_caption", stage, stage.progress(captions.height), source) as inquiry:
            return filtered(inquiry, engines.analyst(name), captions, synthesis.minimum_probability)

    def write_pairs(stage: Stage, engines: Engines, name: str, captions: pl.DataFrame, source: str) -> Written:
        with engines.inquiry(name, "write_pairs", stage, stage.progress(captions.height), source) as inquiry:
            return written(inquiry, engines.analyst(name), captions, synthesis.max_pairs)

    def judge_pairs(stage: Stage, engines: Engines, name: str, pairs: pl.DataFrame) -> pl.DataFrame:
        per_sample = quality.verification == "per_sample"
        questions = sample_rows(pairs.lazy()).collect() if per_sample else pairs
        task = "judge_pairs" if per_sample else "judge_pair"
        with engines.inquiry(name, task, stage, stage.progress(questions.height), JUDGED_BY) as inquiry:
            return judged(inquiry, engines.analyst(name), questions)

    return [generation_forecast, cost_report_asset, generation_ablation, filter_ablation]


@contextmanager
def reported(problems: dict[str, str], engine: str) -> Iterator[None]:
    """An engine that cannot be asked is left out and named; the others are compared all the same."""
    try:
        yield
    except (EngineError, TooManyFailedError) as error:
        problems[engine] = str(error)


def compared(stage: Stage, ablation: str, engines: Sequence[str], problems: Mapping[str, str]) -> None:
    """Tell which engines are missing from a comparison. Raises Failure where none could be asked."""
    if not engines:
        stage.note(not_measured=f"name engines in `analyses.ablations.{ablation}` to compare them")
    for engine, problem in problems.items():
        stage.context.log.error(f"{engine} is not compared: {problem}")
    if problems:
        stage.note(not_measured=dg.MetadataValue.json(dict(problems)))
    if problems and len(problems) == len(engines):
        raise failure(f"no engine of `analyses.ablations.{ablation}` could be asked; {next(iter(problems.values()))}")


def without_price(names: Sequence[str]) -> str:
    """What is left out of the costs, in words."""
    return f"{', '.join(names)}: no price in `analyses.prices`, so in no cost"
