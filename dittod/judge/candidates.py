"""Who is judged in a run: what is served now, and every recipe that could be served instead.

DITTO's last policy is not always its best, supervised learning alone may do, and so may a few of the person's own texts
in the prompt of a model that has learnt nothing (TICL, arXiv:2502.08972; Salemi and Zamani, arXiv:2409.09510). None is
taken on faith. Knows recipes and adapters in memory; knows no text and no judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dittod.engine.protocol import AdapterRef
from dittod.errors import ModelError
from dittod.learner import iterates
from dittod.learner.checkpoint import Tensors
from dittod.learner.ditto import Outcome
from dittod.learner.task import Task
from dittod.types import Recipe

SERVED = "served"
LENT = "lent"  # the adapter's name in memory where the served one and the iterates take turns: room is for three
BASE = Recipe("base")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A recipe by the name that figures and answers have for it."""

    name: str
    recipe: Recipe

    @property
    def words(self) -> str:
        """For sentences."""
        if self.name == SERVED:
            return "what is served now"
        policy = {"base": "the base model", "supervised": "the supervised policy", "ditto": "DITTO's policy"}
        words = policy[self.recipe.policy]
        if self.recipe.iteration:
            words += f" after round {self.recipe.iteration}"
        return f"{words} with examples" if self.recipe.examples else words


def named(recipe: Recipe) -> Candidate:
    """By its own name."""
    return Candidate(recipe.name, recipe)


def candidates_of(rival: Candidate, examples: int, steps: int, rounds: Sequence[int]) -> list[Candidate]:
    """All but the rival, the simplest first. `steps`: of preference learning; `rounds`: whose iterates are at hand."""
    learnt = [Recipe("supervised")]
    if steps:
        learnt += [*(Recipe("ditto", each) for each in rounds), Recipe("ditto")]
    recipes = [BASE, *learnt]
    if examples:
        recipes += [replace(each, examples=examples) for each in (BASE, *learnt) if not each.iteration]
    same = rival.recipe if rival.recipe.policy == "base" else None
    return [named(each) for each in recipes if each != same]


class Lineup:
    """The weights of all candidates: which adapter computes one of them. At most one is read from disk at a time."""

    def __init__(self, task: Task, outcome: Outcome) -> None:
        self._task, self._outcome = task, outcome
        self._lent = ""  # whose weights the lent place has
        self.rival = self._rival()
        self.candidates = candidates_of(self.rival, self._examples(), outcome.steps, self._rounds())

    def adapter(self, candidate: Candidate) -> str | None:
        """Its adapter's name in memory; None: the bare base. What was lent before is gone then."""
        recipe = candidate.recipe
        if recipe.policy == "base":
            return None
        if candidate.name == SERVED or recipe.iteration:
            self._lend(candidate)
            return LENT
        return self._outcome.policy if recipe.policy == "ditto" else self._outcome.reference

    @property
    def learnt(self) -> Candidate:
        """What learning was to lead to."""
        return named(Recipe("ditto" if self._outcome.steps else "supervised"))

    def let_go_but(self, adapter: str | None) -> None:
        """Of what was read from disk, unless that is wanted."""
        if adapter != LENT:
            self.let_go()

    def let_go(self) -> None:
        """Of what was read from disk."""
        if LENT in self._task.workbench.adapters:
            self._task.workbench.adapters.drop(LENT)
        self._lent = ""

    def _rival(self) -> Candidate:
        """What is served. A version that cannot be read or was made for another base is none: it serves nobody."""
        served = self._task.update.served
        if served is None:
            return named(BASE)
        rival = Candidate(SERVED, Recipe("ditto" if served.weights else "base", 0, served.examples))
        try:
            self.adapter(rival)
        except ModelError:
            self.let_go()
            return named(BASE)
        return rival

    def _examples(self) -> int:
        update = self._task.update
        return update.examples if update.pool else 0

    def _rounds(self) -> list[int]:
        """Of the iterates before the last one."""
        every, steps = self._task.preset.resample_every, self._outcome.steps
        before = [each for each in range(1, self._task.preset.iterations) if each * every < steps]
        return [each for each in before if self._iterate(each) is not None]

    def _iterate(self, number: int) -> Tensors | None:
        task = self._task
        return iterates.load(task.directory, task.fingerprint, number, task.update.key)

    def _lend(self, candidate: Candidate) -> None:
        if self._lent == candidate.name:
            return
        self.let_go()
        adapters = self._task.workbench.adapters
        if candidate.name == SERVED:
            served = self._task.update.served
            assert isinstance(served, AdapterRef)
            adapters.load(LENT, Path(served.path))
        else:
            weights = self._iterate(candidate.recipe.iteration)
            if weights is None:
                raise ModelError("an iterate of DITTO has gone from the disk", "run the update again")
            adapters.copy(self._outcome.policy, LENT)
            adapters.load_state(LENT, weights)
        self._lent = candidate.name
