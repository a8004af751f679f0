"""demo: the main job, start to end, on twenty-two mails of an invented person, in a home of its own that goes after.

Everything in it is the product: the same daemon, engine, update, gate and endpoint as `dittod run`.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.resources import files
from pathlib import Path

from rich.text import Text

from dittod import runs
from dittod.cli.compare import Ask, Question, at_endpoint, print_answers
from dittod.cli.endpoint import Endpoint
from dittod.cli.home import endpoint
from dittod.cli.terminal import out, progress_bars
from dittod.cli.update import daemon_here, follow, report
from dittod.config import Settings, load_settings
from dittod.paths import Home, home
from dittod.store import Store

REQUEST = Question('Write an e-mail to Tom about "The broken window".', seed=7, temperature=0.6, max_tokens=200)


def demo(*, once: bool) -> None:
    """Learn, compare, serve. With `once` it ends when the comparison has been answered by the endpoint."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as stack:
        place, settings = stack.enter_context(_own_home())
        store = Store(place.store)
        stack.callback(store.close)
        out.print("Twenty-two mails of Odile, who keeps a library as she once kept a ship, go into a watched folder:\n")
        out.print(Text(_one_mail(settings), style="italic"))
        with progress_bars() as bars:
            daemon = stack.enter_context(daemon_here(place, settings, store, bars))
            url = stack.enter_context(_serving(endpoint(place, daemon)))
            run = follow(store, runs.request(store, settings, "default", by_hand=True), bars, place)
        report(place, run, as_json=False)
        made = store.adapter(run.adapter_id or "")
        _compare(at_endpoint(Endpoint(url, place, settings)), "ditto" if made.state == "promoted" else made.name)
        if not once:
            _stay(url, place)


@contextmanager
def _own_home() -> Iterator[tuple[Home, Settings]]:
    """A private folder for this demo's state, removed at the end, whatever DITTOD_HOME says."""
    folder = tempfile.mkdtemp(prefix="dittod-demo-")
    for name in [name for name in os.environ if name.startswith("DITTOD_") and name != "DITTOD_PORT"]:
        del os.environ[name]  # the user's own folder and settings are not the demo's
    os.environ.update(DITTOD_HOME=folder, DITTOD_SETTLE_SECONDS="0.5")
    os.environ.setdefault("DITTOD_PORT", "3488" if _is_free(3488) else "0")
    place = home()
    place.create()
    place.watched.mkdir(mode=0o700)
    for mail in files("dittod.cli").joinpath("demo_mails").iterdir():
        (place.watched / mail.name).write_bytes(mail.read_bytes())
    try:
        yield place, load_settings(place)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _serving(server: object) -> Iterator[str]:
    """The endpoint in a thread, for the length of the block; gives its address."""
    from dittod_service.server import Server

    assert isinstance(server, Server)
    thread = threading.Thread(target=lambda: asyncio.run(server.listen_and_serve()), name="endpoint")
    thread.start()
    try:
        yield server.url
    finally:
        server.should_exit = True
        thread.join()


def _one_mail(settings: Settings) -> str:
    folder = settings.watched_folder
    assert folder is not None
    first = sorted(Path(folder).glob("*.eml"))[0]
    return first.read_text().split("\n\n", 1)[1]


def _compare(ask: Ask, learnt: str) -> None:
    """The same request to the base model and to what was learnt, served or not; answered by the endpoint."""
    out.print(f"\nThe same request to both: {REQUEST.prompt}\n", markup=False)
    print_answers([ask(model, REQUEST) for model in ("base", learnt)])


def _stay(url: str, place: Home) -> None:
    """Serve until Ctrl-C."""
    body = json.dumps(
        {"model": "ditto", "messages": [{"role": "user", "content": "Write an e-mail to Anna about tea."}]}
    )
    out.print("\nServing. Ask it yourself:\n", markup=False)
    curl = f"curl {url}/v1/chat/completions -H 'Authorization: Bearer {place.token()}' -d '{body}'"
    out.print(curl, markup=False, soft_wrap=True)
    out.print(
        f"\nDrop more mails into {place.watched}; Ctrl-C ends the demo and removes it.", markup=False, soft_wrap=True
    )
    while True:
        time.sleep(3600)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
