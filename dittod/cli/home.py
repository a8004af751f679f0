"""init, run, token: what concerns a home as a whole."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from typing import TYPE_CHECKING

from dittod.cli.terminal import err, out
from dittod.config import Settings, load_settings, watched_folder
from dittod.daemon import Daemon
from dittod.errors import keep_texts_out_of_tracebacks
from dittod.ingest.folder import Folder
from dittod.machine import held
from dittod.paths import Home, home
from dittod.store import Store

if TYPE_CHECKING:
    from dittod_service.server import Server, Terms

SETTINGS_TEMPLATE = """\
# dittod's settings. Each line that is commented out shows a default; docs/settings.md explains all of them.
# identities = ["you@example.org"]   # your own addresses; empty: learnt from the From lines in the folder
# watched_folder = "{watched}"
# base_model = "starter"             # a folder or hub id of a causal model; "starter" is the embedded one
"""


def init() -> None:
    """Safe to call again: what exists is kept."""
    place = home()
    place.create()
    settings = load_settings(place)
    if not place.settings.exists():
        place.settings.write_text(SETTINGS_TEMPLATE.format(watched=watched_folder(settings)))
        place.settings.chmod(0o600)
    store = Store(place.store)
    Folder(watched_folder(settings), store, settings.identities, settings.settle_seconds).prepare()
    store.close()
    place.token()
    out.print(f"settings        {place.settings}", markup=False, soft_wrap=True)
    out.print(f"watched folder  {watched_folder(settings)}", markup=False, soft_wrap=True)
    out.print("next: put sent mails, documents or chat logs into it, then: dittod run")


def run() -> None:
    """Until SIGINT or SIGTERM."""
    place = home()
    place.create()
    log_to_stderr()
    settings = load_settings(place)
    with held(place.lock):
        store = Store(place.store)
        daemon = Daemon(place, settings, store)
        server = endpoint(place, daemon)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: setattr(server, "should_exit", True))
        daemon.start()
        err.print(f"serving {server.url}/v1, watching {daemon.folder.root}", markup=False, soft_wrap=True)
        try:
            asyncio.run(server.listen_and_serve())
        finally:
            daemon.stop()
            store.close()


def endpoint(place: Home, daemon: Daemon) -> Server:
    """The endpoint over a daemon, with its port taken but not yet answering."""
    from dittod.backend import DaemonBackend
    from dittod_service.server import Server

    settings = daemon.settings
    backend = DaemonBackend(daemon.store, settings, daemon.engine)
    token = place.token() if settings.require_token else None
    server = Server(backend, token, host=settings.host, port=settings.port, terms=terms(settings))
    daemon.store.note("endpoint", {"url": server.url})
    return server


def terms(settings: Settings) -> Terms:
    """What the settings say of who is let in, and how far."""
    from dittod_service.app import Limits
    from dittod_service.server import Terms

    certificate, key = settings.tls_certificate, settings.tls_key
    return Terms(
        allowed_hosts=settings.allowed_hosts,
        allowed_origins=settings.allowed_origins,
        tls=(certificate, key) if certificate and key else None,
        unix_socket=settings.unix_socket,
        limits=Limits(answers=settings.max_waiting_answers, request_seconds=settings.request_seconds),
    )


def token() -> None:
    """Made at the first call."""
    place = home()
    place.create()
    sys.stdout.write(place.token() + "\n")


def log_to_stderr() -> None:
    """Times, levels and sentences without content."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    keep_texts_out_of_tracebacks(logging.getLogger("dittod"))
    for name in ("apscheduler", "dittod.scheduler", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.WARNING)
