"""From a request to its pieces, in the engine's own process, with the tiny model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fakes import tiny_base

from dittod.engine.answers import LOADED_ADAPTERS, Answers
from dittod.engine.protocol import AdapterRef, Delta, Done, Finished, Generate, Sampling
from dittod.errors import RequestError
from dittod.model.decode import Decoder
from dittod.model.load import BaseModel
from dittod.model.lora import LoraAdapters, LoraShape
from dittod.types import Message

HELLO = (Message("user", "hello"),)


class Bench:
    def __init__(self, base: BaseModel) -> None:
        self.base = base
        self.adapters = LoraAdapters(base)
        self.answers = Answers(base, self.adapters, Decoder(base, self.adapters, max_rows=4))

    def run(self, *requests: Generate) -> list[Delta | Finished | Done]:
        for request in requests:
            self.answers.start(request)
        events: list[Delta | Finished | Done] = []
        while self.answers.busy:
            events += self.answers.step()
        return events


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tiny_base(tmp_path / "m"))


def _text(events: list[Delta | Finished | Done], name: str, index: int = 0) -> str:
    return "".join(e.text for e in events if isinstance(e, Delta) and (e.id, e.index) == (name, index))


def test_two_requests_decoded_together_give_what_each_gives_alone(bench: Bench) -> None:
    one = Generate("1", None, Sampling(max_tokens=20, seed=1), messages=HELLO)
    two = Generate("2", None, Sampling(max_tokens=30, seed=2), prompt="Once upon")
    together = bench.run(one, two)
    assert _text(together, "1") == _text(bench.run(one), "1")
    assert _text(together, "2") == _text(bench.run(two), "2")


def test_several_answers_have_seeds_of_their_own_and_are_counted_together(bench: Bench) -> None:
    events = bench.run(Generate("1", None, Sampling(max_tokens=5, seed=1), messages=HELLO, n=3))
    assert len({_text(events, "1", index) for index in range(3)}) == 3
    assert [e.index for e in events if isinstance(e, Finished)] == [0, 1, 2]
    assert events[-1] == Done("1", prompt_tokens=9, completion_tokens=15)


def test_a_stop_text_ends_the_answer_before_it_and_frees_the_row(bench: Bench) -> None:
    free = _text(bench.run(Generate("1", None, Sampling(max_tokens=60, seed=3), messages=HELLO)), "1")
    stop = free[10:13]
    events = bench.run(Generate("2", None, Sampling(max_tokens=60, seed=3, stop=(stop,)), messages=HELLO))
    assert _text(events, "2") == free[: free.index(stop)]
    assert [e.finish_reason for e in events if isinstance(e, Finished)] == ["stop"]
    assert not bench.answers.busy


def test_log_probs_come_with_the_text_they_belong_to_one_for_each_token(bench: Bench) -> None:
    events = bench.run(Generate("1", None, Sampling(max_tokens=25, seed=1, logprobs=2), messages=HELLO))
    tokens = [each for e in events if isinstance(e, Delta) for each in e.logprobs]
    assert len(tokens) == 25
    assert all(each.logprob <= 0.0 and len(each.alternatives) == 2 for each in tokens)


def test_a_cancelled_request_says_nothing_more_and_the_others_go_on(bench: Bench) -> None:
    bench.answers.start(Generate("1", None, Sampling(max_tokens=50, seed=1), messages=HELLO))
    bench.answers.start(Generate("2", None, Sampling(max_tokens=5, seed=1), messages=HELLO))
    bench.answers.cancel("1")
    bench.answers.cancel("never was")
    assert {event.id for event in bench.run()} == {"2"}


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (Generate("1", None, Sampling(), prompt_token_ids=(99999,)), "prompt"),
        (Generate("1", None, Sampling(), prompt_token_ids=()), "prompt"),
        (Generate("1", None, Sampling(), prompt="x" * 600), "messages"),
        (Generate("1", None, Sampling(), prompt="x" * 10_000_000), "prompt"),
    ],
)
def test_what_the_model_cannot_take_is_refused_by_name(bench: Bench, request_: Generate, param: str) -> None:
    with pytest.raises(RequestError) as caught:
        bench.answers.start(request_)
    assert caught.value.param == param
    assert not bench.answers.busy


def test_each_adapter_answers_in_its_own_way_and_the_longest_unused_makes_room(bench: Bench, tmp_path: Path) -> None:
    refs = [_saved_adapter(bench, tmp_path / f"adapter{n}", seed=n) for n in range(LOADED_ADAPTERS + 2)]
    requests = [
        Generate(f"{n}", ref, Sampling(temperature=0.0, max_tokens=12), messages=HELLO) for n, ref in enumerate(refs)
    ]
    texts = [_text(bench.run(request), request.id) for request in requests]
    assert len(set(texts)) == len(refs)
    assert len(bench.adapters.names()) <= LOADED_ADAPTERS
    assert _text(bench.run(requests[0]), "0") == texts[0], "read again from disk after it had made room"


def _saved_adapter(bench: Bench, folder: Path, seed: int) -> AdapterRef:
    bench.adapters.create("fresh", LoraShape(rank=4, alpha=64), seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for value in bench.adapters.parameters("fresh"):
        value.data.normal_(generator=generator)
    bench.adapters.save("fresh", folder)
    bench.adapters.drop("fresh")
    return AdapterRef(folder.name, str(folder))
