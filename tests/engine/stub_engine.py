"""Speaks the engine's protocol without a model, and fails as its `--base-model` says. Started by `stubs.stub_engine`.

It answers every request with one Done, one for 'too much' with a failure, and every update with one step; an adapter
with the id 'bad' kills it.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from dittod.engine.protocol import (
    OUT_OF_MEMORY,
    Done,
    Event,
    Failed,
    Generate,
    Memory,
    Ping,
    Progress,
    Ready,
    Shutdown,
    Stopped,
    StopUpdate,
    Update,
    decode_command,
    encode_event,
)


def say(event: Event) -> None:
    """To the parent."""
    sys.stdout.buffer.write(encode_event(event))
    sys.stdout.buffer.flush()


def load(model: str) -> None:
    """As far as it gets."""
    match model:
        case "dies":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "refuses":
            say(Failed("", "there is no such model", "set base_model", 500))
            os._exit(2)
        case "hangs":
            time.sleep(60)
        case "takes its time":
            time.sleep(1)
        case "talks":
            sys.stderr.write("x" * 3_000_000)
            sys.stderr.flush()


def answer(asked: Generate) -> None:
    """Or fail, die, or say nothing."""
    if asked.adapter is not None and asked.adapter.id == "bad":
        os.kill(os.getpid(), signal.SIGABRT)
    if asked.prompt == "too much":
        say(Failed(asked.id, "memory ran out", "ask for less", 503, code=OUT_OF_MEMORY))
    elif asked.id != "never":
        say(Done(asked.id, 1, 1))


def obey() -> None:
    """Until Shutdown, or the end of the pipe."""
    update: str | None = None
    for line in sys.stdin.buffer:
        match decode_command(line):
            case Shutdown():
                if update:
                    say(Stopped(update))
                return
            case StopUpdate() if update:
                say(Stopped(update))
                update = None
            case Update(id=id):
                update = id
                say(Progress(id, "supervised", 1, 9))
            case Ping():
                say(Memory(124, 45))
            case Generate() as asked:
                answer(asked)


if __name__ == "__main__":
    load(sys.argv[sys.argv.index("--base-model") + 1])
    say(Ready("stub", "r", "t", 512, 1))
    say(Memory(123, 45))
    obey()
