"""Fetching images by address: politely, within limits, never from inside the machine's own network, never
twice.

An address comes from a corpus and is not trusted. Only http and https are spoken, each redirect is checked
like a first address, and a connection goes to no address but those that were checked. What is fetched lies
under `<folder>/<2 hex>/<sha256 of the address>` once it was decoded. Which images are wanted is not known
here.
"""

from __future__ import annotations

import asyncio
import email.utils
import hashlib
import ipaddress
import random
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType

import aiohttp
from aiohttp.abc import ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from spare_assets.captions.picture import Picture, PictureError
from spare_assets.settings import DownloadSettings
from spare_assets.storage.temporaries import sweep_temporaries, temporary_beside

CHUNK_BYTES = 65_536
MAX_PAUSE_SECONDS = 300.0
_REDIRECTS = {301, 302, 303, 307, 308}
_NO_SUCH_HOST = {socket.EAI_NONAME, socket.EAI_NODATA}
_PASSING = {408, 425, 429, *range(500, 600)}
# Addresses that count as public and behind which a cloud answers for its own machine.
_METADATA = (ipaddress.ip_network("168.63.129.16/32"), ipaddress.ip_network("192.0.0.0/24"))
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# All of IPv6 that is handed out for the open internet; outside lie site-local, IPv4-compatible and local NAT64 forms.
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")


class ImageStoreError(RuntimeError):
    """Images can't be written where they belong; the message says where and why."""


class _AddressRefusedError(OSError):
    """A host has no address that may be asked."""


class _PassingError(Exception):
    """An attempt failed in a way that may pass."""

    def __init__(self, detail: str, http_status: int | None = None, pause: float = 0.0) -> None:
        super().__init__(detail)
        self.detail = detail
        self.http_status = http_status
        self.pause = pause


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet; IPv4 carried within IPv6 is judged as well."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
        if ip in _NAT64:
            inner.append(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
        if any(part is not None and not is_public(str(part)) for part in inner):
            return False
        if ip.ipv4_mapped or ip in _NAT64:
            return True
        if ip not in _GLOBAL_UNICAST:
            return False
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in _METADATA)


class _CheckedResolver(ThreadedResolver):
    """Resolves names to addresses that may be asked; the connection is then made to these and no others."""

    def __init__(self, allowed: Callable[[str], bool]) -> None:
        super().__init__()
        self._allowed = allowed

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await super().resolve(host, port, family)
        allowed = [address for address in found if self._allowed(address["host"])]
        if found and not allowed:
            raise _AddressRefusedError(f"{host} is an address of this machine or its own network")
        return allowed


class _Host:
    """What all downloads from one host share."""

    def __init__(self, limit: int) -> None:
        self.gate = asyncio.Semaphore(limit)
        self.quiet_until = 0.0


class Downloader:
    """Fetches images into a folder. An async context manager; belongs to one event loop.

    `examine` decodes a file or raises PictureError. `allowed` says which IP addresses may be asked; by
    default all where the settings allow private hosts, else public ones only.
    """

    def __init__(
        self,
        folder: Path,
        settings: DownloadSettings,
        examine: Callable[[Path], Awaitable[Picture]],
        allowed: Callable[[str], bool] | None = None,
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._examine = examine
        self._allowed = allowed or ((lambda address: True) if settings.allow_private_hosts else is_public)
        self._hosts: dict[str, _Host] = {}
        self._all = asyncio.Semaphore(settings.concurrency)

    async def __aenter__(self) -> Downloader:
        with _storing(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            sweep_temporaries(self._folder.glob("*/.*.tmp"))
        self._session = aiohttp.ClientSession(
            # The limits are kept here, so that waiting for a place is not counted against the time of an attempt.
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300, resolver=_CheckedResolver(self._allowed)),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": _user_agent(), "Accept": "image/*", "Accept-Encoding": "identity"},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    def path(self, url: str) -> Path:
        """Where the image of an address lies once it was fetched."""
        digest = hashlib.sha256(url.encode()).hexdigest()
        return self._folder / digest[:2] / digest

    async def fetch(self, url: str) -> tuple[Path, Picture]:
        """The image of an address, asked for only where it does not lie here yet.

        Raises PictureError saying why it can't be had, and ImageStoreError where it can't be written.
        """
        path = self.path(url)
        if path.is_file():
            try:
                return path, await self._examine(path)
            except PictureError as error:
                if error.status == "refused":
                    raise
                path.unlink(missing_ok=True)
        temporary = temporary_beside(path)
        with _storing(path):
            path.parent.mkdir(exist_ok=True)
        try:
            kind = await self._ask(url, temporary)
            try:
                picture = await self._examine(temporary)
            except PictureError as error:
                raise PictureError(error.status, f"answered with {kind}: {error.detail}", 200) from None
            with _storing(path):
                temporary.replace(path)
            return path, picture
        finally:
            temporary.unlink(missing_ok=True)

    async def _ask(self, url: str, target: Path) -> str:
        """Write the answer's body to a file, in as many attempts as are allowed; its content type."""
        settings = self._settings
        for attempt in range(1, settings.attempts + 1):
            try:
                return await self._attempt(url, target)
            except _PassingError as failure:
                if attempt == settings.attempts or failure.pause > MAX_PAUSE_SECONDS:
                    raise PictureError("http", f"{failure.detail} ({attempt} attempts)", failure.http_status) from None
                pause = settings.backoff_seconds * 2 ** (attempt - 1) * random.uniform(0.5, 1.5)
                await asyncio.sleep(pause)
        raise AssertionError("at least one attempt is made")

    async def _attempt(self, url: str, target: Path) -> str:
        try:
            address = URL(url)
            left = self._settings.timeout_seconds
            for _ in range(self._settings.max_redirects + 1):
                self._check(address)
                host = self._hosts.setdefault(address.host or "", _Host(self._settings.per_host))
                async with host.gate:
                    await asyncio.sleep(max(0.0, host.quiet_until - time.monotonic()))
                    async with self._all:
                        started = time.monotonic()
                        limit = aiohttp.ClientTimeout(total=max(left, 0.001))
                        async with self._session.get(address, allow_redirects=False, timeout=limit) as response:
                            if response.status not in _REDIRECTS:
                                return await self._body(response, host, target)
                            if not (location := response.headers.get("Location")):
                                raise PictureError("http", _status_line(response), response.status)
                left -= time.monotonic() - started
                address = address.join(URL(location))
        except TimeoutError:
            raise _PassingError(f"no whole answer within {self._settings.timeout_seconds:g} s") from None
        except aiohttp.ClientConnectorCertificateError as error:
            raise PictureError("http", f"its certificate is not trusted: {error.certificate_error}") from None
        except aiohttp.ClientConnectorDNSError as error:
            if isinstance(error.os_error, _AddressRefusedError):
                raise PictureError("refused", str(error.os_error)) from None
            if error.os_error.errno in _NO_SUCH_HOST:
                raise PictureError("http", f"no host is called {error.host}") from None
            raise _PassingError(f"host {error.host} can't be resolved now") from None
        except (aiohttp.InvalidURL, ValueError) as error:
            raise PictureError("refused", f"no address that can be asked: {error}") from None
        except (aiohttp.ClientError, OSError) as error:
            raise _PassingError(f"connection failed: {error or type(error).__name__}") from None
        raise PictureError("refused", f"more than {self._settings.max_redirects} redirects")

    def _check(self, address: URL) -> None:
        """Refuse what no resolver sees: other schemes, no host, and hosts written as an IP address."""
        if address.scheme not in {"http", "https"} or not address.host:
            raise PictureError("refused", f"no http or https address: {str(address)[:200]!r}")
        try:
            ipaddress.ip_address(address.host)
        except ValueError:
            return
        if not self._allowed(address.host):
            raise PictureError("refused", f"{address.host} is an address of this machine or its own network")

    async def _body(self, response: aiohttp.ClientResponse, host: _Host, target: Path) -> str:
        if response.status in _PASSING:
            pause = _retry_after(response.headers.get("Retry-After", ""))
            host.quiet_until = max(host.quiet_until, time.monotonic() + min(pause, MAX_PAUSE_SECONDS))
            raise _PassingError(_status_line(response), response.status, pause)
        if response.status != 200:
            raise PictureError("http", _status_line(response), response.status)
        limit = self._settings.max_bytes
        if (response.content_length or 0) > limit:
            raise PictureError("refused", f"{response.content_length:,} bytes, more than `download.max_bytes`", 200)
        received = 0
        with _storing(target):
            target.unlink(missing_ok=True)
        async for chunk in response.content.iter_chunked(CHUNK_BYTES):
            received += len(chunk)
            if received > limit:
                raise PictureError("refused", f"more than {limit:,} bytes (`download.max_bytes`)", 200)
            with _storing(target), target.open("ab") as file:
                file.write(chunk)
        if received == 0:
            raise PictureError("unreadable", "an empty answer", 200)
        return response.content_type


@contextmanager
def _storing(target: Path) -> Iterator[None]:
    """Tells a full or forbidden disk, which ends the stage, from a connection that failed."""
    try:
        yield
    except OSError as error:
        raise ImageStoreError(f"{target}: image can't be written: {error.strerror or error}") from error


def _status_line(response: aiohttp.ClientResponse) -> str:
    return f"HTTP {response.status} {(response.reason or '')[:100]}".strip()


def _retry_after(header: str) -> float:
    """Seconds a Retry-After header asks for, as a number or as a date; 0 where it says nothing."""
    if header.strip().isdecimal():
        return float(header)
    try:
        moment = email.utils.parsedate_to_datetime(header)
    except ValueError:
        return 0.0
    return max(0.0, moment.timestamp() - time.time())


def _user_agent() -> str:
    try:
        return f"spare-assets/{version('spare-assets')}"
    except PackageNotFoundError:
        return "spare-assets"
