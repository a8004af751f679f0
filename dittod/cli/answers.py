"""Answers word by word: from the endpoint of a running daemon, as any client would have them; where none runs, from an
engine of this process, and nothing is learnt meanwhile.

Knows nothing of recipes: a name is resolved by whoever answers.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException

from dittod.backend import DaemonBackend
from dittod.cli.endpoint import Endpoint, running
from dittod.config import Settings, load_settings
from dittod.daemon import Daemon
from dittod.engine.protocol import AnswerEvent, Delta, Finished, Generate, Sampling
from dittod.errors import DittodError
from dittod.logs import log_to_file
from dittod.machine.lock import held, holder
from dittod.paths import Home
from dittod.store import Store
from dittod.types import BASE, DEFAULT_PROFILE, VOICE, Message, alias_of, model_of

STANDS_IN = "no adapter is promoted and usable, answered by base"  # as the endpoint's note has it


@dataclass(frozen=True, slots=True)
class Began:
    """Who answers: id of a version, or 'base'; with a remark on that, if there is one."""

    adapter: str
    note: str


@dataclass(frozen=True, slots=True)
class Ended:
    """Why there is no more of it, in OpenAI's terms: 'stop', 'length'."""

    reason: str


Said = Began | str | Ended
Say = Callable[[str, Sequence[Message], Sampling], Generator[Said]]


@contextmanager
def opened(place: Home) -> Iterator[Say]:
    """Whoever answers for this home. Raises DittodError where it is held by a process that does not."""
    settings = load_settings(place)
    with ExitStack() as stack:
        store = Store(place.store)
        stack.callback(store.close)
        if holder(place.lock) is None:
            yield stack.enter_context(_engine_here(place, settings, store))
        else:
            yield at_endpoint(running(store, place, settings))


def only_voice(place: Home) -> str:
    """The default profile's alias, or that of the only other one where there is no default profile."""
    store = Store(place.store)
    profiles = store.profiles()
    store.close()
    if DEFAULT_PROFILE in profiles or not profiles:
        return VOICE
    voices = [alias_of(each) for each in profiles]
    if len(voices) > 1:
        raise DittodError("there are several voices", f"say which: {', '.join(voices)}")
    return voices[0]


def as_listed(name: str) -> str:
    """Versions may be called as every other command calls them."""
    return model_of(name) if "@" in name and not name.startswith(f"{VOICE}/") else name


def at_endpoint(endpoint: Endpoint) -> Say:
    """The voices that a running daemon serves."""

    def say(model: str, messages: Sequence[Message], sampling: Sampling) -> Generator[Said]:
        body = {
            "model": as_listed(model),
            "messages": [{"role": each.role, "content": each.content} for each in messages],
            "temperature": sampling.temperature,
            "seed": sampling.seed,
            "max_tokens": sampling.max_tokens,
            "stream": True,
        }
        try:
            with endpoint.posted("/v1/chat/completions", body) as response:
                yield Began(response.headers["x-dittod-adapter"], response.headers["x-dittod-note"] or "")
                yield from _read(response)
        except HTTPException as error:
            raise _broken_off() from error

    return say


def _read(lines: Iterator[bytes]) -> Iterator[str | Ended]:
    """The server-sent events of an answer. One that has no end has broken off."""
    for line in lines:
        data = line.removeprefix(b"data: ").strip() if line.startswith(b"data: ") else b""
        if data == b"[DONE]":
            return
        if data:
            yield from _pieces(json.loads(data))
    raise _broken_off()


def _broken_off() -> DittodError:
    return DittodError("the answer broke off", "dittod status tells what became of the engine")


def _pieces(chunk: dict[str, object]) -> Iterator[str | Ended]:
    match chunk:
        case {"error": {"message": str(message)}}:
            title, _, hint = message.partition(". ")
            raise DittodError(title, hint)
        case {"choices": [{"delta": {"content": str(text)}, "finish_reason": None}]}:
            yield text
        case {"choices": [{"finish_reason": str(reason)}]}:
            yield Ended(reason)


@contextmanager
def _engine_here(place: Home, settings: Settings, store: Store) -> Iterator[Say]:
    """In this process, for the length of the block."""
    with held(place.lock), asyncio.Runner() as runner:
        log_to_file(place)
        engine = Daemon(place, settings, store).engine
        backend = DaemonBackend(store, settings, engine)
        try:
            yield partial(_say_here, backend, runner)
        finally:
            engine.stop()


def _say_here(
    backend: DaemonBackend, runner: asyncio.Runner, model: str, messages: Sequence[Message], sampling: Sampling
) -> Generator[Said]:
    served = backend.resolve(as_listed(model))
    yield Began(served.adapter.id, "") if served.adapter else Began(BASE, "" if model == BASE else STANDS_IN)
    events = backend.answer(
        Generate(
            id=secrets.token_hex(6),
            adapter=served.adapter,
            sampling=sampling,
            messages=tuple(messages),
            profile=served.profile,
        )
    )
    while (event := runner.run(_next(events))) is not None:  # a Ctrl-C ends `events`, and with it the engine's work
        if isinstance(event, Delta) and event.channel == "content":
            yield event.text
        elif isinstance(event, Finished):
            yield Ended(event.finish_reason)


async def _next(events: AsyncIterator[AnswerEvent]) -> AnswerEvent | None:
    return await anext(events, None)
