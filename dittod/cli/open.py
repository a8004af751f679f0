"""open: the dashboard in a browser, signed in by a link that works once.

A browser that is started with an address shows it to everybody who may list processes, for as long as that takes; what
is printed is seen by nobody else. It knows nothing of what the dashboard shows.
"""

from __future__ import annotations

import os
import socket
import sys
import webbrowser
from collections.abc import Mapping
from urllib.parse import urlsplit

from dittod.cli.endpoint import Endpoint, running
from dittod.cli.opened import opened
from dittod.cli.terminal import err, out
from dittod.errors import DittodError
from dittod.machine.lock import holder

SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")  # variables that say where a browser could show itself


def open_dashboard(*, printed: bool) -> None:
    """In the user's browser, or as a link to be pasted into one."""
    with opened() as (place, settings, store):
        if holder(place.lock) is None:
            raise DittodError("dittod is not running", "start it: dittod run, or dittod service start; then again")
        endpoint = running(store, place, settings)
    link, minutes = sign_in_link(endpoint)
    if not printed and has_screen(os.environ, sys.platform) and webbrowser.open(link):
        err.print(f"opened {endpoint.url} in your browser; if nothing shows: dittod open --print", soft_wrap=True)
        return
    out.print(link, markup=False, soft_wrap=True)
    err.print(f"open this in a browser of this machine, once, within {minutes} minutes", style="dim")
    if "SSH_CONNECTION" in os.environ:
        err.print(f"from another machine, first: {tunnel(endpoint.url)}", style="dim", soft_wrap=True)


def sign_in_link(endpoint: Endpoint) -> tuple[str, int]:
    """A new one, and for how many minutes it is good. The code stands where browsers send it to nobody."""
    told, _ = endpoint.post("/dashboard/link", {})
    return f"{endpoint.url}/#sign-in={told['code']}", told["expires_in"] // 60


def has_screen(environment: Mapping[str, str], platform: str) -> bool:
    """Whether a browser would show itself to the person who types here."""
    if "SSH_CONNECTION" in environment:
        return False
    return platform in ("darwin", "win32") or any(environment.get(name) for name in SCREENS)


def tunnel(url: str) -> str:
    """What to type on the other machine. The port must be the same there: the link names it."""
    port = urlsplit(url).port
    return f"ssh -L {port}:127.0.0.1:{port} {socket.gethostname()}"
