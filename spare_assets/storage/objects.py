"""Tables on object storage (S3, or a server that speaks its protocol), with a copy in the home of what is read here.

An object is a table as it lies in a home, under the same name; its seal, the hash of its bytes, is part of it. All of a
publication is sent before any of it is shown, and each table is shown in one step: a multipart upload has no effect
until it is completed. Readers compare the seal with their copy and fetch what differs. Needs the optional extra `s3`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from spare_assets.storage.durability import sync
from spare_assets.storage.tables import StagedTable, TableError, TableStore, digest_of, into_place, seal_path
from spare_assets.storage.temporaries import temporary_beside

_SEAL = "sha256"
_THREADS = 8
_PART_BYTES = 16 * 2**20
_MOST_PARTS = 9_000
_FORGOTTEN = timedelta(days=1)
"""Age from which an upload that was never completed counts as that of a dead process."""
_ABSENT = {"404", "NoSuchKey", "NotFound"}


class ObjectTables(TableStore):
    """Tables in a bucket, `<prefix>/<asset>/source=<key>.parquet`, with copies of them in the home."""

    def __init__(self, root: Path, address: str) -> None:
        super().__init__(root)
        self.bucket = Bucket(address)

    def publish(self, *staged: StagedTable) -> None:
        """Send all tables, then show them in order.

        Processes of one home do so one after the other. Of two homes that publish the same partition at once, each
        table is one of theirs, whole, but not all need be of the same.
        """
        with ExitStack() as unfinished:
            uploads = [
                unfinished.enter_context(self.bucket.upload(self._key(table.path), table.temporary, table.digest))
                for table in staged
            ]
            with self.publishing():
                for table, upload in zip(staged, uploads, strict=True):
                    upload.complete()
                    into_place(table.temporary, table.path, table.digest)
                    sync(table.path.parent)

    def _published(self, place: Path) -> bool:
        return self.bucket.find(self._key(place)) is not None

    def _up_to_date(self, place: Path) -> bool:
        key = self._key(place)
        while (found := self.bucket.find(key)) is not None:
            if place.is_file() and digest_of(place) == found.seal:
                return True
            place.parent.mkdir(parents=True, exist_ok=True)
            copy = temporary_beside(place)
            try:
                wrong = self._fetch(key, found, copy)
                with self.publishing():
                    if self.bucket.find(key) != found:
                        continue  # published meanwhile: what was fetched is of the past
                    if wrong is not None:
                        raise wrong
                    into_place(copy, place, found.seal)
                    sync(place.parent)
                return True
            finally:
                copy.unlink(missing_ok=True)
        return False

    def _fetch(self, key: str, found: Published, copy: Path) -> TableError | None:
        """Fetch a table; what is wrong with it, which its being replaced at that moment explains."""
        try:
            self.bucket.download(key, copy)
            os.utime(copy, (found.modified, found.modified))
        except TableError as error:
            return error
        if digest_of(copy) == found.seal:
            return None
        address = self.bucket.address(key)
        return TableError(f"{address}: damaged, it is not what was published; materialize its asset again")

    def _key(self, place: Path) -> str:
        return f"{place.parent.name}/{place.name}"


@dataclass(frozen=True, slots=True)
class Published:
    """A table as its bucket knows it: the hash it was published with, the version that lies there, and since when."""

    seal: str
    version: str
    modified: float


class Upload:
    """A table that is on the server and not yet to be seen."""

    def __init__(self, bucket: Bucket, key: str, identity: str, seal: str) -> None:
        self._bucket, self._key, self._identity, self._seal = bucket, key, identity, seal
        self._parts: list[dict[str, Any]] = []
        self.completed = False

    def send(self, path: Path) -> None:
        """Send a file, several parts at once."""
        size = path.stat().st_size
        part_bytes = max(_PART_BYTES, -(-size // _MOST_PARTS))

        def send_part(number: int) -> dict[str, Any]:
            with path.open("rb") as file:
                file.seek((number - 1) * part_bytes)
                body = file.read(part_bytes)
            sent = self._bucket.client.upload_part(**self._named(), PartNumber=number, Body=body)
            return {"PartNumber": number, "ETag": sent["ETag"]}

        threads = ThreadPoolExecutor(_THREADS)
        try:
            with self._bucket.told(self._key):
                self._parts = list(threads.map(send_part, range(1, -(-size // part_bytes) + 1)))
        finally:
            threads.shutdown(cancel_futures=True)

    def complete(self) -> None:
        """Let readers see it instead of what was there."""
        client = self._bucket.client
        with self._bucket.told(self._key):
            try:
                client.complete_multipart_upload(**self._named(), MultipartUpload={"Parts": self._parts})
            except client.exceptions.ClientError as error:
                # Where an answer was lost it is asked again, when nothing is left to complete.
                found = self._bucket.find(self._key) if _code(error) == "NoSuchUpload" else None
                if found is None or found.seal != self._seal:
                    raise
        self.completed = True

    def abandon(self) -> None:
        """Remove what was sent."""
        with self._bucket.told(self._key):
            self._bucket.client.abort_multipart_upload(**self._named())

    def _named(self) -> dict[str, Any]:
        return {**self._bucket.named(self._key), "UploadId": self._identity}


class Bucket:
    """Objects below one prefix, by keys that start there. Errors of the server become TableError."""

    def __init__(self, address: str) -> None:
        self._name, _, prefix = address.removeprefix("s3://").partition("/")
        self._prefix = f"{prefix}/" if prefix else ""

    @property
    def client(self) -> Any:
        """The connection to the server."""
        return connection()

    def address(self, key: str) -> str:
        """An object's address, for people."""
        return f"s3://{self._name}/{self._prefix}{key}"

    def named(self, key: str) -> dict[str, Any]:
        """How a request names an object."""
        return {"Bucket": self._name, "Key": self._prefix + key}

    def check(self) -> None:
        """Raises TableError where the bucket is not there or does not answer; nothing is read."""
        with self.told(""):
            self.client.head_bucket(Bucket=self._name)

    def find(self, key: str) -> Published | None:
        """What is published under a key, if anything is. Raises TableError for an object without a seal."""
        with self.told(key):
            try:
                head = self.client.head_object(**self.named(key))
            except self.client.exceptions.ClientError as error:
                if _code(error) in _ABSENT:
                    return None
                raise
        seal = head["Metadata"].get(_SEAL) or self._seal_beside(key)
        if seal is None:
            raise TableError(f"{self.address(key)}: not published by spare; materialize its asset again")
        return Published(seal, head["ETag"], head["LastModified"].timestamp())

    def _seal_beside(self, key: str) -> str | None:
        """The seal of a table that was copied here out of a home, its seal with it."""
        place = seal_path(Path(key))
        with self.told(key):
            try:
                sealed = self.client.get_object(**self.named(place.as_posix()))["Body"].read(200)
            except self.client.exceptions.ClientError as error:
                if _code(error) in _ABSENT:
                    return None
                raise
        return next(iter(sealed.decode("ascii", "replace").split()), None)

    def download(self, key: str, path: Path) -> None:
        """Fetch an object, several parts at once, and wait until it is on disk."""
        with self.told(key), path.open("wb") as file:
            self.client.download_fileobj(**self.named(key), Fileobj=file)
        sync(path)

    @contextmanager
    def upload(self, key: str, path: Path, seal: str) -> Iterator[Upload]:
        """A file that was sent; unless it is completed meanwhile nothing comes of it."""
        with self.told(key):
            self._abandon_the_dead(key)
            begun = self.client.create_multipart_upload(**self.named(key), Metadata={_SEAL: seal})
        upload = Upload(self, key, begun["UploadId"], seal)
        try:
            upload.send(path)
            yield upload
        finally:
            if not upload.completed:
                with suppress(TableError):
                    upload.abandon()

    def _abandon_the_dead(self, key: str) -> None:
        """Remove what killed processes had sent of this table. Not every key may list uploads: then it stays."""
        name = self.named(key)
        with suppress(self.client.exceptions.ClientError):
            listed = self.client.list_multipart_uploads(Bucket=self._name, Prefix=name["Key"])
            for upload in listed.get("Uploads", []):
                if upload["Key"] == name["Key"] and datetime.now(UTC) - upload["Initiated"] > _FORGOTTEN:
                    self.client.abort_multipart_upload(**name, UploadId=upload["UploadId"])

    @contextmanager
    def told(self, key: str) -> Iterator[None]:
        """What goes wrong between here and the server, as TableError."""
        client = self.client
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError

        try:
            yield
        except (Boto3Error, BotoCoreError, client.exceptions.ClientError) as error:
            raise TableError(
                f"{self.address(key)}: {error}; see AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID, "
                "AWS_SECRET_ACCESS_KEY, and what the key may do"
            ) from error


@cache
def connection() -> Any:
    """The process's connection, from the AWS_* variables or wherever else boto3 finds what it needs."""
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        raise TableError(
            f"tables on s3:// need boto3 ({error}): pip install 'spare-assets[s3]', or leave out `tables`"
        ) from error
    settings = Config(
        retries={"mode": "standard", "max_attempts": 6},
        max_pool_connections=_THREADS,
        # Not all servers know them, and every table carries a hash of its own.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return boto3.session.Session().client("s3", config=settings)


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
