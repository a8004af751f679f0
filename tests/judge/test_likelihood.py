"""Held-out texts after the prompts that the endpoint would make, and what each costs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from fakes import demonstration, finish

from dittod.judge.likelihood import WITHOUT_GRADIENTS, as_served, nats
from dittod.learner.workbench import Workbench, encode
from dittod.model.chat import encode_chat
from dittod.model.examples import examples_room, with_examples
from dittod.retrieval import Index
from dittod.types import Message, Plan

POOL = tuple(
    demonstration(f"Write about {what}", f"The {what} is {how}.", written_at=float(place))
    for place, (what, how) in enumerate([("barn", "red"), ("boat", "new"), ("goat", "loud"), ("mill", "old")])
)
HELD_OUT = (demonstration("Write about a goat", "The goat eats it all.", written_at=9.0),)


def test_a_text_stands_after_the_prompt_that_the_endpoint_would_make(bench: Workbench) -> None:
    index, room = Index(POOL), examples_room(bench.base.context_tokens)
    (plain,), (shown,) = (as_served(bench, HELD_OUT, index, count) for count in (0, 2))
    assert plain == encode(bench.base, HELD_OUT[0])
    asked = [Message("user", HELD_OUT[0].prompt)]
    messages = with_examples(bench.base, asked, index.nearest(HELD_OUT[0].prompt, 2), room)
    assert len(messages) == 5 and "goat" in messages[2].content
    assert shown.prompt_ids == tuple(encode_chat(bench.base, messages))
    assert shown.completion_ids == plain.completion_ids


def test_all_candidates_are_measured_on_the_same_tokens_of_a_text_that_fills_the_context(bench: Workbench) -> None:
    long = demonstration("Write about a mill", "on and on " * 60)
    (plain,), (shown,) = (as_served(bench, [long], Index(POOL), count) for count in (0, 2))
    assert plain.completion_ids == shown.completion_ids
    assert len(shown.prompt_ids) > len(plain.prompt_ids) and len(shown) <= bench.base.context_tokens


def test_a_prompt_with_examples_is_cut_to_what_the_memory_plan_can_hold(bench: Workbench) -> None:
    tight = replace(bench, plan=Plan(sequence_tokens=48, micro_batch_tokens=48))
    (shown,) = as_served(tight, HELD_OUT, Index(POOL), 4)
    assert len(shown) == WITHOUT_GRADIENTS * 48
    assert shown.prompt_ids[-8:] == as_served(bench, HELD_OUT, Index(POOL), 0)[0].prompt_ids[-8:]


def test_with_examples_and_without_as_much_is_read_of_a_request_that_exceeds_the_plan(bench: Workbench) -> None:
    tight = replace(bench, plan=Plan(sequence_tokens=128, micro_batch_tokens=128))
    long = demonstration("Reply to this: START " + "and so on " * 12 + "END", "short text " * 4)
    (plain,), (shown,) = (as_served(tight, [long], Index(POOL[:1]), count) for count in (0, 1))
    read, shown_too = (bench.base.tokenizer.decode(each.prompt_ids) for each in (plain, shown))
    assert "START" in read and "START" in shown_too and len(shown.prompt_ids) > len(plain.prompt_ids)
    assert plain.completion_ids == shown.completion_ids
    longer = demonstration("Reply to this: START " + "and so on " * 60 + "END", "short text " * 4)
    (cut,) = as_served(tight, [longer], Index(POOL[:1]), 0)
    assert len(cut) == WITHOUT_GRADIENTS * 128


def test_nats_are_those_of_each_token_of_each_text(bench: Workbench) -> None:
    sequences = as_served(bench, (*HELD_OUT, *POOL), Index(()), 0)
    _, found = finish(nats(bench, sequences, None))
    row = sequences[2]
    token_ids = torch.tensor([[*row.prompt_ids, *row.completion_ids]])
    with torch.no_grad():
        logps = torch.log_softmax(bench.base.model(input_ids=token_ids).logits[0, :-1].float(), -1)
    expected = -logps.gather(-1, token_ids[0, 1:, None])[-len(row.completion_ids) :].mean()
    assert found[2] == pytest.approx(float(expected), rel=1e-4)
