"""The asset graph of one profile, for Dagster's tools (`defs`) and for tests (`build_defs`)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import dagster as dg

from spare_assets.analyses import assets as analyses
from spare_assets.benchmarks import assets as benchmarks
from spare_assets.captions import assets as captions
from spare_assets.clip import assets as clip
from spare_assets.dataset import assets as dataset
from spare_assets.orchestration import conservation_checks, executors, jobs, sanity_checks, source_sensor, table_checks
from spare_assets.orchestration.resources import Engines, clip_encoder, scored_models
from spare_assets.orchestration.tables import ParquetTables, owned
from spare_assets.publication import assets as publication
from spare_assets.quality import assets as quality
from spare_assets.review import assets as review
from spare_assets.settings import Home, open_home
from spare_assets.storage.tables import open_tables
from spare_assets.synthesis import assets as synthesis
from spare_assets.training import assets as training


def build_defs(
    profile: str | None = None,
    home: Home | None = None,
    resource_overrides: Mapping[str, Any] | None = None,
    executor: dg.ExecutorDefinition | None = None,
) -> dg.Definitions:
    """The graph of a profile: same assets in all, with the profile's sources and models as partitions.

    Raises SettingsError when the profile, or the home it would write to, cannot be used.
    """
    opened = home or open_home(profile)
    sources = dg.StaticPartitionsDefinition(list(opened.settings.sources))
    models = dg.StaticPartitionsDefinition(list(opened.settings.models))
    # Partitioned checks and selections by text are announced as not final on every load.
    for category in (dg.PreviewWarning, dg.BetaWarning):
        warnings.filterwarnings("ignore", category=category)
    assets = [
        *captions.build(opened, sources),
        *synthesis.build(opened, sources),
        *clip.build(opened, sources),
        *quality.build(opened, sources),
        *dataset.build(opened),
        *review.build(opened),
        *publication.build(opened),
        *training.build(opened, models),
        *benchmarks.build(opened, models),
        *analyses.build(opened, sources),
    ]
    units = jobs.build(opened, sources, models)
    return dg.Definitions(
        assets=owned(assets, opened.settings.owners),
        asset_checks=table_checks.build(assets, [*conservation_checks.checks(opened), *sanity_checks.checks(opened)]),
        jobs=list(units.values()),
        sensors=[source_sensor.build(opened, units["dataset_of_one_source"])],
        resources={
            "io_manager": ParquetTables(open_tables(opened)),
            "engines": Engines(opened),
            "encoder": clip_encoder(opened),
            "scored_models": scored_models(opened),
            **(resource_overrides or {}),
        },
        executor=executor or executors.executor(opened),
    )


defs = build_defs()
