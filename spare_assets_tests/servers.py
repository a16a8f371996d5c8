"""Real servers on loopback for tests and benchmarks, each in a process of its own: S3's protocol by moto, PostgreSQL.

They begin empty and leave nothing behind. What is asked of them belongs to those who start them.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_STARTS = 60
"""Seconds a server may take to answer on a busy machine."""
_POSTGRES_FOLDERS = "/usr/local/bin:/usr/lib/postgresql/*/bin"


def missing(*modules: str) -> str | None:
    """Why tests that need these modules can't run here, as a reason to skip them."""
    absent = [name for name in modules if importlib.util.find_spec(name) is None]
    return f"not installed: {', '.join(absent)}" if absent else None


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def s3_server(bucket: str, python: str | Path = sys.executable) -> Iterator[dict[str, str]]:
    """The variables by which a client finds a server that has this bucket. `python` is one that has moto[server]."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "spare",
        "AWS_SECRET_ACCESS_KEY": secrets.token_hex(16),
    }

    def answers() -> bool:
        request = urllib.request.Request(f"{url}/{bucket}", method="PUT")
        try:
            urllib.request.urlopen(request, timeout=30).close()
        except urllib.error.HTTPError:
            raise
        except OSError:
            return False
        return True

    command = [str(python), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with _served(command, answers):
        yield environment


def postgres_program(name: str) -> str | None:
    """Path of a program of PostgreSQL's, which distributions keep out of PATH."""
    folders = [str(folder) for pattern in _POSTGRES_FOLDERS.split(":") for folder in Path("/").glob(pattern[1:])]
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *folders]))


def no_postgres() -> str | None:
    """Why there is no PostgreSQL to start here, as a reason to skip what needs one."""
    if postgres_program("initdb") is None or postgres_program("postgres") is None:
        return "no PostgreSQL: initdb and postgres are not on PATH"
    return None


@contextmanager
def postgres_server() -> Iterator[str]:
    """The address, password and all, of an empty database."""
    initdb, postgres = postgres_program("initdb"), postgres_program("postgres")
    assert initdb and postgres
    # It refuses to run as root, and its user can't look into the folders of a test.
    user = "postgres" if os.getuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="spare-postgres-"))
    password, port = secrets.token_hex(16), free_port()
    try:
        (folder / "password").write_text(password)
        if user is not None:
            for path in (folder, folder / "password"):
                shutil.chown(path, user)
        data = folder / "data"
        made = [initdb, "-D", data, "-U", "spare", "-A", "scram-sha-256", f"--pwfile={folder / 'password'}", "-N"]
        subprocess.run(made, check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL)
        command = [postgres, "-D", str(data), "-p", str(port), "-k", str(folder)]
        command += ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        address = f"postgresql+psycopg2://spare:{password}@127.0.0.1:{port}/postgres"
        with _served(command, lambda: _connects(address), user, signal.SIGINT):
            yield address
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _connects(address: str) -> bool:
    import psycopg2

    try:
        psycopg2.connect(address.replace("+psycopg2", "")).close()
    except psycopg2.OperationalError:
        return False
    return True


@contextmanager
def _served(
    command: Sequence[str],
    answers: Callable[[], bool],
    user: str | None = None,
    end: signal.Signals = signal.SIGTERM,
) -> Iterator[None]:
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, user=user, cwd="/")
        try:
            deadline = time.monotonic() + _STARTS
            while not answers():
                if server.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise RuntimeError(f"{command[0]} does not answer: {log.read()[-2000:].decode(errors='replace')}")
                time.sleep(0.1)
            yield
        finally:
            server.send_signal(end)
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
