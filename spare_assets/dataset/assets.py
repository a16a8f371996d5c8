"""Assets of the dataset room: the assembled dataset over all sources, and its statistics."""

from collections.abc import Iterator, Mapping, Sequence

import dagster as dg
import polars as pl

from spare_assets.analyses.frames_of_reference import VERSION as FRAMES_VERSION
from spare_assets.analyses.frames_of_reference import frame_shares
from spare_assets.dataset.assembly import in_key_order, samples
from spare_assets.dataset.funnel import FunnelStep, funnel, funnel_table
from spare_assets.dataset.statistics import dataset_statistics
from spare_assets.orchestration.stage import Stage, count_table
from spare_assets.orchestration.tables import table_outs
from spare_assets.pages.funnel_picture import funnel_bars, funnel_picture
from spare_assets.pages.pair_gallery import dataset_samples, pair_gallery
from spare_assets.settings import Home, fingerprint
from spare_assets.storage.conservation import conserve
from spare_assets.storage.tables import content_hash

GROUP = "dataset"
PARTS = ("spatial_captions", "spatial_pairs", "images", "alignment_verdicts")


def build(home: Home) -> list[dg.AssetsDefinition]:
    """The assets of this room, for one profile."""
    declared = list(home.settings.sources)
    every_source = dg.AllPartitionMapping()

    @dg.multi_asset(
        name="spare_dataset",
        outs=table_outs(
            "spare_dataset",
            group=GROUP,
            uses=("polars", "dataset"),
            code_version=fingerprint(1, FRAMES_VERSION),
            story="Paper 3.2.2. From all declared sources that are materialized; the metadata lists them with "
            "their content versions, and the absent ones. Each pair is marked with the frame of reference it speaks "
            "in (paper, section 6).",
        ),
        deps=[dg.AssetDep(name, partition_mapping=every_source) for name in PARTS],
    )
    def spare_dataset(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        with Stage(context, home) as stage:
            present = in_key_order(stage.sources_with(*PARTS))
            assembled = stage.stage(
                "spare_dataset",
                pl.concat([samples(*(stage.store.scan(part, source) for part in PARTS)) for source in present]),
            )
            pairs = assembled.scan().select(pl.col("pairs").list.len().sum()).collect().item() or 0
            conserve(
                "spare_dataset",
                read=sum(stage.store.rows("spatial_pairs", source) for source in present),
                parts={"pairs": pairs},
            )
            versions = pl.DataFrame(
                {
                    "source": present,
                    "content_version": [content_hash(stage.store.path("spatial_pairs", key)) for key in present],
                    "pairs": [stage.store.rows("spatial_pairs", key) for key in present],
                }
            )
            funnels = {key: list(funnel(stage.store, key)) for key in present}
            stage.note(
                samples=assembled.rows,
                pairs=pairs,
                funnel=count_table(funnel_table(funnels)),
                sources=count_table(versions),
                frames_of_reference_percent=count_table(frame_shares(assembled.scan())),
                stale_sources=dg.MetadataValue.json(
                    [key for key, steps in funnels.items() if not all(step.adds_up for step in steps)]
                ),
                absent_sources=dg.MetadataValue.json(sorted(set(declared) - set(present))),
                **stage.drawn(
                    "samples with their pairs",
                    lambda: pair_gallery(dataset_samples(assembled.scan()), "Samples with their pairs"),
                ),
                **stage.drawn("the funnels", lambda: drawn_funnels(funnels), name="funnel_picture"),
            )
            yield from stage.publish()

    @dg.multi_asset(
        name="dataset_statistics",
        outs=table_outs(
            "dataset_statistics",
            group=GROUP,
            uses=("polars", "report"),
            code_version="1",
            story="As the paper prints it: Size is `captions`, Filtered `samples`, Words `mean_words`, Gen. Pairs "
            "`pairs`.",
        ),
        deps=[
            dg.AssetDep(name, partition_mapping=every_source)
            for name in ("captions", "spatial_captions", "grounded_pairs", "images", "spatial_pairs")
        ],
    )
    def dataset_statistics_asset(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        with Stage(context, home) as stage:
            present = in_key_order(stage.sources_with("captions", *PARTS))
            rows = dataset_statistics(stage.store, present)
            stage.stage("dataset_statistics", rows)
            funnels = {key: list(funnel(stage.store, key)) for key in present}
            stage.note(
                table_1=count_table(rows),
                **stage.drawn("the funnels", lambda: drawn_funnels(funnels)),
            )
            yield from stage.publish()

    return [spare_dataset, dataset_statistics_asset]


def drawn_funnels(funnels: Mapping[str, Sequence[FunnelStep]]) -> bytes:
    """The funnels side by side."""
    bars = {source: funnel_bars(steps) for source, steps in funnels.items()}
    return funnel_picture(bars, "From captions to pairs, by source")
