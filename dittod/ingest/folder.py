"""The watched folder and the store, kept in step: new and changed files are read, what went is dropped.

Ties the pure parts of ingest to disk, clock, store and the reading process. Knows nothing of learning. A file that
cannot be read is set aside with its reason and never stops the others; what it gave before stays. One that cannot be
read at the moment is tried again.

Nothing is forgotten in haste: a file counts as gone when it was missing for `settle_seconds`, nothing else is waited
for (it may be the same file, moved), and the folder with its marker is still the one that was looked at. An edited text
goes on as what it became. What would go is looked at as a whole first: `ingest.vanishing` may have the user asked.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from dittod.errors import DittodError, FileSetAside, SettingsError, disk_is_full
from dittod.ingest.brake import BRAKE
from dittod.ingest.demonstrations import FEWEST_WORDS, Owner
from dittod.ingest.growth import content_sha256, start_of_rest
from dittod.ingest.identity import is_identity, is_sent_folder, likely_identities
from dittod.ingest.likeness import successors
from dittod.ingest.process import NotNow, Reader, ReaderClosed
from dittod.ingest.settle import Settler
from dittod.ingest.signatures import recurring, without_signature
from dittod.ingest.tally import Survey, Tally
from dittod.ingest.vanishing import Vanishing
from dittod.ingest.watch import FoundFile, found_file, identity, path_of_key, relative_key, scan
from dittod.ingest.words import words_of
from dittod.paths import MARKER, is_mounted, not_written
from dittod.rows import FileRow, FileState
from dittod.store import Store
from dittod.types import Demonstration

log = logging.getLogger("dittod")

OnRead = Callable[[int, int, int], None]  # files read so far, of how many, mails and texts in them

BATCH_DEMONSTRATIONS = 256  # written together, so that nobody waits long for the store
BATCH_CHARACTERS = 2 * 2**20
CHANGED_TOGETHER = 100  # demonstrations that are rewritten
BATCH_SECONDS = 0.2  # what was read longer ago is written
SURVEYED_FILES = 300  # looked at before they are read,
SURVEYED_MAILS = 300  # and in each so many mails
KEPT_TAILS = 256  # of one file, the most frequent
KEPT_REASONS = 32
SOURCE_TREE = (".git", "pyproject.toml")  # lie in a folder of somebody's programs, not of their texts
A_LINK = "a link: links are not followed"
TAKEN_OUT = frozenset(  # why a file gives nothing, by the will of who wrote it; any other reason may be an accident
    {
        A_LINK,
        "the file is empty",
        "the document holds no text",
        "the page holds no text",
        "a draft that was not sent",
        "a draft in Apple Mail",
        "deleted in Apple Mail",
        "flagged as a draft",
        "flagged as deleted",
    }
)
UNREADABLE = -1  # the time of change of a file that could not be read now: at the next look it is news


class Folder:
    """One watched folder. Used by one thread at a time; `close` may be called from another."""

    def __init__(
        self,
        root: Path,
        store: Store,
        identities: tuple[str, ...],
        settle_seconds: float,
        secrets: tuple[str, ...] = (),
        reader: Reader | None = None,
    ) -> None:
        self.root = root
        self._store = store
        self._given = Owner(identities, secrets=secrets)
        self._reader = reader or Reader()
        self._settler = Settler(settle_seconds)
        self._known = store.files()
        self._missing: dict[str, float] = {}  # known files that are not there, and since when (as `now`)
        self._looked_at = 0.0  # the latest `now`
        self._was_seen = False  # the whole folder, by the latest look at all of it
        self._finished: list[tuple[FileRow, list[Demonstration]]] = []  # read, and not written yet
        self._written_at = 0.0  # monotonic seconds
        self._in_step = False  # everything known was read with what is known of the user now
        self._read_again = True  # files that were known, and nobody has looked yet at what they do not give any more
        self._vanishing = Vanishing(store)
        self._braked: frozenset[str] | None = None  # these files are gone, and the user is to be asked
        self._was_unmounted = False
        self._cut = frozenset(store.noted("signatures").get("cut", ()))  # no demonstration holds one of these

    def prepare(self) -> None:
        """Make the folder and its marker when it is first watched. Later, a missing marker means: not mounted.
        Raises SettingsError where it holds a source tree: nobody means that to be learnt from."""
        if self._store.noted("watched").get("root") != str(self.root) and not is_mounted(self.root):
            try:
                _refuse_source_tree(self.root)
                self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
                (self.root / MARKER).write_text(
                    "dittod watches this folder. While this file is gone, nothing is forgotten.\n"
                )
            except OSError as error:
                if disk_is_full(error):
                    raise not_written(f"the watched folder {self.root}", error) from error
                raise SettingsError(
                    f"the watched folder {self.root} cannot be made: {error.strerror}", "set watched_folder to another"
                ) from error
        before = self._store.noted("watched").get("root")
        if before != str(self.root):
            self._store.note("watched", {"root": str(self.root), "is_elsewhere": before is not None})

    def close(self) -> None:
        """End the reading process, in the middle of a file if need be: that file is read again another time."""
        self._reader.close()

    def rescan(self, now: float) -> None:
        """Look at the whole folder: note what is new, changed or missing. Finds what events missed."""
        self._looked_at = now
        place = identity(self.root) if is_mounted(self.root) else None
        unreadable: list[str] = []
        present = set(self._see(scan(self.root, unreadable.append), now) if place else ())
        for folder in unreadable:
            log.warning("a folder in the watched folder cannot be listed: what is in it is neither read nor forgotten")
            present.update(path for path in self._known if _is_in(folder, path))
        self._was_seen = place is not None and is_mounted(self.root) and identity(self.root) == place  # all the while
        if not self._was_seen:
            self._missing = {}
            self._say_unmounted()
            return
        self._was_unmounted = False
        self._missing = {path: self._missing.get(path, now) for path in self._known.keys() - present}

    def notice(self, paths: Iterable[Path], now: float) -> None:
        """Something happened to these paths. What is a folder now may have come with everything in it; what is gone may
        have been one, or moved: of all that, a look at the whole folder tells, once."""
        if not is_mounted(self.root):
            return
        paths = set(paths)
        gone: list[str] = []
        for path in _outermost(paths):
            if file := found_file(self.root, path):
                self._see([file], now)
            elif identity(path) and path.is_relative_to(self.root):
                self._see(scan(self.root, lambda folder: None, path), now)
            elif path.is_relative_to(self.root) and not _is_link(path):
                gone.append(relative_key(self.root, path))
        if self.root / MARKER in paths or (gone and self._concerns_known(gone)):
            self.rescan(now)

    def read_settled(self, now: float, on_read: OnRead = lambda done, of, documents: None) -> int:
        """Read the files that stopped changing, and forget those that are gone. Returns how many were read."""
        self._looked_at = now
        self._look_again(now)
        ready = [file for key in self._settler.ready(now) if (file := self._at(key))]
        try:
            read = self._read_all(ready, on_read) if ready or not self._in_step else 0
        except ReaderClosed:
            return 0
        except DittodError:  # the disk is full, say: what was not recorded is still news, and no event tells again
            self._see(ready, now)
            raise
        self._forget(self._gone(now))
        return read

    @property
    def settling(self) -> bool:
        """Whether something is waited for: a file that will soon be finished, or one that is gone to come back."""
        missing = self._missing.keys() - (self._braked or ())
        return bool(missing) or bool(self._settler.expected(self._looked_at, self._known))

    def _see(self, files: Iterable[FoundFile], now: float) -> list[str]:
        """Wait for those that are new or changed. Returns all their paths."""
        seen = []
        for file in files:
            seen.append(file.relative)
            if self._is_news(file):
                self._settler.seen(file.relative, file.size, file.changed_ns, now)
        return seen

    def _look_again(self, now: float) -> None:
        """A file that still grows may give no further event."""
        for key in self._settler.waiting():
            file = self._at(key)
            if file is None:
                self._settler.gone(key)
            else:
                self._settler.seen(file.relative, file.size, file.changed_ns, now)

    def _at(self, key: str) -> FoundFile | None:
        return found_file(self.root, self.root / path_of_key(key))

    def _say_unmounted(self) -> None:
        if not self._was_unmounted:
            said = "the watched folder or its marker file %s is missing or cannot be read: nothing is read or forgotten"
            log.warning(said, MARKER)
        self._was_unmounted = True

    def _is_news(self, file: FoundFile) -> bool:
        known = self._known.get(file.relative)
        return known is None or (known.size_bytes, known.mtime_ns) != (file.size, file.changed_ns)

    def _concerns_known(self, gone: list[str]) -> bool:
        """Whether one of these was a file that is known or waited for, or a folder with such a file in it."""
        paths = {*self._known, *self._settler.waiting()}
        folders = {parent for path in paths for parent in _parents(path)}
        return any(path in paths or path in folders for path in gone)

    # --- forgetting ---

    def _gone(self, now: float) -> list[str] | None:
        """The files that are; None: that is not certain yet."""
        due = [path for path, since in self._missing.items() if now - since >= self._settler.settle_seconds]
        if not due or frozenset(due) == self._braked:
            return due
        if self._may_be_moved():
            return None
        self.rescan(now)
        return None if self._may_be_moved() else [path for path in due if path in self._missing]

    def _may_be_moved(self) -> bool:
        """Whether a new file is waited for: it may be a missing one. Known ones that grow have been where they are, and
        what keeps changing for long is being written, not moved."""
        return any(key not in self._known for key in self._settler.expected(self._looked_at, self._known))

    def _forget(self, gone: list[str] | None) -> None:
        """What these files alone held, and what others were found not to hold any more; or have the user asked."""
        if gone is None or (self._braked is None and not gone and not self._read_again):
            return
        if self._braked == frozenset(gone) and not self._read_again and self._store.noted(BRAKE):
            return  # the user has not answered
        is_too_much = self._vanishing.stops(gone, is_elsewhere=self._is_elsewhere())
        if not is_too_much:
            self._drop(gone)
            self._settle_in()
        self._braked = frozenset(gone) if is_too_much else None
        self._read_again = False

    def _is_elsewhere(self) -> bool:
        """Whether another folder than before is watched, and what went with that is not decided yet."""
        watched = self._store.noted("watched")
        return watched.get("root") == str(self.root) and watched.get("is_elsewhere", False)

    def _settle_in(self) -> None:
        """Everything is in step with this folder: what goes from here on goes as from any."""
        if self._was_seen and not self._missing and not self.settling and self._is_elsewhere():
            self._store.note("watched", {"root": str(self.root)})

    def _drop(self, gone: list[str]) -> None:
        self._vanishing.drop(gone)
        for path in gone:
            del self._known[path], self._missing[path]
        if gone:
            log.info("%d files are gone", len(gone))

    def _release_secrets(self, before: dict[str, FileRow]) -> None:
        """Where the list of secrets is another one. Files that are not there now are to be read with it, too, if they
        come back."""
        unread = {path for path, row in before.items() if self._known[path].read_at == row.read_at}
        self._vanishing.release_secrets(self._given.secrets, unread)
        for path in unread:
            if self._at(path) is None:
                self._known[path] = replace(self._known[path], mtime_ns=UNREADABLE)
                self._store.note_file(self._known[path])

    # --- reading ---

    def _read_all(self, ready: list[FoundFile], on_read: OnRead) -> int:
        """These files, and what was read while somebody else was taken for the user. Small files come first."""
        owner = self._owner(self._survey(ready))
        secrets = hashlib.sha256(json.dumps(self._given.secrets).encode()).hexdigest()
        others = self._store.noted("read_with").get("secrets", secrets) != secrets
        self._read_again = True
        before = dict(self._known)
        todo = self._with_outdated(sorted(ready, key=lambda file: file.size), owner, everything=others)
        progress = _Progress(on_read)
        for _ in range(2):  # the second time, what was read has shown that the user is somebody else
            progress.of += len(todo)
            self._read_each(todo, owner, progress)
            owner = self._owner(Survey())
            todo = self._with_outdated([], owner)
        self._cut_signatures(owner.signatures)
        if others:
            self._release_secrets(before)
        if not self._in_step:
            self._store.note("read_with", {"secrets": secrets})
        self._in_step = True
        return progress.done

    def _with_outdated(self, files: list[FoundFile], owner: Owner, *, everything: bool = False) -> list[FoundFile]:
        """Besides `files`, those that were read while somebody else was taken for the user; or all that are known."""
        fresh = {file.relative for file in files}
        by_others = {row.path for row in self._known.values() if row.senders and row.identities != owner.identities}
        if by_others - fresh:
            self._vanishing.others_wrote(is_guess=not self._given.identities)
        outdated = [path for path in self._known if path not in fresh and (everything or path in by_others)]
        return [*files, *(file for path in outdated if (file := self._at(path)) is not None)]

    def _read_each(self, files: list[FoundFile], owner: Owner, progress: _Progress) -> None:
        self._written_at = time.monotonic()
        try:
            for file in files:
                self._read(file, owner, progress)
        finally:
            self._write()

    def _read(self, file: FoundFile, owner: Owner, progress: _Progress) -> None:
        if self._read_rest(file, owner, progress):
            return
        known = self._known.get(file.relative)
        reading = max(time.time(), known.read_at + 1e-3 if known else 0.0)  # the clock may have been set back
        tally = Tally()
        try:
            rest = self._store_batches(file, reading, self._answers(file, owner, tally, progress))
            self._record(_row(file, owner, tally, reading, "read", tally.reason()), rest)
        except FileSetAside as error:
            if isinstance(error, NotNow) or (known is not None and error.title not in TAKEN_OUT):
                row = self._kept_as_it_was(file, owner, error)
                self._store.note_file(row)
                self._known[row.path] = row
            else:  # of another reading: what this one gave so far goes
                reason = "; ".join(filter(None, (error.title, error.hint)))
                self._record(_row(file, owner, Tally(), reading + 1e-3, "set_aside", reason), [])
        progress.file_done()

    def _read_rest(self, file: FoundFile, owner: Owner, progress: _Progress) -> bool:
        """Of a mailbox that was appended to, the new mails: they are only added. False: read the whole."""
        known = self._known.get(file.relative)
        if known is None or known.state != "read" or not self._in_step or known.identities != owner.identities:
            return False
        tally = Tally.of(known)
        try:
            if not (start := start_of_rest(file.path, known)):
                return False
            answers = self._answers(file, owner, tally, progress, start)
            rest = self._store_batches(file, known.read_at, answers)
        except (FileSetAside, OSError):  # the whole says what is wrong
            return False
        row = _row(file, owner, tally, known.read_at, "read", tally.reason())
        with self._store.together():
            self._store.add_demonstrations(file.relative, file.profile, rest, known.read_at)
            self._store.note_file(row)
        self._known[row.path] = row
        progress.file_done()
        return True

    def _answers(
        self, file: FoundFile, owner: Owner, tally: Tally, progress: _Progress, start: int = 0
    ) -> Iterator[Demonstration]:
        if file.is_link:
            raise FileSetAside(A_LINK, "put the file itself here")
        for answer in self._reader.read(file.path, owner, start=start):
            tally.add(answer)
            progress.document_done()
            yield from answer.result.demonstrations

    def _store_batches(
        self, file: FoundFile, reading: float, demonstrations: Iterable[Demonstration]
    ) -> list[Demonstration]:
        """All but the last batch, which is returned: a file that gives one is recorded in one transaction."""
        batch: list[Demonstration] = []
        characters = 0
        for each in demonstrations:
            if len(batch) == BATCH_DEMONSTRATIONS or characters > BATCH_CHARACTERS:
                self._store.add_demonstrations(file.relative, file.profile, batch, reading)
                batch, characters = [], 0
            batch.append(each)
            characters += len(each.prompt) + len(each.completion)
        return batch

    def _kept_as_it_was(self, file: FoundFile, owner: Owner, error: FileSetAside) -> FileRow:
        """What is known of a file that cannot be read: damage is no word of the user's. Next time the whole of it is
        read: half may be stored by now. Where it is only now, it stays news, so that the next rescan tries again."""
        known = self._known.get(file.relative)
        if known is None:
            known = FileRow(file.relative, file.profile, file.size, 0, "set_aside", "", (), {}, time.time())
        row = replace(known, identities=owner.identities, content_sha256="")
        if isinstance(error, NotNow):
            return replace(row, mtime_ns=UNREADABLE, reason=f"{error.title}; {error.hint}; tried again later")
        said = [each for each in (error.title, error.hint) if each]
        if self._store.texts_of([file.relative]):
            said.append("what it gave before is kept until you delete the file, or say dittod forget")
        seen = replace(row, size_bytes=file.size, mtime_ns=file.changed_ns)
        return replace(seen, state="set_aside", reason="; ".join(said))

    def _record(self, row: FileRow, rest: list[Demonstration]) -> None:
        self._finished.append((row, rest))
        held = sum(len(each) for _, each in self._finished)
        if held >= BATCH_DEMONSTRATIONS or time.monotonic() - self._written_at > BATCH_SECONDS:
            self._write()

    def _write(self) -> None:
        """What was read, in one go: a thousand small files do not wait a thousand times for the disk."""
        finished, self._finished = self._finished, []
        with self._store.together():
            for row, rest in finished:
                if row.path in self._known:
                    self._store.record_reading(row, rest)
                    self._succeed(row.path)
                else:
                    self._store.record_file(row, rest)
        self._known.update((row.path, row) for row, _ in finished)
        self._written_at = time.monotonic()

    def _succeed(self, path: str) -> None:
        """Texts that were edited are known as what they became: of them, little was taken out."""
        if not (before := self._store.outdated(path)):
            return
        after = {row.key: row.demonstration.completion for row in self._store.new_in(path)}
        went = {row.key: row.demonstration.completion for row in before}
        for key, successor in successors(went, after).items():
            self._store.succeed(before[0].profile, key, successor)

    # --- whose words, and which lines are a signature ---

    def _survey(self, fresh: list[FoundFile]) -> Survey:
        """A look at what is about to be read, where it outweighs what is known."""
        survey = Survey()
        known = sum(row.size_bytes for row in self._known.values() if row.state == "read")
        if sum(file.size for file in fresh) <= known:
            return survey
        for file in fresh[:: -(-len(fresh) // SURVEYED_FILES) or 1]:
            if not file.is_link:
                for answer in self._reader.survey(file.path, SURVEYED_MAILS):
                    survey.add(answer)
        return survey

    def _owner(self, survey: Survey) -> Owner:
        """What is known of the user from the files that were read, and from those that were only looked at."""
        senders, tails = Counter(survey.senders), Counter[str]()
        for row in self._known.values():
            senders.update(row.senders)
            tails.update(row.tails)
        identities = self._given.identities or likely_identities(senders, is_sent_folder=is_sent_folder(self.root.name))
        for sender, found in survey.tails.items():
            if is_identity(sender, identities):
                tails.update(found)
        return replace(self._given, identities=identities, signatures=recurring(tails))

    def _cut_signatures(self, signatures: frozenset[str]) -> None:
        """Takes newly found signatures out of what was stored before they were known."""
        new, self._cut = signatures - self._cut, signatures
        for profile in self._store.profiles() if new else ():
            changed: list[tuple[str, str]] = []
            for row in self._store.demonstration_rows(profile):
                kept, signature = without_signature(row.demonstration.completion, new)
                if signature and row.demonstration.kind in ("mail", "reply"):
                    changed.append((row.key, kept))
                if len(changed) == CHANGED_TOGETHER:
                    self._rewrite(profile, changed)
                    changed = []
            self._rewrite(profile, changed)
        self._store.note("signatures", {"cut": sorted(self._cut)})

    def _rewrite(self, profile: str, changed: list[tuple[str, str]]) -> None:
        with self._store.together():
            for key, kept in changed:  # of what is left too short, reading the file again would give nothing
                self._store.rewrite(profile, key, kept if len(words_of(kept)) >= FEWEST_WORDS else "")


def _row(file: FoundFile, owner: Owner, tally: Tally, reading: float, state: FileState, reason: str) -> FileRow:
    content = ""
    with suppress(OSError):  # gone again: the next look tells
        content = content_sha256(file.path, file.size) if state == "read" else ""
    return FileRow(
        path=file.relative,
        profile=file.profile,
        size_bytes=file.size,
        mtime_ns=file.changed_ns,
        state=state,
        reason=reason,
        identities=owner.identities,
        senders=dict(tally.senders),
        read_at=reading,
        tails=dict(tally.tails.most_common(KEPT_TAILS)),
        masked=dict(tally.masked),
        removed=dict(tally.removed),
        reasons=dict(tally.reasons.most_common(KEPT_REASONS)),
        content_sha256=content,
    )


@dataclass
class _Progress:
    """Files and Documents that were read, told as they are."""

    on_read: OnRead
    done: int = 0
    of: int = 0
    documents: int = 0

    def document_done(self) -> None:
        self.documents += 1
        if self.documents % 50 == 0:
            self.on_read(self.done, self.of, self.documents)

    def file_done(self) -> None:
        self.done += 1
        self.of = max(self.of, self.done)
        self.on_read(self.done, self.of, self.documents)


def missing_files(root: Path, known: Iterable[str]) -> list[str]:
    """Those of the known files that are not in a watched folder now; none, where nobody can look."""
    unreadable: list[str] = []
    present = {file.relative for file in scan(root, unreadable.append)}
    if not is_mounted(root):
        return []
    absent = (path for path in known if path not in present)
    return [path for path in absent if not any(_is_in(folder, path) for folder in unreadable)]


def _is_in(folder: str, path: str) -> bool:
    """By their keys; '' is the watched folder."""
    return not folder or path.startswith(f"{folder}/")


def _refuse_source_tree(root: Path) -> None:
    if found := [name for name in SOURCE_TREE if (root / name).exists()]:
        raise SettingsError(
            f"the watched folder {root} would be a source tree: it holds {found[0]}",
            "set watched_folder to a folder of your own texts, or move the source tree",
        )


def _is_link(path: Path) -> bool:
    try:
        return path.is_symlink()
    except OSError:  # in a folder that may not be entered: a look at the whole folder tells
        return False


def _outermost(paths: set[Path]) -> list[Path]:
    """Without those that lie in another one of them, unless that is no folder: a folder is looked at as a whole."""
    return sorted(path for path in paths if not any(above in paths and identity(above) for above in path.parents))


def _parents(path: str) -> Iterator[str]:
    end = path.rfind("/")
    while end > 0:
        yield path[:end]
        end = path.rfind("/", 0, end)
