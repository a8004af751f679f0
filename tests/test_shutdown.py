"""The real daemon is told to end while it streams, loads or is held up: everything is over in time, and was said."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
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
HANGING = """
import os, time
from dittod.ingest.folder import Folder
original = Folder.read_settled
def hanging(*arguments):
    while os.path.exists({hung!r}):
        time.sleep(0.1)
    return original(*arguments)
Folder.read_settled = hanging
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
def test_a_stream_an_engine_and_a_thread_that_hang_and_a_locked_store_keep_it_no_longer_together(
    tiny_model: Path, tmp_path: Path
) -> None:
    daemon = DaemonProcess(tmp_path / "home", base_model=str(tiny_model))
    hung = tmp_path / "hung"
    daemon.start(HANGING.format(hung=str(hung)) + START)
    other = sqlite3.connect(daemon.home / "dittod.sqlite", isolation_level=None)
    try:
        with client_of(daemon) as client:
            body = {"model": "base", "prompt": "Hi", "max_tokens": 1}
            assert client.post("/completions", json=body).status_code == 200
            os.kill(daemon.status()["engine"]["pid"], signal.SIGSTOP)
            hung.touch()
            streaming = threading.Thread(target=lambda: list(lines(client)))
            streaming.start()
            other.execute("BEGIN IMMEDIATE")
            time.sleep(0.5)
            begun = time.monotonic()
            assert daemon.kill(signal.SIGTERM) == 0
            assert time.monotonic() - begun < MOST_SECONDS
            streaming.join(10)
        assert_in_peace(daemon)
    finally:
        other.close()
        daemon.kill()


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
def test_a_signal_while_the_keyring_waits_for_its_user_ends_it(daemon: DaemonProcess) -> None:
    daemon.environment |= {"DITTOD_ENCRYPT": "true", "PYTHON_KEYRING_BACKEND": "keyrings.Asking"}
    daemon.environment["PYTHONPATH"] = str(Path(__file__).parent)
    with daemon.output.open("ab") as output:
        command = [sys.executable, "-c", START, "run"]
        daemon.process = subprocess.Popen(command, env=daemon.environment, stdout=output, stderr=output)
    log = daemon.home / "logs" / "dittod.log"
    wait_for(lambda: daemon.ended or (log.exists() and "waiting for the keyring" in log.read_text()), 60)
    begun = time.monotonic()
    assert daemon.kill(signal.SIGTERM) == 0
    assert time.monotonic() - begun < MOST_SECONDS
    assert_in_peace(daemon)


def test_a_signal_before_a_keyring_is_asked_is_heard_there() -> None:
    handlers = {number: signal.getsignal(number) for number in home.SIGNALS}
    try:
        ending = home.Ending()
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(SystemExit) as ended, ending.at_once():
            pytest.fail("it was not heard")
        assert ended.value.code == 0
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


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
    server = SimpleNamespace(should_exit=False, force_exit=False)
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
        ending = home.Ending()
        signal.raise_signal(signal.SIGHUP)
        assert ending.asked == 0
        signal.raise_signal(signal.SIGTERM)
        ending.concerns(server)  # type: ignore[arg-type]
        assert server.should_exit and not server.force_exit
        assert ending.left(1.0) == 1.0
        signal.raise_signal(signal.SIGINT)
        assert server.force_exit and ending.left(1.0) == 0.0
        with pytest.raises(KeyboardInterrupt):
            early = home.Ending()
            early.ask()
            early.ask()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def test_all_that_is_waited_for_at_the_end_shares_one_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(home, "clock", lambda: now[0])
    handlers = {number: signal.getsignal(number) for number in home.SIGNALS}
    try:
        ending = home.Ending()
        assert ending.left(4.0) == 4.0
        signal.raise_signal(signal.SIGTERM)
        now[0] += home.MOST_SECONDS - 2.0
        assert (ending.left(1.0), ending.left(4.0)) == (1.0, 2.0)
        now[0] += 9.0
        assert ending.left(4.0) == 0.0
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


class Draining:
    """A server whose last answers end when the engine has been told of the end."""

    started, should_exit, force_exit = True, False, False
    closed = False

    def close(self) -> None:
        """As the engine."""
        self.closed = True

    async def listen_and_serve(self) -> None:
        while not self.closed:
            await asyncio.sleep(0.01)


def test_a_handler_of_signals_only_sets_flags_and_the_engine_is_told_while_answers_go_on() -> None:
    """The thread that it interrupts may hold a lock that the engine waits for."""
    handlers = {number: signal.getsignal(number) for number in home.SIGNALS}
    server = Draining()
    store = SimpleNamespace(noted=lambda key: {}, patience_seconds=10.0)
    try:
        home.Ending().concerns(server)  # type: ignore[arg-type]
        daemon = SimpleNamespace(engine=server, store=store, threads=[])
        signal.raise_signal(signal.SIGTERM)
        assert server.should_exit and not server.closed
        asyncio.run(asyncio.wait_for(home._serve(server, daemon), 30))  # type: ignore[arg-type]
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert store.patience_seconds < 1.0, "what another process has locked is not waited for"


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
