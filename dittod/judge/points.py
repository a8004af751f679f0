"""Which of several sentences about a text may stand in its prompt: pure arithmetic and wording.

A small model finds a text likelier after *any* paragraph in the person's manner: with the starter, 85 of 100 sentences
about another mail of the same person did so, by 0.22 nats per token in the mean (two people of Panza). So a sentence
must help its own text more than it helps others, and by more than sentences about others do. With

    g[i, k] = (log p(text i | its template and sentence k) - log p(text i | its template)) / tokens of text i
    a[i, k] = h[i, k] - mean of h[j, k] over the texts j that are neither i nor what k is about,  h = max(g, 0)

a sentence k about text i is kept if g[i, k] is above LEAST_GAIN, and a[i, k] above the mean of a[i, ·] over all
sentences about other texts, by DEVIATIONS of their standard deviation. How much a wrong sentence harms is left out of
it: a good model is harmed by nats, and by how many says nothing. Knows neither model nor person.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from dittod.judge.guards import words

PREFIX = "Points to make:"  # as people write it, whether a mail, a reply or a text is asked for
MOST_WORDS = 60
MOST_SHARE = 0.25  # of the text's words: more is no summary
LEAST_WORDS = 3  # of an addition: fewer say no more than a subject does
LEAST_GAIN = 0.02  # nats per token; computing in bf16 moved a gain by 0.013 at most (40 mails, the starter)
DEVIATIONS = 4.0  # with the starter, of 120 texts: 8 kept, 2 by chance; at 3: 16 and 3; at 2: 23 and 7
LEAST_TEXTS = 3  # that are compared: a text, the one another sentence is about, and one to compare both with
LEAST_STRANGERS = 3  # sentences about others, for a standard deviation: what a model is sure of it says but once
_SENTENCES = re.compile(r".*[.!?…。！？](?=\s|$)", re.DOTALL)
_BULLET = re.compile(r"^\s*(?:[-*•]|\d{1,2}[.)])\s+")


@dataclass(frozen=True, slots=True)
class Gains:
    """What every sentence does for every text, in nats per token of the text."""

    of: Sequence[Sequence[float]]  # g[i, k]
    about: Sequence[int]  # the text that sentence k was written about
    template: Sequence[float]  # nats per token of text i after its template

    def advantage(self, text: int, sentence: int) -> float:
        """a[i, k]."""
        apart = {text, self.about[sentence]}
        elsewhere = fmean(max(0.0, row[sentence]) for j, row in enumerate(self.of) if j not in apart)
        return max(0.0, self.of[text][sentence]) - elsewhere

    def needed(self, text: int) -> float | None:
        """What a[i, k] must exceed; None where too little is there to compare with."""
        if len(self.of) < LEAST_TEXTS:
            return None
        strangers = [self.advantage(text, k) for k, about in enumerate(self.about) if about != text]
        if len(strangers) < LEAST_STRANGERS:
            return None
        return max(LEAST_GAIN, fmean(strangers) + DEVIATIONS * stdev(strangers))


def with_points(template: str, points: str) -> str:
    """The template's form stays: the starter model is tuned on it."""
    return f"{template}\n\n{PREFIX} {points}"


def most_words(completion: str) -> int:
    """How long an addition may be; 0 for a text that is too short to be summed up."""
    most = min(MOST_WORDS, int(MOST_SHARE * len(words(completion))))
    return most if most >= 2 * LEAST_WORDS else 0


def tidied(answer: str, *, ended: bool) -> str:
    """What the model answered, on one line: its first paragraph, a list's items one after the other. Where the answer
    was cut off, its whole sentences; empty if there is none."""
    paragraph, parted, _ = answer.strip().partition("\n\n")
    if not parted and not ended:
        whole = _SENTENCES.match(paragraph)
        paragraph = whole.group() if whole else ""
    items = [_BULLET.sub("", line).strip().rstrip(";") for line in paragraph.splitlines()]
    return "; ".join(item for item in items if item).strip("\"'` ")
