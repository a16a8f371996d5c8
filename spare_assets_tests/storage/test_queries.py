"""Statements that end when the process is told to."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from spare_assets.storage.queries import database, quoted

ENDLESS = "SELECT sum(hash(a.range, b.range)) FROM range(10_000_000) AS a, range(10_000_000) AS b"


class Told(BaseException):
    """What a signal's handler raises."""


@pytest.fixture
def soon() -> Iterator[None]:
    """A signal that comes while a statement runs."""

    def tell(number: int, frame: FrameType | None) -> None:
        raise Told

    before = signal.signal(signal.SIGALRM, tell)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("sorted_by", ["", "ORDER BY 1"])
def test_a_signal_ends_a_statement_and_its_thread(soon: None, tmp_path: Path, sorted_by: str) -> None:
    threads = threading.active_count()
    with pytest.raises(Told), database(tmp_path) as asked:
        asked.execute(f"{ENDLESS} {sorted_by}")
    assert threading.active_count() == threads


def test_rows_parameters_and_errors_come_through(tmp_path: Path) -> None:
    with database(tmp_path) as asked:
        assert asked.execute("CREATE TABLE names AS SELECT unnest(?) AS name", [["it's", "b"]]) == [(2,)]
        assert asked.execute("SELECT name FROM names ORDER BY name DESC") == [("it's",), ("b",)]
        path = tmp_path / "it's.parquet"
        asked.execute(f"COPY names TO '{quoted(path)}'")
        assert asked.execute("SELECT count(*) FROM read_parquet($path)", {"path": str(path)}) == [(2,)]
        with pytest.raises(Exception, match="nobody"):
            asked.execute("FROM nobody")
