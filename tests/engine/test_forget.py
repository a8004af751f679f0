"""The engine lets go of a version: its weights, its caches, and whoever is being answered by it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from fakes import demonstration, tiny_base

from dittod.engine.answers import Answers
from dittod.engine.protocol import (
    AdapterRef,
    Delta,
    Done,
    Event,
    Failed,
    Forget,
    Generate,
    Sampling,
    decode_command,
    decode_event,
    encode_command,
)
from dittod.engine.room import Room
from dittod.engine.worker import Worker
from dittod.forgetting import destroy
from dittod.learner.memory import Device
from dittod.model.load import BaseModel, load_base
from dittod.model.lora import LoraAdapters, LoraShape
from dittod.types import Message

HELLO = (Message("user", "hello"),)


class Bench:
    """A worker whose turns the test takes, and versions on the disk."""

    def __init__(self, base: BaseModel, folder: Path) -> None:
        self._folder = folder
        self._maker = LoraAdapters(load_base(str(folder / "m"), device="cpu"))
        self._output = io.BytesIO()
        room = Room("m", Device("cpu", 4, 10**10, False), 10**9)
        self.worker = Worker(base, room, self._output)

    def version(self, name: str) -> AdapterRef:
        """Weights that compute something else than base."""
        self._maker.create(name, LoraShape(rank=2, alpha=4), seed=len(name))
        self._maker.save(name, self._folder / name)
        return AdapterRef(name, str(self._folder / name))

    def ask(self, request_id: str, adapter: AdapterRef | None, tokens: int = 3, **changes: object) -> None:
        sampling = Sampling(max_tokens=tokens, seed=1)
        self.worker._obey(Generate(request_id, adapter, sampling, messages=HELLO, **changes))  # type: ignore[arg-type]

    def turn(self, count: int = 1) -> None:
        for _ in range(count):
            self.worker._turn()

    def said(self) -> list[Event]:
        """Since the test last asked."""
        lines = self._output.getvalue().splitlines()
        self._output.seek(0)
        self._output.truncate()
        return [decode_event(line) for line in lines]

    def run(self) -> dict[str, Event]:
        """Until nobody waits; by request, its last event."""
        while self.worker._is_asked:
            self.turn()
        return {event.id: event for event in self.said() if isinstance(event, Done | Failed)}

    @property
    def answers(self) -> Answers:
        return self.worker._answers


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tiny_base(tmp_path / "m"), tmp_path)


def test_the_command_comes_through_the_pipe_whole() -> None:
    command = Forget(("a" * 64, "b"))
    assert decode_command(encode_command(command)) == command


def test_an_answer_that_runs_on_a_forgotten_version_fails_with_a_word_what_to_do_and_others_go_on(
    bench: Bench,
) -> None:
    gone, stays = bench.version("gone"), bench.version("stays")
    bench.ask("1", gone, 400)
    bench.ask("2", stays, 6)
    bench.ask("3", None, 6)
    bench.turn(5)
    bench.said()
    destroy(Path(gone.path))
    bench.worker._obey(Forget(("gone",)))
    ended = bench.run()
    failed = ended["1"]
    assert isinstance(failed, Failed) and failed.status == 503 and "ask again" in failed.hint
    assert "may have been made from" in failed.title, "true also where only its prompt held examples"
    assert isinstance(ended["2"], Done) and isinstance(ended["3"], Done)


def test_its_weights_and_every_earlier_conversation_leave_the_memory(bench: Bench) -> None:
    gone, stays = bench.version("gone"), bench.version("stays")
    for number, ref in enumerate((gone, stays, None)):
        bench.ask(str(number), ref)
    bench.run()
    assert bench.worker._decoder.prefixes.size_bytes > 0
    bench.worker._obey(Forget(("gone", "never loaded")))
    assert bench.worker._adapters.names() == ["served-stays"]
    assert bench.worker._decoder.prefixes.size_bytes == 0
    weights = [name for name, _ in bench.worker._base.model.named_parameters() if "served-gone" in name]
    assert weights == []


def test_a_request_that_had_not_begun_fails_too(bench: Bench) -> None:
    gone = bench.version("gone")
    bench.ask("1", gone)
    bench.worker._obey(Forget(("gone",)))
    ended = bench.run()
    assert isinstance(ended["1"], Failed) and ended["1"].status == 503


def test_a_request_that_comes_after_its_weights_are_gone_is_told_to_ask_again(bench: Bench) -> None:
    """It was given the version before it was forgotten."""
    gone = bench.version("gone")
    destroy(Path(gone.path))
    bench.worker._obey(Forget(("gone",)))
    bench.ask("1", gone)
    ended = bench.run()
    assert isinstance(ended["1"], Failed) and (ended["1"].status, ended["1"].code) == (503, None)


def test_a_prompt_with_examples_may_hold_the_text_so_its_answer_ends_as_well(bench: Bench) -> None:
    bench.ask("1", None, 400, examples=(demonstration("p", "the heron"),))
    bench.ask("2", None, 6)
    bench.turn(4)
    bench.worker._obey(Forget(()))
    ended = bench.run()
    assert isinstance(ended["1"], Failed) and isinstance(ended["2"], Done)


def test_an_answer_of_another_version_is_what_it_was_before(bench: Bench) -> None:
    """Taking weights out of the wrapped layers leaves those of the others as they are."""
    stays, gone = bench.version("stays"), bench.version("gone")
    said: list[str] = []
    for number in range(2):
        for ref in (stays, gone)[: 2 - number]:
            bench.ask(ref.id, ref, 20)
        while bench.worker._is_asked:
            bench.turn()
        said.append("".join(each.text for each in bench.said() if isinstance(each, Delta) and each.id == "stays"))
        bench.worker._obey(Forget(("gone",)))
    assert said[0] == said[1] != ""
