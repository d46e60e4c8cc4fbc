"""A hub on this machine, which huggingface_hub itself downloads from, and what can go wrong."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from pathlib import Path
from urllib.parse import urlsplit

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
        place = Path(urlsplit(self.path).path)
        is_file = "resolve" in place.parts
        fault = self.server.fault
        if "pose_mlp_v2" in place.parts:  # the client also asks about itself
            self.server.asked.append(f"{self.command} {place.name if is_file else 'about files'}")
        if fault == "silent" or (fault == "hangs" and with_body and is_file):
            self.server.stopped.wait()
            return
        content = self.server.files.get(place.name) if is_file else self._about_files(place)
        if content is None or fault == "fails":
            self.send_error(500 if fault == "fails" else 404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        if is_file:
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", self.server.commit)
        self.end_headers()
        if not with_body:
            return
        if fault == "trickles" and is_file:
            for number in range(len(content)):
                if self.server.stopped.wait(0.1):
                    return
                self.wfile.write(content[number : number + 1])
        if fault == "changed" and is_file:
            content = content[:-1] + bytes([content[-1] ^ 1])
        self.wfile.write(content[:-1] if fault == "truncated" and is_file else content)

    def _about_files(self, place: Path) -> bytes | None:
        """What the hub's interface says of a revision: its commit and files, or only these."""
        if not self.server.files or "pose_mlp_v2" not in place.parts:
            return None
        found = []
        for name, content in self.server.files.items():
            sha256 = hashlib.sha256(content).hexdigest()
            lfs = {"sha256": sha256, "oid": sha256, "size": len(content), "pointerSize": 130}
            names = {"rfilename": name, "path": name, "type": "file"}
            found.append({**names, "size": len(content), "blobId": "0", "oid": "0", "lfs": lfs})
        said = {"id": "py-feat/pose_mlp_v2", "sha": self.server.commit, "siblings": found}
        return json.dumps(found if "tree" in place.parts else said).encode()

    def log_message(self, *args: object) -> None:
        """Keep the test's output clean."""


class LocalHub(http.server.ThreadingHTTPServer):
    """A server of its own port.

    Attributes:
        files: What it has, by name.
        fault: ``"silent"``, ``"hangs"`` (after the headers), ``"trickles"``, ``"truncated"``,
            ``"changed"`` (of the same length), ``"fails"`` (status 500) or none.
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
