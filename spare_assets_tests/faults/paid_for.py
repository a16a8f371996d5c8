"""What a home holds that was paid for: replies and fetched images, counted as they lie on disk.

Nothing of the product is asked.
"""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq


def stored_replies(home: Path) -> int:
    """Replies in the ledgers, each once: of finished files, and whole lines of those still written."""
    keys: set[tuple[str, str]] = set()
    for path in (home / "completions").glob("*/*/*"):
        ledger = str(path.parent)
        if path.suffix == ".parquet" and not path.name.startswith("."):
            columns = pq.read_table(path, columns=["key", "error"]).to_pydict()
            answered = zip(columns["key"], columns["error"], strict=True)
            keys |= {(ledger, key) for key, error in answered if error is None}
        elif path.suffix == ".jsonl":
            lines = path.read_bytes().split(b"\n")[:-1]
            keys |= {(ledger, record["key"]) for record in map(json.loads, lines) if record["error"] is None}
    return len(keys)


def stored_pictures(home: Path) -> int:
    """Images that were fetched."""
    return sum(path.is_file() and not path.name.startswith(".") for path in (home / "images").glob("*/*"))
