"""Every number of the method, with its source. Pure: a preset is a value, and so is what overrides it.

Two presets. `clean` is what dittod uses. `as_released` follows the authors' code (SALT-NLP/demonstrated-feedback at
243de9f) where that was a choice: RMSprop, rank 32 and alpha 64 on the attention only, negatives cut to the 50
likeliest tokens, its learning rates, steps and warm-ups, the supervised loss on the prompt too, its stop at a batch
loss of 1.00, no NLL term, no guard. It is no replica. What was a fault there is not reproduced:

- bf16 adapters, whose A hardly moves at these learning rates; ours are fp32
- two BOS in the supervised stage, the end of turn masked from its loss, a space before every end of turn
- demonstrations keyed by their prompt's text, so that equal prompts collide
- negatives one step late; samples decoded and tokenised anew in every step
- fewer pairs while there is no older policy (15 instead of 21 of seven demonstrations)

And what differs without being one:

- the supervised stage ends after the step whose loss was below the stop; theirs looks before the next step and still
  takes that one
- warm-ups begin at a first fraction of the learning rate; theirs at 0, so that the first step of a stage moves nothing
  and every rate comes one step later
- no LoRA dropout in the supervised stage (0.05 there)
- a step draws from all demonstrations, evenly; theirs from the eight of its batch, uniformly over their pooled pairs
- a sample equal to its demonstration, or to the other side of its pair, is no pair
- texts are cut to the context or the memory plan; theirs to 1,024 tokens, then 2,048 with 512 of the prompt
- the model's own chat template, precision and quantisation; theirs are Mistral's and bf16
- a step that explodes ends the stage (loss.py: exploded)
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from dittod.errors import SettingsError
from dittod.types import PairKind

Optimiser = Literal["adamw", "rmsprop"]
WIDTH_EXPONENT = 0.78
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")


@dataclass(frozen=True, slots=True)
class Preset:
    """The numbers of one way to run DITTO. The defaults are those of `clean`."""

    name: str = "clean"
    # the adapter
    rank: int = 16  # arXiv:2406.00888v1, table 5
    alpha: int = 32  # the same; B·A is scaled by alpha / rank
    targets: str | tuple[str, ...] = "all-linear"  # attention alone learns less (LoRA Without Regret, 2025)
    # both stages
    optimiser: Optimiser = "adamw"  # arXiv:2406.00888v1, appendix C; betas 0.9 and 0.999, no weight decay
    gradient_clip: float = 1.0  # largest norm of a step's gradient; the default of transformers' Trainer
    rates_for_width: int = 256  # the learning rates are for this hidden size; 0: for any. See `at_width`
    time_limit_seconds: float = 0.0  # of learning, across restarts; then the gate judges what there is. 0: none
    # supervised stage
    supervised_learning_rate: float = 2e-3  # swept on the starter model, benchmarks/LOG.md
    supervised_steps: int = 30  # as in the released configuration
    supervised_batch: int = 4  # demonstrations a step; table 5
    supervised_warmup: float = 0.1  # share of the steps; appendix C. A cosine to zero follows
    supervised_stop_loss: float = 0.5  # nats per token of one batch; below it, the stage ends. 1.00 in appendix C
    supervised_on_prompt: bool = False  # True: the loss counts the prompt's tokens too
    # preference stage
    dpo_learning_rate: float = 1e-4  # between the 5e-5 and 2e-4 that were swept on the starter, benchmarks/LOG.md
    dpo_steps: int = 40  # table 5
    dpo_warmup: float = 0.25  # share of the steps; appendix C. Constant after it
    beta: float = 0.05  # table 5: how dear it is to leave the reference
    nll_weight: float = 0.1  # of the demonstrations' NLL: keeps their likelihood up (arXiv:2404.19733, 2410.08847)
    moving_reference: bool = False  # True: it moves to the last iterate at each t; SPIN (2401.01335), if online only
    guard_patience: int = 5  # steps in a row with the demonstrations below the reference; 0: never stop for it
    # samples and pairs
    samples_per_demonstration: int = 10  # M of algorithm 1; table 5
    resample_every: int = 10  # K of algorithm 1, in steps; table 5
    online: float = 0.7  # share of the pairs: demonstration over a newest sample; section 3.2
    replay: float = 0.2  # demonstration over an older sample; section 3.2
    intermodel: float = 0.1  # newer sample over an older one; section 3.2
    pairs_per_demonstration: int = 3  # pairs a step; `rescale_batch` of the released code
    temperature: float = 1.0  # of the samples; table 5
    top_k: int = 0  # 0: the policy's own distribution, uncut, as the paper says
    completion_ratio: float = 1.5  # longest sample over longest demonstration, in tokens; below it the rest is noise
    completion_tokens_least: int = 24  # so that very short demonstrations leave room for a sentence
    completion_tokens_most: int = 1024  # `max_new_tokens` of the released code

    @property
    def mix(self) -> dict[PairKind, float]:
        """The share of each kind of pair."""
        return {"online": self.online, "replay": self.replay, "intermodel": self.intermodel}

    @property
    def iterations(self) -> int:
        """Rounds of sampling; the last one may have fewer steps."""
        return math.ceil(self.dpo_steps / self.resample_every)

    def completion_limit(self, longest_tokens: int) -> int:
        """How many tokens a sample may have where the longest demonstration has `longest_tokens`."""
        wanted = max(self.completion_ratio * longest_tokens, self.completion_tokens_least)
        return math.ceil(min(wanted, self.completion_tokens_most))


CLEAN = Preset()
AS_RELEASED = Preset(
    name="as_released",
    rank=32,  # configs/ditto-mistral-7b-instruct.yaml, as all numbers here
    alpha=64,
    targets=ATTENTION,
    rates_for_width=0,
    optimiser="rmsprop",  # inherited from the alignment handbook's DPOConfig, never overridden
    supervised_learning_rate=3e-5,
    supervised_warmup=0.2,
    supervised_stop_loss=1.0,
    supervised_on_prompt=True,
    dpo_learning_rate=1e-6,
    nll_weight=0.0,
    guard_patience=0,
    top_k=50,  # default of transformers 4.41's GenerationConfig, nowhere mentioned
    completion_ratio=math.inf,  # always `completion_tokens_most`
)
PRESETS = {each.name: each for each in (CLEAN, AS_RELEASED)}


def preset(name: str, overrides: Mapping[str, float] | None = None) -> Preset:
    """The preset of that name with some of its numbers replaced. Raises SettingsError naming the nearest known name."""
    if name not in PRESETS:
        raise SettingsError(f"there is no preset {name!r}", _nearest(name, list(PRESETS)))
    chosen = PRESETS[name]
    changed: dict[str, Any] = {key: _as_declared(chosen, key, value) for key, value in (overrides or {}).items()}
    result = replace(chosen, **changed)
    _check(result)
    return result


def at_width(chosen: Preset, width: int) -> Preset:
    """The preset with its learning rates for a model of that hidden size.

    lr(width) = lr(w0) · (w0 / width)^0.78: the 2e-3 that was swept at width 256 becomes 2.3e-4 at the 4096 of an 8B
    model. The exponent is the one that tinker-cookbook's `get_lr` had for Llama models (0.781; for Qwen's 0.0775, which
    hardly scales); its later table has 3e-4 for Llama 8B and 1e-3 for 1B and 3B. Not measured on large models here.
    """
    if not chosen.rates_for_width:
        return chosen
    factor = (chosen.rates_for_width / width) ** WIDTH_EXPONENT
    return replace(
        chosen,
        supervised_learning_rate=chosen.supervised_learning_rate * factor,
        dpo_learning_rate=chosen.dpo_learning_rate * factor,
    )


def at_most_rank(chosen: Preset, rank: int) -> Preset:
    """The preset with adapters of at most that rank. alpha / rank, the scale of B·A, stays what it was."""
    if chosen.rank <= rank:
        return chosen
    return replace(chosen, rank=rank, alpha=max(1, round(chosen.alpha * rank / chosen.rank)))


def _as_declared(chosen: Preset, key: str, value: float) -> float:
    """The value in the type of the field: an int, a float or a bool."""
    everything = {each.name: getattr(chosen, each.name) for each in fields(chosen)}
    numbers: dict[str, float] = {name: value for name, value in everything.items() if isinstance(value, int | float)}
    if key not in numbers:
        raise SettingsError(f"the method has no number {key!r}", _nearest(key, list(numbers)))
    kind = type(numbers[key])
    if kind is not float and not float(value).is_integer():
        raise SettingsError(f"{key} is {value}, which is no whole number", "give a whole number")
    return kind(value)


_AT_LEAST_ONE = (
    "rank",
    "alpha",
    "supervised_batch",
    "samples_per_demonstration",
    "resample_every",
    "pairs_per_demonstration",
    "completion_tokens_least",
    "completion_tokens_most",
)


def _check(chosen: Preset) -> None:
    for each in fields(chosen):
        value = getattr(chosen, each.name)
        least = 1 if each.name in _AT_LEAST_ONE else 0
        if isinstance(value, int | float) and (math.isnan(value) or value < least):
            raise SettingsError(f"{each.name} is {value}", f"give at least {least}")
    if sum(chosen.mix.values()) <= 0:
        raise SettingsError("online, replay and intermodel are all 0", "give at least one of them a share")


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    return f"did you mean {close[0]!r}?" if close else "known names: " + ", ".join(sorted(known))
