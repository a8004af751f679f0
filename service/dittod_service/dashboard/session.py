"""Signing in: a one-time code that a program with the token asks for becomes the session of a browser.

A session has two halves, which a browser keeps in two places: a cookie, which no script can read, and a key that the
page sends as a header. Cookies go to all ports of a host, so one alone would do for pages of other programs there.
Both are made from the token and an expiry: nothing is kept, they outlive the daemon, and with another token they are
void. It knows headers and the clock, and no path.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from starlette.requests import cookie_parser

from dittod_service.openai.errors import Failure, Refused

COOKIE = "dittod_session"
PAGE_HEADER = "x-dittod-page"
SESSION_SECONDS = 30 * 24 * 3600
CODE_SECONDS = 120
MOST_CODES = 4  # at once: the oldest gives way
MOST_TRIES = 5  # wrong ones, then no code that was there counts any more
NOT_SIGNED_IN = "You are not signed in: `dittod open` opens the dashboard with a link that signs you in"

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Session:
    """Both halves."""

    cookie: str
    page_key: str


@dataclass(frozen=True, slots=True)
class _Code:
    digest: bytes  # of the code, which is kept nowhere
    until: float  # POSIX seconds
    tries: int = 0  # wrong ones since it was made


class Sessions:
    """Codes, until they are used or too old; and sessions, each of which proves itself."""

    def __init__(self, token: str, clock: Clock = time.time) -> None:
        self._key = hmac.digest(token.encode(), b"dittod: sessions of the dashboard", "sha256")
        self._clock = clock
        self._codes: tuple[_Code, ...] = ()

    def code(self) -> str:
        """A new code, good for one sign-in within the next two minutes."""
        made = secrets.token_urlsafe(32)
        fresh = _Code(_digest(made), self._clock() + CODE_SECONDS)
        self._codes = (*self._live(), fresh)[-MOST_CODES:]
        return made

    def sign_in(self, code: str) -> Session:
        """Takes a code. Raises Refused for one that was used, is too old, or never was."""
        live, digest = self._live(), _digest(code)
        self._codes = tuple(each for each in live if not hmac.compare_digest(each.digest, digest))
        if len(self._codes) < len(live):
            return self._made()
        tried = (replace(each, tries=each.tries + 1) for each in live)
        self._codes = tuple(each for each in tried if each.tries < MOST_TRIES)
        raise Refused(signed_out("This link was used, or is too old: `dittod open` makes another one"))

    def hold(self, headers: Mapping[str, str]) -> bool:
        """Whether both halves of one session are there."""
        stub = self._stub(headers)
        given = headers.get(PAGE_HEADER, "").encode("latin-1", "replace")
        return stub is not None and hmac.compare_digest(given, self._proof("page", stub).encode())

    def holds_cookie(self, headers: Mapping[str, str]) -> bool:
        """Whether the half is there that browsers send by themselves."""
        return self._stub(headers) is not None

    def _live(self) -> tuple[_Code, ...]:
        return tuple(each for each in self._codes if each.until > self._clock())

    def _made(self) -> Session:
        stub = f"{int(self._clock()) + SESSION_SECONDS}.{secrets.token_hex(16)}"
        return Session(f"{stub}.{self._proof('cookie', stub)}", self._proof("page", stub))

    def _stub(self, headers: Mapping[str, str]) -> str | None:
        """Expiry and nonce of a cookie of ours that still counts."""
        stub, _, proof = cookie_parser(headers.get("cookie", "")).get(COOKIE, "").rpartition(".")
        if not hmac.compare_digest(proof.encode(), self._proof("cookie", stub).encode()):
            return None
        return stub if int(stub.partition(".")[0]) > self._clock() else None

    def _proof(self, half: str, stub: str) -> str:
        return hmac.new(self._key, f"{half}:{stub}".encode(), "sha256").hexdigest()


def signed_out(message: str = NOT_SIGNED_IN) -> Failure:
    """What a browser is told that has no session."""
    headers = {"www-authenticate": "Bearer"}
    return Failure(401, message, "invalid_request_error", code="signed_out", headers=headers)


def _digest(code: str) -> bytes:
    return hashlib.sha256(code.encode()).digest()
