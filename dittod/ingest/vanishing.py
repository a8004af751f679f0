"""What goes from the store because the watched folder does not give it any more, and when the user is asked first.

Knows the store and the numbers of `ingest.brake`. Does not know the folder: which files are gone, and which could not
be read again, it is told.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from dittod.ingest.brake import BRAKE, sentence, stopped_by
from dittod.ingest.secrets import mask
from dittod.rows import GONE, DemonstrationRow
from dittod.store import CHANGED, Store

log = logging.getLogger("dittod")

IDENTITIES, SECRETS = "identities changed", "a secret was named"  # why texts go


class Vanishing:
    """What one watched folder has lost since the latest look that the user had no say in."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._why = CHANGED
        self._is_guess = False  # somebody else was taken for the user, and nobody had said so
        self._since: float = store.noted(BRAKE).get("since") or time.time()  # what came later does not outweigh

    def others_wrote(self, *, is_guess: bool) -> None:
        """What is read now was read before with somebody else taken for the user."""
        self._why, self._is_guess = IDENTITIES, self._is_guess or is_guess

    def stops(self, gone: Collection[str], *, is_elsewhere: bool) -> bool:
        """Whether that is too much to go without a word of the user's, which is noted. `is_elsewhere`: another folder
        is watched than before."""
        note = self._note(gone, is_elsewhere=is_elsewhere)
        if note != self._store.noted(BRAKE):
            self._store.note(BRAKE, note)
            if note:
                log.warning("%s", note["sentence"])
        return bool(note)

    def drop(self, gone: Collection[str]) -> None:
        """In one transaction: each profile has one receipt for what went for one reason."""
        now = time.time()
        with self._store.together():
            self._store.forget_outdated(self._why, now)
            self._store.forget_files(gone, now)
        self._why, self._is_guess, self._since = CHANGED, False, now

    def release_secrets(self, secrets: Sequence[str], unread: Collection[str]) -> None:
        """Texts that hold one in clear go, unasked: what files gave before, and what those give that cannot be read
        with the new list."""
        rows = [*self._store.outdated(), *self._only_in(unread)]
        held = {(row.profile, row.key) for row in rows if _holds(row, secrets)}
        self._store.forget_these(held, SECRETS, time.time())

    def _note(self, gone: Collection[str], *, is_elsewhere: bool) -> dict[str, object]:
        at_stake = self._at_stake(everything=is_elsewhere)
        going, having = Counter(self._store.only_in(gone)) + at_stake, Counter(self._store.counts(self._since))
        is_guess = bool(at_stake) and (self._is_guess or bool(self._store.noted(BRAKE).get("is_guess")))
        stopped = stopped_by(going, having, is_elsewhere=is_elsewhere)
        profile = max(at_stake, key=lambda name: at_stake[name]) if is_guess else stopped
        if profile is None:
            return {}
        count, of = (going[profile], having[profile]) if profile else (going.total(), having.total())
        said = sentence(profile, count, of, is_guess=is_guess, is_elsewhere=is_elsewhere)
        note = {"profile": profile, "files": len(gone), "demonstrations": count, "of": of, "sentence": said}
        return {**note, "since": self._since, "is_guess": is_guess}

    def _at_stake(self, *, everything: bool) -> Counter[str]:
        """What files that are still there do not give any more, where that costs a version, or `everything`: else it is
        only read again when they give it again."""
        counts = Counter(row.profile for row in self._store.outdated() if row.added_at <= self._since)
        return Counter({name: count for name, count in counts.items() if everything or self._has_learnt(name)})

    def _has_learnt(self, profile: str) -> bool:
        return any(each.state not in GONE for each in self._store.adapters(profile))

    def _only_in(self, paths: Collection[str]) -> Iterator[DemonstrationRow]:
        for profile in self._store.profiles() if paths else ():
            yield from (row for row in self._store.demonstration_rows(profile) if set(row.files) <= set(paths))


def _holds(row: DemonstrationRow, secrets: Sequence[str]) -> bool:
    texts = (row.demonstration.completion, row.demonstration.prompt, row.template)
    return any("listed" in mask(text, secrets).counts for text in texts)
