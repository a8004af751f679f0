"""The gate: of all candidates one is served, or none, by evidence on prompts whose texts nobody has learnt from.

    likelihood of everybody → those with a chance write → the panel rates → guards → the verdict → general ability

A candidate that trips a guard is out, whatever the judges say, and the next best is asked. The same again after a kill:
every draw is seeded. What is measured is next door (hearing.py), how it is weighed in verdict.py, how it is said in
reasons.py; this module knows the order, and who is out.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace

from dittod.engine.protocol import Progress, Update
from dittod.judge import reasons
from dittod.judge.ability import ability_objection
from dittod.judge.candidates import BASE, Candidate, Lineup, named
from dittod.judge.guards import Findings, Learnt, inspect, objections
from dittod.judge.hearing import Hearing
from dittod.judge.verdict import Comparison, choose, compare, of_each, passes
from dittod.learner.ditto import Outcome
from dittod.learner.task import Task, prepare
from dittod.learner.workbench import Workbench
from dittod.types import Recipe, Verdict, Written

LEAST_HELD_OUT = 2  # texts; with fewer, one odd mail decides


@dataclass(frozen=True, slots=True)
class Judgement:
    """Which recipe is the candidate, and what became of it."""

    recipe: Recipe
    adapter: str | None  # its weights' name in memory; None: it has none of its own
    verdict: Verdict


def judge(workbench: Workbench, update: Update, outcome: Outcome) -> Generator[Progress, None, Judgement]:
    """Collect the evidence and decide. Of what was read from disk meanwhile, a chosen iterate stays in memory."""
    task = prepare(workbench, update)
    lineup = Lineup(task, outcome)
    if len(update.held_out) < LEAST_HELD_OUT:
        figures = {"held_out_texts": float(len(update.held_out))}
        reason = reasons.too_few(len(update.held_out), LEAST_HELD_OUT)
        chosen, verdict = lineup.learnt, Verdict(False, (reason,), figures)
    else:
        chosen, verdict = yield from _Court(task, lineup).decide()
    if outcome.stopped:
        verdict = replace(verdict, reasons=(*verdict.reasons, outcome.stopped))
    adapter = lineup.adapter(chosen)
    lineup.let_go_but(adapter)
    return Judgement(chosen.recipe, adapter, verdict)


class _Court:
    """One run's decision."""

    def __init__(self, task: Task, lineup: Lineup) -> None:
        self._update, self._lineup = task.update, lineup
        self._hearing = Hearing(task, lineup)
        self._evidence = self._hearing.evidence
        self._findings: dict[str, Findings] = {}
        self._out: dict[str, list[str]] = {}  # by candidate, why it must not be served

    def decide(self) -> Generator[Progress, None, tuple[Candidate, Verdict]]:
        """The candidate that is served, or the best of those that are not; and the verdict."""
        yield from self._hearing.measure()
        standing = self._hearing.with_a_chance()
        yield from self._hearing.hear(standing)
        learnt = Learnt()
        for text in {each.id: each.completion for each in (*self._update.demonstrations, *self._update.pool)}.values():
            learnt.add(text)
            yield self._hearing.so_far()
        for each in standing:
            self._inspect(each, learnt)
            yield self._hearing.so_far()
        while True:
            admitted = [each for each in standing if each.name not in self._out]
            chosen = self._choose(admitted)
            if chosen is None:
                break
            objection = yield from self._ability_objection(chosen)
            if not objection:
                break
            self._out[chosen.name] = [f"Of {chosen.words}: {objection[:1].lower()}{objection[1:]}"]
        yield self._hearing.over()
        best = chosen or self._best(admitted, standing)
        return best, self._verdict(best, promoted=chosen is not None)

    def _inspect(self, candidate: Candidate, learnt: Learnt) -> None:
        """What the guards see in its answers."""
        answers = self._evidence.answers
        found = inspect(
            [output for outputs in answers[candidate.name] for output in outputs],
            learnt,
            secrets=self._update.secrets,
            base_answers=[output.text for outputs in answers[BASE.name] for output in outputs],
        )
        self._findings[candidate.name] = found
        if complaints := objections(found, candidate.words):
            self._out[candidate.name] = complaints

    def _choose(self, candidates: list[Candidate]) -> Candidate | None:
        scores = [self._evidence.scores[each.name] for each in candidates]
        rival = self._evidence.scores[self._lineup.rival.name]
        tried = len(self._lineup.candidates)
        place, _ = choose(rival, scores, self._update.confidence, self._hearing.seed, tried=tried)
        return None if place is None else candidates[place]

    def _ability_objection(self, candidate: Candidate) -> Generator[Progress, None, str]:
        if candidate.recipe.policy == "base":
            return ""
        base = yield from self._hearing.ability(named(BASE))
        return ability_objection((yield from self._hearing.ability(candidate)), base, self._update.max_ability_loss)

    def _best(self, *preferred: list[Candidate]) -> Candidate:
        """Whose version is kept where none is served: of the admitted, else of those that wrote, else of all."""
        makings = [[each for each in some if each.recipe != BASE] for some in (*preferred, self._lineup.candidates)]
        return max(next(filter(None, makings)), key=lambda each: self._compared(each).mean)

    def _compared(self, candidate: Candidate) -> Comparison:
        """With what is served, at the confidence that it was held to."""
        ours, rival = (self._evidence.scores[each.name] for each in (candidate, self._lineup.rival))
        return compare(ours, rival, self._sure, self._hearing.seed)

    @property
    def _sure(self) -> float:
        return of_each(self._update.confidence, len(self._lineup.candidates))

    def _verdict(self, best: Candidate, *, promoted: bool) -> Verdict:
        rival, evidence = self._lineup.rival, self._evidence
        compared = {each.name: self._compared(each) for each in self._lineup.candidates}
        found = reasons.figures(evidence, {name: compared[name].mean for name in compared if name in evidence.answers})
        for name, each in self._findings.items():
            found |= {f"{name}_{guard}": count for guard, count in each.figures().items()}
        found |= reasons.panel_figures(compared[best.name])
        found["candidate_nats_per_token"] = found[f"{best.name}_nats_per_token"]
        said = self._praise(best, rival, compared) if promoted else self._blame(best, rival, compared)
        return Verdict(promoted, (*said, reasons.about_pairs(evidence)), found, tuple(self._written(best)))

    def _praise(self, best: Candidate, rival: Candidate, compared: Mapping[str, Comparison]) -> list[str]:
        """Why it is served, and who was out."""
        said = reasons.praise(best, rival, compared[best.name], self._evidence, self._update.confidence)
        return [*said, *(complaint for complaints in self._out.values() for complaint in complaints)]

    def _blame(self, best: Candidate, rival: Candidate, compared: Mapping[str, Comparison]) -> list[str]:
        """What kept the candidates back: guards first, where the judges would have let one pass."""
        decisive = [name for name in self._out if passes(compared[name])]
        first = [complaint for name in decisive for complaint in self._out[name]]
        others = [complaint for name in self._out if name not in decisive for complaint in self._out[name]]
        if best.name in self._out:
            return [*first, *others]
        said = reasons.blame(best, rival, compared[best.name], self._evidence, self._update.confidence)
        return [*first, *said, *others]

    def _written(self, best: Candidate) -> Iterator[Written]:
        """What is kept to be shown: the first answer to every prompt."""
        for name in dict.fromkeys((best.name, self._lineup.rival.name, BASE.name)):
            answers = self._evidence.answers.get(name, [])
            for asked, outputs in zip(self._hearing.judged, answers, strict=False):
                yield Written(name, asked.id, outputs[0].text)
