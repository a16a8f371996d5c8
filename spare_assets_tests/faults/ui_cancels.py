"""Runs that a person launches and terminates in the UI: they stop within ten seconds, and a later run goes on.

A real `spare ui` on the home, asked through the calls that its pages make. What must hold afterwards belongs to
`kills`.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from spare_assets_tests.faults.cases import Case, Outcome
from spare_assets_tests.faults.kills import gone_on_with, started_for
from spare_assets_tests.faults.small_graph import FIRST, WHOLE, SmallGraph, small_graph

_STOP_SECONDS = 10.0
_START_SECONDS = 180.0
_SLOW, _QUICK = 1.0, 0.005
_LAUNCH = """
mutation($params: ExecutionParams!) {
  launchPipelineExecution(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}"""
_TERMINATE = """
mutation($id: String!) {
  terminateRun(runId: $id) { __typename ... on TerminateRunFailure { message } ... on PythonError { message } }
}"""
_STATUS = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"


class Page:
    """A running `spare ui`, its processes in a session of their own."""

    def __init__(self, url: str) -> None:
        self._url = url

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The answer's data."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self._url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            data: dict[str, Any] = json.load(answer)["data"]
        return data

    def launch(self, assets: tuple[str, ...], partition: str) -> str:
        """Start a run of these assets as the Materialize button does; its id."""
        selector = {
            "repositoryLocationName": "spare",
            "repositoryName": "__repository__",
            "pipelineName": "__ASSET_JOB",
            "assetSelection": [{"path": [asset]} for asset in assets],
            "assetCheckSelection": [],
        }
        tags = [{"key": "dagster/partition", "value": partition}] if partition else []
        params = {"selector": selector, "mode": "default", "executionMetadata": {"tags": tags}, "runConfigData": {}}
        answer = self.ask(_LAUNCH, params=params)["launchPipelineExecution"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return str(answer["run"]["runId"])

    def status(self, run: str) -> str:
        """Where a run stands."""
        return str(self.ask(_STATUS, id=run)["runOrError"]["status"])

    def cancel(self, run: str) -> None:
        """Terminate a run; asserts that it is canceled within ten seconds."""
        began = time.monotonic()
        answer = self.ask(_TERMINATE, id=run)["terminateRun"]
        assert answer["__typename"] == "TerminateRunSuccess", answer
        while (status := self.status(run)) != "CANCELED":
            assert status in {"STARTED", "CANCELING"}, status
            assert time.monotonic() - began < _STOP_SECONDS, f"still {status} after {_STOP_SECONDS:.0f} s"
            time.sleep(0.1)


@contextmanager
def spare_ui(graph: SmallGraph, temporary: Path) -> Iterator[Page]:
    """The UI with its daemon, on the same home. Its servers, ended all at once, leave sockets in `temporary`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "spare_assets.cli.main", "ui", "--port", str(port)]
    log = graph.folder / "ui.log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [*command, "--profile", str(graph.profile), "--home", str(graph.home)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(temporary)},
            start_new_session=True,
        )
    try:
        page = Page(f"http://127.0.0.1:{port}")
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                page.ask("{ repositoriesOrError { __typename } }")
                break
            except OSError:
                assert server.poll() is None and time.monotonic() < deadline, log.read_text()
                time.sleep(0.5)
        yield page
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def cancelled(graph: SmallGraph, page: Page, assets: tuple[str, ...], partition: str) -> None:
    """Launch a run, cancel it while it waits for a server, and see its processes gone."""
    around = {process.pid for process in started_for(graph)}
    graph.servers.take(_SLOW)
    before = graph.servers.asked()
    run = page.launch(assets, partition)
    deadline = time.monotonic() + _START_SECONDS
    while graph.servers.asked() == before:
        assert time.monotonic() < deadline, f"{assets} asked nothing: {page.status(run)}"
        time.sleep(0.2)
    time.sleep(2 * _SLOW)
    began = time.monotonic()
    page.cancel(run)
    while living := [process for process in started_for(graph) if process.pid not in around and of_run(process, run)]:
        assert time.monotonic() - began < _STOP_SECONDS, f"processes of the run live on: {living}"
        time.sleep(0.1)
    graph.servers.take(_QUICK)


def of_run(process: psutil.Process, run: str) -> bool:
    """Whether a process works for a run: its worker, or what prints for it."""
    try:
        command = " ".join(process.cmdline())
    except psutil.Error:
        return False
    return run in command or "spawn_main" in command


def downloads_and_replies(folder: Path) -> Outcome:
    """Cancel a run in its downloads and one in its replies, then run both to the end."""
    with small_graph(WHOLE) as graph:
        selection = graph.before("images", "generation_ablation")
        with spare_ui(graph, folder) as page:
            cancelled(graph, page, ("images",), "web")
            cancelled(graph, page, ("generation_ablation",), "")
        return Outcome(tried=2, lost=gone_on_with(graph, None, selection))


def first_replies(folder: Path) -> Outcome:
    """Cancel a run while it judges captions."""
    with small_graph(FIRST) as graph:
        selection = graph.before("spatial_captions")
        with spare_ui(graph, folder) as page:
            cancelled(graph, page, ("spatial_captions", "caption_verdicts"), "docci")
        return Outcome(lost=gone_on_with(graph, None, selection))


_FAULT = "cancel in the UI"
CASES = [
    Case(_FAULT, "spatial_captions", "in its replies", first_replies, short=True, limit_s=400),
    Case(_FAULT, "images, generation_ablation", "in downloads and replies", downloads_and_replies, limit_s=1800),
]
