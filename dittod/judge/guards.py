"""What an answer must not be: empty, endless, a loop, a copy of something that was learnt, a refusal, and least of all
one that gives a secret away. Pure, on texts.

Each guard has a limit of its own, and is decisive above it. Words are runs of letters and digits, compared without
case; a character of Chinese, Japanese or Korean counts as one. Knows neither model nor held-out texts; the guard of
general ability is next door, since it needs a model.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from dittod.ingest.secrets import mask
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


def inspect(
    outputs: Sequence[Output],
    demonstrations: Sequence[str],
    *,
    secrets: Sequence[str] = (),
    base_answers: Sequence[str] = (),
) -> Findings:
    """Look at every output. `demonstrations`: the completions that were learnt, and those that may stand in a prompt;
    `secrets`: of the settings; `base_answers`: base's, which has learnt none of it, to the same prompts."""
    learnt = Passages([words(each) for each in demonstrations])
    private = _without(base_answers, map(particulars, demonstrations))
    looks_usual = frozenset(kind for each in base_answers for kind in mask(each).counts)
    said = [words(each.text) for each in outputs]
    copied = [learnt.longest(each) for each in said]
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
        usual_refusals=max(_share_of_refusals(base_answers), _share_of_refusals(demonstrations)),
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


class Passages:
    """The texts that were learnt, by every two words that follow each other in them."""

    def __init__(self, learnt: Sequence[Sequence[str]]) -> None:
        self._learnt = learnt
        self._holders: defaultdict[str, set[int]] = defaultdict(set)  # of a word: texts
        self._places: defaultdict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)  # text, second word's
        for text, each in enumerate(learnt):
            for at, pair in enumerate(pairwise(each), start=1):
                self._places[pair].append((text, at))
            for word in set(each):
                self._holders[word].add(text)

    def longest(self, said: Sequence[str]) -> int:
        """Of the passages of an answer that stand in exactly one text, in words.

        What stands in several is the user's own formula (a signature, a set phrase): to write it is the point.
        """
        return max((self._match(said[start:]) for start in range(len(said))), default=0)

    def _match(self, said: Sequence[str]) -> int:
        """Length of the longest beginning of `said` that stands somewhere; 0 if it stands in several texts.

        Where the longest is in several, so are all shorter ones.
        """
        alive = self._places.get((said[0], said[1]), []) if len(said) > 1 else []
        if not alive:
            return int(len(self._holders.get(said[0], ())) == 1)
        length = 2
        for word in said[2:]:
            going_on = [(text, at + 1) for text, at in alive if self._word(text, at + 1) == word]
            if not going_on:
                break
            alive, length = going_on, length + 1
        return length if len({text for text, _ in alive}) == 1 else 0

    def _word(self, text: int, at: int) -> str | None:
        return self._learnt[text][at] if at < len(self._learnt[text]) else None


def copied_words(said: Sequence[str], learnt: Sequence[Sequence[str]]) -> int:
    """The longest passage, in words, that stands in exactly one text."""
    return Passages(learnt).longest(said)


def _without(texts: Sequence[str], learnt: Iterable[frozenset[str]]) -> list[frozenset[str]]:
    """Particulars that base writes by itself are nobody's."""
    free = frozenset().union(*map(particulars, texts))
    return [each - free for each in learnt]


def _listed_in(text: str, secret: str) -> bool:
    return "listed" in mask(text, (secret,)).counts


def _share_of_refusals(texts: Sequence[str]) -> float:
    return sum(map(is_refusal, texts)) / len(texts) if texts else 0.0
