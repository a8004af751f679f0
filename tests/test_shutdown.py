"""The real daemon is told to end while it streams, loads or is held up: everything is over in time, and was said."""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from daemons import START, DaemonProcess, mail, wait_for

from dittod.cli import home

MOST_SECONDS = 10.0
SIGNAL_AT = """
import os, signal
from dittod.store import Store
original = {moment}
def signalled(*arguments, **options):
    os.kill(os.getpid(), signal.SIGTERM)
    return original(*arguments, **options)
{moment} = signalled
"""
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


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_an_update_that_is_cut_off_goes_on_after_its_last_step(tiny_model: Path, tmp_path: Path) -> None:
    """SIGTERM while it learns: the step in work is finished or lost, the ones before are not taken again."""
    learner = {"supervised_steps": 5000, "supervised_stop_loss": 0}
    daemon = DaemonProcess(
        tmp_path / "home", base_model=str(tiny_model), learner=json.dumps(learner), min_demonstrations="4"
    )
    daemon.environment["DITTOD_CONSIDER_SECONDS"] = "0.3"
    daemon.watched.mkdir(parents=True)
    for number in range(4):
        (daemon.watched / f"{number}.eml").write_bytes(mail(f"Dear Ann, note {number}. Bob", day=number + 1))
    try:
        daemon.start()
        wait_for(lambda: steps(daemon) >= 5, 90)
        begun = time.monotonic()
        assert daemon.kill(signal.SIGTERM) == 0
        assert time.monotonic() - begun < MOST_SECONDS
        taken = steps(daemon)
        (checkpoint,) = (daemon.home / "runs").glob("*/checkpoint-*")
        kept = json.loads((checkpoint / "state.json").read_text())["step"]
        assert taken - 1 <= kept <= taken
        daemon.start()
        wait_for(lambda: steps(daemon) > taken + 5, 90)
        assert daemon.kill(signal.SIGTERM) == 0
        assert_in_peace(daemon)
    finally:
        daemon.kill()


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("moment", ["Store.__init__", "Store.close"])
def test_a_signal_while_it_starts_or_ends_is_heard(daemon: DaemonProcess, moment: str) -> None:
    """At its store's opening it has not served yet; at its closing, a first signal has been heard before."""
    daemon.start(SIGNAL_AT.format(moment=moment) + START)
    number = signal.SIGHUP if moment == "Store.close" else 0
    assert daemon.kill(number) == 0
    assert_in_peace(daemon)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_systemd_is_told_that_it_serves_lives_and_ends(daemon: DaemonProcess, tmp_path: Path) -> None:
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(address))
        systemd.setblocking(False)
        daemon.environment |= {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "1000000"}
        daemon.start()
        heard: list[str] = []
        wait_for(lambda: heard.extend(datagrams(systemd)) or heard.count("WATCHDOG=1") > 2, 30)
        assert daemon.kill(signal.SIGTERM) == 0
        heard += datagrams(systemd)
    assert "READY=1" in heard and heard[-1] == "STOPPING=1"
    assert any(line.startswith("STATUS=waiting: ") for line in heard)


def datagrams(listening: socket.socket) -> list[str]:
    """All that have come."""
    found: list[str] = []
    while True:
        try:
            found.append(listening.recv(4096).decode())
        except BlockingIOError:
            return found


def test_a_second_signal_hurries_and_one_before_there_is_a_server_is_not_forgotten() -> None:
    handlers = {number: signal.getsignal(number) for number in home.SIGNALS}
    server, engine = SimpleNamespace(should_exit=False, force_exit=False), Closed()
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
        ending = home.Ending()
        signal.raise_signal(signal.SIGHUP)
        assert ending.asked == 0
        signal.raise_signal(signal.SIGTERM)
        ending.concerns(server, engine)  # type: ignore[arg-type]
        assert server.should_exit and not server.force_exit and engine.closings == 1
        assert ending.patience_seconds > 0
        signal.raise_signal(signal.SIGINT)
        assert server.force_exit and ending.patience_seconds == 0
        with pytest.raises(KeyboardInterrupt):
            early = home.Ending()
            early.ask()
            early.ask()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


class Closed:
    """An engine that counts how often it is told of the end."""

    closings = 0

    def close(self) -> None:
        self.closings += 1


def steps(daemon: DaemonProcess) -> int:
    """Of the run, as the store has them."""
    with sqlite3.connect(f"file:{daemon.home / 'dittod.sqlite'}?mode=ro", uri=True, timeout=10) as db:
        count = db.execute("SELECT count(*) FROM steps").fetchone()[0]
    db.close()
    return int(count)


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
