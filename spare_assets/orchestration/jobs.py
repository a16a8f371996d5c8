"""Jobs for the natural units of work, each one click on the Jobs page.

A Dagster job knows one kind of partition; `everything` is therefore one step that runs the others' assets in waves, as
`spare materialize` does, each wave and partition a run of its own.
"""

from io import TextIOBase
from typing import IO, Any, cast

import dagster as dg
from pydantic import Field

from spare_assets.settings import Home
from spare_assets.storage.schemas import TABLES

PART_OF = "spare/part_of"
"""Tag of the runs that a run of `everything` made, with its run id."""
UNIT = "spare/unit"
"""Tag of a job and its runs: what the unit of work is by."""
_FORECAST = "generation_forecast"
"""Asks a sample of a source what all of it would cost: of no use in a run that asks all of it."""


class EverythingConfig(dg.Config):
    """What a person may change for one run of everything."""

    limit: int | None = Field(
        default=None,
        ge=1,
        description="A trial of this many captions per source. Absent: all captions.",
    )
    replace_full: bool = Field(default=False, description="Let a trial replace tables of all captions.")


def build(home: Home, sources: dg.PartitionsDefinition[str], models: dg.PartitionsDefinition[str]) -> dict[str, Any]:
    """All jobs of a profile, by name."""

    def job(name: str, description: str, *assets: str, partitions: dg.PartitionsDefinition[str] | None = None) -> Any:
        unit = "source" if partitions is sources else "model" if partitions is models else "whole"
        return dg.define_asset_job(
            name,
            selection=dg.AssetSelection.assets(*assets),
            description=description,
            tags={UNIT: unit},
            partitions_def=partitions,
        )

    jobs = [
        job(
            "dataset_of_one_source",
            "From the caption files of one source to its verified pairs: captions, pre-filter, generation, images and "
            "the five checks. Choose the source as partition; several become a backfill. Stored replies are not asked "
            "for again. The job `dataset` then joins the sources.",
            *(name for name in _by("source") if name != _FORECAST),
            partitions=sources,
        ),
        job(
            "dataset",
            "What spans the sources: `spare_dataset` from all that are materialized, Table 1, and the dataset card. "
            "Run it after `dataset_of_one_source`.",
            *("spare_dataset", "dataset_statistics", "dataset_card"),
        ),
        job(
            "training_rows",
            "Rows to train on, from `spare_dataset`: pairs as turns, captions for the baseline, and which images "
            "benchmarks use too.",
            *("benchmark_images", "contaminated_images", "training_samples", "caption_training_samples"),
        ),
        job(
            "train",
            "Fine-tunes one model of the profile, or records a released one. Choose the model as partition. Goes on "
            "from the last saved step; a model that is trained already is not trained again. Needs `training_rows`.",
            "checkpoint",
            partitions=models,
        ),
        job(
            "score",
            "Asks one model the questions of all benchmarks at hand and scores it. Choose the model as partition. A "
            "benchmark whose file is absent fails alone. Needs `train`.",
            *(name for name in _by("model") if name != "checkpoint"),
            partitions=models,
        ),
        job(
            "leaderboard_of_models",
            "Tables 3 and 4 from the scores there are, all answers side by side, and what the work cost. "
            "Needs `score`.",
            *("leaderboard", "model_comparison", "cost_report"),
        ),
        job(
            "exports",
            "`spare_dataset` in the formats of other tools, under `exports/` of the home.",
            *(name for name in TABLES if name.endswith("_export")),
        ),
    ]
    return {**{job.name: job for job in jobs}, "everything": _everything(home)}


def _by(partition: str) -> list[str]:
    return [name for name, schema in TABLES.items() if schema.partition == partition]


def _everything(home: Home) -> dg.JobDefinition:
    @dg.op(
        name="all_waves",
        description="Runs every asset in waves: by source, then what spans the sources, then by model, then what spans "
        "the models. Each wave and partition is a run of its own, tagged with this run's id.",
    )
    def all_waves(context: dg.OpExecutionContext, config: EverythingConfig) -> dg.Output[None]:
        # The command line is imported where it is used: it reads the definitions that this job is part of.
        from rich.console import Console

        from spare_assets.cli.materialize import Materialization

        run = Materialization(
            home, "*", limit=config.limit, replace_full=config.replace_full, tags={PART_OF: context.run_id}
        )
        lines = cast(IO[str], _RunLog(context.log))
        told = Console(file=lines, width=120, color_system=None, force_terminal=False)
        try:
            whole = run.execute(told, context.instance)
        except KeyboardInterrupt:
            _cancel_parts(context.instance, context.run_id)
            raise
        metadata: dict[str, Any] = {
            "assets": _counted([outcome.outcome for outcome in run.outcomes]),
            "runs": _runs(context.instance, context.run_id),
        }
        if not whole:
            errors = [str(problem) for problem in run.problems if problem.severity == "error"]
            words = "\n".join([f"{len(errors)} failed; what needs them was left out, the rest is done:", *errors])
            raise dg.Failure(words, metadata=metadata, allow_retries=False)
        return dg.Output(None, metadata=metadata)

    @dg.job(
        name="everything",
        description="The whole graph: every source, the dataset, every model, all scores and reports. One click, no "
        "partition to choose. It goes on from where it stopped: nothing is asked or trained twice. What fails stops "
        "what needs it, and the run ends with the reasons. Its parts are runs of their own: filter the runs by the tag "
        f"`{PART_OF}`. For a trial, set `limit` in the Launchpad.",
        tags={UNIT: "everything"},
        executor_def=dg.in_process_executor,
    )
    def everything() -> None:
        all_waves()

    return everything


class _RunLog(TextIOBase):
    """Lines of a console as messages of a run's log."""

    def __init__(self, log: dg.DagsterLogManager) -> None:
        self._log, self._rest = log, ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if line.strip():
                self._log.info(line.rstrip())
        return len(text)


def _counted(outcomes: list[str]) -> dict[str, int]:
    return {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))}


def _cancel_parts(instance: dg.DagsterInstance, run_id: str) -> None:
    """Record the part that an interrupt ended as cancelled; Dagster takes it for a failure, as nobody asked for it."""
    for part in instance.get_runs(dg.RunsFilter(tags={PART_OF: run_id}), limit=1):
        if part.tags.get("dagster/failure_reason") == "UNEXPECTED_TERMINATION":
            instance.report_run_canceled(part, f"cancelled with run {run_id} of everything, which it is part of")


def _runs(instance: dg.DagsterInstance, run_id: str) -> dg.TableMetadataValue:
    """The runs that this one made, in order."""
    made = instance.get_runs(dg.RunsFilter(tags={PART_OF: run_id}), ascending=True)
    records = [
        dg.TableRecord(
            {
                "run": run.run_id,
                "partition": run.tags.get("dagster/partition", ""),
                "assets": len(run.asset_selection or ()),
                "status": run.status.value,
            }
        )
        for run in made
    ]
    columns = [dg.TableColumn(name) for name in ("run", "partition", "assets", "status")]
    return dg.MetadataValue.table(records, schema=dg.TableSchema(columns))
