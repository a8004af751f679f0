"""The optimiser's side of a step: which one, how fast, clipped, and refused where the gradient is no number.

Knows parameters and rates; knows nothing of what the gradient came from.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch

from dittod.learner.preset import Preset


class Diverged(Exception):
    """A step's gradient is no finite number, or the policy has left all bounds. Caught by the stages, never shown."""


def make_optimiser(
    preset: Preset, parameters: list[torch.nn.Parameter], kind: Literal["preset", "adamw_8bit"] = "preset"
) -> torch.optim.Optimizer:
    """The preset's optimiser with no learning rate yet: every step sets its own.

    `kind` is the plan's: "adamw_8bit" keeps AdamW's moments in 8 bits. It is bitsandbytes' and for CUDA only; on the
    CPU, and where the preset says RMSprop, it changes nothing. The paged one is as small, but by its source (0.50.2) it
    never frees a page: every update would leave 2 bytes per adapter parameter behind.
    """
    if preset.optimiser == "rmsprop":
        return torch.optim.RMSprop(parameters, lr=0.0)  # torch's defaults, as transformers leaves them
    if kind == "adamw_8bit" and parameters[0].is_cuda:
        from bitsandbytes.optim.adamw import AdamW8bit

        in_8_bits: Any = AdamW8bit  # untyped
        return in_8_bits(parameters, lr=0.0, weight_decay=0.0)  # type: ignore[no-any-return]
    return torch.optim.AdamW(parameters, lr=0.0, weight_decay=0.0)


def take_step(optimiser: torch.optim.Optimizer, learning_rate: float, gradient_clip: float) -> float:
    """Clip, step, forget the gradient; returns its norm before clipping. Raises Diverged, changing nothing."""
    parameters: list[Any] = [value for group in optimiser.param_groups for value in group["params"]]
    norm = float(torch.nn.utils.clip_grad_norm_(parameters, gradient_clip))
    if not math.isfinite(norm):
        optimiser.zero_grad(set_to_none=True)
        raise Diverged
    for group in optimiser.param_groups:
        group["lr"] = learning_rate
    optimiser.step()
    torch.autograd.graph.increment_version(parameters)  # bitsandbytes does not; what is kept cast counts on it
    optimiser.zero_grad(set_to_none=True)
    return norm


def cosine_rate(step: int, steps: int, warmup: float, peak: float) -> float:
    """Up in a line over the first `warmup` share of the steps, then down a cosine that would reach 0 at `steps`."""
    rising = round(warmup * steps)
    if step < rising:
        return peak * (step + 1) / rising
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def constant_rate(step: int, steps: int, warmup: float, peak: float) -> float:
    """Up in a line over the first `warmup` share of the steps, then flat."""
    rising = round(warmup * steps)
    return peak * (step + 1) / rising if step < rising else peak
