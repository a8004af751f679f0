"""A hub of models on this machine: the two addresses of it that a download uses, and what can go wrong with them.

Files are given away by a second server, as by a network that delivers for the hub; it must never see a token.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class FakeHub:
    """One model, 'org/tiny'."""

    files: dict[str, bytes]
    large: frozenset[str] = frozenset({"model.safetensors"})  # kept as LFS files, with a sha256
    token: str | None = None  # which is asked for
    breaks_after: list[int] = field(default_factory=list)  # bytes of a large file, one number for each answer
    stalls: threading.Event | None = None  # where an answer breaks it waits for this first
    ignores_ranges: bool = False
    sends: dict[str, bytes] = field(default_factory=dict)  # instead of what the file should be
    statuses: list[int] = field(default_factory=list)  # of the next answers
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)  # path and headers, lower case
    at: str = ""
    delivery: str = ""

    def about(self) -> dict[str, object]:
        """What the hub says of the model."""
        siblings = [{"rfilename": name, **self._hashes(name, content)} for name, content in self.files.items()]
        return {"sha": COMMIT, "siblings": siblings, "cardData": {"license": "apache-2.0"}}

    def paths(self) -> list[str]:
        """What was asked for, without what delivers."""
        return [path for path, _ in self.asked if not path.startswith("/deliver/")]

    def ranges(self, name: str) -> list[str]:
        """What was asked of a file's content: the ranges, '' for all of it."""
        return [headers.get("range", "") for path, headers in self.asked if path == f"/deliver/{name}"]

    def _hashes(self, name: str, content: bytes) -> dict[str, object]:
        blob = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
        if name not in self.large:
            return {"size": len(content), "blobId": blob}
        large = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
        return {"size": len(content), "blobId": blob, "lfs": large}


class _Server(ThreadingHTTPServer):
    def __init__(self, hub: FakeHub) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub = hub


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        hub = self.server.hub
        path = self.path.partition("?")[0]
        hub.asked.append((path, {name.lower(): value for name, value in self.headers.items()}))
        if hub.statuses:
            self._say(hub.statuses.pop(0))
        elif path == "/api/models/org/tiny/revision/main":
            self._say(200, json.dumps(hub.about()).encode())
        elif path.startswith(f"/org/tiny/resolve/{COMMIT}/"):
            self._redirect(path.rpartition("/")[2])
        elif path.startswith("/deliver/"):
            self._deliver(path.removeprefix("/deliver/"))
        else:
            self._say(404, code="RepoNotFound")

    def _redirect(self, name: str) -> None:
        hub = self.server.hub
        if hub.token and self.headers.get("authorization") != f"Bearer {hub.token}":
            self._say(403 if self.headers.get("authorization") else 401, code="GatedRepo")
            return
        self.send_response(302)
        self.send_header("location", f"{hub.delivery}/deliver/{name}")
        self.send_header("content-length", "0")
        self.end_headers()

    def _deliver(self, name: str) -> None:
        hub = self.server.hub
        content = hub.sends.get(name, hub.files[name])
        start = 0
        if (asked := self.headers.get("range")) and not hub.ignores_ranges:
            start = int(asked.removeprefix("bytes=").partition("-")[0])
        self.send_response(206 if start else 200)
        if start:
            self.send_header("content-range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("content-length", str(len(content) - start))
        self.end_headers()
        if name in hub.large and hub.breaks_after:
            self.wfile.write(content[start : start + hub.breaks_after.pop(0)])
            self.wfile.flush()
            if hub.stalls is not None:
                hub.stalls.wait(30)
            self.close_connection = True
            return
        self.wfile.write(content[start:])

    def _say(self, status: int, content: bytes = b"", code: str = "") -> None:
        self.send_response(status)
        if code:
            self.send_header("x-error-code", code)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: who tests looks at what was asked."""


@contextmanager
def serving(hub: FakeHub) -> Iterator[FakeHub]:
    """On two ports of the loopback."""
    servers = [_Server(hub) for _ in range(2)]
    threads = [threading.Thread(target=each.serve_forever, args=(0.05,)) for each in servers]
    for thread in threads:
        thread.start()
    hub.at, hub.delivery = (f"http://127.0.0.1:{each.server_address[1]}" for each in servers)
    try:
        yield hub
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
        for thread in threads:
            thread.join()


def use(hub: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this process, and those that it starts, take it for the hub."""
    for name, value in {"ENDPOINT": hub.at, "HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": False}.items():
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(cache / "no token"))
    monkeypatch.setenv("HF_ENDPOINT", hub.at)
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
