"""The forward of a linear layer that carries low-rank adapters: y = x Wᵀ + b + s · (x Aᵀ) Bᵀ, sparing of memory.

It takes the place of the forward of PEFT's layers, which casts every input to fp32 and keeps that copy for the backward
pass: twice the memory and a quarter of the time. Here the input itself is kept, which layers that read the same tensor
(q, k and v; gate and up) share, beside the small x Aᵀ. Multiplications run in the input's dtype, but for a few tokens
where nothing is learnt; A and B stay masters in theirs (fp32), and so do their gradients. W gets none. A 4-bit W is
dequantised in the forward pass and again in the backward pass, and never kept.

Knows torch's Linear and bitsandbytes' Linear4bit. Knows nothing of which adapters there are, nor of dropout or DoRA.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

_FEW_TOKENS = 16  # of larger models, more are slower in fp32


class _Factors(NamedTuple):
    """Of one adapter in one layer: the masters, or their casts, which have s in `up`."""

    down: Tensor  # A, (r, in)
    up: Tensor  # B, (out, r)
    scale: float  # s


Groups = Sequence[tuple[str, slice | Tensor]]  # adapters, each with the rows of a batch that it computes


def groups_of(names: Sequence[str | None], device: torch.device) -> Groups:
    """From each row's adapter (None: the base alone). Rows that lie side by side are a slice, which needs no copy."""
    rows_of: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        if name is not None:
            rows_of.setdefault(name, []).append(row)
    return [(name, _place(rows, device)) for name, rows in rows_of.items()]


def _place(rows: list[int], device: torch.device) -> slice | Tensor:
    side_by_side = rows[-1] - rows[0] == len(rows) - 1
    return slice(rows[0], rows[-1] + 1) if side_by_side else torch.tensor(rows, device=device)


class LowRankForward:
    """What a layer of PEFT calls instead of its own forward, with one adapter, with none, or, while `groups` is set and
    nothing is learnt, with one for each row of a batch.

    Casts of A and B are kept until the masters change. Autograd's version counter tells that, for whatever writes in
    place; what it cannot see (`tensor.data`, another tensor in a parameter's place) needs a `forget()`.
    """

    def __init__(self, layer: Any) -> None:
        self._layer = layer
        self._base = layer.base_layer
        self.groups: Groups | None = None
        self._masters: dict[str, _Factors | None] = {}  # None: the adapter does not target this layer
        self._casts: dict[
            tuple[str, torch.dtype], tuple[tuple[int, int], _Factors]
        ] = {}  # with what they were cast from

    def __call__(self, x: Tensor) -> Tensor:
        """(…, in) to (…, out). Exactly what the base layer gives while no adapter is active, or none that is here."""
        if self.groups is not None:
            return self._of_each_row(x, self.groups)
        layer = self._layer
        if layer._disable_adapters or (masters := self._masters_of(layer._active_adapter[0])) is None:
            return self._of_base(x)
        name = layer._active_adapter[0]
        if torch.is_grad_enabled():
            cast = self._cast_of(name, masters, x.dtype)
            return _Adapted.apply(x, masters.down, masters.up, cast, self._base)  # type: ignore[no-any-return,no-untyped-call]
        out = self._of_base(x)
        _add_product(out, x, self._cast_of(name, masters, _dtype_for(x)))
        return out

    def _of_each_row(self, x: Tensor, groups: Groups) -> Tensor:
        """The base's product once, and to it B·A x of the rows of each adapter. x (rows, …, in)."""
        out = self._of_base(x)
        for name, rows in groups:
            if (masters := self._masters_of(name)) is None:
                continue
            part = out[rows]  # a view of a slice, a copy of scattered rows
            _add_product(part, x[rows], self._cast_of(name, masters, _dtype_for(x)))
            if isinstance(rows, Tensor):
                out[rows] = part
        return out

    def _of_base(self, x: Tensor) -> Tensor:
        """Past torch's calling of modules, which takes 7 µs: a fifth of such a product for one token."""
        base = self._base
        if type(base) is torch.nn.Linear:
            return torch.nn.functional.linear(x, base.weight, base.bias)
        return base(x)  # type: ignore[no-any-return]

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
        versions = (masters.down._version, masters.up._version)
        known = self._casts.get((name, dtype))
        if known is not None and known[0] == versions:
            return known[1]
        with torch.no_grad():
            down, up = masters.down.detach().to(dtype), (masters.up * masters.scale).to(dtype)
        cast = _Factors(down, up, masters.scale)
        self._casts[name, dtype] = (versions, cast)
        return cast


def _dtype_for(x: Tensor) -> torch.dtype:
    """In which tokens go through A and B where nothing is learnt. On CPU, the fixed cost of two thin 16-bit products is
    more than few tokens cost altogether in fp32 (38 against 15 µs for 8 tokens of 256 numbers)."""
    few = x.numel() <= _FEW_TOKENS * x.shape[-1] and not x.is_cuda
    return torch.float32 if few and x.dtype is torch.bfloat16 else x.dtype


def _add_product(out: Tensor, x: Tensor, factors: _Factors) -> None:
    """out (…, out) += s · (x Aᵀ) Bᵀ, in place, multiplied in the dtype of the factors. x (…, in)."""
    small = x.reshape(-1, x.shape[-1]).to(factors.down.dtype) @ factors.down.t()  # (N, r)
    flat = out.view(-1, out.shape[-1])
    if small.dtype == out.dtype:
        flat.addmm_(small, factors.up.t())
    else:
        flat.add_((small @ factors.up.t()).to(out.dtype))


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
