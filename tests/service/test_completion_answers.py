"""Echo, log-probs over the prompt, offsets and the best of several: whole and streamed."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dittod.engine.protocol import AnswerEvent, Delta, Done, Echo, Finished, TokenLogprob
from dittod_service.openai.completions import CompletionExchange, CompletionRequest

from .conftest import Ask
from .fakes import FakeBackend, served
from .wire import chunks, valid_completion, valid_completion_chunk

PATH = "/v1/completions"
PLAIN = {"model": "base", "prompt": "Dear Ann"}


def exchange(**extra: object) -> CompletionExchange:
    return CompletionExchange(CompletionRequest.model_validate(PLAIN | extra), served("base", None), "cmpl-1")


def token(text: str | bytes, logprob: float | None = -0.5, *others: TokenLogprob) -> TokenLogprob:
    raw = text if isinstance(text, bytes) else text.encode()
    return TokenLogprob(raw.decode(errors="replace"), 7, logprob, tuple(raw), others)


def answer(index: int, text: str, tokens: int, logp: float) -> list[AnswerEvent]:
    return [Delta("a", index, text), Finished("a", index, "stop", tokens, logp)]


ECHOED: list[AnswerEvent] = [
    Echo("a", "Dear Ann", (token("Dear", None), token(" Ann", -2.0, token(" Bob", -1.0)))),
    Delta("a", 0, ",", (token(",", -0.5, token(",", -0.5)),)),
    Finished("a", 0, "length", 1, -0.5),
    Done("a", 2, 1),
]


def test_an_echo_stands_before_the_text_with_the_logprobs_of_its_tokens() -> None:
    told: Any = exchange(echo=True, logprobs=1, max_tokens=1).whole(ECHOED)
    valid_completion(told)
    assert told["choices"] == [
        {
            "text": "Dear Ann,",
            "index": 0,
            "logprobs": {
                "tokens": ["Dear", " Ann", ","],
                "token_logprobs": [None, -2.0, -0.5],
                "top_logprobs": [None, {" Bob": -1.0, " Ann": -2.0}, {",": -0.5}],
                "text_offset": [0, 4, 8],
            },
            "finish_reason": "length",
        }
    ]


def test_a_streamed_echo_is_the_first_chunk_and_offsets_count_on_behind_it() -> None:
    stream = exchange(echo=True, logprobs=1, max_tokens=1, stream=True)
    told: list[Any] = [chunk for event in ECHOED for chunk in stream.tell(event)]
    for chunk in told:
        valid_completion_chunk(chunk)
    choices = [chunk["choices"][0] for chunk in told]
    assert [choice["text"] for choice in choices] == ["Dear Ann", ",", ""]
    assert [choice["logprobs"] and choice["logprobs"]["text_offset"] for choice in choices] == [[0, 4], [8], None]
    assert [choice["finish_reason"] for choice in choices] == [None, None, "length"]


def test_without_logprobs_an_echo_is_only_text(ask: Ask) -> None:
    body = PLAIN | {"echo": True, "max_tokens": 1}
    (choice,) = ask("POST", PATH, json=body).json()["choices"]
    assert (choice["text"], choice["logprobs"]) == ("Dear AnnKind", None)
    told = chunks(ask("POST", PATH, json=body | {"stream": True}))
    assert [chunk["choices"][0]["text"] for chunk in told] == ["Dear Ann", "Kind", ""]


def test_every_choice_of_every_prompt_has_its_own_echo(ask: Ask) -> None:
    body = PLAIN | {"prompt": ["one ", "two "], "n": 2, "echo": True, "max_tokens": 1}
    choices = ask("POST", PATH, json=body).json()["choices"]
    assert [choice["text"] for choice in choices] == ["one Kind", "one Kind", "two Kind", "two Kind"]
    told = [chunk["choices"][0] for chunk in chunks(ask("POST", PATH, json=body | {"stream": True}))]
    for index, text in enumerate(["one Kind", "one Kind", "two Kind", "two Kind"]):
        assert "".join(choice["text"] for choice in told if choice["index"] == index) == text


def test_no_tokens_at_all_may_be_asked_for_when_the_prompt_is_echoed(ask: Ask) -> None:
    (choice,) = ask("POST", PATH, json=PLAIN | {"echo": True, "max_tokens": 0, "logprobs": 0}).json()["choices"]
    assert (choice["text"], choice["finish_reason"], choice["logprobs"]["tokens"]) == (
        "Dear Ann",
        "length",
        ["Dear Ann"],
    )


def test_the_best_are_the_likeliest_per_token() -> None:
    """-3/4, -1/1 and -2/4 nats per token: the third is best, then the first, although the second lost the fewest."""
    drawn = [*answer(0, "a", 4, -3.0), *answer(1, "b", 1, -1.0), *answer(2, "c", 4, -2.0)]
    told: Any = exchange(best_of=3, n=2).whole([*drawn, Done("a", 2, 9)])
    assert [(choice["index"], choice["text"]) for choice in told["choices"]] == [(0, "c"), (1, "a")]
    assert told["usage"]["completion_tokens"] == 9


def test_the_best_are_chosen_for_each_prompt_on_its_own() -> None:
    """Both answers to the first prompt are likelier than those to the second."""
    first = [*answer(0, "a", 1, -1.0), *answer(1, "b", 1, -0.5)]
    second = [*answer(2, "c", 1, -7.0), *answer(3, "d", 1, -8.0)]
    told: Any = exchange(prompt=["one", "two"], best_of=2).whole([*second, *first, Done("a", 2, 4)])
    assert [(choice["index"], choice["text"]) for choice in told["choices"]] == [(0, "b"), (1, "c")]


def test_the_best_of_several_is_one_through_the_endpoint(ask: Ask, backend: FakeBackend) -> None:
    told = ask("POST", PATH, json=PLAIN | {"best_of": 3, "max_tokens": 2}).json()
    assert (len(told["choices"]), told["usage"]["completion_tokens"], backend.asked[0].n) == (1, 6, 3)


def test_tokens_within_a_character_are_told_by_their_bytes() -> None:
    """'🐈' is four bytes, here in two tokens; both stand where it does."""
    entries = (
        token("a"),
        token(b"\xf0\x9f", -0.5, token(b"\xf0\x9e", -0.25)),
        token(b"\x90\x88"),
        token("é"),
        token("b"),
    )
    told: Any = exchange(logprobs=1).whole(
        [Delta("a", 0, "a🐈éb", entries), Finished("a", 0, "stop", 5, -2.5), Done("a", 1, 5)]
    )
    logprobs = told["choices"][0]["logprobs"]
    assert logprobs["tokens"] == ["a", r"bytes:\xf0\x9f", r"bytes:\x90\x88", "é", "b"]
    assert logprobs["text_offset"] == [0, 1, 1, 2, 3]
    assert logprobs["top_logprobs"][1] == {r"bytes:\xf0\x9e": -0.25, r"bytes:\xf0\x9f": -0.5}


def test_the_token_that_ends_an_answer_counts_where_its_logprob_is_told() -> None:
    """It adds nothing to the text. Harnesses take the last entry behind an echo for the one token they asked for."""
    end = TokenLogprob("<eos>", 1, -0.125)
    told: Any = exchange(echo=True, logprobs=0, max_tokens=1).whole(
        [ECHOED[0], Delta("a", 0, "", (end,)), Finished("a", 0, "stop", 1, -0.125), Done("a", 2, 1)]
    )
    (choice,) = told["choices"]
    assert (choice["text"], choice["logprobs"]["tokens"]) == ("Dear Ann", ["Dear", " Ann", "<eos>"])
    assert choice["logprobs"]["text_offset"] == [0, 4, 8]


@given(st.text(min_size=1), st.data())
def test_offsets_are_those_of_the_text_however_it_is_cut_into_tokens(text: str, data: st.DataObject) -> None:
    raw = text.encode("utf-8", "replace")
    cuts = sorted(data.draw(st.sets(st.integers(1, len(raw)))) | {0, len(raw)})
    pieces = [raw[a:b] for a, b in pairwise(cuts)]
    stream, offsets = exchange(logprobs=0, stream=True), list[int]()
    for piece in pieces:
        (chunk,) = stream.tell(Delta("a", 0, "", (token(piece),)))
        choices: Any = chunk["choices"]
        offsets += choices[0]["logprobs"]["text_offset"]
    assert offsets == [len(raw[:cut].decode("utf-8", "ignore")) for cut in cuts[:-1]]


@pytest.mark.parametrize("max_tokens", [0, 1])
def test_what_an_evaluation_harness_reads_is_there(ask: Ask, backend: FakeBackend, max_tokens: int) -> None:
    """lm-evaluation-harness's `local-completions`: prompts as ids, and the log-probs behind each context."""
    prompts = [[1, 2, 3, 4], [1, 2, 9]]
    body = {
        "model": "base",
        "prompt": prompts,
        "temperature": 0,
        "max_tokens": max_tokens,
        "logprobs": 1,
        "seed": 1234,
        "echo": True,
    }
    told = ask("POST", PATH, json=body).json()
    assert [(each.prompt_token_ids, each.echo) for each in backend.asked] == [(tuple(ids), True) for ids in prompts]
    assert [choice["index"] for choice in told["choices"]] == [0, 1]
    for choice in told["choices"]:
        logprobs = choice["logprobs"]
        assert len({len(logprobs[name]) for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset")}) == 1
        for logprob, top in list(zip(logprobs["token_logprobs"], logprobs["top_logprobs"], strict=True))[1:]:
            assert max(top.values()) >= logprob
