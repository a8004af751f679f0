"""Which demonstrations an update learns from, and which are held out to judge it. Pure and deterministic.

Knows age, kind and length. Does not know the store, nor what is done with either part. The latest are held out, because
a judge must see what comes after what was learnt. Pairs come last in that: who edits an answer wants it learnt.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from dittod.ingest.words import words_of
from dittod.types import Demonstration

SAME_WORDS = 0.8  # share of common three-word runs above which two texts are the same one again
MOST_IN_A_PROMPT = 0.5  # share of a text's runs that a prompt may hold: a message quoted there is cut to a length
FORMULA_TEXTS = 4  # a run of words that so many texts have is the person's own formula, and gives none of them away
_FEWEST_TELLING = 8  # runs of ten words: what is shorter stands in others by chance
MOST_CONSIDERED = 2000  # of a profile, the latest: what is older is neither learnt from nor judged by
MOST_HELD_OUT = 32  # texts: the gate scores each under every candidate; more tell little more
_FEWEST_TO_HOLD_OUT = 3  # demonstrations; with one or two, all are needed for learning
_LENGTH_CLASSES = (40, 120)  # words: a note, a mail, a long mail

Words = tuple[str, ...]  # a run of three


@dataclass(frozen=True, slots=True)
class Selection:
    """What a run learns from and is judged by, oldest first; `reasons` has a phrase for every demonstration."""

    learn: tuple[Demonstration, ...]
    held_out: tuple[Demonstration, ...]
    reasons: dict[str, str]  # by demonstration id, those left aside too


def select(
    demonstrations: Iterable[Demonstration],
    held_out_fraction: float = 0.1,
    minimum_held_out: int = 8,
    limit: int = 12,
    seen_before: Collection[str] = (),
) -> Selection:
    """`seen_before` are ids that an adapter has learnt from: they are never held out, or the judge would be fooled.

    Near-duplicates count once, and the newest stays; one that gives a held-out text away is not learnt from.
    """
    newest = sorted(demonstrations, key=_newest_first)
    reasons: dict[str, str] = {}
    distinct, stands_for = _without_copies(newest, reasons)
    unseen = [one for one in distinct if stands_for[one.id].isdisjoint(seen_before)]
    asked = {one.prompt for one in distinct if one.kind == "pair"}
    unseen.sort(key=lambda one: one.prompt in asked)  # stable: the latest of each come first
    count = min(held_out_count(len(distinct), held_out_fraction, minimum_held_out), len(unseen))
    held_out = unseen[:count]
    reasons.update((one.id, "held out: among the latest") for one in held_out)
    kept_apart = {one.id for one in held_out}
    rest = [one for one in distinct if one.id not in kept_apart]
    reasons.update((one.id, "left aside: most of a held-out text stands in it") for one in rest)
    learn = _diverse(unlike(rest, held_out), limit, reasons)
    return Selection(_oldest_first(learn), _oldest_first(held_out), reasons)


def held_out_count(total: int, fraction: float = 0.1, minimum: int = 8) -> int:
    """How many of `total` are held out: the fraction, at least `minimum`, at most a third; none of one or two. The
    minimum is high because few are learnt from, and a verdict by three texts is hardly more than chance.

    3 to 5 give 1, 6 to 8 give 2, 12 give 4, 24 to 89 give 8, 90 give 9, and 320 or more give 32.
    """
    if total < _FEWEST_TO_HOLD_OUT:
        return 0
    return min(max(math.floor(total * fraction), minimum), total // 3, MOST_HELD_OUT)


def unlike(demonstrations: Iterable[Demonstration], held_out: Iterable[Demonstration]) -> list[Demonstration]:
    """Those that say nearly the same words as none that is held out, and quote most of none, not in their prompt
    either: beside them nothing is given away."""
    kept = [_runs_of_words(one.completion) for one in held_out]
    wanted: set[Words] = set().union(*kept)
    different: list[tuple[Demonstration, set[Words]]] = []  # with the runs that some held-out text has, too
    for one in demonstrations:
        runs = _runs_of_words(one.completion)
        said = runs & wanted
        if not said or not any(_are_same(len(said & each), len(runs), len(each)) for each in kept):
            different.append((one, said))
    used = Counter(run for _, said in different for run in said)
    telling = [{run for run in each if used[run] < FORMULA_TEXTS} for each in kept]
    return [one for one, said in different if not _quotes_one(said, _runs_of_words(one.prompt) & wanted, telling)]


def once_each(demonstrations: Iterable[Demonstration]) -> list[Demonstration]:
    """Oldest first, of those that say nearly the same words the newest only."""
    return _without_copies(sorted(demonstrations, key=_newest_first), {})[0][::-1]


def length_class(demonstration: Demonstration) -> str:
    """'short', 'medium' or 'long'."""
    words = len(words_of(demonstration.completion))
    short, medium = _LENGTH_CLASSES
    return "short" if words <= short else "medium" if words <= medium else "long"


def _diverse(newest: Sequence[Demonstration], limit: int, reasons: dict[str, str]) -> list[Demonstration]:
    """Takes turns among the groups of kind and length, always the newest of the group with the fewest taken."""
    groups: dict[tuple[str, str], list[Demonstration]] = {}
    for one in newest:
        groups.setdefault((one.kind, length_class(one)), []).append(one)
    taken: list[Demonstration] = []
    while len(taken) < limit and any(groups.values()):
        for (kind, length), group in groups.items():
            if group and len(taken) < limit:
                taken.append(group.pop(0))
                reasons[taken[-1].id] = f"learnt: recent, a {length} {kind}"
    for group in groups.values():
        reasons.update((one.id, f"not needed: {limit} others are newer or of a rarer kind") for one in group)
    return taken


def _without_copies(
    newest: Sequence[Demonstration], reasons: dict[str, str]
) -> tuple[list[Demonstration], dict[str, set[str]]]:
    """Leaves out texts that say nearly the same words as a newer one; with the others, the ids that each stands for."""
    distinct: list[Demonstration] = []
    stands_for: dict[str, set[str]] = {}
    holders: dict[Words, list[int]] = {}  # a run of words → which of `distinct` have it
    sizes: list[int] = []
    for one in newest:
        runs = _runs_of_words(one.completion)
        common: dict[int, int] = {}
        for run in runs:
            for index in holders.get(run, ()):
                common[index] = common.get(index, 0) + 1
        same = (i for i, shared in common.items() if _are_same(shared, len(runs), sizes[i]))
        if (newer := next(same, None)) is not None:
            reasons[one.id] = "left aside: nearly the same words as a newer one"
            stands_for[distinct[newer].id].add(one.id)
            continue
        for run in runs:
            holders.setdefault(run, []).append(len(distinct))
        sizes.append(len(runs))
        distinct.append(one)
        stands_for[one.id] = {one.id}
    return distinct, stands_for


def _quotes_one(said: set[Words], asked: set[Words], telling: Iterable[set[Words]]) -> bool:
    """`telling`: of each held-out text, the runs that are no formula."""
    return bool(said or asked) and any(
        len(said & each) >= SAME_WORDS * len(each) or len(asked & each) > MOST_IN_A_PROMPT * len(each)
        for each in telling
        if len(each) >= _FEWEST_TELLING
    )


def _are_same(shared: int, one: int, other: int) -> bool:
    """By how many runs of words they have, and have in common."""
    return shared >= SAME_WORDS * (one + other - shared)


def _runs_of_words(text: str) -> set[Words]:
    """Every run of three words; a shorter text is one run."""
    words = words_of(text.lower())
    return {tuple(words[i : i + 3]) for i in range(max(1, len(words) - 2))}


def _newest_first(one: Demonstration) -> tuple[float, str]:
    return -one.written_at, one.id


def _oldest_first(demonstrations: Sequence[Demonstration]) -> tuple[Demonstration, ...]:
    return tuple(sorted(demonstrations, key=lambda one: (one.written_at, one.id)))
