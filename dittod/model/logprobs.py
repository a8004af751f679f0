"""Summed log-probabilities of completions, without ever holding logits of more than a tile.

The model's body gives hidden states of a packed row; the vocabulary head is applied to the places that predict a
completion's token and to no other, over a few rows and a few thousand tokens of the vocabulary at a time. The gradient
with respect to those hidden states is formed in the same pass, by the running softmax of flash attention
(arXiv:2205.14135, section 3.1: hidden states are the queries, the head's rows both keys and values), so that nothing of
size tokens x vocabulary is kept, or computed twice. Knows nothing of demonstrations, pairs or adapters: whatever is
active in the model is what is scored.

Letters: T tokens of a row, C places, B completions, D width, V vocabulary; n and v: a tile's share of C and V.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dittod.model.load import BaseModel
from dittod.model.tree import Row, attending_by_tree, checkpointing, pack

log = logging.getLogger("dittod.engine")

TILE_ROWS = 512  # n; hidden states
TILE_TOKENS = 2048  # v on the CPU: 4 MiB of float32, which stay in its cache
TILE_TOKENS_CUDA = 1 << 16  # 128 MiB, so that kernels are long enough


@dataclass(frozen=True, slots=True)
class Head:
    """How hidden states become logits: z = scale · (W h + b), then cap · tanh(z / cap) where the model caps."""

    weight: Tensor  # (V, D), frozen
    bias: Tensor | None  # (V,)
    scale: float
    cap: float | None

    def logits(self, hidden: Tensor, tokens: slice = slice(None)) -> Tensor:
        """(n, D) → (n, v) of some tokens of the vocabulary, in float32 at least."""
        bias = None if self.bias is None else self.bias[tokens]
        raw = torch.nn.functional.linear(hidden.to(self.weight.dtype), self.weight[tokens], bias)
        raw = _at_least_float32(raw)
        if self.scale != 1.0:
            raw = raw * self.scale
        return raw if self.cap is None else self.cap * torch.tanh(raw / self.cap)

    def slopes(self, logits: Tensor) -> Tensor | float:
        """d z / d (W h + b), like `logits`. The cap's slope is 1 - (z / cap)²."""
        return self.scale if self.cap is None else self.scale * (1 - (logits / self.cap) ** 2)

    def pull_back(self, gradient: Tensor, logits: Tensor, tokens: slice) -> Tensor:
        """d/d hidden from d/d logits: (n, v) → (n, D). May overwrite the gradient."""
        slopes = self.slopes(logits)
        if not isinstance(slopes, float) or slopes != 1.0:
            gradient = gradient.mul_(slopes)
        return gradient.to(self.weight.dtype) @ self.weight[tokens]


class CompletionScorer:
    """log π(completion | prompt) of packed rows, in nats, under whatever adapter is active.

    When it is made, it tries two things on a few tokens. `packs`: the model computes for a packed row what it computes
    for its sequences one by one; where not (layers that are no attention, or another kind of it), sequences are
    forwarded one by one, and the log says so. `knows_the_head`: the head gives the model's own logits; where not (an
    architecture that does something else after its body), the model's own are taken, one sequence at a time: right,
    but that holds (T, V).
    """

    def __init__(self, base: BaseModel) -> None:
        self._model = base.model
        self._head = _head_of(base)
        self._packs = self._head is not None and self._tries_packing(base.device)
        if not self._packs:
            log.warning("base model %s takes no packed rows: its sequences are learnt one by one", base.name)

    @property
    def knows_the_head(self) -> bool:
        """False: sequences are scored through the model's full logits."""
        return self._head is not None

    @property
    def packs(self) -> bool:
        """False: sequences are forwarded one by one."""
        return self._packs

    @contextmanager
    def open(self, *, gradients: bool, checkpointed: bool = False) -> Iterator[None]:
        """Rows are scored inside the block, and their backward pass is in it too: it may compute layers anew."""
        with ExitStack() as stack:
            stack.enter_context(torch.set_grad_enabled(gradients))
            if self._packs:
                stack.enter_context(attending_by_tree(self._model))
            if gradients and checkpointed:
                stack.enter_context(checkpointing(self._model))
            yield

    def logps(self, row: Row) -> Tensor:
        """Summed log-probabilities (B,), float32 or better; differentiable where gradients are enabled."""
        if self._head is None:
            per_place = self._through_full_logits(row)
        else:
            hidden = self._hidden_of_row(row) if self._packs else self._hidden_one_by_one(row)  # (C, D)
            per_place = _TargetLogps.apply(hidden, row.targets, self._head)  # type: ignore[no-untyped-call]  # (C,)
        sums = per_place.new_zeros(row.completions).index_add(0, row.owners, per_place)
        return sums.index_select(0, row.distinct)  # (B,)

    def _hidden_of_row(self, row: Row) -> Tensor:
        out = _body(self._model)(input_ids=row.token_ids, position_ids=row.position_ids, use_cache=False, tree=row)
        hidden: Tensor = out.last_hidden_state[0]  # (T, D)
        return hidden.index_select(0, row.places)

    def _hidden_one_by_one(self, row: Row) -> Tensor:
        body = _body(self._model)
        parts = [
            body(input_ids=token_ids, use_cache=False).last_hidden_state[0, first:]
            for token_ids, first in row.one_by_one()
        ]
        return torch.cat(parts)

    def _through_full_logits(self, row: Row) -> Tensor:
        parts = [
            self._model(input_ids=token_ids, use_cache=False).logits[0, first:] for token_ids, first in row.one_by_one()
        ]
        wanted = torch.split(row.targets, [len(each) for each in parts])
        pairs = zip(parts, wanted, strict=True)
        return torch.cat([_at_least_float32(part).log_softmax(-1).gather(-1, to[:, None])[:, 0] for part, to in pairs])

    @torch.no_grad()
    def _tries_packing(self, device: torch.device) -> bool:
        """Two prompts with three completions, together and apart."""
        row = pack([((0, 1, 2), (3, 4, 5)), ((0, 1, 2), (6, 7)), ((3, 1), (2, 5, 4, 1))], device)
        apart = self._hidden_one_by_one(row)
        try:
            with attending_by_tree(self._model):
                together = self._hidden_of_row(row)
        except (TypeError, ValueError, RuntimeError, AttributeError):  # what a model says to an argument it cannot take
            return False
        equal = bool((apart - together).abs().max() <= 0.02 * apart.abs().max())
        return equal and _names_its_windows(self._model.config.get_text_config(), row)


class _TargetLogps(torch.autograd.Function):
    """log softmax(z)[y] = z[y] - logsumexp(z), and G = d/dh of it, kept instead of logits: (C, D) for (C, V)."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, targets: Tensor, head: Head) -> Tensor:
        kept = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None  # (C, D)
        results = [_at_least_float32(hidden.new_zeros(0))]
        for start in range(0, hidden.shape[0], TILE_ROWS):
            rows = slice(start, start + TILE_ROWS)
            results.append(_logps_of_rows(hidden[rows], targets[rows], head, None if kept is None else kept[rows]))
        if kept is not None:
            ctx.save_for_backward(kept)
        return torch.cat(results)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        (kept,) = ctx.saved_tensors
        return (kept * upstream[0][:, None]).to(kept.dtype), None, None


def _logps_of_rows(hidden: Tensor, targets: Tensor, head: Head, gradient: Tensor | None) -> Tensor:
    """(n, D), (n,) → (n,); writes the gradient (n, D) where one is wanted.

    Over tiles of the vocabulary: m the greatest logit so far, s = Σ exp(z - m), a = Σ exp(z - m) · dz/dh. When m grows,
    s and a shrink with it. In the end log p = z[y] - m - log s, and its gradient is dz[y]/dh - a / s.
    """
    like = _at_least_float32(hidden.new_zeros(0))
    m, s = like.new_full((len(hidden), 1), -torch.inf), like.new_zeros(len(hidden), 1)
    a = like.new_zeros(hidden.shape) if gradient is not None else None
    of_target = like.new_zeros(len(hidden), 1)
    for tokens in _tiles(len(head.weight), hidden.device):
        z = head.logits(hidden, tokens)  # (n, v)
        place = (targets - tokens.start)[:, None]
        inside = (place >= 0) & (place < z.shape[1])
        of_target = torch.where(inside, z.gather(1, place.clamp(0, z.shape[1] - 1)), of_target)
        top = torch.maximum(m, z.amax(1, keepdim=True))
        shrink, weights = (m - top).exp_(), (z - top).exp_()
        m, s = top, s.mul_(shrink).add_(weights.sum(1, keepdim=True))
        if a is not None:
            a.mul_(shrink).add_(head.pull_back(weights, z, tokens))
    if a is not None and gradient is not None:
        slopes = head.slopes(of_target)
        gradient.copy_((head.weight.index_select(0, targets) * slopes).sub_(a.div_(s)))
    return (of_target - m - s.log())[:, 0]


def _tiles(vocabulary: int, device: torch.device) -> Iterator[slice]:
    size = TILE_TOKENS_CUDA if device.type == "cuda" else TILE_TOKENS
    return (slice(start, min(start + size, vocabulary)) for start in range(0, vocabulary, size))


def _head_of(base: BaseModel) -> Head | None:
    """The head, if it is a plain linear layer with the transformations we know; None if it gives other logits."""
    layer = base.model.get_output_embeddings()
    if not isinstance(layer, torch.nn.Linear) or not layer.weight.is_floating_point():
        return None
    config = base.model.config.get_text_config()
    scale = float(getattr(config, "logit_scale", None) or 1.0)  # Cohere
    scale /= float(getattr(config, "logits_scaling", None) or 1.0)  # Granite
    head = Head(layer.weight, layer.bias, scale, getattr(config, "final_logit_softcapping", None))  # cap: Gemma 2
    return head if _gives_the_models_logits(base, head) else None


def _gives_the_models_logits(base: BaseModel, head: Head) -> bool:
    probe = torch.arange(4, device=base.device)[None]  # (1, 4)
    with torch.no_grad():
        theirs = _at_least_float32(base.model(input_ids=probe, use_cache=False).logits[0])
        body = _body(base.model)
        if body is base.model:
            return False
        ours = head.logits(body(input_ids=probe, use_cache=False).last_hidden_state[0])
    return bool((theirs - ours).abs().max() <= 0.01 * theirs.abs().max())


def _names_its_windows(config: Any, row: Row) -> bool:
    """Whether layers that look back only so far have said how far. Those that do it by a mask alone cannot be packed,
    and a probe shorter than their window does not show it."""
    kinds = getattr(config, "layer_types", None) or ()
    if any(kind not in ("full_attention", "sliding_attention") for kind in kinds):
        return False
    slides = "sliding_attention" in kinds if kinds else getattr(config, "sliding_window", None) is not None
    return not slides or row.windows != {None}


def _body(model: Any) -> Any:
    """The model without its head."""
    return model.base_model


def _at_least_float32(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()
