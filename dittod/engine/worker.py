"""The engine's loop: one base model that serves and learns, never both at once.

If a request is waiting or running, begin one and decode one token for all running requests; otherwise advance the
update, or the prompts that are tried while there is none, by one micro-step; otherwise sleep. A request that arrives
while learning therefore waits for one micro-step at most, and running ones wait for the beginning of one at most. Where
requests never end, learning gets a tenth of the time, in micro-steps between two tokens and never before a first one.

Learning gives way to an answer that needs its memory: it is left at its checkpoint, and goes on when there is quiet.
Knows the pipe and the model; knows nothing of HTTP, the store, or which adapter an alias means.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO, NoReturn

import torch

from dittod.engine.answers import WITHDRAWN, Answers, is_touched
from dittod.engine.consideration import Standing, be_considerate, be_the_first_to_go
from dittod.engine.embeddings import Embeddings
from dittod.engine.improve import improve
from dittod.engine.protocol import (
    DISK_FULL,
    OUT_OF_MEMORY,
    Accepted,
    Cancel,
    Command,
    Detokenize,
    Done,
    Embed,
    Event,
    Failed,
    Forget,
    Generate,
    Improve,
    Improved,
    Memory,
    Noted,
    Ping,
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
from dittod.errors import (
    DittodError,
    EngineUnavailable,
    RequestError,
    disk_is_full,
    keep_texts_out_of_tracebacks,
    place_of,
)
from dittod.learner.preset import preset
from dittod.learner.workbench import Workbench
from dittod.model.decode import Decoder
from dittod.model.facts import facts
from dittod.model.footprint import card_bytes, give_memory_back, ran_out, resident_bytes
from dittod.model.load import BaseModel, load_base
from dittod.model.lora import LoraAdapters
from dittod.types import Plan

log = logging.getLogger("dittod.engine")

Steps = Generator[Progress | Improved | None, None, Updated | Done]
SERVING_ROWS = 16  # answers decoded together
LEARNING_SHARE = 0.1  # of the time, at least, however many requests there are
AGAIN_SECONDS = 5.0  # without a request, until learning that gave way goes on: its beginning takes a second or so
SETTLED_SECONDS = 1.0  # without anything to do, until memory goes back to the system
SHORT = "memory ran out while answering: learning waits until there is quiet"
TOLD_SECONDS, TOLD_BYTES = 1.0, 16 << 20  # how often, and from which change on, the parent hears of memory
clock = time.monotonic


@dataclass(slots=True)
class _Running:
    command: Update | Improve
    bench: Workbench
    steps: Steps


@dataclass(slots=True)
class _Told:
    """What the parent knows of memory."""

    at: float
    memory: Memory

    def new(self, *, at_once: bool = False) -> Memory | None:
        """What it should hear now."""
        if not at_once and clock() - self.at < TOLD_SECONDS:
            return None
        now, before, self.at = Memory(resident_bytes(), card_bytes()), self.memory, clock()
        if max(abs(now.bytes - before.bytes), abs(now.gpu_bytes - before.gpu_bytes)) <= TOLD_BYTES:
            return None
        self.memory = now
        return now


class Worker:
    """The state of the loop: what is being answered, and what is being learnt or tried."""

    def __init__(self, base: BaseModel, room: Room, output: BinaryIO, standing: Standing | None = None) -> None:
        self._base = base
        self._room = room
        self._adapters = LoraAdapters(base)
        self._work: _Running | None = None
        self._begin_to_answer()
        readable = replace(base, context_tokens=self._decoder.longest)  # no text is embedded that could not be read
        self._embeddings = Embeddings(readable, self._adapters)
        self._arrived: dict[str, Request] = {}  # and not begun yet, in order
        self._answering: dict[str, None] = {}  # requests whose Done is still to come, in order
        self._set_aside: Update | None = None  # an update that gave way, to be begun again
        self._asked_at = 0.0  # when somebody last was to be answered
        self._learnt_seconds = 0.0  # the latest micro-step's
        self._waited_seconds = 0.0  # since, while others were answered
        self._told = _Told(clock(), Memory(resident_bytes(), card_bytes()))
        self._settled_bytes = self._told.memory.bytes  # resident when memory last went back
        self._standing = standing or Standing()
        self._learner = ThreadPoolExecutor(1, "learner", initializer=be_considerate)
        self._output = output

    def loop(self, commands: queue.SimpleQueue[Command]) -> None:
        """Until the parent says Shutdown."""
        self._send(self._ready())
        while True:
            for command in self._heard(commands):
                if isinstance(command, Shutdown):
                    self._stop_work()
                    return
                self._obey(command)
            self._turn()
            self._tell_memory()

    def _heard(self, commands: queue.SimpleQueue[Command]) -> list[Command]:
        """What has come in. Where nothing is to be done, waits for it, and gives memory back meanwhile."""
        if self._is_asked or self._work is not None:
            return _waiting(commands)
        with contextlib.suppress(queue.Empty):
            return [commands.get(timeout=SETTLED_SECONDS), *_waiting(commands)]
        if abs(resident_bytes() - self._settled_bytes) > TOLD_BYTES:
            give_memory_back()
            self._settled_bytes = resident_bytes()
        self._tell_memory(at_once=True)
        with contextlib.suppress(queue.Empty):
            return [commands.get(timeout=AGAIN_SECONDS if self._set_aside else None), *_waiting(commands)]
        return []

    def _tell_memory(self, *, at_once: bool = False) -> None:
        news = self._told.new(at_once=at_once)
        if news is not None:
            self._send(news)

    def _turn(self) -> None:
        """One unit of work for those who asked, or of learning where nobody did or it has waited for long."""
        if self._work is not None and self._learns_now:
            self._go_on(self._work)
        begun = clock()
        if self._is_asked:
            self._serve()
            self._asked_at = clock()
        elif self._set_aside is not None and begun - self._asked_at >= AGAIN_SECONDS:
            self._start_update(self._set_aside)
        self._waited_seconds += clock() - begun

    def _serve(self) -> None:
        self._standing.set(behind=False)
        if self._arrived:  # one at a time: its prompt and its schema take a while, for which running answers wait
            self._reply(self._arrived.pop(next(iter(self._arrived))))
        if self._decoder.exceeds:
            self._give_way("an answer needed the memory: learning waits until there is quiet")
        if self._answers.busy:
            self._go_on_with_answers(self._answers.step)
        if self._embeddings.busy:
            self._advance_embeddings()

    @property
    def _learns_now(self) -> bool:
        if not self._is_asked:
            return True
        if self._arrived or self._decoder.reads:
            return False
        return self._waited_seconds * LEARNING_SHARE >= self._learnt_seconds * (1 - LEARNING_SHARE)

    @property
    def _is_asked(self) -> bool:
        return bool(self._arrived) or self._answers.busy or self._embeddings.busy

    def _go_on_with_answers(self, step: Callable[[], Sequence[Event] | None]) -> None:
        """Something that touches all answers. If it fails, they fail together; the engine and the update go on. If it
        fails for want of memory, learning gives way, or the latest fails alone."""
        events: Sequence[Event] = ()
        failed: list[Failed] | None = None
        short = False
        try:
            events = step() or ()
        except Exception as error:
            failed, short = self._failures(error), ran_out(error)
        if short:
            self._give_way(SHORT)
        if failed is not None:  # not before the exception is gone: its traceback holds on to the step's tensors
            events = failed
            self._recover(failed)
        for event in events:
            if isinstance(event, Done | Failed):
                self._answering.pop(event.id, None)
        self._send(*events)

    def _failures(self, error: Exception) -> list[Failed]:
        """Of those who fail of it; the others go on."""
        failing = list(self._answering)
        if ran_out(error):
            failing = [] if self._work is not None else failing[-1:]
        return [_failure(request_id, error) for request_id in failing]

    def _recover(self, failed: Sequence[Failed]) -> None:
        """From a step that left answers half done. Where even that fails, for want of memory say, all goes with the
        decoder."""
        with contextlib.suppress(Exception):
            if len(failed) < len(self._answering):
                self._decoder.begin_again()
                for each in failed:
                    self._answers.cancel(each.id)
                give_memory_back()
                return
            self._answers.drop_all()
            if not self._answers.busy:
                return
        self._begin_to_answer()

    def _begin_to_answer(self) -> None:
        self._decoder = Decoder(
            self._base,
            self._adapters,
            max_rows=SERVING_ROWS,
            reproducible=True,
            most_bytes=self._room.answers_bytes(self._base, None),
        )
        self._answers = Answers(self._base, self._adapters, self._decoder)
        self._share_out(self._work.bench.plan if self._work else None)

    def _advance_embeddings(self) -> None:
        """One step for the request whose turn it is, which alone fails with it. For want of memory, learning gives way
        first, and the step is begun again."""
        request_id = self._embeddings.oldest
        events: Sequence[Event] = ()
        short = False
        try:
            events = self._embeddings.step()
        except Exception as error:
            short = self._work is not None and ran_out(error)
            if not short:
                events = [_failure(request_id, error)]
                self._embeddings.cancel(request_id)
        if short:
            self._give_way(SHORT)
        self._send(*events)

    def _obey(self, command: Command) -> None:
        match command:
            case Generate() | Embed() | Tokenize() | Detokenize():
                self._arrived[command.id] = command
            case Cancel():
                self._arrived.pop(command.id, None)
                self._answering.pop(command.id, None)
                self._go_on_with_answers(partial(self._answers.cancel, command.id))
                self._embeddings.cancel(command.id)
                if self._is_at(Improve, command.id):
                    self._end_work()
            case Forget():
                self._go_on_with_answers(partial(self._forget, command))
            case Update():
                self._start_update(command)
            case StopUpdate():
                if self._is_at(Update) or self._set_aside is not None:
                    self._stop_work()
            case Improve():
                self._start_prompts(command)
            case Ping():
                self._send(Memory(resident_bytes(), card_bytes()))

    def _forget(self, command: Forget) -> list[Event]:
        """Who asked for one of these is told to ask again, also where nothing was begun yet."""
        touched = [
            key
            for key, each in self._arrived.items()
            if isinstance(each, Generate) and is_touched(each, command.adapter_ids)
        ]
        for key in touched:
            del self._arrived[key]
        dropped = [*touched, *self._answers.forget(command.adapter_ids)]
        give_memory_back()
        return [_failure(each, EngineUnavailable(*WITHDRAWN)) for each in dropped]

    def _reply(self, request: Request) -> None:
        """Begin what a request asks for, and say what can be said at once. Its failure is its own; for want of memory,
        learning gives way first, and it is begun again."""
        event, short = self._tried(request)
        if short and self._work is not None:
            self._give_way(SHORT)
            event, _ = self._tried(request)
        if event is not None:
            self._send(event)

    def _tried(self, request: Request) -> tuple[Event | None, bool]:
        """What to say, and whether it failed for want of memory."""
        try:
            return self._begun(request), False
        except Exception as error:
            return _failure(request.id, error), ran_out(error)

    def _begun(self, request: Request) -> Event | None:
        match request:
            case Generate():
                self._answers.start(request)
                self._answering[request.id] = None
                return Accepted(request.id)
            case Embed():
                self._embeddings.start(request)
                return None
            case Tokenize():
                return tokenized(self._base, request)
            case Detokenize():
                return detokenized(self._base, request)

    def _start_update(self, command: Update) -> None:
        if self._set_aside is not command:
            self._stop_work()
        self._set_aside = None
        try:
            bench = self._room.workbench(self._base, self._adapters, command)
            log.info("update %s: %s", command.id, bench.plan)
        except Exception as error:
            self._send(_failure(command.id, error))
            return
        if not self._begin_work(command, bench, tidied(update(bench, command))):
            self._set_aside = command

    def _start_prompts(self, command: Improve) -> None:
        if self._is_at(Update) or self._set_aside is not None:
            self._send(Stopped(command.id))  # it goes first; prompts are sent again when there is time
            return
        self._stop_work()
        try:
            bench = self._room.workbench_for_prompts(self._base, self._adapters, command)
        except Exception as error:
            self._send(_failure(command.id, error))
            return
        if not self._begin_work(command, bench, improve(bench, command)):
            self._send(Stopped(command.id))

    def _is_at(self, kind: type[Update | Improve], id: str | None = None) -> bool:
        return self._work is not None and isinstance(self._work.command, kind) and id in (None, self._work.command.id)

    def _stop_work(self) -> None:
        left = self._work.command if self._work is not None else self._set_aside
        self._end_work()  # first: an update writes the checkpoint that the event tells of
        self._set_aside = None
        if left is not None:
            self._send(Stopped(left.id))

    def _give_way(self, why: str) -> None:
        """Leave the memory of what is learnt to those who ask."""
        if self._work is None:
            return
        command = self._work.command
        if isinstance(command, Improve):
            self._stop_work()  # prompts are sent again when there is time
            return
        self._end_work()
        self._set_aside = command
        self._send(Noted(command.id, why))

    def _go_on(self, running: _Running) -> None:
        """One micro-step, in a thread of its own: the system can put that behind other programs, and this one not."""
        event: Event | None
        if not self._is_asked:
            self._standing.set(behind=True)
        begun = clock()
        try:
            event, ended = self._learner.submit(_next, running.steps).result()
        except Exception as error:
            event, ended = _failure(running.command.id, error), True
        self._learnt_seconds, self._waited_seconds = clock() - begun, 0.0
        self._send(*(Noted(running.command.id, sentence) for sentence in running.bench.notes), *running.bench.drawn)
        running.bench.notes.clear()
        running.bench.drawn.clear()
        if event is not None:
            self._send(event)
        if ended:  # not before the exception is gone: its traceback holds on to the step's tensors
            self._end_work()

    def _begin_work(self, command: Update | Improve, bench: Workbench, steps: Steps) -> bool:
        """False: answers hold more than would be left to them."""
        room_bytes = self._room.answers_bytes(self._base, bench.plan)
        if self._decoder.held_bytes - self._decoder.prefixes.size_bytes > room_bytes:
            steps.close()
            return False
        self._share_out(bench.plan)
        give_memory_back()
        self._work = _Running(command, bench, steps)
        return True

    def _share_out(self, plan: Plan | None) -> None:
        """Memory to those who ask."""
        self._decoder.room_bytes = self._room.answers_bytes(self._base, plan)
        self._decoder.prefixes.limit_bytes = self._room.conversations_bytes(plan)

    def _end_work(self) -> None:
        if self._work is None:
            return
        try:
            self._work.steps.close()
        except Exception as error:  # for want of memory, say: its checkpoint before counts
            if card_is_broken(error):
                raise
            log.error("the steps since the last checkpoint are lost: %s", place_of(error))
        self._work = None
        self._share_out(None)
        give_memory_back()

    def _ready(self) -> Ready:
        base, held = self._base, self._told.memory
        return Ready(
            base.name,
            base.revision,
            base.template_sha256,
            base.context_tokens,
            held.bytes + held.gpu_bytes,
            **facts(base),
            budget_bytes=self._room.budget_bytes,
        )

    def _send(self, *events: Event) -> None:
        """All at once: each write wakes the parent up, which took 7 % of the time of 16 answers."""
        if events:
            self._output.write(b"".join(map(encode_event, events)))
            self._output.flush()


def _next(steps: Steps) -> tuple[Progress | Improved | Updated | Done | None, bool]:
    """What the next micro-step says, and whether it was the last."""
    try:
        return next(steps), False
    except StopIteration as end:
        return end.value, True


def _waiting(commands: queue.SimpleQueue[Command]) -> list[Command]:
    """Every command that has come in."""
    found = []
    while not commands.empty():
        found.append(commands.get())
    return found


def _failure(request_id: str, error: Exception) -> Failed:
    """What the parent is told. Text of the user may hide in an exception's message, so only its kind is logged. Raises
    what breaks the card: the engine ends of it."""
    if card_is_broken(error):
        raise error
    if isinstance(error, RequestError):
        return Failed(request_id, error.title, error.hint, 400, error.param, error.code)
    if isinstance(error, DittodError):
        return Failed(request_id, error.title, error.hint, 503 if isinstance(error, EngineUnavailable) else 500)
    log.error("fault in the engine: %s", place_of(error))
    if disk_is_full(error):
        return Failed(request_id, "the disk is full", "make room on it", 500, code=DISK_FULL)
    if ran_out(error):
        return Failed(
            request_id,
            "memory ran out",
            "close other programs, or ask for less at a time; then try again",
            503,
            code=OUT_OF_MEMORY,
        )
    return Failed(request_id, f"{type(error).__name__} in the engine", "see logs/engine.log; it names the place", 500)


def card_is_broken(error: Exception) -> bool:
    """Whether CUDA has failed in another way than for want of memory: nothing can be computed in this process then."""
    if not isinstance(error, RuntimeError) or ran_out(error):
        return False
    return isinstance(error, getattr(torch, "AcceleratorError", ())) or "CUDA error:" in str(error)


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


def _read_commands(source: BinaryIO, commands: queue.SimpleQueue[Command], standing: Standing) -> None:
    """In a thread of its own. The pipe's end means that the parent is gone: nothing is owed to anybody any more."""
    try:
        for line in source:
            commands.put(decode_command(line))
            standing.set(behind=False)  # the micro-step that somebody may now wait for is to end soon
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
    keep_texts_out_of_tracebacks(log)
    be_the_first_to_go()
    output = _claim_stdout()
    commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
    standing = Standing()
    reader = threading.Thread(target=_read_commands, args=(sys.stdin.buffer, commands, standing), daemon=True)
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
    except Exception as error:
        _end_of(error)
    try:
        Worker(base, room, output, standing).loop(commands)
    except Exception as error:
        _end_of(error)
    os._exit(0)  # nothing is left to tidy, and the reader still sits on stdin, which an orderly exit trips over


def _end_of(error: Exception) -> NoReturn:
    """The parent finds the kind of it in the log, and starts another engine."""
    what = "the graphics card failed" if card_is_broken(error) else "not caught"
    log.critical("%s: %s", what, place_of(error))
    os._exit(1)
