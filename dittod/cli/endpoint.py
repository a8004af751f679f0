"""A client of the endpoint of this home: how commands ask the daemon that runs here, as any client would.

It knows where the endpoint is, its certificate and its token; not what is asked.
"""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from http.client import HTTPResponse
from typing import Any
from urllib.parse import urlsplit

from dittod.clients.refusal import refusal
from dittod.config import Settings
from dittod.errors import DittodError
from dittod.paths import Home
from dittod.store import Store

EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # where a server listens that takes calls for every address


class Endpoint:
    """Asked over the network, whatever proxies the environment names. Raises DittodError, in the endpoint's words where
    it has some."""

    def __init__(self, url: str, place: Home, settings: Settings) -> None:
        """`url` is without '/v1', as the server says it."""
        self.url = reachable(url)
        self._seconds = settings.request_seconds
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), *_encryption(settings))
        self._headers = {"Content-Type": "application/json", "Authorization": f"Bearer {place.token()}"}

    def post(self, path: str, body: object) -> tuple[Any, Message]:
        """The whole answer, read as JSON, and its headers."""
        with self.posted(path, body) as response:
            return json.load(response), response.headers

    @contextmanager
    def posted(self, path: str, body: object) -> Iterator[HTTPResponse]:
        """An answer that is still to be read, line by line as it comes."""
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), self._headers)
        try:
            with self._opener.open(request, timeout=self._seconds) as response:
                yield response
        except urllib.error.HTTPError as error:
            raise refusal(error) from error
        except OSError as error:
            raise DittodError("the endpoint does not answer", "dittod status tells what it is doing") from error


def running(store: Store, place: Home, settings: Settings) -> Endpoint:
    """That of the process that holds this home. Raises DittodError where it has none."""
    url = store.noted("endpoint").get("url")
    if not url:
        raise DittodError(
            "dittod is at work here without an endpoint: dittod update or dittod ingest, or dittod run is starting",
            "try again when it is done; dittod status shows it",
        )
    return Endpoint(str(url), place, settings)


def reachable(url: str) -> str:
    """The address at which a server is reached from this machine, wherever it listens."""
    address = urlsplit(url)
    host = EVERYWHERE.get(address.hostname or "", address.netloc.rpartition(":")[0])
    return f"{address.scheme}://{host}:{address.port}"


def _encryption(settings: Settings) -> list[urllib.request.HTTPSHandler]:
    """Its own certificate is what the endpoint must show, whichever names stand in it: it is on this machine."""
    if settings.tls_certificate is None:
        return []
    context = ssl.create_default_context(cafile=str(settings.tls_certificate))
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return [urllib.request.HTTPSHandler(context=context)]
