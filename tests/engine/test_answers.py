"""From a request to its pieces, in the engine's own process, with the tiny model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fakes import tiny_base

from dittod.engine.answers import LOADED_ADAPTERS, Answers
from dittod.engine.protocol import (
    AdapterRef,
    AnswerEvent,
    CallDelta,
    Delta,
    Done,
    Echo,
    Finished,
    Generate,
    Sampling,
)
from dittod.errors import RequestError
from dittod.model.decode import Decoder
from dittod.model.load import BaseModel
from dittod.model.lora import LoraAdapters, LoraShape
from dittod.types import Message, Tool

HELLO = (Message("user", "hello"),)


class Bench:
    def __init__(self, base: BaseModel, prefix_bytes: int = 0) -> None:
        self.base = base
        self.adapters = LoraAdapters(base)
        decoder = Decoder(base, self.adapters, max_rows=4, prefix_bytes=prefix_bytes)
        self.answers = Answers(base, self.adapters, decoder)

    def run(self, *requests: Generate) -> list[AnswerEvent]:
        for request in requests:
            self.answers.start(request)
        events: list[AnswerEvent] = []
        while self.answers.busy:
            events += self.answers.step()
        return events


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tiny_base(tmp_path / "m"))


def _text(events: list[AnswerEvent], name: str, index: int = 0) -> str:
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
    done = events[-1]
    assert isinstance(done, Done)
    assert (done.prompt_tokens, done.completion_tokens) == (9, 15)


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
    assert all((each.logprob or 0.0) <= 0.0 and len(each.alternatives) == 2 for each in tokens)


def test_a_cancelled_request_says_nothing_more_and_the_others_go_on(bench: Bench) -> None:
    bench.answers.start(Generate("1", None, Sampling(max_tokens=50, seed=1), messages=HELLO))
    bench.answers.start(Generate("2", None, Sampling(max_tokens=5, seed=1), messages=HELLO))
    bench.answers.cancel("1")
    bench.answers.cancel("never was")
    assert {event.id for event in bench.run()} == {"2"}


def test_a_request_that_is_refused_leaves_nothing_behind(bench: Bench) -> None:
    with pytest.raises(RequestError):
        bench.answers.start(Generate("1", None, Sampling(), prompt="x" * 600))
    assert not bench.answers.busy


def test_each_answer_says_how_long_and_how_likely_it_was(bench: Bench) -> None:
    events = bench.run(Generate("1", None, Sampling(max_tokens=7, seed=1, logprobs=0), messages=HELLO, n=2))
    for index in range(2):
        tokens = [each for e in events if isinstance(e, Delta) and e.index == index for each in e.logprobs]
        (finished,) = (e for e in events if isinstance(e, Finished) and e.index == index)
        assert (finished.tokens, len(tokens)) == (7, 7)
        assert finished.logp == pytest.approx(sum(each.logprob or 0.0 for each in tokens))


def test_an_echo_comes_first_and_once(bench: Bench) -> None:
    asked = Generate("1", None, Sampling(max_tokens=3, seed=1), prompt="Dear Ann", echo=True, n=2)
    events = bench.run(asked)
    assert events[0] == Echo("1", "Dear Ann")
    assert len([e for e in events if isinstance(e, Echo)]) == 1
    as_ids = Generate("2", None, Sampling(max_tokens=3, seed=1), prompt_token_ids=(256, 72, 72), echo=True)
    assert bench.run(as_ids)[0] == Echo("2", bench.base.tokenizer.decode([72, 72]))


def test_an_echo_with_log_probs_scores_every_token_but_the_first(bench: Bench) -> None:
    """What evaluation harnesses ask for: no token is drawn, and the text's own are as likely as the model says."""
    asked = Generate("1", None, Sampling(max_tokens=0, logprobs=2), prompt="é<|eos|>x", echo=True)
    echo, finished, done = bench.run(asked)
    assert isinstance(echo, Echo)
    ids = [each.token_id for each in echo.logprobs]
    assert ids == bench.base.tokenizer("é<|eos|>x")["input_ids"]
    with torch.no_grad():
        logps = bench.base.model(torch.tensor([ids])).logits[0].log_softmax(-1)
    assert echo.logprobs[0].logprob is None
    for place, scored in enumerate(echo.logprobs[1:]):
        assert scored.logprob == pytest.approx(logps[place, scored.token_id].item(), abs=1e-4)
        assert [each.token_id for each in scored.alternatives] == logps[place].topk(2).indices.tolist()
    assert [each.token for each in echo.logprobs] == ["\ufffd", "\ufffd", "<|eos|>", "x"]
    assert [bytes(each.bytes) for each in echo.logprobs] == [b"\xc3", b"\xa9", b"", b"x"]
    assert isinstance(finished, Finished)
    assert (finished.finish_reason, finished.tokens) == ("length", 0)
    assert isinstance(done, Done)
    assert done.completion_tokens == 0


PERSON = {"type": "object", "properties": {"age": {"type": "integer", "minimum": 0, "maximum": 99}}}
CLOSED = {**PERSON, "required": ["age"], "additionalProperties": False}
TOOLS = (Tool("birthday", parameters=CLOSED, strict=True), Tool("wait"))


def test_a_document_that_was_asked_for_fits_its_schema_in_every_answer(bench: Bench) -> None:
    asked = Generate("1", None, Sampling(seed=1, temperature=2.0), messages=HELLO, json_schema=CLOSED, n=5)
    events = bench.run(asked)
    documents = [json.loads(_text(events, "1", index)) for index in range(5)]
    assert all(0 <= each["age"] <= 99 for each in documents)
    assert len({each["age"] for each in documents}) > 1
    assert {e.finish_reason for e in events if isinstance(e, Finished)} == {"stop"}


def test_a_document_that_is_cut_off_says_so(bench: Bench) -> None:
    events = bench.run(Generate("1", None, Sampling(seed=1, max_tokens=5), messages=HELLO, json_schema=CLOSED))
    assert _text(events, "1") == '{"age'
    assert [e.finish_reason for e in events if isinstance(e, Finished)] == ["length"]


@pytest.mark.parametrize("named", [None, "birthday"])
def test_a_tool_that_must_be_called_is_called_rightly_by_a_model_that_knows_nothing(
    bench: Bench, named: str | None
) -> None:
    asked = Generate(
        "1", None, Sampling(seed=2), messages=HELLO, tools=TOOLS[:1], tool_choice="required", tool_name=named, n=3
    )
    events = bench.run(asked)
    for index in range(3):
        called = [e for e in events if isinstance(e, CallDelta) and e.index == index]
        assert called
        assert len(called) == 1 or named is None
        assert all(e.name == "birthday" and 0 <= json.loads(e.arguments)["age"] <= 99 for e in called)
    assert {e.finish_reason for e in events if isinstance(e, Finished)} == {"tool_calls"}
    assert not any(isinstance(e, Delta) for e in events)


def test_an_answer_may_be_a_document_or_a_call(bench: Bench) -> None:
    asked = [
        Generate(f"{seed}", None, Sampling(seed=seed), messages=HELLO, tools=TOOLS[:1], json_schema=CLOSED)
        for seed in range(6)
    ]
    events = bench.run(*asked)
    documents = {e.id for e in events if isinstance(e, Delta)}
    called = {e.id for e in events if isinstance(e, CallDelta)}
    assert all("age" in json.loads(_text(events, name)) for name in documents)
    assert documents | called == {request.id for request in asked}
    assert not documents & called


def test_what_cannot_be_enforced_is_refused_before_anything_runs(bench: Bench) -> None:
    strict = replace(TOOLS[0], parameters={"type": "object", "not": {}})
    named = Generate("5", None, Sampling(), messages=HELLO, tools=TOOLS, tool_choice="required")
    refused = [
        ("response_format", Generate("1", None, Sampling(), messages=HELLO, json_schema={"not": {}}, tools=TOOLS)),
        ("tools", Generate("2", None, Sampling(), messages=HELLO, tools=(strict,))),
        ("tools", Generate("3", None, Sampling(), messages=HELLO, tools=(strict,), tool_choice="required")),
        ("tools", Generate("4", None, Sampling(), messages=HELLO, tools=TOOLS * 100)),
        ("tool_choice", replace(named, tool_name="x")),
        ("tool_choice", Generate("6", None, Sampling(), messages=HELLO, tool_choice="required")),
    ]
    for param, request in refused:
        with pytest.raises(RequestError) as caught:
            bench.answers.start(request)
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


def test_an_adapter_that_made_room_may_come_back_another(tmp_path: Path) -> None:
    """What was known of its conversations is forgotten with it."""
    bench = Bench(tiny_base(tmp_path / "m"), prefix_bytes=1 << 20)
    refs = [_saved_adapter(bench, tmp_path / f"adapter{n}", seed=n) for n in range(LOADED_ADAPTERS + 1)]
    asked = [Generate(f"{n}", ref, Sampling(max_tokens=2, seed=1), messages=HELLO) for n, ref in enumerate(refs)]
    assert [_cached(bench, asked[0]) > 0 for _ in range(2)] == [False, True]
    for request in asked[1:]:
        bench.run(request)
    assert _cached(bench, asked[0]) == 0


def _cached(bench: Bench, request: Generate) -> int:
    (done,) = (event for event in bench.run(request) if isinstance(event, Done))
    return done.cached_tokens


@pytest.mark.parametrize("cancelled", [False, True])
def test_adapters_that_many_waited_for_make_room_when_their_answers_end(
    bench: Bench, tmp_path: Path, cancelled: bool
) -> None:
    saved = _saved_adapter(bench, tmp_path / "adapter", seed=1)
    requests = [
        Generate(f"{n}", AdapterRef(f"v{n}", saved.path), Sampling(max_tokens=2), messages=HELLO)
        for n in range(LOADED_ADAPTERS + 3)
    ]
    for request in requests:
        bench.answers.start(request)
    assert len(bench.adapters.names()) == len(requests)
    for request in requests if cancelled else ():
        bench.answers.cancel(request.id)
    bench.run()
    assert len(bench.adapters.names()) == LOADED_ADAPTERS


def test_an_answer_that_reaches_a_limit_of_its_grammar_is_cut_off_and_the_next_ones_are_not_shorter(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dittod.model.grammar._LEXER_STATES", 60)
    schema = {"type": "string", "pattern": "^[ab]*a[ab]{300}$"}
    asked = Generate("1", None, Sampling(seed=1), messages=HELLO, json_schema=schema)
    first, again = bench.run(asked), bench.run(asked)
    assert [e.finish_reason for e in first if isinstance(e, Finished)] == ["length"]
    assert 10 < len(_text(first, "1")) < 100
    assert _text(again, "1") == _text(first, "1")


def test_what_is_too_long_is_refused_before_a_grammar_is_compiled(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dittod.model.grammar.Grammars.grammar", pytest.fail)
    long = (Message("user", "x" * 600),)
    with pytest.raises(RequestError) as caught:
        bench.answers.start(Generate("1", None, Sampling(), messages=long, json_schema=CLOSED))
    assert (caught.value.param, caught.value.code) == ("messages", "context_length_exceeded")


def test_an_adapter_for_which_memory_runs_out_while_it_is_loaded_is_not_served_in_half(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = _saved_adapter(bench, tmp_path / "adapter", seed=1)
    asked = Generate("a", saved, Sampling(temperature=0.0, max_tokens=12), messages=HELLO)
    expected = _text(bench.run(asked), "a")
    bench.answers._make_room(0)

    def short(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(LoraAdapters, "load_state", short)
        with pytest.raises(MemoryError):
            bench.answers.start(asked)
    assert _text(bench.run(asked), "a") == expected


def _saved_adapter(bench: Bench, folder: Path, seed: int) -> AdapterRef:
    bench.adapters.create("fresh", LoraShape(rank=4, alpha=64), seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for value in bench.adapters.parameters("fresh"):
        value.data.normal_(generator=generator)
    bench.adapters.save("fresh", folder)
    bench.adapters.drop("fresh")
    return AdapterRef(folder.name, str(folder))


def test_the_end_token_is_scored_behind_a_prompt_and_not_in_a_chat(bench: Bench) -> None:
    """Evaluation harnesses drop the last entry: the one token that they had to ask for, whichever it is."""
    end = bench.base.end_of_turn_id
    sampling = Sampling(max_tokens=1, logprobs=1, logit_bias={end: 100.0})
    echoed = bench.run(Generate("1", None, sampling, prompt="abc", echo=True))
    scored = [entry.token_id for e in echoed if isinstance(e, Echo | Delta) for entry in e.logprobs]
    assert scored == [*bench.base.tokenizer("abc")["input_ids"], end]
    chatted = bench.run(Generate("2", None, sampling, messages=HELLO))
    assert [entry for e in chatted if isinstance(e, Delta) for entry in e.logprobs] == []


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (Generate("1", None, Sampling(), messages=(Message("user", "x" * 600),)), "messages"),
        (Generate("1", None, Sampling(), prompt="x" * 600), "prompt"),
        (Generate("1", None, Sampling(), prompt_token_ids=(5,) * 600), "prompt"),
    ],
)
def test_an_overflow_is_refused_by_the_name_of_what_is_too_long(bench: Bench, request_: Generate, param: str) -> None:
    with pytest.raises(RequestError, match=r"60\d") as caught:
        bench.answers.start(request_)
    assert (caught.value.param, caught.value.code) == (param, "context_length_exceeded")
    assert not bench.answers.busy
