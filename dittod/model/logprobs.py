"""Summed log-probabilities of completions, without ever holding a (B, T, V) tensor.

The model's body gives hidden states; the vocabulary head is applied to the positions that predict a completion's
token and to no other, a few thousand at a time. The gradient with respect to those hidden states is formed in the
same pass, while a chunk's logits are at hand, so that nothing of size tokens x vocabulary is kept or computed twice.
Knows nothing of demonstrations, pairs or adapters: whatever is active in the model is what is scored.

Letters: B sequences, T tokens, C completion positions of all sequences together, D width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from dittod.model.load import BaseModel

CHUNK_ELEMENTS = 1 << 22  # logits formed at a time: 16 MiB in float32


@dataclass(frozen=True, slots=True)
class Rows:
    """Prompts with their completions, right-padded. Causal attention needs no mask for padding on the right."""

    token_ids: torch.Tensor  # (B, T) int64
    positions: torch.Tensor  # (C,) int64 into the flattened B·T: where a completion's token is predicted
    targets: torch.Tensor  # (C,) int64: that token
    owners: torch.Tensor  # (C,) int64: the row it belongs to


@dataclass(frozen=True, slots=True)
class Head:
    """How hidden states become logits: z = scale · (W h + b), then cap · tanh(z / cap) where the model caps."""

    weight: torch.Tensor  # (V, D), frozen
    bias: torch.Tensor | None  # (V,)
    scale: float
    cap: float | None

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """(N, D) → (N, V), in float32 at least."""
        raw = torch.nn.functional.linear(hidden.to(self.weight.dtype), self.weight, self.bias)  # (N, V)
        raw = _at_least_float32(raw)
        if self.scale != 1.0:
            raw = raw * self.scale
        return raw if self.cap is None else self.cap * torch.tanh(raw / self.cap)

    def pull_back(self, gradient: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """d/d hidden from d/d logits: (N, V) → (N, D). The cap's slope is 1 - (z / cap)²."""
        if self.cap is not None:
            gradient = gradient * (1 - (logits / self.cap) ** 2)
        if self.scale != 1.0:
            gradient = gradient * self.scale
        return gradient.to(self.weight.dtype) @ self.weight


class CompletionScorer:
    """log π(completion | prompt) of rows, in nats, under whatever adapter is active.

    The head is tried against the model's own logits on a few tokens when the scorer is made. Where they differ (an
    architecture that does something else after its body), the model's own logits are taken, one row at a time:
    right, but it holds (T, V) for that row. `knows_the_head` says which.
    """

    def __init__(self, base: BaseModel) -> None:
        self._model = base.model
        self._head = _head_of(base)

    @property
    def knows_the_head(self) -> bool:
        """False: rows are scored one at a time through the model's full logits."""
        return self._head is not None

    def logps(self, rows: Rows) -> torch.Tensor:
        """Summed log-probabilities (B,), float32 or better; differentiable where gradients are enabled."""
        if self._head is None:
            per_position = self._through_full_logits(rows)
        else:
            hidden = _body(self._model)(input_ids=rows.token_ids, use_cache=False).last_hidden_state  # (B, T, D)
            needed = hidden.flatten(0, 1).index_select(0, rows.positions)  # (C, D)
            per_position = _TargetLogps.apply(needed, rows.targets, self._head)  # type: ignore[no-untyped-call]  # (C,)
        sums = per_position.new_zeros(rows.token_ids.shape[0])
        return sums.index_add(0, rows.owners, per_position)  # (B,)

    def _through_full_logits(self, rows: Rows) -> torch.Tensor:
        width = rows.token_ids.shape[1]
        parts = []
        for row in range(rows.token_ids.shape[0]):
            mine = rows.owners == row
            logits = self._model(input_ids=rows.token_ids[row : row + 1], use_cache=False).logits[0]  # (T, V)
            wanted = logits.index_select(0, rows.positions[mine] - row * width)
            log_probs = _at_least_float32(wanted).log_softmax(-1)
            parts.append(log_probs.gather(-1, rows.targets[mine, None])[:, 0])
        return torch.cat(parts)  # rows are in order, and so are their positions


class _TargetLogps(torch.autograd.Function):
    """log softmax(z)[y] = z[y] - logsumexp(z), and G = d/dh of it, kept instead of logits: (C, D) for (C, V)."""

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, targets: torch.Tensor, head: Head) -> torch.Tensor:
        wants_gradient = ctx.needs_input_grad[0]
        kept = torch.empty_like(hidden) if wants_gradient else None  # (C, D)
        result = []
        step = max(16, CHUNK_ELEMENTS // head.weight.shape[0])
        for start in range(0, hidden.shape[0], step):
            piece = slice(start, start + step)
            logits = head.logits(hidden[piece])  # (n, V)
            normaliser = logits.logsumexp(-1, keepdim=True)  # (n, 1)
            result.append((logits.gather(-1, targets[piece, None]) - normaliser)[:, 0])
            if kept is not None:
                gradient = (logits - normaliser).exp_().neg_()  # -softmax(z)
                gradient.scatter_add_(-1, targets[piece, None], torch.ones_like(normaliser))  # onehot(y) - softmax(z)
                kept[piece] = head.pull_back(gradient, logits)
        if kept is not None:
            ctx.save_for_backward(kept)
        return torch.cat(result) if result else _at_least_float32(hidden.new_zeros(0))

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (kept,) = ctx.saved_tensors
        return (kept * upstream[0][:, None]).to(kept.dtype), None, None


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


def _body(model: Any) -> Any:
    """The model without its head."""
    return model.base_model


def _at_least_float32(values: torch.Tensor) -> torch.Tensor:
    return values if values.dtype == torch.float64 else values.float()
