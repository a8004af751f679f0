"""Keys and values within bytes: who may begin, who goes back into the line, and that nobody's text changes by it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from fakes import tiny_base

from dittod.engine.protocol import Sampling
from dittod.errors import RequestError
from dittod.model.allowance import UNBOUNDED, lone_bytes, longest, token_bytes
from dittod.model.decode import Decoder, Row
from dittod.model.load import BaseModel
from dittod.model.lora import LoraAdapters

PROMPTS = ([5, 6, 7] * 30, [9] * 40, [1, 2, 3, 4] * 25, [70, 71] * 8)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    """Its answers never end by themselves."""
    return replace(tiny_base(tmp_path_factory.mktemp("model")), stop_token_ids=frozenset())


@pytest.fixture(scope="module")
def adapters(base: BaseModel) -> LoraAdapters:
    return LoraAdapters(base)


def submitted(decoder: Decoder, tokens: int = 90) -> list[Row]:
    samplings = [Sampling(seed=seed, max_tokens=tokens) for seed in range(len(PROMPTS))]
    pairs = zip(PROMPTS, samplings, strict=True)
    return [row for ids, each in pairs for row in decoder.submit(ids, each, n=2)]


def said(decoder: Decoder, rows: list[Row]) -> tuple[list[list[int]], int]:
    """What they said in the end, and the most that was held after any step."""
    most = 0
    while decoder.busy:
        decoder.step()
        most = max(most, decoder.held_bytes)
    return [row.token_ids for row in rows], most


def test_a_token_takes_keys_and_values_of_every_layer(base: BaseModel) -> None:
    """Two layers, two heads of keys, 8 wide, four bytes."""
    assert token_bytes(base) == 2 * 2 * 2 * 8 * 4
    assert longest(base, lone_bytes(base, 100)) == 100
    assert longest(base, UNBOUNDED) == base.context_tokens
    assert longest(base, 0) == 0


@pytest.mark.parametrize("tokens", [200, 300, 500, 900])
def test_whatever_the_room_everybody_says_the_same_and_the_room_is_kept(
    base: BaseModel, adapters: LoraAdapters, tokens: int
) -> None:
    free = Decoder(base, adapters, max_rows=16)
    expected, unbounded = said(free, submitted(free))
    tight = Decoder(base, adapters, max_rows=16, prefix_bytes=20_000, most_bytes=lone_bytes(base, tokens))
    found, most = said(tight, submitted(tight))
    assert found == expected
    assert most <= tight.room_bytes
    assert (unbounded > tight.room_bytes) == (tokens < 900), "the room was no limit"


def test_a_row_that_grows_out_of_the_room_sends_the_last_one_back_into_the_line(
    base: BaseModel, adapters: LoraAdapters
) -> None:
    decoder = Decoder(base, adapters, max_rows=4, most_bytes=lone_bytes(base, 210))
    rows = [decoder.submit([n] * 20, Sampling(seed=n, max_tokens=180))[0] for n in (1, 2, 3)]
    while not any(row.finish_reason for row in rows):
        decoder.step()
    assert rows[0].finish_reason and not rows[2].finish_reason
    assert len(rows[2].token_ids) < len(rows[0].token_ids)
    said(decoder, rows)
    assert [len(row.token_ids) for row in rows] == [180] * 3


def test_a_prompt_that_exceeds_the_whole_budget_is_refused_and_an_answer_ends_there(
    base: BaseModel, adapters: LoraAdapters
) -> None:
    decoder = Decoder(base, adapters, max_rows=4, most_bytes=lone_bytes(base, 100))
    with pytest.raises(RequestError, match="too long for the memory budget: it has 100 tokens, and 100 fit") as caught:
        decoder.submit([1] * 100, Sampling())
    assert (caught.value.param, caught.value.code) == ("prompt", "context_length_exceeded")
    assert "memory_budget" in caught.value.hint
    row = decoder.submit([1] * 90, Sampling(max_tokens=50))[0]
    said(decoder, [row])
    assert (len(row.token_ids), row.finish_reason) == (10, "length")


def test_one_that_takes_more_than_its_room_of_now_says_so_and_is_answered(
    base: BaseModel, adapters: LoraAdapters
) -> None:
    decoder = Decoder(base, adapters, max_rows=4, most_bytes=lone_bytes(base, 400))
    decoder.room_bytes = lone_bytes(base, 100)
    assert not decoder.exceeds
    row = decoder.submit([1] * 60, Sampling(seed=1, max_tokens=300))[0]
    assert not decoder.exceeds
    while not decoder.exceeds:
        decoder.step()
    assert 100 < 60 + len(row.token_ids) < 300
    said(decoder, [row])
    assert len(row.token_ids) == 300
    decoder.submit([1] * 200, Sampling(max_tokens=2))
    assert decoder.exceeds


def test_rows_go_on_where_they_were_after_a_step_that_failed_half_way(
    base: BaseModel, adapters: LoraAdapters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every place of a step where memory may run out: what is drawn then, is not drawn twice."""
    free = Decoder(base, adapters, max_rows=16)
    expected, _ = said(free, submitted(free))
    for place in ("dittod.model.decode.choose", "torch.log_softmax", "dittod.model.batch._Buffer._moved"):
        decoder = Decoder(base, adapters, max_rows=16, prefix_bytes=20_000)
        rows = submitted(decoder)
        for _ in range(12):
            decoder.step()
        with monkeypatch.context() as full:

            def out_of_memory(*_: object, **__: object) -> None:
                raise torch.OutOfMemoryError("nothing left")

            full.setattr(place, out_of_memory)
            with pytest.raises(torch.OutOfMemoryError):
                for _ in range(100):
                    decoder.step()
        decoder.begin_again()
        assert decoder.held_bytes == 0
        found, _ = said(decoder, rows)
        assert found == expected, place
        assert [len(row.logps) for row in rows] == [len(row.token_ids) for row in rows]
