"""A hub on loopback that keeps what is committed to it: as much of the API as pushing a folder takes."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class StubHub:
    """One repository: its files, the requests that reached it, and whether it refuses to write."""

    address: str = ""
    token: str = ""
    refuses: bool = False
    files: dict[str, bytes] = field(default_factory=dict)
    created: list[dict[str, Any]] = field(default_factory=list)
    commits: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def commit(self, lines: list[dict[str, Any]]) -> None:
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                self.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "deletedFile":
                del self.files[value["path"]]
        self.commits.append(next(line["value"]["summary"] for line in lines if line["key"] == "header"))


@contextmanager
def stub_hub(token: str) -> Iterator[StubHub]:
    """Serve until the block ends."""
    hub = StubHub(token=token)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self._start()
            if hub.refuses:
                self._answer({"error": f"refused {self.headers.get('Authorization')}"}, 403)
                return
            files = [{"type": "file", "path": name, "size": len(b), "oid": "0"} for name, b in hub.files.items()]
            if "/tree/" in path:
                self._answer(files)
            else:
                self._answer({"id": "o/n", "sha": "0" * 40, "siblings": [{"rfilename": f["path"]} for f in files]})

        def do_POST(self) -> None:
            path = self._start()
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.headers.get("Authorization") != f"Bearer {hub.token}" or hub.refuses:
                self._answer({"error": f"refused {self.headers.get('Authorization')}"}, 403)
            elif path.endswith("/repos/create"):
                hub.created.append(json.loads(body))
                self._answer({"url": f"{hub.address}/datasets/o/n"})
            elif path.endswith("/validate-yaml"):
                self._answer({"errors": [], "warnings": []})
            elif "/preupload/" in path:
                names = [file["path"] for file in json.loads(body)["files"]]
                modes = [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]
                self._answer({"files": modes})
            elif "/commit/" in path:
                hub.commit([json.loads(line) for line in body.splitlines()])
                oid = f"{len(hub.commits):040}"
                self._answer(
                    {"success": True, "commitOid": oid, "commitUrl": f"{hub.address}/datasets/o/n/commit/{oid}"}
                )
            else:
                self._answer({"error": "not known here"}, 404)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

        def _start(self) -> str:
            hub.requests.append(f"{self.command} {self.path}")
            return self.path.partition("?")[0]

        def _answer(self, document: Any, status: int = 200) -> None:
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
