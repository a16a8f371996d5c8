"""Whether a web server can listen where a person asked it to, and where it could instead."""

from __future__ import annotations

import errno
import socket

_TRIED = 50


def unusable(host: str, port: int) -> str | None:
    """Why nothing can listen there and what to do, or None where it can."""
    error = _refusal(host, port)
    if error is None:
        return None
    if error.errno == errno.EADDRINUSE:
        others = range(port + 1, min(port + _TRIED, 65535) + 1)
        free = next((other for other in others if _refusal(host, other) is None), None)
        instead = f"try --port {free}" if free else "choose another with --port"
        return f"port {port} of {host} is in use, perhaps by another `spare ui`: {instead}"
    if error.errno == errno.EACCES:
        return f"port {port} needs rights that this user lacks: choose one from 1024 on with --port"
    return f"nothing can listen at {host} port {port}: {error.strerror or error}; see --host and --port"


def _refusal(host: str, port: int) -> OSError | None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            # A port that a server left a moment ago counts as free, as it does for the web server.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        return error
    return None
