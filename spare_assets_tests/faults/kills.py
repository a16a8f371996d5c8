"""Runs that are killed, terminated or cancelled, gone on with to the end, and compared with an unbroken run.

Named points and a dozen random moments begin with no home at all. The other random moments, five in every stage, begin
with a copy of the unbroken run's home from which the stage and all that follows from it were taken away: tables,
replies and images.

Training is killed in `orchestration/test_training_run.py` and `training/test_process_group.py`, scores in
`orchestration/test_scores.py`.
"""

from __future__ import annotations

import os
import random
import signal
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from spare_assets_tests.faults.aftermath import Aftermath
from spare_assets_tests.faults.cases import Case, Outcome
from spare_assets_tests.faults.fault_points import POINTS
from spare_assets_tests.faults.small_graph import FIRST, WHOLE, Mark, Run, SmallGraph, apart, small_graph

STAGES = (
    *("captions", "generation_forecast", "spatial_captions", "caption_relations", "qa_pairs", "question_embeddings"),
    *("deduplicated_pairs", "reference_checked_pairs", "grounded_pairs", "images", "image_embeddings"),
    *("aligned_pairs", "spatial_pairs", "rejected_pairs", "benchmark_images", "dataset_statistics"),
    *("generation_ablation", "spare_dataset", "vqa_composition", "vqa_relations", "contaminated_images"),
    *("llama_factory_export", "llava_export", "ms_swift_export", "parquet_export", "review_sample", "trl_export"),
    *("webdataset_export", "pair_relations", "training_samples", "review_page", "review_results"),
    *("hyperparameter_trials", "dataset_card", "filter_ablation", "published_dataset", "cost_report", "leaderboard"),
    "model_comparison",
)
"""Every stage of the graph but training and scores; a case finds that none is missing."""
MOMENTS = 5
_TRIES = 15
_STOP_SECONDS = 10.0
_INTERRUPTED = 130


def killed_at(point: str, folder: Path) -> Outcome:
    """Kill a run at a named point, with no home before it."""
    with small_graph(FIRST if POINTS[point].first else WHOLE) as graph:
        graph.empty()
        run = graph.start(fault=point)
        code = run.end()
        assert code == -signal.SIGKILL, f"the point was not reached (exit {code}): {run.told()}"
        assert run.place is not None and run.place.event == "point", run.place
        lost = gone_on_with(graph, run)
        return Outcome(lost=lost, stage=POINTS[point].stage or "before any stage")


def killed_twice(folder: Path) -> Outcome:
    """Kill a run in its ledger, and the next one while it takes up what the first has left."""
    with small_graph(FIRST) as graph:
        graph.empty()
        for point in ("inside a ledger line", "inside the ledger's rewrite"):
            run = graph.start(fault=point)
            assert run.end() == -signal.SIGKILL, run.told()
        return Outcome(tried=2, lost=gone_on_with(graph, run), stage="spatial_captions")


def at_random_moments(number: int, stage: str, moments: int, folder: Path) -> Outcome:
    """Send a signal at so many moments that lie within a stage, each drawn over its length in the unbroken run."""
    draw = random.Random(f"{number}:{stage}")
    with small_graph(WHOLE) as graph:
        assert {span.stage for span in graph.spans} == set(STAGES), "the list of stages is not the graph's"
        landed = tried = lost = 0
        share = 1.0
        while landed < moments:
            tried += 1
            assert tried <= _TRIES, f"{landed} of {tried - 1} moments lay within {stage}"
            partition = draw.choice(graph.partitions(stage))
            selection = graph.before(stage)
            run = graph.start(selection)
            place = struck(graph, run, number, stage, partition, share * draw.random())
            if place.event == "entered" and place.stage == stage:
                landed += 1
            else:
                share *= 0.7
            lost += gone_on_with(graph, run, selection)
        return Outcome(tried=tried, lost=lost, note=f"{landed} of {tried} moments within the stage")


def at_a_random_moment(number: int, seed: int, extent: str, folder: Path) -> Outcome:
    """Send a signal at one moment of a run that began with no home."""
    draw = random.Random(f"{number}:{seed}")
    with small_graph(WHOLE if extent == WHOLE.name else FIRST) as graph:
        span = draw.choice(graph.spans)
        graph.empty()
        run = graph.start()
        place = struck(graph, run, number, span.stage, span.partition, draw.random())
        return Outcome(lost=gone_on_with(graph, run), stage=place.stage)


def struck(graph: SmallGraph, run: Run, number: int, stage: str, partition: str, share: float) -> Mark:
    """Send a signal to a run so far into a stage; the mark that proves where it landed.

    SIGTERM ends the run within ten seconds, as a person who interrupts it expects.
    """
    assert run.reach("entered", stage, partition), run.told()
    time.sleep(share * graph.span(stage, partition).seconds)
    began = time.monotonic()
    run.signal(number)
    code = run.end()
    took = time.monotonic() - began
    if code == 0:
        return Mark("ended", "after the end", "", began)
    if number == signal.SIGTERM:
        assert code == _INTERRUPTED, f"exit {code}: {run.told()}"
        assert took < _STOP_SECONDS, f"it took {took:.1f} s to stop"
        return next(mark for mark in reversed(run.marks) if mark.at < began)
    assert code == -number, f"exit {code}: {run.told()}"
    assert run.place is not None
    return run.place


def gone_on_with(graph: SmallGraph, run: Run | None, selection: str | None = None) -> int:
    """Run on to the end; what was lost: rows that differ, replies and images asked for again.

    Asserts that nothing else is left of the run that was ended: files, processes, places in a pool.
    """
    assert_gone(graph, run)
    replies, pictures = apart(_stored, graph.home)
    before = graph.servers.asked()
    again = graph.start(selection)
    assert again.end() == 0, again.told()
    asked = graph.servers.asked()
    after = apart(_compared, graph)
    assert not after.left_over, after.left_over
    assert not after.files_that_differ, after.files_that_differ
    assert not after.slots_taken, after.slots_taken
    assert set(after.runs) <= {"SUCCESS", "FAILURE", "CANCELED"}, after.runs
    assert_gone(graph, again)
    assert not list(graph.temporary.iterdir()), "files in the system's folder for temporary ones"
    asked_again = max(0, asked.replies - before.replies - (graph.needed.replies - replies))
    # Addresses without a good image are asked for at every run.
    fetched_again = max(0, asked.pictures - before.pictures - (graph.needed.pictures - pictures))
    print(after, f"asked again: {asked_again} replies, {fetched_again} images", flush=True)
    assert after.replies == graph.needed.replies
    return sum(after.rows_that_differ.values()) + asked_again + fetched_again


def assert_gone(graph: SmallGraph, run: Run | None) -> None:
    """No process of a run lives on. Dagster's own, which copy what a step prints, notice its death within seconds."""
    deadline = time.monotonic() + _STOP_SECONDS
    while living := started_for(graph, run):
        assert time.monotonic() < deadline, f"processes of the run live on: {living}"
        time.sleep(0.2)


def started_for(graph: SmallGraph, run: Run | None = None) -> list[psutil.Process]:
    """Processes of a run's session, and all that were started with the home in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid in (os.getpid(), graph.servers.pid) or process.status() == psutil.STATUS_ZOMBIE:
                continue
            of_session = run is not None and os.getsid(process.pid) == run.pid
            if of_session or process.environ().get("SPARE_HOME") == str(graph.home):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def _stored(home: Path) -> tuple[int, int]:
    from spare_assets_tests.faults.paid_for import stored_pictures, stored_replies

    return stored_replies(home), stored_pictures(home)


def _compared(graph: SmallGraph) -> Aftermath:
    from spare_assets_tests.faults.aftermath import aftermath

    return aftermath(graph.profile, graph.home, graph.unbroken)


CASES = [
    *(
        Case(
            "kill -9 at a named point",
            point.stage or "before any stage",
            name,
            partial(killed_at, name),
            short=name == "inside a ledger line",
            limit_s=1800,
        )
        for name, point in POINTS.items()
    ),
    Case("kill -9 at a named point", "spatial_captions", "again while taken up", killed_twice, limit_s=1800),
    *(
        Case(
            "kill -9 at a random moment",
            stage,
            "from the stage on",
            partial(at_random_moments, signal.SIGKILL, stage, MOMENTS),
            limit_s=1800,
        )
        for stage in STAGES
    ),
    *(
        Case(
            "kill -9 at a random moment",
            "any",
            f"from nothing, {seed}",
            partial(at_a_random_moment, signal.SIGKILL, seed, WHOLE.name),
            limit_s=1800,
        )
        for seed in range(12)
    ),
    Case(
        "kill -9 at a random moment",
        "any",
        "first stages",
        partial(at_a_random_moment, signal.SIGKILL, 0, FIRST.name),
        short=True,
    ),
    *(
        Case(
            "SIGTERM at a random moment",
            stage,
            "from the stage on",
            partial(at_random_moments, signal.SIGTERM, stage, 1),
            limit_s=1800,
        )
        for stage in (
            "captions",
            "spatial_captions",
            "question_embeddings",
            "images",
            "spatial_pairs",
            "parquet_export",
        )
    ),
    *(
        Case(
            "SIGTERM at a random moment",
            "any",
            f"from nothing, {seed}",
            partial(at_a_random_moment, signal.SIGTERM, seed, WHOLE.name),
            limit_s=1800,
        )
        for seed in range(4)
    ),
    Case(
        "SIGTERM at a random moment",
        "any",
        "first stages",
        partial(at_a_random_moment, signal.SIGTERM, 0, FIRST.name),
        short=True,
    ),
]
