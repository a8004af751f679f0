"""Which demonstrations are nearest to what is asked: Okapi BM25 over prompts and completions (Robertson and Zaragoza,
2009, The Probabilistic Relevance Framework: BM25 and Beyond).

Pure and deterministic. Knows words and dates; knows no model, no store, and not whether a text may be shown.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from dittod.ingest.words import words_of
from dittod.types import Demonstration

_SATURATION = 1.5  # k1: how much a word says that stands in a text again
_LENGTH_WEIGHT = 0.75  # b: how much a word says less for standing in a long text
_PROMPT_WEIGHT = 2  # what was asked then is compared with what is asked now: its words count so many times
_FIRST_UNSPACED = "\u3040"  # from here on scripts put no spaces between words: there every character counts as one


class Index:
    """Demonstrations, with their words counted once for many queries."""

    def __init__(self, demonstrations: Sequence[Demonstration]) -> None:
        self.demonstrations = tuple(demonstrations)
        self._holders: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)  # by word: which, how many times
        self._lengths: list[int] = []
        for place, each in enumerate(self.demonstrations):
            counts = Counter((*_PROMPT_WEIGHT * list(_terms(each.prompt)), *_terms(each.completion)))
            self._lengths.append(counts.total())
            for word, count in counts.items():
                self._holders[word].append((place, count))

    def nearest(self, query: str, count: int) -> list[Demonstration]:
        """The nearest first; of those that are as near, the newest. Fewer than `count` only where there are no more."""
        scores = self._scores(query)

        def rank(place: int) -> tuple[float, float, str]:
            one = self.demonstrations[place]
            return scores[place], one.written_at, one.id

        places = heapq.nlargest(count, range(len(self.demonstrations)), key=rank)
        return [self.demonstrations[place] for place in places]

    def _scores(self, query: str) -> list[float]:
        """A word of the query counts once, however often it is said there."""
        scores = [0.0] * len(self._lengths)
        mean_length = sum(self._lengths) / max(1, len(self._lengths)) or 1.0
        for word in sorted(set(_terms(query))):  # in one order: sums of floats depend on it
            holders = self._holders.get(word, ())
            rarity = math.log1p((len(scores) - len(holders) + 0.5) / (len(holders) + 0.5))  # never below 0
            for place, count in holders:
                length = 1 - _LENGTH_WEIGHT + _LENGTH_WEIGHT * self._lengths[place] / mean_length
                scores[place] += rarity * count * (_SATURATION + 1) / (count + _SATURATION * length)
        return scores


def nearest(query: str, demonstrations: Sequence[Demonstration], count: int) -> list[Demonstration]:
    """For one query; whoever has many keeps an Index."""
    return Index(demonstrations).nearest(query, count)


def _terms(text: str) -> Iterator[str]:
    for word in words_of(text.casefold()):
        if word[0] < _FIRST_UNSPACED:
            yield word
        else:
            yield from word
