"""Downloads against a real HTTP server on loopback: what is asked, how often, and what comes of it."""

from __future__ import annotations

import asyncio
import gzip
import io
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from spare_assets.captions import images as images_module
from spare_assets.captions.download import Downloader, ImageStoreError, is_public
from spare_assets.captions.images import needed_images, resolve_images
from spare_assets.captions.picture import Picture, PictureError, examine_picture
from spare_assets.settings import DATA_VARIABLE, DownloadSettings, Home, SourceSettings, load_settings
from spare_assets.storage.schemas import TABLES

PATIENT = {"attempts": 3, "backoff_seconds": 0.01, "timeout_seconds": 5, "allow_private_hosts": True}


def picture_bytes(size: tuple[int, int] = (64, 48)) -> bytes:
    pixels = random.Random(0).randbytes(size[0] * size[1] * 3)
    buffer = io.BytesIO()
    Image.frombytes("RGB", size, pixels).save(buffer, "JPEG")
    return buffer.getvalue()


class Site:
    """A server in a thread of its own that counts what it was asked."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.at_once = self.most_at_once = 0
        self.times: list[float] = []
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}/{path}"

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        application = web.Application()
        application.router.add_get("/{name:.*}", self._answer)
        runner = web.AppRunner(application, shutdown_timeout=0)
        self._loop.run_until_complete(runner.setup())
        # All of 127/8, so that one machine has several hosts.
        listening = socket.create_server(("0.0.0.0", 0))
        self.port = listening.getsockname()[1]
        self._loop.run_until_complete(web.SockSite(runner, listening).start())
        self._ready.set()
        self._loop.run_forever()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        self.asked[name] += 1
        self.times.append(time.monotonic())
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await self._content(name, request)
        finally:
            self.at_once -= 1

    async def _content(self, name: str, request: web.Request) -> web.StreamResponse:
        first = self.asked[name] == 1
        match name.split("/")[0]:
            case "ok" | "secret":
                return web.Response(body=picture_bytes(), content_type="image/jpeg")
            case "slow":
                await asyncio.sleep(0.05)
                return web.Response(body=picture_bytes(), content_type="image/jpeg")
            case "flaky":
                return web.Response(status=500) if first else web.Response(body=picture_bytes())
            case "drops" if first:
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            case "short" if first:
                response = web.StreamResponse(headers={"Content-Length": "100000"})
                await response.prepare(request)
                await response.write(picture_bytes()[:500])
                assert request.transport is not None
                request.transport.abort()
                return response
            case "drops" | "short":
                return web.Response(body=picture_bytes())
            case "busy":
                if self.asked[name] < 3:
                    return web.Response(status=429, headers={"Retry-After": "1"} if first else {})
                return web.Response(body=picture_bytes())
            case "later":
                return web.Response(status=503, headers={"Retry-After": "86400"})
            case "dead":
                return web.Response(status=503)
            case "hang":
                await asyncio.sleep(60)
            case "endless":
                response = web.StreamResponse(headers={"Content-Type": "image/jpeg"})
                await response.prepare(request)
                while True:
                    await response.write(b"\xff" * 65_536)
            case "claims":
                return web.Response(headers={"Content-Length": "999999999"})
            case "bomb":
                zeros = gzip.compress(bytes(50_000_000))
                return web.Response(body=zeros, headers={"Content-Encoding": "gzip"})
            case "truncated":
                return web.Response(body=picture_bytes()[:-300], content_type="image/jpeg")
            case "page.jpg":
                return web.Response(text="<html>not here</html>", content_type="text/html")
            case "empty":
                return web.Response(body=b"")
            case "large":
                return web.Response(body=picture_bytes((400, 300)))
            case "moved":
                return web.Response(status=302, headers={"Location": request.query["to"]})
            case "slow_moved":
                await asyncio.sleep(0.3)
                return web.Response(status=302, headers={"Location": "/slow_moved"})
            case "strange":
                assert request.transport is not None
                request.transport.write(b"HTTP/1.1 418 \xff\xfe\r\nContent-Length: 0\r\n\r\n")  # type: ignore[attr-defined]
                request.transport.abort()
                return web.Response()
            case "loop":
                return web.Response(status=302, headers={"Location": "/loop"})
            case "nowhere":
                return web.Response(status=302)
            case "gone":
                return web.Response(status=410)
        return web.Response(status=404)


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


def fetch(
    folder: Path, urls: list[str], allowed: Any = None, **changed: Any
) -> list[tuple[Path, Picture] | PictureError]:
    """What becomes of some addresses, asked at once."""
    limits = DownloadSettings(**{**PATIENT, **changed})

    async def examine(path: Path) -> Picture:
        return examine_picture(path, limits.max_pixels)

    async def work() -> list[Any]:
        async with Downloader(folder, limits, examine, allowed) as downloader:
            return await asyncio.gather(*map(downloader.fetch, urls), return_exceptions=True)

    return asyncio.run(work())


def one_error(folder: Path, url: str, **changed: Any) -> PictureError:
    (result,) = fetch(folder, [url], **changed)
    assert isinstance(result, PictureError), result
    return result


def left_behind(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


# ---------------------------------------------------------------- one address


def test_an_image_is_stored_by_the_hash_of_its_address_and_asked_once(site: Site, tmp_path: Path) -> None:
    url = site.url("ok/1")
    for _ in range(2):
        ((path, picture),) = fetch(tmp_path, [url])
        assert path.read_bytes() == picture_bytes()
        assert (path.parent.name, len(path.name)) == (path.name[:2], 64)
        assert (picture.width, picture.height) == (64, 48)
    assert site.asked["ok/1"] == 1
    assert left_behind(tmp_path) == [path]


def test_a_stored_file_that_went_bad_is_asked_again(site: Site, tmp_path: Path) -> None:
    ((path, _),) = fetch(tmp_path, [site.url("ok/1")])
    path.write_bytes(picture_bytes()[:200])
    ((path, picture),) = fetch(tmp_path, [site.url("ok/1")])
    assert picture.bytes == len(picture_bytes())
    assert site.asked["ok/1"] == 2


@pytest.mark.parametrize(("name", "asked"), [("flaky", 2), ("drops", 2), ("short", 2), ("busy", 3)])
def test_what_may_pass_is_tried_again(site: Site, tmp_path: Path, name: str, asked: int) -> None:
    ((path, _),) = fetch(tmp_path, [site.url(name)])
    assert path.read_bytes() == picture_bytes()
    assert site.asked[name] == asked


def test_retry_after_is_honoured(site: Site, tmp_path: Path) -> None:
    fetch(tmp_path, [site.url("busy")])
    assert site.times[1] - site.times[0] >= 1.0
    assert site.times[2] - site.times[1] < 1.0


@pytest.mark.parametrize(
    ("name", "changed", "status", "http_status", "asked", "detail"),
    [
        ("missing", {}, "http", 404, 1, "HTTP 404 Not Found"),
        ("gone", {}, "http", 410, 1, "HTTP 410 Gone"),
        ("dead", {}, "http", 503, 3, r"HTTP 503 Service Unavailable \(3 attempts\)"),
        ("later", {}, "http", 503, 1, r"HTTP 503 Service Unavailable \(1 attempts\)"),
        ("hang", {"timeout_seconds": 0.2}, "http", None, 3, r"no whole answer within 0\.2 s"),
        ("endless", {"max_bytes": 300_000}, "refused", 200, 1, r"more than 300,000 bytes"),
        ("claims", {}, "refused", 200, 1, r"999,999,999 bytes, more than `download\.max_bytes`"),
        ("bomb", {"max_bytes": 300_000}, "refused", 200, 1, r"more than 300,000 bytes"),
        ("truncated", {}, "unreadable", 200, 1, "answered with image/jpeg: does not decode"),
        ("page.jpg", {}, "unreadable", 200, 1, "answered with text/html: not a picture"),
        ("empty", {}, "unreadable", 200, 1, "empty answer"),
        ("large", {"max_pixels": 10_000}, "refused", 200, 1, "400 x 300 pixels"),
        ("loop", {"max_redirects": 3}, "refused", None, 4, "more than 3 redirects"),
        ("slow_moved", {"timeout_seconds": 0.5, "attempts": 1}, "http", None, 2, r"no whole answer within 0\.5 s"),
        ("nowhere", {}, "http", 302, 1, "HTTP 302"),
    ],
)
def test_what_cannot_be_had_says_why(
    site: Site,
    tmp_path: Path,
    name: str,
    changed: dict[str, Any],
    status: str,
    http_status: int | None,
    asked: int,
    detail: str,
) -> None:
    with pytest.raises(PictureError, match=detail) as caught:
        raise one_error(tmp_path, site.url(name), **changed)
    assert (caught.value.status, caught.value.http_status) == (status, http_status)
    assert site.asked[name] == asked
    assert left_behind(tmp_path) == []


def test_a_port_that_nobody_listens_on_is_an_http_failure(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    error = one_error(tmp_path, f"http://127.0.0.1:{port}/a.jpg")
    assert (error.status, error.http_status) == ("http", None)
    assert "(3 attempts)" in error.detail


def test_a_disk_that_takes_nothing_is_no_fault_of_the_image(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ImageStoreError, match="can't be written"):
        fetch(tmp_path / "file", [site.url("ok/1")])
    for number in range(256):
        (tmp_path / f"{number:02x}").write_bytes(b"")
    (result,) = fetch(tmp_path, [site.url("ok/1")])
    assert isinstance(result, ImageStoreError)


# ---------------------------------------------------------------- whom may be asked


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/secret",
        "http://localhost:{port}/secret",
        "http://[::1]:{port}/secret",
        "http://[::ffff:127.0.0.1]:{port}/secret",
        "http://2130706433:{port}/secret",
        "http://127.1:{port}/secret",
        "http://0.0.0.0:{port}/secret",
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "ftp://example.org/a.jpg",
        "http:///a.jpg",
        "http://[bad/a.jpg",
        "http://exa mple.org:99999/a.jpg",
    ],
)
def test_this_machine_and_its_network_are_not_asked(site: Site, tmp_path: Path, url: str) -> None:
    error = one_error(tmp_path, url.format(port=site.port), allow_private_hosts=False, attempts=1)
    assert error.status == "refused"
    assert not site.asked


def test_a_redirect_is_checked_like_a_first_address(site: Site, tmp_path: Path) -> None:
    inside = site.url("secret", host="127.0.0.2")
    for target in (inside, "file:///etc/passwd", "http://[bad/"):
        moved = site.url("moved") + f"?to={target}"
        error = one_error(tmp_path, moved, allowed=lambda address: address == "127.0.0.1")
        assert error.status == "refused"
    assert site.asked == {"moved": 3}
    ((path, _),) = fetch(tmp_path, [site.url("moved") + f"?to={inside}"])
    assert path.read_bytes() == picture_bytes()


def test_a_name_is_judged_by_the_address_that_is_connected_to(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that first resolves to a public address and then to this machine never reaches this machine."""
    answers: list[str] = []
    genuine = socket.getaddrinfo

    def rebinding(host: Any, port: Any, *rest: Any, **named: Any) -> Any:
        if host != "rebind.example.org":
            return genuine(host, port, *rest, **named)
        answers.append("127.0.0.1")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", site.port))]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    url = f"http://rebind.example.org:{site.port}/secret"
    error = one_error(tmp_path, url, allow_private_hosts=False)
    assert error.status == "refused"
    assert answers
    assert not site.asked
    ((path, _),) = fetch(tmp_path, [url])
    assert path.is_file()


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.100.100.200", False),
        ("168.63.129.16", False),
        ("192.0.0.192", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1", False),
        ("fe80::1%eth0", False),
        ("fd00:ec2::254", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::127.0.0.1", False),
        ("::ffff:0:127.0.0.1", False),
        ("fec0::1", False),
        ("64:ff9b:1::7f00:1", False),
        ("::ffff:8.8.8.8", True),
        ("2002:7f00:1::", False),
        ("64:ff9b::a00:1", False),
        ("64:ff9b::808:808", True),
        ("example.org", False),
        ("", False),
    ],
)
def test_only_addresses_of_the_open_internet_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


@given(st.ip_addresses().map(str) | st.text())
def test_any_address_is_judged(address: str) -> None:
    assert is_public(address) in {True, False}


# ---------------------------------------------------------------- many addresses


def test_limits_hold_overall_and_per_host(site: Site, tmp_path: Path) -> None:
    one_host = [site.url(f"slow/{number}") for number in range(12)]
    fetch(tmp_path / "a", one_host, concurrency=10, per_host=3)
    assert site.most_at_once == 3
    site.most_at_once = 0
    hosts = [site.url(f"slow/{n}", host=f"127.0.0.{2 + n % 6}") for n in range(24)]
    fetch(tmp_path / "b", hosts, concurrency=5, per_host=3)
    assert site.most_at_once == 5


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    return Home(tmp_path / "home", load_settings("sandbox"))


def needed(urls: list[str]) -> pl.LazyFrame:
    rows = {
        "image_id": [f"url:{number:04}" for number in range(len(urls))],
        "source": ["mine"] * len(urls),
        "image_set": ["default"] * len(urls),
        "image_file": [None] * len(urls),
        "image_url": urls,
    }
    return needed_images(pl.LazyFrame(rows, schema_overrides={"image_file": pl.String}))


def resolve(home: Home, urls: list[str], previous: pl.LazyFrame | None = None, **changed: Any) -> pl.DataFrame:
    source = SourceSettings(format="pixmo_cap", files=("x",), download_images=True)
    download = DownloadSettings(**{**PATIENT, **changed})
    return pl.concat(list(resolve_images(needed(urls), source, home, download, previous=previous)))


def test_images_that_cannot_be_had_never_stop_the_rest(site: Site, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images_module, "WINDOW_IMAGES", 10)
    bad = ["missing", "truncated", "page.jpg", "drops", "flaky", "hang", "endless", "loop"]
    urls = [site.url(f"{bad[n // 3 % 8]}" if n % 3 == 0 else f"ok/{n}") for n in range(48)]
    rows = resolve(home, urls, timeout_seconds=0.5, attempts=2, max_bytes=500_000)
    assert rows.schema == TABLES["images"].polars()
    assert rows["image_id"].to_list() == [f"url:{number:04}" for number in range(48)]
    expected = {"missing": "http", "truncated": "unreadable", "page.jpg": "unreadable", "hang": "http"}
    expected |= {"endless": "refused", "loop": "refused"}
    names = [url.split("/", 3)[3] for url in urls]
    assert rows["status"].to_list() == [expected.get(name, "ok") for name in names]
    assert rows["url"].to_list() == urls
    assert rows.filter(status="ok")["sha256"].n_unique() == 1
    assert rows.filter(pl.col("status") != "ok")["detail"].is_not_null().all()


def test_what_a_server_says_in_no_encoding_can_be_stored(site: Site, home: Home) -> None:
    rows = resolve(home, [site.url("strange")])
    assert rows["detail"].to_list() == ["HTTP 418 ??"]


def test_a_second_run_asks_only_for_what_is_not_there(site: Site, home: Home) -> None:
    urls = [site.url(f"ok/{number}") for number in range(20)] + [site.url("missing")]
    first = resolve(home, urls)
    assert first["status"].value_counts().sort("count").rows() == [("http", 1), ("ok", 20)]
    asked = site.asked.total()
    again = resolve(home, urls)
    assert again.equals(first)
    assert site.asked.total() == asked + 1
    assert resolve(home, urls, previous=first.lazy()).equals(first)
    assert site.asked.total() == asked + 2


def test_a_local_file_saves_the_download(site: Site, home: Home, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images/1").write_bytes(picture_bytes())
    (tmp_path / "images/2").write_bytes(b"broken")
    source = SourceSettings(format="pixmo_cap", files=("x",), download_images=True, image_folders={"default": "images"})
    urls = [site.url("ok/1"), site.url("ok/2"), site.url("ok/3")]
    rows = pl.concat(list(resolve_images(needed(urls), source, home, DownloadSettings(**PATIENT))))
    assert rows["status"].to_list() == ["ok"] * 3
    assert rows["url"].to_list() == [None, urls[1], urls[2]]
    assert site.asked == {"ok/2": 1, "ok/3": 1}


def test_abandoning_the_iterator_stops_everything_soon(site: Site, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images_module, "FRAME_ROWS", 2)
    urls = [site.url(f"ok/{number}") for number in range(2)] + [site.url(f"hang/{n}") for n in range(40)]
    source = SourceSettings(format="pixmo_cap", files=("x",), download_images=True)
    threads = set(threading.enumerate())
    frames = resolve_images(needed(urls), source, home, DownloadSettings(**{**PATIENT, "timeout_seconds": 50}))
    assert next(frames)["status"].to_list() == ["ok", "ok"]
    started = time.monotonic()
    frames.close()  # type: ignore[attr-defined]
    assert time.monotonic() - started < 3
    kept = left_behind(home.images)
    assert len(kept) == 2
    deadline = time.monotonic() + 3
    while set(threading.enumerate()) - threads and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not set(threading.enumerate()) - threads


def test_an_interrupt_ends_the_wait_for_a_slow_host(site: Site, home: Home) -> None:
    source = SourceSettings(format="pixmo_cap", files=("x",), download_images=True)
    beats: list[int] = []

    class StoppedError(Exception):
        pass

    def advance(images: int) -> None:
        beats.append(images)
        raise StoppedError

    urls = [site.url("ok/1"), site.url("hang")]
    settings = DownloadSettings(**{**PATIENT, "timeout_seconds": 50})
    started = time.monotonic()
    with pytest.raises(StoppedError):
        list(resolve_images(needed(urls), source, home, settings, advance=advance))
    assert beats == [1]
    assert time.monotonic() - started < 5
