"""compare: two versions are asked the same, and their answers stand side by side.

A running daemon is asked at its endpoint, as any client would; where none runs, an engine of this process answers, and
nothing is learnt meanwhile. Knows nothing of recipes: a name is resolved by whoever answers.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

from dittod.backend import DaemonBackend
from dittod.cli.side_by_side import print_side_by_side
from dittod.cli.terminal import err, print_json
from dittod.config import Settings, load_settings
from dittod.daemon import Daemon
from dittod.engine.protocol import Delta, Finished, Generate, Sampling
from dittod.errors import DittodError, EngineUnavailable
from dittod.logs import log_to_file
from dittod.machine.lock import held, holder
from dittod.paths import Home, home
from dittod.store import Store
from dittod.types import DEFAULT_PROFILE, Message

TEMPERATURE = 0.7  # as the gate's: below 1, as most clients sample
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # where a server listens that takes calls for every address
CUT = "length"
BASE = "base"


@dataclass(frozen=True, slots=True)
class Question:
    """What both are asked, with how their words are drawn."""

    prompt: str
    seed: int
    temperature: float = TEMPERATURE
    max_tokens: int | None = None  # None: as many as fit the model


@dataclass(frozen=True, slots=True)
class Answer:
    """What one of them says."""

    model: str  # as it was asked for
    adapter: str  # id of the version that answered; 'base'
    text: str
    finish_reason: str


Ask = Callable[[str, Question], Answer]


def compare(prompt: str, one: str, other: str | None, *, seed: int | None, as_json: bool) -> None:
    """With the same seed for both; one that nobody named is said, so that the answers can be had again. `other`: None
    is the only voice that there is."""
    if not prompt.strip():
        raise DittodError("there is nothing to ask", "give a prompt")
    place = home()
    place.create()
    other = other or _only_voice(place)
    question = Question(prompt, secrets.randbelow(2**31) if seed is None else seed)
    with opened(place) as ask:
        answers = [_asked(ask, model, question) for model in (one, other)]
    if as_json:
        print_json({"prompt": prompt, "seed": question.seed, "answers": [asdict(each) for each in answers]})
        return
    print_answers(answers)
    err.print(f"\nthe same again: --seed {question.seed}", style="dim")


def print_answers(answers: list[Answer]) -> None:
    """Each under the name that was asked for."""
    print_side_by_side([(_title(each), each.text) for each in answers])


@contextmanager
def opened(place: Home) -> Iterator[Ask]:
    """Whoever answers for this home. Raises DittodError where it is held by a process that does not."""
    settings = load_settings(place)
    with ExitStack() as stack:
        store = Store(place.store)
        stack.callback(store.close)
        if holder(place.lock) is None:
            yield stack.enter_context(_engine_here(place, settings, store))
            return
        url = store.noted("endpoint").get("url")
        if not url:
            raise DittodError(
                "dittod is at work here without an endpoint: dittod update or dittod ingest, or dittod run is starting",
                "try again when it is done; dittod status shows it",
            )
        yield at_endpoint(str(url), place, settings)


def at_endpoint(url: str, place: Home, settings: Settings) -> Ask:
    """A client of the endpoint of this machine. `url` is without '/v1'."""
    address = urlsplit(url)
    host = EVERYWHERE.get(address.hostname or "", address.netloc.rpartition(":")[0])
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), *_encryption(settings))
    headers = {"Content-Type": "application/json"}
    if settings.require_token:
        headers["Authorization"] = f"Bearer {place.token()}"

    def ask(model: str, question: Question) -> Answer:
        body = {**asdict(question), "model": _as_listed(model)}
        body["messages"] = [{"role": "user", "content": body.pop("prompt")}]
        target = f"{address.scheme}://{host}:{address.port}/v1/chat/completions"
        request = urllib.request.Request(target, json.dumps(body).encode(), headers)
        try:
            with opener.open(request, timeout=settings.request_seconds) as response:
                (choice,) = json.load(response)["choices"]
                adapter = response.headers["x-dittod-adapter"]
        except urllib.error.HTTPError as error:
            raise _refusal(error) from error
        except OSError as error:
            raise DittodError("the endpoint does not answer", "dittod status tells what it is doing") from error
        return Answer(model, adapter, choice["message"]["content"] or "", choice["finish_reason"])

    return ask


@contextmanager
def _engine_here(place: Home, settings: Settings, store: Store) -> Iterator[Ask]:
    """In this process, for the length of the block."""
    with held(place.lock):
        log_to_file(place)
        engine = Daemon(place, settings, store).engine
        backend = DaemonBackend(store, settings, engine)
        try:
            yield lambda model, question: asyncio.run(_answer(backend, model, question))
        finally:
            engine.stop()


async def _answer(backend: DaemonBackend, model: str, question: Question) -> Answer:
    served = backend.resolve(_as_listed(model))
    request = Generate(
        id=secrets.token_hex(6),
        adapter=served.adapter,
        sampling=Sampling(temperature=question.temperature, seed=question.seed, max_tokens=question.max_tokens),
        messages=(Message("user", question.prompt),),
        profile=served.profile,
    )
    text, ended = "", ""
    async for event in backend.answer(request):
        if isinstance(event, Delta) and event.channel == "content":
            text += event.text
        elif isinstance(event, Finished):
            ended = event.finish_reason
    return Answer(model, served.adapter.id if served.adapter else BASE, text, ended)


def _only_voice(place: Home) -> str:
    """The default profile's alias, or that of the only other one where there is no default profile."""
    store = Store(place.store)
    profiles = store.profiles()
    store.close()
    if DEFAULT_PROFILE in profiles or not profiles:
        return "ditto"
    voices = [f"ditto/{each}" for each in profiles]
    if len(voices) > 1:
        raise DittodError("there are several voices", f"say which, after base: {', '.join(voices)}")
    return voices[0]


def _asked(ask: Ask, model: str, question: Question) -> Answer:
    with err.status(f"{model} writes"):
        return ask(model, question)


def _as_listed(name: str) -> str:
    """Versions may be called as every other command calls them."""
    return f"ditto/{name}" if "@" in name and not name.startswith("ditto/") else name


def _title(answer: Answer) -> str:
    by_base = " (answered by base)" if answer.adapter == BASE != answer.model else ""
    return f"{answer.model}{by_base}{', cut at the limit' if answer.finish_reason == CUT else ''}"


def _encryption(settings: Settings) -> list[urllib.request.HTTPSHandler]:
    """Its own certificate is what the endpoint must show, whichever names stand in it: it is on this machine."""
    if settings.tls_certificate is None:
        return []
    context = ssl.create_default_context(cafile=str(settings.tls_certificate))
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return [urllib.request.HTTPSHandler(context=context)]


def _refusal(error: urllib.error.HTTPError) -> DittodError:
    """In the endpoint's own words."""
    try:
        message = str(json.load(error)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = f"the endpoint refuses: {error.code} {error.reason}"
    title, _, hint = message.partition(". ")
    return EngineUnavailable(title, hint) if error.code == 503 else DittodError(title, hint)
