"""What is counted while a file is read, in bounded memory, however many mails it holds and whoever wrote them. Pure.

Knows answers of the reading process. Does not know files, nor what the counts are for.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from dittod.ingest.identity import OTHER_SENDERS
from dittod.ingest.process import Answer
from dittod.rows import FileRow

MOST_SENDERS = 5_000
MOST_TAILS = 20_000


@dataclass
class Tally:
    """What is counted while one file is read. Bounded, however large the file is."""

    senders: Counter[str] = field(default_factory=Counter[str])
    tails: Counter[str] = field(default_factory=Counter[str])
    masked: Counter[str] = field(default_factory=Counter[str])
    removed: Counter[str] = field(default_factory=Counter[str])
    reasons: Counter[str] = field(default_factory=Counter[str])

    @classmethod
    def of(cls, row: FileRow) -> Tally:
        """What was counted when the file was read, to go on from there."""
        return cls(*(Counter(each) for each in (row.senders, row.tails, row.masked, row.removed, row.reasons)))

    def add(self, answer: Answer) -> None:
        """One more Document."""
        if answer.sender:
            self.senders[answer.sender] += 1
        self.tails.update(answer.result.tail)
        self.masked.update(answer.result.masked)
        self.removed.update(answer.removed)
        if answer.result.reason:
            self.reasons[answer.result.reason] += 1
        if len(self.senders) > MOST_SENDERS:
            self.senders = _with_others(self.senders, MOST_SENDERS // 2)
        if len(self.tails) > MOST_TAILS:
            self.tails = Counter(dict(self.tails.most_common(MOST_TAILS // 2)))

    def reason(self) -> str:
        """In a few words, why not everything gave a demonstration."""
        counted = self.reasons.most_common(5)
        return ", ".join(reason if count == 1 else f"{reason} ({count})" for reason, count in counted)


@dataclass
class Survey:
    """Senders of a sample of mails, and how the mails of each end."""

    senders: Counter[str] = field(default_factory=Counter[str])
    tails: dict[str, Counter[str]] = field(default_factory=dict[str, "Counter[str]"])

    def add(self, answer: Answer) -> None:
        """One more mail; texts have no sender."""
        if answer.sender:
            self.senders[answer.sender] += 1
            self.tails.setdefault(answer.sender, Counter()).update(answer.result.tail)


def _with_others(senders: Counter[str], kept: int) -> Counter[str]:
    """The most frequent ones, and all others as one that is nobody's: a share of the whole must stay one."""
    most = Counter(dict(senders.most_common(kept)))
    most[OTHER_SENDERS] += senders.total() - most.total()
    return most
