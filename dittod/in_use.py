"""What the guards see while a version is in use, and what follows: a version that goes astray is rolled back.

The gate has seen a version answer a handful of prompts. Here every answer to a plain conversation is looked at when it
ends, and of it is kept which guards it tripped, never a word. Of the latest answers to different prompts, a guard may
take the same share as in the gate; a secret of the user's list that is given away twice is decisive. Then the profile
serves what it served before, at once, and a note in the store says so: `store.noted("rolled_back")`, by profile,
{"version", "at", "guard", "served", "sentence"} of the latest, and "versions": all that it was done to. Who promotes
one of these again by hand means it: it stays.

Answers that are the client's doing count for nothing: with odd sampling, a limit, tools or a form to fit. What only
looks like a secret does not count here either: people ask for an example of a card number. Judging takes milliseconds
and happens in a thread of its own. Knows nothing of HTTP.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from dittod import adapters
from dittod.config import Settings
from dittod.engine.protocol import Accepted, AnswerEvent, Delta, Finished, Generate, Sampling
from dittod.errors import DittodError, EngineUnavailable, RequestError, place_of
from dittod.judge.guards import GUARDS, TOLERATED_SHARE, Learnt, Output, holds_secret, loops, words
from dittod.judge.particulars import given_away
from dittod.signals import ROLLED_BACK
from dittod.store import Store
from dittod.types import Adapter

log = logging.getLogger("dittod")

LATEST = 20  # answers that are weighed
LEAST = 8  # before any share means something: 3 of 8 is above the gate's quarter
SECRETS = 2  # one may be chance: a word that the user has listed, and means otherwise
ENDLESS_TOKENS = 256  # a shorter answer that was cut had no room: the conversation has filled the context
MOST_TEXTS = 500  # of the profile, the newest: what may stand in a prompt, or was learnt
FAILURES = "failures"
_COMPLAINTS = {each.name: each.complaint for each in GUARDS} | {FAILURES: "fail in the engine"}


@dataclass(frozen=True, slots=True)
class _Answer:
    """What is kept of one."""

    prompt: int  # a hash that means nothing outside of this process
    tripped: frozenset[str]


class InUse:
    """Listens to every answer, one event after the other."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._judging = ThreadPoolExecutor(1, "in-use")
        self._open: dict[str, list[str]] = {}  # by request: its first answer so far
        self._latest: dict[str, list[_Answer]] = {}  # by version
        self._private: dict[str, tuple[int, list[frozenset[str]]]] = {}  # by version: its texts' particulars

    def heard(self, request: Generate, event: AnswerEvent) -> None:
        """Something of an answer has come. Of several answers to one prompt, the first counts."""
        match event:
            case Delta(index=0, channel="content"):
                if (pieces := self._open.get(request.id)) is not None:
                    pieces.append(event.text)
            case Accepted():
                if counts(request):
                    self._open[request.id] = []
                    self._let_go_of_the_oldest()
            case Finished(index=0):
                if (pieces := self._open.pop(request.id, None)) is not None:
                    self._judging.submit(self._quietly, request, "".join(pieces), event)

    def left(self, request: Generate) -> None:
        """Nobody waits for the rest of it."""
        self._open.pop(request.id, None)

    def failed(self, request: Generate, error: DittodError, set_aside: Collection[str]) -> None:
        """No answer came. `set_aside`: versions that the engine kept dying of."""
        self.left(request)
        if counts(request) and not isinstance(error, RequestError | EngineUnavailable):
            self._judging.submit(self._quietly, request, "", None)
        elif request.adapter is not None and request.adapter.id in set_aside:
            self._judging.submit(self._quietly, request, "", None, fatal=True)

    def _let_go_of_the_oldest(self) -> None:
        """More cannot be open: the oldest were left by their clients."""
        while len(self._open) > self._settings.max_waiting_answers:
            del self._open[next(iter(self._open))]

    def _quietly(self, request: Generate, text: str, ended: Finished | None, *, fatal: bool = False) -> None:
        """In the thread: a fault is logged by its place, and the next answer tries again."""
        try:
            self._weigh(request, text, ended, fatal=fatal)
        except Exception as error:
            log.error("an answer in use could not be judged: %s", place_of(error))

    def _weigh(self, request: Generate, text: str, ended: Finished | None, *, fatal: bool) -> None:
        assert request.adapter is not None
        version = self._served(request)
        if version is None or self._stays(version):
            self._latest.pop(request.adapter.id, None)
            return
        tripped = frozenset([FAILURES]) if ended is None else self._tripped(request, version, text, ended)
        if tripped is None:
            return
        answer = _Answer(hash(request.messages), tripped)
        others = [each for each in self._latest.get(version.id, ()) if each.prompt != answer.prompt]
        self._latest[version.id] = latest = [*others, answer][-LATEST:]
        guard = FAILURES if fatal else decisive([each.tripped for each in latest])
        if guard is not None:
            self._roll_back(version, guard)

    def _served(self, request: Generate) -> Adapter | None:
        """The version that answers, if it is what its profile's alias serves."""
        served = adapters.promoted(self._store, request.profile)
        return served if served is not None and request.adapter and served.id == request.adapter.id else None

    def _stays(self, version: Adapter) -> bool:
        """Whether it was rolled back before, and promoted again by hand."""
        return version.name in self._rolled_back(version.profile)

    def _rolled_back(self, profile: str) -> list[str]:
        """Every version that was, by itself."""
        return list(self._store.noted(ROLLED_BACK).get(profile, {}).get("versions", ()))

    def _tripped(self, request: Generate, version: Adapter, text: str, ended: Finished) -> frozenset[str] | None:
        """Names of guards; None: the answer says nothing about the version."""
        if ended.finish_reason == "length" and ended.tokens < ENDLESS_TOKENS:
            return None
        asked = "\n".join(each.content for each in request.messages or ())
        said, output = words(text), Output(text, ended.finish_reason != "length", asked)
        found = {
            "empty": not said and output.ended,
            "endless": not output.ended,
            "loops": loops(said),
            "leaks": bool(given_away(text, asked, self._particulars(version))),
            "secrets": holds_secret(output, self._settings.secrets),
        }
        return frozenset(name for name, is_so in found.items() if is_so)

    def _particulars(self, version: Adapter) -> list[frozenset[str]]:
        """Of the texts that the version has learnt from and of the others: what stands in several is the user's to
        give. Where they may stand in its prompt, they are read again when the profile has others."""
        count = self._store.count_demonstrations(version.profile) if version.recipe.examples else 0
        if self._private.get(version.id, (-1, []))[0] != count:
            texts = {each.id: each for each in self._store.demonstrations(version.profile, newest=MOST_TEXTS)}
            texts |= self._store.demonstrations_of(version.profile, version.demonstration_ids)
            self._private = {version.id: (count, Learnt(each.completion for each in texts.values()).private)}
        return self._private[version.id][1]

    def _roll_back(self, version: Adapter, guard: str) -> None:
        with self._store.together():
            served = adapters.promoted(self._store, version.profile)
            if served is None or served.id != version.id:  # somebody else was faster
                return
            before = adapters.roll_back(self._store, version.profile)
            now = "base" if before is None else before.name
            sentence = f"Too many answers of version {version.name} {_COMPLAINTS[guard]}: {now} answers again."
            told = {"version": version.name, "at": time.time(), "guard": guard, "served": now, "sentence": sentence}
            told["versions"] = [*self._rolled_back(version.profile), version.name]
            self._store.note(ROLLED_BACK, {**self._store.noted(ROLLED_BACK), version.profile: told})
        self._latest.pop(version.id, None)
        log.warning("rolled back by itself: %s", sentence)


def counts(request: Generate) -> bool:
    """Whether an answer says something about the version: a plain conversation, sampled about as the gate does it."""
    is_chat = request.messages is not None and not request.tools and request.json_schema is None and not request.echo
    return is_chat and request.adapter is not None and bool(request.profile) and is_usual(request.sampling)


def is_usual(sampling: Sampling) -> bool:
    """Whether the client left sampling alone, but for a temperature that neither raves nor always says the likeliest:
    at 0 small models repeat themselves, base too."""
    cut_little = (not sampling.top_k or sampling.top_k >= 10) and sampling.top_p >= 0.5 and sampling.min_p <= 0.2
    free: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "seed": None, "logprobs": None}
    return 0.3 <= sampling.temperature <= 1.2 and cut_little and replace(sampling, **free) == Sampling()


def decisive(latest: Collection[frozenset[str]]) -> str | None:
    """The guard that these answers trip together, if any."""
    count = Counter(name for tripped in latest for name in tripped)
    if count["secrets"] >= SECRETS:
        return "secrets"
    if len(latest) < LEAST:
        return None
    shares = ((number / len(latest), name) for name, number in count.items() if name != "secrets")
    worst = max(shares, default=(0.0, ""))
    return worst[1] if worst[0] > TOLERATED_SHARE else None
