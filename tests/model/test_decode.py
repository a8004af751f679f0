"""Batched decoding gives every row what it would have got alone, and leaves the model as it was.

The reference for greedy decoding is transformers' own `generate`, one prompt at a time.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from fakes import tiny_base

from dittod.engine.protocol import Sampling
from dittod.errors import ModelError, RequestError
from dittod.model.decode import Decoder, Row
from dittod.model.load import BaseModel
from dittod.model.lora import LoraAdapters, LoraShape

GREEDY = Sampling(temperature=0, max_tokens=24)
DRAWN = Sampling(seed=4, max_tokens=24)


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    """The tiny model without stop tokens: answers are as long as they are allowed to be."""
    base = tiny_base(tmp_path_factory.mktemp("tiny"))
    base.model.generation_config.eos_token_id = None  # what the reference looks at
    return replace(base, stop_token_ids=frozenset())


@pytest.fixture(scope="module")
def adapters(endless: BaseModel) -> LoraAdapters:
    """Two adapters that change every answer."""
    both = LoraAdapters(endless)
    for seed, name in enumerate(("one", "two")):
        both.create(name, LoraShape(rank=4), seed=seed)
        generator = torch.Generator().manual_seed(seed)
        for value in both.parameters(name):
            value.data.copy_(torch.randn(value.shape, generator=generator) * 0.2)
    return both


def prompt(tokens: int, *, seed: int = 0) -> list[int]:
    rng = random.Random(f"{tokens} {seed}")
    return [rng.randrange(256) for _ in range(tokens)]


def decode_all(decoder: Decoder) -> None:
    while decoder.busy:
        decoder.step()


def generated(
    base: BaseModel, adapters: LoraAdapters, ids: Sequence[int], adapter: str | None, tokens: int
) -> list[int]:
    """What transformers' own greedy loop writes."""
    with adapters.active(adapter), torch.no_grad():
        whole = base.model.generate(
            torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            do_sample=False,
            max_new_tokens=tokens,
        )
    return list(whole[0, len(ids) :].tolist())


def scored_whole(base: BaseModel, adapters: LoraAdapters, row: Row) -> torch.Tensor:
    """Log-probs at every token of the answer, by one forward without a cache, (tokens, vocabulary)."""
    ids = torch.tensor([[*row.prompt_ids, *row.token_ids]])
    with adapters.active(row.adapter), torch.no_grad():
        logits: torch.Tensor = base.model(ids, use_cache=False).logits[0, len(row.prompt_ids) - 1 : -1]
    return logits.log_softmax(-1)


def assert_scored_right(base: BaseModel, adapters: LoraAdapters, row: Row) -> None:
    """The sharper check: greedy answers of a random model soon repeat themselves, drawn ones show every wrong mask."""
    expected = scored_whole(base, adapters, row).gather(-1, torch.tensor(row.token_ids)[:, None])[:, 0]
    torch.testing.assert_close(torch.tensor(row.logps), expected, atol=2e-5, rtol=1e-5)


@contextmanager
def counted_forwards(base: BaseModel) -> Iterator[list[tuple[int, int]]]:
    """Shapes (rows, tokens) of the model's forwards inside the block."""
    shapes: list[tuple[int, int]] = []

    def note(_module: object, _args: object, named: dict[str, torch.Tensor]) -> None:
        shapes.append((named["input_ids"].shape[0], named["input_ids"].shape[1]))

    handle = base.model.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield shapes
    finally:
        handle.remove()


# --- the same tokens as alone -----------------------------------------------------------------------------------


def test_prompts_of_different_lengths_decoded_together_equal_generate(
    endless: BaseModel, adapters: LoraAdapters
) -> None:
    prompts = [prompt(tokens) for tokens in (5, 90, 1, 30, 60)]
    decoder = Decoder(endless, adapters, max_rows=8)
    rows = [row for ids in prompts for row in decoder.submit(ids, GREEDY)]
    decode_all(decoder)
    assert [row.token_ids for row in rows] == [generated(endless, adapters, ids, None, 24) for ids in prompts]


def test_rows_that_join_at_different_times_with_different_adapters_equal_generate(
    endless: BaseModel, adapters: LoraAdapters
) -> None:
    """Long prompts after short ones move the batch's columns; only three rows fit, so others wait for them to end."""
    cases = [(7, None), (80, "one"), (2, "two"), (150, None), (40, "one"), (3, None), (120, "two"), (9, "one")]
    decoder = Decoder(endless, adapters, max_rows=3)
    rows: list[Row] = []
    for index, (tokens, adapter) in enumerate(cases):
        sampling = Sampling(temperature=index % 2, seed=index, max_tokens=10 + 9 * (index % 4))
        rows += decoder.submit(prompt(tokens), sampling, adapter=adapter)
        for _ in range(4):
            decoder.step()
    decode_all(decoder)
    for row in rows:
        assert_scored_right(endless, adapters, row)
        if row.sampling.temperature == 0:
            assert row.token_ids == generated(endless, adapters, row.prompt_ids, row.adapter, row.limit)


def test_an_answer_longer_than_the_buffers_first_were_equals_generate(
    endless: BaseModel, adapters: LoraAdapters
) -> None:
    decoder = Decoder(endless, adapters, max_rows=2)
    long, short = (decoder.submit(prompt(3), replace(GREEDY, max_tokens=tokens))[0] for tokens in (300, 20))
    decode_all(decoder)
    expected = generated(endless, adapters, long.prompt_ids, None, 300)
    assert (long.token_ids, short.token_ids) == (expected, expected[:20])


def test_log_probabilities_are_those_of_one_full_forward(endless: BaseModel, adapters: LoraAdapters) -> None:
    """Under the model itself: neither temperature nor cuts nor penalties show in them."""
    sampling = Sampling(temperature=0.7, top_k=20, frequency_penalty=0.3, seed=5, max_tokens=12, logprobs=3)
    decoder = Decoder(endless, adapters, max_rows=4)
    rows = decoder.submit(prompt(6), sampling, adapter="one", n=2) + decoder.submit(prompt(33), sampling)
    decode_all(decoder)
    for row in rows:
        assert_scored_right(endless, adapters, row)
        logps = scored_whole(endless, adapters, row)  # (tokens, vocabulary)
        assert [[i for i, _ in top] for top in row.alternatives] == logps.topk(3).indices.tolist()
        assert [p for top in row.alternatives for _, p in top] == pytest.approx(logps.topk(3).values.flatten().tolist())


# --- sampling ---------------------------------------------------------------------------------------------------


def test_the_same_seed_draws_the_same_tokens_alone_and_in_company(endless: BaseModel, adapters: LoraAdapters) -> None:
    sampling = Sampling(seed=11, max_tokens=20)
    alone = Decoder(endless, adapters, max_rows=1)
    first = alone.submit(prompt(10), sampling)[0]
    decode_all(alone)
    together = Decoder(endless, adapters, max_rows=9)
    together.submit(prompt(50), Sampling(max_tokens=30), n=3)
    for _ in range(5):
        together.step()
    rows = together.submit(prompt(10), sampling, n=3) + together.submit(prompt(20), replace(sampling, seed=3))
    decode_all(together)
    assert rows[0].token_ids == first.token_ids
    assert rows[1].token_ids != first.token_ids  # n answers have n seeds: 11, 12, 13


def test_without_a_seed_answers_differ(endless: BaseModel, adapters: LoraAdapters) -> None:
    decoder = Decoder(endless, adapters, max_rows=8)
    rows = decoder.submit(prompt(10), Sampling(max_tokens=12), n=8)
    decode_all(decoder)
    assert len({tuple(row.token_ids) for row in rows}) == 8


@pytest.mark.parametrize("seed", [-1, 0, 2**63 - 1, 2**64])
def test_every_integer_is_a_seed(endless: BaseModel, adapters: LoraAdapters, seed: int) -> None:
    decoder = Decoder(endless, adapters, max_rows=2)
    rows = decoder.submit(prompt(3), Sampling(seed=seed, max_tokens=2), n=2)
    decode_all(decoder)
    assert all(row.finish_reason == "length" for row in rows)


# --- the work that is done --------------------------------------------------------------------------------------


def test_a_prompt_is_computed_once_for_all_its_answers(endless: BaseModel, adapters: LoraAdapters) -> None:
    decoder = Decoder(endless, adapters, max_rows=6)
    rows = decoder.submit(prompt(40), Sampling(max_tokens=5, seed=1), n=6)
    with counted_forwards(endless) as shapes:
        decode_all(decoder)
    assert shapes == [(1, 40)] + [(6, 1)] * 4
    assert all(len(row.token_ids) == 5 for row in rows)


def test_it_is_computed_once_even_when_its_answers_do_not_fit_at_once(
    endless: BaseModel, adapters: LoraAdapters
) -> None:
    decoder = Decoder(endless, adapters, max_rows=4)
    rows = decoder.submit(prompt(40), Sampling(max_tokens=5, seed=1), n=10)
    with counted_forwards(endless) as shapes:
        decode_all(decoder)
    assert shapes.count((1, 40)) == 1
    assert max(rows for rows, _ in shapes) == 4
    assert all(len(row.token_ids) == 5 for row in rows)


def test_submitting_computes_nothing(endless: BaseModel, adapters: LoraAdapters) -> None:
    decoder = Decoder(endless, adapters, max_rows=1)
    assert not decoder.busy
    with counted_forwards(endless) as shapes:
        decoder.submit(prompt(4), GREEDY)
    assert decoder.busy
    assert shapes == []


def test_a_step_is_one_prompt_or_one_token_for_all_and_running_rows_never_wait_for_two_prompts(
    endless: BaseModel, adapters: LoraAdapters
) -> None:
    decoder = Decoder(endless, adapters, max_rows=4)
    a, b, c = (decoder.submit(prompt(tokens), GREEDY)[0] for tokens in (4, 5, 6))
    assert [decoder.step() for _ in range(5)] == [[a], [a], [b], [a, b], [c]]
    assert decoder.step() == [a, b, c]


def test_rows_that_end_make_room_for_those_that_wait(endless: BaseModel, adapters: LoraAdapters) -> None:
    decoder = Decoder(endless, adapters, max_rows=3)
    for index in range(7):
        decoder.submit(prompt(4, seed=index), replace(GREEDY, max_tokens=3 + index), adapter=(None, "one")[index % 2])
    seen: dict[int, Row] = {}
    with counted_forwards(endless) as shapes:
        while decoder.busy:
            shapes.clear()
            seen |= {id(row): row for row in decoder.step()}
            assert sum(rows for rows, _ in shapes) <= 3
    assert len(seen) == 7
    assert all(len(row.token_ids) == row.limit for row in seen.values())


# --- how rows end -----------------------------------------------------------------------------------------------


def test_a_stop_token_ends_the_answer_and_belongs_to_it(endless: BaseModel, adapters: LoraAdapters) -> None:
    greedy = generated(endless, adapters, prompt(5), None, 24)
    stop = greedy[9]
    decoder = Decoder(replace(endless, stop_token_ids=frozenset({stop})), adapters, max_rows=2)
    row = decoder.submit(prompt(5), GREEDY)[0]
    decode_all(decoder)
    assert row.token_ids == greedy[: greedy.index(stop) + 1]
    assert row.finish_reason == "stop"


def test_a_stop_token_in_the_very_first_place_ends_it_too(endless: BaseModel, adapters: LoraAdapters) -> None:
    first = generated(endless, adapters, prompt(5), None, 1)[0]
    decoder = Decoder(replace(endless, stop_token_ids=frozenset({first})), adapters, max_rows=2)
    row = decoder.submit(prompt(5), GREEDY)[0]
    assert decoder.step() == [row]
    assert (row.token_ids, row.finish_reason, decoder.busy) == ([first], "stop", False)


def test_max_tokens_and_the_end_of_the_context_end_it_for_length(endless: BaseModel, adapters: LoraAdapters) -> None:
    decoder = Decoder(endless, adapters, max_rows=4)
    limited = decoder.submit(prompt(8), replace(GREEDY, max_tokens=3))[0]
    context = endless.context_tokens
    edge = decoder.submit(prompt(context - 1), GREEDY)[0]
    full = decoder.submit(prompt(context - 6), replace(GREEDY, max_tokens=None))[0]
    decode_all(decoder)
    assert [len(row.token_ids) for row in (limited, edge, full)] == [3, 1, 6]
    assert {row.finish_reason for row in (limited, edge, full)} == {"length"}


def test_a_prompt_that_leaves_no_room_is_refused_before_any_work(endless: BaseModel, adapters: LoraAdapters) -> None:
    decoder = Decoder(endless, adapters, max_rows=1)
    with pytest.raises(RequestError, match="512") as refusal:
        decoder.submit(prompt(endless.context_tokens), GREEDY)
    assert (refusal.value.code, refusal.value.param) == ("context_length_exceeded", "messages")
    assert not decoder.busy


@pytest.mark.parametrize(
    ("ids", "sampling", "param"),
    [
        ([], GREEDY, "prompt"),
        ([5, 262], GREEDY, "prompt"),
        ([-1], GREEDY, "prompt"),
        ([5], replace(GREEDY, logit_bias={262: 1.0}), "logit_bias"),
        ([5], replace(GREEDY, max_tokens=0), "max_tokens"),
    ],
)
def test_what_would_break_the_model_is_refused_by_name(
    endless: BaseModel, adapters: LoraAdapters, ids: list[int], sampling: Sampling, param: str
) -> None:
    with pytest.raises(RequestError) as refusal:
        Decoder(endless, adapters, max_rows=1).submit(ids, sampling)
    assert refusal.value.param == param


def test_an_adapter_that_is_not_loaded_is_refused(endless: BaseModel, adapters: LoraAdapters) -> None:
    with pytest.raises(ModelError, match="three"):
        Decoder(endless, adapters, max_rows=1).submit([1], GREEDY, adapter="three")


# --- cancelling -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("victim", range(4))
def test_a_cancelled_row_gets_nothing_more_and_the_others_notice_nothing(
    endless: BaseModel, adapters: LoraAdapters, victim: int
) -> None:
    """The longest row, the first, the last: whichever leaves, columns and slots are rearranged for the rest."""
    lengths = (20, 3, 60, 11)
    decoder = Decoder(endless, adapters, max_rows=4)
    rows = [decoder.submit(prompt(tokens), DRAWN)[0] for tokens in lengths]
    for _ in range(10):
        decoder.step()
    so_far = list(rows[victim].token_ids)
    decoder.cancel(rows[victim])
    decoder.cancel(rows[victim])  # a second time changes nothing
    late = decoder.submit(prompt(70), DRAWN)[0]
    decode_all(decoder)
    assert rows[victim].token_ids == so_far
    for row in [*rows, late]:
        assert_scored_right(endless, adapters, row)
        assert row is rows[victim] or len(row.token_ids) == 24


def test_a_waiting_row_can_be_cancelled(endless: BaseModel, adapters: LoraAdapters) -> None:
    decoder = Decoder(endless, adapters, max_rows=2)
    rows = decoder.submit(prompt(5), replace(GREEDY, max_tokens=4), n=5)
    other = decoder.submit(prompt(6), GREEDY)[0]
    decoder.step()
    decoder.cancel(rows[3])
    decoder.cancel(other)
    decode_all(decoder)
    assert [len(row.token_ids) for row in [*rows, other]] == [4, 4, 4, 0, 4, 0]


def test_a_decoder_whose_rows_are_all_cancelled_is_idle(endless: BaseModel, adapters: LoraAdapters) -> None:
    decoder = Decoder(endless, adapters, max_rows=2)
    rows = decoder.submit(prompt(5), GREEDY, n=3)
    decoder.step()
    for row in rows:
        decoder.cancel(row)
    assert not decoder.busy
    assert decoder.step() == []


def test_a_forward_that_fails_leaves_every_row_where_it_was(
    endless: BaseModel, adapters: LoraAdapters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Out of memory at a token or at a prompt: the same step can be tried again."""
    decoder = Decoder(endless, adapters, max_rows=4)
    rows = [decoder.submit(prompt(tokens), DRAWN)[0] for tokens in (7, 30)]
    decoder.step()
    forward: Callable[..., object] = endless.model.model.forward

    def fails(*args: object, **named: object) -> object:
        forward(*args, **named)
        raise MemoryError

    for _ in range(4):
        with monkeypatch.context() as patch:
            patch.setattr(endless.model.model, "forward", fails)
            with pytest.raises(MemoryError):
                decoder.step()
        decoder.step()
    decode_all(decoder)
    for row in rows:
        assert_scored_right(endless, adapters, row)
