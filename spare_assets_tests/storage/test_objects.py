"""Tables in the bucket of a real server: whole or not at all, seen by other homes, refused when changed."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from spare_assets.cli.doctor import findings
from spare_assets.settings import Home
from spare_assets.storage import objects
from spare_assets.storage.catalog import rebuild_catalog
from spare_assets.storage.objects import ObjectTables, connection
from spare_assets.storage.tables import TableError, TableStore, content_hash, seal_path
from spare_assets_tests.servers import missing, s3_server
from spare_assets_tests.storage.test_tables import pairs

LACKING = missing("boto3", "moto", "flask", "flask_cors")
with_server = pytest.mark.skipif(LACKING is not None, reason=LACKING or "")
BUCKET = "laboratory"
DIES = """
import os, sys
from pathlib import Path
from spare_assets.storage.objects import ObjectTables, Upload
from spare_assets_tests.storage.test_tables import pairs
complete, left = Upload.complete, int(sys.argv[3])
def dying(upload):
    global left
    if left == 0:
        os.kill(os.getpid(), 9)
    left -= 1
    complete(upload)
Upload.complete = dying
store = ObjectTables(Path(sys.argv[1]), sys.argv[2])
store.publish(*(store.stage("qa_pairs", key, pairs(9)) for key in ("first", "second")))
"""


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    with s3_server(BUCKET) as environment:
        yield environment


@pytest.fixture
def address(server: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Of a place of this test's own."""
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    connection.cache_clear()
    yield f"s3://{BUCKET}/{tmp_path.name}/tables"
    connection.cache_clear()


@pytest.fixture
def store(address: str, tmp_path: Path) -> ObjectTables:
    return ObjectTables(tmp_path / "here" / "tables", address)


@pytest.fixture
def elsewhere(address: str, tmp_path: Path) -> ObjectTables:
    """The same tables, as the home of another machine has them."""
    return ObjectTables(tmp_path / "elsewhere" / "tables", address)


def put(store: ObjectTables, rows: int, source: str = "s") -> None:
    store.publish(store.stage("qa_pairs", source, pairs(rows), {"limits": f'{{"s": {rows}}}'}))


def unfinished(store: ObjectTables) -> list[str]:
    listed = connection().list_multipart_uploads(Bucket=BUCKET, Prefix=store.bucket.named("")["Key"])
    return [upload["Key"] for upload in listed.get("Uploads", [])]


@with_server
def test_another_home_sees_what_is_published_and_what_replaces_it(store: ObjectTables, elsewhere: ObjectTables) -> None:
    staged = store.stage("qa_pairs", "s", pairs(2))
    assert not store.exists("qa_pairs", "s") and not elsewhere.exists("qa_pairs", "s")
    with pytest.raises(TableError, match="for source 's' is not materialized yet"):
        elsewhere.scan("qa_pairs", "s")
    staged.discard()
    for rows in (2, 5):
        put(store, rows)
        assert elsewhere.exists("qa_pairs", "s")
        assert elsewhere.rows("qa_pairs", "s") == elsewhere.scan("qa_pairs", "s").collect().height == rows
        assert elsewhere.metadata("qa_pairs", "s") == {"limits": f'{{"s": {rows}}}'}
        assert content_hash(elsewhere.path("qa_pairs", "s")) == content_hash(store.path("qa_pairs", "s"))
    assert {path.name for path in (elsewhere.root / "qa_pairs").iterdir()} == {"source=s.parquet", ".source=s.seal"}
    put(elsewhere, 3)
    assert store.rows("qa_pairs", "s") == 3
    assert not unfinished(store)


@with_server
def test_a_copy_is_fetched_once_and_bears_the_time_of_its_publication(
    store: ObjectTables, elsewhere: ObjectTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, 2)
    path = elsewhere.path("qa_pairs", "s")
    found = store.bucket.find("qa_pairs/source=s.parquet")
    assert found is not None and path.stat().st_mtime == found.modified
    monkeypatch.setattr(objects.Bucket, "download", lambda *_: pytest.fail("fetched again"))
    assert elsewhere.rows("qa_pairs", "s") == store.rows("qa_pairs", "s") == 2


@with_server
def test_the_copies_are_what_sql_and_a_users_own_tables_see(
    store: ObjectTables, elsewhere: ObjectTables, tmp_path: Path
) -> None:
    import duckdb

    put(store, 4)
    elsewhere.path("qa_pairs", "s")
    rebuild_catalog(tmp_path / "spare.duckdb", elsewhere)
    with duckdb.connect(str(tmp_path / "spare.duckdb"), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM qa_pairs").fetchone() == (4,)
    assert store.put("lengths", None, pl.DataFrame({"length": [1, 2]})) == 2
    assert elsewhere.scan("lengths").collect()["length"].to_list() == [1, 2]


@with_server
@pytest.mark.parametrize(("completed", "rows"), [(0, [2, 2]), (1, [9, 2])])
def test_what_a_killed_publisher_had_not_completed_is_not_seen(
    store: ObjectTables,
    address: str,
    tmp_path: Path,
    completed: int,
    rows: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for key in ("first", "second"):
        put(store, 2, key)
    arguments = [str(tmp_path / "killed"), address, str(completed)]
    assert subprocess.run([sys.executable, "-c", DIES, *arguments], check=False).returncode == -9
    killed = ObjectTables(tmp_path / "killed", address)
    for seen_from in (store, killed):
        assert [seen_from.rows("qa_pairs", key) for key in ("first", "second")] == rows
    assert len(unfinished(store)) == 2 - completed
    monkeypatch.setattr(objects, "_FORGOTTEN", timedelta(0))
    for key in ("first", "second"):
        put(killed, 4, key)
    assert [store.rows("qa_pairs", key) for key in ("first", "second")] == [4, 4]
    assert not unfinished(store), "what was sent before the kill is removed"


@with_server
def test_a_publication_that_fails_leaves_nothing_behind(store: ObjectTables, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, 2)

    def breaks(upload: objects.Upload) -> None:
        raise RuntimeError("before the end")

    with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="before the end"):
        patched.setattr(objects.Upload, "complete", breaks)
        put(store, 5)
    assert store.rows("qa_pairs", "s") == 2
    assert not unfinished(store)


@with_server
def test_a_damaged_copy_is_fetched_again(store: ObjectTables, elsewhere: ObjectTables) -> None:
    put(store, 3)
    for holder in (store, elsewhere):
        path = holder.path("qa_pairs", "s")
        whole = path.read_bytes()
        path.write_bytes(whole[:-9] + b"damaged!!")
        assert holder.scan("qa_pairs", "s").collect().equals(pairs(3))
        assert path.read_bytes() == whole


@with_server
def test_a_changed_object_is_refused(store: ObjectTables, elsewhere: ObjectTables) -> None:
    put(store, 3)
    place = store.bucket.named("qa_pairs/source=s.parquet")
    head = connection().head_object(**place)
    content = connection().get_object(**place)["Body"].read()
    connection().put_object(**place, Body=content[:-9] + b"damaged!!", Metadata=head["Metadata"])
    for holder in (store, elsewhere):
        if holder is store:
            seal_path(holder.path("qa_pairs", "s")).unlink()
            holder.path("qa_pairs", "s").unlink()
        with pytest.raises(TableError, match=r"^s3://.*source=s\.parquet: damaged, .*materialize its asset again"):
            holder.scan("qa_pairs", "s")
    connection().put_object(**place, Body=content)
    with pytest.raises(TableError, match=r"^s3://.*source=s\.parquet: not published by spare"):
        elsewhere.scan("qa_pairs", "s")
    put(store, 3)
    assert elsewhere.rows("qa_pairs", "s") == 3


@with_server
def test_tables_copied_out_of_a_home_are_taken_with_their_seals(store: ObjectTables, tmp_path: Path) -> None:
    home = TableStore(tmp_path / "home")
    home.publish(home.stage("qa_pairs", "s", pairs(7)))
    for path in sorted((home.root / "qa_pairs").iterdir()):
        connection().put_object(**store.bucket.named(f"qa_pairs/{path.name}"), Body=path.read_bytes())
    assert store.rows("qa_pairs", "s") == 7
    connection().delete_object(**store.bucket.named("qa_pairs/.source=s.seal"))
    with pytest.raises(TableError, match="not published by spare"):
        store.rows("qa_pairs", "s")


@with_server
def test_a_large_table_goes_in_parts(
    store: ObjectTables, elsewhere: ObjectTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "_PART_BYTES", 5 * 2**20)
    rng = random.Random(1)
    long = pairs(20).with_columns(answer=pl.Series([rng.randbytes(400_000).hex() for _ in range(20)]))
    store.publish(store.stage("qa_pairs", "s", long))
    assert connection().head_object(**store.bucket.named("qa_pairs/source=s.parquet"))["ETag"].endswith('-2"')
    assert elsewhere.scan("qa_pairs", "s").collect().equals(long)


@with_server
def test_what_is_replaced_while_it_is_fetched_is_fetched_anew(
    store: ObjectTables, elsewhere: ObjectTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, 2)
    download = objects.Bucket.download
    newer = iter((5, 6))

    def meanwhile(bucket: objects.Bucket, key: str, path: Path) -> None:
        download(bucket, key, path)
        for rows in newer:
            put(store, rows)
            break

    monkeypatch.setattr(objects.Bucket, "download", meanwhile)
    assert elsewhere.rows("qa_pairs", "s") == 6


@with_server
def test_publications_of_one_home_come_one_after_the_other(
    address: str, tmp_path: Path, elsewhere: ObjectTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of every upload this server says that it began in 2010.
    monkeypatch.setattr(objects, "_FORGOTTEN", timedelta(days=36_500))
    store = ObjectTables(tmp_path / "shared", address)

    def publish_often(rows: int) -> None:
        for _ in range(2):
            store.publish(*(store.stage("qa_pairs", key, pairs(rows)) for key in "abc"))

    with ThreadPoolExecutor(3) as threads:
        assert len(list(threads.map(publish_often, (1, 2, 3)))) == 3
    for holder in (store, elsewhere):
        assert len({holder.rows("qa_pairs", key) for key in "abc"}) == 1


@with_server
def test_a_server_that_is_not_there_or_refuses_is_named_without_the_key(
    store: ObjectTables, server: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TableError, match=r"^s3://nobody-has-this/x/qa_pairs/source=s\.parquet: .*NoSuchBucket"):
        lost = ObjectTables(store.root, "s3://nobody-has-this/x")
        lost.publish(lost.stage("qa_pairs", "s", pairs(1)))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    connection.cache_clear()
    with pytest.raises(TableError, match=r"see AWS_ENDPOINT_URL, AWS_REGION") as told:
        store.exists("qa_pairs", "s")
    assert server["AWS_SECRET_ACCESS_KEY"] not in str(told.value)


@with_server
def test_doctor_says_whether_the_bucket_answers(address: str, make_home: Callable[..., Home]) -> None:
    def tables(name: str, place: str) -> tuple[str, str]:
        looked_at = findings(make_home(name, tables=place))
        return next((found.verdict, found.detail) for found in looked_at if found.subject == "tables")

    assert tables("here", address) == ("ok", f"{address}; the bucket answers")
    verdict, detail = tables("nowhere", "s3://nobody-has-this/x")
    assert verdict == "missing" and detail.startswith("s3://nobody-has-this/x/: ") and "AWS_ENDPOINT_URL" in detail


def test_without_the_extra_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    connection.cache_clear()
    with pytest.raises(TableError, match=r"pip install 'spare-assets\[s3\]'"):
        ObjectTables(tmp_path, "s3://bucket/prefix").exists("qa_pairs", "s")
