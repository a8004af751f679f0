"""The real daemon is told to end while it streams, loads or is held up: everything is over in time, and was said."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from daemons import DaemonProcess, wait_for

MOST_SECONDS = 10.0
LONG = {
    "model": "base",
    "messages": [{"role": "user", "content": "Tell me a story."}],
    **{"n": 8, "max_tokens": 2000, "temperature": 2.0, "stream": True},
}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    made = DaemonProcess(tmp_path / "home", tls_certificate="", unix_socket="endpoint")
    yield made
    made.kill()


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_a_stream_is_told_of_the_end_and_the_daemon_is_gone_in_time(daemon: DaemonProcess) -> None:
    daemon.start()
    told: list[str] = []
    with client_of(daemon) as client:
        body = {"model": "base", "prompt": "Hi", "max_tokens": 1}
        assert client.post("/completions", json=body).status_code == 200  # the engine has loaded now
        streaming = threading.Thread(target=lambda: told.extend(lines(client)))
        streaming.start()
        wait_for(lambda: len(told) > 20, 30)
        begun = time.monotonic()
        assert daemon.kill(signal.SIGTERM) == 0
        assert time.monotonic() - begun < MOST_SECONDS
        streaming.join(10)
    assert told[-1] == "data: [DONE]" or json.loads(told[-1].removeprefix("data: "))["error"]["code"] == "shutting_down"
    assert_in_peace(daemon)


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_an_engine_that_is_loading_and_clients_that_dawdle_do_not_keep_the_daemon(daemon: DaemonProcess) -> None:
    daemon.start()
    answers: list[httpx.Response] = []
    with client_of(daemon) as client, client_of(daemon) as dawdling:
        asking = threading.Thread(target=lambda: answers.append(client.post("/chat/completions", json=LONG)))
        slow = threading.Thread(target=lambda: answers.append(dawdling.post("/chat/completions", content=drip())))
        asking.start()
        slow.start()
        wait_for(lambda: daemon.status()["engine"]["state"] != "stopped", 10)
        begun = time.monotonic()
        assert daemon.kill(signal.SIGTERM) == 0
        assert time.monotonic() - begun < MOST_SECONDS
        asking.join(10)
        slow.join(10)
    assert [answer.status_code for answer in answers if answer.status_code not in (200, 503)] == []
    assert_in_peace(daemon)


def client_of(daemon: DaemonProcess) -> httpx.Client:
    token = daemon.cli("token").stdout.strip()
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    return httpx.Client(base_url=daemon.status()["endpoint"], headers=headers, timeout=60)


def lines(client: httpx.Client) -> Iterator[str]:
    with client.stream("POST", "/chat/completions", json=LONG) as response:
        yield from (line for line in response.iter_lines() if line)


def drip() -> Iterator[bytes]:
    """A body that takes half a minute."""
    for _ in range(300):
        yield b" "
        time.sleep(0.1)


def assert_in_peace(daemon: DaemonProcess) -> None:
    log = daemon.output.read_text()
    assert "Traceback" not in log and "not caught" not in log, log
    assert not (daemon.home / "endpoint").exists()
