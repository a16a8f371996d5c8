"""A stage that is told to end, whatever it is doing."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

import dagster as dg
import duckdb
import pytest

from spare_assets.orchestration import stage as module
from spare_assets.orchestration.stage import Stage
from spare_assets.settings import Home

LONG = "SELECT count(*) FROM range(40_000_000) a, range(40_000_000) b WHERE (a.range * b.range) % 7 = 3"


class ToldToEnd(BaseException):
    """What the signal's handler raises, as Dagster's does."""


@pytest.fixture(autouse=True)
def _signalled() -> Iterator[None]:
    def handler(number: int, frame: FrameType | None) -> None:
        raise ToldToEnd

    before = signal.signal(signal.SIGTERM, handler)
    yield
    signal.signal(signal.SIGTERM, before)


def soon() -> None:
    """Send this process SIGTERM in a moment."""

    def send() -> None:
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=send, daemon=True).start()


def long_query(*_: object) -> None:
    soon()
    # With one thread the query runs in the thread that hears signals; DuckDB may wait for others without listening.
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute(LONG)


def test_an_interrupt_within_a_query_is_an_interrupt(make_home: Callable[..., Home]) -> None:
    home = make_home()

    @dg.asset
    def asking(context: dg.AssetExecutionContext) -> None:
        with Stage(context, home):
            long_query()

    with pytest.raises(dg.DagsterExecutionInterruptedError):
        asking(dg.build_asset_context())
    assert not list(home.scratch.iterdir())


def test_an_interrupt_while_the_catalog_is_rebuilt_is_not_passed_over(
    make_home: Callable[..., Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = make_home()
    monkeypatch.setattr(module, "rebuild_catalog", long_query)

    @dg.asset
    def publishing(context: dg.AssetExecutionContext) -> None:
        with Stage(context, home) as stage:
            stage.refresh_catalog()

    with pytest.raises(dg.DagsterExecutionInterruptedError):
        publishing(dg.build_asset_context())
