"""What an answer must not be: empty, endless, a loop, a copy of something that was learnt. Pure, on texts.

Words are runs of letters and digits, compared without case; a character of Chinese, Japanese or Korean counts as one.
Knows neither model nor held-out texts.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Findings:
    """How many of the outputs trip each guard."""

    outputs: int
    empty: int = 0
    endless: int = 0
    loops: int = 0
    copies: int = 0
    longest_copied_words: int = 0  # of the longest passage shared with exactly one demonstration

    def figures(self) -> dict[str, float]:
        """By name, for a verdict."""
        return {each: float(getattr(self, each)) for each in self.__slots__}


def inspect(outputs: Sequence[Output], demonstrations: Sequence[str]) -> Findings:
    """Look at every output; `demonstrations` are the completions that were learnt."""
    learnt = [words(each) for each in demonstrations]
    said = [words(each.text) for each in outputs]
    copied = [copied_words(each, learnt) for each in said]
    return Findings(
        outputs=len(outputs),
        empty=sum(not each for each in said),
        endless=sum(not each.ended for each in outputs),
        loops=sum(map(loops, said)),
        copies=sum(is_copy(length, len(each)) for length, each in zip(copied, said, strict=True)),
        longest_copied_words=max(copied, default=0),
    )


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
    """The longest passage, in words, that stands in exactly one demonstration.

    What stands in several is the user's own formula (a signature, a set phrase): to write it is the point.
    """
    places = _places(learnt)
    return max((_match(said[start:], learnt, places) for start in range(len(said))), default=0)


def _places(learnt: Sequence[Sequence[str]]) -> Mapping[str, list[tuple[int, int]]]:
    places: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for text, each in enumerate(learnt):
        for at, word in enumerate(each):
            places[word].append((text, at))
    return places


def _match(said: Sequence[str], learnt: Sequence[Sequence[str]], places: Mapping[str, list[tuple[int, int]]]) -> int:
    """Length of the longest beginning of `said` that stands somewhere; 0 if it stands in several demonstrations.

    Where the longest is in several, so are all shorter ones.
    """
    alive: list[tuple[int, int]] = []  # (demonstration, position) of the last word matched
    for length, word in enumerate(said):
        if length == 0:
            going_on = places.get(word, [])
        else:
            going_on = [(t, at + 1) for t, at in alive if at + 1 < len(learnt[t]) and learnt[t][at + 1] == word]
        if not going_on:
            return length if len({text for text, _ in alive}) == 1 else 0
        alive = going_on
    return len(said) if len({text for text, _ in alive}) == 1 else 0
