"""Budget to plan: what is given up, in which order, and what is said about it. Pure, so whole ladders can be walked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dittod.errors import SettingsError
from dittod.learner.memory import Device, kept_per_token, weight_bytes
from dittod.learner.plan import Need, Planned, make_plan, size
from dittod.learner.preset import AS_RELEASED, CLEAN
from dittod.model.shape import ModelShape
from dittod.types import Plan

GB = 10**9
QWEN3_06B = ModelShape(28, 1024, 3072, 2048, 1024, 16, 151936, True, True, 40960)
QWEN3_8B = ModelShape(36, 4096, 12288, 4096, 1024, 32, 151936, False, True, 40960)
LLAMA32_3B = ModelShape(28, 3072, 8192, 3072, 1024, 24, 128256, True, False, 131072)
TINY = ModelShape(2, 32, 48, 32, 16, 4, 262, True, False, 512)
CPU = Device("cpu", 2, 16 * GB, four_bits=True)
CUDA = Device("cuda", 2, 16 * GB, four_bits=True)
MAIL = Need(512, 80)  # tokens of a long mail with its prompt; 8 demonstrations with 10 samples


def ladder(shape: ModelShape, device: Device, **given: object) -> list[Planned]:
    """The different plans from a huge budget down to where it is refused, 1 % at a time."""
    found: list[Planned] = []
    budget = 200 * GB
    while True:
        try:
            planned = make_plan(shape, device, budget, CLEAN, **given)  # type: ignore[arg-type]
        except SettingsError:
            return found
        if not found or planned.plan != found[-1].plan:
            found.append(planned)
        budget = int(min(budget, planned.plan.peak_bytes) * 0.99)


@pytest.mark.parametrize("device", [CPU, CUDA])
@pytest.mark.parametrize("shape", [TINY, QWEN3_06B, QWEN3_8B])
def test_more_budget_never_gives_up_what_less_had(shape: ModelShape, device: Device) -> None:
    """Seen as what matters most first: rank, length, moments, weights, rows. Budgets a fifth apart, to 40 GB."""
    budget, before = 10**8, (0, 0, False, False, 0)
    while budget < 40 * GB:
        budget = budget * 6 // 5
        try:
            plan = make_plan(shape, device, budget, CLEAN).plan
        except SettingsError:
            assert before[0] == 0, "less was enough"
            continue
        assert plan.peak_bytes <= budget
        whole = (plan.rank, plan.sequence_tokens, plan.optimiser == "preset", plan.quantisation == "none")
        assert (*whole, plan.sampling_rows) >= before
        before = (*whole, plan.sampling_rows)
    assert before[0] == CLEAN.rank


def test_with_room_to_spare_nothing_is_given_up() -> None:
    plan = make_plan(QWEN3_06B, CPU, 100 * GB, CLEAN).plan
    assert replace(plan, peak_bytes=0) == Plan("none", 16, 2048, 1024, False, 80, "preset", 0)


@pytest.mark.parametrize(("tree", "micro_batch_tokens"), [(300, 1024), (1500, 1500), (9000, 2048)])
def test_a_micro_batch_holds_a_whole_tree_if_it_can(tree: int, micro_batch_tokens: int) -> None:
    plan = make_plan(QWEN3_06B, CPU, 100 * GB, CLEAN, need=Need(tree=tree)).plan
    assert plan.micro_batch_tokens == micro_batch_tokens


def test_what_is_given_up_comes_in_the_stated_order() -> None:
    """From the largest budget down, the first plan that lacks each."""
    plans = [each.plan for each in ladder(QWEN3_06B, CPU)]
    first = {
        "checkpointing": next(i for i, plan in enumerate(plans) if plan.checkpointing),
        "sampling_rows": next(i for i, plan in enumerate(plans) if plan.sampling_rows < 10),
        "quantisation": next(i for i, plan in enumerate(plans) if plan.quantisation == "nf4"),
        "sequence_tokens": next(i for i, plan in enumerate(plans) if plan.sequence_tokens < 2048),
        "rank": next(i for i, plan in enumerate(plans) if plan.rank < 16),
    }
    assert list(first.values()) == sorted(first.values()), first
    assert all(plan.micro_batch_tokens >= 1024 for plan in plans if not plan.checkpointing)


def test_every_value_has_its_reason_and_what_was_given_up_names_what_it_would_have_needed() -> None:
    planned = make_plan(QWEN3_06B, CPU, 2 * GB, CLEAN)
    assert set(planned.reasons) == {name for name in Plan.__dataclass_fields__ if name != "peak_bytes"}
    assert all(planned.reasons.values())
    better = make_plan(QWEN3_06B, CPU, 100 * GB, CLEAN).plan
    for name in ("quantisation", "checkpointing", "sampling_rows"):
        assert getattr(planned.plan, name) != getattr(better, name)
        assert "would need" in planned.reasons[name]


def test_what_the_next_better_would_need_is_more_than_the_budget() -> None:
    for planned in ladder(QWEN3_06B, CPU):
        for name, reason in planned.reasons.items():
            if "would need" in reason:
                number, unit = reason.split()[-2:]
                needed = float(number) * {"GB": 1e9, "MB": 1e6}[unit]
                assert needed > planned.budget_bytes * 0.99, (name, reason, planned.plan)


def test_a_refusal_names_the_smallest_budget_that_would_do() -> None:
    with pytest.raises(SettingsError) as caught:
        make_plan(QWEN3_8B, CPU, GB, CLEAN)
    assert "1.00 GB" in caught.value.title
    enough = int(caught.value.hint.split("memory_budget to ")[1].split("MB")[0]) * 10**6
    assert make_plan(QWEN3_8B, CPU, enough, CLEAN).plan.peak_bytes > 0.97 * enough
    with pytest.raises(SettingsError):
        make_plan(QWEN3_8B, CPU, int(0.97 * enough), CLEAN)


def test_a_refusal_of_weights_that_must_stay_whole_offers_four_bits() -> None:
    with pytest.raises(SettingsError, match="at least") as caught:
        make_plan(QWEN3_8B, CPU, 10 * GB, CLEAN, quantisation="none")
    assert "quantisation to auto" in caught.value.hint
    assert make_plan(QWEN3_8B, CPU, 10 * GB, CLEAN).plan.quantisation == "nf4"


def test_a_quantisation_that_is_given_is_kept() -> None:
    for wanted in ("none", "nf4"):
        assert make_plan(TINY, CPU, 100 * GB, CLEAN, quantisation=wanted).plan.quantisation == wanted


def test_without_bitsandbytes_weights_stay_whole() -> None:
    bare = replace(CPU, four_bits=False)
    assert {each.plan.quantisation for each in ladder(QWEN3_06B, bare)} == {"none"}


def test_only_cuda_has_larger_micro_batches_and_the_8bit_optimiser() -> None:
    assert make_plan(QWEN3_06B, CUDA, 100 * GB, CLEAN).plan.micro_batch_tokens == 4096
    assert "adamw_8bit" in {each.plan.optimiser for each in ladder(QWEN3_8B, CUDA)}
    assert {each.plan.optimiser for each in ladder(QWEN3_8B, CPU)} == {"preset"}


def test_a_plan_asks_for_no_more_than_the_update_needs() -> None:
    plan = make_plan(QWEN3_06B, CPU, 100 * GB, CLEAN, need=Need(300, 12)).plan
    assert (plan.sequence_tokens, plan.sampling_rows) == (300, 12)
    short_context = make_plan(TINY, CPU, 100 * GB, CLEAN).plan
    assert short_context.sequence_tokens == 512


def test_a_preset_on_attention_alone_has_smaller_adapters() -> None:
    """as_released at twice the rank: 32 · (1024+2048 + 2·(1024+1024) + 2048+1024) against 16 · (those + 3·4096)."""
    clean = make_plan(QWEN3_06B, CPU, 100 * GB, CLEAN).phases["forward"].adapters
    released = make_plan(QWEN3_06B, CPU, 100 * GB, replace(AS_RELEASED, optimiser="adamw")).phases["forward"].adapters
    assert released / clean == pytest.approx(2 * 10240 / (10240 + 3 * 4096))
    with_one_moment = make_plan(QWEN3_06B, CPU, 100 * GB, AS_RELEASED).phases["forward"].adapters
    assert with_one_moment < released


def test_a_card_of_five_gigabytes_learns_with_three_billion_parameters_at_the_presets_rank() -> None:
    """The aim of the project for 8 demonstrations with 10 samples of 512 tokens."""
    plan = make_plan(LLAMA32_3B, CUDA, 5 * GB, CLEAN, need=MAIL).plan
    assert (plan.quantisation, plan.rank, plan.sequence_tokens) == ("nf4", 16, 512)


def test_weights_and_activations_are_those_of_the_arithmetic() -> None:
    """Tiny: 2 layers of 2·32·32 + 2·32·16 + 3·32·48 = 7680 in linear layers, 262·32 in the embedding.

    One layer keeps of a token: norms 4·2·32; inputs 2·(32+32+32+48) and 7 products of rank 16; the MLP 2·3·48;
    attention 2·32·(query, keys, values, 2 · 1.4 with prompts, result) and 4 heads' numbers.
    """
    assert weight_bytes(TINY, CPU, Plan()) == 2 * (2 * 7680 + 262 * 32)
    assert weight_bytes(TINY, CPU, Plan("nf4")) == int(0.516 * 2 * 7680) + 2 * 262 * 32
    by_hand = 4 * 64 + 2 * (144 + 7 * 16) + 2 * 144 + 2 * int(32 * 6.8) + 16
    assert kept_per_token(TINY, CPU, rank=16) == by_hand


def test_sizes_are_shown_in_three_digits() -> None:
    assert (size(987_654_321), size(12_345_678_901)) == ("988 MB", "12.35 GB")
