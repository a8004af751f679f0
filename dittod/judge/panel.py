"""The judges of what was written, side by side: each gives every prompt's answers one number, higher is better.

Different judges of manner hardly agree (the authorship gap, arXiv:2604.26460), so none decides alone. Knows which texts
each judge needs, and what it may not be shown; knows no candidate.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from statistics import fmean

from dittod.engine.protocol import Update
from dittod.judge.impostors import shipped_impostors
from dittod.judge.pairwise import Ask, shares_won
from dittod.judge.style import StyleProfile
from dittod.judge.verifier import Verifier

KNOWN_TEXTS = 60  # the newest: manner changes over the years, and the verifier's time grows with them

Answers = Sequence[Sequence[str]]  # by prompt


@dataclass(frozen=True, slots=True)
class Panel:
    """All judges but likelihood."""

    verifier: Verifier
    style: StyleProfile
    ask: Ask | None  # None: the base model cannot judge
    strangers: Sequence[str]  # texts that it is shown in the place of the person's

    def scores(
        self, answers: Answers, rivals: Answers, samples: Sequence[str]
    ) -> Generator[int, None, dict[str, tuple[float, ...]]]:
        """By judge, for each prompt. `samples`: the person's own texts for these prompts."""
        found = {"verifier": self._verified(answers), "style": self._near(answers)}
        yield 1
        if self.ask is not None:
            found["pairwise"] = tuple((yield from shares_won(self.ask, samples, self.strangers, answers, rivals)))
        return found

    def _verified(self, answers: Answers) -> tuple[float, ...]:
        scores = iter(self.verifier.scores([text for each in answers for text in each]))
        return tuple(fmean(next(scores) for _ in each) for each in answers)

    def _near(self, answers: Answers) -> tuple[float, ...]:
        return tuple(-fmean(self.style.distance(text) for text in each) for each in answers)


def known_texts(update: Update) -> list[str]:
    """The person's texts that judges may know: none that is held out, none twice, the newest last."""
    held_out = {each.completion for each in update.held_out}
    texts = sorted({*update.demonstrations, *update.pool}, key=lambda each: (each.written_at, each.id))
    return list(dict.fromkeys(each.completion for each in texts if each.completion not in held_out))[-KNOWN_TEXTS:]


def impostor_texts(update: Update, by_base: Sequence[str], judged: Sequence[str]) -> list[str]:
    """Whom the person is told from: those that ship, other profiles, and the base model, which answered other prompts.

    No text stands for an impostor that is judged itself, or the person's own.
    """
    not_these = {*judged, *known_texts(update), *(each.completion for each in update.held_out)}
    texts = dict.fromkeys((*shipped_impostors(), *update.impostors, *by_base))
    return [each for each in texts if each.strip() and each not in not_these]
