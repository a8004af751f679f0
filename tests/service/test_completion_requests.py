"""What a plain completion's own parameters make of a request: prompts, suffix, echo, best_of."""

from __future__ import annotations

import pytest

from dittod.engine.protocol import Generate
from dittod.errors import RequestError
from dittod_service.openai.texts import texts_of

from .conftest import Ask
from .fakes import FakeBackend
from .wire import error_of

PATH = "/v1/completions"
PLAIN = {"model": "base", "prompt": "hi"}


def asked(ask: Ask, backend: FakeBackend, extra: dict[str, object]) -> Generate:
    response = ask("POST", PATH, json=PLAIN | extra)
    assert response.status_code == 200, response.text
    return backend.asked[-1]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("text", [("text", None)]),
        ("", [("", None)]),
        (["a", "b"], [("a", None), ("b", None)]),
        ([5, 6], [(None, (5, 6))]),
        ([[5], [6, 7]], [(None, (5,)), (None, (6, 7))]),
        (["a", [6, 7]], [("a", None), (None, (6, 7))]),
    ],
)
def test_prompts_are_texts_or_token_ids_one_or_many(
    ask: Ask, backend: FakeBackend, prompt: object, expected: object
) -> None:
    assert ask("POST", PATH, json=PLAIN | {"prompt": prompt}).status_code == 200
    assert [(request.prompt, request.prompt_token_ids) for request in backend.asked] == expected


def test_each_parameter_reaches_the_engine(ask: Ask, backend: FakeBackend) -> None:
    plain = asked(ask, backend, {})
    assert (plain.echo, plain.suffix, plain.n, plain.sampling.logprobs, plain.sampling.max_tokens) == (
        False, None, 1, None, None,
    )  # fmt: skip
    assert asked(ask, backend, {"echo": True}).echo
    assert asked(ask, backend, {"suffix": "the end"}).suffix == "the end"
    assert asked(ask, backend, {"suffix": ""}).suffix is None
    assert asked(ask, backend, {"logprobs": 0}).sampling.logprobs == 0
    assert asked(ask, backend, {"logprobs": 20}).sampling.logprobs == 20
    assert asked(ask, backend, {"n": 3}).n == 3
    assert asked(ask, backend, {"n": 2, "best_of": 5}).n == 5
    assert asked(ask, backend, {"best_of": 1, "stream": True}).n == 1
    assert asked(ask, backend, {"echo": True, "max_tokens": 0}).sampling.max_tokens == 0


BAD = [
    ({"prompt": []}, "prompt"),
    ({"prompt": [[]]}, "prompt[0]"),
    ({"prompt": 5}, "prompt"),
    ({"prompt": {"a": 1}}, "prompt"),
    ({"prompt": ["a", 5]}, "prompt[1]"),
    ({"prompt": [5, "a"]}, "prompt"),
    ({"prompt": [[5, "a"]]}, "prompt[0]"),
    ({"prompt": [5, -1]}, "prompt"),
    ({"prompt": [5, 1.5]}, "prompt"),
    ({"prompt": [True]}, "prompt"),
    ({"prompt": [2**31]}, "prompt"),
    ({"prompt": [10**300]}, "prompt"),
    ({"prompt": ["a"] * 129}, "prompt"),
    ({"prompt": ["a"] * 128, "n": 3}, "n"),
    ({"prompt": ["a"] * 65, "best_of": 4}, "n"),
    ({"echo": "yes"}, "echo"),
    ({"suffix": ["b"]}, "suffix"),
    ({"suffix": "the end", "prompt": ["a"]}, "suffix"),
    ({"suffix": "the end", "prompt": [5]}, "suffix"),
    ({"suffix": "the end", "echo": True}, "suffix"),
    ({"best_of": 0}, "best_of"),
    ({"best_of": 17}, "best_of"),
    ({"best_of": 2, "n": 3}, "best_of"),
    ({"best_of": 2, "stream": True}, "best_of"),
    ({"logprobs": 21}, "logprobs"),
    ({"logprobs": -1}, "logprobs"),
    ({"logprobs": True}, "logprobs"),
]


@pytest.mark.parametrize(("extra", "param"), BAD, ids=lambda value: str(value)[:70])
def test_what_cannot_be_served_is_refused_by_its_name(
    ask: Ask, backend: FakeBackend, extra: dict[str, object], param: str
) -> None:
    response = ask("POST", PATH, json=PLAIN | extra)
    error = error_of(response)
    assert (response.status_code, error["type"], error["param"]) == (400, "invalid_request_error", param)
    assert backend.asked == []


def test_token_ids_beyond_every_context_are_refused() -> None:
    """By the function itself: the body's limit would come first in these tests."""
    with pytest.raises(RequestError, match="at most 1048576 token ids"):
        texts_of([[1], [1] * (2**20 + 1)], "prompt", 2)
