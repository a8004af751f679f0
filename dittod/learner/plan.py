"""Memory budget → plan: the fastest way to learn that fits. Pure.

What is given up, in this order, each only when nothing before it is enough:

    1. micro-batches of several trees (a tree: one prompt with all its completions of a step)
    2. what layers keep for the backward pass: they are computed anew, which takes a third more time
    3. micro-batches of a whole tree: the pieces of one that is cut are scored twice
    4. samples decoded together
    5. weights of 16 bits: with four, what is served changes too
    6. the optimiser's moments in fp32 (CUDA: 8 bits)
    7. the ends of long texts
    8. the adapters' rank: a lower one learns less

Knows dimensions and preferences; the arithmetic is next door in memory.py. Knows nothing of texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain, product

from dittod.errors import SettingsError
from dittod.learner.memory import MB, Device, Phase, Terms, phases
from dittod.learner.preset import Preset
from dittod.model.shape import ModelShape
from dittod.types import OptimiserChoice, Plan, Quantisation

WHOLE_TREE_TOKENS = 1024  # a prompt with a demonstration and the samples that a step pairs it with, of most mails
MOST_TOKENS = {"cpu": 2048, "cuda": 4096}  # of a micro-batch: a request waits for one
LEAST_TOKENS = 256  # below it, what every micro-batch costs by itself counts more than its tokens
LONGEST_TOKENS = 2048  # of a prompt with its completion
MOST_ROWS = 80  # decoded together
LEAST_ROWS = 5
LEAST_RANK = 4
GB = 1000 * MB


@dataclass(frozen=True, slots=True)
class Need:
    """What an update can use at most; more than that is not planned for. The defaults: of one that is not known yet."""

    tokens: int = LONGEST_TOKENS  # of the longest prompt with its completion
    rows: int = MOST_ROWS  # samples of one iteration
    tree: int = WHOLE_TREE_TOKENS  # tokens of a prompt with its demonstration and the samples of a step


BEFORE_TEXTS = Need(tokens=1024)  # by which weights are loaded: nearly all mails are shorter, and longer texts are cut


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan with what explains it."""

    plan: Plan
    reasons: Mapping[str, str]  # a field of the plan → why it has its value, a sentence
    phases: Mapping[Phase, Terms]  # the greatest is the plan's peak
    budget_bytes: int


def make_plan(
    shape: ModelShape,
    device: Device,
    budget_bytes: int,
    preset: Preset,
    *,
    quantisation: Quantisation | None = None,
    need: Need = Need(),
) -> Planned:
    """The first plan in the order above whose predicted peak is within the budget.

    `quantisation`: as it must be, None: free. Raises SettingsError with the smallest budget that would do.
    """
    planner = _Planner(shape, device, preset, quantisation, need)
    candidates = planner.candidates()
    best = least = next(candidates)
    for plan in chain([best], candidates):
        if plan.peak_bytes <= budget_bytes:
            return Planned(plan, planner.reasons(best, plan), planner.phases(plan), budget_bytes)
        least = min(least, plan, key=lambda each: each.peak_bytes)
    raise planner.refusal(least, budget_bytes)


@dataclass(frozen=True, slots=True)
class _Planner:
    """What all candidates have in common."""

    shape: ModelShape
    device: Device
    preset: Preset
    quantisation: Quantisation | None
    need: Need

    def candidates(self) -> Iterator[Plan]:
        """Every plan worth considering, the best first: what stands last in the product is given up first."""
        everything = product(
            _halves(self.preset.rank, LEAST_RANK),
            _halves(min(self.shape.context_tokens, self.need.tokens, LONGEST_TOKENS), LEAST_TOKENS),
            self._optimisers(),
            self._quantisations(),
            _halves(min(self.need.rows, MOST_ROWS), LEAST_ROWS),
            self._learning(),
        )
        for rank, sequence_tokens, optimiser, weights, rows, (checkpointing, tokens) in everything:
            yield self.weighed(Plan(weights, rank, sequence_tokens, tokens, checkpointing, rows, optimiser))

    def weighed(self, plan: Plan) -> Plan:
        """The plan with its predicted peak."""
        return replace(plan, peak_bytes=max(each.total for each in self.phases(plan).values()))

    def phases(self, plan: Plan) -> Mapping[Phase, Terms]:
        """The plan's memory model."""
        return phases(self.shape, self.device, plan, self.preset)

    def reasons(self, best: Plan, plan: Plan) -> dict[str, str]:
        """A value as good as it can be says why there is no better; another, what the next better would need."""
        reasons = self._reasons_of_the_best(plan)
        for name in ("rank", "sequence_tokens", "micro_batch_tokens", "sampling_rows"):
            if getattr(plan, name) < getattr(best, name):
                better = min(2 * getattr(plan, name), getattr(best, name))
                reasons[name] = f"{better} would need {self._needed(plan, **{name: better})}"
        if plan.quantisation != best.quantisation:
            bits = 8 * self.device.compute_bytes
            reasons["quantisation"] = f"weights of {bits} bits would need {self._needed(plan, quantisation='none')}"
        if plan.optimiser != best.optimiser:
            reasons["optimiser"] = f"moments in fp32 would need {self._needed(plan, optimiser='preset')}"
        if plan.checkpointing:
            whole = max(plan.micro_batch_tokens, WHOLE_TREE_TOKENS)
            needed = self._needed(plan, checkpointing=False, micro_batch_tokens=whole)
            reasons["checkpointing"] = f"keeping what {whole} tokens leave in every layer would need {needed}"
        return reasons

    def refusal(self, least: Plan, budget_bytes: int) -> SettingsError:
        """With the smallest budget that would do, and what else would."""
        choices = [f"set memory_budget to {-(-least.peak_bytes // (10 * MB)) * 10}MB or more"]
        if self.quantisation == "none" and self.device.four_bits:
            choices.append(f"quantisation to auto (four bits need {self._needed(least, quantisation='nf4')})")
        least_bytes, budget = size(least.peak_bytes), size(budget_bytes)
        return SettingsError(
            f"learning with this base model needs {least_bytes} at least; the budget is {budget}",
            f"{', or '.join(choices)}, or choose a smaller base_model",
        )

    def _needed(self, plan: Plan, **instead: object) -> str:
        return size(self.weighed(replace(plan, **instead)).peak_bytes)  # type: ignore[arg-type]

    def _reasons_of_the_best(self, plan: Plan) -> dict[str, str]:
        bits = 4 if plan.quantisation == "nf4" else 8 * self.device.compute_bytes
        free = f"weights of {bits} bits fit, and four would change what is served"
        whole_context = plan.sequence_tokens == self.shape.context_tokens
        return {
            "quantisation": free if self.quantisation is None else "set so, or loaded so",
            "rank": f"that of the preset {self.preset.name}",
            "sequence_tokens": "the model's context" if whole_context else "no text here is longer, or hardly any mail",
            "micro_batch_tokens": "holds whole trees of mails; a request that comes while learning waits for one",
            "checkpointing": "what layers keep for the backward pass fits: a quarter less time",
            "sampling_rows": "all samples of an iteration, decoded together",
            "optimiser": f"{self.preset.optimiser} of the preset, with its moments in fp32",
        }

    def _learning(self) -> list[tuple[bool, int]]:
        """Checkpointing and tokens of a micro-batch. Cutting trees costs more time than checkpointing does."""
        tree = max(WHOLE_TREE_TOKENS, self.need.tree)  # on CPUs, more trees at a time would only keep requests waiting
        most = MOST_TOKENS[self.device.kind] if self.device.kind == "cuda" else min(tree, MOST_TOKENS["cpu"])
        tokens = _halves(most, LEAST_TOKENS)
        return [(False, each) for each in tokens if each >= WHOLE_TREE_TOKENS] + [(True, each) for each in tokens]

    def _quantisations(self) -> list[Quantisation]:
        if self.quantisation is not None:
            return [self.quantisation]
        return ["none", "nf4"] if self.device.four_bits else ["none"]

    def _optimisers(self) -> list[OptimiserChoice]:
        small = self.device.kind == "cuda" and self.device.four_bits and self.preset.optimiser == "adamw"
        return ["preset", "adamw_8bit"] if small else ["preset"]


def _halves(most: int, least: int) -> list[int]:
    """The most, its half and so on, and the least."""
    found = [most]
    while found[-1] > least:
        found.append(max(found[-1] // 2, least))
    return found


def size(count: int) -> str:
    """Bytes for people."""
    return f"{count / GB:.2f} GB" if count >= GB else f"{count / MB:.0f} MB"
