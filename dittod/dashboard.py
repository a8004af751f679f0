"""What the daemon lets a page see and do: the views over its home. No HTTP in here, and nothing of how it looks.

Each method asks one view. What a daemon alone knows is added: what the policy writes while it learns, whether anybody
has asked for an answer, when it looks next.
"""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import datetime
from hashlib import blake2b

from dittod import clients, runs, signals
from dittod.config import Settings
from dittod.daemon import Daemon
from dittod.errors import DittodError
from dittod.paths import Home
from dittod.serving import Document
from dittod.store import Store
from dittod.views import forgetting, judgements, learning, selections, status, versions, voices
from dittod.views.profiles import check_known

ASKED = "asked"  # note in the store: when somebody who looks on was first known to have had an answer; else {}


class DaemonDashboard:
    """`serving.Dashboard` over a home and its daemon."""

    def __init__(self, home: Home, store: Store, settings: Settings, daemon: Daemon) -> None:
        self._home = home
        self._store = store
        self._settings = settings
        self._daemon = daemon

    def now(self) -> Document:
        """See `serving.Dashboard.now`."""
        asked, look = self._was_asked(), self._next_look()
        return status.now(self._home, self._settings, self._store, asked=asked, next_look=look)

    def voices(self) -> Document:
        """See `serving.Dashboard.voices`."""
        return voices.voices(self._settings, self._store)

    def voice(self, profile: str, search: str) -> Document:
        """See `serving.Dashboard.voice`."""
        return voices.voice(self._settings, self._store, profile, search)

    def demonstration(self, profile: str, id: str) -> Document:
        """See `serving.Dashboard.demonstration`."""
        return voices.demonstration(self._settings, self._store, profile, id)

    def set_prompt(self, profile: str, id: str, prompt: str | None) -> Document:
        """See `serving.Dashboard.set_prompt`."""
        return voices.set_prompt(self._settings, self._store, profile, id, prompt)

    def exclude(self, profile: str, id: str, excluded: bool) -> Document:
        """See `serving.Dashboard.exclude`."""
        voices.exclude(self._store, profile, id, excluded)
        return self.demonstration(profile, id)

    def runs(self) -> Document:
        """See `serving.Dashboard.runs`."""
        return learning.runs(self._store)

    def run(self, id: str, after: int) -> Document:
        """See `serving.Dashboard.run`."""
        return learning.run(self._store, id, after, self._daemon.considering.runs.samples)

    def update(self, profile: str) -> Document:
        """See `serving.Dashboard.update`."""
        check_known(self._store, profile)
        run = runs.request(self._store, self._settings, profile, by_hand=True)
        return self.run(run.id, 0)

    def stop_update(self, profile: str) -> None:
        """See `serving.Dashboard.stop_update`."""
        check_known(self._store, profile)
        runs.stop(self._store, profile, time.time())

    def pause(self, seconds: float | None) -> None:
        """See `serving.Dashboard.pause`."""
        signals.pause(self._store, seconds, time.time())

    def resume(self) -> None:
        """See `serving.Dashboard.resume`."""
        signals.resume(self._store, time.time())

    def versions(self) -> Document:
        """See `serving.Dashboard.versions`."""
        return versions.versions(self._store)

    def version(self, wanted: str) -> Document:
        """See `serving.Dashboard.version`."""
        return versions.version(self._store, wanted)

    def promote(self, wanted: str) -> Document:
        """See `serving.Dashboard.promote`."""
        return versions.promote(self._store, wanted)

    def roll_back(self, profile: str, shown: str) -> None:
        """See `serving.Dashboard.roll_back`."""
        versions.roll_back(self._store, profile, shown)

    def pin(self, wanted: str, pinned: bool) -> Document:
        """See `serving.Dashboard.pin`."""
        return versions.pin(self._store, wanted, pinned)

    def rehearse_forgetting(self, targets: list[str], profile: str | None) -> Document:
        """See `serving.Dashboard.rehearse_forgetting`."""
        return forgetting.rehearse(self._home, self._settings, self._store, targets, profile)

    def forget(self, targets: list[str], profile: str | None, texts: int) -> Document:
        """See `serving.Dashboard.forget`."""
        return forgetting.forget(self._home, self._settings, self._store, targets, profile, texts)

    def receipts(self) -> Document:
        """See `serving.Dashboard.receipts`."""
        return forgetting.receipts(self._store)

    def judgements(self) -> Document:
        """See `serving.Dashboard.judgements`."""
        return judgements.tally(self._store)

    def judge(self, chosen: str, other: str) -> Document:
        """See `serving.Dashboard.judge`."""
        return judgements.add(self._store, chosen, other, time.time())

    def clients(self, url: str) -> Document:
        """See `serving.Dashboard.clients`."""
        return clients.documents(url)

    def digest(self) -> dict[str, str]:
        """See `serving.Dashboard.digest`. Of what is kept in memory alone, times are enough."""
        store = self._store
        texts, receipts = store.mark_of_texts(), store.mark_of_receipts()
        versions, runs = store.mark_of_versions(), store.mark_of_runs()
        standing = selections.is_being_edited(store)  # its end is news
        drawn = [each.at for each in self._daemon.considering.runs.samples]
        return {
            "now": _digest(
                texts, receipts, versions, runs, store.mark_of_notes(), self._daemon.engine.last_asked, standing
            ),
            "voices": _digest(texts, versions, store.noted("reading"), standing),
            "runs": _digest(runs, store.noted(signals.LEARNING), drawn),
            "versions": _digest(versions, receipts, store.noted(signals.ROLLED_BACK)),
            "receipts": _digest(receipts),
        }

    def _was_asked(self) -> bool:
        """Since the store began, as far as anybody has looked on: the engine forgets it at its end."""
        if self._daemon.engine.last_asked is not None and not self._store.noted(ASKED):
            with suppress(DittodError):  # on a full disk it is noted another time
                self._store.note(ASKED, {"at": time.time()})
            return True
        return bool(self._store.noted(ASKED))

    def _next_look(self) -> datetime | None:
        """Where looks have set times; otherwise it looks all the time."""
        if self._settings.consider_at is None:
            return None
        job = self._daemon.scheduler.get_job("consider")
        planned: datetime | None = getattr(job, "next_run_time", None)  # none before the scheduler has begun
        return planned


def _digest(*marks: object) -> str:
    return blake2b(repr(marks).encode(), digest_size=8).hexdigest()
