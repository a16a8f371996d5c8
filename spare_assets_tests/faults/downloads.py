"""Images from servers that mean harm, and addresses that lead inside: what comes of them, what lies on disk after.

The downloader's ordinary troubles and its politeness are tested in `spare_assets_tests/captions/test_download.py`, a
graph that downloads in `spare_assets_tests/orchestration/test_downloads.py`.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import gzip
import hashlib
import io
import itertools
import socket
import struct
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from spare_assets.captions import download
from spare_assets.captions.images import needed_images, resolve_images
from spare_assets.captions.picture import examine_picture, open_upright
from spare_assets.clip import encoder
from spare_assets.engines.chat import ChatImage
from spare_assets.engines.openai_format import data_url
from spare_assets.settings import DownloadSettings, Home, SourceSettings, load_settings
from spare_assets_tests.faults.cases import Case, Outcome
from spare_assets_tests.faults.memory import Memory

STAND_IN = "127.0.0.2"
"""A server here plays the open internet, and is taken for it, where addresses are judged."""
MAX_BYTES = 400_000
MAX_PIXELS = 250_000
_OK = b"HTTP/1.1 200 OK\r\n"

Sending = Callable[[], AsyncIterator[bytes]]


# ---------------------------------------------------------------- what a server sends


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """A picture's file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(width: int = 64, height: int = 48, mode: str = "RGB") -> Image.Image:
    """A picture that hardly compresses."""
    bands = len(Image.new(mode, (1, 1)).getbands())
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, bands), np.uint8)
    return Image.frombytes(mode, (width, height), pixels.tobytes())


def turned(orientation: int) -> bytes:
    """A picture, red at its left and blue at its right as it is seen, but stored turned: EXIF says how."""
    seen = Image.new("RGB", (64, 32), "red")
    seen.paste("blue", (32, 0, 64, 32))
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(seen if undo is None else seen.transpose(undo), "PNG", exif=exif)


def claimed_png(width: int, height: int) -> bytes:
    """A PNG of one-bit rows of zeros: a few bytes for very many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(bytes((width // 8 + 2) * min(height, 4_000)), 9)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def endless_scans() -> bytes:
    """A small JPEG that a decoder goes over some thousand times."""
    progressive = encoded(Image.new("L", (480, 480), 128), "JPEG", progressive=True)
    return progressive[:-2] + progressive[progressive.rfind(b"\xff\xc4") : -2] * 1_000 + progressive[-2:]


def plain(body: bytes, kind: str = "image/jpeg", head: bytes = _OK) -> Sending:
    """A whole answer. The connection ends with it, and it says so: a client would use it again."""
    rest = b"Content-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (kind.encode(), len(body))

    async def send() -> AsyncIterator[bytes]:
        yield head + rest + body

    return send


def again(chunk: bytes, head: bytes = _OK + b"Content-Type: image/jpeg\r\n\r\n", pause: float = 0.0) -> Sending:
    """A head, and then a chunk again and again."""

    async def send() -> AsyncIterator[bytes]:
        yield head
        while True:
            await asyncio.sleep(pause)
            yield chunk

    return send


def moved(to: str) -> Sending:
    """A redirect."""
    return plain(b"", head=b"HTTP/1.1 302 Found\r\nLocation: %s\r\n" % to.encode())


def hostile_answers() -> dict[str, tuple[Sending, str]]:
    """What a server sends under a path, and the status its image gets."""
    frames = [noise(), noise(32, 32).resize((64, 48))]
    deep = Image.fromarray(np.linspace(0, 65_535, 64 * 48).astype(np.uint16).reshape(48, 64))
    jpeg = encoded(noise(), "JPEG")
    svg = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
    html = b"<html><img src=x onerror=alert(1)></html>"
    bomb = gzip.compress(bytes(200_000_000), 9)
    gzipped = _OK + b"Content-Encoding: gzip\r\n"
    return {
        "jpeg": (plain(jpeg), "ok"),
        "evil.exe": (plain(encoded(noise(), "PNG"), "text/html"), "ok"),
        "..%2F..%2Fetc%2Fpasswd": (plain(jpeg), "ok"),
        "animated.gif": (plain(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])), "ok"),
        "animated.webp": (plain(encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:])), "ok"),
        "animated.png": (plain(encoded(frames[0], "PNG", save_all=True, append_images=frames[1:])), "ok"),
        "cmyk.jpg": (plain(encoded(noise(mode="CMYK"), "JPEG")), "ok"),
        "deep.png": (plain(encoded(deep, "PNG")), "ok"),
        "turned.png": (plain(turned(6)), "ok"),
        "truncated.jpg": (plain(jpeg[:-200]), "unreadable"),
        "vector.svg": (plain(svg, "image/svg+xml"), "unreadable"),
        "page.jpg": (plain(html), "unreadable"),
        "script.ps": (plain(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"), "unreadable"),
        "icon.ico": (plain(encoded(noise(32, 32), "ICO")), "unreadable"),
        "empty": (plain(b""), "unreadable"),
        "huge.png": (plain(encoded(noise(501, 500), "PNG", compress_level=0)[:MAX_BYTES]), "refused"),
        "bomb.png": (plain(claimed_png(60_000, 60_000)), "refused"),
        "scans.jpg": (plain(endless_scans()), "refused"),
        "endless": (again(b"\xff" * 65_536), "refused"),
        "claims": (again(b"", _OK + b"Content-Length: 99999999999\r\n\r\n", 0.1), "refused"),
        "gzip": (plain(bomb, head=gzipped), "refused"),
        "gzip of gzip": (plain(gzip.compress(bomb), head=gzipped), "unreadable"),
        "no gzip": (plain(jpeg, head=gzipped), "http"),
        "no zstd": (plain(jpeg, head=_OK + b"Content-Encoding: zstd\r\n"), "http"),
        "trickle": (again(b"\xff", pause=0.1), "http"),
        "silence": (again(b"", b"", 0.1), "http"),
        "slow headers": (again(b"x", _OK + b"X-Slow: ", 0.1), "http"),
        "endless headers": (again(b"X-More: and more\r\n", _OK, 0.005), "http"),
        "endless header": (again(b"x" * 4_000, _OK + b"X-Long: ", 0.005), "http"),
        "endless hints": (again(b"HTTP/1.1 103 Early Hints\r\n\r\n", b"", 0.005), "http"),
        "endless chunk": (again(b"f" * 4_000, _OK + b"Transfer-Encoding: chunked\r\n\r\n", 0.005), "http"),
        "no http": (again(b"\0\xff\n" * 1_000, b""), "http"),
        "strange words": (plain(b"", head=b"HTTP/1.1 418 \xff\xfe\xed\xa0\x80\r\n"), "http"),
        "two lengths": (plain(jpeg, head=_OK + b"Content-Length: 5\r\n"), "http"),
        "loop": (moved("/loop"), "refused"),
        "to a file": (moved("file:///etc/passwd"), "refused"),
        "to ftp": (moved("ftp://127.0.0.1/a.jpg"), "refused"),
        "to data": (moved("data:image/png;base64,AAAA"), "refused"),
        "to a script": (moved("javascript:alert(1)"), "refused"),
        "to nonsense": (moved("http://[bad/\\"), "refused"),
    }


_NOT_FOUND = plain(b"", head=b"HTTP/1.1 404 Not Found\r\n")


class HostileServer:
    """Sends what it is told, byte by byte, over as many connections as are made. A context manager."""

    def __init__(self, answers: Mapping[str, Sending], host: str = "127.0.0.1", port: int = 0) -> None:
        self.answers = answers
        self.asked: Counter[str] = Counter()
        self.host, self.port = host, port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> HostileServer:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, self.host, self.port), self._loop
        ).result(10)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def url(self, path: str) -> str:
        """Address of an answer."""
        return f"http://{self.host}:{self.port}/{path}"

    async def _stop(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode().lstrip("/").replace("%20", " ")
            self.asked[path] += 1
            async for part in self.answers.get(path, _NOT_FOUND)():
                writer.write(part)
                await writer.drain()
        writer.close()


# ---------------------------------------------------------------- the images stage


def resolved(folder: Path, urls: list[str], **limits: Any) -> tuple[pl.DataFrame, Home]:
    """What becomes of images at these addresses, one row each in their order."""
    rows = {
        "image_id": [f"url:{number:04}" for number in range(len(urls))],
        "source": ["hostile"] * len(urls),
        "image_set": ["default"] * len(urls),
        "image_file": [None] * len(urls),
        "image_url": urls,
    }
    needed = needed_images(pl.LazyFrame(rows, schema_overrides={"image_file": pl.String}))
    source = SourceSettings(format="pixmo_cap", files=("x",), download_images=True)
    home = Home(folder / "home", load_settings("sandbox"))
    settings = {"timeout_seconds": 20.0, "attempts": 1, "max_bytes": MAX_BYTES, "max_pixels": MAX_PIXELS, **limits}
    frames = list(resolve_images(needed, source, home, DownloadSettings(per_host=64, **settings)))
    return pl.concat(frames), home


def files(folder: Path) -> set[Path]:
    """All files, temporary ones as well."""
    return {path for path in folder.rglob("*") if path.is_file()}


def hostile_server(folder: Path, times: int) -> Outcome:
    """Every hostile answer so many times at once: statuses, what is on disk, time and memory."""
    answers = hostile_answers()
    timeout = 3.0 * times
    with HostileServer({"jpeg": answers["jpeg"][0]}) as server:  # what libraries take at their first use
        resolved(folder / "before", [server.url("jpeg")], allow_private_hosts=True)
    with HostileServer({name: send for name, (send, _) in answers.items()}) as server, Memory() as memory:
        names = [name for name in answers for _ in range(times)]
        urls = [f"{server.url(name)}#{number}" for number, name in enumerate(names)]
        started = time.monotonic()
        rows, home = resolved(folder, urls, allow_private_hosts=True, timeout_seconds=timeout)
        seconds = time.monotonic() - started
    wrong = [
        f"{name}: {row['status']} ({row['detail']}), not {answers[name][1]}"
        for name, row in zip(names, rows.iter_rows(named=True), strict=True)
        if row["status"] != answers[name][1]
    ]
    assert not wrong, "\n".join(wrong)
    details = rows.filter(pl.col("status") != "ok")["detail"]
    assert details.str.len_chars().is_between(1, 500).all(), max(details, key=len)
    digests = [hashlib.sha256(url.encode()).hexdigest() for url in rows.filter(status="ok")["url"]]
    assert files(home.images) == {home.images / digest[:2] / digest for digest in digests}
    sizes = dict(zip(names, rows.select("width", "height").iter_rows(), strict=True))
    assert (sizes["turned.png"], sizes["animated.gif"]) == ((64, 32), (64, 48))
    # A slow answer costs its time limit, all of them together no more; the rest is decoding.
    assert seconds < 4 * timeout, f"{seconds:.1f} s"
    assert memory.grown < 150_000_000 + 4 * times * MAX_BYTES, f"{memory.grown:,} bytes more in memory"
    return Outcome(tried=len(urls), note=f"{seconds:.1f} s, memory +{memory.grown / 1e6:.0f} MB")


def largest_picture(folder: Path) -> Outcome:
    """The largest picture the shipped settings let pass, in the smallest file that holds one."""
    side = 9_999
    body = encoded(Image.new("RGB", (side, side)), "PNG")
    with HostileServer({"large.png": plain(body)}) as server, Memory() as memory:
        limits = DownloadSettings()
        rows, _ = resolved(
            folder,
            [server.url("large.png")],
            allow_private_hosts=True,
            max_pixels=limits.max_pixels,
            max_bytes=limits.max_bytes,
        )
    assert rows["status"].to_list() == ["ok"]
    assert memory.grown < 1_000_000_000
    return Outcome(note=f"{len(body):,} bytes of file take {memory.grown / 1e6:.0f} MB of memory")


# ---------------------------------------------------------------- addresses that lead inside

NUMBERS = (
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "017700000001",
    "127.0.0.01",
    "0",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "100.64.0.1",
    "169.254.169.254",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "224.0.0.1",
    "255.255.255.255",
    "240.0.0.1",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    "[::127.0.0.1]",
    "[fe80::1]",
    "[fe80::1%25lo]",
    "[::1%25lo]",
    "[fd00::1]",
    "[fd00:ec2::254]",
    "[fec0::1]",
    "[ff02::1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2001:0:7f00:1::]",
    "\u2460\u2461\u2466.\u24ea.\u24ea.\u2460",
    "127\u30020\u30020\u30021",
    "localhost",
    "LOCALHOST",
    "localhost.",
)
FORMS = (
    "http://{host}:{port}/secret",
    "http://example.com@{host}:{port}/secret",
    "http://example.com:80@{host}:{port}/secret",
    "HTTP://{host}:{port}/secret?a=http://example.com/",
    "http://{host}:{port}/secret#@example.com/",
)
OTHERS = (
    "file:///etc/passwd",
    "file://127.0.0.1/etc/passwd",
    "ftp://127.0.0.1:{port}/secret",
    "gopher://127.0.0.1:{port}/_GET%20/secret",
    "data:image/png;base64,AAAA",
    "unix:///var/run/docker.sock",
    "http://127.0.0.1:{port}\\@example.com/secret",
    "http://example.com\\@127.0.0.1:{port}/secret",
    "http:///secret",
    "http:127.0.0.1:{port}/secret",
    "//127.0.0.1:{port}/secret",
    "http://[::1:{port}/secret",
    "http://exa\0mple/",
    "http://127.0.0.1:{port}\r\nHost: example.com/secret",
)
NAMES = {
    "inside.example.org": "127.0.0.1",
    "office.example.org": "10.0.0.1",
    "carrier.example.org": "100.64.0.1",
    "metadata.example.org": "169.254.169.254",
    "zero.example.org": "0.0.0.0",
    "six.example.org": "::1",
    "mapped.example.org": "::ffff:127.0.0.1",
    "unique.example.org": "fd00::1",
    "link.example.org": "fe80::1",
    "nat.example.org": "64:ff9b::7f00:1",
}


@contextmanager
def a_small_world(answers: Mapping[str, list[str]]) -> Iterator[set[str]]:
    """Names resolve as told, one list of addresses after another; the stand-in counts as public.

    Yields the addresses connected to, whoever made the connection, by an audit hook of the interpreter.
    """
    connected: set[str] = set()
    watching = True

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if watching and event == "socket.connect" and isinstance(arguments[1], tuple):
            connected.add(str(arguments[1][0]))

    genuine_lookup, genuine_judge = socket.getaddrinfo, download.is_public
    turns = {name: itertools.chain(lists, itertools.repeat(lists[-1])) for name, lists in answers.items()}

    def lookup(host: Any, port: Any, *rest: Any, **named: Any) -> Any:
        if host not in turns:
            return genuine_lookup(host, port, *rest, **named)
        found = []
        for address in next(turns[host]).split():
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            place = (address, port, 0, 0) if ":" in address else (address, port)
            found.append((family, socket.SOCK_STREAM, 6, "", place))
        return found

    sys.addaudithook(watch)
    socket.getaddrinfo = lookup
    download.is_public = lambda address: address == STAND_IN or genuine_judge(address)
    try:
        yield connected
    finally:
        watching = False
        socket.getaddrinfo, download.is_public = genuine_lookup, genuine_judge


def inside(folder: Path, forms: int) -> Outcome:
    """Every way to write an address of this machine or its network, asked for and redirected to: nobody is called."""
    jpeg = plain(encoded(noise(), "JPEG"))
    with HostileServer({"secret": jpeg}) as secret:
        direct = [form.format(host=host, port=secret.port) for host in (*NUMBERS, *NAMES) for form in FORMS[:forms]]
        direct += [form.format(port=secret.port) for form in OTHERS]
        redirects = {
            f"moved-{number}": moved(url) for number, url in enumerate(direct) if url.isprintable() and url.isascii()
        }
        with (
            HostileServer({"jpeg": jpeg, **redirects}, STAND_IN) as stand_in,
            a_small_world({name: [address] for name, address in NAMES.items()}) as connected,
        ):
            urls = [*direct, *map(stand_in.url, redirects), stand_in.url("jpeg")]
            rows, home = resolved(folder, urls, concurrency=16)
        assert stand_in.asked.keys() >= {*redirects, "jpeg"}, "the stand-in for the internet was asked"
    statuses = rows["status"].to_list()
    assert statuses[-1] == "ok"
    open_doors = [url for url, status in zip(urls[:-1], statuses, strict=False) if status not in {"refused", "http"}]
    assert not open_doors, open_doors
    told = rows.filter(status="http")["detail"]
    assert told.str.contains("no host is called|can't be resolved|HTTP 404").all(), told.to_list()
    assert not secret.asked
    assert connected == {STAND_IN}, connected
    assert len(files(home.images)) == 1
    return Outcome(tried=len(urls) - 1, note=f"{statuses.count('refused')} refused, {len(told)} without such a host")


def rebinding(folder: Path) -> Outcome:
    """A name that is public at first and this machine later, or both at once, never leads inside."""
    jpeg = plain(encoded(noise(), "JPEG"))
    answers = {"turns.example.org": [STAND_IN, "127.0.0.1"], "both.example.org": [f"127.0.0.1 {STAND_IN} ::1"]}
    with (
        HostileServer({"jpeg": jpeg}, STAND_IN) as stand_in,
        HostileServer({"jpeg": jpeg}, "127.0.0.1", stand_in.port) as secret,
        HostileServer({"jpeg": jpeg}, "127.0.0.1") as other,
        a_small_world(answers) as connected,
    ):
        for number, (name, port, status) in enumerate(
            [
                ("turns.example.org", stand_in.port, "ok"),
                ("turns.example.org", stand_in.port, "refused"),
                ("turns.example.org", other.port, "refused"),
                ("both.example.org", stand_in.port, "ok"),
            ]
        ):
            rows, _ = resolved(folder / str(number), [f"http://{name}:{port}/jpeg"])
            assert rows["status"].to_list() == [status], rows["detail"].to_list()
    assert connected == {STAND_IN}, connected
    assert not secret.asked and not other.asked
    return Outcome(tried=4)


# ---------------------------------------------------------------- what models are shown


def shown(folder: Path) -> Outcome:
    """Pictures turned by EXIF, in CMYK and in 16 bits, as CLIP, training and a chat server get them."""
    from spare_assets.training.collator import _upright
    from spare_assets.training.rows import TrainingRow

    ramp = np.linspace(0, 65_535, 64 * 32).astype(np.uint16).reshape(32, 64)
    pictures = {f"turned {orientation}": turned(orientation) for orientation in range(1, 9)}
    expected = dict.fromkeys(pictures, np.asarray(Image.open(io.BytesIO(turned(1))).convert("RGB")))
    pictures["16 bits"] = encoded(Image.fromarray(ramp), "PNG")
    expected["16 bits"] = np.repeat((ramp >> 8).astype(np.uint8)[:, :, None], 3, axis=2)
    pictures["cmyk"] = encoded(noise(64, 32, "CMYK"), "TIFF")
    expected["cmyk"] = np.asarray(noise(64, 32, "CMYK").convert("RGB"))
    for name, content in pictures.items():
        path = folder / name
        path.write_bytes(content)
        examined = examine_picture(path, MAX_PIXELS)
        assert (examined.width, examined.height) == (64, 32), name
        row = object.__new__(TrainingRow)
        object.__setattr__(row, "image_path", str(path))
        object.__setattr__(row, "row_id", name)
        sent = base64.b64decode(data_url(ChatImage(path, examined.sha256)).split(",")[1])
        views = {
            "any model": open_upright(path),
            "CLIP": encoder._pixels(path, lambda image: image),
            "training": _upright(row),
            "a server": Image.open(io.BytesIO(sent)).convert("RGB"),
        }
        for who, view in views.items():
            assert np.array_equal(np.asarray(view), expected[name]), f"{name} as {who} sees it"
    return Outcome(tried=len(pictures))


CASES = [
    Case("image download", "what a server sends", "once each", functools.partial(hostile_server, times=1), short=True),
    Case("image download", "what a server sends", "four at once", functools.partial(hostile_server, times=4)),
    Case("image download", "what a server sends", "the largest picture that passes", largest_picture),
    Case("image download", "addresses that lead inside", "plain", functools.partial(inside, forms=1), short=True),
    Case("image download", "addresses that lead inside", "all forms", functools.partial(inside, forms=len(FORMS))),
    Case("image download", "rebinding", "a name of two faces", rebinding, short=True),
    Case("image download", "what models are shown", "turned, CMYK, 16 bits", shown, short=True),
]
