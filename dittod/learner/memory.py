"""What the engine's memory is made of in each phase of an update. Pure arithmetic; its constants were measured.

    loading     libraries, the weights, and one of them as it is read
    forward     libraries, weights, adapters, what all layers keep for the backward pass, and the head's work
    backward    the same without the head, and the gradients of the layer at work
    saving      libraries, weights, adapters, and copies of the policy, the reference and the optimiser's moments
    sampling    libraries, weights, adapters, keys and values of the rows, and what choosing a token takes

The peak is the greatest of them, not their sum. Beside each stands what is left to serving: keys and values of the
answers that are given meanwhile. Their share is that of one conversation of a thousand tokens, or of a few short ones:
what most mails and questions take. A longer one takes what the budget leaves over the plan, or learning gives way to
it; a larger share would take more from learning, on a small machine, than it gives to those who hardly ever need it.

Knows dimensions, bytes and the shape of the learner's work. Knows nothing of budgets, and counts neither the few
answers of the gate, which may be longer than samples, nor adapters that are served beside the first, nor pages of the
weights' file that the system takes back at will (the first start in four bits reads all of it). Its constants were
measured on one thread.

Letters: d width, f of the MLP, q and kv of queries and keys, r rank, e bytes of a computed value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal

from dittod.learner.preset import Preset
from dittod.model.shape import ModelShape
from dittod.types import Plan

MB = 1_000_000
Phase = Literal["loading", "forward", "backward", "saving", "sampling"]

# Of benchmarks/memory.py on Linux, torch 2.13, one thread, and the environment of engine/client.py; on CUDA estimated.
LIBRARIES_BYTES = {"cpu": 470 * MB, "cuda": 700 * MB}  # with caches of compiled kernels, which fill in the first steps
SCRATCH_BYTES = {"cpu": 60 * MB, "cuda": 0}  # of multiplications, however small
FOUR_BIT_BYTES = {"cpu": 50 * MB, "cuda": 0}  # what sampling takes more from weights of four bits; unexplained
FRAGMENTS = {"cpu": 0.13, "cuda": 0.1}  # of what comes and goes: holes that nothing fits into
FRAGMENTS_ANEW = {"cpu": 0.22, "cuda": 0.0}  # the same of what is computed anew, in all layers, between what is kept
NF4_BYTES = 0.516  # a weight: 4 bits, a scale of 8 bits for 64, one of 32 for 256 of those (arXiv:2305.14314)
FP32 = 4
TILE_BYTES = {"cpu": 14 * MB, "cuda": 450 * MB}  # of the head: logits, weights and products of one tile
PROMPT_SHARE = 0.4  # keys and values of prompts that attention copies to their completions, per token of the row
SERVING_TOKENS = 2560  # whose keys and values answers may hold while an update runs: a text of 1000 takes that, alone
ANSWERING_BYTES = 80 * MB  # besides: a piece of a prompt in all that a layer makes of it, logits, kernels of its shapes
CACHE_GROWTH = 1.25  # room in the buffers of keys and values over what is in them: they grow by half at a time


@dataclass(frozen=True, slots=True)
class Device:
    """Where the engine computes, as a probe found it."""

    kind: Literal["cpu", "cuda"]
    compute_bytes: int  # of a value: 2 in bf16 or fp16, 4 in fp32
    memory_bytes: int  # all of the machine's, or of the graphics card's
    four_bits: bool  # whether bitsandbytes is there to quantise

    def budget(self, wanted_bytes: int | None) -> int:
        """What is wanted, as far as it is there. By default, half of a machine that has other work, or four fifths of a
        card, which draws a screen at most."""
        if wanted_bytes is not None:
            return min(wanted_bytes, self.memory_bytes)
        return self.memory_bytes // 2 if self.kind == "cpu" else self.memory_bytes * 4 // 5


@dataclass(frozen=True, slots=True)
class Terms:
    """The bytes of one phase, by what they are for."""

    libraries: int  # the interpreter with torch and transformers; on CUDA its context, which no allocator counts
    weights: int
    adapters: int = 0  # with gradients and moments
    kept: int = 0  # by all layers until the backward pass; in a checkpoint's copies
    layer: int = 0  # of the one layer at work
    head: int = 0  # hidden states at its door, their gradient, a tile of logits
    cache: int = 0  # keys and values
    logits: int = 0  # of the rows that are sampled
    serving: int = 0  # keys and values of answers that are given meanwhile, and the work on them
    slack: int = 0  # what multiplications need besides, and what the allocator cannot use

    @property
    def total(self) -> int:
        """All of it."""
        return sum(getattr(self, each.name) for each in fields(self))


def phases(shape: ModelShape, device: Device, plan: Plan, preset: Preset) -> Mapping[Phase, Terms]:
    """The memory model of a plan."""
    libraries, weights = LIBRARIES_BYTES[device.kind], weight_bytes(shape, device, plan)
    held = adapter_bytes(shape, device, plan, preset)
    kept, layer = activation_bytes(shape, device, plan)
    cache, attention, logits = sampling_bytes(shape, device, plan)
    head = head_bytes(shape, device, plan)

    row = row_tokens(plan) * kept_per_token(shape, device, plan.rank) * shape.layers
    holes = int(FRAGMENTS_ANEW[device.kind] * row) if plan.checkpointing else 0

    serving = serving_bytes(shape, device)
    four_bits = FOUR_BIT_BYTES[device.kind] if plan.quantisation == "nf4" else 0

    def slack(*passing: int) -> int:
        return SCRATCH_BYTES[device.kind] + int(FRAGMENTS[device.kind] * sum(passing))

    return {
        "loading": Terms(libraries, weights, layer=_largest_weight(shape, device)),
        "forward": Terms(libraries, weights, held, kept, head=head, slack=slack(kept, head), serving=serving),
        "backward": Terms(libraries, weights, held, kept, layer, slack=slack(kept, layer) + holes, serving=serving),
        "saving": Terms(
            libraries, weights, held, copy_bytes(shape, device, plan, preset), slack=slack(), serving=serving
        ),
        "sampling": Terms(
            libraries,
            weights,
            held,
            layer=attention,
            cache=cache,
            logits=logits,
            slack=slack(attention, cache, logits) + four_bits,
            serving=serving,
        ),
    }


def row_tokens(plan: Plan) -> int:
    """Of the longest micro-batch: a sequence that exceeds what one may have is one by itself."""
    return max(plan.micro_batch_tokens, plan.sequence_tokens)


def weight_bytes(shape: ModelShape, device: Device, plan: Plan) -> int:
    """Of the base model. Embedding, head and norms are never quantised."""
    each = NF4_BYTES if plan.quantisation == "nf4" else device.compute_bytes
    return int(each * shape.linear_parameters) + device.compute_bytes * shape.embedding_parameters


def adapter_parameters(shape: ModelShape, plan: Plan, preset: Preset) -> int:
    """Of one adapter."""
    chosen = shape.linears
    if preset.targets != "all-linear":
        chosen = {name: sizes for name, sizes in chosen.items() if name in preset.targets}
    return plan.rank * shape.layers * sum(wide + high for wide, high in chosen.values())


def adapter_bytes(shape: ModelShape, device: Device, plan: Plan, preset: Preset) -> int:
    """Policy, reference and the served one, in fp32 and as they are multiplied; of the policy also the gradient and the
    optimiser's moments."""
    each = 3 * (FP32 + device.compute_bytes) + FP32 + moment_bytes(plan, preset)
    return adapter_parameters(shape, plan, preset) * each


def copy_bytes(shape: ModelShape, device: Device, plan: Plan, preset: Preset) -> int:
    """Policy, reference and moments as a checkpoint is written: copied, and as the bytes of files. On CUDA, that is no
    memory of the card."""
    if device.kind == "cuda":
        return 0
    return adapter_parameters(shape, plan, preset) * 2 * (2 * FP32 + moment_bytes(plan, preset))


def moment_bytes(plan: Plan, preset: Preset) -> int:
    """Of the optimiser, for each parameter."""
    return {"adamw": 2 * FP32, "rmsprop": FP32}[preset.optimiser] if plan.optimiser == "preset" else 2


def kept_per_token(shape: ModelShape, device: Device, rank: int) -> int:
    """What one layer keeps of one token for its backward pass, in bytes, if nothing is computed anew.

    Norms keep their input in fp32. Linear layers keep their input, once for those that share it, and the rank's
    products. The MLP keeps gate, activation and up; attention queries, keys and values (repeated to the queries'
    heads, and once more for the completions, with their prompts), its result, and one number in fp32 per head.
    """
    e, d, f, q, kv = device.compute_bytes, shape.hidden, shape.intermediate, shape.query, shape.key_value
    norms = FP32 * (2 * d + ((q + kv) if shape.query_key_norms else 0))
    linears = e * (2 * d + q + f + len(shape.linears) * rank)
    attention = e * int(q * (4 + 2 * (1 + PROMPT_SHARE))) + FP32 * shape.heads
    return norms + linears + e * 3 * f + attention


def activation_bytes(shape: ModelShape, device: Device, plan: Plan) -> tuple[int, int]:
    """Kept by all layers; and of the layer at work its gradients, with all it keeps if that is computed anew."""
    tokens, e = row_tokens(plan), device.compute_bytes
    of_layer = kept_per_token(shape, device, plan.rank) * tokens
    gradients = e * tokens * (2 * shape.intermediate + shape.hidden)
    weight = _largest_weight(shape, device) if plan.quantisation == "nf4" else 0
    if plan.checkpointing:
        return e * shape.layers * shape.hidden * tokens, of_layer + gradients + weight
    return shape.layers * of_layer, gradients + weight


def head_bytes(shape: ModelShape, device: Device, plan: Plan) -> int:
    """Hidden states before the last norm in fp32, after it, at the completions' places, and their gradient; a tile."""
    return row_tokens(plan) * shape.hidden * (FP32 + 3 * device.compute_bytes) + TILE_BYTES[device.kind]


def sampling_bytes(shape: ModelShape, device: Device, plan: Plan) -> tuple[int, int, int]:
    """Keys and values of all rows at their longest; those of one layer as attention repeats them to the queries'
    heads; logits in fp32 and what choosing from them takes."""
    e, in_cache = device.compute_bytes, plan.sampling_rows * plan.sequence_tokens
    cache = int(2 * shape.layers * shape.key_value * e * in_cache * CACHE_GROWTH)
    return cache, 2 * shape.query * e * in_cache, plan.sampling_rows * shape.vocabulary * 4 * FP32


def serving_tokens(context_tokens: int) -> int:
    """Whose keys and values a plan leaves room for."""
    return min(SERVING_TOKENS, 3 * context_tokens)


def serving_bytes(shape: ModelShape, device: Device) -> int:
    """What a plan leaves to serving."""
    keys_and_values = 2 * shape.layers * shape.key_value * device.compute_bytes * serving_tokens(shape.context_tokens)
    return int(keys_and_values * (1 + FRAGMENTS[device.kind])) + ANSWERING_BYTES


def _largest_weight(shape: ModelShape, device: Device) -> int:
    return max(wide * high for wide, high in shape.linears.values()) * device.compute_bytes
