from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest

from spare_assets.storage.catalog import rebuild_catalog
from spare_assets.storage.schemas import TABLES, VIEWS
from spare_assets.storage.tables import TableError, TableStore, content_hash, seal_path, sorted_by_key
from spare_assets.storage.temporaries import sweep_temporaries, temporary_beside


def pairs(count: int, answer: str = "left") -> pl.DataFrame:
    return pl.DataFrame(
        {
            "pair_id": [f"p{n}" for n in range(count)],
            "caption_id": [f"s:{n:03}" for n in range(count)],
            "source": ["s"] * count,
            "position": [0] * count,
            "question": ["Where?"] * count,
            "answer": [answer] * count,
        },
        schema=TABLES["qa_pairs"].polars(),
    )


@pytest.fixture
def store(tmp_path: Path) -> TableStore:
    return TableStore(tmp_path / "tables")


def test_staged_rows_are_invisible_until_published(store: TableStore) -> None:
    store.publish(store.stage("qa_pairs", "s", pairs(2)))
    staged = store.stage("qa_pairs", "s", pairs(5))
    assert store.rows("qa_pairs", "s") == 2
    assert staged.rows == 5
    store.publish(staged)
    assert store.rows("qa_pairs", "s") == 5
    assert {path.name for path in (store.root / "qa_pairs").iterdir()} == {"source=s.parquet", ".source=s.seal"}


def test_a_failing_writer_leaves_the_old_table_and_no_file(store: TableStore) -> None:
    store.publish(store.stage("qa_pairs", "s", pairs(2)))

    def breaks() -> Iterator[pl.DataFrame]:
        yield pairs(3)
        raise RuntimeError("in mid-write")

    with pytest.raises(RuntimeError, match="in mid-write"):
        store.stage("qa_pairs", "s", breaks())
    assert store.rows("qa_pairs", "s") == 2
    assert len(list((store.root / "qa_pairs").iterdir())) == 2, "the table and its seal"


def test_batches_and_frames_give_the_same_content(store: TableStore) -> None:
    frame = pairs(7)
    whole = store.stage("qa_pairs", "a", frame)
    lazy = store.stage("qa_pairs", "b", frame.lazy())
    batched = store.stage("qa_pairs", "c", [frame[:3], frame[3:3], frame[3:]])
    hashes = {content_hash(staged.temporary) for staged in (whole, lazy, batched)}
    assert len(hashes) == 1
    assert content_hash(store.stage("qa_pairs", "d", pairs(7, "right")).temporary) not in hashes


def test_recorded_metadata_is_read_back(store: TableStore) -> None:
    for rows in (pairs(1), [pairs(1)], []):
        store.publish(store.stage("qa_pairs", "s", rows, {"limits": '{"s": 3}'}))
        assert store.metadata("qa_pairs", "s") == {"limits": '{"s": 3}'}


def test_missing_column_and_missing_table_are_named(store: TableStore) -> None:
    with pytest.raises(TableError, match=r"qa_pairs: columns \['answer'\] are missing"):
        store.stage("qa_pairs", "s", pairs(1).drop("answer"))
    with pytest.raises(TableError, match="materialize asset qa_pairs first"):
        store.scan("qa_pairs", "s")


def test_damaged_table_is_named(store: TableStore) -> None:
    store.publish(store.stage("qa_pairs", "s", pairs(2)))
    path = store.path("qa_pairs", "s")
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(TableError, match=r"source=s\.parquet: damaged"):
        store.rows("qa_pairs", "s")


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_one_changed_bit_is_told_before_any_row_is_read(store: TableStore, place: float) -> None:
    store.publish(store.stage("qa_pairs", "s", pairs(500)))
    path = store.path("qa_pairs", "s")
    assert store.scan("qa_pairs", "s").collect().height == 500
    content = bytearray(path.read_bytes())
    content[int(len(content) * place)] ^= 1
    path.write_bytes(content)
    with pytest.raises(TableError, match=r"source=s\.parquet: damaged, .*materialize its asset again"):
        store.scan("qa_pairs", "s")
    store.publish(store.stage("qa_pairs", "s", pairs(3)))
    assert store.scan("qa_pairs", "s").collect().height == 3


def test_a_run_that_died_between_seal_and_table_leaves_the_old_table_good(store: TableStore) -> None:
    store.publish(store.stage("qa_pairs", "s", pairs(2)))
    staged = store.stage("qa_pairs", "s", pairs(5))
    with pytest.raises(FileNotFoundError):
        staged.temporary.rename(staged.temporary.with_suffix(".gone"))
        store.publish(staged)
    assert len(seal_path(store.path("qa_pairs", "s")).read_text().split()) == 2
    assert TableStore(store.root).scan("qa_pairs", "s").collect().height == 2


def test_a_table_without_seal_is_taken_as_it_is(store: TableStore) -> None:
    store.publish(store.stage("qa_pairs", "s", pairs(2)))
    seal_path(store.path("qa_pairs", "s")).unlink()
    assert store.scan("qa_pairs", "s").collect().height == 2


def test_sorting_on_disk_orders_by_key(tmp_path: Path) -> None:
    shuffled = pairs(500).sample(fraction=1, shuffle=True, seed=1)
    rows = pl.concat(sorted_by_key([shuffled[:100], shuffled[100:]], TABLES["qa_pairs"], tmp_path / "scratch"))
    assert rows.equals(pairs(500))
    assert not list((tmp_path / "scratch").iterdir())


def test_leftovers_of_the_dead_are_swept_and_of_the_living_kept(store: TableStore) -> None:
    mine = temporary_beside(store.path("qa_pairs", "s"))
    mine.parent.mkdir(parents=True)
    mine.touch()
    code = (
        "import sys; from pathlib import Path; from spare_assets.storage.temporaries import temporary_beside; "
        "temporary_beside(Path(sys.argv[1])).touch()"
    )
    subprocess.run([sys.executable, "-c", code, str(store.path("qa_pairs", "s"))], check=True)
    assert sweep_temporaries(mine.parent.glob(".*.tmp")) == 1
    assert list(mine.parent.iterdir()) == [mine]


def test_catalog_has_a_typed_view_per_table(store: TableStore, tmp_path: Path) -> None:
    embeddings = pl.DataFrame(
        {"pair_id": ["p0"], "caption_id": ["s:0"], "source": ["s"], "position": [0]},
    ).with_columns(embedding=pl.Series(np.ones((1, 4), np.float16), dtype=pl.Array(pl.Float16, 4)))
    store.publish(
        store.stage("qa_pairs", "a", pairs(2)),
        store.stage("qa_pairs", "b", pairs(3)),
        store.stage("question_embeddings", "a", embeddings),
    )
    rebuild_catalog(tmp_path / "spare.duckdb", store)
    rebuild_catalog(tmp_path / "spare.duckdb", store)
    with duckdb.connect(str(tmp_path / "spare.duckdb"), read_only=True) as connection:
        views = {
            name for (name,) in connection.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()
        }
        assert views == set(TABLES) | {view.name for view in VIEWS}
        assert connection.execute("SELECT count(*) FROM qa_pairs").fetchone() == (5,)
        assert connection.execute("SELECT embedding FROM question_embeddings").fetchone() == ([1.0] * 4,)
        for name, schema in TABLES.items():
            columns = [row[0] for row in connection.execute(f'DESCRIBE "{name}"').fetchall()]
            assert columns == schema.names
    assert [path.name for path in tmp_path.glob("*duckdb*")] == ["spare.duckdb"]


def test_a_catalog_killed_half_written_is_swept_whole(store: TableStore, tmp_path: Path) -> None:
    store.publish(store.stage("qa_pairs", "s", pairs(2)))
    code = (
        "import os, sys; from pathlib import Path; from spare_assets.storage import catalog; "
        "from spare_assets.storage.tables import TableStore; create = catalog._create; "
        "catalog._create = lambda *view: (create(*view), view[1].name == 'qa_pairs' and os.kill(os.getpid(), 9)); "
        "catalog.rebuild_catalog(Path(sys.argv[1]), TableStore(Path(sys.argv[2])))"
    )
    path = tmp_path / "spare.duckdb"
    assert subprocess.run([sys.executable, "-c", code, str(path), str(store.root)], check=False).returncode == -9
    assert sweep_temporaries(tmp_path.glob(".*.tmp")) == 1
    assert not [found.name for found in tmp_path.iterdir() if "duckdb" in found.name], "nor DuckDB's log beside it"


def test_every_partitioned_table_has_its_partition_key_as_a_column() -> None:
    assert all(schema.partition in schema.names for schema in TABLES.values() if schema.partitioned)
