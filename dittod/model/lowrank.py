"""The forward of a linear layer that carries low-rank adapters: y = x Wᵀ + b + s · (x Aᵀ) Bᵀ, sparing of memory.

It takes the place of the forward of PEFT's layers, which casts every input to fp32 and keeps that copy for the backward
pass: twice the memory and a quarter of the time. Here the input itself is kept, which layers that read the same tensor
(q, k and v; gate and up) share, beside the small x Aᵀ. Multiplications run in the input's dtype; A and B stay masters
in theirs (fp32), and so do their gradients. W gets none. A 4-bit W is dequantised in the forward pass and again in the
backward pass, and never kept.

Knows torch's Linear and bitsandbytes' Linear4bit. Knows nothing of which adapters there are, nor of dropout or DoRA.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor


class _Factors(NamedTuple):
    """Of one adapter in one layer: the masters, or their casts, which have s in `up`."""

    down: Tensor  # A, (r, in)
    up: Tensor  # B, (out, r)
    scale: float  # s


class LowRankForward:
    """What a layer of PEFT calls instead of its own forward, with one adapter or none.

    Casts of A and B are kept until the masters change. Autograd's version counter tells that, for whatever writes in
    place; what it cannot see (`tensor.data`, another tensor in a parameter's place) needs a `forget()`.
    """

    def __init__(self, layer: Any) -> None:
        self._layer = layer
        self._base = layer.base_layer
        self._masters: dict[str, _Factors | None] = {}  # None: the adapter does not target this layer
        self._casts: dict[str, tuple[tuple[int, int, torch.dtype], _Factors]] = {}  # with what they were cast from

    def __call__(self, x: Tensor) -> Tensor:
        """(…, in) to (…, out). Exactly what the base layer gives while no adapter is active, or none that is here."""
        layer = self._layer
        if layer._disable_adapters or (masters := self._masters_of(layer._active_adapter[0])) is None:
            return self._base(x)  # type: ignore[no-any-return]
        cast = self._cast_of(layer._active_adapter[0], masters, x.dtype)
        if torch.is_grad_enabled():
            return _Adapted.apply(x, masters.down, masters.up, cast, self._base)  # type: ignore[no-any-return,no-untyped-call]
        out: Tensor = self._base(x)
        small = x.reshape(-1, x.shape[-1]) @ cast.down.t()
        out.view(-1, out.shape[-1]).addmm_(small, cast.up.t())
        return out

    def forget(self) -> None:
        """Look at the adapters anew at the next call."""
        self._masters.clear()
        self._casts.clear()

    def _masters_of(self, name: str) -> _Factors | None:
        if name not in self._masters:
            down, up = (getattr(self._layer, each) for each in ("lora_A", "lora_B"))
            self._masters[name] = (
                _Factors(down[name].weight, up[name].weight, float(self._layer.scaling[name])) if name in down else None
            )
        return self._masters[name]

    def _cast_of(self, name: str, masters: _Factors, dtype: torch.dtype) -> _Factors:
        """Decoding comes here twice per token and layer, so nothing is cast that has not changed."""
        key = (masters.down._version, masters.up._version, dtype)
        known = self._casts.get(name)
        if known is not None and known[0] == key:
            return known[1]
        with torch.no_grad():
            down, up = masters.down.detach().to(dtype), (masters.up * masters.scale).to(dtype)
        cast = _Factors(down, up, masters.scale)
        self._casts[name] = (key, cast)
        return cast


def install(layer: Any) -> LowRankForward | None:
    """Give a layer of PEFT this forward, once. None where its base layer is of a kind that PEFT had better compute."""
    installed = vars(layer).get("forward")
    if installed is None and (type(layer.base_layer) is torch.nn.Linear or _is_4bit(layer.base_layer)):
        installed = layer.forward = LowRankForward(layer)
    return installed  # type: ignore[no-any-return]


class _Adapted(torch.autograd.Function):
    """With G = ∂L/∂y (N, out) of an input X (N, in):

    ∂L/∂A = (s G B)ᵀ X      ∂L/∂B = s Gᵀ (X Aᵀ)      ∂L/∂X = G W + (s G B) A
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, down: Tensor, up: Tensor, cast: _Factors, base: Any) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])  # (N, in)
        weight = _weight(base, x.dtype)  # (out, in)
        out = x.new_empty(*x.shape[:-1], len(weight))
        flat = out.view(-1, len(weight))  # (N, out)
        if base.bias is None:
            torch.mm(rows, weight.t(), out=flat)
        else:
            torch.addmm(base.bias, rows, weight.t(), out=flat)
        small = rows @ cast.down.t()  # (N, r)
        flat.addmm_(small, cast.up.t())
        ctx.save_for_backward(x, small, cast.down, cast.up)
        ctx.base, ctx.scale, ctx.master_dtype = base, cast.scale, down.dtype
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, small, down, up = ctx.saved_tensors
        wants_x, wants_A, wants_B = ctx.needs_input_grad[:3]
        slopes = grad.reshape(-1, grad.shape[-1])  # (N, out)
        inner = slopes @ up  # (N, r)
        of_A = _product(inner.t(), x.reshape(-1, x.shape[-1]), ctx.master_dtype) if wants_A else None
        of_B = _product(slopes.t(), small, ctx.master_dtype).mul_(ctx.scale) if wants_B else None
        of_x = None
        if wants_x:
            of_x = x.new_empty(x.shape)
            flat = of_x.view(-1, x.shape[-1])
            torch.mm(slopes, _weight(ctx.base, grad.dtype), out=flat)
            flat.addmm_(inner, down)
        return of_x, of_A, of_B, None, None


def _product(left: Tensor, right: Tensor, dtype: torch.dtype) -> Tensor:
    """left @ right in `dtype`: CUDA hands over a 16-bit product's fp32 sums as they are, the CPU rounds them first."""
    if left.is_cuda and left.dtype.itemsize == 2 and dtype is torch.float32:
        return torch.mm(left, right, out_dtype=dtype)
    return (left @ right).to(dtype)


def _weight(base: Any, dtype: torch.dtype) -> Tensor:
    """W, (out, in): the layer's own, or a fresh dequantised one."""
    if not _is_4bit(base):
        return base.weight  # type: ignore[no-any-return]
    from bitsandbytes.functional import dequantize_4bit

    return dequantize_4bit(base.weight.data, base.weight.quant_state).to(dtype)


def _is_4bit(base: Any) -> bool:
    """Told by what bitsandbytes puts into such a layer, since it is not installed everywhere."""
    return isinstance(base, torch.nn.Linear) and hasattr(base.weight, "quant_state")
