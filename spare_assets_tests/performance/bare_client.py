"""The rival of `engine_requests` that is hardest to beat: aiohttp alone, as one would write it for a single evening.

    python bare_client.py URL CONCURRENCY QUESTIONS

Run by the Python of the rival's environment: nothing of this project is imported. The file of questions holds JSON,
one text a line; replies are validated as the engine does and kept in memory. The last line of output tells the
seconds spent and what came back.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp

LONE_SURROGATE = re.compile("[\ud800-\udfff]")
MAX_REPLY_BYTES = 4_000_000


def validated(status: int, content: bytes) -> tuple[str, str, int, int]:
    """Text, reason of its end and tokens of a reply. Raises ValueError where it is none."""
    if len(content) > MAX_REPLY_BYTES:
        raise ValueError("too large")
    if status != 200:
        raise ValueError(f"HTTP {status}")
    answer = json.loads(content)
    choices = answer.get("choices") if isinstance(answer, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    text = message.get("content") if isinstance(message, dict) else None
    if not isinstance(first, dict) or not isinstance(text, str):
        raise ValueError("a reply without text")
    usage = answer.get("usage")
    counts = [usage.get(name) if isinstance(usage, dict) else 0 for name in ("prompt_tokens", "completion_tokens")]
    prompt, completion = (count if isinstance(count, int) and 0 <= count < 1e12 else 0 for count in counts)
    reason = "length" if first.get("finish_reason") == "length" else "stop"
    return LONE_SURROGATE.sub("\ufffd", text), reason, prompt, completion


async def asked(url: str, concurrency: int, questions: list[str]) -> list[tuple[str, str, int, int]]:
    """A reply for every question."""
    replies: list[Any] = [None] * len(questions)

    async def work(session: aiohttp.ClientSession, numbered: Iterator[tuple[int, str]]) -> None:
        for place, text in numbered:
            body = {
                "model": "m",
                "messages": [{"role": "user", "content": text}],
                "temperature": 0,
                "max_tokens": 50,
            }
            async with session.post(url, json=body) as response:
                replies[place] = validated(response.status, await response.read())

    shared = iter(enumerate(questions))
    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=120)) as session:
        await asyncio.gather(*(work(session, shared) for _ in range(concurrency)))
    return replies


def main() -> None:
    """Ask every question of the file."""
    url, concurrency = sys.argv[1] + "/chat/completions", int(sys.argv[2])
    questions = [json.loads(line) for line in Path(sys.argv[3]).read_text().splitlines()]
    begun, busy = time.perf_counter(), time.process_time()
    replies = asyncio.run(asked(url, concurrency, questions))
    seconds, cpu = time.perf_counter() - begun, time.process_time() - busy
    digest = hashlib.sha256()
    for reply in replies:
        digest.update(json.dumps(reply).encode())
    print(json.dumps({"rows": len(replies), "seconds": seconds, "cpu": cpu, "digest": digest.hexdigest()}))


if __name__ == "__main__":
    main()
