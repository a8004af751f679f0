"""A person who writes, renames, edits and deletes files in a watched folder, and what dittod should then know.

Every text holds a name of its own that no other text holds: whether it is known once, twice or not at all can be
counted in the store. All is drawn from one seed.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dittod.store import Store

NAMED = "Zorqua"  # every name begins so, and nothing else of ours does
SYLLABLES = ("ba", "do", "fi", "gu", "ke", "la", "mo", "ni", "pu", "re", "sa", "to", "vi", "wu", "ze", "cha")
PROSE = (
    "the boat lies under its cover since autumn and nobody has looked at rope paint or engine we meet on Friday at "
    "the harbour bring gloves some bread old cloth my brother has lent us his ladder which is too short as always but "
    "it will do for windows I have asked Martin whether he wants to come along he says that rain makes him sad so let "
    "us hope for sun or at least a dry morning tell me what you think about it"
)
PROFILES = ("", "letters")  # folders; '' is the default profile's
FILES_LEAST = 12  # below that nothing is deleted
KINDS = ("mail", "text", "pair", "mailbox", "copy", "edit", "delete", "move", "broken", "slow")
OFTEN = (18, 12, 6, 12, 6, 2, 2, 2, 2, 6)


@dataclass
class Person:
    """Who writes. `held` is what lies in the folder now: path → names of its texts."""

    folder: Path
    chance: random.Random
    held: dict[Path, list[str]] = field(default_factory=dict[Path, list[str]])
    written: int = 0  # texts
    touched: Counter[str] = field(default_factory=Counter[str])
    _unfinished: list[tuple[Path, bytes]] = field(default_factory=list[tuple[Path, bytes]])

    def act(self) -> None:
        """One thing that a person does to a folder."""
        for profile in PROFILES:
            (self.folder / profile).mkdir(parents=True, exist_ok=True)
        self.finish()
        kind = self.chance.choices(KINDS, OFTEN)[0]
        if kind in ("copy", "edit", "delete", "move") and len(self.held) < FILES_LEAST:
            kind = "mail"
        getattr(self, f"_{kind}")()
        self.touched[kind] += 1

    def finish(self) -> None:
        """Nothing is left half written."""
        for path, rest in self._unfinished:
            with path.open("ab") as file:
                file.write(rest)
        self._unfinished.clear()

    def expected(self) -> Counter[tuple[str, str]]:
        """(profile, name) of all that lies in the folder, each once however many copies there are."""
        return Counter({(self._profile(path), name): 1 for path, names in self.held.items() for name in names})

    def _profile(self, path: Path) -> str:
        return path.parent.name if path.parent != self.folder else "default"

    def _name(self) -> str:
        """One that was never used: a number in syllables."""
        number, name = self.written, ""
        self.written += 1
        for _ in range(4):
            number, digit = divmod(number, len(SYLLABLES))
            name += SYLLABLES[digit]
        return NAMED + name

    def _words(self, name: str) -> str:
        words = self.chance.choices(PROSE.split(), k=self.chance.randrange(30, 70))
        words.insert(self.chance.randrange(5, 20), name)
        sentences, at = [], 0
        while at < len(words):
            length = self.chance.randrange(6, 14)
            sentences.append(" ".join(words[at : at + length]).capitalize().replace(name.lower(), name) + ".")
            at += length
        return " ".join(sentences)

    def _new(self, suffix: str) -> Path:
        profile = self.chance.choice(PROFILES)
        return self.folder / profile / f"{self.written:05}{suffix}"

    def _mail(self) -> None:
        path = self._new(".eml")
        path.write_bytes(self._message(name := self._name()))
        self.held[path] = [name]

    def _slow(self) -> None:
        """A mail that another program saves in two pieces, with the next act between them."""
        path = self._new(".eml")
        message = self._message(name := self._name())
        path.write_bytes(message[:200])
        self._unfinished.append((path, message[200:]))
        self.held[path] = [name]

    def _message(self, name: str) -> bytes:
        day, hour = self.chance.randrange(1, 28), self.chance.randrange(24)
        return (
            f"From: Ann <ann@x.example>\nTo: Bob <bob@x.example>\nSubject: Plan {self.written}\n"
            f"Date: Thu, {day:02} Jan 2026 {hour:02}:00:00 +0000\nMessage-ID: <{name}@x.example>\n"
            f"\n{self._words(name)}\n"
        ).encode()

    def _mailbox(self) -> None:
        """A mail program appends to its file of sent mail."""
        path = self.folder / self.chance.choice(PROFILES) / "sent.mbox"
        with path.open("ab") as file:
            file.write(b"From ann@x.example Thu Jan  1 10:00:00 2026\n" + self._message(name := self._name()) + b"\n")
        self.held.setdefault(path, []).append(name)

    def _text(self) -> None:
        path = self._new(".txt")
        path.write_text(self._words(name := self._name()))
        self.held[path] = [name]

    def _pair(self) -> None:
        path = self._new(".jsonl")
        names = [self._name() for _ in range(3)]
        lines = [json.dumps({"prompt": f"Write about plan {name}.", "completion": self._words(name)}) for name in names]
        path.write_text("\n".join(lines) + "\n")
        self.held[path] = names

    def _copy(self) -> None:
        """The same text in two files of a profile counts once."""
        source = self._some(".eml")
        target = source.with_name(f"copy-{self.written}-{source.name}")
        target.write_bytes(source.read_bytes())
        self.held[target] = list(self.held[source])

    def _edit(self) -> None:
        """Another text in its place: what was there is gone."""
        path = self._some(".eml")
        path.write_bytes(self._message(name := self._name()))
        self.held[path] = [name]

    def _delete(self) -> None:
        path = self._some(".eml")
        path.unlink()
        del self.held[path]

    def _move(self) -> None:
        source = self._some(".eml")
        target = self.folder / self.chance.choice(PROFILES) / f"moved-{self.written}-{source.name}"
        source.rename(target)
        self.held[target] = self.held.pop(source)

    def _broken(self) -> None:
        """It must be set aside, and disturb nothing."""
        self._new(self.chance.choice((".docx", ".pdf"))).write_bytes(self.chance.randbytes(2000))
        self.written += 1

    def _some(self, suffix: str) -> Path:
        return self.chance.choice([path for path in self.held if path.suffix == suffix])


def known(store: Store) -> Counter[tuple[str, str]]:
    """(profile, name) of every demonstration in a store, as often as it is there."""
    found: Counter[tuple[str, str]] = Counter()
    for profile in store.profiles():
        for row in store.demonstration_rows(profile):
            found.update((profile, name) for name in _names(row.demonstration.completion))
    return found


def _names(text: str) -> Iterator[str]:
    return (word.strip(".,") for word in text.split() if word.startswith(NAMED))


def compared(expected: Mapping[tuple[str, str], int], found: Mapping[tuple[str, str], int]) -> dict[str, int]:
    """What is missing, what is there more than once, and what is there though its file has gone."""
    return {
        "lost": sum(name not in found for name in expected),
        "doubled": sum(times > 1 for times in found.values()),
        "undead": sum(name not in expected for name in found),
    }
