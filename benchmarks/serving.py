"""How fast is the endpoint beside transformers' server and llama.cpp's, on the same weights and as many threads?

Each is asked for streamed chat completions of 64 tokens. Rounds of one server and the next alternate, so that what else
the machine does meets all of them; while one works, the others idle. Ratios are taken within a pass over all servers,
and their median is what counts; the two figures are of the prompt length that is worse for us, at 8 streams. Processor
time is less noisy than the clock on a machine with other work.

The model is a copy in which the padding token ends a text, which is never drawn: every answer has its 64 tokens, and no
server is asked for anything unusual. Prompts are random words, begun differently: no server finds one in its cache.
transformers' server is there twice, as it is by default, one request after another, and with continuous batching; the
figure is against the faster one. Adapters and quality are not measured here.

    python benchmarks/serving.py [--quick] [--model FOLDER] [--threads N] [--passes N]
        [--llama-server PATH] [--gguf FILE]

llama-server is looked for in $LLAMA_SERVER and PATH. Without it that side is left out. To build it from the tree that
llama-cpp-python's source distribution holds in vendor/llama.cpp:

    cmake -S . -B build -DLLAMA_OPENSSL=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DBUILD_SHARED_LIBS=OFF
    cmake --build build --target llama-server
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table
from servers import BATCHING, DITTOD, ERR, LLAMA, TRANSFORMERS, Server, Setup, endless, started
from stream_client import Reply, Round, ask_all
from tokenizers import Tokenizer

from dittod.starter import starter_path

TOKENS = 64  # of each answer
PROMPTS = (50, 500)  # tokens of the user's text, about
STREAMS = (1, 4, 8, 16)
AIMED_AT = 8  # the number of streams for which the aims are set
REQUESTS = 1000  # of ours, at least, in a whole run
CHECKED = 32  # tokens of the greedy answers that are compared


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of a server in one round."""

    prompt_tokens: int
    streams: int

    @property
    def requests(self) -> int:
        return max(4, 2 * self.streams)

    def __str__(self) -> str:
        return f"{self.prompt_tokens} tokens, {self.streams} streams"


@dataclass(frozen=True, slots=True)
class Taken:
    """One round, and the processor time that the server took for it."""

    round: Round
    cpu_seconds: float

    @property
    def tokens(self) -> int:
        return sum(reply.tokens for reply in self.round.replies)

    @property
    def speed(self) -> float:
        """Tokens a second of all streams together."""
        return self.tokens / self.round.seconds

    @property
    def thrift(self) -> float:
        """Tokens a second of processor time."""
        return self.tokens / self.cpu_seconds


Results = dict[str, dict[Load, list[Taken]]]  # by server and load, one round for each pass


class Words:
    """Texts of random words, each of which is one token."""

    def __init__(self, model: Path) -> None:
        self.tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
        words = (word[1:] for word in self.tokenizer.get_vocab() if word.startswith("Ġ"))
        self._words = sorted(word for word in words if word.isascii() and word.isalpha() and len(word) > 2)
        self._chance = random.Random(0)

    def text(self, tokens: int) -> str:
        return " ".join(self._chance.choices(self._words, k=tokens))


def main() -> None:
    """Table on stdout, one JSON object as the last line."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers end with it
    given = _arguments()
    if given.llama_server is None:
        ERR.print("no llama-server: that side is left out; --help says how to get it")
    loads = [Load(prompt, streams) for prompt in PROMPTS for streams in ((1, 8) if given.quick else STREAMS)]
    with tempfile.TemporaryDirectory() as folder:
        model = endless(given.model, Path(folder) / "model")
        words = Words(model)
        with started(Setup(model, given.threads, given.llama_server, given.gguf), Path(folder)) as servers:
            agreement = _agreement(servers, words)
            results = _measured(servers, words, loads, given.passes or (2 if given.quick else 5))
            more = None if given.quick else _more(servers[0], words, results)
    _show(results, loads, agreement)
    print(json.dumps(_figures(results, loads, more) | {"same_greedy_tokens": agreement, "threads": given.threads}))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two passes with 1 and 8 streams")
    parser.add_argument("--model", type=Path, default=starter_path(), help="a folder; the starter by default")
    parser.add_argument("--threads", type=int, default=max(1, (os.cpu_count() or 2) // 2), help="half the cores")
    parser.add_argument("--passes", type=int, help="over all servers and loads; 5 by default, 2 with --quick")
    parser.add_argument("--llama-server", default=os.environ.get("LLAMA_SERVER") or shutil.which("llama-server"))
    parser.add_argument("--gguf", type=Path, help="the same weights for llama.cpp, if as_gguf.py cannot write them")
    return parser.parse_args()


def _agreement(servers: Sequence[Server], words: Words) -> dict[str, float]:
    """How far greedy answers of the others go along with ours, as a share of their tokens; prompts must be equal.

    Continuous batching is left out: it keeps the temperature of its first request for ever.
    """
    texts = [words.text(40) for _ in range(6)]
    replies = {
        each.name: ask_all(each.address, [each.body(text, tokens=CHECKED, temperature=0) for text in texts], 1).replies
        for each in servers
        if each.name != BATCHING
    }
    ours = replies.pop(DITTOD)
    return {name: round(_shared(words.tokenizer, ours, theirs), 3) for name, theirs in replies.items()}


def _shared(tokenizer: Tokenizer, ours: Sequence[Reply], theirs: Sequence[Reply]) -> float:
    shares = []
    for one, other in zip(ours, theirs, strict=True):
        if one.prompt_tokens != other.prompt_tokens:
            raise SystemExit(f"one text is {one.prompt_tokens} tokens here and {other.prompt_tokens} there")
        pair = [tokenizer.encode(reply.text, add_special_tokens=False).ids for reply in (one, other)]
        same = next((i for i, (a, b) in enumerate(zip(*pair, strict=False)) if a != b), min(map(len, pair)))
        shares.append(same / max(map(len, pair)))
    return sum(shares) / len(shares)


def _measured(servers: Sequence[Server], words: Words, loads: Sequence[Load], passes: int) -> Results:
    results: Results = {server.name: {load: [] for load in loads} for server in servers}
    order = list(servers)
    for load in track([load for _ in range(passes) for load in loads], "rounds", console=ERR):
        texts = [words.text(load.prompt_tokens) for _ in range(load.requests)]
        for server in order:
            results[server.name][load].append(_asked(server, texts, load.streams))
        order.append(order.pop(0))  # nobody is always the first
    return results


def _more(ours: Server, words: Words, results: Results) -> Taken:
    """What is missing to a thousand requests of ours."""
    asked = sum(len(each.round.replies) for rounds in results[ours.name].values() for each in rounds)
    texts = [words.text(PROMPTS[0]) for _ in range(max(1, REQUESTS - asked))]
    ERR.print(f"{len(texts)} more requests to {ours.name}")
    return _asked(ours, texts, STREAMS[-1])


def _asked(server: Server, texts: Sequence[str], streams: int) -> Taken:
    bodies = [server.body(text, tokens=TOKENS, temperature=0.7) for text in texts]
    before = server.cpu_seconds()
    found = ask_all(server.address, bodies, streams)
    return Taken(found, server.cpu_seconds() - before)


def _show(results: Results, loads: Sequence[Load], agreement: dict[str, float]) -> None:
    columns = ("load", "server", "tokens/s", "ours over it", "from … to", "by CPU time", "first ms", "95th", "errors")
    table = Table(*columns, box=None)
    for load in loads:
        for name, by_load in results.items():
            rounds, ratios = by_load[load], _ratios(results, name, load, _speed)
            first = _first_texts(rounds)
            table.add_row(
                *(str(load), name, f"{median(each.speed for each in rounds):.0f}"),
                *(f"{median(ratios):.2f}", f"{min(ratios):.2f} … {max(ratios):.2f}"),
                f"{median(_ratios(results, name, load, _thrift)):.2f}",
                *(f"{1000 * median(first):.0f}", f"{1000 * _p95(first):.0f}", str(_errors(rounds))),
            )
    console = Console(width=140)
    console.print(table)
    console.print(f"\nthe client took up to {_client_share(results):.0%} of a core")
    for name, share in agreement.items():
        console.print(f"greedy answers of {name} go along with ours for {share:.0%} of their tokens")


def _figures(results: Results, loads: Sequence[Load], more: Taken | None) -> dict[str, Any]:
    aimed = [load for load in loads if load.streams == AIMED_AT]
    every = {name: [each for rounds in by_load.values() for each in rounds] for name, by_load in results.items()}
    every[DITTOD] += [more] if more else []
    over = {name: min(median(_ratios(results, name, load, _speed)) for load in aimed) for name in results}
    return {
        "throughput_vs_transformers_serve": round(min(over[TRANSFORMERS], over[BATCHING]), 3),
        "throughput_vs_llama_cpp": round(over[LLAMA], 3) if LLAMA in over else None,
        "first_token_ms_p50": _first_token_ms(results, median),
        "first_token_ms_p95": _first_token_ms(results, _p95),
        "errors": _errors(every[DITTOD]),
        "requests": sum(len(each.round.replies) for each in every[DITTOD]),
        "errors_of_others": {name: _errors(rounds) for name, rounds in every.items() if name != DITTOD},
        "throughput_ratios": _all_ratios(results, _speed),
        "throughput_ratios_by_cpu_time": _all_ratios(results, _thrift),
        "client_share_of_a_core": round(_client_share(results), 3),
    }


def _all_ratios(results: Results, figure: Callable[[Taken], float]) -> dict[str, dict[str, float]]:
    others = {name: by_load for name, by_load in results.items() if name != DITTOD}
    return {
        name: {str(load): round(median(_ratios(results, name, load, figure)), 3) for load in by_load}
        for name, by_load in others.items()
    }


def _ratios(results: Results, name: str, load: Load, figure: Callable[[Taken], float]) -> list[float]:
    """Ours over theirs, within each pass. An answer that never came counts as no tokens."""
    pairs = zip(results[DITTOD][load], results[name][load], strict=True)
    return [figure(ours) / max(figure(theirs), 1e-9) for ours, theirs in pairs]


def _speed(taken: Taken) -> float:
    return taken.speed


def _thrift(taken: Taken) -> float:
    return taken.thrift


def _first_token_ms(results: Results, figure: Callable[[Sequence[float]], float]) -> dict[str, dict[str, float]]:
    return {
        name: {str(load): round(1000 * figure(_first_texts(rounds)), 1) for load, rounds in by_load.items()}
        for name, by_load in results.items()
    }


def _first_texts(rounds: Sequence[Taken]) -> list[float]:
    found = [reply.first_text_seconds for each in rounds for reply in each.round.replies]
    return [seconds for seconds in found if seconds is not None] or [float("nan")]


def _errors(rounds: Sequence[Taken]) -> int:
    """Answers that broke off, were refused or too short."""
    return sum(reply.error is not None or reply.tokens != TOKENS for each in rounds for reply in each.round.replies)


def _client_share(results: Results) -> float:
    every = [each.round for by_load in results.values() for rounds in by_load.values() for each in rounds]
    return max(each.client_seconds / each.seconds for each in every)


def _p95(values: Sequence[float]) -> float:
    return quantiles(values, n=20)[-1] if len(values) > 1 else values[0]


if __name__ == "__main__":
    main()
