"""Which prompts the base model is to improve, and when: only while nothing else wants the machine.

Tried are the prompts of what the next update would use, as long as they are the template's: what the user wrote or
edited is never sent. Every result is kept at once, so that a stop loses little. Knows store and engine; knows nothing
of how a prompt is improved.
"""

from __future__ import annotations

import logging
import math
import secrets
import time
from collections import Counter
from collections.abc import Callable

from dittod import adapters, runs
from dittod.config import Settings
from dittod.engine.client import Engine
from dittod.engine.protocol import Event, Failed, Improve, Improved
from dittod.errors import DittodError, EngineUnavailable, ModelError
from dittod.store import Store

log = logging.getLogger("dittod")

IDLE_SECONDS = 60.0  # without a request or an update before prompts are tried
LOOK_SECONDS = 10.0  # between two looks for something to try
LEAST_TEXTS = 3  # a prompt is judged by what it does for other texts too
RIVALS = 3  # texts that are sent along to be compared with
MOST_FAILURES = 2  # of the engine over the same prompt; then the template stays


class Prompting:
    """What the engine is trying now, if anything."""

    def __init__(
        self, store: Store, settings: Settings, engine: Engine, held: Callable[[], str | None] = lambda: None
    ) -> None:
        """`held`: why nothing that the user has not asked for may be learnt now; None: it may."""
        self._held = held
        self._store = store
        self._settings = settings
        self._engine = engine
        self._sent: Improve | None = None
        self._left: list[str] = []  # of what was sent, ids without a result, in the order in which they were sent
        self._failures: Counter[str] = Counter()
        self._exhausted: dict[str, object] = {}  # profile → what there was when nothing of it was left to try
        self._next_look = 0.0  # monotonic seconds

    @property
    def at_work(self) -> bool:
        """Whether the engine tries prompts now."""
        return self._sent is not None

    def advance(self) -> None:
        """Begin where there is something to try and time for it; end what has become untimely."""
        sent, now = self._sent, time.monotonic()
        if sent is not None:
            if self._untimely():
                self.leave()
            return
        if now < self._next_look or self._engine.busy or now - self._engine.last_used < IDLE_SECONDS:
            return
        self._next_look = now + LOOK_SECONDS
        if self._settings.improve_prompts and not self._untimely():
            self._begin()

    def leave(self) -> None:
        """End what is tried now. The rest of it is tried again later."""
        if (sent := self._sent) is not None:
            self._engine.cancel(sent.id)
            self._forget(sent)

    def _untimely(self) -> bool:
        """Whether an update is wanted, or will be when the folder has been read, or the machine is another's now."""
        wanted = self._store.runs(*runs.OPEN) or self._store.noted("reading").get("busy")
        return bool(wanted) or self._held() is not None

    def _begin(self) -> None:
        for profile in self._store.profiles():
            command = self._command(profile)
            if command is not None:
                self._send(profile, command)
                return

    def _command(self, profile: str) -> Improve | None:
        """What to try of a profile. Choosing takes a while where there is much, so it is not done twice for nothing."""
        untried = self._store.untried_prompts(profile, self._settings.base_model)
        state = (untried, adapters.promoted(self._store, profile))
        if not untried or self._exhausted.get(profile) == state:
            return None
        selection = runs.next_selection(self._store, self._settings, profile)
        used = (*selection.learn, *selection.held_out)
        wanted = tuple(each for each in used if each.id in untried)
        if not wanted or len(used) < LEAST_TEXTS:
            self._exhausted[profile] = state
            return None
        others = tuple(each for each in used if each.id not in untried)
        return Improve(secrets.token_hex(6), wanted, others[:RIVALS])

    def _send(self, profile: str, command: Improve) -> None:
        try:
            self._engine.start()
            self._sent, self._left = command, [each.id for each in command.demonstrations]
            self._engine.submit(command, lambda event: self._hear(profile, command, event))
        except EngineUnavailable:  # backing off, or just told to end
            self._forget(command)
        except ModelError:  # an update will say so; there is nothing to try prompts with until the next start
            self._next_look = math.inf

    def _hear(self, profile: str, command: Improve, event: Event | EngineUnavailable) -> None:
        """Called from the engine's thread."""
        if isinstance(event, Improved):
            self._keep(profile, event)
            return
        left = self._left
        if isinstance(event, (Failed, EngineUnavailable)):
            self._note_failure(profile, left)
        count = len(command.demonstrations)
        log.info("prompts of profile %s: %d of %d were tried", profile, count - len(left), count)
        self._forget(command)

    def _keep(self, profile: str, result: Improved) -> None:
        if self._store.runs(*runs.OPEN):  # its texts are chosen, with the prompts that they have
            return
        self._left = [each for each in self._left if each != result.demonstration_id]
        try:
            if result.prompt is not None:
                self._store.set_prompt(profile, result.demonstration_id, result.prompt, prompt_by="model")
                return
        except DittodError:  # deleted or edited meanwhile, or another has this prompt and text
            pass
        self._store.note_tried(profile, result.demonstration_id, self._settings.base_model)

    def _note_failure(self, profile: str, left: list[str]) -> None:
        """The engine works in order: what it failed over is about the first. One that it fails over again stays as it
        is, or nothing behind it would ever be tried."""
        if left:
            self._failures[left[0]] += 1
            if self._failures[left[0]] >= MOST_FAILURES:
                self._store.note_tried(profile, left[0], self._settings.base_model)

    def _forget(self, command: Improve) -> None:
        if self._sent is command:
            self._sent, self._left = None, []
