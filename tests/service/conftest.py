"""The endpoint in the forms in which tests need it: as an application, and as a real server in a thread."""

from __future__ import annotations

import asyncio
import logging
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from dittod_service.app import Limits, create_app
from dittod_service.server import Server

from .dashboards import FakeDashboard
from .fakes import FakeBackend

TOKEN = "a-token-of-this-test"
BEARER = {"authorization": f"Bearer {TOKEN}"}
JSON = {"content-type": "application/json"}

Ask = Callable[..., httpx.Response]


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
def app(backend: FakeBackend) -> Starlette:
    return create_app(backend, TOKEN, limits=Limits(body_bytes=100_000, keep_alive_seconds=0.05))


@pytest.fixture
def dashboard() -> FakeDashboard:
    return FakeDashboard()


@pytest.fixture
def ask(app: Starlette) -> Ask:
    """One request to the application without a network, with the right token unless told otherwise."""

    def one(method: str, path: str, *, headers: dict[str, str] | None = None, **given: object) -> httpx.Response:
        async def request() -> httpx.Response:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:3488") as client:
                return await client.request(method, path, headers=BEARER | JSON | (headers or {}), **given)

        return asyncio.run(request())

    return one


@pytest.fixture
def server(backend: FakeBackend) -> Iterator[Server]:
    """A real server on a free port."""
    server = Server(backend, TOKEN, port=0)
    thread = threading.Thread(target=lambda: asyncio.run(server.listen_and_serve()))
    thread.start()
    yield server
    server.should_exit = True
    thread.join(15)
    assert not thread.is_alive()


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """For 127.0.0.1, signed by itself, and its key."""
    return _certificate(tmp_path)


@pytest.fixture
def encrypted(tmp_path: Path) -> tuple[Path, Path]:
    """The same, with a password on its key."""
    return _certificate(tmp_path, "-passout", "pass:secret")


def _certificate(folder: Path, *password: str) -> tuple[Path, Path]:
    """Made by OpenSSL's program. Skips the test where there is none."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the program openssl")
    made, key = folder / "certificate.pem", folder / "key.pem"
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", *(password or ("-nodes",))]
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    command = [openssl, "req", "-x509", *kind, *subject, "-out", str(made), "-keyout", str(key)]
    subprocess.run(command, check=True, capture_output=True)
    key.chmod(0o600)
    return made, key


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], None]:
    """Wait until something is true; fail after two seconds."""

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 2
        while not condition():
            assert time.monotonic() < deadline, "it never became true"
            time.sleep(0.01)

    return wait


@pytest.fixture(autouse=True)
def every_log_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
