"""A chat server that answers as fast as one process can, each question with the number it holds.

`python -m spare_assets_tests.performance.instant_server` prints its port and ends with its standard input.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class _Answering(asyncio.Protocol):
    """One connection: each question is answered with its number."""

    _number = re.compile(rb"Caption number (\d+)")
    _length = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (head := self._received.find(b"\r\n\r\n")) >= 0:
            length = self._length.search(self._received, 0, head)
            assert length is not None, "a request without its length"
            end = head + 4 + int(length[1])
            if len(self._received) < end:
                return
            number = self._number.search(self._received, head, end)
            assert number is not None, "a request without its number"
            self._received = self._received[end:]
            body = (
                b'{"id": "reply", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0, '
                b'"message": {"role": "assistant", "content": "reply %s"}, "finish_reason": "stop"}], '
                b'"usage": {"prompt_tokens": 200, "completion_tokens": 3, "total_tokens": 203}}'
            ) % number[1]
            head_lines = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            self._transport.write(head_lines % len(body) + body)


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Answering, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


@contextmanager
def instant_server() -> Iterator[str]:
    """Address of a server in a process of its own, up while the context lasts."""
    command = [sys.executable, "-m", "spare_assets_tests.performance.instant_server"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdin is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        process.stdin.close()


if __name__ == "__main__":
    asyncio.run(_serve())
