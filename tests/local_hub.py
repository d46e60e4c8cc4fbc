"""A hub on this machine, which huggingface_hub itself downloads from, and what can go wrong."""

from __future__ import annotations

import hashlib
import http.server
import threading
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"
HTML = b"<!DOCTYPE html><title>Log in to this network</title>"


class _Answers(http.server.BaseHTTPRequestHandler):
    """With the files of a checkpoint, or that there is no such thing."""

    server: LocalHub

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        name = Path(self.path).name
        self.server.asked.append(f"{self.command} {name}")
        content = self.server.files.get(name)
        fault = self.server.fault
        if fault == "silent" or (fault == "hangs" and with_body):
            self.server.stopped.wait()
            return
        if content is None:
            self.send_error(404)
            return
        named = b"other" if fault == "wrong hash" else content
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha256(named).hexdigest()}"')
        if fault != "no commit":
            self.send_header("X-Repo-Commit", self.server.commit)
        self.end_headers()
        if not with_body:
            return
        if fault == "trickles":
            for number in range(len(content)):
                if self.server.stopped.wait(0.1):
                    return
                self.wfile.write(content[number : number + 1])
        self.wfile.write(content[:-1] if fault == "truncated" else content)

    def log_message(self, *args: object) -> None:
        """Keep the test's output clean."""


class LocalHub(http.server.ThreadingHTTPServer):
    """A server of its own port.

    Attributes:
        files: What it has, by name.
        fault: ``"silent"``, ``"hangs"`` (after the headers), ``"trickles"``, ``"truncated"``,
            ``"wrong hash"``, ``"no commit"`` or none.
        asked: Methods and names of all requests.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.files: dict[str, bytes] = {}
        self.fault: str | None = None
        self.commit = COMMIT
        self.asked: list[str] = []
        self.stopped = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has been stopped is no error."""
