"""A sensor that notices new and changed files of a source and requests the dataset of that source, once.

It looks at names, sizes and times of the caption files that the settings name, and at the time of the image folders
themselves, which moves when a picture is added or removed there. Contents are not read: the stages do that.
"""

import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

import dagster as dg

from spare_assets.captions.files import source_files
from spare_assets.captions.records import SourceError
from spare_assets.settings import Home, SourceSettings, fingerprint
from spare_assets.storage.tables import open_tables

SECONDS = 30


@dataclass(frozen=True, slots=True)
class Watched:
    """What the sensor remembers of a source: how its files stood at the last tick, and what is dealt with.

    `requests` counts since `begun`, so that files put back as they once were are requested again.
    """

    seen: str
    done: str | None
    begun: int
    requests: int = 0


@dataclass(frozen=True, slots=True)
class Files:
    """How a source's files stand: a fingerprint, and the latest time anything changed, in seconds."""

    state: str
    changed: float


def build(home: Home, job: Any) -> dg.SensorDefinition:
    """The sensor `source_files`, off until somebody turns it on."""

    @dg.sensor(
        name="source_files",
        job=job,
        minimum_interval_seconds=SECONDS,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Watches the caption files and image folders of every source. A file that is new or changed, and "
        "then stood still from one tick to the next, requests the job dataset_of_one_source for its source, once. "
        "Turned on for the first time it requests only sources whose captions are older than their files, or absent.",
    )
    def source_files_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        before = _remembered(context.cursor)
        after: dict[str, Watched] = {}
        requests: list[dg.RunRequest] = []
        reasons: list[str] = []
        for key, source in home.settings.sources.items():
            watched = before.get(key)
            try:
                files = stand(key, source, home)
            except (SourceError, OSError) as error:
                if watched:
                    after[key] = watched
                if source.scenes is None:
                    reasons.append(f"{key}: {error}")
                continue
            if watched is None:
                watched = Watched(seen="", done=None, begun=int(time.time()))
            if files.state != watched.done and _read_already(home, key, source, files, context.instance):
                watched = replace(watched, done=files.state)
            if files.state == watched.done:
                pass
            elif files.state != watched.seen:
                reasons.append(f"{key}: its files changed; requested once they stand still until the next tick")
            else:
                watched = replace(watched, done=files.state, requests=watched.requests + 1)
                run_key = f"{key}:{files.state}:{watched.begun}:{watched.requests}"
                requests.append(dg.RunRequest(run_key=run_key, partition_key=key))
            after[key] = replace(watched, seen=files.state)
        for reason in reasons:
            context.log.info(reason)
        return dg.SensorResult(
            run_requests=requests,
            # Dagster takes a reason only from a tick that requests nothing.
            skip_reason=None if requests else "\n".join(reasons) or "no source has new or changed files",
            cursor=json.dumps({key: asdict(watched) for key, watched in after.items()}),
        )

    return source_files_sensor


def stand(key: str, source: SourceSettings, home: Home) -> Files:
    """How the files of a source stand now. Raises SourceError where its settings name files that are not there."""
    facts = []
    changed = 0
    for file in source_files(key, source, home):
        status = file.path.stat()
        facts.append((file.name, status.st_size, status.st_mtime_ns))
        # A copy may keep its original's time and a file may go: then the inode and the folder tell when.
        changed = max(changed, status.st_mtime_ns, status.st_ctime_ns, file.path.parent.stat().st_mtime_ns)
    for folder in sorted(source.image_folders.values()):
        with suppress(OSError):
            moved = home.resolve(folder).stat().st_mtime_ns
            facts.append((folder, 0, moved))
            changed = max(changed, moved)
    return Files(fingerprint(facts), changed / 1e9)


def _read_already(home: Home, key: str, source: SourceSettings, files: Files, instance: dg.DagsterInstance) -> bool:
    """Whether the captions on record were read from the files as they are now."""
    store = open_tables(home)
    if not store.exists("captions", key):
        # What is rendered needs no files to begin with; the run that renders them reads them too.
        return source.scenes is not None
    made = store.path("captions", key).stat().st_mtime
    if source.scenes is None:
        # A file that changed while it was read may have been read half: what counts is when reading began.
        records = instance.fetch_materializations(
            dg.AssetRecordsFilter(dg.AssetKey("captions"), asset_partitions=[key]), limit=1
        ).records
        run = instance.get_run_record_by_id(records[0].run_id) if records else None
        made = run.start_time if run is not None and run.start_time is not None else made
    return files.changed < made


def _remembered(cursor: str | None) -> dict[str, Watched]:
    try:
        return {key: Watched(**watched) for key, watched in json.loads(cursor or "{}").items()}
    except (ValueError, TypeError, AttributeError):
        return {}
