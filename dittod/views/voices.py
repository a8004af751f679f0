"""Voices: a profile's demonstrations with what the next update does with each and why, and the files they stand in.

Shows the user's texts whole: whoever asks is the user. Edits prompts and exclusions; what is read from which file is
not for here to change, nor what an update then learns.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass

from dittod import adapters
from dittod.config import Settings, watched_folder
from dittod.errors import RequestError
from dittod.ingest.secrets import mask
from dittod.rows import DemonstrationRow, FileRow
from dittod.serving import Document
from dittod.store import Store
from dittod.types import alias_of
from dittod.views.profiles import check_known, known_profiles
from dittod.views.selections import chosen, edited, is_being_edited, is_reading

MOST_SHOWN = 300  # demonstrations, and files, of one voice; a search finds the others
EXCLUDED = "excluded by you"
USES = {  # by how a reason begins
    "learnt": "learn",
    "held out": "hold out",
    "not needed": "spare",
    "not looked at yet": "spare",
    "left aside": "copy",
    EXCLUDED: "excluded",
}


@dataclass(frozen=True, slots=True)
class _Standing:
    """What the next update makes of a profile's demonstrations, and what the last one has made of them."""

    reasons: Mapping[str, str]  # by id
    others: str  # why not, of those that were not considered
    learnt: AbstractSet[str]  # ids that what is served has learnt from

    def reason(self, row: DemonstrationRow) -> str:
        """Why the next update learns from it, holds it out or leaves it aside."""
        return EXCLUDED if row.excluded else self.reasons.get(row.demonstration.id, self.others)


def voices(settings: Settings, store: Store) -> Document:
    """Every profile with its counts."""
    files = list(store.files().values())
    return {
        "profiles": [_summary(settings, store, name, files) for name in known_profiles(store)],
        "watched_folder": str(watched_folder(settings)),
    }


def voice(settings: Settings, store: Store, profile: str, search: str) -> Document:
    """The latest demonstrations in which all words of `search` stand, the newest first, and the files that they come
    from or whose name has the words. Raises NotFound."""
    check_known(store, profile)
    wanted = _folded(search).split()
    latest: deque[DemonstrationRow] = deque(maxlen=MOST_SHOWN)
    origins: set[str] = set()
    found = 0
    for row in store.demonstration_rows(profile):
        if _has_all(wanted, row.demonstration.prompt, row.demonstration.completion, *row.files):
            latest.append(row)
            origins.update(row.files)
            found += 1
    own = (each for each in store.files().values() if each.profile == profile)
    files = sorted((each for each in own if each.path in origins or _has_all(wanted, each.path)), key=_telling_first)
    standing = _standing(settings, store, profile)
    return {
        "name": profile,
        "alias": alias_of(profile),
        "demonstrations": [_described(row, standing) for row in reversed(latest)],
        "more": found - len(latest),
        "files": [described_file(each) for each in files[:MOST_SHOWN]],
        "more_files": max(0, len(files) - MOST_SHOWN),
    }


def demonstrations(settings: Settings, store: Store, profile: str) -> Iterator[Document]:
    """All of a profile, oldest first."""
    standing = _standing(settings, store, profile)
    return (_described(row, standing) for row in store.demonstration_rows(profile))


def demonstration(settings: Settings, store: Store, profile: str, id: str) -> Document:
    """The one of the profile ('': of any) whose id begins so. Raises NotFound."""
    row = _found(store, profile, id)
    return _described(row, _standing(settings, store, row.profile))


def set_prompt(settings: Settings, store: Store, profile: str, id: str, prompt: str | None) -> Document:
    """Another prompt; None: the one that the template made. Returns the demonstration, which has another id then, with
    `changed` and what was `masked` in the prompt. Raises NotFound and RequestError."""
    row = _found(store, profile, id)
    found = row.demonstration
    masked = mask(_as_text(row.template if prompt is None else prompt), settings.secrets)
    changed = masked.text != found.prompt
    new_id = store.set_prompt(row.profile, found.id, masked.text, "user") if changed else found.id
    edited(store, row.profile, found.id, new_id)
    document = demonstration(settings, store, row.profile, new_id)
    return {**document, "changed": changed, "masked": dict(masked.counts)}


def exclude(store: Store, profile: str, id: str, excluded: bool) -> bool:
    """Leave it aside from the next update on, or take it back. Returns whether what is served has learnt from it.
    Raises NotFound."""
    row = _found(store, profile, id)
    store.exclude(row.profile, row.demonstration.id, excluded=excluded)
    edited(store, row.profile, row.demonstration.id, row.demonstration.id)
    return row.demonstration.id in _learnt(store, row.profile)


def described_file(file: FileRow) -> Document:
    """What became of one file. Of its texts nothing."""
    return {
        "path": file.path,
        "profile": file.profile,
        "state": file.state,
        "reason": file.reason,
        "read_at": file.read_at,
        "masked": dict(file.masked),
        "removed": dict(file.removed),
        "reasons": dict(file.reasons),
        "senders": dict(file.senders),
    }


def current_identities(files: Iterable[FileRow], settings: Settings) -> list[str]:
    """Whose mail counts: as set, or as guessed from the folder when it was last read."""
    read = (file for file in files if file.identities)  # others are links, or still being read
    latest = max(read, key=lambda file: file.read_at, default=None)
    return list(settings.identities or (latest.identities if latest else ()))


def _found(store: Store, profile: str, id: str) -> DemonstrationRow:
    return store.demonstration(f"{profile}/{id}" if profile else id)


def _summary(settings: Settings, store: Store, name: str, files: Sequence[FileRow]) -> Document:
    selection = chosen(store, settings, name)
    own = [each for each in files if each.profile == name]
    excluded = texts = words = 0
    for row in store.demonstration_rows(name):
        excluded += row.excluded
        texts += not row.excluded
        words += 0 if row.excluded else _words_in(row)
    return {
        "name": name,
        "alias": alias_of(name),
        "demonstrations": texts,
        "excluded": excluded,
        "learn": selection.learn,
        "held_out": selection.held_out,
        "files": len(own),
        "set_aside": sum(each.state == "set_aside" for each in own),
        "masked": _summed(each.masked for each in own),
        "removed": _summed(each.removed for each in own),
        "words": words,
        "kept_days": settings.keep_interactions.get(name),  # questions and answers; None: not kept
    }


def _described(row: DemonstrationRow, standing: _Standing) -> Document:
    reason = standing.reason(row)
    return {
        "profile": row.profile,
        **asdict(row.demonstration),
        "excluded": row.excluded,
        "use": USES[reason.partition(":")[0]],
        "reason": reason,
        "served_has_learnt": row.demonstration.id in standing.learnt,
        "template": row.template,
        "files": list(row.files),
        "words": _words_in(row),
    }


def _standing(settings: Settings, store: Store, profile: str) -> _Standing:
    others = "not needed: newer ones are enough"
    if is_reading(store) or is_being_edited(store):
        others = f"not looked at yet: {'files are being read' if is_reading(store) else 'texts are being edited'}"
    return _Standing(chosen(store, settings, profile).reasons, others, _learnt(store, profile))


def _learnt(store: Store, profile: str) -> AbstractSet[str]:
    """Ids of what the profile's served version has learnt from; one without weights has from nothing."""
    served = adapters.promoted(store, profile)
    if served is None or not adapters.reference(served).weights:
        return frozenset()
    return store.now_called(profile, served.demonstration_ids)


def _as_text(prompt: str) -> str:
    """Raises RequestError for a prompt that says nothing, or is no text."""
    try:
        prompt.encode()
    except UnicodeEncodeError:  # halves of characters, from a terminal say
        raise RequestError("the prompt is no text", "nothing was changed", param="prompt") from None
    if not prompt.strip():
        raise RequestError("the prompt is empty", "nothing was changed", param="prompt")
    return prompt.strip()


def _has_all(wanted: Collection[str], *texts: str) -> bool:
    if not wanted:
        return True
    folded = "\n".join(map(_folded, texts))
    return all(word in folded for word in wanted)


def _folded(text: str) -> str:
    """Without case and accents."""
    if text.isascii():
        return text.lower()
    return "".join(each for each in unicodedata.normalize("NFKD", text) if not unicodedata.combining(each)).casefold()


def _telling_first(file: FileRow) -> tuple[bool, bool, float]:
    """What was set aside, then what was cut or masked, then the latest."""
    return file.state != "set_aside", not (file.removed or file.masked or file.reason), -file.read_at


def _summed(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total = Counter[str]()
    for each in counts:
        total.update(each)
    return dict(total.most_common())


def _words_in(row: DemonstrationRow) -> int:
    return len(row.demonstration.completion.split())
