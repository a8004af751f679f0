"""The engine's loop: one base model that serves and learns, never both at once.

If a request is waiting or running, begin one and decode one token for all running requests; otherwise advance the
update, or the prompts that are tried while there is none, by one micro-step; otherwise sleep. A request that arrives
while learning therefore waits for one micro-step at most, and running ones wait for the beginning of one at most.
Knows the pipe and the model; knows nothing of HTTP, the store, or which adapter an alias means.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import json
import logging
import os
import queue
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import psutil
import torch

from dittod.engine.answers import Answers
from dittod.engine.embeddings import Embeddings
from dittod.engine.improve import improve
from dittod.engine.protocol import (
    Accepted,
    Cancel,
    Command,
    Detokenize,
    Done,
    Embed,
    Event,
    Failed,
    Generate,
    Improve,
    Improved,
    Progress,
    Ready,
    Request,
    Shutdown,
    Stopped,
    StopUpdate,
    Tokenize,
    Update,
    Updated,
    decode_command,
    encode_event,
)
from dittod.engine.room import Room
from dittod.engine.tokens import detokenized, tokenized
from dittod.engine.update import update
from dittod.errors import DittodError, RequestError, keep_texts_out_of_tracebacks, place_of
from dittod.learner.preset import preset
from dittod.model.decode import Decoder
from dittod.model.facts import facts
from dittod.model.load import BaseModel, load_base
from dittod.model.lora import LoraAdapters
from dittod.types import Plan

log = logging.getLogger("dittod.engine")

Steps = Generator[Progress | Improved | None, None, Updated | Done]
SERVING_ROWS = 16  # answers decoded together


@dataclass(slots=True)
class _Running:
    command: Update | Improve
    steps: Steps


class Worker:
    """The state of the loop: what is being answered, and what is being learnt or tried."""

    def __init__(self, base: BaseModel, room: Room, output: BinaryIO) -> None:
        self._base = base
        self._room = room
        self._adapters = LoraAdapters(base)
        self._embeddings = Embeddings(base, self._adapters)
        self._begin_to_answer(room.conversations_bytes(None))
        self._arrived: dict[str, Request] = {}  # and not begun yet, in order
        self._answering: set[str] = set()  # requests whose Done is still to come
        self._work: _Running | None = None
        self._output = output

    def loop(self, commands: queue.SimpleQueue[Command]) -> None:
        """Until the parent says Shutdown."""
        self._send(self._ready())
        while True:
            for command in _waiting(commands, block=not self._is_asked and self._work is None):
                if isinstance(command, Shutdown):
                    self._stop_work()
                    return
                self._obey(command)
            self._turn()

    def _turn(self) -> None:
        """One unit of work for those who asked, or of learning where nobody did."""
        if not self._is_asked and self._work is not None:
            self._go_on(self._work)
        if self._arrived:  # one at a time: its prompt and its schema take a while, for which running answers wait
            self._reply(self._arrived.pop(next(iter(self._arrived))))
        if self._answers.busy:
            self._go_on_with_answers(self._answers.step)
        if self._embeddings.busy:
            self._advance_embeddings()

    @property
    def _is_asked(self) -> bool:
        return bool(self._arrived) or self._answers.busy or self._embeddings.busy

    def _go_on_with_answers(self, step: Callable[[], Sequence[Event] | None]) -> None:
        """Something that touches all answers. If it fails, they fail together; the engine and the update go on."""
        failed = False
        try:
            events = list(step() or ())
        except Exception as error:
            events, failed = [_failure(request_id, error) for request_id in self._answering], True
        if failed:  # not before the exception is gone: its traceback holds on to the step's tensors
            self._drop_answers()
        self._answering -= {event.id for event in events if isinstance(event, Done | Failed)}
        self._send(*events)

    def _drop_answers(self) -> None:
        """What a failed step has left. Where even that fails, for want of memory say, it goes with the decoder."""
        with contextlib.suppress(Exception):
            self._answers.drop_all()
            if not self._answers.busy:
                return
        self._begin_to_answer(self._decoder.prefixes.limit_bytes)

    def _begin_to_answer(self, prefix_bytes: int) -> None:
        self._decoder = Decoder(
            self._base, self._adapters, max_rows=SERVING_ROWS, prefix_bytes=prefix_bytes, reproducible=True
        )
        self._answers = Answers(self._base, self._adapters, self._decoder)

    def _advance_embeddings(self) -> None:
        """One step for the request whose turn it is, which alone fails with it."""
        request_id = self._embeddings.oldest
        try:
            events: list[Event] = list(self._embeddings.step())
        except Exception as error:
            events = [_failure(request_id, error)]
            self._embeddings.cancel(request_id)
        self._send(*events)

    def _obey(self, command: Command) -> None:
        match command:
            case Generate() | Embed() | Tokenize() | Detokenize():
                self._arrived[command.id] = command
            case Cancel():
                self._arrived.pop(command.id, None)
                self._answering.discard(command.id)
                self._go_on_with_answers(partial(self._answers.cancel, command.id))
                self._embeddings.cancel(command.id)
                if self._is_at(Improve, command.id):
                    self._end_work()
            case Update():
                self._start_update(command)
            case StopUpdate():
                if self._is_at(Update):
                    self._stop_work()
            case Improve():
                self._start_prompts(command)

    def _reply(self, request: Request) -> None:
        """Begin what a request asks for, and say what can be said at once. Its failure is its own."""
        try:
            event = self._begun(request)
        except Exception as error:
            event = _failure(request.id, error)
        if event is not None:
            self._send(event)

    def _begun(self, request: Request) -> Event | None:
        match request:
            case Generate():
                self._answers.start(request)
                self._answering.add(request.id)
                return Accepted(request.id)
            case Embed():
                self._embeddings.start(request)
                return None
            case Tokenize():
                return tokenized(self._base, request)
            case Detokenize():
                return detokenized(self._base, request)

    def _start_update(self, command: Update) -> None:
        self._stop_work()
        try:
            bench = self._room.workbench(self._base, self._adapters, command)
            log.info("update %s: %s", command.id, bench.plan)
        except Exception as error:
            self._send(_failure(command.id, error))
            return
        self._begin_work(command, bench.plan, tidied(update(bench, command)))

    def _start_prompts(self, command: Improve) -> None:
        if self._is_at(Update):  # it goes first; prompts are sent again when there is time
            self._send(Stopped(command.id))
            return
        self._stop_work()
        try:
            bench = self._room.workbench_for_prompts(self._base, self._adapters, command)
        except Exception as error:
            self._send(_failure(command.id, error))
            return
        self._begin_work(command, bench.plan, improve(bench, command))

    def _is_at(self, kind: type[Update | Improve], id: str | None = None) -> bool:
        return self._work is not None and isinstance(self._work.command, kind) and id in (None, self._work.command.id)

    def _stop_work(self) -> None:
        if self._work is not None:
            stopped = Stopped(self._work.command.id)
            self._end_work()  # first: an update writes the checkpoint that the event tells of
            self._send(stopped)

    def _go_on(self, running: _Running) -> None:
        event: Event | None
        try:
            event, ended = next(running.steps), False
        except StopIteration as end:
            event, ended = end.value, True
        except Exception as error:
            event, ended = _failure(running.command.id, error), True
        if event is not None:
            self._send(event)
        if ended:  # not before the exception is gone: its traceback holds on to the step's tensors
            self._end_work()

    def _begin_work(self, command: Update | Improve, plan: Plan, steps: Steps) -> None:
        self._decoder.prefixes.limit_bytes = self._room.conversations_bytes(plan)
        self._work = _Running(command, steps)

    def _end_work(self) -> None:
        if self._work is not None:
            self._work.steps.close()
        self._work = None
        self._decoder.prefixes.limit_bytes = self._room.conversations_bytes(None)
        give_memory_back()

    def _ready(self) -> Ready:
        base = self._base
        return Ready(base.name, base.revision, base.template_sha256, base.context_tokens, memory_bytes(), **facts(base))

    def _send(self, *events: Event) -> None:
        """All at once: each write wakes the parent up, which took 7 % of the time of 16 answers."""
        if events:
            self._output.write(b"".join(map(encode_event, events)))
            self._output.flush()


def _waiting(commands: queue.SimpleQueue[Command], *, block: bool) -> list[Command]:
    """Every command that has come in; with `block`, waits for the first."""
    found = [commands.get()] if block else []
    while not commands.empty():
        found.append(commands.get())
    return found


def _failure(request_id: str, error: Exception) -> Failed:
    """What the parent is told. Text of the user may hide in an exception's message, so only its kind is logged."""
    if isinstance(error, RequestError):
        return Failed(request_id, error.title, error.hint, 400, error.param, error.code)
    if isinstance(error, DittodError):
        return Failed(request_id, error.title, error.hint, 500)
    log.error("fault in the engine: %s", place_of(error))
    return Failed(request_id, f"{type(error).__name__} in the engine", "see logs/engine.log; it names the place", 500)


def memory_bytes() -> int:
    """Resident memory of this process, plus what it holds on the GPU."""
    on_gpu = torch.cuda.memory_reserved() if torch.cuda.is_available() else 0
    return int(psutil.Process().memory_info().rss) + int(on_gpu)


def tidied(steps: Generator[Progress, None, Updated]) -> Generator[Progress, None, Updated]:
    """An update that gives memory back where a phase begins or ends: what one freed in pieces is lost to the next."""
    phase = ""
    try:
        while True:
            try:
                progress = next(steps)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            if progress.phase != phase or progress.done == progress.of:
                give_memory_back()
            phase = progress.phase
            yield progress
    finally:
        steps.close()


def give_memory_back() -> None:
    """Resident memory stayed four times as high after an update without it (measured on glibc)."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


def _read_commands(source: BinaryIO, commands: queue.SimpleQueue[Command]) -> None:
    """In a thread of its own. The pipe's end means that the parent is gone: nothing is owed to anybody any more."""
    try:
        for line in source:
            commands.put(decode_command(line))
    except Exception as error:
        log.error("a command cannot be understood: %s", place_of(error))
        os._exit(1)
    os._exit(0)


def _claim_stdout() -> BinaryIO:
    """The pipe to the parent; whatever a library prints goes to stderr instead."""
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return pipe


def main() -> None:
    """The process: load the base model, then obey."""
    parser = argparse.ArgumentParser(prog="python -m dittod.engine")
    parser.add_argument("--base-model", required=True)
    parser.add_argument("--quantisation", choices=["auto", "none", "nf4"], default="auto")
    parser.add_argument("--memory-budget", type=int, help="bytes; by the machine, if it is not given")
    parser.add_argument(
        "--preset", default="clean", help="of the updates to come: it has a say in the memory they take"
    )
    parser.add_argument("--learner", type=json.loads, default={}, help="overrides of its numbers, as JSON")
    parser.add_argument("--cache", type=Path, help="a folder for quantised base models")
    given = parser.parse_args()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    keep_texts_out_of_tracebacks(log)
    output = _claim_stdout()
    commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
    reader = threading.Thread(target=_read_commands, args=(sys.stdin.buffer, commands), daemon=True)
    reader.start()
    try:
        room = Room.of(given.base_model, given.memory_budget)
        quantisation = room.quantisation(given.quantisation, preset(given.preset, given.learner))
        base = load_base(given.base_model, quantisation=quantisation, cache=given.cache)
        give_memory_back()  # what quantising took
    except DittodError as error:
        output.write(encode_event(Failed("", error.title, error.hint, 500)))
        output.flush()
        os._exit(2)
    Worker(base, room, output).loop(commands)
    os._exit(0)  # nothing is left to tidy, and the reader still sits on stdin, which an orderly exit trips over
