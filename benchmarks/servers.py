"""Three servers on the same weights, each started as its users start it, on loopback, in a folder of its own.

Every one is waited for until it answers, and ended with the block. Nothing is measured here.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from as_gguf import write_gguf
from rich.console import Console
from stream_client import Address, ask_all

DITTOD, TRANSFORMERS, BATCHING, LLAMA = "dittod", "transformers", "transformers, batching", "llama.cpp"
ROWS = 16  # answers at a time that llama.cpp's server makes room for: as many as ours decodes together
BATCHING_OPTIONS = (
    *("--continuous-batching", "--cb-num-blocks", "128", "--cb-block-size", "256"),
    *("--cb-max-batch-tokens", "1024"),  # left to itself, it takes 60 % of the memory, and is no faster
)
ERR = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Setup:
    """What all of them are started with."""

    model: Path
    threads: int
    llama_server: str | None
    gguf: Path | None  # None: written from `model`


@dataclass(frozen=True, slots=True)
class Server:
    """One that answers."""

    name: str
    model: str  # what it calls the model
    address: Address
    process: psutil.Popen

    def body(self, text: str, *, tokens: int, temperature: float) -> dict[str, Any]:
        """A streamed chat completion that every one of them takes."""
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": text}],
            "max_tokens": tokens,
            "temperature": temperature,
            "stream": True,
            "stream_options": {"include_usage": True},
        }

    def cpu_seconds(self) -> float:
        """Processor time that it and its children have taken."""
        times = [each.cpu_times() for each in (self.process, *self.process.children(recursive=True))]
        return sum(each.user + each.system for each in times)


def endless(model: Path, copy: Path) -> Path:
    """A copy of the model that never ends a text: its end is the padding token, which no training text held."""
    shutil.copytree(model, copy, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    config = json.loads((copy / "config.json").read_text())
    if config.get("pad_token_id") in (None, config["eos_token_id"]):
        raise SystemExit(f"{model}: a model with a padding token of its own is needed, to end no text with")
    tokenizer = json.loads((copy / "tokenizer_config.json").read_text())
    for name in ("config.json", "generation_config.json"):
        _change(copy / name, {"eos_token_id": config["pad_token_id"]})
    _change(copy / "tokenizer_config.json", {"eos_token": tokenizer["pad_token"]})
    return copy


def _change(file: Path, values: dict[str, Any]) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


@contextmanager
def started(setup: Setup, folder: Path) -> Iterator[list[Server]]:
    """All of them, warm; without llama.cpp's where its program is not there."""
    with ExitStack() as running:
        servers = [
            running.enter_context(_dittod(setup, folder / "dittod")),
            running.enter_context(_transformers(TRANSFORMERS, setup, folder / "transformers", ())),
            running.enter_context(_transformers(BATCHING, setup, folder / "batching", BATCHING_OPTIONS)),
        ]
        if setup.llama_server:
            servers.append(running.enter_context(_llama(setup, folder / "llama")))
        yield servers


@contextmanager
def _dittod(setup: Setup, place: Path) -> Iterator[Server]:
    """Nothing is in its folder: it serves, and learns nothing."""
    port = _free_port()
    settings = {"DITTOD_HOME": str(place / "home"), "DITTOD_PORT": str(port), "DITTOD_BASE_MODEL": str(setup.model)}
    settings["OMP_NUM_THREADS"] = str(setup.threads)
    place.mkdir()
    subprocess.run([_program("dittod"), "init"], env=os.environ | settings, check=True, stdout=subprocess.DEVNULL)
    told = subprocess.run([_program("dittod"), "token"], env=os.environ | settings, check=True, stdout=subprocess.PIPE)
    with _running([_program("dittod"), "run"], settings, place) as process:
        yield _warm(Server(DITTOD, "base", Address(port, told.stdout.decode().strip()), process), place)


@contextmanager
def _transformers(name: str, setup: Setup, place: Path, options: Sequence[str]) -> Iterator[Server]:
    port = _free_port()
    command = [_program("transformers"), "serve", str(setup.model), "--host", "127.0.0.1", "--port", str(port)]
    variables = {"OMP_NUM_THREADS": str(setup.threads), "HF_HUB_OFFLINE": "1"}
    place.mkdir()
    with _running([*command, *options], variables, place) as process:
        yield _warm(Server(name, str(setup.model), Address(port, "none"), process), place)


@contextmanager
def _llama(setup: Setup, place: Path) -> Iterator[Server]:
    assert setup.llama_server is not None
    place.mkdir()
    if (file := setup.gguf) is None:
        write_gguf(setup.model, file := place / "model.gguf")
    port, threads = _free_port(), str(setup.threads)
    context = json.loads((setup.model / "config.json").read_text())["max_position_embeddings"]
    command = [setup.llama_server, "-m", str(file), "--host", "127.0.0.1", "--port", str(port), "--jinja"]
    command += ["-t", threads, "-tb", threads, "-np", str(ROWS), "-c", str(ROWS * context)]
    with _running(command, {"OMP_NUM_THREADS": threads}, place) as process:
        yield _warm(Server(LLAMA, "model", Address(port, "none"), process), place)


def _program(name: str) -> str:
    """The one of this very Python."""
    return str(Path(sys.executable).with_name(name))


def _free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


@contextmanager
def _running(command: list[str], variables: Mapping[str, str], place: Path) -> Iterator[psutil.Popen]:
    with (place / "log").open("wb") as log:
        process = psutil.Popen(
            command, env=os.environ | dict(variables), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait()


def _warm(server: Server, place: Path) -> Server:
    """After two answers. Raises SystemExit with its last words if it gives none."""
    answered, until = 0, time.monotonic() + 180
    while answered < 2:
        body = server.body("warm up", tokens=16, temperature=0.7)
        reply = ask_all(server.address, [body], 1).replies[0]
        answered += reply.error is None
        if server.process.poll() is not None or time.monotonic() > until:
            last = (place / "log").read_text(errors="replace")[-2000:]
            raise SystemExit(f"{server.name} does not answer: {reply.error}\n{last}")
        time.sleep(0 if reply.error is None else 0.5)
    ERR.print(f"{server.name} answers")
    return server
