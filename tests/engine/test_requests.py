"""What the worker does with requests: begun one by one beside what is running, cancelled anywhere, failed by itself."""

from __future__ import annotations

import io

import pytest
from fakes import tiny_base

from dittod.engine import embeddings
from dittod.engine.protocol import (
    Accepted,
    Cancel,
    Delta,
    Detokenize,
    Detokenized,
    Done,
    Embed,
    Embedded,
    Event,
    Failed,
    Generate,
    Sampling,
    Tokenize,
    Tokenized,
    decode_event,
)
from dittod.engine.room import Room
from dittod.engine.worker import Worker
from dittod.learner.memory import Device
from dittod.model.load import BaseModel
from dittod.model.prefix import PrefixCache


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    return tiny_base(tmp_path_factory.mktemp("model"))


class Bench:
    """A worker whose turns the test takes."""

    def __init__(self, base: BaseModel) -> None:
        self._output = io.BytesIO()
        self.worker = Worker(base, Room("tiny", Device("cpu", 4, 10**10, False), 10**9), self._output)  # type: ignore[arg-type]

    def turn(self) -> list[Event]:
        """What is heard of one."""
        before = len(self.heard())
        self.worker._turn()
        return self.heard()[before:]

    def heard(self) -> list[Event]:
        """From the beginning."""
        return [decode_event(line) for line in self._output.getvalue().splitlines()]

    def to_the_end(self) -> list[Event]:
        heard: list[Event] = []
        while self.worker._is_asked:
            heard += self.turn()
        return heard


@pytest.fixture
def bench(base: BaseModel) -> Bench:
    return Bench(base)


def asked(id: str, prompt: str = "Once", tokens: int = 9) -> Generate:
    endless = {token_id: -100.0 for token_id in range(256, 262)}  # no special token
    return Generate(id, None, Sampling(max_tokens=tokens, seed=1, logit_bias=endless), prompt=prompt)


def ids(events: list[Event], kind: type[Event]) -> list[str]:
    return [event.id for event in events if isinstance(event, kind)]  # type: ignore[union-attr]


def test_requests_that_come_together_are_begun_one_by_one_between_a_running_answer_s_tokens(bench: Bench) -> None:
    bench.worker._obey(asked("running", tokens=60))
    bench.turn()
    for command in (asked("one"), Tokenize("two", "ab"), asked("three"), Detokenize("four", (97,))):
        bench.worker._obey(command)
    begun = [
        [event.id for event in bench.turn() if isinstance(event, Accepted | Tokenized | Detokenized)] for _ in range(5)
    ]
    assert begun == [["one"], ["two"], ["three"], ["four"], []]


def test_what_came_in_is_begun_before_learning_goes_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    learnt: list[str] = []
    monkeypatch.setattr(bench.worker, "_work", object())
    monkeypatch.setattr(bench.worker, "_go_on", lambda _: learnt.append("a micro-step"))
    for number in range(3):
        bench.worker._obey(Tokenize(str(number), "ab"))
    assert ids(bench.to_the_end(), Tokenized) == ["0", "1", "2"]
    assert learnt == []
    bench.turn()
    assert learnt == ["a micro-step"]


def test_a_request_that_is_cancelled_before_it_is_begun_is_never_begun(bench: Bench) -> None:
    bench.worker._obey(asked("one"))
    bench.worker._obey(asked("two"))
    bench.worker._obey(Cancel("two"))
    assert {event.id for event in bench.to_the_end()} == {"one"}  # type: ignore[union-attr]


def test_an_answer_that_nobody_waits_for_any_more_is_not_gone_on_with(bench: Bench) -> None:
    bench.worker._obey(asked("one"))
    bench.turn()
    bench.worker._obey(Cancel("one"))
    assert not bench.worker._is_asked


def test_texts_that_nobody_waits_for_any_more_are_not_read(bench: Bench) -> None:
    bench.worker._obey(Embed("e", ("one", "two")))
    bench.turn()
    assert bench.worker._is_asked
    bench.worker._obey(Cancel("e"))
    assert not bench.worker._is_asked
    assert bench.to_the_end() == []


def test_a_text_too_long_for_a_vector_fails_its_own_request_and_no_other(bench: Bench) -> None:
    bench.worker._obey(Embed("long", ("fine", "x" * 600)))
    bench.worker._obey(Embed("short", ("fine",)))
    bench.worker._obey(asked("answer"))
    heard = bench.to_the_end()
    (failed,) = (each for each in heard if isinstance(each, Failed))
    assert (failed.id, failed.status, failed.param, failed.code) == ("long", 400, "input", "context_length_exceeded")
    assert (ids(heard, Embedded), ids(heard, Done)) == (["short"], ["answer"])


def test_a_fault_while_texts_are_read_fails_their_request_and_no_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, faults = embeddings.embed, iter([RuntimeError])

    def once_without_memory(*given: object) -> object:
        for fault in faults:
            raise fault
        return real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(embeddings, "embed", once_without_memory)
    bench.worker._obey(Embed("one", ("fine",)))
    bench.worker._obey(Embed("two", ("fine",)))
    heard = bench.to_the_end()
    assert [(each.id, each.status) for each in heard if isinstance(each, Failed)] == [("one", 500)]
    assert ids(heard, Embedded) == ["two"]


def test_what_an_earlier_request_computed_of_a_prompt_is_counted_at_the_end(bench: Bench) -> None:
    """All tokens but the last, which the answer's first is drawn from."""
    ends: list[Done] = []
    for name in ("first", "again"):
        bench.worker._obey(asked(name, "Dear Ann, the roof"))
        ends += [each for each in bench.to_the_end() if isinstance(each, Done)]
    counted = [(each.prompt_tokens, each.cached_tokens) for each in ends]
    assert counted == [(18, 0), (18, 17)]


@pytest.mark.parametrize("cancelled", [False, True], ids=["at a step", "at a cancelling"])
def test_answers_fail_together_and_the_engine_goes_on_even_where_nothing_can_be_tidied_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, cancelled: bool
) -> None:
    """Memory that is not there for a step is not there either for what is kept when rows leave."""

    def full(*_: object) -> None:
        raise RuntimeError("not enough memory")

    bench.worker._obey(asked("ended"))
    bench.to_the_end()
    for name in ("one", "two", "gone"):
        bench.worker._obey(asked(name, name * 9))
    for _ in range(8):
        bench.turn()
    limit = bench.worker._decoder.prefixes.limit_bytes
    with monkeypatch.context() as without_memory:
        without_memory.setattr(PrefixCache, "keep", full)
        if cancelled:
            bench.worker._obey(Cancel("gone"))
        bench.to_the_end()
    failed = [each for each in bench.heard() if isinstance(each, Failed)]
    told = {"one", "two"} if cancelled else {"one", "two", "gone"}
    assert {(each.id, each.status) for each in failed} == {(name, 500) for name in told}
    assert bench.worker._decoder.prefixes.limit_bytes == limit
    bench.worker._obey(asked("after", "one" * 9))
    after = bench.to_the_end()
    assert ids(after, Done) == ["after"] and Delta in map(type, after)
