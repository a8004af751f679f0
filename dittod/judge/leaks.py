"""Whether what is added to a prompt gives the text away that it asks for. Pure, on texts.

A prompt with the user's own sentences in it teaches copying. To name what the text is about is no leak: single words
and names are free, and so is every word that the template has already. Knows neither model nor likelihood.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from dittod.judge.guards import copied_words, words

COPIED_WORDS = 5  # new words in a row that stand in the text: a phrase of the user's own, longer than a name
COPIED_SHARE = 0.5  # of the neighbouring pairs of content words that stand so in the text
LEAST_PAIRS = 4  # with fewer, two names decide
_CONTENT_LETTERS = 4  # words as long as this carry content, in any language roughly


def gives_away(addition: str, completion: str, template: str) -> bool:
    """Whether the addition holds too much of the completion, in its own words and their order."""
    known = set(words(template))
    added, said = _without(known, words(addition)), _without(known, words(completion))
    if copied_words(added, [said]) >= COPIED_WORDS:
        return True
    pairs = _content_pairs(added)
    return len(pairs) >= LEAST_PAIRS and len(pairs & _content_pairs(said)) >= COPIED_SHARE * len(pairs)


def _without(known: set[str], said: Sequence[str]) -> list[str]:
    return [word for word in said if word not in known]


def _content_pairs(said: Sequence[str]) -> set[tuple[str, str]]:
    """Content words that follow each other when the small words between them are left out."""
    return set(pairwise(word for word in said if len(word) >= _CONTENT_LETTERS))
