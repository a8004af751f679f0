"""Which text of a new reading stands for one of an earlier reading: that of an edited file, say. Pure.

Nearly all of the old text must be there still, and no passage may be missing, however long the text around it: who
takes one out wants it forgotten. A secret that was masked meanwhile was taken out, too. Knows words, not what they
mean: a passage in other words counts as taken out. Knows no files and no prompts.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping

from dittod.ingest.words import words_of

SAME_SHARE = 0.8  # of the old text's runs of words
RUN_WORDS = 3
PASSAGE_WORDS = 5  # in a row, of which nothing is left
_MASK = re.compile(r"\[masked(?: \w+)?\]")

Run = tuple[str, ...]


def successors(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str]:
    """By the name of each text of `before` that goes on in one of `after`, the name of the latter."""
    runs = {name: _runs(text) for name, text in before.items()}
    holders: defaultdict[Run, list[str]] = defaultdict(list)  # the old texts that have it
    for name, own in runs.items():
        for run in own:
            holders[run].append(name)
    best: dict[str, tuple[int, str]] = {}
    for name, text in after.items():
        for old, shared in Counter(old for run in _runs(text) for old in holders.get(run, ())).items():
            enough = shared >= SAME_SHARE * len(runs[old]) and _masks(text) <= _masks(before[old])
            if (
                enough
                and shared > best.get(old, (0, ""))[0]
                and _longest_lost(before[old], _runs(text)) < PASSAGE_WORDS
            ):
                best[old] = (shared, name)
    return {old: name for old, (_, name) in best.items()}


def _longest_lost(text: str, there: set[Run]) -> int:
    """How many words in a row of the text stand in none of these runs."""
    longest, first, end = 0, 0, 0  # the words from `first` on, up to `end`, are in none so far
    for start, run in enumerate(_in_order(text)):
        if run in there:
            longest, first = max(longest, start - first), start + len(run)
        end = start + len(run)
    return max(longest, end - first)


def _runs(text: str) -> set[Run]:
    return set(_in_order(text))


def _in_order(text: str) -> list[Run]:
    words = [each.casefold() for each in words_of(text)]
    return [tuple(words[start : start + RUN_WORDS]) for start in range(max(1, len(words) - RUN_WORDS + 1))]


def _masks(text: str) -> int:
    return len(_MASK.findall(text))
