"""What an answer must not be: empty, endless, a loop, a copy of something that was learnt, a refusal, and least of all
one that gives a secret away. Pure, on texts.

Each guard has a limit of its own, and is decisive above it. Words are runs of letters and digits, compared without
case; a character of Chinese, Japanese or Korean counts as one. Knows neither model nor held-out texts; the guard of
general ability is next door, since it needs a model.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from dittod.ingest.secrets import mask
from dittod.ingest.select import SAME_WORDS
from dittod.judge.particulars import given_away, particulars
from dittod.judge.refusals import is_refusal

TOLERATED_SHARE = 0.25  # of the outputs may trip one guard: they are drawn by chance, and few
NONE = 0.0  # for what is no accident, and cannot be taken back

COPIED_WORDS = 20  # as many in a row from one demonstration are a copy: chance and idiom end well before (a sentence)
COPIED_SHARE = 0.6  # … or that much of the answer, for answers too short for it
COPIED_WORDS_LEAST = 8  # … but greeting and closing alone are manner, not copy
LOOP_PERIOD = 20  # longest unit, in words, whose repetition is looked for
LOOP_REPEATS = 4  # so many times in a row
LOOP_WORDS = 9  # … over so many words: 'no, no, no, no' is emphasis

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")


@dataclass(frozen=True, slots=True)
class Output:
    """One answer of a candidate."""

    text: str
    ended: bool  # by itself, within the limit
    prompt: str = ""  # as it was asked, without examples: what stands there is given away by nobody


@dataclass(frozen=True, slots=True)
class Findings:
    """How many of the outputs trip each guard."""

    outputs: int
    empty: int = 0
    endless: int = 0
    loops: int = 0
    copies: int = 0
    longest_copied_words: int = 0  # of the longest passage shared with exactly one demonstration
    leaks: int = 0
    secrets: int = 0
    refusals: int = 0
    usual_refusals: float = 0.0  # share of base's answers, or of the user's own texts, that look like one

    def figures(self) -> dict[str, float]:
        """By name, for a verdict."""
        return {each: float(getattr(self, each)) for each in self.__slots__}


@dataclass(frozen=True, slots=True)
class Guard:
    """`name`: of the count in Findings."""

    name: str
    tolerated: float  # share of the outputs
    complaint: str  # what the answers do; never a word of theirs


GUARDS = (
    Guard("secrets", NONE, "hold a secret, or what looks like one"),
    Guard("leaks", NONE, "give away a number, an address, a link or a code of one text that was learnt"),
    Guard("empty", TOLERATED_SHARE, "are empty"),
    Guard("endless", TOLERATED_SHARE, "do not end"),
    Guard("loops", TOLERATED_SHARE, "repeat themselves in a loop"),
    Guard("copies", TOLERATED_SHARE, "copy a demonstration"),
    Guard("refusals", TOLERATED_SHARE, "refuse, as an assistant does"),
)


class Learnt:
    """The texts that were learnt, and those that may stand in a prompt.

    Texts that say nearly the same words are one: a mail that is there twice is no formula of the user's.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self.said: list[list[list[str]]] = []  # of every text and its copies, the words
        self.private: list[frozenset[str]] = []  # … and all that it can give away
        self.refusals: list[bool] = []  # of every text and every copy
        self._runs: list[_Runs] = []
        for each in texts:
            self.add(each)

    def add(self, text: str) -> None:
        """One more. Takes milliseconds: between two of them the engine can do something else."""
        said = words(text)
        runs = _runs_of(said)
        self.refusals.append(is_refusal(text))
        for place, others in enumerate(self._runs):
            if _nearly_same(runs, others):
                self.said[place].append(said)
                self.private[place] |= particulars(text)
                return
        self._runs.append(runs)
        self.said.append([said])
        self.private.append(particulars(text))


def inspect(
    outputs: Sequence[Output],
    learnt: Learnt,
    *,
    secrets: Sequence[str] = (),
    base_answers: Sequence[str] = (),
) -> Findings:
    """Look at every output. `secrets`: of the settings; `base_answers`: base's, which has learnt nothing, to the same
    prompts."""
    free = frozenset[str]().union(*map(particulars, base_answers))  # what base writes by itself is nobody's
    private = [each - free for each in learnt.private]
    looks_usual = frozenset(kind for each in base_answers for kind in mask(each).counts)
    said = [words(each.text) for each in outputs]
    copied = longest_passages(said, learnt.said)
    return Findings(
        outputs=len(outputs),
        empty=sum(not each for each in said),
        endless=sum(not each.ended for each in outputs),
        loops=sum(map(loops, said)),
        copies=sum(is_copy(length, len(each)) for length, each in zip(copied, said, strict=True)),
        longest_copied_words=max(copied, default=0),
        leaks=sum(bool(given_away(each.text, each.prompt, private)) for each in outputs),
        secrets=sum(holds_secret(each, secrets) or looks_secret(each, looks_usual) for each in outputs),
        refusals=sum(is_refusal(each.text) for each in outputs),
        usual_refusals=max(_share(list(map(is_refusal, base_answers))), _share(learnt.refusals)),
    )


def objections(found: Findings, who: str) -> list[str]:
    """A sentence for every guard that these answers trip, the gravest first. Empty: they may be served."""
    sentences = []
    for guard in GUARDS:
        count = int(getattr(found, guard.name))
        tolerated = max(guard.tolerated, found.usual_refusals) if guard.name == "refusals" else guard.tolerated
        if count > tolerated * found.outputs:
            sentences.append(f"{count} of {found.outputs} answers of {who} {guard.complaint}.")
    return sentences


def holds_secret(output: Output, secrets: Sequence[str]) -> bool:
    """Whether an answer holds one that the user has listed, which its prompt does not."""
    if not mask(output.text, secrets).counts.get("listed"):
        return False
    return any(_listed_in(output.text, each) and not _listed_in(output.prompt, each) for each in secrets)


def looks_secret(output: Output, usual: Collection[str]) -> bool:
    """Whether an answer holds what would be masked, of a kind that is neither in its prompt nor usual: what was learnt
    was masked, so it may be made up, and nobody can tell."""
    kinds = mask(output.text).counts.keys()
    return bool(kinds - mask(output.prompt).counts.keys() - set(usual))


def words(text: str) -> list[str]:
    """The words of a text, in lower case."""
    return _WORD.findall(text.lower())


def loops(said: Sequence[str]) -> bool:
    """Whether some unit of up to LOOP_PERIOD words comes LOOP_REPEATS times in a row."""
    for period in range(1, min(LOOP_PERIOD, len(said) // LOOP_REPEATS) + 1):
        needed = max(LOOP_REPEATS * period, LOOP_WORDS) - period  # words equal to the one a period earlier
        run = 0
        for now, before in zip(said[period:], said, strict=False):
            run = run + 1 if now == before else 0
            if run >= needed:
                return True
    return False


def is_copy(copied: int, length: int) -> bool:
    """Whether `copied` words in a row are too many in an answer of `length` words."""
    return copied >= COPIED_WORDS or copied >= max(COPIED_WORDS_LEAST, COPIED_SHARE * length)


def copied_words(said: Sequence[str], learnt: Sequence[Sequence[str]]) -> int:
    """The longest passage, in words, that stands in exactly one text."""
    return longest_passages([said], [[each] for each in learnt])[0]


def longest_passages(said: Sequence[Sequence[str]], learnt: Sequence[Sequence[Sequence[str]]]) -> list[int]:
    """For every answer: of the passages that stand in exactly one text (or in copies of it), the longest, in words.

    What stands in several is the user's own formula (a signature, a set phrase): to write it is the point.
    """
    passages = _Passages(said)
    longest, alone = [0] * len(passages.lengths), [False] * len(passages.lengths)
    for copies in learnt:
        for state, length in passages.found_in(copies).items():
            if length >= longest[state]:
                longest[state], alone[state] = length, length > longest[state]
    for state in passages.by_length()[1:]:
        if not longest[state]:  # then what ends there and stands somewhere is shorter
            link = passages.links[state]
            longest[state], alone[state] = longest[link], alone[link]
    return [max((longest[state] for state, _ in passages.walk(each) if alone[state]), default=0) for each in said]


class _Passages:
    """Every passage of the answers, in a suffix automaton (Blumer and others, 1985): to build it and to read texts
    with it takes time that grows with their words only, however they repeat themselves.

    A state stands for passages that end at the same places; its link, for the longest of their endings that ends at
    more places; its length is that of the longest.
    """

    def __init__(self, answers: Sequence[Sequence[str]]) -> None:
        self._next: list[dict[str, int]] = []
        self.links: list[int] = []
        self.lengths: list[int] = []
        self._add({}, -1, 0)
        for answer in answers:
            last = 0
            for word in answer:
                last = self._extended(last, word)

    def by_length(self) -> list[int]:
        """All states, each after its link."""
        return sorted(range(len(self.lengths)), key=self.lengths.__getitem__)

    def walk(self, text: Sequence[str]) -> Iterator[tuple[int, int]]:
        """At every word of a text: the longest passage that ends there, by its state and its words."""
        state = length = 0
        for word in text:
            while state and word not in self._next[state]:
                state = self.links[state]
                length = self.lengths[state]
            state = self._next[state].get(word, 0)
            if state:
                length += 1
                yield state, length

    def found_in(self, copies: Sequence[Sequence[str]]) -> dict[int, int]:
        """How long the longest passage of every state is that stands in one of the texts."""
        found: dict[int, int] = {}
        for text in copies:
            for state, length in self.walk(text):
                while state and found.get(state, 0) < length:
                    found[state] = length
                    state = self.links[state]
                    length = self.lengths[state]
        return found

    def _add(self, following: dict[str, int], link: int, length: int) -> int:
        self._next.append(following)
        self.links.append(link)
        self.lengths.append(length)
        return len(self.lengths) - 1

    def _extended(self, last: int, word: str) -> int:
        """The state of the passage that ends in `last`, and one word more."""
        if word in self._next[last]:
            return self._exactly(last, word)
        new = self._add({}, 0, self.lengths[last] + 1)
        at = last
        while at >= 0 and word not in self._next[at]:
            self._next[at][word] = new
            at = self.links[at]
        if at >= 0:
            self.links[new] = self._exactly(at, word)
        return new

    def _exactly(self, at: int, word: str) -> int:
        """The state whose longest passage is that of `at` and the word: split off, if it stands for longer ones too."""
        old, length = self._next[at][word], self.lengths[at] + 1
        if self.lengths[old] == length:
            return old
        new = self._add(dict(self._next[old]), self.links[old], length)
        self.links[old] = new
        while at >= 0 and self._next[at].get(word) == old:
            self._next[at][word] = new
            at = self.links[at]
        return new


@dataclass(frozen=True, slots=True)
class _Runs:
    """The runs of three words in a text, by their hashes."""

    all: frozenset[int]
    first: frozenset[int]  # the smallest, so many that texts which are nearly the same share one of them


def _runs_of(said: Sequence[str]) -> _Runs:
    runs = sorted({hash(tuple(said[at : at + 3])) for at in range(max(1, len(said) - 2))})
    return _Runs(frozenset(runs), frozenset(runs[: len(runs) - ceil(SAME_WORDS * len(runs)) + 1]))


def _nearly_same(one: _Runs, other: _Runs) -> bool:
    """As among what is selected (ingest/select.py)."""
    if one.first.isdisjoint(other.first):
        return False
    shared = len(one.all & other.all)
    return shared >= SAME_WORDS * (len(one.all) + len(other.all) - shared)


def _listed_in(text: str, secret: str) -> bool:
    return "listed" in mask(text, (secret,)).counts


def _share(found: Sequence[bool]) -> float:
    return sum(found) / len(found) if found else 0.0
