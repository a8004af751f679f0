"""Batched decoding gives every row what it would have got alone, and leaves the model as it was.

The reference for greedy decoding is transformers' own `generate`, one prompt at a time.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from fakes import tiny_base
from hypothesis import given, settings
from hypothesis import strategies as st

from dittod.engine.protocol import Sampling
from dittod.errors import ModelError, RequestError
from dittod.model import batch, decode
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
    """Shapes (rows, tokens) of what the model reads inside the block."""
    shapes: list[tuple[int, int]] = []

    def note(_module: object, args: tuple[torch.Tensor, ...]) -> None:
        rows = len(args[0])
        shapes.append((rows, args[0].numel() // rows))

    handle = base.model.get_input_embeddings().register_forward_pre_hook(note)
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
    with pytest.raises(RequestError, match="is too long: this model's maximum context length is 512 tokens") as refusal:
        decoder.submit(prompt(endless.context_tokens), GREEDY)
    assert (refusal.value.code, refusal.value.param) == ("context_length_exceeded", "prompt")
    assert not decoder.busy


@pytest.mark.parametrize(
    ("ids", "sampling", "param"),
    [
        ([], GREEDY, "prompt"),
        ([5, 262], GREEDY, "prompt"),
        ([-1], GREEDY, "prompt"),
        ([5], replace(GREEDY, logit_bias={262: 1.0}), "logit_bias"),
        ([5], replace(GREEDY, max_tokens=-1), "max_tokens"),
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
    last = endless.model.model.norm
    forward: Callable[..., object] = last.forward

    def fails(*args: object, **named: object) -> object:
        forward(*args, **named)
        raise MemoryError

    for _ in range(4):
        with monkeypatch.context() as patch:
            patch.setattr(last, "forward", fails)
            with pytest.raises(MemoryError):
                decoder.step()
        decoder.step()
    decode_all(decoder)
    for row in rows:
        assert_scored_right(endless, adapters, row)


# --- rows of different adapters ---------------------------------------------------------------------------------


def test_the_base_and_two_adapters_share_one_forward(endless: BaseModel, adapters: LoraAdapters) -> None:
    """Rows of one adapter lie side by side, or not."""
    decoder = Decoder(endless, adapters, max_rows=6)
    names = (None, "one", "two", "two", "one", None)
    rows = [decoder.submit(prompt(5 + i), replace(DRAWN, seed=i), adapter=name)[0] for i, name in enumerate(names)]
    with counted_forwards(endless) as shapes:
        for _ in range(12):
            decoder.step()
    assert shapes[-1] == (6, 1)
    assert len(shapes) == 12
    decode_all(decoder)
    for row in rows:
        assert_scored_right(endless, adapters, row)


EVENTS = st.one_of(
    st.tuples(
        st.just("submit"),
        st.sampled_from([None, "one", "two"]),  # adapter
        st.sampled_from([2, 7, 8, 20, 45]),  # tokens of the prompt, of which there is one of each length
        st.sampled_from([0.0, 1.0]),  # temperature
        st.integers(1, 9),  # most tokens
    ),
    st.tuples(st.just("step"), st.integers(1, 6)),
    st.tuples(st.just("cancel"), st.integers(0, 5)),
    st.tuples(st.just("continue"), st.integers(0, 5)),
)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(st.lists(EVENTS, max_size=14), st.sampled_from([0, 20_000, 10**9]))
def test_whatever_joins_and_leaves_every_row_says_what_it_says_alone(
    endless: BaseModel, adapters: LoraAdapters, events: list[tuple[object, ...]], prefix_bytes: int
) -> None:
    """Three rows at a time, chunks of eight tokens, with much, little or no room for earlier conversations."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode, "_CHUNK_TOKENS", 8)
        decoder = Decoder(endless, adapters, max_rows=3, prefix_bytes=prefix_bytes)
        rows: list[Row] = []
        for event in events:
            happen(decoder, rows, event)
        decode_all(decoder)
    for row in rows:
        alone = Decoder(endless, adapters, max_rows=1)
        expected = alone.submit(row.prompt_ids, row.sampling, adapter=row.adapter)[0]
        decode_all(alone)
        assert row.token_ids == expected.token_ids[: len(row.token_ids)]
        assert row.logps == pytest.approx(expected.logps[: len(row.logps)], abs=2e-5)


def happen(decoder: Decoder, rows: list[Row], event: tuple[object, ...]) -> None:
    match event:
        case ("submit", adapter, int(tokens), float(temperature), int(most)):
            sampling = Sampling(temperature=temperature, seed=len(rows), max_tokens=most)
            rows += decoder.submit(prompt(tokens), sampling, adapter=None if adapter is None else str(adapter))
        case ("step", int(times)):
            for _ in range(times):
                decoder.step()
        case ("cancel", int(number)) if number < len(rows):
            decoder.cancel(rows[number])
        case ("continue", int(number)) if number < len(rows):
            said = [*rows[number].prompt_ids, *rows[number].token_ids, 65, 66]
            rows += decoder.submit(said, Sampling(seed=1, max_tokens=4), adapter=rows[number].adapter)


# --- long prompts -----------------------------------------------------------------------------------------------


def test_a_long_prompt_comes_in_chunks_and_running_rows_get_a_token_between_any_two(
    endless: BaseModel, adapters: LoraAdapters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "_CHUNK_TOKENS", 64)
    decoder = Decoder(endless, adapters, max_rows=4)
    running = decoder.submit(prompt(4), GREEDY)[0]
    decoder.step()
    decoder.step()
    long = decoder.submit(prompt(200), GREEDY, adapter="one")[0]
    with counted_forwards(endless) as shapes:
        stepped = [decoder.step() for _ in range(7)]
    assert stepped == [[], [running]] * 3 + [[long]]
    assert shapes == [(1, 64), (1, 1)] * 3 + [(1, 8)]
    decode_all(decoder)
    assert long.token_ids == generated(endless, adapters, long.prompt_ids, "one", 24)
    assert_scored_right(endless, adapters, running)


def test_a_prompt_can_be_cancelled_between_its_chunks(
    endless: BaseModel, adapters: LoraAdapters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "_CHUNK_TOKENS", 64)
    decoder = Decoder(endless, adapters, max_rows=4, prefix_bytes=10**9)
    long = decoder.submit(prompt(200), GREEDY)[0]
    decoder.step()
    decoder.step()
    decoder.cancel(long)
    assert not decoder.busy
    again = decoder.submit(prompt(200), GREEDY)[0]
    decode_all(decoder)
    assert (long.token_ids, again.cached_prompt_tokens) == ([], 128)  # what was computed is not lost
    assert again.token_ids == generated(endless, adapters, again.prompt_ids, None, 24)


def test_a_chunk_that_fails_can_be_tried_again(
    endless: BaseModel, adapters: LoraAdapters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "_CHUNK_TOKENS", 50)
    decoder = Decoder(endless, adapters, max_rows=4)
    row = decoder.submit(prompt(120), DRAWN)[0]
    decoder.step()
    last = endless.model.model.layers[-1]
    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(last.mlp, "forward", out_of_memory)
        decoder.step()
    decode_all(decoder)
    assert_scored_right(endless, adapters, row)


def out_of_memory(*_: object) -> object:
    raise MemoryError


# --- earlier conversations --------------------------------------------------------------------------------------


@pytest.mark.parametrize("adapter", [None, "one"])
def test_of_a_conversation_that_goes_on_only_what_is_new_is_computed(
    endless: BaseModel, adapters: LoraAdapters, adapter: str | None
) -> None:
    """40 tokens of prompt and 24 of answer: of the last one, no keys and values were ever computed."""
    decoder = Decoder(endless, adapters, max_rows=4, prefix_bytes=10**9)
    first = decoder.submit(prompt(40), DRAWN, adapter=adapter)[0]
    decode_all(decoder)
    ids = [*first.prompt_ids, *first.token_ids, *prompt(10, seed=9)]
    with counted_forwards(endless) as shapes:
        second = decoder.submit(ids, DRAWN, adapter=adapter)[0]
        decode_all(decoder)
    assert shapes[0] == (1, 11)
    assert (first.cached_prompt_tokens, second.cached_prompt_tokens) == (0, 63)
    assert_scored_right(endless, adapters, second)
    without = Decoder(endless, adapters, max_rows=4)
    anew = without.submit(ids, DRAWN, adapter=adapter)[0]
    decode_all(without)
    assert second.token_ids == anew.token_ids


def test_the_last_token_of_a_prompt_is_always_computed(endless: BaseModel, adapters: LoraAdapters) -> None:
    decoder = Decoder(endless, adapters, max_rows=4, prefix_bytes=10**9)
    rows = []
    for _ in range(2):
        rows += decoder.submit(prompt(30), DRAWN)
        decode_all(decoder)
    assert [row.cached_prompt_tokens for row in rows] == [0, 29]
    assert rows[0].token_ids == rows[1].token_ids


def test_a_cancelled_answer_is_known_too(endless: BaseModel, adapters: LoraAdapters) -> None:
    decoder = Decoder(endless, adapters, max_rows=4, prefix_bytes=10**9)
    other, row = (decoder.submit(prompt(tokens), DRAWN)[0] for tokens in (60, 20))
    for _ in range(8):
        decoder.step()
    decoder.cancel(row)
    ids = [*row.prompt_ids, *row.token_ids, 7, 8]
    again = decoder.submit(ids, DRAWN)[0]
    decode_all(decoder)
    assert again.cached_prompt_tokens == 20 + len(row.token_ids) - 1 > 20
    for each in (other, again):
        assert_scored_right(endless, adapters, each)


def test_an_adapter_that_is_forgotten_is_computed_anew(endless: BaseModel, adapters: LoraAdapters) -> None:
    decoder = Decoder(endless, adapters, max_rows=4, prefix_bytes=10**9)
    rows = []
    for forgotten in ("two", "one", "none"):
        rows += decoder.submit(prompt(30), DRAWN, adapter="one")
        decode_all(decoder)
        decoder.prefixes.forget(forgotten)
    assert [row.cached_prompt_tokens for row in rows] == [0, 29, 0]


def test_a_decoder_without_room_for_prefixes_reuses_nothing(endless: BaseModel, adapters: LoraAdapters) -> None:
    """As the learner's must: its adapters change under their names."""
    decoder = Decoder(endless, adapters, max_rows=4)
    with counted_forwards(endless) as shapes:
        for _ in range(2):
            row = decoder.submit(prompt(30), DRAWN)[0]
            decode_all(decoder)
            assert row.cached_prompt_tokens == 0
    assert shapes.count((1, 30)) == 2


# --- the prompt's own log-probs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("most_tokens", [0, 3])
def test_a_scored_prompt_has_the_log_probabilities_of_one_full_forward(
    endless: BaseModel, adapters: LoraAdapters, monkeypatch: pytest.MonkeyPatch, most_tokens: int
) -> None:
    """In chunks of ten tokens by the bound on logits: 4 bytes for each of 262 tokens. An earlier reading is no help."""
    monkeypatch.setattr(decode, "_SCORED_LOGITS_BYTES", 10 * 4 * 262)
    decoder = Decoder(endless, adapters, max_rows=4, prefix_bytes=10**9)
    sampling = Sampling(temperature=0.5, max_tokens=most_tokens, seed=1, logprobs=2)
    decoder.submit(prompt(33), sampling, adapter="one")
    decode_all(decoder)
    with counted_forwards(endless) as shapes:
        rows = decoder.submit(prompt(33), sampling, adapter="one", n=2, score_prompt=True)
        decode_all(decoder)
    assert shapes[:4] == [(1, 10)] * 3 + [(1, 3)]
    with adapters.active("one"), torch.no_grad():
        logps = endless.model(torch.tensor([prompt(33)])).logits[0, :-1].log_softmax(-1)  # (32, vocabulary)
    expected = logps.gather(-1, torch.tensor(prompt(33))[1:, None])[:, 0]
    for row in rows:
        torch.testing.assert_close(torch.tensor(row.prompt_logps), expected, atol=2e-5, rtol=1e-5)
        assert [[i for i, _ in top] for top in row.prompt_alternatives] == logps.topk(2).indices.tolist()
        assert (len(row.token_ids), row.finish_reason) == (most_tokens, "length")


def test_a_prompt_that_fills_the_context_can_be_read_without_an_answer(
    endless: BaseModel, adapters: LoraAdapters
) -> None:
    decoder = Decoder(endless, adapters, max_rows=4)
    nothing = Sampling(max_tokens=0)
    row = decoder.submit(prompt(endless.context_tokens), nothing, score_prompt=True)[0]
    single = decoder.submit(prompt(1), nothing, score_prompt=True)[0]
    decode_all(decoder)
    assert (len(row.prompt_logps), single.prompt_logps) == (endless.context_tokens - 1, [])
    assert (row.prompt_alternatives, row.token_ids) == ([], [])  # nobody asked for alternatives
    with pytest.raises(RequestError, match="513"):
        decoder.submit(prompt(513), nothing, score_prompt=True)


# --- constraints ------------------------------------------------------------------------------------------------


@dataclass
class Alternating:
    """Allows only even token ids, then only odd ones, and so on; after `most` tokens, nothing or everything."""

    most: int
    behind: bool = False
    said: list[int] = field(default_factory=list[int])
    failed: bool = False

    def copy(self) -> Alternating:
        return Alternating(self.most, self.behind, list(self.said))

    def mask(self) -> torch.Tensor | None:
        if len(self.said) >= self.most:
            return None if self.behind else torch.zeros(262, dtype=torch.bool)
        return torch.arange(262) % 2 == len(self.said) % 2

    def accept(self, token_id: int) -> None:
        self.said.append(token_id)


HOSTILE = [
    Sampling(temperature=0, max_tokens=12, logit_bias={31: 100.0, 32: 100.0}),
    Sampling(temperature=1.9, seed=1, max_tokens=12, top_p=0.4),
    Sampling(temperature=1e-9, seed=1, max_tokens=12, top_k=1, repetition_penalty=2.0),
    Sampling(seed=1, max_tokens=12, min_p=1.0, frequency_penalty=2.0, presence_penalty=2.0),
]


@pytest.mark.parametrize("sampling", HOSTILE)
def test_no_draw_leaves_what_its_constraint_allows(
    endless: BaseModel, adapters: LoraAdapters, sampling: Sampling
) -> None:
    decoder = Decoder(endless, adapters, max_rows=5)
    free = decoder.submit(prompt(9), replace(DRAWN, max_tokens=12))[0]
    mould = Alternating(99)
    rows = decoder.submit(prompt(9), sampling, n=2, constraint=mould)
    decode_all(decoder)
    for row in rows:
        assert [token_id % 2 for token_id in row.token_ids] == [0, 1] * 6
        assert isinstance(row.constraint, Alternating)
        assert row.constraint.said == row.token_ids
        assert_scored_right(endless, adapters, row)  # log-probs are the model's own
    assert mould.said == []  # every row has a copy of its own
    assert len({token_id % 2 for token_id in free.token_ids}) == 2


@pytest.mark.parametrize("most", [0, 1, 5])
def test_a_constraint_that_allows_nothing_ends_its_row_and_no_other(
    endless: BaseModel, adapters: LoraAdapters, most: int
) -> None:
    decoder = Decoder(endless, adapters, max_rows=5, prefix_bytes=10**9)
    other = decoder.submit(prompt(3), DRAWN)[0]
    row = decoder.submit(prompt(9), DRAWN, constraint=Alternating(most))[0]
    later = decoder.submit(prompt(12), DRAWN, constraint=Alternating(most, behind=True))[0]
    ended = []
    while decoder.busy:
        ended += [each for each in decoder.step() if each.finish_reason is not None]
    assert (len(row.token_ids), row.finish_reason) == (most, "stop")
    assert sorted(map(id, ended)) == sorted(map(id, (other, row, later)))
    assert len(later.token_ids) == 24
    for each in (other, row, later):
        if each.token_ids:
            assert_scored_right(endless, adapters, each)
    again = decoder.submit([*row.prompt_ids, *row.token_ids, 5], DRAWN)[0]
    decode_all(decoder)
    assert again.cached_prompt_tokens == 9 + most  # here, the last token's keys and values are known
    assert_scored_right(endless, adapters, again)


# --- the same again ---------------------------------------------------------------------------------------------


def test_a_seed_gives_the_same_bits_alone_in_company_and_when_the_prompt_is_known(tmp_path: Path) -> None:
    """In bf16, where products of another shape are rounded differently."""
    base = replace(tiny_base(tmp_path / "m", dtype=torch.bfloat16), stop_token_ids=frozenset())
    adapters = LoraAdapters(base)
    adapters.create("one", LoraShape(rank=4), seed=0)
    for value in adapters.parameters("one"):
        torch.nn.init.normal_(value, std=0.3, generator=torch.Generator().manual_seed(1))
    decoder = Decoder(base, adapters, max_rows=8, prefix_bytes=10**8, reproducible=True)

    def asked(seed: int | None, tokens: int = 300) -> Row:
        sampling = Sampling(seed=seed, max_tokens=60)
        return decoder.submit(prompt(tokens), sampling, adapter="one")[0]

    alone = asked(7)
    decode_all(decoder)
    for number in range(3):
        asked(None, 20 + 50 * number)
    company = [asked(7), asked(8), asked(7)]
    decode_all(decoder)
    for row in (company[0], company[2]):
        assert (row.token_ids, row.logps) == (alone.token_ids, alone.logps)
    assert company[1].token_ids != alone.token_ids
    unseeded = asked(None)
    decode_all(decoder)
    assert unseeded.cached_prompt_tokens > 0 and alone.cached_prompt_tokens == company[0].cached_prompt_tokens == 0


# --- memory -----------------------------------------------------------------------------------------------------


def held_bytes(decoder: Decoder) -> int:
    return sum(
        state.nbytes for batch in decoder._batches() for buffer in batch._buffers for state in buffer.stored or ()
    )


def test_one_long_row_does_not_make_short_ones_hold_as_much(
    endless: BaseModel, adapters: LoraAdapters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven rows of 4 tokens and one of 400: together they would hold 8 · 400 columns, and more with room to grow."""
    monkeypatch.setattr(batch, "_SMALL_BYTES", 0)
    decoder = Decoder(endless, adapters, max_rows=8)
    rows = [decoder.submit(prompt(tokens), replace(DRAWN, max_tokens=30))[0] for tokens in [4] * 7 + [400]]
    for _ in range(20):
        decoder.step()
    config = endless.model.config
    column = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * 4
    assert held_bytes(decoder) < 1.5 * column * (400 + 8 * 100)
    decode_all(decoder)
    for row in rows:
        assert_scored_right(endless, adapters, row)


def test_room_is_given_back_when_the_long_row_has_left(
    endless: BaseModel, adapters: LoraAdapters, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = Decoder(endless, adapters, max_rows=8)
    long = decoder.submit(prompt(400), replace(DRAWN, max_tokens=20))[0]
    short = [decoder.submit(prompt(4, seed=i), replace(DRAWN, max_tokens=60))[0] for i in range(7)]
    while long.finish_reason is None:
        decoder.step()
    before = held_bytes(decoder)
    monkeypatch.setattr(batch, "_SMALL_BYTES", 0)
    decoder.cancel(short[0])
    assert held_bytes(decoder) < before / 3
    decode_all(decoder)
    for row in short[1:]:
        assert_scored_right(endless, adapters, row)
