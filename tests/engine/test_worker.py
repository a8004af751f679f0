"""What the worker does about memory and around an update: whom it gives way to, and what it gives back."""

from __future__ import annotations

import io
import os
import queue
import sys
import weakref
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fakes import demonstration, finish, tiny_base

from dittod.engine import consideration, embeddings, worker
from dittod.engine.answers import Answers
from dittod.engine.embeddings import Embeddings
from dittod.engine.protocol import (
    OUT_OF_MEMORY,
    AdapterRef,
    Delta,
    Done,
    Drawn,
    Embed,
    Embedded,
    Event,
    Failed,
    Generate,
    Memory,
    Noted,
    Ping,
    Progress,
    Sampling,
    StopUpdate,
    Update,
    Updated,
    decode_event,
)
from dittod.engine.room import Room
from dittod.engine.worker import Worker, tidied
from dittod.learner.memory import Device
from dittod.model.decode import Decoder
from dittod.types import Plan, Verdict

RESULT = Updated("u", AdapterRef("a", "/a"), Verdict(True, (), {}))


def phases(*names: str, ended: list[str] | None = None) -> Generator[Progress, None, Updated]:
    """An update that does nothing but name its phases; says in `ended` when it is left."""
    try:
        for done, name in enumerate(names):
            yield Progress("u", name, done + 1, len(names))
        return RESULT
    finally:
        if ended is not None:
            ended.append("left")


@pytest.fixture
def given_back(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each time."""
    calls: list[str] = []
    monkeypatch.setattr(worker, "give_memory_back", lambda: calls.append("back"))
    return calls


def test_memory_goes_back_where_a_phase_begins_or_ends_and_not_between_its_steps(given_back: list[str]) -> None:
    """Four phases begin; the last step says that it was the last."""
    names = ["supervised", "supervised", "reference", "sampling", "sampling", "sampling", "dpo", "dpo", "dpo"]
    seen, result = finish(tidied(phases(*names)))
    assert [each.phase for each in seen] == names
    assert result is RESULT
    assert len(given_back) == 5


def test_an_update_that_is_left_is_left_to_its_core(given_back: list[str]) -> None:
    ended: list[str] = []
    work = tidied(phases("supervised", "dpo", ended=ended))
    next(work)
    work.close()
    assert ended == ["left"]


def test_what_a_failed_step_held_is_gone_when_memory_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exception's traceback holds on to the step's variables, and with them to all that was computed."""

    class Large:
        pass

    still_held: list[bool] = []
    held: list[weakref.ref[Large]] = []

    def failing(*_: object) -> Generator[Progress, None, Updated]:
        large = Large()
        held.append(weakref.ref(large))
        yield Progress("u", "dpo", 0, 1)
        raise MemoryError

    base = tiny_base(tmp_path)
    output = io.BytesIO()
    engine = worker.Worker(base, Room(str(tmp_path), Device("cpu", 4, 10**10, False), 10**10), output)
    monkeypatch.setattr(worker, "update", failing)
    monkeypatch.setattr(worker, "give_memory_back", lambda: still_held.append(bool(held) and held[0]() is not None))
    learnt = (demonstration("Ask Bo", "Bo, lunch?"),)
    engine._start_update(Update("u", str(tmp_path), str(tmp_path), "clean", 0, learnt, (), None))
    for _ in range(2):
        assert engine._work is not None
        engine._go_on(engine._work)
    assert engine._work is None
    assert still_held == [False, True, False]  # before it began, where the phase began, and at the end
    assert b"memory ran out" in output.getvalue()


def test_the_parent_hears_what_the_engine_keeps_within(tmp_path: Path) -> None:
    room = Room("m", Device("cpu", 4, 10**10, False), 1600)
    assert worker.Worker(tiny_base(tmp_path), room, io.BytesIO())._ready().budget_bytes == 1600


def test_beside_an_update_conversations_keep_no_more_than_its_plan_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, room = tiny_base(tmp_path / "model"), Room("m", Device("cpu", 4, 10**10, False), 1600)
    engine = worker.Worker(base, room, io.BytesIO())
    kept: list[int] = []
    monkeypatch.setattr(Room, "workbench", lambda *_: SimpleNamespace(plan=Plan(peak_bytes=1550)))
    monkeypatch.setattr(worker, "update", lambda *_: phases("dpo"))
    kept.append(engine._decoder.prefixes.limit_bytes)
    engine._start_update(Update("u", str(tmp_path), str(tmp_path), "clean", 1, (), (), None))
    kept.append(engine._decoder.prefixes.limit_bytes)
    engine._stop_work()
    kept.append(engine._decoder.prefixes.limit_bytes)
    assert kept == [100, 50, 100]


class Engine:
    """A worker over the tiny model whose turns the test takes; an update is what the test says it is."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, steps: Callable[..., Generator[Progress, None, Updated]]
    ) -> None:
        self.base = replace(tiny_base(folder / "model"), stop_token_ids=frozenset())
        self._output = io.BytesIO()
        room = Room(self.base.name, Device("cpu", 4, 10**10, False), 10**9)
        self.bench = SimpleNamespace(plan=Plan(peak_bytes=10**9), notes=[], drawn=[])  # leaves nothing but serving's
        self.now = 100.0
        monkeypatch.setattr(worker, "clock", lambda: self.now)
        monkeypatch.setattr(Room, "workbench", lambda *_: self.bench)
        monkeypatch.setattr(worker, "update", steps)
        self.worker = Worker(self.base, room, self._output)
        self.update = Update("u", str(folder), str(folder), "clean", 1, (), (), None)

    def ask(self, id: str, prompt: int = 20, tokens: int = 30) -> None:
        """Begin a request of so many tokens."""
        self.worker._obey(Generate(id, None, Sampling(seed=1, max_tokens=tokens), prompt_token_ids=(65,) * prompt))

    def turn(self, count: int = 1) -> list[Event]:
        """What is heard of some."""
        before = len(self._output.getvalue())
        for _ in range(count):
            self.worker._turn()
        return [decode_event(line) for line in self._output.getvalue()[before:].splitlines()]

    def until_answered(self, limit: int = 2000) -> list[Event]:
        heard: list[Event] = []
        while self.worker._is_asked and (limit := limit - 1):
            heard += self.turn()
        return heard


def endless(*_: object) -> Generator[Progress, None, Updated]:
    while True:
        yield Progress("u", "dpo", 0, 9)


def kinds(events: list[Event]) -> list[str]:
    return [event.event for event in events if event.event not in ("accepted", "delta", "finished", "progress")]


def test_learning_gives_way_to_an_answer_beyond_its_share_and_goes_on_when_there_is_quiet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(tmp_path, monkeypatch, endless)
    monkeypatch.setattr("dittod.learner.memory.SERVING_TOKENS", 600)
    engine.worker._obey(engine.update)
    assert kinds(engine.turn(2)) == []
    engine.ask("short")
    assert kinds(engine.until_answered()) == ["done"]
    assert engine.worker._work is not None
    engine.ask("long", prompt=400)
    heard = engine.until_answered()
    assert kinds(heard) == ["noted", "done"]
    assert [(each.id, each.sentence) for each in heard if isinstance(each, Noted)] == [
        ("u", "an answer needed the memory: learning waits until there is quiet")
    ]
    assert engine.worker._work is None
    assert engine.turn(2) == []
    engine.now += worker.AGAIN_SECONDS
    assert [each.event for each in engine.turn(2)] == ["progress"]


def test_an_update_that_gave_way_can_be_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(tmp_path, monkeypatch, endless)
    monkeypatch.setattr("dittod.learner.memory.SERVING_TOKENS", 600)
    engine.worker._obey(engine.update)
    engine.ask("long", prompt=400)
    engine.until_answered()
    engine.worker._obey(StopUpdate())
    engine.now += worker.AGAIN_SECONDS
    assert kinds(engine.turn(2)) == []
    assert engine._output.getvalue().count(b'"stopped"') == 1


def test_where_answers_never_end_learning_gets_a_tenth_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A micro-step takes 3 seconds here and a token 1: one for every 27."""
    engine = Engine(tmp_path, monkeypatch, endless)

    def slow(*_: object) -> Generator[Progress, None, Updated]:
        while True:
            engine.now += 3
            yield Progress("u", "dpo", 0, 9)

    monkeypatch.setattr(worker, "update", slow)
    step = engine.worker._answers.step
    monkeypatch.setattr(engine.worker._answers, "step", lambda: (setattr(engine, "now", engine.now + 1), step())[1])
    engine.worker._obey(engine.update)
    engine.ask("chat", tokens=400)
    heard = [each.event for each in engine.turn(300)]
    learnt = heard.count("progress")
    assert 9 <= learnt <= 13
    assert heard.index("delta") < heard.index("progress"), "a first token waited"


def test_out_of_memory_while_answering_learning_gives_way_and_nobody_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(tmp_path, monkeypatch, endless)
    engine.ask("one")
    calm = [each for each in engine.until_answered() if isinstance(each, Delta)]
    engine.worker._obey(engine.update)
    engine.ask("one")
    engine.turn(6)
    fails_once(monkeypatch)
    heard = engine.until_answered()
    assert kinds(heard) == ["noted", "done"]
    told = [decode_event(line) for line in engine._output.getvalue().splitlines()]
    texts = [each.text for each in told if isinstance(each, Delta)]
    assert texts == 2 * [each.text for each in calm]


def test_out_of_memory_while_answering_the_latest_fails_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(tmp_path, monkeypatch, endless)
    for name in ("one", "two", "three"):
        engine.ask(name)
    engine.turn(8)
    fails_once(monkeypatch)
    heard = engine.until_answered()
    failed = [(each.id, each.title, each.status) for each in heard if isinstance(each, Failed)]
    assert failed == [("three", "memory ran out", 503)]
    done = [(each.id, each.completion_tokens) for each in heard if isinstance(each, Done)]
    assert done == [("one", 30), ("two", 30)]


@pytest.mark.parametrize("owner", [Answers, Embeddings])
def test_out_of_memory_at_a_beginning_or_in_an_embedding_learning_gives_way_and_nobody_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: type
) -> None:
    engine = Engine(tmp_path, monkeypatch, endless)
    engine.worker._obey(engine.update)
    refuse_memory(monkeypatch, *((Answers, "start") if owner is Answers else (embeddings, "embed")))
    if owner is Answers:
        engine.ask("one")
    else:
        engine.worker._obey(Embed("one", ("the fog lifts",)))
    assert kinds(engine.until_answered()) == ["noted", "done" if owner is Answers else "embedded"]
    assert engine.worker._work is None and engine.worker._set_aside is engine.update


def test_without_learning_a_request_for_which_there_is_no_memory_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(tmp_path, monkeypatch, endless)
    refuse_memory(monkeypatch, embeddings, "embed")
    engine.worker._obey(Embed("one", ("the fog lifts",)))
    engine.worker._obey(Embed("two", ("the fog lifts",)))
    heard = engine.until_answered()
    assert [(each.event, each.id) for each in heard if isinstance(each, Failed | Embedded)] == [
        ("failed", "one"),
        ("embedded", "two"),
    ]


def refuse_memory(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    """At the next call of it."""
    method, calls = getattr(owner, name), [0]

    def short(*given: Any) -> Any:
        calls[0] += 1
        if calls[0] == 1:
            raise MemoryError
        return method(*given)

    monkeypatch.setattr(owner, name, short)


def test_when_the_optimiser_finds_no_memory_the_update_can_go_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(*_: object) -> Generator[Progress, None, Updated]:
        yield Progress("u", "dpo", 0, 9)
        raise torch.OutOfMemoryError("CUDA out of memory")

    engine = Engine(tmp_path, monkeypatch, short)
    engine.worker._obey(engine.update)
    (failed,) = [each for each in engine.turn(3) if isinstance(each, Failed)]
    assert (failed.id, failed.code, failed.status) == ("u", OUT_OF_MEMORY, 503)


@pytest.mark.parametrize("at", ["learning", "an answer", "an embedding", "a beginning"])
def test_a_broken_card_ends_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    def broken(*_: object) -> Any:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered, text of the user")

    def learning(*_: object) -> Generator[Progress, None, Updated]:
        yield Progress("u", "dpo", 0, 9)
        broken()
        raise AssertionError

    engine = Engine(tmp_path, monkeypatch, learning)
    if at == "learning":
        engine.worker._obey(engine.update)
    else:
        owner, name = {
            "an answer": (Decoder, "_advance"),
            "an embedding": (embeddings, "embed"),
            "a beginning": (Answers, "start"),
        }[at]
        monkeypatch.setattr(owner, name, broken)
        engine.worker._obey(Embed("e", ("hi",))) if at == "an embedding" else engine.ask("a")
    with pytest.raises(RuntimeError, match="illegal memory access"):
        engine.turn(9)


def test_the_end_of_a_broken_card_is_logged_without_the_words(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    codes: list[int] = []
    monkeypatch.setattr(worker.os, "_exit", codes.append)
    worker._end_of(RuntimeError("CUDA error: unspecified launch failure near 'Dear Ann'"))
    assert codes == [1]
    assert caplog.messages[0].startswith("the graphics card failed: RuntimeError") and "Ann" not in caplog.text


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: out of memory"),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"),
        RuntimeError("shapes do not match"),
        ValueError("CUDA error: unspecified launch failure"),
    ],
)
def test_what_is_no_broken_card(error: Exception) -> None:
    assert not worker.card_is_broken(error)


def test_the_loop_says_that_it_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(tmp_path, monkeypatch, endless)
    engine.worker._obey(engine.update)
    engine.turn()
    before = len(engine._output.getvalue())
    engine.worker._obey(Ping())
    assert isinstance(decode_event(engine._output.getvalue()[before:]), Memory)


def fails_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next token of running rows finds no memory."""
    advance, calls = Decoder._advance, [0]

    def short(decoder: Decoder, batch: Any) -> Any:
        calls[0] += 1
        if calls[0] == 1:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")
        return advance(decoder, batch)

    monkeypatch.setattr(Decoder, "_advance", short)


def test_what_befell_an_update_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(tmp_path, monkeypatch, endless)
    engine.worker._obey(engine.update)
    engine.bench.notes.append("memory ran out")
    assert [each.sentence for each in engine.turn(2) if isinstance(each, Noted)] == ["memory ran out"]


def test_samples_are_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(tmp_path, monkeypatch, endless)
    engine.worker._obey(engine.update)
    sample = Drawn("u", 0, "a" * 64, "Dear Ann", 5.0)
    engine.bench.drawn.append(sample)
    assert [each for each in engine.turn(3) if isinstance(each, Drawn)] == [sample] and engine.bench.drawn == []


def test_the_parent_hears_of_memory_when_it_has_changed_by_much_and_once_a_second_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(tmp_path, monkeypatch, endless)
    held = [500 << 20]
    monkeypatch.setattr(worker, "resident_bytes", lambda: held[0])
    engine.worker._told = worker._Told(engine.now, Memory(held[0]))
    said: list[int] = []
    for more, seconds in ((17, 0.5), (0, 0.6), (15, 2.0), (2, 2.0), (-40, 0.2), (0, 1.0)):
        held[0], engine.now = held[0] + (more << 20), engine.now + seconds
        before = len(engine._output.getvalue())
        engine.worker._tell_memory()
        events = [decode_event(line) for line in engine._output.getvalue()[before:].splitlines()]
        said += [each.bytes >> 20 for each in events if isinstance(each, Memory)]
    assert said == [517, 534, 494]


def test_when_there_is_nothing_to_do_memory_goes_back_once_and_the_engine_sleeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given_back: list[str]
) -> None:
    engine = Engine(tmp_path, monkeypatch, endless)
    waits: list[float | None] = []

    class Silent:
        def get(self, timeout: float | None = None) -> Any:
            waits.append(timeout)
            if timeout is None:
                return StopUpdate()
            raise queue.Empty

        def empty(self) -> bool:
            return True

    engine.worker._settled_bytes = 0
    for _ in range(2):
        engine.worker._heard(Silent())  # type: ignore[arg-type]
    assert waits == 2 * [worker.SETTLED_SECONDS, None]
    assert given_back == ["back"]


@pytest.mark.skipif(sys.platform != "linux", reason="priorities of threads are Linux's")
def test_learning_stands_behind_other_programs_and_answers_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, seen = os.getpriority(os.PRIO_PROCESS, 0), []

    def looking(*_: object) -> Generator[Progress, None, Updated]:
        seen.append(os.getpriority(os.PRIO_PROCESS, 0))
        yield Progress("u", "dpo", 0, 9)
        raise AssertionError

    engine = Engine(tmp_path, monkeypatch, looking)
    engine.worker._obey(engine.update)
    engine.turn()
    assert seen == [max(before, consideration.NICENESS)]
    assert os.getpriority(os.PRIO_PROCESS, 0) == before
