"""Both sides of `engine_requests` get the same replies from the same server."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path

from spare_assets_tests.performance import bare_client
from spare_assets_tests.performance.engine_requests import ours, questions
from spare_assets_tests.performance.instant_server import instant_server


def test_the_engine_and_a_bare_client_get_the_same_replies(tmp_path: Path) -> None:
    texts = questions(300)
    file = tmp_path / "questions.jsonl"
    file.write_text("".join(json.dumps(text) + "\n" for text in texts))
    with instant_server() as url:
        bare = asyncio.run(bare_client.asked(f"{url}/chat/completions", 8, texts))
        engine = ours(url, 8, file)
    assert [reply[0] for reply in bare] == [f"reply {number}" for number in range(300)]
    assert engine["rows"] == 300
    assert engine["digest"] == hashlib.sha256(b"".join(json.dumps(reply).encode() for reply in bare)).hexdigest()
