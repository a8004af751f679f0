"""What the user says of answers, and what is learnt from it.

An edited answer becomes a file in the watched folder, as if the user had put it there: what is read of it is a
demonstration, preferred over the answer that was given. An answer that was rated down, or edited into something too
short to learn from, is one that the next updates learn to avoid. One that was rated up is counted, and becomes a file
too where `learn_accepted` says so. Whoever deletes the file, or takes the feedback back, is rid of all of it.

Secrets are masked before anything is written. Knows the folder and the store; knows nothing of HTTP, nor of learning.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dittod.config import Settings, watched_folder
from dittod.errors import DittodError, NotFound, RequestError, SettingsError
from dittod.ingest.demonstrations import Owner, demonstrations_of
from dittod.ingest.readers.decode import clean
from dittod.ingest.secrets import mask
from dittod.ingest.settle import is_taken
from dittod.ingest.watch import path_of_key
from dittod.paths import is_mounted, not_written, write_private
from dittod.serving import Feedback, Outcome, Rating, Remark
from dittod.store import Store
from dittod.store.interactions import FeedbackRow, Interaction
from dittod.types import DEFAULT_PROFILE, Demonstration, Document, Message

MOST_PROMPT_CHARACTERS = 8_000  # of a conversation, its end: more would not fit a file's head, and hardly a context
_MARGIN = 1_000  # more of it is looked at for secrets: half of one is not known as one
_ID = "fb-"


@dataclass(frozen=True, slots=True)
class _Answered:
    """An answer that something is said of, without secrets."""

    profile: str
    prompt: str
    given: str

    @property
    def id(self) -> str:
        parts = (self.profile, self.prompt, self.given)
        return _ID + hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


class Desk:
    """`serving.FeedbackDesk`, over a store and the watched folder; the command line's too."""

    def __init__(self, store: Store, settings: Settings, kept: Callable[[str], Interaction | None]) -> None:
        """`kept`: finds an answer that is kept, by its id."""
        self._store = store
        self._settings = settings
        self._kept = kept
        self._lock = threading.Lock()  # of two remarks on one answer, no file of either is left over

    def take(self, remark: Remark) -> Feedback:
        """See `serving.FeedbackDesk.take`."""
        answered = self._answered(remark)
        with self._lock:
            return self._take(answered, *self._judged(remark, answered))

    def _take(self, answered: _Answered, rating: Rating, learnt: str | None) -> Feedback:
        demonstration = None if learnt is None else demonstration_of(answered.prompt, learnt, self._settings.secrets)
        path = "" if demonstration is None else _path(answered, demonstration)
        before = self._store.feedback(answered.id)
        if demonstration is not None:
            self._write(path, demonstration)
        if before is not None and (before.rating, before.path) == (rating, path):
            return _told(before)
        if before is not None:
            self._unlink(before.path)
        texts = ("", "") if rating == "up" else (answered.prompt, answered.given)
        row = FeedbackRow(answered.id, answered.profile, time.time(), rating, *texts, path)
        self._store.put_feedback(row)
        return _told(row)

    def all(self) -> list[Feedback]:
        """See `serving.FeedbackDesk.all`."""
        return [_told(row) for row in self._store.all_feedback()]

    def take_back(self, id: str) -> None:
        """See `serving.FeedbackDesk.take_back`. The file goes first: whatever else is left then, `tidy` finds."""
        with self._lock:
            row = self._store.feedback(id)
            if row is None:
                raise NotFound("there is no such feedback", "list what there is with: dittod feedback list")
            self._unlink(row.path)
            self._store.drop_feedback([id])

    def _answered(self, remark: Remark) -> _Answered:
        """What the remark is about, without control characters and secrets."""
        profile, messages, answer = remark.profile, remark.messages, remark.answer
        if remark.answer_id:
            interaction = self._kept(remark.answer_id)
            if interaction is None:
                raise NotFound(
                    "there is no such answer",
                    "answers are kept only where the setting keep_interactions names their profile, and for so long;"
                    " else say what was asked and answered",
                )
            profile, messages, answer = interaction.profile, interaction.messages, interaction.answer
        asked = prompt_of(messages)[-MOST_PROMPT_CHARACTERS - _MARGIN :]
        prompt = self._without_secrets(asked)[-MOST_PROMPT_CHARACTERS:].strip()
        given = self._without_secrets(answer)
        if not prompt or not given:
            param = "answer" if prompt else "messages"
            raise RequestError(f"Invalid '{param}': There is no text in it", param=param, code="invalid_value")
        return _Answered(profile, prompt, given)

    def _judged(self, remark: Remark, answered: _Answered) -> tuple[Rating, str | None]:
        """The rating that counts, and what is to be learnt."""
        edited = None if remark.edited is None else self._without_secrets(remark.edited)
        if edited == "":
            message = "Invalid 'edited': There is no text in it"
            raise RequestError(message, "rate it down instead", param="edited", code="invalid_value")
        if edited is not None and edited != answered.given:
            return "edited", edited
        if edited is None and remark.rating == "down":
            return "down", None
        return "up", answered.given if self._settings.learn_accepted else None

    def _without_secrets(self, text: str) -> str:
        return mask(clean(text), self._settings.secrets).text.strip()

    def _write(self, path: str, demonstration: Demonstration) -> None:
        """As `dittod demos add` does: whole, and private."""
        file = self._file(path)
        if file.exists():
            return
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise not_written("the watched folder", error) from error
        write_private(file, file_text(demonstration))

    def _unlink(self, path: str) -> None:
        if not path:
            return
        try:
            self._file(path).unlink(missing_ok=True)
        except OSError as error:
            raise DittodError(f"a file of the watched folder cannot be removed: {error.strerror}", path) from error

    def _file(self, path: str) -> Path:
        """Raises DittodError where the folder is not there: a file would be made, or missed, beside it."""
        root = watched_folder(self._settings)
        if not is_mounted(root) and self._store.noted("watched").get("root") == str(root):
            raise DittodError("the watched folder is not there", "mount its disk, or set watched_folder")
        return root / path_of_key(path)


def check_profile(profile: str) -> None:
    """Raises SettingsError for what cannot be one."""
    if not profile or not is_taken(profile) or "/" in profile or "\\" in profile:
        raise SettingsError(f"{profile!r} cannot be a profile", "a profile is the name of a folder, without slashes")


def prompt_of(messages: Sequence[Message]) -> str:
    """What was asked, as one prompt. Of a single question: that. Of several turns: all of the user's and the
    assistant's up to the last question, each behind its role. System messages and tools are the program's, not the
    user's, and are left out. Raises RequestError where the user asked nothing."""
    turns = [each for each in messages if each.role in ("user", "assistant") and each.content.strip()]
    while turns and turns[-1].role == "assistant":
        turns.pop()
    if not turns:
        message = "Invalid 'messages': The user has asked nothing"
        raise RequestError(message, param="messages", code="invalid_value")
    if len(turns) == 1:
        return turns[0].content.strip()
    return "\n\n".join(f"{each.role}: {each.content.strip()}" for each in turns)


def demonstration_of(prompt: str, completion: str, secrets: Sequence[str]) -> Demonstration | None:
    """What reading the file will give; None: nothing, it is too short or mostly secret."""
    document = Document("pair", completion, sha256="", prompt=prompt)
    found = demonstrations_of(document, Owner(secrets=tuple(secrets))).demonstrations
    return found[0] if found else None


def file_text(demonstration: Demonstration) -> str:
    """As a file of the watched folder says it, and the reader of such files understands it."""
    return f"---\nprompt: {json.dumps(demonstration.prompt, ensure_ascii=False)}\n---\n{demonstration.completion}\n"


def tidy(store: Store, settings: Settings) -> None:
    """Let go of feedback whose file is gone, or gives no text any more. While the folder is not there, nothing is; nor
    while the store still has the file: it may have been moved, or the user be asked (`ingest.brake`)."""
    root = watched_folder(settings)
    if not is_mounted(root):
        return
    found, known = store.feedback_in_files(), store.files()
    lost = {path for path, _ in found.values() if path not in known and not (root / path_of_key(path)).exists()}
    gone = [id for id, (path, is_empty) in found.items() if is_empty or path in lost]
    if gone and is_mounted(root):  # it may have gone meanwhile
        store.drop_feedback(gone)


def _path(answered: _Answered, demonstration: Demonstration) -> str:
    """Relative to the watched folder. The same for the same feedback, another for another text."""
    name = f"feedback-{answered.id.removeprefix(_ID)[:12]}-{demonstration.id[:8]}.md"
    return name if answered.profile == DEFAULT_PROFILE else f"{answered.profile}/{name}"


def _told(row: FeedbackRow) -> Feedback:
    outcome: Outcome = "demonstration" if row.path else "noted" if row.rating == "up" else "rejected"
    return Feedback(row.id, row.profile, row.rating, outcome, row.given_at)
