"""Texts become vectors: of length 1, the same however the text is cut, and beside answers that are being decoded."""

from __future__ import annotations

import base64
import struct

import pytest
import torch
from fakes import finish, tiny_base

from dittod.engine import embeddings as requests
from dittod.engine.embeddings import Embeddings
from dittod.engine.protocol import Embed, Embedded
from dittod.errors import RequestError
from dittod.model import embed as reading
from dittod.model.chat import encode_text
from dittod.model.embed import embed
from dittod.model.load import BaseModel
from dittod.model.lora import LoraAdapters, LoraShape


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    return tiny_base(tmp_path_factory.mktemp("model"))


def all_of(embeddings: Embeddings) -> list[Embedded]:
    found: list[Embedded] = []
    while embeddings.busy:
        found += embeddings.step()
    return found


def numbers(vector: str) -> list[float]:
    raw = base64.b64decode(vector)
    return list(struct.unpack(f"<{len(raw) // 4}f", raw))


def test_a_vector_is_the_mean_of_the_last_states_without_the_beginning_of_text_and_of_length_1(base: BaseModel) -> None:
    ids = torch.tensor([[base.tokenizer.bos_token_id, *encode_text(base, "the fog lifts")]])
    with torch.no_grad():
        states = base.model.model(ids).last_hidden_state[0]
    mean = states[1:].mean(0)
    _, vectors = finish(embed(base, LoraAdapters(base), ids.tolist()))
    assert torch.allclose(vectors[0], mean / mean.norm(), atol=1e-5)


def test_a_long_text_is_read_in_pieces_and_gives_the_same_vector(
    base: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = encode_text(base, "a long letter about the roof " * 4)
    _, whole = finish(embed(base, LoraAdapters(base), [ids]))
    monkeypatch.setattr(reading, "CHUNK_TOKENS", 7)
    pieces, vector = finish(embed(base, LoraAdapters(base), [ids]))
    assert len(pieces) == -(-len(ids) // 7) - 1
    assert torch.allclose(vector, whole, atol=1e-5)


def test_texts_beside_each_other_get_the_vectors_that_each_gets_alone(
    base: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of 5, 1 and 12 tokens, three columns at a time."""
    texts = [list(range(40, 45)), [7], list(range(60, 72))]
    alone = torch.cat([finish(embed(base, LoraAdapters(base), [text]))[1] for text in texts])
    monkeypatch.setattr(reading, "CHUNK_TOKENS", 9)
    pieces, together = finish(embed(base, LoraAdapters(base), texts))
    assert len(pieces) == 3
    assert torch.allclose(together, alone, atol=1e-5)


def test_an_active_adapter_changes_nothing(base: BaseModel) -> None:
    adapters = LoraAdapters(base)
    _, before = finish(embed(base, adapters, [[5, 6, 7]]))
    adapters.create("policy", LoraShape(4, 8), seed=1)
    for weight in adapters.parameters("policy"):
        torch.nn.init.normal_(weight)
    with adapters.active("policy"):
        _, after = finish(embed(base, adapters, [[5, 6, 7]]))
    adapters.drop("policy")
    assert torch.allclose(before, after, atol=1e-5)


def test_requests_are_answered_in_their_order_with_a_vector_per_text(base: BaseModel) -> None:
    embeddings = Embeddings(base, LoraAdapters(base))
    embeddings.start(Embed("first", ("one", "two", (5, 6))))
    embeddings.start(Embed("second", ("two",)))
    first, second = all_of(embeddings)
    assert (first.id, second.id) == ("first", "second")
    assert len(first.vectors) == 3
    assert numbers(first.vectors[1]) == pytest.approx(numbers(second.vectors[0]), abs=1e-5)
    assert first.prompt_tokens == 3 + 3 + 2  # bytes
    assert sum(each**2 for each in numbers(first.vectors[2])) == pytest.approx(1)


def test_a_cancelled_request_is_not_answered(base: BaseModel) -> None:
    embeddings = Embeddings(base, LoraAdapters(base))
    embeddings.start(Embed("first", ("one", "two")))
    embeddings.start(Embed("second", ("two",)))
    embeddings.step()
    embeddings.cancel("first")
    assert [each.id for each in all_of(embeddings)] == ["second"]


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("x" * 600, "context_length_exceeded"),
        ("x" * 20_000, "context_length_exceeded"),
        ((5, 99_999), None),
        ((), None),
    ],
)
def test_what_does_not_fit_the_model_is_refused_by_name(
    base: BaseModel, given: str | tuple[int, ...], code: str | None
) -> None:
    embeddings = Embeddings(base, LoraAdapters(base))
    embeddings.start(Embed("e", ("fine", given)))
    with pytest.raises(RequestError, match=r"input\[1\]") as caught:
        all_of(embeddings)
    assert (caught.value.param, caught.value.code) == ("input", code)


def test_texts_are_made_into_tokens_a_few_at_a_time(base: BaseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short ones together, up to ten characters here; a longer one by itself."""
    encoded: list[str] = []
    monkeypatch.setattr(requests, "TOGETHER_CHARACTERS", 10)
    monkeypatch.setattr(requests, "encode_text", lambda _, text: encoded.append(text) or [5])
    embeddings = Embeddings(base, LoraAdapters(base))
    embeddings.start(Embed("e", ("one", "two", "three", "a longer text than that", "end")))
    counts: list[int] = [len(encoded)]
    while len(encoded) < 5:
        embeddings.step()
        counts.append(len(encoded))
    assert counts == [0, 2, 3, 4, 5]
    assert [len(each.vectors) for each in all_of(embeddings)] == [5]
