"""What was asked and answered, where the user has it kept, and what they said of answers, in the store.

Rows by the ids of answers and of feedback. Knows which file of the watched folder a piece of feedback has become, but
not the folder; who may be kept, and for how long, is told to it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from dittod.store.file import StoreFile
from dittod.types import Message, Rejected

Rating = Literal["edited", "up", "down"]


@dataclass(frozen=True, slots=True)
class Interaction:
    """One conversation with the answer that ended it."""

    id: str  # of the answer, as its client knows it
    profile: str
    asked_at: float  # POSIX seconds
    adapter_id: str | None  # None: base answered
    messages: tuple[Message, ...]  # roles and texts only
    answer: str


@dataclass(frozen=True, slots=True)
class FeedbackRow:
    """What the user said of one answer. Of one that was rated up, no text is kept here."""

    id: str  # a hash of profile, prompt and answer: what is said last of an answer counts
    profile: str
    given_at: float  # POSIX seconds
    rating: Rating
    prompt: str
    given: str  # the answer
    path: str  # of the file that it became, relative to the watched folder; '': none


class InteractionRows(StoreFile):
    """Interactions and feedback, each by its id."""

    def add_interaction(self, interaction: Interaction) -> None:
        """Keep it, unless it may be made of what was forgotten while it was written: by a version that is withdrawn, or
        in a profile of which not everything is gone yet."""
        turns = json.dumps([[each.role, each.content] for each in interaction.messages])
        with self._transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO interactions SELECT :id, :profile, :asked_at, :adapter_id, :messages, :answer"
                " WHERE NOT EXISTS (SELECT 1 FROM adapters WHERE id = :adapter_id AND state = 'forgotten')"
                " AND NOT EXISTS (SELECT 1 FROM receipts WHERE profile = :profile AND NOT finished)",
                self._seal.closed("interactions", {**asdict(interaction), "messages": turns}),
            )

    def interaction(self, answer_id: str) -> Interaction | None:
        """The one that was answered so, if it is kept."""
        rows = self._opened_rows("interactions", "SELECT * FROM interactions WHERE id = ?", answer_id)
        return _as_interaction(rows[0]) if rows else None

    def interactions(self, profile: str | None, newest: int) -> list[Interaction]:
        """So many of the latest, the newest first; of a profile, or of all."""
        query = "SELECT * FROM interactions WHERE ? IS NULL OR profile = ? ORDER BY asked_at DESC, rowid DESC LIMIT ?"
        return [_as_interaction(row) for row in self._opened_rows("interactions", query, profile, profile, newest)]

    def expire_interactions(self, kept_since: Mapping[str, float]) -> int:
        """Those from before the time that their profile has here (POSIX seconds) go, and all of profiles that have
        none. Returns how many."""
        with self._transaction() as db:
            dropped = db.execute(
                "DELETE FROM interactions WHERE NOT EXISTS (SELECT 1 FROM json_each(?) AS kept"
                " WHERE kept.key = interactions.profile AND asked_at >= kept.value)",
                (json.dumps(dict(kept_since)),),
            ).rowcount
            self._overwrite(dropped)
        return dropped

    def put_feedback(self, row: FeedbackRow) -> None:
        """In place of what was said of that answer before."""
        with self._transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO feedback VALUES (:id, :profile, :given_at, :rating, :prompt, :given, :path)",
                self._seal.closed("feedback", asdict(row)),
            )
            self._overwrite(1)

    def feedback(self, id: str) -> FeedbackRow | None:
        """One piece, if it is there."""
        rows = self._opened_rows("feedback", "SELECT * FROM feedback WHERE id = ?", id)
        return FeedbackRow(**rows[0]) if rows else None

    def all_feedback(self, profile: str | None = None) -> list[FeedbackRow]:
        """Of a profile, or of all, the oldest first."""
        query = "SELECT * FROM feedback WHERE ? IS NULL OR profile = ? ORDER BY given_at, id"
        return [FeedbackRow(**row) for row in self._opened_rows("feedback", query, profile, profile)]

    def drop_feedback(self, ids: Iterable[str]) -> int:
        """Returns how many of them were there."""
        with self._transaction() as db:
            query = "DELETE FROM feedback WHERE id IN (SELECT value FROM json_each(?))"
            dropped = db.execute(query, (json.dumps(list(ids)),)).rowcount
            self._overwrite(dropped)
        return dropped

    def feedback_in_files(self) -> dict[str, tuple[str, bool]]:
        """By id, of what became a file: which one, and whether that file was read and gives no text any more."""
        rows = self._rows(
            "SELECT id, path, EXISTS (SELECT 1 FROM files WHERE files.path = feedback.path) AND NOT EXISTS"
            " (SELECT 1 FROM origins WHERE origins.path = feedback.path) AS is_empty FROM feedback WHERE path != ''"
        )
        return {row["id"]: (row["path"], bool(row["is_empty"])) for row in rows}

    def rejected(self, profile: str) -> list[Rejected]:
        """The answers of a profile that the user did not want, the oldest first. One that they edited is there as soon
        as the demonstration is that they made of it, and as long."""
        rows = self._opened_rows(
            "feedback",
            "SELECT *, (SELECT demonstrations.id FROM origins JOIN demonstrations USING (profile, key)"
            " WHERE origins.path = feedback.path AND NOT excluded) AS demonstration_id"
            " FROM feedback WHERE profile = ? AND rating != 'up' ORDER BY given_at, id",
            profile,
        )
        return [
            Rejected(row["prompt"], row["given"], row["demonstration_id"] or "")
            for row in rows
            if row["demonstration_id"] or not row["path"]
        ]


def _as_interaction(row: Mapping[str, Any]) -> Interaction:
    turns = tuple(Message(role, content) for role, content in json.loads(row["messages"]))
    return Interaction(**{**row, "messages": turns})
