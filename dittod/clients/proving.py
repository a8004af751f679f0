"""A request exactly as a client's settings say: address, key and model are read back from the texts that were printed
or written. Knows no file of dittod's; what it sends is its own, and what comes back is counted, not kept."""

from __future__ import annotations

import json
import os
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any

from dittod.clients.combining import value_at
from dittod.clients.formats import parsed
from dittod.clients.refusal import refusal
from dittod.clients.shape import VARIABLE, Client, Where
from dittod.errors import DittodError

SECONDS = 120.0  # until a first answer: the model may have to be loaded
MOST_TOKENS = 8
START = "start it: dittod run, or dittod service start"
PROMPT = "Say hello."
_VARIABLE = re.compile(rf"{VARIABLE}\b")


@dataclass(frozen=True, slots=True)
class Asked:
    """What the client will send, as its settings have it."""

    url: str
    key: str
    model: str
    route: str
    origin: str | None


@dataclass(frozen=True, slots=True)
class Heard:
    """What came back."""

    adapter: str  # id of the version that answered; 'base'
    pieces: int  # of text, as they were streamed
    seconds: float


def read_back(client: Client, texts: list[str], token: str) -> Asked:
    """From the texts of the client's parts. `token`: for keys that the client keeps elsewhere."""
    settings = [parsed(part.language, text) for part, text in zip(client.parts, texts, strict=True)]

    def at(where: Where) -> str:
        return str(value_at(settings[where[0]], where[1]))

    proof = client.proof
    address = at(proof.address)
    key = token if proof.key is None else _resolved(at(proof.key), settings, token)
    return Asked(
        url=address if address.endswith(f"/{proof.route}") else f"{address}/{proof.route}",
        key=key,
        model=at(proof.model).removeprefix(proof.prefix),
        route=proof.route,
        origin=client.origins[0].replace("*", "dittod-connect") if client.origins else None,
    )


def ask(asked: Asked, certificate: Path | None) -> Heard:
    """A few words of an answer, streamed. Raises DittodError with the endpoint's own words."""
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {asked.key}"}
    if asked.origin:
        headers["Origin"] = asked.origin
    started = time.monotonic()
    request = urllib.request.Request(asked.url, json.dumps(_body(asked)).encode(), headers)
    try:
        with _opener(certificate).open(request, timeout=SECONDS) as response:
            pieces = sum(1 for _ in _pieces(response))
            adapter = response.headers["x-dittod-adapter"]
    except urllib.error.HTTPError as error:
        raise refusal(error) from error
    except (OSError, HTTPException, ValueError) as error:
        raise _silence(asked, error) from error
    return Heard(adapter or "?", pieces, time.monotonic() - started)


def _resolved(key: str, settings: list[Any], token: str) -> str:
    """A key that names the variable is in another part of the client's, or in the environment; else where the steps say
    that it is put."""
    if not _VARIABLE.search(key):
        return key
    written = [each[VARIABLE] for each in settings if isinstance(each, dict) and VARIABLE in each]
    return str(written[0]) if written else os.environ.get(VARIABLE) or token


def _body(asked: Asked) -> dict[str, Any]:
    common = {"model": asked.model, "stream": True}
    if asked.route == "responses":
        return {**common, "input": PROMPT, "max_output_tokens": MOST_TOKENS, "store": False}
    return {**common, "messages": [{"role": "user", "content": PROMPT}], "max_tokens": MOST_TOKENS}


def _opener(certificate: Path | None) -> urllib.request.OpenerDirector:
    """Past every proxy: the endpoint is on this machine. A certificate has to hold for the address."""
    context = ssl.create_default_context(cafile=str(certificate) if certificate else None)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))


def _pieces(response: HTTPResponse) -> Iterator[str]:
    """Texts of the stream's events. Raises DittodError where it ends with an error."""
    for line in response:
        if not line.startswith(b"data: {"):
            continue
        event = json.loads(line[6:])
        if event.get("error") or event.get("type") == "response.failed":
            raise DittodError("the answer broke off", "dittod status tells what the engine is doing")
        deltas = [choice.get("delta", {}).get("content") for choice in event.get("choices", [])]
        yield from filter(None, [*deltas, event.get("delta") if isinstance(event.get("delta"), str) else None])


def _silence(asked: Asked, error: Exception) -> DittodError:
    if isinstance(getattr(error, "reason", error), ssl.SSLError):
        title = f"the certificate of the endpoint does not hold for {asked.url}"
        return DittodError(title, "put that address into the certificate: the client will look for it, too")
    return DittodError(f"nothing answers at {asked.url}", START)
