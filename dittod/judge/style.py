"""How far a text is from a person's habits: length, punctuation, greeting, closing, function words. Pure, numpy only.

Rates of signs and of frequent words tell authors apart since Burrows, "Delta: a measure of stylistic difference"
(2002). Here a text's counts are held against the person's rates and against what is usual, which the shipped impostors
show, by Poisson deviance; the distance is the person's share of the two. Without what is usual, most of a short text's
distance is chance: by function words a later mail of the same author (Enron) was nearer than another's no oftener than
by guessing. The function words are the short ones that many of the texts share, a greeting is a beginning of few words,
a closing the short lines at the end: no language is built in, though what is usual is known for English, German, French
and Spanish. A distance of 1 is what the person's own texts have from each other in the mean, 0 is as near as can be.
Knows neither themes nor models.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import takewhile
from statistics import fmean
from typing import Self

import numpy as np
from numpy.typing import NDArray

from dittod.judge.guards import words
from dittod.judge.impostors import shipped_impostors

ASPECTS = ("length", "punctuation", "greeting", "closing", "function_words")
MOST_DISTANCE = 5.0  # one odd trait must not hide the others
_FUNCTION_LETTERS = 5  # longer words carry content, in most languages
_OWN_WORDS, _OWN_SHARE = 50, 0.3  # function words that the person has: at most, and in how many of the texts
_USUAL_WORDS, _USUAL_SHARE = 80, 0.08  # the same that others have: those texts are in several languages
_BORROWED_WORDS = 100.0  # so many words' weight has the other side in a rate: none is ever nought
_SHORT_WORDS = 4  # of a greeting, or of one line of a closing
_CLOSING_LINES = 3
_PRIOR_TEXTS = 2.0  # so many texts' weight has what is usual, beside what was seen of the person
_PRIORS = {"length": 0.5, "punctuation": 0.4, "greeting": 0.4, "closing": 0.4, "function_words": 0.4}
_SIGNS = (",", ".", "!", "?", ":", ";", "-", "–—", "()", '"“”„«»', "'’", "…", "/", "\n", "*•")
_PICTURE = re.compile(r"[\u2600-\u27bf\U0001f300-\U0001faff]|[:;]-?[)(DP]")

Numbers = NDArray[np.float64]
Habit = tuple[str, ...]  # of one greeting or closing: what can be the same or not


@dataclass(frozen=True, slots=True)
class _Traits:
    """What is looked at in one text."""

    length: Numbers
    words: int
    counts: Mapping[str, Numbers]  # punctuation, function words
    habits: Mapping[str, Habit]  # greeting, closing


Measure = Callable[[_Traits, Sequence[_Traits], _Traits], float]  # a text, the own texts, what is usual


@dataclass(frozen=True, slots=True)
class StyleProfile:
    """The habits of one person."""

    own: tuple[_Traits, ...]
    usual: _Traits  # of other people's texts taken together
    vocabulary: tuple[str, ...]  # the function words
    scale: Mapping[str, float]  # mean distance of an own text from the others

    @classmethod
    def of(cls, texts: Sequence[str]) -> Self:
        """From the person's own texts; a handful is enough. Those without words count where all are."""
        written = [each for each in texts if words(each)] or [each for each in texts if each.strip()]
        if not written:
            raise ValueError("a style needs at least one text")
        vocabulary = _vocabulary(written)
        own = tuple(_traits(each, vocabulary) for each in written)
        usual = reduce(_together, (_traits(each, vocabulary) for each in shipped_impostors()))
        return cls(own, usual, vocabulary, {aspect: _scale(aspect, own, usual) for aspect in ASPECTS})

    def distances(self, text: str) -> dict[str, float]:
        """By aspect; of a text without words the greatest, but for a person who writes pictures only."""
        if not words(text) and (not text.strip() or any(each.length[0] for each in self.own)):
            return dict.fromkeys(ASPECTS, MOST_DISTANCE)
        traits = _traits(text, self.vocabulary)
        apart = {aspect: measure(traits, self.own, self.usual) for aspect, measure in _MEASURES.items()}
        return {aspect: min(MOST_DISTANCE, apart[aspect] / self.scale[aspect]) for aspect in ASPECTS}

    def distance(self, text: str) -> float:
        """The mean over the aspects."""
        return fmean(self.distances(text).values())


def _vocabulary(own: Sequence[str]) -> tuple[str, ...]:
    usual = _function_words(shipped_impostors(), _USUAL_SHARE, _USUAL_WORDS)
    return tuple(dict.fromkeys((*usual, *_function_words(own, _OWN_SHARE, _OWN_WORDS))))


def _function_words(texts: Sequence[str], share: float, most: int) -> list[str]:
    """Short words that many of the texts have, the most common first."""
    common = Counter(
        word for text in texts for word in set(words(text)) if len(word) <= _FUNCTION_LETTERS and word.isalpha()
    )
    least = max(min(2, len(texts)), share * len(texts))
    return sorted((word for word in common if common[word] >= least), key=lambda word: (-common[word], word))[:most]


def _traits(text: str, vocabulary: Sequence[str]) -> _Traits:
    said = words(text)
    counted = Counter(said)
    sentences = max(1, len(re.findall(r"[.!?…。！？]+(?=\s|$)|\n+", text.strip())))
    return _Traits(
        length=np.log1p([len(said), len(said) / sentences]),
        words=max(1, len(said)),  # rates are by word, and a picture has none
        counts={
            "punctuation": _signs(text),
            "function_words": np.array([counted[word] for word in vocabulary], dtype=float),
        },
        habits={"greeting": _greeting(text), "closing": _closing(text)},
    )


def _together(one: _Traits, other: _Traits) -> _Traits:
    """Their counts as of one text."""
    counts = {aspect: one.counts[aspect] + other.counts[aspect] for aspect in one.counts}
    return replace(one, words=one.words + other.words, counts=counts)


def _signs(text: str) -> Numbers:
    """How often each sign stands there; last: capitals at the beginning of words, and pictures."""
    body = re.sub(r"[^\S\n]+", " ", text.strip())
    signs = [sum(body.count(character) for character in group) for group in _SIGNS]
    capitals = sum(letter.isupper() for letter in re.findall(r"\b[^\W\d_]", body))
    return np.array([*signs, capitals, len(_PICTURE.findall(body))], dtype=float)


def _greeting(text: str) -> Habit:
    """First word, and what ends it, of a text that begins with a few words of their own."""
    found = re.match(r"([^\n,.!?:;，。！？：]+)([,.!?:;，。！？：]*)(\n*)", text.strip())
    said = words(found.group(1)) if found else []
    if not found or not 0 < len(said) <= _SHORT_WORDS:
        return ("", "", "")
    return (said[0], found.group(2)[:1], found.group(3)[:2])


def _closing(text: str) -> Habit:
    """First and last word, and how many, of the short lines at the end."""
    lines = [said for said in map(words, text.strip().splitlines()) if said]
    short = list(takewhile(lambda line: len(line) <= _SHORT_WORDS, reversed(lines[1:])))[:_CLOSING_LINES]
    return (short[-1][0], short[0][-1], str(len(short))) if short else ("", "", "")


def _scale(aspect: str, own: Sequence[_Traits], usual: _Traits) -> float:
    """The mean distance of an own text from the others, with a prior's weight: few texts may be alike by chance."""
    rest = [(each, [*own[:place], *own[place + 1 :]]) for place, each in enumerate(own) if len(own) > 1]
    apart = [_MEASURES[aspect](each, others, usual) for each, others in rest]
    return (sum(apart) + _PRIOR_TEXTS * _PRIORS[aspect]) / (len(apart) + _PRIOR_TEXTS)


def _by_length(text: _Traits, own: Sequence[_Traits], _: _Traits) -> float:
    """Of the logarithms, of the text's words and of a sentence's, from the middle one."""
    centre = np.median([each.length for each in own], axis=0)
    return float(np.abs(text.length - centre).mean())


def _by_rates(aspect: str) -> Measure:
    """How badly the person's rates explain the counts, as a share of how badly those and the usual ones do."""

    def measure(text: _Traits, own: Sequence[_Traits], usual: _Traits) -> float:
        person = reduce(_together, own)
        plain = (usual.counts[aspect] + 0.5) / (usual.words + 1.0)
        theirs = _mixed(person.counts[aspect], person.words, plain)
        others = _mixed(usual.counts[aspect], usual.words, theirs)
        off, usually_off = (_deviance(text.counts[aspect], text.words * rates) for rates in (theirs, others))
        return off / max(off + usually_off, 1e-9)

    return measure


def _mixed(counts: Numbers, size: int, other: Numbers) -> Numbers:
    """Rates per word, with some of the other side's in them."""
    return (counts + _BORROWED_WORDS * other) / (size + _BORROWED_WORDS)


def _deviance(counts: Numbers, expected: Numbers) -> float:
    """Of Poisson counts: 0 where every count is as expected."""
    logs = np.log(np.where(counts > 0, counts, expected) / expected)
    return float(2.0 * (counts * logs - (counts - expected)).sum())


def _by_habit(aspect: str) -> Measure:
    """The mean share, over the own texts, of what is not the same."""

    def measure(text: _Traits, own: Sequence[_Traits], _: _Traits) -> float:
        ours = text.habits[aspect]
        return fmean(fmean(a != b for a, b in zip(ours, each.habits[aspect], strict=True)) for each in own)

    return measure


_MEASURES: dict[str, Measure] = {
    "length": _by_length,
    "punctuation": _by_rates("punctuation"),
    "greeting": _by_habit("greeting"),
    "closing": _by_habit("closing"),
    "function_words": _by_rates("function_words"),
}
