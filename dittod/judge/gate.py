"""The first gate: a candidate is served only if it beats what is served now on writing it has never seen.

Measured are held-out nats per token (completions, end of turn included) of the base, the served adapter, the
supervised policy and DITTO's; and what the candidate writes on the held-out prompts, seen by the guards. `decide` is
pure. DITTO's policy is the candidate; where it fails and the supervised policy passes, that one is. It may well be
likelier to fail in nats than to write worse: preference learning trades likelihood for manner. The panel of judges
that sees manner comes later (issue 7), behind the same function.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dittod.engine.protocol import Progress, Sampling, Update
from dittod.errors import ModelError
from dittod.judge.guards import Findings, Output, inspect
from dittod.learner.batch import TokenSequence
from dittod.learner.chance import derived_seed
from dittod.learner.ditto import Outcome
from dittod.learner.sampling import draw_rows
from dittod.learner.task import Task, prepare, reporting
from dittod.learner.workbench import Workbench, encode, score
from dittod.types import Verdict

LEAST_HELD_OUT = 2  # texts; with fewer, one odd mail decides
TOLERATED_SHARE = 0.25  # of the outputs may trip one guard: they are drawn by chance, and few
PROMPTS = 8  # held-out prompts that are answered, the latest ones
OUTPUTS_PER_PROMPT = 2
TEMPERATURE = 0.7  # loops and copies show below 1, where most clients sample
ENDLESS_RATIO = 2.0  # limit of an answer over the user's longest text, in tokens
ENDLESS_TOKENS_LEAST = 64
SERVED = "served"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A policy that could be served, with what it wrote."""

    kind: str  # 'ditto' or 'supervised'
    findings: Findings
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Judgement:
    """Which policy is the candidate, and what became of it."""

    kind: str  # 'ditto' or 'supervised'
    adapter: str  # its name in memory
    verdict: Verdict


def judge(workbench: Workbench, update: Update, outcome: Outcome) -> Generator[Progress, None, Judgement]:
    """Measure, write, decide. The same again after a kill: every draw is seeded."""
    task = prepare(workbench, update)
    adapters = {"ditto": outcome.policy, "supervised": outcome.reference}
    figures = yield from measure(task, adapters)
    candidates: list[Candidate] = []
    for kind, adapter in adapters.items():
        if figures["held_out_texts"] < LEAST_HELD_OUT or (candidates and likelihood_objection(kind, figures)):
            break
        candidates.append((yield from write(task, kind, adapter)))
        if not objections(candidates[-1], figures):
            break
    kind, verdict = decide(figures, candidates)
    if outcome.stopped:
        verdict = Verdict(verdict.promoted, (*verdict.reasons, outcome.stopped), verdict.figures, verdict.outputs)
    return Judgement(kind, adapters[kind], verdict)


def measure(task: Task, adapters: Mapping[str, str]) -> Generator[Progress, None, dict[str, float]]:
    """Held-out nats per token of everything there is."""
    bench, update = task.workbench, task.update
    held_out = [encode(bench.base, each, bench.plan.sequence_tokens) for each in update.held_out]
    tokens = sum(len(each.completion_ids) for each in held_out)
    figures: dict[str, float] = {"held_out_texts": len(held_out), "held_out_tokens": tokens}
    if not held_out:
        return figures
    measured: dict[str, str | None] = {"base": None, **adapters}
    if _load_served(bench, update):
        measured[SERVED] = SERVED
    try:
        for place, (name, adapter) in enumerate(measured.items()):
            here = task.progress("gate", place, len(measured) + 1, figures=figures)
            work = score(bench, held_out, adapter)
            logps = yield from reporting(work, lambda _, here=here: here)  # type: ignore[misc]
            figures[f"{name}_nats_per_token"] = -sum(logps) / tokens
    finally:
        if SERVED in measured:
            bench.adapters.drop(SERVED)
    return figures


def write(task: Task, kind: str, adapter: str) -> Generator[Progress, None, Candidate]:
    """Let a candidate answer held-out prompts, and look at what it wrote."""
    base, update = task.workbench.base, task.update
    held_out = {each.id: encode(base, each, task.workbench.plan.sequence_tokens) for each in update.held_out[-PROMPTS:]}
    limit = _limit([*task.own.values(), *held_out.values()])
    samplings = {
        key: Sampling(temperature=TEMPERATURE, max_tokens=limit, seed=derived_seed(update.seed, "gate", kind, key))
        for key in held_out
    }
    prompts = {key: each.prompt_ids for key, each in held_out.items()}
    work = draw_rows(task.workbench, adapter, prompts, samplings, OUTPUTS_PER_PROMPT)
    count = len(held_out) * OUTPUTS_PER_PROMPT
    drawn = yield from reporting(work, lambda done: task.progress("gate", done, count))
    outputs = [
        Output(base.tokenizer.decode(row.token_ids, skip_special_tokens=True), row.finish_reason == "stop")
        for each in drawn.values()
        for row in each
    ]
    findings = inspect(outputs, [each.completion for each in update.demonstrations])
    return Candidate(kind, findings, tuple(each.text for each in outputs))


def decide(figures: Mapping[str, float], candidates: Sequence[Candidate]) -> tuple[str, Verdict]:
    """Which kind is the candidate, and its verdict. `candidates` in order of preference, DITTO's policy first. Pure."""
    every_figure = dict(figures)
    for each in candidates:
        every_figure |= {f"{each.kind}_{name}": value for name, value in each.findings.figures().items()}
    if not candidates:
        reason = (
            f"{figures['held_out_texts']:.0f} texts are held out and at least {LEAST_HELD_OUT} are needed: whether the"
            " candidate is better cannot be measured, so nothing changes."
        )
        return "ditto", Verdict(False, (reason,), every_figure)
    against: list[str] = []
    for each in candidates:
        found = objections(each, figures)
        if not found:
            every_figure["candidate_nats_per_token"] = figures[f"{each.kind}_nats_per_token"]
            reasons = (_praise(each.kind, figures), *against)
            return each.kind, Verdict(True, reasons, every_figure, each.outputs)
        against += found
    if candidates[-1].kind != "supervised" and (unlikely := likelihood_objection("supervised", figures)):
        against.append(unlikely)
    every_figure["candidate_nats_per_token"] = figures[f"{candidates[0].kind}_nats_per_token"]
    return candidates[0].kind, Verdict(False, tuple(against), every_figure, candidates[0].outputs)


def objections(candidate: Candidate, figures: Mapping[str, float]) -> list[str]:
    """Why a candidate must not be served, the decisive reason first. Empty: it may be."""
    found = [likelihood_objection(candidate.kind, figures)]
    who, seen = _NAMES[candidate.kind], candidate.findings
    complaints = {
        "are empty": seen.empty,
        "do not end": seen.endless,
        "repeat themselves in a loop": seen.loops,
        "copy a demonstration": seen.copies,
    }
    for complaint, count in complaints.items():
        if count > TOLERATED_SHARE * seen.outputs:
            found.append(f"{count} of {seen.outputs} answers of {who} {complaint}.")
    return [each for each in found if each]


def likelihood_objection(kind: str, figures: Mapping[str, float]) -> str:
    """A sentence if this kind does not find the held-out texts likelier than what is served now; else ''."""
    ours, theirs, rival = _duel(kind, figures)
    if ours < theirs:  # false for NaN on either side
        return ""
    return (
        f"The held-out texts are no likelier under {_NAMES[kind]} ({ours:.3f} nats per token) than under {rival}"
        f" ({theirs:.3f})."
    )


_NAMES = {"ditto": "DITTO's policy", "supervised": "the supervised policy"}


def _praise(kind: str, figures: Mapping[str, float]) -> str:
    ours, theirs, rival = _duel(kind, figures)
    who = _NAMES[kind]
    return f"The held-out texts are likelier under {who} ({ours:.3f} nats per token) than under {rival} ({theirs:.3f})."


def _duel(kind: str, figures: Mapping[str, float]) -> tuple[float, float, str]:
    ours = figures[f"{kind}_nats_per_token"]
    if f"{SERVED}_nats_per_token" in figures:
        return ours, figures[f"{SERVED}_nats_per_token"], "the served adapter"
    return ours, figures["base_nats_per_token"], "the base model"


def _load_served(bench: Workbench, update: Update) -> bool:
    """Load the served adapter, as our own copy: requests may drop theirs at any time.

    One that cannot be read or was made for another base is no rival: nobody can be served by it.
    """
    if update.served is None:
        return False
    try:
        bench.adapters.load(SERVED, Path(update.served.path))
    except ModelError:
        if SERVED in bench.adapters:
            bench.adapters.drop(SERVED)
        return False
    return True


def _limit(texts: Sequence[TokenSequence]) -> int:
    longest = max(len(each.completion_ids) for each in texts)
    return max(ENDLESS_TOKENS_LEAST, round(ENDLESS_RATIO * longest))
