"""The evidence of one run: every candidate is measured, those with a chance write, the panel rates what they wrote.

Written are answers to the latest held-out prompts, with the same seeds for everybody. Whom likelihood has a veto
against need not write, since nothing it writes could help it; of DITTO's iterates the likeliest writes for all. Both
are decided by likelihood alone, before any answer is seen, and whoever was left out still counts as tried (see
verdict.py).

Knows the order of work and its progress; what follows from the evidence is for gate.py.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import TypeVar

from dittod.engine.protocol import Progress
from dittod.judge.ability import Ability, ability
from dittod.judge.candidates import BASE, Candidate, Lineup, named
from dittod.judge.guards import Output
from dittod.judge.likelihood import as_served, nats
from dittod.judge.pairwise import by_model, competence, is_competent
from dittod.judge.panel import Panel, impostor_texts, known_texts
from dittod.judge.style import StyleProfile
from dittod.judge.verdict import Scores, compare, of_each, vetoes, without_examples
from dittod.judge.verifier import Verifier
from dittod.judge.writing import most_tokens, write
from dittod.learner.batch import TokenSequence
from dittod.learner.chance import derived_seed
from dittod.learner.task import Task, reporting
from dittod.retrieval import Index

PROMPTS = 8  # held-out prompts that are answered, the latest ones
OUTPUTS_PER_PROMPT = 2
BASE_PROMPTS = 8  # prompts of demonstrations that base answers, to be told from

Written = list[list[Output]]  # by prompt
Result = TypeVar("Result")


@dataclass(slots=True)
class Evidence:
    """All that was found, by the candidates' names."""

    tokens: list[int] = field(default_factory=list[int])  # of every held-out text
    nats: dict[str, list[float]] = field(default_factory=dict[str, list[float]])  # per token of each
    answers: dict[str, Written] = field(default_factory=dict[str, Written])  # to the latest held-out prompts
    scores: dict[str, Scores] = field(default_factory=dict[str, Scores])  # of who did not write, by likelihood alone
    abilities: dict[str, Ability] = field(default_factory=dict[str, Ability])  # of weights, without examples
    competence: float = 0.0  # share of trials in which the base model tells the person from others

    def mean_nats(self, name: str) -> float:
        """Per token, of all that is held out."""
        weighed = [each * tokens for each, tokens in zip(self.nats[name], self.tokens, strict=True)]
        return sum(weighed) / sum(self.tokens)


class Hearing:
    """Collects the evidence. Can be left between any two micro-steps; begun again, it finds the same."""

    def __init__(self, task: Task, lineup: Lineup) -> None:
        self._task, self._lineup, self._bench = task, lineup, task.workbench
        self.evidence = Evidence()
        self.judged = task.update.held_out[-PROMPTS:]
        self.seed = derived_seed(task.update.seed, "verdict")
        held_out = {each.id for each in task.update.held_out}
        self._pool = Index([each for each in task.update.pool if each.id not in held_out])
        self._read: dict[int, list[TokenSequence]] = {}  # every held-out text after its prompt, by examples
        self._done = 0  # pieces of work

    @property
    def everybody(self) -> list[Candidate]:
        """The rival first, and base among them."""
        named_so = {each.name: each for each in (self._lineup.rival, named(BASE), *self._lineup.candidates)}
        return list(named_so.values())

    def measure(self) -> Generator[Progress, None, None]:
        """Likelihood, of everybody and all that is held out."""
        for each in self.everybody:
            adapter, sequences = self._lineup.adapter(each), self._after_prompts(each.recipe.examples)
            self.evidence.nats[each.name] = yield from self._reporting(nats(self._bench, sequences, adapter))
        self.evidence.tokens = [len(each.completion_ids) for each in sequences]

    def with_a_chance(self) -> list[Candidate]:
        """The candidates that write."""
        confidence = of_each(self._task.update.confidence, len(self._lineup.candidates))
        likely = {name: Scores(name, {"likelihood": self._likelihood(name)}) for name in self.evidence.nats}
        rival = likely[self._lineup.rival.name]
        standing = [
            each
            for each in self._lineup.candidates
            if not vetoes(compare(likely[each.name], rival, confidence, self.seed))
        ]
        iterates = [each for each in standing if each.recipe.iteration]
        best = min(iterates, key=lambda each: self.evidence.mean_nats(each.name), default=None)
        return [each for each in standing if each == best or not each.recipe.iteration]

    def hear(self, writers: Sequence[Candidate]) -> Generator[Progress, None, None]:
        """Let the rival, base and the writers write, and rate it."""
        self._done = len(self.everybody)
        by_base = yield from self._answers_elsewhere()
        heard = {each.name: each for each in (self._lineup.rival, named(BASE), *writers)}
        for name, each in heard.items():
            self.evidence.answers[name] = yield from self._written(each)
        panel = yield from self._panel(by_base)
        for name in self.evidence.nats:
            alone = {"likelihood": self._likelihood(name)}
            others = (yield from self._rated(panel, name)) if name in heard else {}
            self.evidence.scores[name] = Scores(name, alone | others)

    def ability(self, candidate: Candidate) -> Generator[Progress, None, Ability]:
        """Of its weights. Measured once for all recipes that have them."""
        weights, found = without_examples(candidate.name), self.evidence.abilities
        if weights not in found:
            found[weights] = yield from self._reporting(ability(self._bench, self._lineup.adapter(candidate)))
        return found[weights]

    def so_far(self) -> Progress:
        """Between two steps of what follows from the evidence."""
        return self._task.progress("gate", self._done, self._pieces)

    def over(self) -> Progress:
        """There may have been fewer pieces than could be."""
        return self._task.progress("gate", self._pieces, self._pieces)

    @property
    def _pieces(self) -> int:
        """Of work, at most: everybody's likelihood, writing, rating, ability; base's answers and trials; a verifier."""
        return 4 * len(self.everybody) + 3

    def _after_prompts(self, examples: int) -> list[TokenSequence]:
        if examples not in self._read:
            self._read[examples] = as_served(self._bench, self._task.update.held_out, self._pool, examples)
        return self._read[examples]

    def _likelihood(self, name: str) -> tuple[float, ...]:
        return tuple(-each for each in self.evidence.nats[name][-len(self.judged) :])

    def _most_tokens(self) -> int:
        return most_tokens([*self._task.own.values(), *self._after_prompts(0)])

    def _written(self, candidate: Candidate) -> Generator[Progress, None, Written]:
        sequences = self._after_prompts(candidate.recipe.examples)[-len(self.judged) :]
        adapter, most = self._lineup.adapter(candidate), self._most_tokens()
        work = write(self._bench, self._task.update, sequences, adapter, OUTPUTS_PER_PROMPT, most)
        answers = yield from self._reporting(work)
        return [
            [replace(output, prompt=asked.prompt) for output in outputs]
            for asked, outputs in zip(self.judged, answers, strict=True)
        ]

    def _answers_elsewhere(self) -> Generator[Progress, None, list[str]]:
        """What base answers to prompts that nobody is judged by."""
        sequences = list(self._task.own.values())[-BASE_PROMPTS:]
        work = write(self._bench, self._task.update, sequences, None, 1, self._most_tokens())
        return [output.text for outputs in (yield from self._reporting(work)) for output in outputs]

    def _panel(self, by_base: Sequence[str]) -> Generator[Progress, None, Panel]:
        update = self._task.update
        judged = [text for each in self.evidence.answers.values() for text in _texts(each)]
        known, impostors = known_texts(update), impostor_texts(update, by_base, judged)
        ask = by_model(self._bench)
        trying = competence(ask, known, impostors, self.seed)
        self.evidence.competence = yield from self._reporting(trying)
        competent = is_competent(self.evidence.competence)
        verifier = yield from self._reporting(Verifier.in_steps(known, impostors, seed=self.seed % 2**32))
        return Panel(verifier, StyleProfile.of(known), ask if competent else None, impostors)

    def _rated(self, panel: Panel, name: str) -> Generator[Progress, None, dict[str, tuple[float, ...]]]:
        ours, rivals = (
            [[output.text for output in outputs] for outputs in self.evidence.answers[each]]
            for each in (name, self._lineup.rival.name)
        )
        samples = [each.completion for each in self.judged]
        return (yield from self._reporting(panel.scores(ours, rivals, samples)))

    def _reporting(self, work: Generator[int, None, Result]) -> Generator[Progress, None, Result]:
        """One piece of work."""
        known = {f"{name}_nats_per_token": fmean(each) for name, each in self.evidence.nats.items()}
        here = self._task.progress("gate", self._done, self._pieces, figures=known)
        self._done += 1
        return (yield from reporting(work, lambda _: here))


def _texts(written: Written) -> Iterator[str]:
    return (output.text for outputs in written for output in outputs)
