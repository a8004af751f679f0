"""Our forward of adapted layers: PEFT's gradients, less memory, and never an adapter's old weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import make_tiny_model, wide_config
from torch.utils.checkpoint import checkpoint
from transformers import GPT2Config, GPT2LMHeadModel

from dittod.engine.protocol import Sampling
from dittod.errors import ModelError
from dittod.model import lora
from dittod.model.decode import Decoder
from dittod.model.load import BaseModel, load_base
from dittod.model.lora import LoraAdapters, LoraShape
from dittod.model.lowrank import LowRankForward

TOKENS = torch.arange(20, 60)[None]  # (1, 40)
RANK = 4
Tensors = list[torch.Tensor]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model with biases."""
    return make_tiny_model(tmp_path, config=wide_config(attention_bias=True, mlp_bias=True))


def base_in(folder: Path, dtype: torch.dtype) -> BaseModel:
    base = load_base(str(folder), device="cpu")
    base.model.to(dtype)
    generator = torch.Generator().manual_seed(7)
    for name, value in base.model.named_parameters():
        if name.endswith(".bias"):
            value.data.copy_(torch.randn(value.shape, generator=generator))
    return replace(base, dtype=dtype)


def adapters_on(base: BaseModel, *names: str, dtype: torch.dtype = torch.float32) -> LoraAdapters:
    """Random A and B, other ones for each name."""
    adapters = LoraAdapters(base)
    for seed, name in enumerate(names or ("policy",)):
        adapters.create(name, LoraShape(rank=RANK, alpha=6), seed=seed)
        generator = torch.Generator().manual_seed(seed)
        for value in adapters.parameters(name):
            value.data = (torch.randn(value.shape, generator=generator) * 0.1).to(dtype)
    return adapters


def adapters_of_peft(base: BaseModel, patch: pytest.MonkeyPatch, dtype: torch.dtype = torch.float32) -> LoraAdapters:
    """The same, computed by PEFT's own forward."""
    with patch.context() as only_here:
        only_here.setattr(lora, "install", lambda layer: None)
        return adapters_on(base, dtype=dtype)


def gradients(base: BaseModel, adapters: LoraAdapters, name: str = "policy") -> Tensors:
    """Of the likelihood of one fixed text: for the adapter's weights, and last for the embedded text."""
    weights = adapters.parameters(name)
    embedded = base.model.get_input_embeddings()(TOKENS[:, :-1]).requires_grad_()
    with adapters.active(name):
        logps = base.model(inputs_embeds=embedded, use_cache=False).logits.log_softmax(-1)
        loss = -logps.gather(-1, TOKENS[:, 1:, None]).sum()
        return list(torch.autograd.grad(loss, [*weights, embedded]))


def distance(some: Tensors, others: Tensors) -> float:
    """Relative, over all tensors together."""
    apart = sum(float((a.double() - b.double()).square().sum()) for a, b in zip(some, others, strict=True))
    return float((apart / sum(float(b.double().square().sum()) for b in others)) ** 0.5)


def saved_by(compute: Callable[[], object]) -> Tensors:
    """What autograd keeps of a computation."""
    kept: Tensors = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        compute()
    return kept


def storage_bytes(tensors: Tensors) -> int:
    """Each storage once."""
    return sum({each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in tensors}.values())


def attention_of(base: BaseModel) -> Any:
    return base.model.model.layers[0].self_attn


def test_gradients_are_those_of_peft_exactly(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    double = torch.float64
    ours, theirs = base_in(folder, double), base_in(folder, double)
    found = gradients(ours, adapters_on(ours, dtype=double))
    expected = gradients(theirs, adapters_of_peft(theirs, monkeypatch, double))
    assert isinstance(vars(attention_of(ours).q_proj)["forward"], LowRankForward)
    assert "forward" not in vars(attention_of(theirs).q_proj)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_gradients_in_bf16_are_as_near_the_true_ones_as_those_of_peft(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Truth: fp32, on the weights as bf16 rounded them. What is left is the rounding of a few more products."""
    ours, theirs, true = (base_in(folder, torch.bfloat16) for _ in range(3))
    true.model.to(torch.float32)
    truth = gradients(true, adapters_on(true))
    found = gradients(ours, adapters_on(ours))
    of_peft = gradients(theirs, adapters_of_peft(theirs, monkeypatch))
    assert [each.dtype for each in found] == [torch.float32] * (len(found) - 1) + [torch.bfloat16]
    assert distance(found, truth) < 1.25 * distance(of_peft, truth) < 0.05


def test_layers_that_read_the_same_input_keep_it_once(folder: Path) -> None:
    base = base_in(folder, torch.bfloat16)
    adapters, layer = adapters_on(base), attention_of(base)
    x = torch.randn(1, 96, 64, dtype=torch.bfloat16, requires_grad=True)
    with adapters.active("policy"):
        kept = saved_by(lambda: (layer.q_proj(x), layer.k_proj(x), layer.v_proj(x)))
    weights = (
        2 * RANK * ((64 + 64) + 2 * (64 + 32))
    )  # A and B of the three, in bf16: they are there once for all inputs
    assert storage_bytes(kept) == 2 * 96 * 64 + 3 * 2 * 96 * RANK + weights


def test_without_an_adapter_the_layers_are_the_base(folder: Path) -> None:
    base = base_in(folder, torch.bfloat16)
    with torch.no_grad():
        before = base.model(TOKENS).logits
        adapters = adapters_on(base)
        assert torch.equal(base.model(TOKENS).logits, before)
        with adapters.active("policy"):
            assert not torch.equal(base.model(TOKENS).logits, before)


def test_an_adapter_leaves_the_layers_alone_that_it_does_not_target(folder: Path) -> None:
    base = base_in(folder, torch.float32)
    adapters = adapters_on(base)
    adapters.create("attention", LoraShape(rank=RANK, targets=("q_proj",)), seed=3)
    x = torch.randn(1, 5, 64)
    projection = base.model.model.layers[0].mlp.up_proj
    with adapters.active("attention"):
        assert torch.equal(projection(x), projection.base_layer(x))


@pytest.mark.parametrize("learns", [False, True], ids=["decoding", "learning"])
def test_changed_weights_count_at_once(folder: Path, learns: bool) -> None:
    """However they are changed: by an optimiser, from a file, from another adapter, or behind autograd's back."""
    base = base_in(folder, torch.bfloat16)
    adapters = adapters_on(base, "policy", "other")
    initial = adapters.state("policy")
    weights = adapters.parameters("policy")
    optimiser = torch.optim.AdamW(weights, lr=0.1)

    def step() -> None:
        for weight in weights:
            weight.grad = torch.ones_like(weight)
        optimiser.step()

    def behind() -> None:
        for weight in adapters.parameters("policy"):
            weight.data.mul_(2)

    def outputs() -> torch.Tensor:
        with adapters.active("policy"), torch.set_grad_enabled(learns):
            return base.model(TOKENS).logits.detach()  # type: ignore[no-any-return]

    def outputs_anew() -> torch.Tensor:
        for layer in adapters._layers:
            layer.forward.forget()
        return outputs()

    previous = outputs()
    changes = (step, lambda: adapters.copy("other", "policy"), behind, lambda: adapters.load_state("policy", initial))
    for change in changes:
        change()
        found = outputs()
        assert not torch.equal(found, previous)
        assert torch.equal(found, outputs_anew())
        previous = found


def test_an_adapter_of_the_same_name_is_not_taken_for_the_one_before(folder: Path) -> None:
    base = base_in(folder, torch.float32)
    adapters = adapters_on(base)
    x, layer = torch.randn(1, 5, 64), attention_of(base).q_proj
    with adapters.active("policy"):
        assert not torch.equal(layer(x), layer.base_layer(x))
    adapters.create("policy", LoraShape(rank=RANK), seed=0)  # B is zero
    with adapters.active("policy"):
        assert torch.equal(layer(x), layer.base_layer(x))


def test_weights_that_have_not_changed_are_not_cast_again(folder: Path) -> None:
    base = base_in(folder, torch.bfloat16)
    adapters, layer = adapters_on(base), attention_of(base).q_proj
    x = torch.randn(1, 5, 64, dtype=torch.bfloat16)
    with adapters.active("policy"):
        *_, down, up = saved_by(lambda: layer(x))
        *_, down_again, up_again = saved_by(lambda: layer(x))
    assert (down.dtype, up.dtype) == (torch.bfloat16, torch.bfloat16)
    assert (down.data_ptr(), up.data_ptr()) == (down_again.data_ptr(), up_again.data_ptr())


def test_a_layer_computed_anew_in_the_backward_pass_gives_the_same_gradients(folder: Path) -> None:
    """Between the two passes another adapter computed, as when a request comes."""
    base = base_in(folder, torch.bfloat16)
    adapters = adapters_on(base, "policy", "other")
    weights, mlp = adapters.parameters("policy"), base.model.model.layers[0].mlp
    x = torch.randn(1, 30, 64, dtype=torch.bfloat16)
    found = []
    for recomputed in (False, True):
        with adapters.active("policy"):
            out = checkpoint(mlp, x, use_reentrant=False) if recomputed else mlp(x)
        with adapters.active("other"), torch.no_grad():
            mlp(x)
        with adapters.active("policy"):
            found.append(torch.autograd.grad(out.float().square().sum(), weights, allow_unused=True))
    pairs = [(a, b) for a, b in zip(*found, strict=True) if a is not None]
    assert len(pairs) == 6
    assert all(torch.equal(a, b) for a, b in pairs)


def test_outputs_can_be_written_to_and_inputs_need_not_be_contiguous(folder: Path) -> None:
    base = base_in(folder, torch.float32)
    adapters, layer = adapters_on(base), attention_of(base).q_proj
    x = torch.randn(64, 7, requires_grad=True)
    down, up = (layer.lora_A["policy"].weight, layer.lora_B["policy"].weight)
    with adapters.active("policy"):
        out = layer(x.t())
        out += 1
        (found,) = torch.autograd.grad(out.square().sum(), x)
        expected = layer.base_layer(x.t()) + 1.5 * x.t() @ down.t() @ up.t() + 1
        (wanted,) = torch.autograd.grad(expected.square().sum(), x)
    torch.testing.assert_close(found, wanted)


def test_the_first_layers_input_gets_no_gradient_computed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = base_in(folder, torch.float32)
    adapters, layer = adapters_on(base), attention_of(base).q_proj
    written: list[torch.Size] = []
    multiply = torch.mm
    with adapters.active("policy"):
        out = layer(torch.randn(3, 64)).sum()
        monkeypatch.setattr(torch, "mm", lambda a, b, **to: written.append(a.shape) or multiply(a, b, **to))
        out.backward()
    assert written == []
    assert layer.lora_A["policy"].weight.grad is not None


def test_a_4bit_base_gives_the_gradients_of_its_dequantised_weights(folder: Path) -> None:
    bitsandbytes = pytest.importorskip("bitsandbytes")
    quantised = load_base(str(folder), quantisation="nf4", device="cpu")
    plain = load_base(str(folder), device="cpu")
    linear = {n: m for n, m in quantised.model.named_modules() if isinstance(m, bitsandbytes.nn.Linear4bit)}
    assert len(linear) == 14
    for name, module in linear.items():
        weight = bitsandbytes.functional.dequantize_4bit(module.weight.data, module.weight.quant_state)
        plain.model.get_submodule(name).weight.data.copy_(weight)
    found = gradients(quantised, adapters_on(quantised))
    expected = gradients(plain, adapters_on(plain))
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("quantisation", ["none", "nf4"])
def test_scoring_and_learning_compute_the_same_bits(folder: Path, quantisation: Any) -> None:
    """A policy that has not moved is as likely as its reference, which was scored without gradients."""
    if quantisation == "nf4":
        pytest.importorskip("bitsandbytes")
    base = load_base(str(folder), quantisation=quantisation, device="cpu")
    adapters = adapters_on(base)
    with adapters.active("policy"):
        learning = base.model(TOKENS, use_cache=False).logits
        with torch.no_grad():
            scoring = base.model(TOKENS, use_cache=False).logits
    assert learning.requires_grad
    assert torch.equal(learning, scoring)


def test_a_dequantised_weight_is_never_kept(folder: Path) -> None:
    pytest.importorskip("bitsandbytes")
    base = load_base(str(folder), quantisation="nf4", device="cpu")
    adapters, layer = adapters_on(base), attention_of(base).q_proj
    x = torch.randn(1, 3, 64, dtype=base.dtype, requires_grad=True)
    with adapters.active("policy"):
        kept = saved_by(lambda: layer(x))
    assert isinstance(vars(layer)["forward"], LowRankForward)
    assert max(each.untyped_storage().nbytes() for each in kept) < 64 * 64 * base.dtype.itemsize


def test_a_kind_of_layer_that_we_do_not_know_keeps_the_forward_of_peft(folder: Path) -> None:
    class Strange(torch.nn.Linear):
        """Might compute anything."""

    base = base_in(folder, torch.float32)
    attention_of(base).q_proj.__class__ = Strange
    adapters = adapters_on(base)
    assert "forward" not in vars(attention_of(base).q_proj)
    assert all(bool(each.any()) for each in gradients(base, adapters))


def test_an_adapter_that_is_not_plain_lora_is_refused(folder: Path, tmp_path: Path) -> None:
    """Its magnitudes would be left out of every product."""
    adapters = adapters_on(load_base(str(folder), device="cpu"))
    adapters.save("policy", tmp_path / "kept")
    settings = tmp_path / "kept" / "adapter_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "use_dora": True}))
    with pytest.raises(ModelError, match="plain LoRA"):
        adapters.load("other", tmp_path / "kept")
    assert "other" not in adapters


@pytest.mark.parametrize("tokens", [1, 16, 17, 40])
def test_decoding_in_bf16_rounds_no_more_than_its_products_must(folder: Path, tokens: int) -> None:
    """A few tokens go through A and B in fp32, more in bf16. Truth: double, on the weights as bf16 rounded them."""
    base = base_in(folder, torch.bfloat16)
    adapters, layer = adapters_on(base), attention_of(base).q_proj
    x = torch.randn(1, tokens, 64, generator=torch.Generator().manual_seed(1)).bfloat16()
    down, up = (getattr(layer, each)["policy"].weight.double() for each in ("lora_A", "lora_B"))
    with torch.no_grad(), adapters.active("policy"):
        truth = layer.base_layer.weight.double() @ x[0].double().t() + layer.base_layer.bias.double()[:, None]
        truth += layer.scaling["policy"] * up @ (down @ x[0].double().t())
        error = distance([layer(x)[0].t()], [truth])
    assert error < 4e-3  # half a unit in the last of 8 bits, for two sums


# --- a batch whose rows have adapters of their own --------------------------------------------------------------

MIXTURES = [
    (None, "one", "one", "two"),
    ("one", None, "two", "one"),  # rows of one adapter that do not lie side by side
    ("two", "two", None, None),
    ("attention", "one", None, "attention"),  # not in every layer
]


@pytest.mark.parametrize("names", MIXTURES)
@pytest.mark.parametrize("ours", [True, False], ids=["own forward", "left to PEFT"])
def test_each_row_is_computed_as_it_is_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str | None, ...], ours: bool
) -> None:
    base = base_in(folder, torch.float32)
    if not ours:
        monkeypatch.setattr(lora, "install", lambda layer: None)
    adapters = adapters_on(base, "one", "two")
    adapters.create("attention", LoraShape(rank=2, targets=("q_proj", "v_proj")), seed=5)
    for value in adapters.parameters("attention"):
        value.data = torch.randn(value.shape, generator=torch.Generator().manual_seed(3)) * 0.1
    texts = torch.arange(80).view(4, 20)
    with torch.no_grad():
        with adapters.active_rows(names):
            together = base.model(texts, use_cache=False).logits
        for text, name, found in zip(texts, names, together, strict=True):
            with adapters.active(name):
                torch.testing.assert_close(found, base.model(text[None], use_cache=False).logits[0])
        base_alone = base.model(texts, use_cache=False).logits
        with adapters.active(None):
            assert torch.equal(base_alone, base.model(texts, use_cache=False).logits)


def test_a_block_that_fails_leaves_no_rows_behind(folder: Path) -> None:
    base = base_in(folder, torch.float32)
    adapters = adapters_on(base, "one", "two")
    before = gradients(base, adapters, "one")
    with pytest.raises(MemoryError), adapters.active_rows(["one", "two"]):
        raise MemoryError
    assert all(torch.equal(a, b) for a, b in zip(before, gradients(base, adapters, "one"), strict=True))


@pytest.mark.filterwarnings("ignore:fan_in_fan_out")  # PEFT, of every such layer: it sets what it misses
def test_layers_of_another_kind_than_ours_mix_too() -> None:
    """GPT-2 has no linear layers but transposed ones, which PEFT computes."""
    config = GPT2Config(
        vocab_size=262, n_embd=32, n_layer=2, n_head=2, n_positions=64, bos_token_id=256, eos_token_id=257
    )
    base = base_of(GPT2LMHeadModel(config).eval())
    adapters = LoraAdapters(base)
    for seed, name in enumerate(("one", "two")):
        adapters.create(name, LoraShape(rank=2, targets=("c_attn", "c_proj")), seed=seed)
        for value in adapters.parameters(name):
            value.data.normal_(generator=torch.Generator().manual_seed(seed))
    decoder = Decoder(base, adapters, max_rows=4)
    names = ["one", None, "two", "one"]
    rows = [decoder.submit([9, i], Sampling(seed=i, max_tokens=8), adapter=name)[0] for i, name in enumerate(names)]
    while decoder.busy:
        decoder.step()
    for row in rows:
        alone = Decoder(base, adapters, max_rows=1)
        expected = alone.submit(row.prompt_ids, row.sampling, adapter=row.adapter)[0]
        while alone.busy:
            alone.step()
        assert row.token_ids == expected.token_ids
        assert row.logps == pytest.approx(expected.logps, abs=1e-5)


def base_of(model: Any) -> BaseModel:
    """Around a model made here, which no folder holds."""
    model.requires_grad_(False)
    return BaseModel(
        name="made here",
        revision="",
        quantisation="none",
        model=model,
        tokenizer=None,
        device=torch.device("cpu"),
        dtype=torch.float32,
        context_tokens=64,
        end_of_turn_id=257,
        stop_token_ids=frozenset({257}),
        template_sha256="",
    )
