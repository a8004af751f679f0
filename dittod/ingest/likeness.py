"""Which text of a new reading stands for one of an earlier reading: that of an edited file, say. Pure.

Nearly all of the old text must be there still: who takes a passage out wants it forgotten. A secret that was masked
meanwhile was taken out, too. Knows words; knows no files and no prompts.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping

from dittod.ingest.words import words_of

SAME_SHARE = 0.8  # of the old text's runs of words
RUN_WORDS = 3
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
            if enough and shared > best.get(old, (0, ""))[0]:
                best[old] = (shared, name)
    return {old: name for old, (_, name) in best.items()}


def _runs(text: str) -> set[Run]:
    words = [each.casefold() for each in words_of(text)]
    return {tuple(words[start : start + RUN_WORDS]) for start in range(max(1, len(words) - RUN_WORDS + 1))}


def _masks(text: str) -> int:
    return len(_MASK.findall(text))
