"""SQL over Parquet files that are larger than memory: sorts and joins that spill to disk and end when told to.

Which statements are asked is the callers' business; the views for people are made in `catalog`.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_MEMORY = "2GB"
_INTERRUPTED_AGAIN = 0.1
"""Seconds: an interrupt between two parts of a statement is lost."""


class Database:
    """A DuckDB database in memory, whose statements a signal ends at once."""

    def __init__(self, connection: DuckDBPyConnection, thread: ThreadPoolExecutor) -> None:
        self._connection, self._thread = connection, thread

    def execute(self, statement: str, parameters: list[Any] | dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Run a statement; its rows.

        DuckDB hears no signal while it sorts or joins, so it works beside the main thread, which does.
        """
        running = self._thread.submit(lambda: self._connection.execute(statement, parameters).fetchall())
        try:
            return running.result()
        except BaseException:
            while not running.done():
                self._connection.interrupt()
                wait([running], _INTERRUPTED_AGAIN)
            raise


@contextmanager
def database(scratch: Path) -> Iterator[Database]:
    """A database that spills to the folder `scratch` instead of growing."""
    import duckdb

    limits: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": _MEMORY,
        "temp_directory": str(scratch),
        "preserve_insertion_order": "false",
    }
    with duckdb.connect(config=limits) as connection, ThreadPoolExecutor(1) as thread:
        connection.execute("SET enable_progress_bar = false")
        yield Database(connection, thread)


def quoted(path: Path) -> str:
    """A path as the inside of an SQL string literal, for statements that take no parameters."""
    return str(path).replace("'", "''")
