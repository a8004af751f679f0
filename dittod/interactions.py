"""What was asked and answered, kept where the user has said so, for as long as they said: `keep_interactions`.

A listener of answers. Without a profile's name in that setting nothing of it is stored, nor gathered. Knows answers as
they come, and the store; knows nothing of HTTP, nor of what is learnt from them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from dittod.config import Settings
from dittod.engine.protocol import Accepted, AnswerEvent, Delta, Finished, Generate
from dittod.errors import DittodError, place_of
from dittod.ingest.secrets import mask
from dittod.store import Store
from dittod.store.interactions import Interaction
from dittod.types import Message

log = logging.getLogger("dittod")

MOST_CHARACTERS = 100_000  # of a conversation, the newest; an answer that is longer is not kept
MOST_RESULT_CHARACTERS = 2_000  # of what a tool said
_MARGIN = 1_000  # more of it is looked at for secrets: half of one is not known as one
DAY_SECONDS = 86400.0
clock = time.monotonic


@dataclass(frozen=True, slots=True)
class _Heard:
    """An answer that is being written."""

    begun_at: float  # in monotonic seconds
    pieces: list[str] = field(default_factory=list[str])


class Interactions:
    """Told of every answer, in the loop's thread. Writes in a thread of its own: the disk would hold up others."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._open: dict[str, _Heard] = {}  # by id, in the order of their beginning
        self._writer = ThreadPoolExecutor(1, "interactions")

    def heard(self, request: Generate, event: AnswerEvent) -> None:
        """Of a request's answers, the first one counts."""
        if not request.profile or request.profile not in self._settings.keep_interactions or not request.messages:
            return
        match event:
            case Accepted():
                self._drop_abandoned()
                self._open[request.id] = _Heard(clock())
            case Delta(index=0, channel="content") if request.id in self._open:
                self._open[request.id].pieces.append(event.text)
            case Finished(index=0) if request.id in self._open:
                answer = "".join(self._open.pop(request.id).pieces)
                self._writer.submit(self._write, request, answer, time.time())

    def kept(self, answer_id: str) -> Interaction | None:
        """What is kept under an answer's id. Waits until what has been heard is written."""
        self._writer.submit(lambda: None).result()
        return self._store.interaction(answer_id)

    def _drop_abandoned(self) -> None:
        """Nobody says that a client has left; no answer takes longer than a request may."""
        deadline = clock() - self._settings.request_seconds
        for id in [id for id, heard in self._open.items() if heard.begun_at < deadline]:
            del self._open[id]

    def _write(self, request: Generate, answer: str, now: float) -> None:
        if not answer.strip() or len(answer) > MOST_CHARACTERS:
            return
        secrets = self._settings.secrets
        turns = tuple(_turn(each, secrets) for each in _newest(request.messages or ()))
        adapter_id = request.adapter.id if request.adapter else None
        try:
            self._store.add_interaction(
                Interaction(request.id, request.profile, now, adapter_id, turns, mask(answer, secrets).text)
            )
            expire(self._store, self._settings, now)
        except DittodError as error:
            log.error("an answer could not be kept: %s", error.title)
        except Exception as error:  # its message may quote the text, and nobody waits for this thread
            log.error("an answer could not be kept: %s", place_of(error))


def expire(store: Store, settings: Settings, now: float) -> None:
    """Let go of what is older (`now` is in POSIX seconds) than the user wants, and of profiles that are not kept."""
    kept_since = {profile: now - days * DAY_SECONDS for profile, days in settings.keep_interactions.items()}
    store.expire_interactions(kept_since)


def _newest(messages: Sequence[Message]) -> list[Message]:
    """The last turns of a conversation that have room, in their order."""
    found: list[Message] = []
    room = MOST_CHARACTERS
    for each in reversed(messages):
        room -= min(len(each.content), MOST_RESULT_CHARACTERS) if each.role == "tool" else len(each.content)
        if room < 0:
            break
        found.insert(0, each)
    return found


def _turn(message: Message, secrets: Sequence[str]) -> Message:
    """Role and text, without secrets; what a tool said is cut at its end."""
    if message.role != "tool":
        return Message(message.role, mask(message.content, secrets).text)
    beginning = message.content[: MOST_RESULT_CHARACTERS + _MARGIN]
    return Message("tool", mask(beginning, secrets).text[:MOST_RESULT_CHARACTERS])
